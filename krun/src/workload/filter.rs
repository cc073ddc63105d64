//! The workload's seccomp profile, as a program that the monitor runs at its gate.
//!
//! libseccomp translates the profile, with runc's reading of it; the monitor asks the
//! program about each of the guest's calls. The monitor itself is under no such filter:
//! a profile that is right for a workload would be wrong for it.

use std::fs::File;
use std::io::{self, Read, Seek};

use libcontainer::oci_spec::runtime::{
    LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompOperator, LinuxSyscall,
};
use libseccomp::error::SeccompError;
use libseccomp::{ScmpAction, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall};
use rustix::fs::{MemfdFlags, memfd_create};

/// `EPERM`: what a call fails with where the profile names no error.
const EPERM: u32 = 1;
/// `ENOSYS`.
const ENOSYS: u32 = 38;

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

/// Translates a profile. Returns classic BPF, as `seccomp(2)` takes it.
pub(crate) fn compile(profile: &LinuxSeccomp) -> Result<Vec<u8>, FilterError> {
    let default = action(profile.default_action(), profile.default_errno_ret())?;
    let mut filter = ScmpFilterContext::new(default)?;
    let mut newest = 0;
    for rule in profile.syscalls().iter().flatten() {
        for name in rule.names() {
            // As in runc, a call that this libseccomp does not know is passed over.
            let Ok(call) = ScmpSyscall::from_name(name) else { continue };
            newest = newest.max(i32::from(call));
            add(&mut filter, call, rule, default)?;
        }
    }
    let program = export(&filter)?;
    Ok(match (default, u32::try_from(newest)) {
        (ScmpAction::Allow, _) | (_, Err(_) | Ok(0)) => program,
        (_, Ok(newest)) => [unknown_calls_fail(newest), program].concat(),
    })
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
fn unknown_calls_fail(newest: u32) -> Vec<u8> {
    let fail = 0x0005_0000 | ENOSYS;
    // Load the number; if it is greater than `newest`, fail; else go on behind.
    let instructions: [(u16, u8, u8, u32); 3] =
        [(0x20, 0, 0, 0), (0x25, 0, 1, newest), (0x06, 0, 0, fail)];
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

    use super::{FilterError, compile};

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
        assert_eq!(program[8 + 4..16], 135_u32.to_le_bytes(), "personality is the newest");
    }

    #[test]
    fn an_agents_profile_is_refused_in_words() {
        let error = compile(&profile(r#"{"defaultAction": "SCMP_ACT_NOTIFY"}"#)).unwrap_err();

        assert!(matches!(error, FilterError::Notify));
        assert_eq!(error.to_string(), "linux.seccomp: SCMP_ACT_NOTIFY is not supported yet");
    }
}
