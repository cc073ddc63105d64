//! krun's own log, and what becomes of libcontainer's events.
//!
//! A caller that gives `--log` reads the last line of level `error` there. So krun writes
//! exactly one, at its end, and libcontainer none: its errors have no words for users. They
//! are kept as causes (see `start_gate`), because libcontainer returns errors without theirs.

use std::ffi::{OsStr, OsString};
use std::fmt::{Debug, Write as _};
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use clap::CommandFactory;
use spec_compat::log_line::{self, Format, Level};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, span};

use crate::cli::{Cli, Global, LogFormat};
use crate::container::start_gate;

/// The crates whose words are krun's own.
const OURS: [&str; 2] = ["krun", "hooks"];

/// Where lines go.
#[derive(Debug)]
pub(crate) struct Log {
    /// The file of `--log`; standard error if absent.
    file: Option<File>,
    format: Format,
    shows_debug: bool,
    /// Where causes go while a container is made.
    causes: Mutex<Option<OwnedFd>>,
}

impl Log {
    /// Opens the log and makes it the destination of all events of this process.
    pub(crate) fn open(global: &Global) -> io::Result<Arc<Self>> {
        let log = Arc::new(Self {
            file: global.log.as_deref().map(open_to_append).transpose()?,
            format: match global.log_format {
                LogFormat::Text => Format::Text,
                LogFormat::Json => Format::Json,
            },
            shows_debug: *global.settings.debug,
            causes: Mutex::new(None),
        });
        tracing::subscriber::set_global_default(Subscriber(Arc::clone(&log)))
            .map_err(io::Error::other)?;
        Ok(log)
    }

    /// Says why the command has failed: in the log, and to whoever looks on.
    pub(crate) fn fatal(&self, message: &str) {
        self.line(Level::Error, message);
        if self.file.is_some() {
            to_stderr(&format!("{message}\n"));
        }
    }

    /// Says in the log that the command line is wrong, if one can be made out in it.
    ///
    /// Callers show what is there, and not standard error.
    pub(crate) fn wrong_command_line(arguments: impl Iterator<Item = OsString>, message: &str) {
        let arguments: Vec<_> = arguments.collect();
        let Some(path) = value_of(&arguments, "--log") else { return };
        let is_json = value_of(&arguments, "--log-format").is_some_and(|format| format == "json");
        let format = if is_json { Format::Json } else { Format::Text };
        let line = log_line::line(format, Level::Error, message, &now());
        // The message is on standard error, too.
        _ = open_to_append(Path::new(&path)).and_then(|mut file| file.write_all(line.as_bytes()));
    }

    /// Says why there is not even a log.
    pub(crate) fn to_stderr_only(message: &str) {
        to_stderr(&log_line::line(Format::Text, Level::Error, message, &now()));
    }

    fn line(&self, level: Level, message: &str) {
        let line = log_line::line(self.format, level, message, &now());
        match &self.file {
            // A full disk must not end a command that is otherwise good.
            Some(file) => drop((&*file).write_all(line.as_bytes())),
            None => to_stderr(&line),
        }
    }

    /// Sends the causes libcontainer tells from now on through `gate`.
    pub(crate) fn send_causes_to(&self, gate: Option<OwnedFd>) {
        *self.causes.lock().unwrap_or_else(PoisonError::into_inner) = gate;
    }

    fn cause(&self, text: &str) {
        if let Some(gate) = &*self.causes.lock().unwrap_or_else(PoisonError::into_inner) {
            start_gate::report_cause(gate, text);
        }
    }
}

/// The value of an option in front of the verb: the next argument, or what follows `=`.
///
/// What follows the verb is the verb's, and at last the arguments of a program in the container: a file that
/// they name is none of krun's.
fn value_of(arguments: &[OsString], option: &str) -> Option<OsString> {
    let command = Cli::command();
    let mut words = arguments.iter().skip(1);
    while let Some(word) = words.next() {
        // A path's bytes need not be text, but an option's name is.
        let bytes = word.as_bytes();
        let (name, value) = match bytes.iter().position(|byte| *byte == b'=') {
            Some(place) => (&bytes[..place], Some(OsStr::from_bytes(&bytes[place + 1..]))),
            None => (bytes, None),
        };
        let name = std::str::from_utf8(name).unwrap_or_default();
        if !name.starts_with('-') || matches!(name, "-" | "--") {
            return None;
        }
        let value = match value {
            None if takes_value(&command, name) => words.next().map(OsString::as_os_str),
            value => value,
        };
        if name == option {
            return value.map(OsStr::to_owned);
        }
    }
    None
}

/// Whether the option called `name` has a value behind it. One that krun does not know is taken for one
/// without.
fn takes_value(command: &clap::Command, name: &str) -> bool {
    let is_meant = |argument: &&clap::Arg| {
        argument.get_long().is_some_and(|long| name.strip_prefix("--") == Some(long))
    };
    let known = command.get_arguments().find(is_meant);
    // What has to stand behind `=` is never the next word.
    known.is_some_and(|argument| {
        argument.get_action().takes_values() && !argument.is_require_equals_set()
    })
}

fn open_to_append(path: &Path) -> io::Result<File> {
    File::options().create(true).append(true).mode(0o644).open(path)
}

fn to_stderr(text: &str) {
    // The caller may have closed it, and there is nobody else to tell.
    let _ = io::stderr().write_all(text.as_bytes());
}

/// The time as logs and state documents have it.
pub(crate) fn now() -> String {
    OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default()
}

/// Takes the events of krun and of libcontainer; spans are of no use to it.
struct Subscriber(Arc<Log>);

impl tracing::Subscriber for Subscriber {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let wanted = if self.0.shows_debug {
            tracing::Level::DEBUG
        } else if is_ours(metadata) && self.0.file.is_some() {
            // As in runc's. What nobody asked for does not go to a terminal.
            tracing::Level::INFO
        } else if is_ours(metadata) {
            tracing::Level::WARN
        } else {
            tracing::Level::ERROR
        };
        metadata.is_event() && *metadata.level() <= wanted
    }

    fn event(&self, event: &Event<'_>) {
        let mut text = EventText::default();
        event.record(&mut text);
        let text = text.finish();
        let level = *event.metadata().level();
        if is_ours(event.metadata()) {
            self.0.line(level_of(level), &text);
            return;
        }
        if level == tracing::Level::ERROR {
            self.0.cause(&text);
        }
        if self.0.shows_debug {
            self.0.line(Level::Debug, &format!("{}: {text}", event.metadata().target()));
        }
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

fn is_ours(metadata: &Metadata<'_>) -> bool {
    let krate = metadata.target().split("::").next().unwrap_or_default();
    OURS.contains(&krate)
}

fn level_of(level: tracing::Level) -> Level {
    match level {
        tracing::Level::ERROR => Level::Error,
        tracing::Level::WARN => Level::Warning,
        tracing::Level::INFO => Level::Info,
        _ => Level::Debug,
    }
}

/// An event's message, and its fields behind it.
#[derive(Default)]
struct EventText {
    message: String,
    fields: String,
}

impl EventText {
    fn finish(self) -> String {
        match (self.message.is_empty(), self.fields.is_empty()) {
            (true, _) => self.fields.trim_start().to_owned(),
            (_, true) => self.message,
            _ => format!("{}:{}", self.message, self.fields),
        }
    }
}

impl Visit for EventText {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // Writing to a string does not fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::value_of;

    fn log(line: &str) -> Option<OsString> {
        let words: Vec<_> = line.split(' ').map(OsString::from).collect();
        value_of(&words, "--log")
    }

    #[test]
    fn the_log_is_found_among_the_options_in_front_of_the_verb() {
        for line in [
            "krun --log /log nosuch",
            "krun --log=/log",
            "krun --nosuch --log /log exec box",
            "krun --root /r --debug --log-format json --log /log create --nosuch",
            "krun --root=/r --log=/log",
        ] {
            assert_eq!(log(line), Some("/log".into()), "{line}");
        }
    }

    #[test]
    fn what_a_verb_or_a_container_is_told_is_no_log() {
        for line in [
            "krun --nosuch exec box sh --log /victim",
            "krun --nosuch exec box sh --log=/victim",
            "krun exec --nosuch --log /victim",
            "krun --nosuch -- --log /victim",
            "krun --root --log exec box /victim",
            "krun --log",
            "krun",
        ] {
            assert_eq!(log(line), None, "{line}");
        }
    }
}
