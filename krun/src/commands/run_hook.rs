//! `krun run-hook`: what libcontainer runs in place of a hook (see `creation::hook_order`).

use std::env;
use std::io::{self, Read};
use std::process::ExitCode;

use hooks::Point;
use rustix::process::{Pid, getppid};
use serde_json::Value;
use spec_compat::OCI_VERSION;

use super::VerbError;
use crate::cli::RunHook;
use crate::container::start_gate;
use crate::creation::{
    self, BareMountError, DirectoryError, FarDeviceError, HookOrder, Order, ReplaceError,
};
use crate::error_chain;

/// Why a hook failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunHookError {
    /// This was not called by libcontainer.
    #[error("run-hook is for internal use: {0}")]
    Order(#[from] serde_json::Error),
    /// Others could look into it.
    #[error("hide krun from the container's processes")]
    Hide(#[source] io::Error),
    /// It cannot run where it belongs.
    #[error("go back to where krun is, for a hook")]
    Home(#[source] io::Error),
    /// It has no working directory.
    #[error("go to the working directory of a hook")]
    Directory(#[source] io::Error),
    /// The state does not come.
    #[error("read the container's state")]
    State(#[source] io::Error),
    /// Mounts do not get their mappings.
    #[error(transparent)]
    Mounts(#[from] ReplaceError),
    /// The program has no working directory, and it cannot be made.
    #[error(transparent)]
    WorkingDirectory(#[from] DirectoryError),
    /// A device cannot be made.
    #[error(transparent)]
    Devices(#[from] FarDeviceError),
    /// The host's mounts stay.
    #[error(transparent)]
    BareMounts(#[from] BareMountError),
    /// The hook itself.
    #[error("error running {point} hook #{index}: {failure}")]
    Failed {
        /// Where in the container's life.
        point: String,
        /// Which of the point's hooks.
        index: usize,
        /// What happened.
        failure: hooks::Failure,
    },
}

/// A failure of the hook is told through the start gate, and only there: it is up to the
/// `create` that waits at the gate to log it.
pub(super) fn run_hook(arguments: &RunHook) -> Result<ExitCode, VerbError> {
    // The container's processes may see this one: they shall find neither the host's binary nor its descriptors.
    nix::sys::prctl::set_dumpable(false).map_err(|errno| RunHookError::Hide(errno.into()))?;
    let order: Order = serde_json::from_str(&arguments.order).map_err(RunHookError::from)?;
    run_at_home(&order)
}

fn run_and_tell(order: &Order) -> Result<ExitCode, VerbError> {
    match (carry_out(order), start_gate::open_both_ways(order.gate())) {
        (Ok(()), _) => Ok(ExitCode::SUCCESS),
        (Err(error), Ok(gate)) => {
            start_gate::report_fault(&gate, &error_chain::text(&error));
            Ok(ExitCode::FAILURE)
        }
        (Err(error), Err(_)) => Err(error.into()),
    }
}

fn carry_out(order: &Order) -> Result<(), RunHookError> {
    let mut text = String::new();
    io::stdin().read_to_string(&mut text).map_err(RunHookError::State)?;
    let state: Value = serde_json::from_str(&text)?;
    match order {
        Order::Hook(order) => run(order, state),
        Order::Mounts(order) => {
            let pid = state["pid"].as_i64().and_then(|pid| pid.try_into().ok()).unwrap_or(0);
            Ok(creation::map_owners(order, pid)?)
        }
        Order::Devices(order) => Ok(creation::make_devices(order)?),
        Order::Directory(order) => Ok(creation::make_directory(order)?),
        Order::BareMounts(order) => Ok(creation::take_bare_mounts_away(order)?),
    }
}

/// Goes to where krun is, if the hook is to run there.
fn run_at_home(order: &Order) -> Result<ExitCode, VerbError> {
    let Order::Hook(HookOrder { home: Some(home), .. }) = order else {
        return run_and_tell(order);
    };
    let status = home.call(|| u8::from(run_and_tell(order).ok() != Some(ExitCode::SUCCESS)));
    Ok(ExitCode::from(status.map_err(RunHookError::Home)?))
}

fn run(order: &HookOrder, mut state: Value) -> Result<(), RunHookError> {
    state["bundle"] = order.bundle.display().to_string().into();
    state["ociVersion"] = OCI_VERSION.into();
    let point = Point::named(&order.point).unwrap_or(Point::CreateRuntime);
    if state["pid"].is_null() {
        // In the container libcontainer leaves it out. It is the process whose child this is, as it sees
        // itself.
        state["pid"] = getppid().map_or(0, Pid::as_raw_pid).into();
    }
    env::set_current_dir(&order.directory).map_err(RunHookError::Directory)?;
    let hook = std::slice::from_ref(&order.hook);
    hooks::run(point, hook, &state.to_string(), &[]).map_err(|error| RunHookError::Failed {
        point: order.point.clone(),
        index: order.index,
        failure: error.failure,
    })
}

#[cfg(test)]
mod tests {
    use nix::sys::prctl;

    use super::run_hook;
    use crate::cli::RunHook;

    #[test]
    fn nobody_looks_into_it() {
        let refused = run_hook(&RunHook { order: "no order".into() });

        assert!(refused.is_err());
        assert_eq!(prctl::get_dumpable(), Ok(false));
    }
}
