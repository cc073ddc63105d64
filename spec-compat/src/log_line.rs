//! The lines of `--log`, in the two formats runc writes.
//!
//! containerd and dockerd read the last line whose `level` is `error` and show its `msg`;
//! a line whose `time` or `msg` is no text makes them give up, so the fields are fixed.

use serde_json::json;

/// How a log line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `time="…" level=… msg="…"`.
    Text,
    /// `{"level":"…","msg":"…","time":"…"}`.
    Json,
}

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// The command has failed.
    Error,
    /// Something was asked for and will not be had.
    Warning,
    /// For whoever operates the host.
    Info,
    /// For whoever looks for a defect.
    Debug,
}

impl Level {
    /// The word runc has for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }
}

/// One line, with its end. `time` is in RFC 3339's form.
///
/// ```
/// use spec_compat::log_line::{Format, Level, line};
///
/// let time = "2026-01-02T03:04:05Z";
///
/// assert_eq!(
///     line(Format::Json, Level::Error, "no \"x\"", time),
///     "{\"level\":\"error\",\"msg\":\"no \\\"x\\\"\",\"time\":\"2026-01-02T03:04:05Z\"}\n"
/// );
/// assert_eq!(
///     line(Format::Text, Level::Warning, "no \"x\"", time),
///     "time=\"2026-01-02T03:04:05Z\" level=warning msg=\"no \\\"x\\\"\"\n"
/// );
/// ```
pub fn line(format: Format, level: Level, message: &str, time: &str) -> String {
    let level = level.as_str();
    match format {
        Format::Json => format!("{}\n", json!({ "level": level, "msg": message, "time": time })),
        Format::Text => format!("time=\"{time}\" level={level} msg={}\n", quoted(message)),
    }
}

/// `message` in quotes; a line stays one line whatever an image says.
fn quoted(message: &str) -> String {
    // JSON's quoting and Go's agree on everything a log has in it.
    json!(message).to_string()
}

#[cfg(test)]
mod tests {
    use super::{Format, Level, line};

    #[test]
    fn a_message_with_line_ends_stays_on_one_line() {
        for format in [Format::Text, Format::Json] {
            let written = line(format, Level::Error, "a\nb", "t");

            assert_eq!(written.matches('\n').count(), 1, "{written}");
            assert!(written.ends_with('\n'));
        }
    }
}
