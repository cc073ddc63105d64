//! Keyrings. They are the host kernel's, and krun gives each container a session
//! keyring of its own; whether a container may use them at all is for its seccomp
//! profile to say, as with any runtime.

use monitor_sys::{Errno, abi::variants};

use super::{Answer, Args};
use crate::thread::Thread;

/// An operation without a row is refused as by a kernel built without it.
pub(super) fn keyctl(thread: &mut Thread, args: Args) -> Answer {
    super::forward(thread, variants::keyctl(args[0]).ok_or(Errno::EOPNOTSUPP)?, args)
}
