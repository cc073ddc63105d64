//! Arguments of forwarded calls, of every kind: no pointer that the host gets leads out of the guest's memory, in no
//! vector either, and no descriptor is the monitor's.
#![no_main]

use fuzz::{fill, hidden, is_harmless, word};
use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use monitor_sys::abi::{Arg, CALLS, Call, variants};
use monitor_sys::forward;

/// The most elements of a vector, as Linux has it.
const VECTOR_MAX: usize = 1024;

fuzz_target!(|bytes: &[u8]| {
    // What is too short to be a call is none.
    _ = judge(Unstructured::new(bytes));
});

fn judge(mut input: Unstructured<'_>) -> Result<()> {
    let call = call(&mut input)?;
    let mut args = [0; 6];
    for arg in &mut args {
        *arg = word(&mut input)?;
    }
    fill(input.take_rest());
    let (host, vector) = forward::as_made(call, args).expect("a row explains all of its pointers");
    for (at, kind) in call.args.iter().enumerate() {
        let is_good = match *kind {
            Arg::Int | Arg::Word | Arg::Most | Arg::Hex => {
                host[at] == args[at] || is_length(call, at)
            }
            Arg::Fd => host[at] as u32 != hidden().unsigned_abs(),
            Arg::Opaque => false,
            Arg::IovIn(_) | Arg::IovOut(_) if !is_harmless(host[at], 0) => {
                vector.len() <= VECTOR_MAX
            }
            ref pointer => is_harmless(host[at], length(call, pointer, &args, host[at])),
        };
        assert!(is_good, "{} argument {at} {kind:?}: {args:#x?} became {host:#x?}", call.name);
    }
    for element in vector {
        assert!(is_harmless(element.base, element.len), "{} element {element:#x?}", call.name);
    }
    Ok(())
}

/// A row of the main table, or of one by selectors.
fn call(input: &mut Unstructured<'_>) -> Result<&'static Call> {
    let [which, rest]: [u8; 2] = input.arbitrary()?;
    let pick = |mut selectors: Box<dyn Iterator<Item = u64>>| {
        selectors.nth(usize::from(rest)).unwrap_or_default()
    };
    let small = u64::from(rest);
    let row = match which {
        200..=219 => variants::ioctl(pick(Box::new(variants::ioctls()))),
        220..=229 => variants::prctl(pick(Box::new(variants::prctls()))),
        230..=234 => variants::keyctl(pick(Box::new(variants::keyctls()))),
        235..=239 => variants::fcntl(small % 16 + if small > 127 { 1024 } else { 0 }),
        240..=244 => variants::futex(small),
        245..=247 => variants::semctl(small),
        248..=249 => variants::fsconfig(small),
        250 => variants::kcmp(small),
        251..=255 => variants::getsockopt(small % 8, u64::from(which)),
        0..=199 => None,
    };
    let forwardable = || CALLS.iter().filter(|call| call.forwardable);
    let count = forwardable().count();
    let at = usize::from(u16::from_le_bytes([which, rest])) % count;
    let of_table = || forwardable().nth(at).expect("less than there are");
    Ok(row.map_or_else(of_table, |row| row.call()))
}

/// Whether an argument says how long a range of addresses is: it may become shorter.
fn is_length(call: &Call, at: usize) -> bool {
    call.args.contains(&Arg::Span(at))
}

/// How many bytes the kernel looks at behind a pointer, at least as Linux's manual has it.
fn length(call: &Call, kind: &Arg, args: &[u64; 6], host: u64) -> u64 {
    let count = |k: usize| match call.args[k] {
        Arg::Word => args[k] & 0xffff_ffff,
        Arg::Most => args[k].min(0x7fff_ffff),
        _ => args[k],
    };
    let int = |k: usize| (args[k] as u32).cast_signed().max(0).unsigned_abs();
    match *kind {
        Arg::Struct(bytes) => bytes,
        Arg::In(k) | Arg::Out(k) => count(k),
        Arg::Array(k, size) => u64::from(int(k)).saturating_mul(size),
        Arg::Bits(k) => u64::from(int(k)).div_ceil(8),
        // It was made harmless together with its length.
        Arg::Span(k) if is_harmless(host, args[k]) => args[k],
        _ => 1,
    }
}
