//! What the module keeps: machines with their slots, and whose memory they belong to.

use std::collections::HashMap;

use crate::vcpu::Cpu;

/// A file, by device and inode: however often its descriptor was duplicated, passed on or inherited.
pub(crate) type FileId = (u64, u64);

/// `EINVAL`.
pub(crate) const EINVAL: i64 = 22;
/// Slots are numbered from 0 to this.
const SLOT_MAX: u64 = 63;
const PAGE: u64 = 4096;

/// Memory that a slot names.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot {
    guest: u64,
    host: u64,
    len: u64,
}

/// A virtual machine.
#[derive(Debug, Default)]
pub(crate) struct Machine {
    /// Whose memory it runs on.
    pub(crate) memory: u64,
    pub(crate) slots: HashMap<u64, Slot>,
    pub(crate) cpus: u64,
}

/// Everything behind the device.
#[derive(Debug, Default)]
pub(crate) struct Module {
    pub(crate) machines: HashMap<FileId, Machine>,
    pub(crate) cpus: HashMap<FileId, Cpu>,
}

impl Machine {
    /// `SET_USER_MEMORY_REGION`, given its structure's words.
    pub(crate) fn set_slot(&mut self, words: [u64; 4]) -> i64 {
        let [number, guest, len, host] = words;
        let number = number & 0xffff_ffff;
        let aligned = [guest, len, host].iter().all(|value| value.is_multiple_of(PAGE));
        if number > SLOT_MAX || !aligned || (len == 0) != self.slots.contains_key(&number) {
            return -EINVAL;
        }
        if len == 0 {
            self.slots.remove(&number);
            return 0;
        }
        let apart = |a: u64, a_len: u64, b: u64, b_len: u64| a + a_len <= b || b + b_len <= a;
        let free = self.slots.values().all(|slot| {
            apart(slot.guest, slot.len, guest, len) && apart(slot.host, slot.len, host, len)
        });
        if !free {
            return -EINVAL;
        }
        self.slots.insert(number, Slot { guest, host, len });
        0
    }

    /// Whether a slot's page is mapped, without which the guest's view of memory goes stale.
    pub(crate) fn is_held(&self, process: i32) -> bool {
        let mut byte = [0];
        let mut slots = self.slots.values();
        slots.any(|slot| integration_sys::read(process, slot.host, &mut byte).is_ok())
    }
}
