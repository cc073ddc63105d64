//! The run loop without a device: the scripted platform plays a guest's exits.

#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

use std::{os::fd::AsFd, path::PathBuf, sync::Arc};

use monitor::{
    arch::x86_64::{
        exceptions::{Access, Vector},
        registers::Registers,
    },
    memory::{
        AddressSpace, Protection,
        change::{Place, Request},
    },
    platform::{
        Exit, Machine,
        scripted::{ScriptedMachine, Step, Told},
    },
    process::{Host, Process},
    run_loop,
    signal::action::{Action, Actions},
    thread::Thread,
};
use monitor_sys::{abi::number, guest_copy, guest_memory::GuestMemory, signals};
use rustix::fs::{MemfdFlags, memfd_create};

const HANDLER: u64 = 0x40_1000;
const RESTORER: u64 = 0x40_2000;
const SEGV: u32 = 11;
const USR1: u32 = 10;
const BUS: u32 = 7;
const SA_SIGINFO: u64 = 4;
const MAP_SHARED: u64 = 1;

/// A guest thread, and the machine that plays its script.
struct Guest {
    machine: ScriptedMachine,
    thread: Thread,
    /// The lowest address of two pages it can use.
    page: u64,
}

impl Guest {
    fn new() -> anyhow::Result<Self> {
        let machine = ScriptedMachine::default();
        let shared: Arc<dyn Machine> = Arc::new(machine.clone());
        let memory = AddressSpace::new(GuestMemory::claim()?, Arc::clone(&shared), 0);
        let page = memory.map(&request(Place::Hint(0), Protection::READ_WRITE))?;
        let process = Process::new(
            Arc::new(memory),
            shared,
            Arc::new(Actions::inherited()?),
            PathBuf::from("/bin/scripted"),
            Vec::new(),
            Arc::new(Host::default()),
            run_loop::run_to_end,
        );
        let cpu = process.take_vcpu()?;
        Ok(Self { machine, thread: Thread::new(Arc::new(process), cpu, true), page })
    }

    /// Lets the guest do these things. Returns its registers afterwards.
    fn plays(&mut self, steps: impl IntoIterator<Item = Step>) -> Registers {
        self.machine.then(steps);
        let end = run_loop::run(&mut self.thread);
        assert!(end.is_err(), "the script ends before the thread does");
        *self.thread.cpu.registers()
    }

    /// A page fault, in registers that a handler can run with.
    fn faults(&self, address: u64, access: Access) -> Step {
        self.stops(Exit::PageFault { address, access })
    }

    fn stops(&self, exit: Exit) -> Step {
        let rsp = self.page + 8192;
        (Registers { rip: 0x40_0010, rsp, rbx: 77, ..Registers::default() }, exit)
    }

    fn handles(&self, signal: u32) {
        let action = Action { handler: HANDLER, flags: SA_SIGINFO, restorer: RESTORER, mask: 0 };
        self.thread.process.actions.set(signal, action).expect("a signal that can be handled");
    }
}

fn request(place: Place, protection: Protection) -> Request<'static> {
    Request { place, len: 8192, protection, flags: 0x22, file: None, offset: 0, alignment: 4096 }
}

fn call(number: usize, args: [u64; 3]) -> Step {
    let rax = u64::try_from(number).expect("small");
    let [rdi, rsi, rdx] = args;
    (Registers { rax, rdi, rsi, rdx, rip: 0x40_0002, ..Registers::default() }, Exit::Syscall)
}

fn word(address: u64) -> u64 {
    guest_copy::read(address).expect("mapped guest memory")
}

/// `si_code` of the information a handler got.
fn code(inside: &Registers) -> u64 {
    word(inside.rsi + 8) & 0xffff_ffff
}

#[test]
fn a_calls_answer_is_in_rax_and_nothing_else_changes() {
    let mut guest = Guest::new().unwrap();
    let (asked, exit) = call(number::GETPID, [7, 8, 9]);

    let after = guest.plays([(asked, exit)]);

    assert_eq!(after, Registers { rax: u64::from(std::process::id()), ..asked });
}

#[test]
fn an_unknown_call_is_enosys() {
    let after = Guest::new().unwrap().plays([call(9999, [0; 3])]);

    assert_eq!(after.rax.cast_signed(), -i64::from(libc::ENOSYS));
}

#[test]
fn a_threads_exit_ends_its_loop_with_the_status() {
    let mut guest = Guest::new().unwrap();
    guest.machine.then([call(number::EXIT, [259, 0, 0])]);

    let end = run_loop::run(&mut guest.thread);

    assert_eq!(end.unwrap(), 3);
}

#[test]
fn a_fault_on_allowed_memory_is_permitted() {
    let mut guest = Guest::new().unwrap();
    let address = guest.page + 5;

    guest.plays([guest.faults(address, Access::Write)]);

    assert!(guest.machine.told().contains(&Told::Permit(address, Access::Write)));
}

#[test]
fn a_fault_on_a_hole_calls_the_handler_with_its_address() {
    let mut guest = Guest::new().unwrap();
    guest.handles(SEGV);

    let inside = guest.plays([guest.faults(0x1234, Access::Read)]);

    assert_eq!((inside.rip, inside.rdi), (HANDLER, u64::from(SEGV)));
    assert_eq!(inside.rsp % 16, 8, "aligned as after a call");
    assert_eq!(word(inside.rsp), RESTORER);
    assert_eq!((code(&inside), word(inside.rsi + 16)), (1, 0x1234), "SEGV_MAPERR there");
    assert!(guest.machine.told().contains(&Told::Deny));
}

#[test]
fn a_forbidden_access_says_so() {
    let mut guest = Guest::new().unwrap();
    guest.handles(SEGV);
    let read_only = request(Place::Fixed(0x7000_0000), Protection::READ);
    guest.thread.process.memory.map(&read_only).unwrap();

    let inside = guest.plays([guest.faults(0x7000_0008, Access::Write)]);

    assert_eq!(code(&inside), 2, "SEGV_ACCERR");
}

#[test]
fn a_page_with_no_file_behind_it_is_a_bus_error() {
    let mut guest = Guest::new().unwrap();
    guest.handles(BUS);
    let empty = memfd_create("empty", MemfdFlags::CLOEXEC).unwrap();
    let request = Request {
        flags: MAP_SHARED,
        file: Some(empty.as_fd()),
        ..request(Place::Fixed(0x7000_0000), Protection::READ)
    };
    guest.thread.process.memory.map(&request).unwrap();

    let inside = guest.plays([guest.stops(Exit::NothingBehind { address: 0x7000_0000 })]);

    assert_eq!((inside.rdi, code(&inside)), (u64::from(BUS), 2), "BUS_ADRERR");
    assert_eq!(word(inside.rsi + 16), 0x7000_0000);
}

#[test]
fn a_page_that_another_thread_changes_is_tried_again() {
    let mut guest = Guest::new().unwrap();
    guest.handles(BUS);

    let after = guest.plays([guest.stops(Exit::NothingBehind { address: 0x5000 })]);

    assert_eq!((after.rip, after.rbx), (0x40_0010, 77), "where it was");
}

#[test]
fn each_exception_is_the_signal_linux_makes_of_it() {
    let cases = [
        (Vector::DIVIDE_ERROR, libc::SIGFPE, 1),
        (Vector::DEBUG, libc::SIGTRAP, 2),
        (Vector::BREAKPOINT, libc::SIGTRAP, 0x80),
        (Vector::INVALID_OPCODE, libc::SIGILL, 2),
        (Vector::GENERAL_PROTECTION, libc::SIGSEGV, 0x80),
        (Vector::ALIGNMENT_CHECK, libc::SIGBUS, 1),
    ];
    let mut guest = Guest::new().unwrap();
    for (vector, signal, expected) in cases {
        let signal = signal.cast_unsigned();
        guest.handles(signal);

        let inside = guest.plays([guest.stops(Exit::Exception { vector, code: 0 })]);

        assert_eq!((inside.rdi, code(&inside)), (u64::from(signal), expected), "{vector:?}");
        signals::set_mask(0);
    }
}

#[test]
fn a_handlers_return_restores_what_it_interrupted() {
    let mut guest = Guest::new().unwrap();
    guest.handles(SEGV);
    let inside = guest.plays([guest.faults(0x1234, Access::Read)]);
    let (returns, exit) = call(number::RT_SIGRETURN, [0; 3]);
    let saved_rsi = inside.rdx + 40 + 9 * 8;
    guest_copy::write(saved_rsi, &4711_u64).unwrap();

    let after = guest.plays([(Registers { rsp: inside.rsp + 8, ..returns }, exit)]);

    assert_eq!((after.rip, after.rbx), (0x40_0010, 77));
    assert_eq!(after.rsi, 4711, "the handler may change what it returns to");
    assert_eq!(signals::mask() & (1 << (SEGV - 1)), 0, "and it may fault again");
}

#[test]
fn a_caught_signal_is_delivered_before_the_guest_goes_on() {
    let mut guest = Guest::new().unwrap();
    guest.handles(USR1);
    *guest.thread.cpu.registers_mut() = guest.stops(Exit::Interrupted).0;
    signals::send_to_self(USR1);

    guest.plays([]);

    let told = guest.machine.told();
    assert!(matches!(told.as_slice(), [.., Told::Run(first)] if first.rip == HANDLER), "{told:x?}");
}

#[test]
fn what_a_call_unblocks_is_delivered_before_the_guest_goes_on() {
    let mut guest = Guest::new().unwrap();
    guest.handles(USR1);
    let own = 1_u64 << (USR1 - 1);
    signals::set_mask(own);
    signals::send_to_self(USR1);
    guest_copy::write(guest.page, &own).unwrap();
    let (registers, exit) = call(number::RT_SIGPROCMASK, [1, guest.page, 0]);
    let registers = Registers { r10: 8, rsp: guest.page + 8192, ..registers };

    let inside = guest.plays([(registers, exit)]);

    assert_eq!(inside.rip, HANDLER);
    assert_eq!(word(inside.rdx + 40 + 13 * 8), 0, "the call itself has succeeded");
    assert_eq!(signals::mask(), own, "the handler runs with its own signal blocked");
}
