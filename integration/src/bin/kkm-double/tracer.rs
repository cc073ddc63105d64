//! Follows a monitor and all that it makes: threads, children, the programs they execute.

use std::{
    collections::{HashMap, HashSet},
    fs::{self, File},
    os::unix::fs::MetadataExt,
    path::Path,
};

use anyhow::{Context, Result, bail, ensure};
use integration_sys::{Registers, Resume};

use crate::{
    device::{self, Answer, Request},
    guest,
    state::{FileId, Machine, Module},
    vcpu::Cpu,
};

/// `EINTR`.
const EINTR: i64 = 4;
/// System calls, by number.
const IOCTL: u64 = 16;
const CLONE: u64 = 56;
const VFORK: u64 = 58;
const MEMFD_CREATE: u64 = 319;
const CLONE3: u64 = 435;
/// `CLONE_VM` and `MFD_CLOEXEC`.
const SHARES_MEMORY: u64 = 0x100;
const CLOSED_ON_EXECUTION: u64 = 1;
/// Below the stack pointer and its red zone there is nothing.
const BELOW_STACK: u64 = 1024;
const SYSCALL_LEN: u64 = 2;
/// What `waitpid(2)` tells of a stop, in the bits above the signal.
const EVENT_FORK: i32 = 1;
const EVENT_VFORK: i32 = 2;
const EVENT_CLONE: i32 = 3;
const EVENT_EXEC: i32 = 4;
const EVENT_STOP: i32 = 128;
const CALL_STOP: i32 = 0x85;
const SIGTRAP: i32 = 5;
/// `SIGSTOP`, `SIGTSTP`, `SIGTTIN`, `SIGTTOU`.
const STOPS: std::ops::RangeInclusive<i32> = 19..=22;

/// What a thread is doing.
#[derive(Debug, Default)]
enum Doing {
    /// It runs the monitor.
    #[default]
    Monitor,
    /// It makes a file for a machine (`None`) or a CPU, in the place of a request.
    Making(Box<Registers>, Option<FileId>),
    /// It runs a guest. The monitor's registers and extended state are these.
    Guest(FileId, Box<Registers>, Vec<u8>),
}

/// A traced thread.
#[derive(Debug)]
struct Thread {
    doing: Doing,
    /// Which memory it has, of all that there are.
    memory: u64,
}

struct Tracer {
    device: FileId,
    module: Module,
    threads: HashMap<i32, Thread>,
    /// Threads that have stopped before their makers' stops have said whose memory they have.
    early: HashSet<i32>,
    memories: u64,
}

/// Follows a process to the end of all that it has made. Returns its status.
pub(crate) fn follow(root: i32, device: &Path) -> Result<i32> {
    let device = file_id(device)?;
    let (module, threads, early) = (Module::default(), HashMap::new(), HashSet::new());
    let mut tracer = Tracer { device, module, threads, early, memories: 0 };
    tracer.threads.insert(root, Thread { doing: Doing::Monitor, memory: 0 });
    let mut end = None;
    while let Some((thread, status)) = integration_sys::wait()? {
        if status & 0xff != 0x7f {
            tracer.threads.remove(&thread);
            if thread == root {
                end = Some(status);
            }
            continue;
        }
        match tracer.stopped(thread, status >> 8 & 0xff, status >> 16) {
            Ok(()) => {}
            // It was killed meanwhile: its end is told next.
            Err(error) if is_gone(&error) => {}
            Err(error) => bail!("kkm-double: thread {thread}: {error:#}"),
        }
    }
    end.context("the monitor's end was never told")
}

fn is_gone(error: &anyhow::Error) -> bool {
    const ESRCH: i32 = 3;
    let cause = error.root_cause().downcast_ref::<std::io::Error>();
    cause.is_some_and(|cause| cause.raw_os_error() == Some(ESRCH))
}

fn file_id(path: &Path) -> Result<FileId> {
    let status = fs::metadata(path).with_context(|| format!("stat {}", path.display()))?;
    Ok((status.dev(), status.ino()))
}

impl Tracer {
    /// A thread has stopped, at a signal or an event.
    fn stopped(&mut self, thread: i32, signal: i32, event: i32) -> Result<()> {
        match event {
            EVENT_FORK | EVENT_VFORK | EVENT_CLONE => {
                self.note_child(thread)?;
                self.go_on(thread, 0)
            }
            EVENT_EXEC => {
                let former = i32::try_from(integration_sys::event_message(thread)?)?;
                self.threads.remove(&former);
                let memory = self.new_memory();
                self.threads.insert(thread, Thread { doing: Doing::Monitor, memory });
                self.go_on(thread, 0)
            }
            EVENT_STOP if STOPS.contains(&signal) => {
                Ok(integration_sys::resume(thread, Resume::Listening, 0)?)
            }
            EVENT_STOP if !self.threads.contains_key(&thread) => {
                self.early.insert(thread);
                Ok(())
            }
            EVENT_STOP => self.go_on(thread, 0),
            _ if signal == CALL_STOP => self.at_call(thread),
            _ => self.at_signal(thread, signal),
        }
    }

    fn new_memory(&mut self) -> u64 {
        self.memories += 1;
        self.memories
    }

    fn thread(&mut self, thread: i32) -> Result<&mut Thread> {
        self.threads.get_mut(&thread).context("a thread that nobody has made")
    }

    /// A new thread or process has its maker's memory, or a copy.
    fn note_child(&mut self, maker: i32) -> Result<()> {
        let child = i32::try_from(integration_sys::event_message(maker)?)?;
        let registers = integration_sys::registers(maker)?;
        let flags = match registers.orig_rax {
            CLONE => registers.rdi,
            VFORK => SHARES_MEMORY,
            CLONE3 => {
                let mut bytes = [0; 8];
                integration_sys::read(maker, registers.rdi, &mut bytes)?;
                u64::from_le_bytes(bytes)
            }
            _ => 0,
        };
        let of_maker = self.thread(maker)?.memory;
        let memory = if flags & SHARES_MEMORY == 0 { self.new_memory() } else { of_maker };
        self.threads.insert(child, Thread { doing: Doing::Monitor, memory });
        if self.early.remove(&child) {
            return self.go_on(child, 0);
        }
        Ok(())
    }

    fn go_on(&mut self, thread: i32, signal: i32) -> Result<()> {
        let how = match self.thread(thread)?.doing {
            Doing::Guest(..) => Resume::InsteadOfCall,
            Doing::Monitor | Doing::Making(..) => Resume::ToCall,
        };
        Ok(integration_sys::resume(thread, how, signal)?)
    }

    fn at_call(&mut self, thread: i32) -> Result<()> {
        if matches!(self.thread(thread)?.doing, Doing::Guest(..)) {
            let number = integration_sys::registers(thread)?.orig_rax;
            return self.leave(thread, |cpu| guest::left_by_call(cpu, thread, number));
        }
        if !integration_sys::is_at_end_of_call(thread)? {
            return self.go_on(thread, 0);
        }
        let registers = integration_sys::registers(thread)?;
        match std::mem::take(&mut self.thread(thread)?.doing) {
            Doing::Making(former, machine) => self.made(thread, *former, machine, registers)?,
            Doing::Guest(..) | Doing::Monitor if registers.orig_rax == IOCTL => {
                self.at_request(thread, registers)?;
            }
            Doing::Guest(..) | Doing::Monitor => {}
        }
        self.go_on(thread, 0)
    }

    /// A request has been made, of a plain file: the kernel has refused it, and what it answers here is put in.
    fn at_request(&mut self, thread: i32, mut registers: Registers) -> Result<()> {
        let descriptor = registers.rdi & 0xffff_ffff;
        let path = format!("/proc/{thread}/fd/{descriptor}");
        let Ok(file) = file_id(Path::new(&path)) else { return Ok(()) };
        let memory = self.thread(thread)?.memory;
        let (number, argument) = (registers.rsi & 0xffff_ffff, registers.rdx);
        let request = Request { process: thread, memory, file, number, argument };
        let answer = device::answer(&mut self.module, self.device, request)?;
        match answer {
            Answer::NotOurs => Ok(()),
            Answer::Value(value) => {
                registers.rax = value.cast_unsigned();
                Ok(integration_sys::set_registers(thread, &registers)?)
            }
            Answer::NewMachine => self.make(thread, registers, None),
            Answer::NewCpu(machine) => self.make(thread, registers, Some(machine)),
            Answer::Run(cpu) => self.enter(thread, cpu, registers),
        }
    }

    /// Has the thread make a file, by the instruction that has made the request.
    fn make(&mut self, thread: i32, former: Registers, machine: Option<FileId>) -> Result<()> {
        let name = former.rsp - BELOW_STACK;
        integration_sys::write(thread, name, b"kkm\0")?;
        let registers = Registers {
            rax: MEMFD_CREATE,
            orig_rax: u64::MAX,
            rdi: name,
            rsi: CLOSED_ON_EXECUTION,
            rip: former.rip - SYSCALL_LEN,
            ..former
        };
        integration_sys::set_registers(thread, &registers)?;
        self.thread(thread)?.doing = Doing::Making(Box::new(former), machine);
        Ok(())
    }

    /// The file is there: a machine, or a machine's CPU.
    fn made(
        &mut self,
        thread: i32,
        former: Registers,
        machine: Option<FileId>,
        registers: Registers,
    ) -> Result<()> {
        ensure!(registers.orig_rax == MEMFD_CREATE, "a signal came in between");
        if registers.rax.cast_signed() >= 0 {
            let path = format!("/proc/{thread}/fd/{}", registers.rax);
            let id = file_id(Path::new(&path))?;
            match machine {
                None => {
                    let memory = self.thread(thread)?.memory;
                    self.module.machines.insert(id, Machine { memory, ..Machine::default() });
                }
                Some(machine) => {
                    let area = File::options().read(true).write(true).open(path)?;
                    let owner = self.module.machines.get_mut(&machine).context("a machine")?;
                    self.module.cpus.insert(id, Cpu::new(machine, area, owner.cpus == 0)?);
                    owner.cpus += 1;
                }
            }
        }
        let registers = Registers { rax: registers.rax, ..former };
        Ok(integration_sys::set_registers(thread, &registers)?)
    }

    /// Lets the thread run the guest.
    fn enter(&mut self, thread: i32, id: FileId, mut registers: Registers) -> Result<()> {
        let memory = self.thread(thread)?.memory;
        let cpu = self.module.cpus.get_mut(&id).context("a CPU")?;
        let machine = self.module.machines.get(&cpu.machine).context("its machine")?;
        ensure!(
            machine.memory == memory,
            "a CPU of other memory was run: inherited, and not closed"
        );
        ensure!(machine.is_held(thread), "no memory slot's page is mapped");
        let begun = if cpu.wants_out()? { Err(-EINTR) } else { guest::enter(cpu, thread)? };
        if let Err(error) = begun {
            cpu.set_exit_reason(0)?;
            registers.rax = error.cast_unsigned();
            return Ok(integration_sys::set_registers(thread, &registers)?);
        }
        let of_monitor = integration_sys::extended_state(thread)?;
        // Without a state of its own, the guest begins with the monitor's.
        if let Some(extended) = &cpu.extended {
            integration_sys::set_extended_state(thread, extended)?;
        }
        integration_sys::set_registers(thread, &guest::registers_to_run(cpu, &registers))?;
        self.thread(thread)?.doing = Doing::Guest(id, Box::new(registers), of_monitor);
        Ok(())
    }

    /// Takes the guest off the thread, which goes on in the monitor with what `exit` answers.
    fn leave(&mut self, thread: i32, exit: impl FnOnce(&mut Cpu) -> Result<i64>) -> Result<()> {
        let answer = self.take_off(thread, exit)?;
        ensure!(answer, "no guest runs");
        self.go_on(thread, 0)
    }

    fn take_off(
        &mut self,
        thread: i32,
        exit: impl FnOnce(&mut Cpu) -> Result<i64>,
    ) -> Result<bool> {
        let doing = std::mem::take(&mut self.thread(thread)?.doing);
        let Doing::Guest(id, of_monitor, extended) = doing else { return Ok(false) };
        let cpu = self.module.cpus.get_mut(&id).context("a CPU")?;
        // What the guest wrote to the bases itself is lost.
        cpu.registers = guest::registers_of(&integration_sys::registers(thread)?);
        cpu.extended = Some(integration_sys::extended_state(thread)?);
        let answer = exit(cpu)?;
        let registers =
            Registers { rax: answer.cast_unsigned(), orig_rax: u64::MAX, ..*of_monitor };
        integration_sys::set_extended_state(thread, &extended)?;
        integration_sys::set_registers(thread, &registers)?;
        Ok(true)
    }

    /// A signal: the guest's own fault, or one from elsewhere, by which a run ends.
    fn at_signal(&mut self, thread: i32, signal: i32) -> Result<()> {
        if !matches!(self.thread(thread)?.doing, Doing::Guest(..)) {
            return self.go_on(thread, signal);
        }
        let info = integration_sys::signal_info(thread)?;
        if matches!(signal, 4 | SIGTRAP | 7 | 8 | 11) && info.code > 0 {
            return self.leave(thread, |cpu| guest::left_by_fault(cpu, thread, signal, info));
        }
        let interrupted = |cpu: &mut Cpu| cpu.set_exit_reason(0).map(|()| -EINTR);
        self.take_off(thread, interrupted)?;
        self.go_on(thread, signal)
    }
}
