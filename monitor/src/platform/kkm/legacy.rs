//! The x87 and SSE state: the device's structure and the standard area of `xsave`.

use monitor_sys::kvm::bindings::kvm_fpu;

use crate::arch::x86_64::extended_state::{AREA_LEN, ExtendedState};

/// Where things lie in the area, in bytes (Intel SDM volume 1, table 10-2).
const MXCSR: usize = 24;
const X87: usize = 32;
const SSE: usize = 160;
const STATES: usize = 512;

/// The device's state as an area with the states x87 and SSE.
pub(super) fn to_area(fpu: &kvm_fpu) -> ExtendedState {
    let mut area = Box::new([0; AREA_LEN]);
    area[0..2].copy_from_slice(&fpu.fcw.to_le_bytes());
    area[2..4].copy_from_slice(&fpu.fsw.to_le_bytes());
    area[4] = fpu.ftwx;
    area[6..8].copy_from_slice(&fpu.last_opcode.to_le_bytes());
    area[8..16].copy_from_slice(&fpu.last_ip.to_le_bytes());
    area[16..24].copy_from_slice(&fpu.last_dp.to_le_bytes());
    area[MXCSR..MXCSR + 4].copy_from_slice(&fpu.mxcsr.to_le_bytes());
    for (slot, register) in area[X87..].chunks_exact_mut(16).zip(fpu.fpr) {
        slot.copy_from_slice(&register);
    }
    for (slot, register) in area[SSE..].chunks_exact_mut(16).zip(fpu.xmm) {
        slot.copy_from_slice(&register);
    }
    area[STATES] = 3;
    ExtendedState::from_area(area)
}

/// The area's states x87 and SSE as the device has them; what the area does not hold is as at a program's start.
pub(super) fn to_device(state: &ExtendedState) -> kvm_fpu {
    let initial = ExtendedState::initial();
    let held = |bit: u64| if state.states() & bit == 0 { initial.area() } else { state.area() };
    let (x87, sse) = (held(1), held(2));
    let word = |at: usize| u64::from_le_bytes(x87[at..at + 8].try_into().expect("eight bytes"));
    let half = |at: usize| u16::from_le_bytes([x87[at], x87[at + 1]]);
    let mxcsr = &state.area()[MXCSR..MXCSR + 4];
    let mut fpu = kvm_fpu {
        fcw: half(0),
        fsw: half(2),
        ftwx: x87[4],
        last_opcode: half(6),
        last_ip: word(8),
        last_dp: word(16),
        mxcsr: u32::from_le_bytes(mxcsr.try_into().expect("four bytes")),
        ..kvm_fpu::default()
    };
    for (register, slot) in fpu.fpr.iter_mut().zip(x87[X87..].chunks_exact(16)) {
        register.copy_from_slice(slot);
    }
    for (register, slot) in fpu.xmm.iter_mut().zip(sse[SSE..].chunks_exact(16)) {
        register.copy_from_slice(slot);
    }
    fpu
}

#[cfg(test)]
mod tests {
    use monitor_sys::kvm::bindings::kvm_fpu;

    use super::{to_area, to_device};
    use crate::arch::x86_64::extended_state::ExtendedState;

    #[test]
    fn a_state_survives_the_area() {
        let mut fpu = kvm_fpu { fcw: 0x27f, mxcsr: 0x1fa0, last_ip: 7, ..kvm_fpu::default() };
        fpu.fpr[7] = [3; 16];
        fpu.xmm[15] = [5; 16];

        assert_eq!(to_device(&to_area(&fpu)), fpu);
    }

    #[test]
    fn what_an_area_does_not_hold_is_initial() {
        let mut area = Box::new([0xff; 4096]);
        area[512..576].fill(0);
        area[24..28].copy_from_slice(&0x1f80_u32.to_le_bytes());

        let fpu = to_device(&ExtendedState::from_area(area));

        assert_eq!((fpu.fcw, fpu.xmm, fpu.mxcsr), (0x37f, [[0; 16]; 16], 0x1f80));
    }
}
