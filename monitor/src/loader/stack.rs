//! The stack a program starts with: arguments, environment, auxiliary vector
//! (System V ABI for x86-64, 3.4.1; Linux's `fs/binfmt_elf.c`).
//!
//! ```text
//!  top ─▶ file name, environment strings, argument strings, "x86_64", 16 random bytes
//!         auxiliary vector
//!         environment pointers, null
//!         argument pointers, null
//!  rsp ─▶ argument count
//! ```

use monitor_sys::{Errno, auxiliary, guest_copy, host_call::to_u64};
use rustix::rand::{GetRandomFlags, getrandom};
use zerocopy::IntoBytes;

use super::{LoadError, image::Image};
use crate::memory::{
    AddressSpace, Protection,
    change::{Place, Request},
    stack::LONGEST,
    whole_pages,
};

/// `MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK`.
const STACK: u64 = 0x2_4022;
/// What a program has beside its strings, whatever the limit, in bytes.
const STACK_MIN: u64 = 128 << 10;
/// The bytes of a string's first byte to the stack's end that stay free.
const HEADROOM: usize = 16;
/// The bit of `AT_HWCAP2` that says `rdfsbase` may be used.
pub const HWCAP2_FSGSBASE: u64 = 2;

/// What the auxiliary vector tells beside the program's place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Real and effective user.
    pub users: [u32; 2],
    /// Real and effective group.
    pub groups: [u32; 2],
    /// Where the vDSO's header is, if there is one.
    pub vdso: Option<u64>,
    /// Whether `wrfsbase` may be used, where the processor has it.
    pub keeps_bases: bool,
}

/// A filled stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stack {
    /// The stack pointer.
    pub pointer: u64,
    /// The auxiliary vector on it.
    pub auxiliary: Vec<u64>,
    /// Where the strings of the arguments begin and end.
    pub arguments: [u64; 2],
    /// The same for those of the environment.
    pub environment: [u64; 2],
}

/// Maps a stack of `len` bytes and fills it.
pub fn build(
    memory: &AddressSpace,
    len: u64,
    image: &Image,
    strings: &Strings<'_>,
    identity: Identity,
) -> Result<Stack, LoadError> {
    let shortest = strings.room() + STACK_MIN;
    let len = whole_pages(len.clamp(shortest, LONGEST)).ok_or(LoadError::ArgumentsTooLong)?;
    let protection = Protection(if image.executable_stack { 7 } else { 3 });
    let request = Request {
        place: Place::Hint(0),
        len,
        protection,
        flags: STACK,
        file: None,
        offset: 0,
        alignment: monitor_sys::guest_memory::PAGE,
    };
    let start = memory.map_stack(&request).map_err(LoadError::Memory)?;
    let content = Content::lay_out(start + len, strings, image, identity)?;
    let pointer = start + len - to_u64(content.bytes.len());
    guest_copy::write_bytes(pointer, &content.bytes).map_err(LoadError::Memory)?;
    let [arguments, environment, end] = content.strings;
    Ok(Stack {
        pointer,
        auxiliary: content.auxiliary,
        arguments: [arguments, environment],
        environment: [environment, end],
    })
}

/// The strings a program gets.
#[derive(Clone, Copy, Debug)]
pub struct Strings<'a> {
    /// Its arguments.
    pub arguments: &'a [Vec<u8>],
    /// Its environment.
    pub environment: &'a [Vec<u8>],
    /// The name it was started by (`AT_EXECFN`).
    pub name: &'a [u8],
}

impl Strings<'_> {
    /// The most they take on the stack with all that stands beside them, in bytes.
    fn room(&self) -> u64 {
        let all = self.arguments.iter().chain(self.environment);
        let strings: usize = all.map(|string| string.len() + 1 + size_of::<u64>()).sum();
        to_u64(strings + self.name.len()) + monitor_sys::guest_memory::PAGE
    }
}

/// The bytes from the stack pointer to the stack's end.
struct Content {
    bytes: Vec<u8>,
    auxiliary: Vec<u64>,
    /// Where the arguments' strings begin, the environment's, and what follows.
    strings: [u64; 3],
}

/// Collects strings downwards from the stack's end.
struct Downwards {
    end: u64,
    /// In reverse order of addresses.
    pieces: Vec<Vec<u8>>,
    used: u64,
}

impl Downwards {
    fn push(&mut self, bytes: &[u8], with_nul: bool) -> u64 {
        let mut piece = bytes.to_vec();
        if with_nul {
            piece.push(0);
        }
        self.used += to_u64(piece.len());
        self.pieces.push(piece);
        self.end - self.used
    }

    fn align(&mut self, to: u64) {
        let padding = (self.end - self.used) % to;
        self.push(&vec![0; usize::try_from(padding).expect("small")], false);
    }
}

impl Content {
    fn lay_out(
        end: u64,
        strings: &Strings<'_>,
        image: &Image,
        identity: Identity,
    ) -> Result<Self, LoadError> {
        let mut down = Downwards { end, pieces: Vec::new(), used: 0 };
        down.push(&[0; HEADROOM], false);
        let name = down.push(strings.name, true);
        let all = |down: &mut Downwards, strings: &[Vec<u8>]| {
            // Linux puts them in ascending order: the last one is the highest.
            let mut at: Vec<u64> =
                strings.iter().rev().map(|string| down.push(string, true)).collect();
            at.reverse();
            at
        };
        let environment = all(&mut down, strings.environment);
        let environment_at = down.end - down.used;
        let arguments = all(&mut down, strings.arguments);
        let strings = [down.end - down.used, environment_at, name];
        let platform = down.push(b"x86_64", true);
        down.align(16);
        let random = down.push(&random_bytes()?, false);
        let mut words = vec![to_u64(arguments.len())];
        words.extend(arguments);
        words.push(0);
        words.extend(environment);
        words.push(0);
        let auxiliary = auxiliary_vector(image, identity, [platform, random, name]);
        words.extend(&auxiliary);
        let len = to_u64(words.len()) * 8;
        let pointer = (end - down.used - len) & !15;
        let padding = end - down.used - len - pointer;
        let mut bytes = words.as_bytes().to_vec();
        bytes.resize(bytes.len() + usize::try_from(padding).expect("less than 16"), 0);
        down.pieces.iter().rev().for_each(|piece| bytes.extend(piece));
        Ok(Self { bytes, auxiliary, strings })
    }
}

fn random_bytes() -> Result<[u8; 16], LoadError> {
    let mut bytes = [0_u8; 16];
    let filled = getrandom(&mut bytes, GetRandomFlags::empty());
    filled.map_err(|errno| LoadError::Memory(Errno::from_raw(errno.raw_os_error())))?;
    Ok(bytes)
}

/// `AT_HWCAP2`, of which programs are told what holds in the machine too.
fn second_capabilities(identity: Identity) -> u64 {
    let told = if identity.keeps_bases { HWCAP2_FSGSBASE } else { 0 };
    auxiliary::value(libc::AT_HWCAP2) & told
}

fn auxiliary_vector(image: &Image, identity: Identity, strings: [u64; 3]) -> Vec<u64> {
    let [platform, random, name] = strings;
    let host = |entry| (entry, auxiliary::value(entry));
    let mut entries = vec![
        (libc::AT_SYSINFO_EHDR, identity.vdso.unwrap_or(0)),
        host(libc::AT_HWCAP),
        (libc::AT_PAGESZ, monitor_sys::guest_memory::PAGE),
        host(libc::AT_CLKTCK),
        (libc::AT_PHDR, image.headers),
        (libc::AT_PHENT, 56),
        (libc::AT_PHNUM, u64::from(image.header_count)),
        (libc::AT_BASE, image.interpreter),
        (libc::AT_FLAGS, 0),
        (libc::AT_ENTRY, image.entry),
        (libc::AT_UID, u64::from(identity.users[0])),
        (libc::AT_EUID, u64::from(identity.users[1])),
        (libc::AT_GID, u64::from(identity.groups[0])),
        (libc::AT_EGID, u64::from(identity.groups[1])),
        (libc::AT_SECURE, 0),
        (libc::AT_RANDOM, random),
        (libc::AT_HWCAP2, second_capabilities(identity)),
        (libc::AT_MINSIGSTKSZ, auxiliary::value(libc::AT_MINSIGSTKSZ)),
        (libc::AT_EXECFN, name),
        (libc::AT_PLATFORM, platform),
    ];
    entries.retain(|&(entry, value)| entry != libc::AT_SYSINFO_EHDR || value != 0);
    entries.push((libc::AT_NULL, 0));
    entries.into_iter().flat_map(|(entry, value)| [entry, value]).collect()
}

#[cfg(test)]
mod tests {
    use super::{Content, Identity, Strings};
    use crate::loader::image::Image;

    const END: u64 = 0x7000_0000;

    fn image() -> Image {
        Image {
            start: 1,
            entry: 2,
            headers: 3,
            header_count: 4,
            interpreter: 5,
            heap: 6,
            executable_stack: false,
            code: [1, 2],
            data: [3, 4],
        }
    }

    fn word(bytes: &[u8], at: usize) -> u64 {
        u64::from_le_bytes(bytes[at * 8..at * 8 + 8].try_into().unwrap())
    }

    #[test]
    fn the_pointers_lead_to_the_strings() {
        let arguments = [b"sh".to_vec(), b"-c".to_vec()];
        let environment = [b"A=1".to_vec()];
        let strings = Strings { arguments: &arguments, environment: &environment, name: b"/sh" };

        let bytes = Content::lay_out(END, &strings, &image(), Identity::default()).unwrap().bytes;

        let start = END - u64::try_from(bytes.len()).unwrap();
        assert_eq!(start % 16, 0);
        let string = |at| {
            let from = usize::try_from(word(&bytes, at) - start).unwrap();
            let end = bytes[from..].iter().position(|&byte| byte == 0).unwrap();
            bytes[from..from + end].to_vec()
        };
        assert_eq!([word(&bytes, 0), word(&bytes, 3), word(&bytes, 5)], [2, 0, 0]);
        assert_eq!([string(1), string(2), string(4)], [&b"sh"[..], b"-c", b"A=1"]);
    }

    #[test]
    fn the_auxiliary_vector_ends_with_null_and_names_the_program() {
        let strings = Strings { arguments: &[], environment: &[], name: b"/sh" };

        let bytes = Content::lay_out(END, &strings, &image(), Identity::default()).unwrap().bytes;

        let pairs = (3..).step_by(2).map(|at| (word(&bytes, at), word(&bytes, at + 1)));
        let pairs: Vec<_> = pairs.take_while(|&(entry, _)| entry != 0).collect();
        assert!(pairs.contains(&(9, 2)), "AT_ENTRY");
        assert!(pairs.contains(&(3, 3)), "AT_PHDR");
        assert!(!pairs.iter().any(|&(entry, _)| entry == 33), "no vDSO");
    }
}
