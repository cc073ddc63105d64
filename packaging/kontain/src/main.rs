//! kontain: what an administrator does with krun on a node.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use kontain::cli::Cli;

fn main() -> ExitCode {
    Cli::parse().run()
}
