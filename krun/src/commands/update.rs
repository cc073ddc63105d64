//! `krun update`: change the limits of a container.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use spec_compat::Status;

use super::VerbError;
use crate::cli::{Global, Update};
use crate::container::limits::{self, Limits, LimitsError, Size, UnknownSize};
use crate::container::record::Record;
use crate::systemd::{self, SystemdError};

/// Why no limit was changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UpdateError {
    /// runc's words.
    #[error("container not running")]
    NotRunning,
    /// A size is none.
    #[error("invalid value for {option}: {source}")]
    Size {
        /// The option.
        option: &'static str,
        /// Why. Shown in this error's own text, hence no `#[source]`.
        source: UnknownSize,
    },
    /// The resources section cannot be read.
    #[error("--resources {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        fault: io::Error,
    },
    /// Intel RDT is not there.
    #[error("--{0}: Intel RDT is not supported")]
    Rdt(&'static str),
    /// The cgroup refuses.
    #[error(transparent)]
    Limits(#[from] LimitsError),
    /// The limits hold until systemd reads its units anew.
    #[error(transparent)]
    Systemd(#[from] SystemdError),
}

pub(super) fn update(global: &Global, arguments: &Update) -> Result<(), VerbError> {
    let entry = super::store(global).find(&arguments.id)?;
    let _lock = entry.lock()?;
    let record = entry.load()?;
    if entry.status(&record) == Status::Stopped {
        return Err(UpdateError::NotRunning.into());
    }
    let limits = match &arguments.resources {
        Some(path) => read(path)?,
        None => from_options(arguments)?,
    };
    Ok(change(&record, &limits)?)
}

/// systemd writes what it is told into the files, rounded, hence once more.
fn change(record: &Record, limits: &Limits) -> Result<(), UpdateError> {
    limits::change(&record.cgroups, limits)?;
    if let Some(unit) = &record.unit {
        systemd::set_limits(record.systemd, unit, limits, &cpu_max(&record.cgroups))?;
        limits::change(&record.cgroups, limits)?;
    }
    Ok(())
}

/// Quota and period, as version 2 has them in one file and version 1 in two.
fn cpu_max(cgroups: &[PathBuf]) -> String {
    let read = |file: &str| {
        let mut texts = cgroups.iter().map(|directory| fs::read_to_string(directory.join(file)));
        texts.find_map(Result::ok).map(|text| text.trim().to_owned())
    };
    let halves = || {
        let (quota, period) = (read("cpu.cfs_quota_us")?, read("cpu.cfs_period_us")?);
        Some(format!("{quota} {period}"))
    };
    read("cpu.max").or_else(halves).unwrap_or_default()
}

fn read(path: &Path) -> Result<Limits, UpdateError> {
    let mut bytes = Vec::new();
    let read = if path == Path::new("-") {
        io::stdin().lock().read_to_end(&mut bytes).map(drop)
    } else {
        fs::read(path).map(|read| bytes = read)
    };
    let fault = |fault| UpdateError::Read { path: path.into(), fault };
    read.map_err(fault)?;
    serde_json::from_slice(&bytes).map_err(|error| fault(error.into()))
}

fn from_options(arguments: &Update) -> Result<Limits, UpdateError> {
    for (option, value) in [
        ("l3-cache-schema", &arguments.l3_cache_schema),
        ("mem-bw-schema", &arguments.mem_bw_schema),
    ] {
        if value.is_some() {
            return Err(UpdateError::Rdt(option));
        }
    }
    if arguments.kernel_memory.is_some() || arguments.kernel_memory_tcp.is_some() {
        tracing::warn!("--kernel-memory and --kernel-memory-tcp have no effect");
    }
    let mut limits = Limits::default();
    limits.memory.limit = size("memory", arguments.memory.as_deref())?;
    limits.memory.reservation =
        size("memory-reservation", arguments.memory_reservation.as_deref())?;
    limits.memory.swap = size("memory-swap", arguments.memory_swap.as_deref())?;
    limits.cpu.shares = arguments.cpu_share;
    limits.cpu.quota = arguments.cpu_quota;
    limits.cpu.burst = arguments.cpu_burst;
    limits.cpu.period = arguments.cpu_period;
    limits.cpu.realtime_runtime = arguments.cpu_rt_runtime;
    limits.cpu.realtime_period = arguments.cpu_rt_period;
    limits.cpu.cpus.clone_from(&arguments.cpuset_cpus);
    limits.cpu.mems.clone_from(&arguments.cpuset_mems);
    limits.cpu.idle = arguments.cpu_idle;
    limits.pids.limit = arguments.pids_limit;
    limits.block_io.weight = arguments.blkio_weight;
    Ok(limits)
}

fn size(option: &'static str, text: Option<&str>) -> Result<Option<i64>, UpdateError> {
    let parsed = text.map(Size::parse).transpose();
    let size = parsed.map_err(|source| UpdateError::Size { option, source })?;
    Ok(size.map(|Size(bytes)| bytes))
}
