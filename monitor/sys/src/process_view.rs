//! What the host's `/proc/<pid>` says of the process: `prctl(PR_SET_MM_MAP)` tells
//! the kernel where the guest's arguments, environment, code and stack are, so
//! that `ps`, `/proc/<pid>/cmdline`, `environ`, `auxv` and the labels in `maps`
//! are the guest's own, for everybody, and follow what it writes there.
//!
//! At the auxiliary vector's end stands what a monitor tells the monitors of its
//! neighbours; the guest does not see it.

use nix::errno::Errno;

use crate::host_call::{self, to_u64};

/// The kinds of the entries that name the monitor's descriptors, two each: the
/// guest's program, the log; the trace, procfs. No kernel has entries of these
/// kinds, and old ones have room for few.
const DESCRIPTOR_KINDS: [u64; 2] = [0x6b6d_0000, 0x6b6d_0001];

/// The descriptors' numbers, in that order.
pub type Numbers = [Option<u64>; 4];

/// Where the parts of a program lie. Ranges are from the first byte to behind the
/// last one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Its code.
    pub code: [u64; 2],
    /// Its data.
    pub data: [u64; 2],
    /// The stack pointer it starts with.
    pub stack: u64,
    /// The strings of its arguments.
    pub arguments: [u64; 2],
    /// Those of its environment, right behind.
    pub environment: [u64; 2],
    /// Its auxiliary vector.
    pub auxiliary: Vec<u64>,
    /// The monitor's descriptors, for neighbours.
    pub descriptors: Numbers,
}

/// `struct prctl_mm_map` of Linux.
#[repr(C)]
struct MemoryMap {
    code: [u64; 2],
    data: [u64; 2],
    heap: [u64; 2],
    stack: u64,
    arguments: [u64; 2],
    environment: [u64; 2],
    auxiliary: u64,
    auxiliary_len: u32,
    program: u32,
}

/// Tells the kernel. `EINVAL` by kernels that were built without
/// `CONFIG_CHECKPOINT_RESTORE`, or if the guest's layout is one that Linux would not
/// make.
pub fn show(view: &View) -> Result<(), Errno> {
    // SAFETY: `brk(2)` of null changes nothing and tells where the heap ends.
    let heap = unsafe { host_call::raw(libc::SYS_brk, [0; 6]) }?;
    let mut auxiliary = without_descriptors(&view.auxiliary);
    auxiliary.truncate(auxiliary.len().saturating_sub(2));
    for (kind, numbers) in DESCRIPTOR_KINDS.into_iter().zip(view.descriptors.chunks_exact(2)) {
        auxiliary.extend([kind, half(numbers[0]) | half(numbers[1]) << 32]);
    }
    auxiliary.extend([libc::AT_NULL, 0]);
    let map = MemoryMap {
        code: view.code,
        data: view.data,
        // The monitor's own C library grows this heap: it is not the guest's.
        heap: [heap, heap],
        stack: view.stack,
        arguments: view.arguments,
        environment: view.environment,
        auxiliary: to_u64(auxiliary.as_ptr().addr()),
        auxiliary_len: u32::try_from(auxiliary.len() * 8).map_err(|_| Errno::E2BIG)?,
        program: u32::MAX,
    };
    let address = to_u64((&raw const map).addr());
    let [option, part] =
        [libc::PR_SET_MM, libc::PR_SET_MM_MAP].map(|n| u64::from(n.unsigned_abs()));
    let args = [option, part, address, to_u64(size_of::<MemoryMap>()), 0, 0];
    // SAFETY: the kernel copies the structure and the vector, which live until the
    // call returns. It only notes addresses; the heap's is the one it had.
    unsafe { host_call::raw(libc::SYS_prctl, args) }.map(|_| ())
}

/// A number in half a word; 0 for none.
fn half(number: Option<u64>) -> u64 {
    number.filter(|&number| number < u64::from(u32::MAX)).map_or(0, |number| number + 1)
}

/// The numbers of the monitor's descriptors in its vector.
pub fn descriptors_in(vector: &[u64]) -> Numbers {
    let words = DESCRIPTOR_KINDS.map(|kind| {
        let found = vector.chunks_exact(2).find(|pair| pair[0] == kind);
        found.map_or(0, |pair| pair[1])
    });
    let number = |half: u64| (half & 0xffff_ffff).checked_sub(1);
    [number(words[0]), number(words[0] >> 32), number(words[1]), number(words[1] >> 32)]
}

/// The vector as the guest has it.
pub fn without_descriptors(vector: &[u64]) -> Vec<u64> {
    let pairs = vector.chunks_exact(2).filter(|pair| !DESCRIPTOR_KINDS.contains(&pair[0]));
    pairs.flatten().copied().collect()
}

#[cfg(test)]
mod tests {
    use super::{descriptors_in, without_descriptors};

    #[test]
    fn a_neighbours_descriptors_stand_in_its_vector() {
        let vector = [6, 4096, 0x6b6d_0000, 963, 0x6b6d_0001, 965 << 32 | 1, 0, 0];

        assert_eq!(descriptors_in(&vector), [Some(962), None, Some(0), Some(964)]);
        assert_eq!(without_descriptors(&vector), [6, 4096, 0, 0]);
        assert_eq!(descriptors_in(&[6, 4096, 0, 0]), [None; 4]);
    }
}
