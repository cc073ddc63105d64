//! Segment descriptors, and the task state with its map of ports.
//!
//! The values worked on VMX, SVM and PVM alike. `STAR` makes `syscall` load
//! [`KERNEL_CODE`] and `sysretq` load [`USER_CODE`] and [`USER_DATA`].

/// Supervisor code.
pub const KERNEL_CODE: u16 = 0x08;
/// Supervisor data.
pub const KERNEL_DATA: u16 = 0x10;
/// The guest program's data, with privilege level 3.
pub const USER_DATA: u16 = 0x1b;
/// The guest program's code, with privilege level 3.
pub const USER_CODE: u16 = 0x23;
/// The task state segment.
pub const TASK: u16 = 0x28;

/// The descriptors that never change; the task's differs from CPU to CPU and is
/// loaded directly.
pub const GDT_WORDS: [u64; 5] =
    [0, 0x00af_9b00_0000_ffff, 0x00cf_9300_0000_ffff, 0x00cf_f300_0000_ffff, 0x00af_fb00_0000_ffff];

/// The last byte of the table.
pub const GDT_LIMIT: u16 = 39;

/// `IA32_STAR`.
pub const MSR_STAR: u32 = 0xc000_0081;
/// `IA32_LSTAR`: where `syscall` goes.
pub const MSR_LSTAR: u32 = 0xc000_0082;
/// `IA32_FMASK`: the flags that `syscall` clears.
pub const MSR_FMASK: u32 = 0xc000_0084;

/// What [`MSR_STAR`] holds.
pub const STAR: u64 = (0x13 << 48) | (0x08 << 32);
/// What [`MSR_FMASK`] holds, as Linux sets it.
pub const FMASK: u64 = 0x25_7fd5;

/// The port by which the gate leaves the guest.
pub const GATE_PORT: u8 = 0x80;

/// Where the map of ports begins in the task state, in bytes.
const PORT_MAP: usize = 104;
/// The bytes of the map, for ports 0 to 0x87; what lies behind is denied.
const PORT_MAP_LEN: usize = 17;

/// The task state's last byte: the map, and the byte of ones the CPU wants
/// behind it.
pub const TASK_LIMIT: u32 = 104 + 17;

/// The bytes of a task state whose exception stack ends at `stack_end`, and
/// which lets level 3 use the gate's port and no other.
pub fn task_state(stack_end: u64) -> [u8; 128] {
    let mut task = [0; 128];
    task[4..12].copy_from_slice(&stack_end.to_le_bytes());
    let map_at = u16::try_from(PORT_MAP).expect("104");
    task[102..104].copy_from_slice(&map_at.to_le_bytes());
    task[PORT_MAP..=PORT_MAP + PORT_MAP_LEN].fill(0xff);
    task[PORT_MAP + usize::from(GATE_PORT / 8)] = !(1 << (GATE_PORT % 8));
    task
}

#[cfg(test)]
mod tests {
    use super::{PORT_MAP, TASK_LIMIT, task_state};

    fn is_open(task: &[u8], port: usize) -> bool {
        let byte = PORT_MAP + port / 8;
        byte < usize::try_from(TASK_LIMIT).unwrap() && task[byte] & (1 << (port % 8)) == 0
    }

    #[test]
    fn only_the_gates_port_is_open() {
        let task = task_state(0);

        let open: Vec<_> = (0..0x1_0000).filter(|&port| is_open(&task, port)).collect();

        assert_eq!(open, [0x80]);
    }
}
