//! The command line: runc's, because engines call us in its place.
//!
//! Options may follow the container's ID. Options that runc once had are accepted and mean
//! nothing, so that an engine's old configuration goes on working.

mod process;
mod resources;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use krun_config::{Flags, Settings};

pub(crate) use self::process::{Exec, List, Ps, Table};
pub(crate) use self::resources::{Events, Update};

/// Runs OCI containers, each process in a virtual machine of its own.
#[derive(Debug, Parser)]
#[command(name = "krun", disable_version_flag = true, subcommand_required = false)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,

    /// Print the version.
    #[arg(short = 'v', long)]
    pub(crate) version: bool,

    #[command(subcommand)]
    pub(crate) verb: Option<Verb>,
}

/// Options in front of the verb.
#[derive(Debug, Args)]
pub(crate) struct Global {
    #[command(flatten)]
    pub(crate) flags: Flags,

    /// What holds: these options, and what the host's files and variables say where there is none.
    #[arg(skip)]
    pub(crate) settings: Settings,

    /// The directory of the settings, krun.toml and krun.d/*.toml, in place of /etc/kontain.
    #[arg(long, value_name = "DIR")]
    pub(crate) config_dir: Option<PathBuf>,

    /// Write the log to this file instead of standard error.
    #[arg(long, value_name = "FILE")]
    pub(crate) log: Option<PathBuf>,

    /// The log's format.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub(crate) log_format: LogFormat,

    /// The directory that keeps the containers' state; should be on a tmpfs.
    /// Without it: /run/krun, and krun in XDG_RUNTIME_DIR for an ordinary user.
    #[arg(long, value_name = "DIR")]
    pub(crate) root: Option<PathBuf>,

    /// Let systemd make the cgroups: `slice:prefix:name` in `cgroupsPath`.
    #[arg(long)]
    pub(crate) systemd_cgroup: bool,

    /// Who makes the cgroups, as with crun: systemd is for --systemd-cgroup.
    #[arg(long, value_enum, value_name = "WHO")]
    pub(crate) cgroup_manager: Option<CgroupManager>,

    /// Whether cgroup permission errors are ignored: true, false or auto, which is for ordinary users
    /// and in user namespaces.
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = Rootless::Auto)]
    pub(crate) rootless: Rootless,

    /// Tells krun that it is in the user namespace its bundle asks for.
    #[arg(long, hide = true, action = clap::ArgAction::Count)]
    pub(crate) in_user_namespace: u8,

    /// The monitor's binary, for tests. It is otherwise the `km` beside krun.
    #[arg(long, value_name = "PATH", hide = true)]
    pub(crate) km: Option<PathBuf>,

    /// Accepted for compatibility, without effect.
    #[arg(long, value_name = "PATH", hide = true)]
    pub(crate) criu: Option<PathBuf>,
}

/// Who makes a container's cgroups. podman asks a runtime called krun in crun's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CgroupManager {
    /// krun.
    Cgroupfs,
    /// systemd.
    Systemd,
    /// Nobody: the container stays in the caller's.
    Disabled,
}

/// Whether a cgroup that cannot be had is done without. The words are those of Go's `ParseBool`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Rootless {
    /// If this is not the host's root.
    #[value(aliases = ["", "Auto", "AUTO"])]
    Auto,
    /// Yes.
    #[value(name = "true", aliases = ["1", "t", "T", "TRUE", "True"])]
    Always,
    /// No.
    #[value(name = "false", aliases = ["0", "f", "F", "FALSE", "False"])]
    Never,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum LogFormat {
    /// As `key=value`.
    Text,
    /// As JSON.
    Json,
}

/// What is to be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Create a container that waits for `start`.
    Create(Create),
    /// Start the program of a created container.
    Start(Target),
    /// Print a container's state as JSON.
    State(Target),
    /// Send a signal to a container.
    Kill(Kill),
    /// Delete a container that has stopped.
    Delete(Delete),
    /// Create and start a container, and wait for its end.
    Run(Run),
    /// Start another program in a running container.
    Exec(Box<Exec>),
    /// List the processes of a container.
    Ps(Ps),
    /// List the containers below --root.
    List(List),
    /// Freeze all processes of a container.
    Pause(Target),
    /// Let the processes of a paused container go on.
    Resume(Target),
    /// Change the limits of a container.
    Update(Box<Update>),
    /// Print what a container uses, as JSON, and when it runs out of memory.
    Events(Events),
    /// Write a config.json to start from.
    Spec(SpecOptions),
    /// Not supported: krun's snapshots are not there yet.
    Checkpoint(Unsupported),
    /// Not supported: krun's snapshots are not there yet.
    Restore(Unsupported),
    /// Ask what the host's policy says.
    Policy {
        #[command(subcommand)]
        verb: PolicyVerb,
    },
    /// Print what this runtime supports, as JSON.
    Features,
    /// Run one hook with the state libcontainer gives, corrected.
    #[command(hide = true)]
    RunHook(RunHook),
}

/// The questions to the policy.
#[derive(Debug, Subcommand)]
pub(crate) enum PolicyVerb {
    /// Whether the container of a config.json would run in virtual machines, natively or not at
    /// all, and what every rule says of it.
    Test {
        /// The file, in its bundle.
        #[arg(value_name = "CONFIG.JSON")]
        config: PathBuf,
    },
}

impl Verb {
    /// Whether it goes by the settings. The others must work on a host whose settings are wrong: what runs there has
    /// to be seen and ended.
    pub(crate) fn needs_settings(&self) -> bool {
        matches!(self, Self::Create(_) | Self::Run(_) | Self::Exec(_) | Self::Policy { .. })
    }
}

/// A container.
#[derive(Debug, Args)]
pub(crate) struct Target {
    /// The container's name.
    pub(crate) id: String,
}

/// The options of `create`.
#[derive(Debug, Args)]
pub(crate) struct Create {
    /// The container's name.
    pub(crate) id: String,

    #[command(flatten)]
    pub(crate) options: CreateOptions,
}

/// What `create` and `run` have in common.
#[derive(Debug, Args)]
pub(crate) struct CreateOptions {
    /// The bundle's directory; the working directory if not given.
    #[arg(short, long, value_name = "DIR")]
    pub(crate) bundle: Option<PathBuf>,

    /// A UNIX socket that receives the descriptor of the terminal's master side.
    #[arg(long, value_name = "PATH")]
    pub(crate) console_socket: Option<PathBuf>,

    /// A UNIX socket that receives a descriptor of the program's process.
    #[arg(long, value_name = "PATH")]
    pub(crate) pidfd_socket: Option<PathBuf>,

    /// A file that receives the program's process ID.
    #[arg(long, value_name = "FILE")]
    pub(crate) pid_file: Option<PathBuf>,

    /// Enter the root file system without pivot_root(2), as a RAM disk needs it.
    #[arg(long)]
    pub(crate) no_pivot: bool,

    /// Keep the caller's session keyring.
    #[arg(long)]
    pub(crate) no_new_keyring: bool,

    /// Pass this many descriptors, from 3 on, to the program.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) preserve_fds: u16,
}

/// The options of `run`.
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// The container's name.
    pub(crate) id: String,

    #[command(flatten)]
    pub(crate) options: CreateOptions,

    /// Do not wait for the program's end.
    #[arg(short, long)]
    pub(crate) detach: bool,

    /// Keep the container after its end.
    #[arg(long)]
    pub(crate) keep: bool,

    /// Do not adopt the program's orphans while waiting.
    #[arg(long)]
    pub(crate) no_subreaper: bool,
}

/// The options of `kill`.
#[derive(Debug, Args)]
pub(crate) struct Kill {
    /// The container's name.
    pub(crate) id: String,

    /// A number or a name, with or without SIG.
    #[arg(default_value = "SIGTERM")]
    pub(crate) signal: String,

    /// Send it to all processes of the container.
    #[arg(short, long, hide = true)]
    pub(crate) all: bool,
}

/// The options of `delete`.
#[derive(Debug, Args)]
pub(crate) struct Delete {
    /// The container's name.
    pub(crate) id: String,

    /// Kill the container first; succeed if there is none.
    #[arg(short, long)]
    pub(crate) force: bool,
}

/// The options of `spec`.
#[derive(Debug, Args)]
pub(crate) struct SpecOptions {
    /// The directory the file is written to; the working directory if not given.
    #[arg(short, long, value_name = "DIR")]
    pub(crate) bundle: Option<PathBuf>,

    /// Write it for the calling user, who need not be root.
    #[arg(long)]
    pub(crate) rootless: bool,
}

/// Whatever is given to a verb that is not supported.
#[derive(Debug, Args)]
pub(crate) struct Unsupported {
    /// Any options and arguments.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    pub(crate) _arguments: Vec<String>,
}

/// The options of the internal `run-hook`.
#[derive(Debug, Args)]
pub(crate) struct RunHook {
    /// The hook and what is to be corrected, as JSON.
    pub(crate) order: String,
}
