//! `krun create`: make a container that waits for `start`.

use super::VerbError;
use crate::cli::{Create, Global};
use crate::creation::{self, Console};
use crate::log::Log;

pub(super) fn create(global: &Global, log: &Log, arguments: &Create) -> Result<(), VerbError> {
    let options = &arguments.options;
    let console = Console::Caller(options.console_socket.as_deref());
    creation::create(global, log, &arguments.id, options, console)
        .map(drop)
        .map_err(VerbError::Create)
}
