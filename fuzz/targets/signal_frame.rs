//! Signal frames that are given to `rt_sigreturn(2)`: registers and states that a program may have, or SIGSEGV.
#![no_main]

use std::sync::{Arc, LazyLock};

use fuzz::{DATA, DATA_LEN, fill, memory, word};
use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use monitor::arch::x86_64::registers::{FLAGS_AT_START, USER_FLAGS};
use monitor::memory::AddressSpace;
use monitor::platform::{Machine as _, Vcpu, scripted::ScriptedMachine};
use monitor::signal::action::{Action, Actions};
use monitor::signal::deliver::Receiver;
use monitor::signal::frame::MAGIC1;
use monitor::signal::stack::AlternateStack;
use monitor_sys::guest_memory::PAGE;
use monitor_sys::{guest_copy, signals};

/// `SIGSEGV`.
const SEGV: u32 = 11;
/// Where its handler is.
const HANDLER: u64 = 0x40_0000;
/// Where the stack pointer is: below it there is room for another frame.
const TOP: u64 = DATA + PAGE + 2048;
/// Where a state says that it is more than the oldest part, and which parts it has.
const SOFTWARE_BYTES: u64 = 464;
const STATES: u64 = 512;
/// Of `struct ucontext`: flags, link, the alternate stack and registers, of which these are set here.
const WORDS: usize = 38;
const RSP: usize = 20;
const STATE: usize = 28;

static ACTIONS: LazyLock<Actions> = LazyLock::new(|| {
    let actions = Actions::inherited().expect("they can be asked for");
    let action = Action { handler: HANDLER, ..Action::default() };
    actions.set(SEGV, action).expect("it can have a handler");
    actions
});

fuzz_target!(|bytes: &[u8]| {
    // What is too short to be a frame is none.
    _ = judge(Unstructured::new(bytes));
    signals::set_mask(0);
});

fn judge(mut input: Unstructured<'_>) -> Result<()> {
    let machine = Arc::new(ScriptedMachine::default());
    let mut cpu = machine.create_vcpu().expect("it is played back");
    let space = AddressSpace::new(memory().again(), machine, 0);
    let mut context = [0_u64; WORDS];
    for at in 0..WORDS {
        context[at] =
            if at == RSP || at == STATE || input.ratio(1, 8)? { word(&mut input)? } else { 0 };
    }
    if input.arbitrary()? {
        // A state that can be read, so that all of it counts.
        context[STATE] = DATA;
    }
    let mut stack = AlternateStack::default();
    let header: [u64; 8] = if input.arbitrary()? { input.arbitrary()? } else { [3; 8] };
    let states = if input.arbitrary()? { &header[..1] } else { &header };
    let marks = if input.arbitrary()? { MAGIC1 } else { 0 };
    fill(input.take_rest());
    guest_copy::write(DATA + SOFTWARE_BYTES, &marks).expect("it is mapped");
    for (one, at) in states.iter().zip((DATA + STATES..).step_by(8)) {
        guest_copy::write(at, one).expect("it is mapped");
    }
    for (one, at) in context.iter().zip((TOP..).step_by(8)) {
        guest_copy::write(at, one).expect("it is mapped");
    }
    cpu.registers_mut().rsp = TOP;
    let mut receiver =
        Receiver { cpu: &mut *cpu, actions: &ACTIONS, memory: &space, stack: &mut stack, xcr0: 7 };
    receiver.return_from_handler().expect("no frame is the platform's failure");
    assert_good(&*cpu);
    Ok(())
}

/// What a virtual CPU takes from Linux's KVM.
fn assert_good(cpu: &dyn Vcpu) {
    let registers = cpu.registers();
    let is_in_handler = registers.rip == HANDLER && registers.rsp < DATA + DATA_LEN;
    let flags = registers.rflags & !(USER_FLAGS | FLAGS_AT_START);
    assert!(is_in_handler || flags == 0, "flags {flags:#x}");
    let state = cpu.extended_state().expect("it is played back");
    let area = state.area();
    assert_eq!(state.states() & !7, 0, "states that are not switched on");
    assert!(area[520..576].iter().all(|&byte| byte == 0), "the header's reserved bytes");
    assert_eq!(area[26..28], [0; 2], "MXCSR");
}
