//! The state a virtual CPU starts with, and translations of register sets.

use monitor_sys::kvm::bindings::{kvm_regs, kvm_segment, kvm_sregs};

use crate::arch::x86_64::{
    GDT, IDT,
    exceptions::IDT_LIMIT,
    registers::Registers,
    segments::{GDT_LIMIT, TASK, TASK_LIMIT, USER_CODE, USER_DATA},
};

/// Paging, protection, native floating point errors, write protection.
const CR0: u64 = 0x8005_0033;
/// PAE, SSE, FSGSBASE, OSXSAVE.
const CR4: u64 = 0x5_0620;
/// Long mode, `syscall`, no-execute.
const EFER: u64 = 0xd01;

/// The special registers of a CPU that runs a program at level 3.
pub(super) fn set_up(special: &mut kvm_sregs, root: u64, vcpu_page: u64) {
    special.cr0 = CR0;
    special.cr3 = root;
    special.cr4 = CR4;
    special.efer = EFER;
    special.gdt.base = GDT;
    special.gdt.limit = GDT_LIMIT;
    special.idt.base = IDT;
    special.idt.limit = IDT_LIMIT;
    special.tr = segment(TASK, 11, 0);
    special.tr.base = vcpu_page;
    special.tr.limit = TASK_LIMIT;
    special.tr.s = 0;
    special.tr.g = 0;
    enter_user(special);
}

/// Puts the CPU at level 3; the bases of FS and GS stay.
pub(super) fn enter_user(special: &mut kvm_sregs) {
    let (fs, gs) = (special.fs.base, special.gs.base);
    special.cs = segment(USER_CODE, 11, 3);
    special.cs.l = 1;
    special.ss = segment(USER_DATA, 3, 3);
    special.ss.db = 1;
    special.ds = special.ss;
    special.es = special.ss;
    special.fs = special.ss;
    special.gs = special.ss;
    special.fs.base = fs;
    special.gs.base = gs;
}

fn segment(selector: u16, kind: u8, level: u8) -> kvm_segment {
    kvm_segment {
        limit: 0xffff_ffff,
        selector,
        type_: kind,
        present: 1,
        dpl: level,
        s: 1,
        g: 1,
        ..kvm_segment::default()
    }
}

macro_rules! same_fields {
    ($($field:ident),*) => {
        /// The device's registers as the monitor's.
        pub(super) fn from_device(registers: &kvm_regs) -> Registers {
            Registers { $($field: registers.$field),* }
        }

        /// The monitor's registers as the device's.
        pub(super) fn to_device(registers: &Registers) -> kvm_regs {
            kvm_regs { $($field: registers.$field),* }
        }
    };
}

same_fields!(
    rax, rbx, rcx, rdx, rsi, rdi, rsp, rbp, r8, r9, r10, r11, r12, r13, r14, r15, rip, rflags
);
