//! What the record says.

use serde::{Deserialize, Serialize};

use crate::{
    CAN_RUN,
    version::{self, DecodeError},
};

/// What krun wants km to do, and with what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct LaunchRecord {
    /// Run the program, or only find out whether it could run.
    pub action: Action,
    /// The program's path as the container sees it: absolute, or relative to
    /// the working directory km is started in. Not searched for in `PATH`.
    pub program: Vec<u8>,
    /// The opened device that makes virtual machines.
    pub device: Device,
    /// Whether `uname(2)` shows the platform behind the kernel's release, as
    /// in `6.12.0.kontain.KVM`.
    pub release_suffix: bool,
    /// The signals the program starts with blocked (bit `n - 1` for signal `n`),
    /// or `None` for those that km is started with.
    pub signal_mask: Option<u64>,
    /// The signals the program starts with ignored, likewise; `None` if km is to ask the kernel.
    pub ignored: Option<u64>,
    /// The seccomp filters the program's calls have to pass, the oldest first:
    /// classic BPF, eight bytes for an instruction, as `seccomp(2)` takes it.
    pub filters: Vec<Vec<u8>>,
    /// Whether the kernel notifies an agent of all calls that are made from the page at
    /// [`ASKING_PAGE`](crate::ASKING_PAGE): of those that the oldest filter wants it to be asked about.
    pub asks_agent: bool,
    /// Whether calls are made without leaving the virtual machine.
    pub exitless: Exitless,
    /// What the machine before this one has found out.
    pub findings: Findings,
    /// Whether km says at each process's end what became of its calls.
    pub stats: bool,
    /// Whether one of the seccomp filters that the kernel counts for km's process is km's own, of which
    /// the guest is not to be told.
    pub own_filter: bool,
    /// Further descriptors that km may need.
    pub descriptors: Descriptors,
}

/// What a virtual machine has found out about the host's processors, for those that follow it: asking
/// takes as long as making one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Findings {
    /// The features a virtual CPU can have: `function`, `index`, `flags`, `eax`, `ebx`, `ecx` and `edx` of each
    /// entry, as the device tells them. Empty if it was not asked.
    pub features: Vec<[u32; 7]>,
    /// The privilege level that `syscall` leads to in a guest, if that is proven.
    pub gate_level: Option<u8>,
    /// How many bytes the vDSO and the pages of variables in front of it have, and where in them its header is. The
    /// kernel's, the same in all processes.
    pub vdso: Option<[u64; 2]>,
}

impl Findings {
    /// The line by which a check that has passed tells what it has found out, without its end.
    pub fn to_line(&self) -> String {
        let bytes = postcard::to_allocvec(self).expect("numbers can be written");
        let digits = bytes.iter().map(|byte| format!("{byte:02x}"));
        format!("{CAN_RUN} {}", digits.collect::<String>())
    }

    /// What such a line tells, or `None` if the check has not passed. A line that tells nothing else is
    /// that of a check that has found out nothing.
    pub fn from_line(line: &str) -> Option<Self> {
        let rest = line.strip_prefix(CAN_RUN)?;
        let digits = if rest.is_empty() { rest } else { rest.strip_prefix(' ')? }.as_bytes();
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        let bytes: Option<Vec<u8>> = digits.chunks(2).map(byte).collect();
        Some(bytes.and_then(|bytes| postcard::from_bytes(&bytes).ok()).unwrap_or_default())
    }
}

/// Open descriptors that km takes over. Without `monitor`, km looks for its own
/// program in `/proc`, which a container may lack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Descriptors {
    /// km's own program, for the guest's `execve(2)`.
    pub monitor: Option<i32>,
    /// Where km writes what it must say; standard error, if there is none.
    pub log: Option<i32>,
    /// Where system calls are written down.
    pub trace: Option<i32>,
    /// The program's file, where it is executed by a descriptor that is closed
    /// on execution; `program` then only names it.
    pub program: Option<i32>,
    /// The root of the procfs by which a monitor finds its own files.
    pub procfs: Option<i32>,
}

/// When a thread of km's makes the program's calls for it, so that they need not leave the virtual machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exitless {
    /// Where it pays.
    #[default]
    Auto,
    /// Always, for tests.
    On,
    /// Never.
    Off,
}

impl std::str::FromStr for Exitless {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        match word {
            "auto" => Ok(Self::Auto),
            "on" => Ok(Self::On),
            "off" => Ok(Self::Off),
            _ => Err("expected auto, on or off".to_owned()),
        }
    }
}

/// What km is started for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// Become the program. km's exit status is the program's.
    Run,
    /// Check the program, its interpreter, the device and the memory, run
    /// nothing. The exit status is 0, or what a shell would give for the fault
    /// (126 or 127; 125 when the fault is the host's), with one line on
    /// standard error that says what is wrong.
    Check,
}

/// An open device, passed by descriptor so that it need not exist in the
/// container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Which device it is.
    pub kind: DeviceKind,
    /// Its descriptor in km.
    pub descriptor: i32,
}

/// The devices km can make virtual machines with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeviceKind {
    /// `/dev/kvm`: Linux's own (VMX, SVM or PVM).
    Kvm,
    /// `/dev/kkm`: Kontain's kernel module.
    Kkm,
}

impl LaunchRecord {
    /// The record's bytes: magic, version, then the fields.
    pub fn encode(&self) -> Vec<u8> {
        version::frame(self)
    }

    /// Reads a record from all of `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        version::unframe(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::Findings;

    #[test]
    fn findings_survive_their_line() {
        let findings = Findings {
            features: vec![[7, 0, 1, 2, u32::MAX, 0, 0]; 80],
            gate_level: Some(3),
            vdso: Some([0x8000, 0x6000]),
        };

        assert_eq!(Findings::from_line(&findings.to_line()), Some(findings));
        assert_eq!(Findings::from_line("can run"), Some(Findings::default()));
        assert_eq!(Findings::from_line("can run 7"), Some(Findings::default()));
        assert_eq!(Findings::from_line("can runaway"), None);
        assert_eq!(Findings::from_line("exec format error"), None);
    }
}
