//! The settings as options of krun's, which win over everything else.

use std::path::PathBuf;

use clap::Args;
use clap::builder::BoolishValueParser;
use monitor_launch::Exitless;

use crate::Settings;

/// Options that set what a file can set too. An option with a switch may have `=false`, as with runc.
#[derive(Clone, Debug, Default, Args)]
pub struct Flags {
    /// Write debugging lines to the log.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = BoolishValueParser::new())]
    debug: Option<bool>,

    /// Let uname(2) in a container show the host's kernel release as it is, without the
    /// suffix that tells a virtual machine (as in 6.12.0.kontain.KVM).
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = BoolishValueParser::new())]
    no_release_suffix: Option<bool>,

    /// Whether a thread of km's makes a program's system calls where that is quicker than leaving the virtual
    /// machine for each: auto, on (always, for tests) or off [default: auto].
    #[arg(long, value_name = "WHEN")]
    exitless: Option<Exitless>,

    /// Let km make any system call on the host, for debugging: without its own seccomp filter, what its tables
    /// refuse to a program is refused by them alone.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = BoolishValueParser::new())]
    no_monitor_filter: Option<bool>,

    /// Have km say on the container's standard error, at each process's end, how many system calls left the
    /// virtual machine, and why.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = BoolishValueParser::new())]
    stats: Option<bool>,

    /// The host's rules about virtual machines, `*.toml`, in place of those in
    /// /etc/kontain/policy.d.
    #[arg(long, value_name = "DIR")]
    policy_dir: Option<PathBuf>,
}

impl Flags {
    pub(crate) fn apply(&self, settings: &mut Settings) {
        settings.debug.overrule(self.debug, "--debug");
        settings.exitless.overrule(self.exitless, "--exitless");
        let filter = self.no_monitor_filter.map(|is_off| !is_off);
        settings.monitor_filter.overrule(filter, "--no-monitor-filter");
        settings.policy_dir.overrule(self.policy_dir.clone().map(Some), "--policy-dir");
        let suffix = self.no_release_suffix.map(|is_off| !is_off);
        settings.release_suffix.overrule(suffix, "--no-release-suffix");
        settings.stats.overrule(self.stats, "--stats");
    }
}
