//! The options of the verbs that are about a container's processes, and of `list`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// The options of `exec`.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "a command line has flags")]
pub(crate) struct Exec {
    /// The container's name.
    pub(crate) id: String,

    /// The program and its arguments, unless --process has them.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) command: Vec<String>,

    /// A UNIX socket that receives the descriptor of the terminal's master side.
    #[arg(long, value_name = "PATH")]
    pub(crate) console_socket: Option<PathBuf>,

    /// A UNIX socket that receives a descriptor of the program's process.
    #[arg(long, value_name = "PATH")]
    pub(crate) pidfd_socket: Option<PathBuf>,

    /// The working directory in the container.
    #[arg(long, value_name = "DIR")]
    pub(crate) cwd: Option<String>,

    /// Another environment variable; may be given more than once.
    #[arg(short, long, value_name = "NAME=VALUE")]
    pub(crate) env: Vec<String>,

    /// Give the program a terminal.
    #[arg(short, long)]
    pub(crate) tty: bool,

    /// The user and, behind a colon, the group, as numbers.
    #[arg(short, long, value_name = "UID[:GID]")]
    pub(crate) user: Option<String>,

    /// Another supplementary group, as a number; may be given more than once.
    #[arg(short = 'g', long, value_name = "GID")]
    pub(crate) additional_gids: Vec<u32>,

    /// A file with the process section to be used, as in config.json.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) process: Option<PathBuf>,

    /// Do not wait for the program's end.
    #[arg(short, long)]
    pub(crate) detach: bool,

    /// A file that receives the program's process ID.
    #[arg(long, value_name = "FILE")]
    pub(crate) pid_file: Option<PathBuf>,

    /// The SELinux label of the process.
    #[arg(long, value_name = "LABEL")]
    pub(crate) process_label: Option<String>,

    /// The AppArmor profile of the process.
    #[arg(long, value_name = "PROFILE")]
    pub(crate) apparmor: Option<String>,

    /// Forbid the program to gain rights by executing files.
    #[arg(long)]
    pub(crate) no_new_privs: bool,

    /// Another capability; may be given more than once.
    #[arg(short, long, value_name = "CAP_NAME")]
    pub(crate) cap: Vec<String>,

    /// Pass this many descriptors, from 3 on, to the program.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) preserve_fds: u16,

    /// Start it in this cgroup below the container's.
    #[arg(long, value_name = "PATH")]
    pub(crate) cgroup: Vec<String>,

    /// Start it in a paused container too, where it waits.
    #[arg(long)]
    pub(crate) ignore_paused: bool,
}

/// The options of `ps`.
#[derive(Debug, Args)]
pub(crate) struct Ps {
    /// The container's name.
    pub(crate) id: String,

    /// What to print: ps(1)'s table, or process IDs as JSON.
    #[arg(short, long, value_enum, default_value_t = Table::Table)]
    pub(crate) format: Table,

    /// Options for ps(1); `-ef` if there are none.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) options: Vec<String>,
}

/// The options of `list`.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// What to print: a table, or the containers' states as JSON.
    #[arg(short, long, value_enum, default_value_t = Table::Table)]
    pub(crate) format: Table,

    /// Print names only.
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// How a list is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Table {
    /// For people.
    Table,
    /// For programs.
    Json,
}
