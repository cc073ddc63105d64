//! One call of the Container Runtime Interface: protobuf by `protoc`, HTTP/2 by `curl`.
//!
//! That is all a call without streams needs: a request's message follows a flag and its length, the
//! answer comes likewise, and whether the call has failed stands in the trailing headers.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::outcome;

/// The messages, for `protoc`.
const API: &str = include_str!("api.proto");

/// A byte that says whether the message is compressed, and four of its length.
const FRAME: usize = 5;

/// An answer in protobuf's text format.
#[derive(Clone, Debug)]
pub struct Answer(String);

impl Answer {
    /// The value of the first field with this name, without quotes. Zeros are not sent.
    pub fn field(&self, name: &str) -> Option<String> {
        let mut fields = self.0.lines().filter_map(|line| line.trim().split_once(": "));
        let (_, value) = fields.find(|(found, _)| *found == name)?;
        Some(value.trim_matches('"').to_owned())
    }

    /// The number that a message with this name holds as its `value`.
    pub fn number_in(&self, message: &str) -> Option<u64> {
        let mut lines = self.0.lines().map(str::trim);
        lines.find(|line| line.strip_suffix(" {") == Some(message))?;
        lines.next()?.strip_prefix("value: ")?.parse().ok()
    }
}

/// Calls `Service/Method` at this socket; files are written to `dir`.
pub(super) fn call(socket: &Path, dir: &Path, method: &str, request: &str) -> Result<Answer> {
    let (_, name) = method.split_once('/').context("a method of a service")?;
    fs::write(dir.join("api.proto"), API)?;
    let encoded = protoc(dir, &format!("--encode=runtime.v1.{name}Request"), request.as_bytes())?;
    let length = u32::try_from(encoded.len()).context("a short request")?;
    let framed = [&[0][..], &length.to_be_bytes(), &encoded].concat();

    let headers = dir.join("headers");
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--http2-prior-knowledge", "--unix-socket"]);
    curl.arg(socket).args(["--header", "content-type: application/grpc"]);
    curl.args(["--header", "te: trailers", "--data-binary", "@-", "--dump-header"]);
    curl.arg(&headers).arg(format!("http://localhost/runtime.v1.{method}"));
    let answered = outcome::run(&mut curl, Some(&framed))?;
    ensure!(answered.is_success(), "{method}: {answered:?}");

    let headers = fs::read_to_string(headers).context("read the answer's headers")?;
    let header = |name| headers.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    if header("grpc-status:") != Some("0") {
        bail!("{method}: {}", header("grpc-message:").unwrap_or(&headers));
    }
    let message = answered.stdout.get(FRAME..).context("an answer has a frame")?;
    let decoded = protoc(dir, &format!("--decode=runtime.v1.{name}Response"), message)?;
    Ok(Answer(String::from_utf8(decoded)?))
}

fn protoc(dir: &Path, action: &str, input: &[u8]) -> Result<Vec<u8>> {
    let mut protoc = Command::new("protoc");
    protoc.arg("--proto_path").arg(dir).args([action, "api.proto"]);
    let done = outcome::run(&mut protoc, Some(input))?;
    ensure!(done.is_success(), "protoc {action}: {done:?}");
    Ok(done.stdout)
}
