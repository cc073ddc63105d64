//! The workload's seccomp profile, as a program that the monitor runs at its gate, or the kernel for
//! a native program.
//!
//! libseccomp translates the profile, with runc's reading of it; the monitor asks the
//! program about each of the guest's calls. The monitor itself is under no such filter:
//! a profile that is right for a workload would be wrong for it.

use std::fs::File;
use std::io::{self, Read, Seek};

use libcontainer::oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompFilterFlag,
    LinuxSeccompOperator, LinuxSyscall,
};
use libseccomp::error::SeccompError;
use libseccomp::{
    ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall,
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

/// Why a profile cannot be enforced.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FilterError {
    /// The profile wants something of libseccomp that it refuses.
    #[error("linux.seccomp: {0}")]
    Profile(#[from] SeccompError),
    /// An agent is to decide about calls.
    #[error("linux.seccomp: SCMP_ACT_NOTIFY is not supported yet")]
    Notify,
    /// The program could not be taken out of libseccomp.
    #[error("linux.seccomp: export the filter: {0}")]
    Export(#[from] io::Error),
}

/// Translates a profile for a guest, whose calls are those of x86-64 alone. Returns classic BPF, as
/// `seccomp(2)` takes it.
pub(crate) fn compile(profile: &LinuxSeccomp) -> Result<Vec<u8>, FilterError> {
    compile_for(profile, &[])
}

/// What the kernel is to ask about the calls of a monitor: `return ALLOW`.
pub(super) fn of_monitor() -> Vec<u8> {
    const RETURN: u16 = 0x06;
    const ALLOW: u32 = 0x7fff_0000;
    [&RETURN.to_ne_bytes()[..], &[0; 2], &ALLOW.to_ne_bytes()].concat()
}

/// Translates a profile for a native program, which can make the calls of all architectures that the
/// profile names.
pub(super) fn compile_natively(profile: &LinuxSeccomp) -> Result<Vec<u8>, FilterError> {
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
pub(super) fn flags(profile: &LinuxSeccomp) -> u32 {
    use LinuxSeccompFilterFlag as Flag;
    let Some(flags) = profile.flags() else { return SPEC_ALLOW };
    flags.iter().fold(0, |all, flag| {
        all | match flag {
            Flag::SeccompFilterFlagTsync => TSYNC,
            Flag::SeccompFilterFlagLog => LOG,
            Flag::SeccompFilterFlagSpecAllow => SPEC_ALLOW,
            // It is about SCMP_ACT_NOTIFY, which is refused.
            Flag::SeccompFilterFlagWaitKillableRecv => 0,
        }
    })
}

fn compile_for(profile: &LinuxSeccomp, others: &[ScmpArch]) -> Result<Vec<u8>, FilterError> {
    let default = action(profile.default_action(), profile.default_errno_ret())?;
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

fn action(action: LinuxSeccompAction, errno: Option<u32>) -> Result<ScmpAction, FilterError> {
    let errno = errno.unwrap_or(EPERM);
    Ok(match action {
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
        LinuxSeccompAction::ScmpActNotify => return Err(FilterError::Notify),
    })
}

/// Adds the rule for one call. As in runc, conditions on one argument are alternatives,
/// conditions on different arguments must all hold.
fn add(
    filter: &mut ScmpFilterContext,
    call: ScmpSyscall,
    rule: &LinuxSyscall,
    default: ScmpAction,
) -> Result<(), FilterError> {
    let action = action(rule.action(), rule.errno_ret())?;
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
    let instructions: [(u16, u8, u8, u32); 5] = [
        (0x20, 0, 0, 4),
        (0x15, 0, 3, architecture),
        (0x20, 0, 0, 0),
        (0x25, 0, 1, newest),
        (0x06, 0, 0, 0x0005_0000 | ENOSYS),
    ];
    let bytes = |&(code, yes, no, k): &(u16, u8, u8, u32)| {
        let [low, high] = code.to_le_bytes();
        let [k0, k1, k2, k3] = k.to_le_bytes();
        [low, high, yes, no, k0, k1, k2, k3]
    };
    instructions.iter().flat_map(bytes).collect()
}

#[cfg(test)]
mod tests {
    use libcontainer::oci_spec::runtime::LinuxSeccomp;

    use super::{FilterError, compile, compile_natively, flags};

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

    #[test]
    fn an_agents_profile_is_refused_in_words() {
        let error = compile(&profile(r#"{"defaultAction": "SCMP_ACT_NOTIFY"}"#)).unwrap_err();

        assert!(matches!(error, FilterError::Notify));
        assert_eq!(error.to_string(), "linux.seccomp: SCMP_ACT_NOTIFY is not supported yet");
    }
}
