//! The steps on the way to a program, as `--debug` tells them: in runc's words, for which people search its logs.
//!
//! They are told by krun, when it has made a step or has seen that the process in the container has.

/// What has the namespaces begins to set up the container, or to enter it.
pub(crate) const SETUP: &str = "nsexec container setup";

/// The process in the container has done its part, and krun knows which it is.
pub(crate) const CHILD: &str = "child process in init()";

/// The container's first process has said through the pipe that it waits for `start`.
pub(crate) const COMPLETE: &str = "init: closing the pipe to signal completion";

/// The process of `exec` is all but the program.
pub(crate) const EXEC: &str = "setns_init: about to exec";

/// Tells that these were made.
pub(crate) fn tell(steps: &[&str]) {
    for step in steps {
        tracing::debug!("{step}");
    }
}
