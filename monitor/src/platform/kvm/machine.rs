//! One KVM machine: slots, page tables, and the pages of its CPUs.

use std::{
    os::fd::OwnedFd,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use monitor_launch::{DeviceKind, Findings};
use monitor_sys::{
    frames::Frames,
    gate::LOOKED_FOR,
    guest_memory::{GuestSpan, PAGE},
    host_vdso::HostVdso,
    kvm::{self, bindings::CpuId},
};

use super::{
    features, pieces,
    vcpu::{KvmVcpu, Level},
};
use crate::{
    arch::x86_64::{
        GATE, GDT, IDT, STUBS, VCPU_PAGES, exceptions,
        gate::Pages,
        paging::{LARGE_PAGE, NO_EXECUTE, PageTables, USER, WRITABLE},
        segments,
    },
    layout::{self, TABLES_PHYSICAL, VDSO, VDSO_PHYSICAL},
    platform::{Machine, PlatformError, Successor, Vcpu},
};

/// Pages for tables: enough for code scattered over 16 GiB.
const FRAMES: usize = 16 * 1024;
/// What of them the CPU can reach at first: most processes need no more, and KVM takes a while for each.
const FRAMES_AT_FIRST: usize = 1024;
/// More than is taken at once.
const FRAMES_TO_SPARE: usize = 512;

/// Behind so many bytes of guest memory it is worth limiting the tables that KVM makes of the guest's.
const UNLIMITED: u64 = 8 << 30;

/// A machine on `/dev/kvm`.
#[derive(Debug)]
pub struct KvmMachine {
    shared: Arc<Shared>,
    cpuid: CpuId,
    /// What the device told of them, before it was changed for guests.
    features: Vec<[u32; 7]>,
    next_id: AtomicU64,
    host_vdso: Option<HostVdso>,
}

/// What the machine's CPUs need of it.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) machine: kvm::Machine,
    pub(super) frames: Arc<Frames>,
    tables: Mutex<Tables>,
    pub(super) xcr0: u64,
    /// Where `syscall` leads to, once a CPU has found out. No lock: a forked child asks, and a thread that it does
    /// not have could hold one.
    gate_level: OnceLock<Level>,
}

#[derive(Debug)]
pub(super) struct Tables {
    pub(super) paging: PageTables,
    /// The parts of guest memory that the CPU can reach, in order.
    covered: Vec<GuestSpan>,
    /// How many bytes those are.
    covered_len: u64,
    /// Whether all of the pool's frames can be reached, or only those that are used at first.
    shows_all_frames: bool,
    /// The frame that all gates read.
    board: Option<usize>,
}

impl KvmMachine {
    /// Makes a machine without guest memory, from an opened `/dev/kvm`.
    ///
    /// What `findings` say is not asked again.
    pub fn new(device: OwnedFd, findings: &Findings) -> Result<Self, PlatformError> {
        let known = findings.vdso.and_then(|[len, image]| HostVdso::known(len, image));
        Self::with_vdso(device, findings, known.or_else(HostVdso::find))
    }

    /// The same in a process of which it is known where its vDSO is: it never moves, and a child has its parent's.
    fn with_vdso(
        device: OwnedFd,
        findings: &Findings,
        host_vdso: Option<HostVdso>,
    ) -> Result<Self, PlatformError> {
        let frames = Arc::new(Frames::reserve(FRAMES).map_err(PlatformError::Memory)?);
        let machine = kvm::Machine::new(device, Arc::clone(&frames))?;
        machine.add_frames(TABLES_PHYSICAL, 0..FRAMES_AT_FIRST)?;
        let mut paging = PageTables::new(Arc::clone(&frames), TABLES_PHYSICAL)?;
        write_fixed_pages(&mut paging, &frames)?;
        if let Some(vdso) = host_vdso {
            machine.add_vdso(vdso, VDSO_PHYSICAL)?;
            map_vdso(&mut paging, vdso)?;
        }
        let known = features::to_device(&findings.features);
        let supported = known.map_or_else(|| machine.supported_cpuid(), Ok)?;
        let features = features::from_device(&supported);
        let (cpuid, xcr0) = features::for_guests(supported);
        let tables = Mutex::new(Tables {
            paging,
            covered: Vec::new(),
            covered_len: 0,
            shows_all_frames: false,
            board: None,
        });
        let known = findings.gate_level.and_then(Level::from_number);
        let gate_level = known.map_or_else(OnceLock::new, OnceLock::from);
        let shared = Arc::new(Shared { machine, frames, tables, xcr0, gate_level });
        Ok(Self { shared, cpuid, features, next_id: AtomicU64::new(0), host_vdso })
    }
}

impl Machine for KvmMachine {
    fn name(&self) -> &'static str {
        "KVM"
    }

    fn create_vcpu(&self) -> Result<Box<dyn Vcpu>, PlatformError> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let device = self.shared.machine.create_vcpu(id, &self.cpuid)?;
        let page = VCPU_PAGES + id * PAGE;
        let frame = {
            let mut tables = self.shared.tables_to_grow()?;
            let frame = tables.paging.take()?;
            let (root, physical) = (tables.paging.root(), tables.paging.physical(frame));
            tables.paging.map_page(root, page, physical, WRITABLE | NO_EXECUTE)?;
            frame
        };
        self.shared.frames.store_bytes(frame, &segments::task_state(page + PAGE));
        Ok(Box::new(KvmVcpu::new(device, Arc::clone(&self.shared), frame, page)?))
    }

    fn cover(&self, span: GuestSpan) -> Result<(), PlatformError> {
        let mut at = span.start();
        while at < span.end() {
            let Some(chunk) = layout::chunk_of(at) else {
                return Ok(());
            };
            let end = span.end().min(chunk.end());
            if let Some(wanted) = GuestSpan::new(at, end - at) {
                self.shared.cover_within(chunk, wanted)?;
            }
            at = chunk.end();
        }
        Ok(())
    }

    fn set_executable(&self, span: GuestSpan, executable: bool) -> Result<(), PlatformError> {
        if executable {
            self.cover(span)?;
        }
        Ok(self.shared.tables_to_grow()?.paging.set_executable(span, executable)?)
    }

    fn watch(&self, region: GuestSpan) -> Result<(), PlatformError> {
        self.cover(region)?;
        self.shared.tables().paging.watch(region.start());
        Ok(())
    }

    fn let_through(&self, region: GuestSpan) {
        self.shared.tables().paging.let_through(region.start());
    }

    fn vdso(&self) -> Option<u64> {
        self.host_vdso.map(|vdso| VDSO + vdso.image())
    }

    fn xcr0(&self) -> u64 {
        self.shared.xcr0
    }

    fn successor(&self) -> Result<Successor, PlatformError> {
        let device = self.shared.machine.device()?;
        let (findings, vdso) = (self.findings(), self.host_vdso);
        Ok(Box::new(move || Ok(Arc::new(Self::with_vdso(device, &findings, vdso)?))))
    }

    fn findings(&self) -> Findings {
        // A program at level 3 could pretend the other to the programs that follow it: it can jump to the
        // gate. It cannot pretend to be at level 0.
        let proven = self.shared.gate_level().filter(|level| *level == Level::Kernel);
        let gate_level = proven.map(Level::number);
        let vdso = self.host_vdso.map(|vdso| [vdso.len(), vdso.image()]);
        Findings { features: self.features.clone(), gate_level, vdso }
    }

    fn device(&self) -> Result<(DeviceKind, OwnedFd), PlatformError> {
        Ok((DeviceKind::Kvm, self.shared.machine.device()?))
    }
}

impl Shared {
    pub(super) fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where `syscall` leads to, if a CPU has found out.
    pub(super) fn gate_level(&self) -> Option<Level> {
        self.gate_level.get().copied()
    }

    /// Notes where it does.
    pub(super) fn note_gate_level(&self, level: Level) {
        // Whoever was first has found the same: it is the kernel's doing.
        _ = self.gate_level.set(level);
    }

    /// The tables, with room for what is to be added to them.
    pub(super) fn tables_to_grow(&self) -> Result<MutexGuard<'_, Tables>, PlatformError> {
        let mut tables = self.tables();
        if !tables.shows_all_frames && tables.paging.used() + FRAMES_TO_SPARE > FRAMES_AT_FIRST {
            let rest = FRAMES_AT_FIRST..self.frames.count();
            self.machine.add_frames(TABLES_PHYSICAL, rest)?;
            tables.shows_all_frames = true;
        }
        Ok(tables)
    }

    /// Makes the memory at an address reachable, unless it is. Says whether it was not.
    pub(super) fn cover_at(&self, address: u64) -> Result<bool, PlatformError> {
        let (Some(chunk), Some(wanted)) = (layout::chunk_of(address), GuestSpan::new(address, 1))
        else {
            return Ok(false);
        };
        self.cover_within(chunk, wanted)
    }

    /// Makes what is wanted of a chunk reachable, and maybe more of it. Says whether anything was not.
    fn cover_within(&self, chunk: GuestSpan, wanted: GuestSpan) -> Result<bool, PlatformError> {
        let mut tables = self.tables_to_grow()?;
        let missing = pieces::missing(&tables.covered, chunk, wanted);
        for &span in &missing {
            self.machine.add_guest_memory(span)?;
            tables.paging.cover(span)?;
            let place = tables.covered.partition_point(|other| other.start() < span.start());
            tables.covered.insert(place, span);
            let before = tables.covered_len;
            tables.covered_len += span.len();
            if before < UNLIMITED && tables.covered_len >= UNLIMITED {
                // Without the limit it goes on as well, with more memory.
                _ = self.machine.limit_tables(tables_for_all_memory());
            }
        }
        Ok(!missing.is_empty())
    }

    /// Makes the pages of a gate, the first of them at `address`. `user` is [`USER`] if its code runs at the
    /// program's level, and else 0: then the program can neither read nor write them.
    pub(super) fn add_gate(&self, address: u64, user: u64) -> Result<Pages, PlatformError> {
        let mut tables = self.tables_to_grow()?;
        let board = match tables.board {
            Some(board) => board,
            None => tables.paging.map_new(LOOKED_FOR, USER | NO_EXECUTE)?,
        };
        tables.board = Some(board);
        let fixed = tables.paging.map_new(address, user)?;
        let posted = tables.paging.map_new(address + PAGE, user | WRITABLE | NO_EXECUTE)?;
        Ok(Pages { fixed, posted, board })
    }
}

/// How many tables KVM needs where all of the host's memory is the guest's, in small pages: one for each
/// 2 MiB, and some above them. What a guest had mapped once, and has not now, needs none.
fn tables_for_all_memory() -> u64 {
    let system = rustix::system::sysinfo();
    let bytes = system.totalram.saturating_mul(u64::from(system.mem_unit));
    bytes / LARGE_PAGE + 4096
}

/// The descriptor tables, the gate and the stubs.
fn write_fixed_pages(paging: &mut PageTables, frames: &Frames) -> Result<(), PlatformError> {
    let bytes =
        |words: &[u64]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>();
    let pages = [
        (GDT, bytes(&segments::GDT_WORDS), WRITABLE | NO_EXECUTE),
        (IDT, bytes(&exceptions::descriptors(STUBS)), NO_EXECUTE),
        (GATE, exceptions::GATE_CODE.to_vec(), USER),
        (STUBS, exceptions::stubs(), 0),
    ];
    for (address, content, flags) in pages {
        let frame = paging.take()?;
        frames.store_bytes(frame, &content);
        let physical = paging.physical(frame);
        paging.map_page(paging.root(), address, physical, flags)?;
    }
    Ok(())
}

fn map_vdso(paging: &mut PageTables, vdso: HostVdso) -> Result<(), PlatformError> {
    for offset in (0..vdso.len()).step_by(4096) {
        let variables = if offset < vdso.image() { NO_EXECUTE } else { 0 };
        paging.map_page(paging.root(), VDSO + offset, VDSO_PHYSICAL + offset, USER | variables)?;
    }
    Ok(())
}
