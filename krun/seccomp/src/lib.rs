//! The workload's seccomp profile, as a program that the monitor runs at its gate, or the kernel for
//! a native program.
//!
//! libseccomp translates the profile, with runc's reading of it; the monitor asks the
//! program about each of the guest's calls. The monitor's own filter is another one: a profile that
//! is right for a workload would be wrong for it.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::PathBuf;

use libseccomp::error::SeccompError;
use libseccomp::{
    ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall,
};
use monitor_launch::NEVER_ASKED;
use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompFilterFlag,
    LinuxSeccompOperator, LinuxSyscall,
};
use rustix::fs::{MemfdFlags, memfd_create};

/// `EPERM`: what a call fails with where the profile names no error.
const EPERM: u32 = 1;
/// `ENOSYS`.
const ENOSYS: u32 = 38;
/// How the kernel names architectures to filters (`linux/audit.h`).
const AUDIT_ARCH_X86_64: u32 = 0xC000_003E;
const AUDIT_ARCH_I386: u32 = 0x4000_0003;
/// `SECCOMP_FILTER_FLAG_…` (`linux/seccomp.h`).
const TSYNC: u32 = 1;
const LOG: u32 = 2;
const SPEC_ALLOW: u32 = 4;
const WAIT_KILLABLE_RECV: u32 = 32;
/// `BPF_RET | BPF_K`.
const RETURN: u16 = 6;
/// `SECCOMP_RET_USER_NOTIF`.
pub const NOTIFY: u32 = 0x7fc0_0000;
/// `SECCOMP_RET_ALLOW`.
pub const ALLOW: u32 = 0x7fff_0000;
const ACTION: u32 = 0xffff_0000;

/// The calls by which a native program's process tells of its listener: `write` is runc's, and
/// refused by it.
const TELLING: [&str; 2] = ["write", "sendmsg"];

/// An instruction of classic BPF: code, jumps if true and if false, operand.
pub type Instruction = (u16, u8, u8, u32);

/// Why a profile cannot be enforced.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// The profile wants something of libseccomp that it refuses.
    #[error("linux.seccomp: {0}")]
    Profile(#[from] SeccompError),
    /// runc's words.
    #[error("linux.seccomp: SCMP_ACT_NOTIFY cannot be used as default action")]
    NotifyByDefault,
    /// runc's words, for its call. Nobody could be told of the agent's descriptor.
    #[error("linux.seccomp: SCMP_ACT_NOTIFY cannot be used for the {0} syscall")]
    NeverNotified(String),
    /// What an agent may have go on cannot be made by the kernel.
    #[error(
        "linux.seccomp: SCMP_ACT_NOTIFY cannot be used for the {0} syscall in a virtual machine, \
         whose monitor handles it"
    )]
    Handled(String),
    /// runc's words.
    #[error("linux.seccomp: seccomp listenerPath is not set")]
    NoListener,
    /// Nobody listens. It begins with runc's words.
    #[error(
        "failed to connect with seccomp agent specified in the seccomp profile: linux.seccomp.listenerPath: \
         connect to {path}: {source}"
    )]
    Agent {
        /// What was given.
        path: PathBuf,
        /// Why it is not the agent's. Shown in this error's own text.
        source: io::Error,
    },
    /// The program could not be taken out of libseccomp.
    #[error("linux.seccomp: export the filter: {0}")]
    Export(#[from] io::Error),
}

/// Translates a profile for a guest, whose calls are those of x86-64 alone. Returns classic BPF, as
/// `seccomp(2)` takes it.
pub fn compile(profile: &LinuxSeccomp) -> Result<Vec<u8>, FilterError> {
    if let Some(name) = asked_about(profile).find(|name| NEVER_ASKED.contains(name)) {
        return Err(FilterError::Handled(name.to_owned()));
    }
    compile_for(profile, &[])
}

/// What the kernel is to ask about the calls of a monitor that has no filter of its own: `return ALLOW`.
pub fn for_show() -> Vec<u8> {
    bytes(&[(RETURN, 0, 0, ALLOW)])
}

/// Whether an agent is to be asked about calls.
pub fn asks(profile: &LinuxSeccomp) -> bool {
    profile.default_action() == LinuxSeccompAction::ScmpActNotify
        || asked_about(profile).next().is_some()
}

/// The calls that an agent is to be asked about.
fn asked_about(profile: &LinuxSeccomp) -> impl Iterator<Item = &str> {
    let rules = profile.syscalls().iter().flatten();
    let asking = rules.filter(|rule| rule.action() == LinuxSeccompAction::ScmpActNotify);
    asking.flat_map(LinuxSyscall::names).map(String::as_str)
}

/// A native program's filter comes in two parts, of which the kernel takes the stricter answer: this
/// one is only about what an agent is asked. It is loaded first, where the agent can be told.
pub fn asking_part(program: &[u8]) -> Vec<u8> {
    with_returns(program, |word| if word & ACTION == NOTIFY { word } else { ALLOW })
}

/// The other part.
pub fn deciding_part(program: &[u8]) -> Vec<u8> {
    with_returns(program, |word| if word & ACTION == NOTIFY { ALLOW } else { word })
}

fn with_returns(program: &[u8], change: impl Fn(u32) -> u32) -> Vec<u8> {
    let (instructions, _) = program.as_chunks::<8>();
    let read = instructions.iter().map(|&[c0, c1, yes, no, k0, k1, k2, k3]| {
        let (code, k) = (u16::from_le_bytes([c0, c1]), u32::from_le_bytes([k0, k1, k2, k3]));
        (code, yes, no, if code == RETURN { change(k) } else { k })
    });
    bytes(&read.collect::<Vec<_>>())
}

/// The flags that the part with a listener is loaded with.
pub fn flags_of_listener(profile: &LinuxSeccomp) -> u32 {
    use LinuxSeccompFilterFlag as Flag;
    let waits = profile.flags().iter().flatten();
    let waits = waits.into_iter().any(|flag| *flag == Flag::SeccompFilterFlagWaitKillableRecv);
    // There is one thread yet, and what an agent decides is not logged.
    flags(profile) & SPEC_ALLOW | if waits { WAIT_KILLABLE_RECV } else { 0 }
}

/// Translates a profile for a native program, which can make the calls of all architectures that the
/// profile names.
pub fn compile_natively(profile: &LinuxSeccomp) -> Result<Vec<u8>, FilterError> {
    if let Some(name) = asked_about(profile).find(|name| TELLING.contains(name)) {
        return Err(FilterError::NeverNotified(name.to_owned()));
    }
    compile_for_host(profile)
}

/// The same without a look at who is told.
pub fn compile_for_host(profile: &LinuxSeccomp) -> Result<Vec<u8>, FilterError> {
    let named = profile.architectures().iter().flatten();
    // Others are those of other processors, or the one that is always there.
    let known = [(Arch::ScmpArchX86, ScmpArch::X86), (Arch::ScmpArchX32, ScmpArch::X32)];
    let others: Vec<_> = known
        .into_iter()
        .filter(|(name, _)| named.clone().any(|one| one == name))
        .map(|(_, architecture)| architecture)
        .collect();
    compile_for(profile, &others)
}

/// The flags that a native program's filter is loaded with; runc's default is `SPEC_ALLOW`.
pub fn flags(profile: &LinuxSeccomp) -> u32 {
    use LinuxSeccompFilterFlag as Flag;
    let Some(flags) = profile.flags() else { return SPEC_ALLOW };
    flags.iter().fold(0, |all, flag| {
        all | match flag {
            Flag::SeccompFilterFlagTsync => TSYNC,
            Flag::SeccompFilterFlagLog => LOG,
            Flag::SeccompFilterFlagSpecAllow => SPEC_ALLOW,
            // It is about SCMP_ACT_NOTIFY: see `flags_of_listener`.
            Flag::SeccompFilterFlagWaitKillableRecv => 0,
        }
    })
}

fn compile_for(profile: &LinuxSeccomp, others: &[ScmpArch]) -> Result<Vec<u8>, FilterError> {
    if profile.default_action() == LinuxSeccompAction::ScmpActNotify {
        return Err(FilterError::NotifyByDefault);
    }
    let default = action(profile.default_action(), profile.default_errno_ret());
    let mut filter = ScmpFilterContext::new(default)?;
    for architecture in others {
        filter.add_arch(*architecture)?;
    }
    for rule in profile.syscalls().iter().flatten() {
        for name in rule.names() {
            // As in runc, a call that this libseccomp does not know is passed over.
            let Ok(call) = ScmpSyscall::from_name(name) else { continue };
            add(&mut filter, call, rule, default)?;
        }
    }
    let mut program = Vec::new();
    // As in runc: not where the profile says itself what becomes of other calls.
    let lets_through =
        matches!(default, ScmpAction::Allow | ScmpAction::Log | ScmpAction::Trace(_));
    if !lets_through && profile.default_errno_ret().is_none() {
        program.extend(unknown_calls_fail(AUDIT_ARCH_X86_64, newest(profile, ScmpArch::X8664)));
        if others.contains(&ScmpArch::X86) {
            program.extend(unknown_calls_fail(AUDIT_ARCH_I386, newest(profile, ScmpArch::X86)));
        }
    }
    program.extend(export(&filter)?);
    Ok(program)
}

/// The number of the newest call that the profile names; 0 if it names none.
fn newest(profile: &LinuxSeccomp, architecture: ScmpArch) -> u32 {
    let names = profile.syscalls().iter().flatten().flat_map(LinuxSyscall::names);
    let calls = names.filter_map(|name| ScmpSyscall::from_name_by_arch(name, architecture).ok());
    // Negative numbers are libseccomp's own, for calls that the architecture does not have.
    calls.filter_map(|call| u32::try_from(i32::from(call)).ok()).max().unwrap_or_default()
}

fn action(action: LinuxSeccompAction, errno: Option<u32>) -> ScmpAction {
    let errno = errno.unwrap_or(EPERM);
    match action {
        LinuxSeccompAction::ScmpActAllow => ScmpAction::Allow,
        LinuxSeccompAction::ScmpActErrno => ScmpAction::Errno(errno.cast_signed()),
        LinuxSeccompAction::ScmpActKill | LinuxSeccompAction::ScmpActKillThread => {
            ScmpAction::KillThread
        }
        LinuxSeccompAction::ScmpActKillProcess => ScmpAction::KillProcess,
        LinuxSeccompAction::ScmpActTrap => ScmpAction::Trap,
        LinuxSeccompAction::ScmpActTrace => {
            ScmpAction::Trace(u16::try_from(errno).unwrap_or(u16::MAX))
        }
        LinuxSeccompAction::ScmpActLog => ScmpAction::Log,
        LinuxSeccompAction::ScmpActNotify => ScmpAction::Notify,
    }
}

/// Adds the rule for one call. As in runc, conditions on one argument are alternatives,
/// conditions on different arguments must all hold.
fn add(
    filter: &mut ScmpFilterContext,
    call: ScmpSyscall,
    rule: &LinuxSyscall,
    default: ScmpAction,
) -> Result<(), FilterError> {
    let action = action(rule.action(), rule.errno_ret());
    if action == default {
        return Ok(());
    }
    let conditions: Vec<_> = rule.args().iter().flatten().collect();
    let comparisons: Vec<_> = conditions.iter().map(|condition| comparison(condition)).collect();
    let is_repeated = |condition: &&LinuxSeccompArg| {
        conditions.iter().filter(|other| other.index() == condition.index()).count() > 1
    };
    if comparisons.is_empty() {
        filter.add_rule(action, call)?;
    } else if conditions.iter().any(is_repeated) {
        for comparison in comparisons {
            filter.add_rule_conditional(action, call, &[comparison])?;
        }
    } else {
        filter.add_rule_conditional(action, call, &comparisons)?;
    }
    Ok(())
}

fn comparison(condition: &LinuxSeccompArg) -> ScmpArgCompare {
    let index = u32::try_from(condition.index()).unwrap_or(u32::MAX);
    let (value, second) = (condition.value(), condition.value_two().unwrap_or(0));
    let (operator, value) = match condition.op() {
        LinuxSeccompOperator::ScmpCmpNe => (ScmpCompareOp::NotEqual, value),
        LinuxSeccompOperator::ScmpCmpLt => (ScmpCompareOp::Less, value),
        LinuxSeccompOperator::ScmpCmpLe => (ScmpCompareOp::LessOrEqual, value),
        LinuxSeccompOperator::ScmpCmpEq => (ScmpCompareOp::Equal, value),
        LinuxSeccompOperator::ScmpCmpGe => (ScmpCompareOp::GreaterEqual, value),
        LinuxSeccompOperator::ScmpCmpGt => (ScmpCompareOp::Greater, value),
        LinuxSeccompOperator::ScmpCmpMaskedEq => (ScmpCompareOp::MaskedEqual(value), second),
    };
    ScmpArgCompare::new(index, operator, value)
}

fn export(filter: &ScmpFilterContext) -> Result<Vec<u8>, FilterError> {
    let mut file =
        File::from(memfd_create("filter", MemfdFlags::CLOEXEC).map_err(io::Error::from)?);
    filter.export_bpf(&file)?;
    file.rewind()?;
    let mut program = Vec::new();
    file.read_to_end(&mut program)?;
    Ok(program)
}

/// Calls that are newer than all the profile names fail as by an older kernel, whatever
/// the profile's default is: C libraries then use what they used before. runc does so too.
fn unknown_calls_fail(architecture: u32, newest: u32) -> Vec<u8> {
    if newest == 0 {
        return Vec::new();
    }
    // Load the architecture; if it is another, go on behind. Load the number; if it is greater than
    // `newest`, fail; else go on behind. (x32's numbers, where x86-64's are asked for, are greater.)
    bytes(&[
        (0x20, 0, 0, 4),
        (0x15, 0, 3, architecture),
        (0x20, 0, 0, 0),
        (0x25, 0, 1, newest),
        (RETURN, 0, 0, 0x0005_0000 | ENOSYS),
    ])
}

/// Instructions in the kernel's form.
pub fn bytes(instructions: &[Instruction]) -> Vec<u8> {
    let bytes = |&(code, yes, no, k): &Instruction| {
        let [low, high] = code.to_le_bytes();
        let [k0, k1, k2, k3] = k.to_le_bytes();
        [low, high, yes, no, k0, k1, k2, k3]
    };
    instructions.iter().flat_map(bytes).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use oci_spec::runtime::LinuxSeccomp;

    use super::{
        ALLOW, FilterError, NOTIFY, asking_part, compile, compile_natively, deciding_part, flags,
    };

    fn profile(json: &str) -> LinuxSeccomp {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_profile_becomes_whole_instructions_that_end_with_a_return() {
        let program = compile(&profile(
            r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
                {"names": ["read", "write", "no_such_call"], "action": "SCMP_ACT_ALLOW"},
                {"names": ["personality"], "action": "SCMP_ACT_ALLOW",
                 "args": [{"index": 0, "value": 0, "op": "SCMP_CMP_EQ"},
                          {"index": 0, "value": 8, "op": "SCMP_CMP_EQ"}]}]}"#,
        ))
        .unwrap();

        assert_eq!(program.len() % 8, 0);
        assert_eq!(program[program.len() - 8..][..2], [6, 0], "a return");
        assert_eq!(program[3 * 8 + 4..4 * 8], 135_u32.to_le_bytes(), "personality is the newest");
    }

    #[test]
    fn a_native_programs_filter_knows_the_architectures_that_are_named() {
        let text = |architectures: &str| {
            format!(
                r#"{{"defaultAction": "SCMP_ACT_ERRNO", {architectures} "syscalls": [
                    {{"names": ["read"], "action": "SCMP_ACT_ALLOW"}}]}}"#
            )
        };
        let plain = profile(&text(""));
        let all = r#""architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_AARCH64"],
                     "flags": ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_TSYNC"],"#;
        let all = profile(&text(all));

        assert_eq!(compile_natively(&plain).unwrap(), compile(&plain).unwrap());
        assert!(compile_natively(&all).unwrap().len() > compile(&all).unwrap().len());
        assert_eq!((flags(&plain), flags(&all)), (4, 3));
    }

    fn asking_about(call: &str) -> LinuxSeccomp {
        profile(&format!(
            r#"{{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
                {{"names": ["{call}"], "action": "SCMP_ACT_NOTIFY"}},
                {{"names": ["chroot"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5}}]}}"#
        ))
    }

    #[test]
    fn what_no_agent_can_be_asked_about_is_refused_in_words() {
        let by_default = profile(r#"{"defaultAction": "SCMP_ACT_NOTIFY"}"#);
        let error = compile(&by_default).unwrap_err();
        assert!(matches!(error, FilterError::NotifyByDefault), "{error}");

        let error = compile_natively(&asking_about("write")).unwrap_err();
        assert!(error.to_string().ends_with("cannot be used for the write syscall"), "{error}");
        assert!(compile(&asking_about("write")).is_ok(), "the monitor tells nobody");

        let error = compile(&asking_about("mmap")).unwrap_err();
        assert!(matches!(error, FilterError::Handled(_)), "{error}");
        assert!(compile_natively(&asking_about("mmap")).is_ok());
    }

    #[test]
    fn a_native_programs_filter_parts_into_asking_and_deciding() {
        let returns = |program: &[u8]| -> BTreeSet<u32> {
            let (instructions, _) = program.as_chunks::<8>();
            let returns = instructions.iter().filter(|bytes| bytes[0] == 6);
            returns.map(|bytes| u32::from_le_bytes(bytes[4..].try_into().unwrap())).collect()
        };
        let whole = compile_natively(&asking_about("mkdir")).unwrap();
        let (errno, kill) = (0x0005_0005, 0);

        let asking = returns(&asking_part(&whole));
        assert_eq!(asking, BTreeSet::from([NOTIFY, ALLOW]));
        let deciding = returns(&deciding_part(&whole));
        assert!(deciding.contains(&errno) && !deciding.contains(&NOTIFY));
        assert_eq!(deciding.contains(&kill), returns(&whole).contains(&kill));
    }
}
