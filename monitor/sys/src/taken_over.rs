//! A monitor that its guest has taken over, for tests of what the host's kernel refuses to it.

use crate::host_call;

#[cfg(not(debug_assertions))]
compile_error!("the feature taken-over is for tests, and not for a release");

/// What the guest adds to the number of a call that its monitor is to make.
const BY_MONITOR: u64 = 0x1000_0000;

/// Makes the call that the guest wants made, with its own arguments and no check. `None` if it is no such call.
pub fn make(number: u64, args: [u64; 6]) -> Option<u64> {
    let number = number.checked_sub(BY_MONITOR).filter(|&number| number < 4096)?;
    let number = i64::try_from(number).ok()?;
    // SAFETY: none. That is the attack, which only this feature's build is open to.
    let result = unsafe { host_call::raw(number, args) };
    Some(
        result
            .unwrap_or_else(|errno| i64::from(errno_number(errno)).wrapping_neg().cast_unsigned()),
    )
}

#[expect(clippy::as_conversions, reason = "the only way to an enumeration's number")]
fn errno_number(errno: nix::errno::Errno) -> i32 {
    errno as i32
}
