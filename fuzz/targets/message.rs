//! `sendmsg(2)`: header, vector and control data. Nothing in what the host gets leads out of the guest's memory, and no
//! descriptor of the monitor's travels, as the kernel reads control data.
#![no_main]

use fuzz::{DATA, DATA_LEN, LAST, fill, hidden, is_harmless, word};
use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use monitor_sys::guest_copy;
use monitor_sys::messages;

/// `SOL_SOCKET`, `SCM_RIGHTS` and `SOL_RDS`.
const RIGHTS: [u32; 2] = [1, 1];
const RDS: u32 = 276;

fuzz_target!(|bytes: &[u8]| {
    // What is too short to be a message is none.
    _ = judge(Unstructured::new(bytes));
});

fn judge(mut input: Unstructured<'_>) -> Result<()> {
    let start = if input.arbitrary()? { DATA } else { LAST };
    let at = start + u64::from(input.arbitrary::<u16>()?) % DATA_LEN;
    let mut header = [0_u64; 7];
    for one in &mut header {
        *one = word(&mut input)?;
    }
    fill(input.take_rest());
    for (one, at) in header.iter().zip((at..).step_by(8)) {
        // A header that ends where memory does is cut off.
        _ = guest_copy::write(at, one);
    }
    let Ok((header, vector, control)) = messages::as_sent(at) else { return Ok(()) };
    let [name, name_len, _, _, _, control_len, _] = header;
    assert!(name == 0 || is_harmless(name, name_len & 0xffff_ffff), "the name is at {name:#x}");
    for element in vector {
        assert!(is_harmless(element.base, element.len), "{element:#x?}");
    }
    // The copy is of whole words, of which the kernel looks at so many bytes.
    let len = usize::try_from(control_len).unwrap_or(usize::MAX);
    let bytes: Vec<u8> = control.iter().flat_map(|word| word.to_le_bytes()).take(len).collect();
    judge_control(&bytes);
    Ok(())
}

/// Goes through control data as `for_each_cmsghdr` does.
fn judge_control(mut bytes: &[u8]) {
    while let Some((header, _)) = bytes.split_at_checked(16) {
        let field = |at: usize| {
            header[at..at + 4].iter().rev().fold(0, |all, &byte| all << 8 | u32::from(byte))
        };
        let len = u64::from(field(4)) << 32 | u64::from(field(0));
        let Ok(len) = usize::try_from(len) else { return };
        let Some(data) = bytes.get(16..len) else { return };
        assert_ne!(field(8), RDS, "it names addresses");
        if [field(8), field(12)] == RIGHTS {
            for number in data.as_chunks::<4>().0 {
                assert_ne!(i32::from_le_bytes(*number), hidden(), "it would travel");
            }
        }
        bytes = bytes.get(len.next_multiple_of(8)..).unwrap_or_default();
    }
}
