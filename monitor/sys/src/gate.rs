//! The code of the gate: what the guest's CPU executes behind `syscall` once calls need not leave the guest.
//!
//! It is copied into a page of the guest's, one copy for each CPU, and never runs in the monitor. A copy
//! finds what belongs to it relative to itself: the words it only reads behind its code in the same page,
//! those it writes in the next one. So it needs no register that a program could have changed.
//!
//! # A call's way
//!
//! By its number's class a call *leaves* (as every call did before), is *answered* with a word that was left
//! for it, or is *posted*: its number and arguments are written down, and a thread of the monitor's that
//! looks for them makes the call while the CPU waits. What is not taken up in time is taken back.
//! `rt_sigaction(2)` can be of a class of its own: what changes nothing outside of the program is answered from a
//! *table* behind the posted call, an action for each signal, and so can be `rt_sigprocmask(2)`; and there are classes
//! for the first calls of a program, which mostly tell the monitor what it need not know before the CPU leaves for
//! something else. If the program's memory faults meanwhile ([`copy`]) the call leaves after all ([`by_class`]).
//!
//! From [`tail`] on all is done again from memory if the CPU is interrupted there: nothing is lost when the
//! monitor puts it back to the tail's start.

use std::arch::global_asm;

/// What a call's class says: it leaves the guest.
pub const CLASS_LEAVES: u8 = 0;
/// It is posted.
pub const CLASS_POSTED: u8 = 1;
/// It is `rt_sigaction(2)`, and answered from the table of actions where that can be. Only where the gate's code
/// runs at the program's level: it follows the program's pointers.
pub const CLASS_ACTION: u8 = 2;
/// It is `rt_sigprocmask(2)`: what asks and sets nothing is answered with a word that was left for it, while there is
/// one. Only where the gate's code runs at the program's level.
pub const CLASS_MASK: u8 = 3;
/// It is `arch_prctl(2)`: the thread pointer is set. This and the next ones are for a program's first calls, and only
/// where the gate's code runs at the program's level.
pub const CLASS_THREAD_POINTER: u8 = 4;
/// It is `set_tid_address(2)`: the address is noted, and answered with the first of the answers.
pub const CLASS_CLEAR_AT_EXIT: u8 = 5;
/// It is `set_robust_list(2)`: the list is noted.
pub const CLASS_ROBUST_LIST: u8 = 6;
/// It is `brk(2)`: what moves the heap's end within its last page is noted, what asks is answered.
pub const CLASS_BREAK: u8 = 7;
/// It is `getrandom(2)`: eight bytes that were left for it are given once.
pub const CLASS_RANDOM: u8 = 8;
/// It is `prlimit64(2)`: what asks for the limit of the stack is answered, if the answer is new enough.
pub const CLASS_STACK_LIMIT: u8 = 9;
/// With the index of an answer in the lower bits: it is answered with that.
pub const CLASS_ANSWERED: u8 = 0x80;

/// The numbers below this have a class; others leave.
pub const CLASSES: usize = 512;
/// The signals that can be set, by their number modulo 64: all but `SIGKILL` and `SIGSTOP`. The gate sets them from
/// one default action to another: mostly nothing but the table knows the difference.
pub const SETTABLE: u64 = !(1 << 9 | 1 << 19);
/// Those for which the host has to do it, too, before anything else: `SIGCHLD`, `SIGCONT`, `SIGURG` and `SIGWINCH`,
/// which are forgotten if they wait and are set so, and those that can be [`IGNORED`]. See [`posted::FORGOTTEN`].
pub const FORGETFUL: u64 = 1 << 17 | 1 << 18 | 1 << 23 | 1 << 28 | IGNORED;
/// Those that the gate sets to be ignored, too: the two that glibc keeps for itself, and ignores before it executes a
/// program. They are forgotten if they wait.
pub const IGNORED: u64 = 1 << 32 | 1 << 33;

/// How many answers there is room for.
pub const ANSWERS: usize = 32;

/// Words of the code's page, by their number.
pub mod fixed {
    /// The first of the classes' bytes.
    pub const CLASSES: usize = 256;
    /// The first of the answers.
    pub const ANSWERS: usize = 320;
    /// Not 0 if calls need not leave.
    pub const ENABLED: usize = 352;
    /// Not 0 if `syscall` leads to level 0.
    pub const KERNEL: usize = 353;
    /// How often a posted call is looked at before it is taken back.
    pub const PATIENCE: usize = 354;
    /// Not 0 if the CPU shall leave before it goes on with the program.
    pub const LEAVE: usize = 355;
    /// Not 0 if the next word is the thread's mask.
    pub const MASK_IS_KNOWN: usize = 356;
    /// The signals that the thread has blocked.
    pub const MASK: usize = 357;
    /// Where the heap begins.
    pub const HEAP: usize = 358;
    /// Where the heap's last page ends.
    pub const HEAP_END: usize = 359;
    /// Up to which count of the time stamp counter the next two words hold.
    pub const FRESH_UNTIL: usize = 360;
    /// The stack's limits, the soft and the hard one.
    pub const STACK_LIMITS: usize = 361;
}

/// Words of the page behind it, by their number. The guest can write them all where the code runs at its level.
pub mod posted {
    /// What has become of the posted call; see the numbers of [`super::state`].
    pub const STATE: usize = 0;
    /// Its number, later its result.
    pub const NUMBER: usize = 1;
    /// The first of its six arguments.
    pub const ARGUMENTS: usize = 2;
    /// Why the CPU has left; see the numbers of [`super::reason`].
    pub const REASON: usize = 20;
    /// The first of the actions, each of which has four words: `struct sigaction` of the system call.
    pub const ACTIONS: usize = 256;
    /// How many calls were answered.
    pub const ANSWERED: usize = 22;
    /// Which of the [`super::FORGETFUL`] signals were set, by their number.
    pub const FORGOTTEN: usize = 26;
    /// What `set_tid_address(2)` has set.
    pub const CLEAR_AT_EXIT: usize = 27;
    /// What `set_robust_list(2)` has set.
    pub const ROBUST_LIST: usize = 28;
    /// The heap's end.
    pub const BREAK: usize = 29;
    /// Which of the three were set; see the bits of [`super::noted`].
    pub const NOTED: usize = 30;
    /// Eight random bytes, or 0.
    pub const RANDOM: usize = 31;
}

/// What the gate has noted.
pub mod noted {
    /// [`super::posted::CLEAR_AT_EXIT`].
    pub const CLEAR_AT_EXIT: u64 = 1;
    /// [`super::posted::ROBUST_LIST`].
    pub const ROBUST_LIST: u64 = 2;
    /// [`super::posted::BREAK`].
    pub const BREAK: u64 = 4;
}

/// States of a posted call.
pub mod state {
    /// There is none.
    pub const IDLE: u64 = 0;
    /// It waits to be taken up.
    pub const POSTED: u64 = 1;
    /// It was taken up.
    pub const TAKEN: u64 = 2;
    /// Its result is there.
    pub const DONE: u64 = 3;
    /// The CPU has to leave with it. The word of the number says how much of it is done.
    pub const DECLINED: u64 = 4;
}

/// Why the CPU has left.
pub mod reason {
    /// The call's class said so.
    pub const CLASS: u64 = 0;
    /// Nobody looks for posted calls.
    pub const NOBODY: u64 = 1;
    /// It was not taken up in time, and is taken back.
    pub const LATE: u64 = 2;
    /// It was taken up, and is not done in time.
    pub const TAKEN: u64 = 3;
    /// It was declined.
    pub const DECLINED: u64 = 4;
    /// No call: the monitor wanted it. The result of the last one is in its register.
    pub const WANTED: u64 = 5;
}

/// Where all copies find the word that is 1 while somebody looks for posted calls.
pub const LOOKED_FOR: u64 = 0xffff_ffff_8000_4000;

global_asm!(
    ".pushsection .rodata.monitor_gate, \"a\", @progbits",
    ".balign 64",
    ".global monitor_gate_begin",
    ".global monitor_gate_tail",
    ".global monitor_gate_tail_end",
    ".global monitor_gate_by_class",
    ".global monitor_gate_copy",
    ".global monitor_gate_copy_end",
    ".global monitor_gate_out",
    ".global monitor_gate_end",
    "monitor_gate_begin:",
    ".Lgate:",
    ".set .Lgate_classes, .Lgate + 2048",
    ".set .Lgate_answers, .Lgate + 2560",
    ".set .Lgate_enabled, .Lgate + 2816",
    ".set .Lgate_kernel, .Lgate + 2824",
    ".set .Lgate_patience, .Lgate + 2832",
    ".set .Lgate_leave, .Lgate + 2840",
    ".set .Lgate_mask_is_known, .Lgate + 2848",
    ".set .Lgate_mask_word, .Lgate + 2856",
    ".set .Lgate_state, .Lgate + 4096",
    ".set .Lgate_number, .Lgate + 4104",
    ".set .Lgate_arguments, .Lgate + 4112",
    ".set .Lgate_rcx, .Lgate + 4224",
    ".set .Lgate_r11, .Lgate + 4232",
    ".set .Lgate_rsp, .Lgate + 4240",
    ".set .Lgate_rax, .Lgate + 4248",
    ".set .Lgate_reason, .Lgate + 4256",
    ".set .Lgate_result, .Lgate + 4264",
    ".set .Lgate_new, .Lgate + 4280",
    ".set .Lgate_new_handler, .Lgate + 4352",
    ".set .Lgate_answered_calls, .Lgate + 4272",
    ".set .Lgate_forgotten, .Lgate + 4304",
    ".set .Lgate_heap, .Lgate + 2864",
    ".set .Lgate_heap_end, .Lgate + 2872",
    ".set .Lgate_fresh_until, .Lgate + 2880",
    ".set .Lgate_stack_limits, .Lgate + 2888",
    ".set .Lgate_clear_at_exit, .Lgate + 4312",
    ".set .Lgate_robust_list, .Lgate + 4320",
    ".set .Lgate_break, .Lgate + 4328",
    ".set .Lgate_noted, .Lgate + 4336",
    ".set .Lgate_random, .Lgate + 4344",
    ".set .Lgate_stack, .Lgate + 6144",
    ".set .Lgate_actions, .Lgate + 6144",
    // All that changes is put back from memory: rcx, r11 and rsp for the program, rax for the monitor.
    "mov %rcx, .Lgate_rcx(%rip)",
    "mov %r11, .Lgate_r11(%rip)",
    "mov %rsp, .Lgate_rsp(%rip)",
    "mov %rax, .Lgate_rax(%rip)",
    "cmpq $0, .Lgate_enabled(%rip)",
    "je .Lgate_by_class",
    "cmp $511, %rax",
    "ja .Lgate_by_class",
    // A program that is executed step by step takes none in here.
    "bt $8, %r11",
    "jc .Lgate_by_class",
    "lea .Lgate_classes(%rip), %rcx",
    "movzbl (%rcx,%rax), %ecx",
    "test %ecx, %ecx",
    "jz .Lgate_by_class",
    "test $0x80, %cl",
    "jnz .Lgate_answered",
    "cmp $2, %ecx",
    "je .Lgate_action",
    "cmp $3, %ecx",
    "je .Lgate_mask",
    "ja .Lgate_first",
    "cmpq $1, {looked_for}",
    "jne .Lgate_nobody",
    // Posted: the state is written last.
    "mov %rax, .Lgate_number(%rip)",
    "mov %rdi, .Lgate_arguments(%rip)",
    "mov %rsi, .Lgate_arguments+8(%rip)",
    "mov %rdx, .Lgate_arguments+16(%rip)",
    "mov %r10, .Lgate_arguments+24(%rip)",
    "mov %r8, .Lgate_arguments+32(%rip)",
    "mov %r9, .Lgate_arguments+40(%rip)",
    "movq $1, .Lgate_state(%rip)",
    "mov .Lgate_patience(%rip), %ecx",
    ".Lgate_wait:",
    "mov .Lgate_state(%rip), %r11",
    "cmp $3, %r11",
    "jae .Lgate_over",
    "pause",
    "dec %ecx",
    "jnz .Lgate_wait",
    "mov $1, %eax",
    "xor %ecx, %ecx",
    "lock cmpxchg %rcx, .Lgate_state(%rip)",
    "jne .Lgate_taken",
    "movq $2, .Lgate_reason(%rip)",
    "jmp .Lgate_leave_guest",
    "monitor_gate_by_class:",
    ".Lgate_by_class:",
    "movq $0, .Lgate_reason(%rip)",
    "jmp .Lgate_leave_guest",
    ".Lgate_nobody:",
    "movq $1, .Lgate_reason(%rip)",
    "jmp .Lgate_leave_guest",
    // Taken: a file system may be at work. To leave would cost an exit more than to wait for so long again.
    ".Lgate_taken:",
    "mov .Lgate_patience(%rip), %ecx",
    ".Lgate_wait_on:",
    "mov .Lgate_state(%rip), %r11",
    "cmp $3, %r11",
    "jae .Lgate_over",
    "pause",
    "dec %ecx",
    "jnz .Lgate_wait_on",
    "movq $3, .Lgate_reason(%rip)",
    "jmp .Lgate_leave_guest",
    ".Lgate_declined:",
    "movq $4, .Lgate_reason(%rip)",
    ".Lgate_leave_guest:",
    "mov .Lgate_rax(%rip), %rax",
    "mov .Lgate_r11(%rip), %r11",
    "mov .Lgate_rcx(%rip), %rcx",
    "monitor_gate_out:",
    "out %al, $0x80",
    "sysretq",
    // rt_sigaction(signal, new, old, 8): rcx is the signal's action in the table.
    ".Lgate_action:",
    "cmp $8, %r10",
    "jne .Lgate_by_class",
    "mov %edi, %ecx",
    "dec %ecx",
    "cmp $63, %ecx",
    "ja .Lgate_by_class",
    "shl $5, %ecx",
    "lea .Lgate_actions(%rip), %r11",
    "add %r11, %rcx",
    // Neither place may lie where the program has no memory.
    "mov %rdx, %r11",
    "or %rsi, %r11",
    "shr $39, %r11",
    "jnz .Lgate_by_class",
    "test %rsi, %rsi",
    "jz .Lgate_follow",
    "cmpq $0, (%rcx)",
    "jne .Lgate_by_class",
    "jmp .Lgate_follow",
    // rt_sigprocmask(how, null, old, 8): what is blocked.
    ".Lgate_mask:",
    "cmp $8, %r10",
    "jne .Lgate_by_class",
    "test %rsi, %rsi",
    "jnz .Lgate_by_class",
    "test %rdx, %rdx",
    "jz .Lgate_by_class",
    "mov %rdx, %r11",
    "shr $39, %r11",
    "jnz .Lgate_by_class",
    "cmpq $0, .Lgate_mask_is_known(%rip)",
    "je .Lgate_by_class",
    "mov .Lgate_mask_word(%rip), %rcx",
    "jmp .Lgate_give_mask",
    // A program's first calls.
    ".Lgate_first:",
    "cmp $4, %ecx",
    "je .Lgate_thread_pointer",
    "cmp $5, %ecx",
    "je .Lgate_clears_at_exit",
    "cmp $6, %ecx",
    "je .Lgate_robust",
    "cmp $7, %ecx",
    "je .Lgate_heap_call",
    "cmp $8, %ecx",
    "je .Lgate_random_call",
    "cmp $9, %ecx",
    "jne .Lgate_by_class",
    // prlimit64(0, RLIMIT_STACK, null, old).
    "test %edi, %edi",
    "jnz .Lgate_by_class",
    "cmp $3, %esi",
    "jne .Lgate_by_class",
    "test %rdx, %rdx",
    "jnz .Lgate_by_class",
    "test %r10, %r10",
    "jz .Lgate_by_class",
    "mov %r10, %rcx",
    "shr $39, %rcx",
    "jnz .Lgate_by_class",
    "rdtsc",
    "shl $32, %rdx",
    "or %rax, %rdx",
    "mov %rdx, %rcx",
    "xor %edx, %edx",
    "cmp .Lgate_fresh_until(%rip), %rcx",
    "jae .Lgate_by_class",
    "mov .Lgate_stack_limits(%rip), %rcx",
    "mov .Lgate_stack_limits+8(%rip), %r11",
    "jmp .Lgate_give_limits",
    // getrandom(buffer, 8, GRND_NONBLOCK).
    ".Lgate_random_call:",
    "cmp $8, %rsi",
    "jne .Lgate_by_class",
    "cmp $1, %rdx",
    "jne .Lgate_by_class",
    "mov %rdi, %rcx",
    "shr $39, %rcx",
    "jnz .Lgate_by_class",
    "mov .Lgate_random(%rip), %rcx",
    "test %rcx, %rcx",
    "jz .Lgate_by_class",
    "jmp .Lgate_give_random",
    ".Lgate_random_given:",
    "movq $0, .Lgate_random(%rip)",
    "movq $8, .Lgate_result(%rip)",
    "jmp .Lgate_count",
    // arch_prctl(ARCH_SET_FS, address).
    ".Lgate_thread_pointer:",
    "cmp $0x1002, %rdi",
    "jne .Lgate_by_class",
    "mov %rsi, %rcx",
    "shr $46, %rcx",
    "jnz .Lgate_by_class",
    "wrfsbase %rsi",
    "jmp .Lgate_first_over",
    // set_tid_address(address).
    ".Lgate_clears_at_exit:",
    "mov %rdi, .Lgate_clear_at_exit(%rip)",
    "orq $1, .Lgate_noted(%rip)",
    "mov .Lgate_answers(%rip), %rcx",
    "mov %rcx, .Lgate_result(%rip)",
    "jmp .Lgate_count",
    // set_robust_list(head, 24).
    ".Lgate_robust:",
    "cmp $24, %rsi",
    "jne .Lgate_by_class",
    "mov %rdi, .Lgate_robust_list(%rip)",
    "orq $2, .Lgate_noted(%rip)",
    "jmp .Lgate_first_over",
    // brk(end): below the heap's start it asks; else it must end in the page in which the heap ends.
    ".Lgate_heap_call:",
    "mov .Lgate_break(%rip), %rcx",
    "cmp .Lgate_heap(%rip), %rdi",
    "jb .Lgate_tell_break",
    "cmp .Lgate_heap_end(%rip), %rdi",
    "ja .Lgate_by_class",
    "dec %rcx",
    "and $-4096, %rcx",
    "cmp %rcx, %rdi",
    "jbe .Lgate_by_class",
    "mov %rdi, %rcx",
    "mov %rcx, .Lgate_break(%rip)",
    "orq $4, .Lgate_noted(%rip)",
    ".Lgate_tell_break:",
    "mov %rcx, .Lgate_result(%rip)",
    "jmp .Lgate_count",
    ".Lgate_first_over:",
    "movq $0, .Lgate_result(%rip)",
    "jmp .Lgate_count",
    // All that follows the program's pointers; nothing has changed before its end.
    "monitor_gate_copy:",
    ".Lgate_give_limits:",
    "mov %rcx, (%r10)",
    "mov %r11, 8(%r10)",
    "jmp .Lgate_first_over",
    ".Lgate_give_random:",
    "mov %rcx, (%rdi)",
    "jmp .Lgate_random_given",
    ".Lgate_give_mask:",
    "mov %rcx, (%rdx)",
    "jmp .Lgate_action_over",
    ".Lgate_follow:",
    "test %rsi, %rsi",
    "jz .Lgate_tell_action",
    "mov (%rsi), %r11",
    "mov %r11, .Lgate_new_handler(%rip)",
    "test %r11, %r11",
    "jz .Lgate_read_action",
    "cmp $1, %r11",
    "jne .Lgate_by_class",
    "movabs ${ignored}, %r11",
    "bt %rdi, %r11",
    "jnc .Lgate_by_class",
    ".Lgate_read_action:",
    "mov 8(%rsi), %r11",
    "mov %r11, .Lgate_new(%rip)",
    "mov 16(%rsi), %r11",
    "mov %r11, .Lgate_new+8(%rip)",
    "mov 24(%rsi), %r11",
    "mov %r11, .Lgate_new+16(%rip)",
    "movabs ${settable}, %r11",
    "bt %rdi, %r11",
    "jnc .Lgate_unsettable",
    ".Lgate_tell_action:",
    "test %rdx, %rdx",
    "jz monitor_gate_copy_end",
    "mov (%rcx), %r11",
    "mov %r11, (%rdx)",
    "mov 8(%rcx), %r11",
    "mov %r11, 8(%rdx)",
    "mov 16(%rcx), %r11",
    "mov %r11, 16(%rdx)",
    "mov 24(%rcx), %r11",
    "mov %r11, 24(%rdx)",
    "monitor_gate_copy_end:",
    "test %rsi, %rsi",
    "jz .Lgate_action_over",
    "mov .Lgate_new_handler(%rip), %r11",
    "mov %r11, (%rcx)",
    "mov .Lgate_new(%rip), %r11",
    "mov %r11, 8(%rcx)",
    "mov .Lgate_new+8(%rip), %r11",
    "mov %r11, 16(%rcx)",
    "mov .Lgate_new+16(%rip), %r11",
    "mov %r11, 24(%rcx)",
    "movabs ${forgetful}, %r11",
    "bt %rdi, %r11",
    "jnc .Lgate_action_over",
    "mov .Lgate_forgotten(%rip), %r11",
    "bts %rdi, %r11",
    "mov %r11, .Lgate_forgotten(%rip)",
    ".Lgate_action_over:",
    "movq $0, .Lgate_result(%rip)",
    "jmp monitor_gate_tail",
    ".Lgate_unsettable:",
    "movq $-22, .Lgate_result(%rip)",
    "jmp monitor_gate_tail",
    ".Lgate_over:",
    "jne .Lgate_declined",
    "mov .Lgate_number(%rip), %rax",
    "mov %rax, .Lgate_result(%rip)",
    "movq $0, .Lgate_state(%rip)",
    "jmp monitor_gate_tail",
    ".Lgate_answered:",
    "and $0x1f, %ecx",
    "lea .Lgate_answers(%rip), %r11",
    "mov (%r11,%rcx,8), %rcx",
    "mov %rcx, .Lgate_result(%rip)",
    ".Lgate_count:",
    "incq .Lgate_answered_calls(%rip)",
    "monitor_gate_tail:",
    "cmpq $0, .Lgate_leave(%rip)",
    "jne .Lgate_wanted",
    "cmpq $0, .Lgate_kernel(%rip)",
    "jne .Lgate_return",
    // At the program's level: its flags come from a stack of the gate's own, not from the program's.
    "lea .Lgate_stack(%rip), %rsp",
    "pushq .Lgate_r11(%rip)",
    "popfq",
    "mov .Lgate_rsp(%rip), %rsp",
    "mov .Lgate_result(%rip), %rax",
    "mov .Lgate_r11(%rip), %r11",
    "mov .Lgate_rcx(%rip), %rcx",
    "jmp *%rcx",
    ".Lgate_return:",
    "mov .Lgate_result(%rip), %rax",
    "mov .Lgate_r11(%rip), %r11",
    "mov .Lgate_rcx(%rip), %rcx",
    "sysretq",
    "monitor_gate_tail_end:",
    ".Lgate_wanted:",
    "movq $5, .Lgate_reason(%rip)",
    "mov .Lgate_rsp(%rip), %rsp",
    "mov .Lgate_result(%rip), %rax",
    "mov .Lgate_r11(%rip), %r11",
    "mov .Lgate_rcx(%rip), %rcx",
    "jmp monitor_gate_out",
    "monitor_gate_end:",
    ".popsection",
    settable = const SETTABLE.cast_signed(),
    forgetful = const FORGETFUL.cast_signed(),
    ignored = const IGNORED.cast_signed(),
    looked_for = const LOOKED_FOR.cast_signed(),
    options(att_syntax),
);

unsafe extern "C" {
    safe static monitor_gate_begin: u8;
    safe static monitor_gate_tail: u8;
    safe static monitor_gate_tail_end: u8;
    safe static monitor_gate_by_class: u8;
    safe static monitor_gate_copy: u8;
    safe static monitor_gate_copy_end: u8;
    safe static monitor_gate_out: u8;
    safe static monitor_gate_end: u8;
}

/// The time stamp counter, which is the guest's too.
pub fn time_stamp() -> u64 {
    // SAFETY: every x86-64 processor has the instruction, and the kernel lets programs use it.
    unsafe { std::arch::x86_64::_rdtsc() }
}

/// The code's bytes.
pub fn code() -> &'static [u8] {
    let first = &raw const monitor_gate_begin;
    // SAFETY: the labels enclose the instructions above, which are readable and never change.
    unsafe { std::slice::from_raw_parts(first, offset(&raw const monitor_gate_end)) }
}

/// Where the code leaves the guest, in bytes from its start: an `out`, behind which is `sysretq`.
pub fn out() -> u64 {
    crate::host_call::to_u64(offset(&raw const monitor_gate_out))
}

/// From where on it can be put back to the start of this range without being noticed, in bytes.
pub fn tail() -> std::ops::Range<u64> {
    let [start, end] = [&raw const monitor_gate_tail, &raw const monitor_gate_tail_end].map(offset);
    crate::host_call::to_u64(start)..crate::host_call::to_u64(end)
}

/// Where it follows the program's pointers, in bytes: what faults there goes on at [`by_class`].
pub fn copy() -> std::ops::Range<u64> {
    let [start, end] = [&raw const monitor_gate_copy, &raw const monitor_gate_copy_end].map(offset);
    crate::host_call::to_u64(start)..crate::host_call::to_u64(end)
}

/// From where on it has the call leave, in bytes from its start.
pub fn by_class() -> u64 {
    crate::host_call::to_u64(offset(&raw const monitor_gate_by_class))
}

fn offset(label: *const u8) -> usize {
    label.addr() - (&raw const monitor_gate_begin).addr()
}

#[cfg(test)]
mod tests {
    use super::{by_class, code, copy, fixed, out, tail};

    #[test]
    fn the_code_ends_before_what_it_reads() {
        assert!(code().len() < fixed::CLASSES * 8, "{} bytes", code().len());
    }

    #[test]
    fn the_labels_name_what_they_say() {
        let at = |offset: u64| &code()[usize::try_from(offset).unwrap()..];

        assert!(at(out()).starts_with(&[0xe6, 0x80, 0x48, 0x0f, 0x07]), "out, sysretq");
        assert!(copy().start < copy().end && copy().end < tail().start, "{:?}", copy());
        assert!(at(by_class()).starts_with(&[0x48, 0xc7, 0x05]), "movq $0 to the reason");
        assert!(at(tail().end - 3).starts_with(&[0x48, 0x0f, 0x07]), "sysretq");
    }
}
