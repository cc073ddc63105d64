//! What of a line of text may be told, such as a log's: what looks like a secret in it is left out.
//!
//! Rather too much than too little: what stands behind a name that speaks of secrets is left out up to the next blank or
//! the end of its quotes, and of an address all but its host.

use super::redact::{GONE, OPTIONS};

/// Names before a `=` whose values are looked at word by word: what programs log says much that helps.
const SENTENCES: &[&str] = &["level", "time", "msg", "error", "err", "native.cgroupdriver"];

/// A text in a field that is told, or in a log.
pub(super) fn text(text: &str) -> String {
    let mut line = Line::default();
    let mut rest = text;
    while !rest.is_empty() {
        rest = &rest[line.take(rest)..];
    }
    line.told
}

#[derive(Debug, Default)]
struct Line {
    told: String,
    /// What comes next is what somebody wants to keep.
    hides_next: bool,
    /// The name before a `=`, if it was the last.
    name: Option<String>,
}

impl Line {
    /// Tells what the text begins with. Says how much of it that was.
    fn take(&mut self, text: &str) -> usize {
        let ends = |c: char| is_quote(c) || c.is_whitespace();
        let first = text.chars().next().unwrap_or(' ');
        if first.is_whitespace() || first == '\\' {
            self.told.push(first);
            return first.len_utf8();
        }
        if is_quote(first) {
            return self.quote(text, first);
        }
        let chunk = &text[..text.find(ends).unwrap_or(text.len())];
        if let Some(length) = self.address(chunk) {
            return length;
        }
        let word = &chunk[..chunk.find(|c: char| ",;()[]{}\\".contains(c)).unwrap_or(chunk.len())];
        if word.is_empty() {
            self.told.push(first);
            return first.len_utf8();
        }
        self.word(word, chunk)
    }

    /// A quote, and all up to the one that ends it if that is to be kept.
    fn quote(&mut self, text: &str, quote: char) -> usize {
        let is_sentence = self.name.take().map(|name| SENTENCES.contains(&name.as_str()));
        let hides = std::mem::take(&mut self.hides_next) || is_sentence == Some(false);
        self.told.push(quote);
        // The quotes around a name of JSON's are followed by a colon, and its value comes then.
        let is_name = is_sentence.is_none() && text[1..].trim_start().starts_with([':', '=']);
        if !hides || is_name {
            self.hides_next = hides;
            return 1;
        }
        // Within a quoted text quotes have a backslash before them: as many as the one that begins.
        let depth = trailing_backslashes(&self.told[..self.told.len() - 1]);
        let mut end = 1;
        for (at, c) in text.char_indices().skip(1) {
            if c == quote && trailing_backslashes(&text[..at]) <= depth {
                end = at - trailing_backslashes(&text[..at]);
                self.told.push_str(GONE);
                return end;
            }
            end = at + c.len_utf8();
        }
        self.told.push_str(GONE);
        end
    }

    /// An address, of which only the host is told, or a name and a password before one.
    fn address(&mut self, chunk: &str) -> Option<usize> {
        if let Some(at) = chunk.find("://") {
            let is_scheme = |c: char| c.is_ascii_alphanumeric() || "+.-".contains(c);
            let start = chunk[..at].rfind(|c| !is_scheme(c)).map_or(0, |before| before + 1);
            if start > 0 {
                // What is before it comes first.
                let word = chunk[..start].trim_end_matches(|c: char| ",;()[]{}\\".contains(c));
                if !word.is_empty() {
                    return Some(self.word(word, word));
                }
                self.told.push_str(&chunk[..start]);
                return Some(start);
            }
            self.told.push_str(&shown_address(&chunk[..at], &chunk[at + 3..]));
        } else {
            let at = chunk.rfind('@').filter(|&at| chunk[..at].contains(':'))?;
            self.told.push_str(GONE);
            self.told.push('@');
            self.told.push_str(shown_host(&chunk[at + 1..]));
        }
        (self.hides_next, self.name) = (false, None);
        Some(chunk.len())
    }

    fn word(&mut self, word: &str, chunk: &str) -> usize {
        self.name = None;
        if word.bytes().all(|byte| b":=".contains(&byte)) {
            self.told.push_str(word);
            return word.len();
        }
        if std::mem::take(&mut self.hides_next) {
            self.hides_next = is_scheme(word);
            self.told.push_str(GONE);
            return chunk.len();
        }
        let name = word.trim_end_matches([':', '=']);
        if let Some(length) = self.value(word, chunk) {
            return length;
        }
        self.hides_next = !name.contains(['=', ':'])
            && (says_secret(name) || name.len() < word.len() && is_key(name));
        self.name = word.strip_suffix('=').map(str::to_owned);
        self.told.push_str(&self::word(word));
        word.len()
    }

    /// `NAME=value`, or a secret behind a colon: all up to the next blank or quote.
    fn value(&mut self, word: &str, chunk: &str) -> Option<usize> {
        let at = word.find(['=', ':']).filter(|&at| at > 0 && at + 1 < chunk.len())?;
        let (name, sign) = (&word[..at], &word[at..=at]);
        if sign == "=" && (OPTIONS.contains(&name) || SENTENCES.contains(&name)) {
            self.told.push_str(word);
            return Some(word.len());
        }
        if sign == ":" && !says_secret(name) && !is_key(name) {
            return None;
        }
        for part in [name, sign, GONE] {
            self.told.push_str(part);
        }
        Some(chunk.len())
    }
}

fn is_quote(c: char) -> bool {
    matches!(c, '"' | '\'' | '`')
}

fn trailing_backslashes(text: &str) -> usize {
    text.len() - text.trim_end_matches('\\').len()
}

/// The scheme and the host of an address.
fn shown_address(scheme: &str, rest: &str) -> String {
    let behind = rest.rsplit('@').next().unwrap_or_default();
    let host = behind.split(['/', '?', '#']).next().unwrap_or_default();
    let end = if host.len() < behind.len() { format!("/{GONE}") } else { String::new() };
    format!("{scheme}://{}{end}", shown_host(host))
}

/// A host, and its port if that is a number: else it is no host.
fn shown_host(host: &str) -> &str {
    let is_port = |port: &str| {
        let port = port.trim_end_matches(|c| ",;()[]{}.:".contains(c));
        port.bytes().all(|byte| byte.is_ascii_digit())
    };
    let host = host.split('/').next().unwrap_or_default();
    match host.rsplit_once(':') {
        Some((_, port)) if !is_port(port) => GONE,
        _ => host,
    }
}

fn word(word: &str) -> String {
    if looks_random(word) { GONE.to_owned() } else { word.to_owned() }
}

/// Whether it is the name of something that must be kept.
pub(super) fn says_secret(word: &str) -> bool {
    let word = word.to_ascii_lowercase();
    let signs = [
        "pass", "pwd", "secret", "token", "auth", "cred", "apikey", "api_key", "api-key", "_key",
        "-key", "private", "bearer", "basic",
    ];
    signs.iter().any(|sign| word.contains(sign)) && !word.starts_with('/')
}

/// Whether it is the name of a key, or of a word: what comes behind a colon is one then.
fn is_key(name: &str) -> bool {
    name.to_ascii_lowercase().ends_with("key")
}

fn is_scheme(word: &str) -> bool {
    ["bearer", "basic", "is"].contains(&word.to_ascii_lowercase().as_str())
}

/// Whether it is long, of letters and digits, and no container's number or hash, which are small hexadecimal ones, and no
/// path.
fn looks_random(word: &str) -> bool {
    let is_key = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=_-.".contains(&byte);
    let has = |is: fn(&u8) -> bool| word.as_bytes().iter().any(is);
    let is_path = word.starts_with('/') && !word.contains(['+', '=']);
    word.len() >= 16
        && !is_path
        && word.bytes().all(is_key)
        && has(u8::is_ascii_digit)
        && has(u8::is_ascii_uppercase)
        && (word.len() >= 20 || !has(u8::is_ascii_lowercase))
}

#[cfg(test)]
mod tests {
    use super::text;

    #[test]
    fn logs_keep_their_words_and_lose_secrets() {
        for (line, told) in [
            ("level=error msg=\"krun: open /dev/kvm\"", "level=error msg=\"krun: open /dev/kvm\""),
            ("pull https://u:S@host/x?sig=S failed", "pull https://host/[redacted] failed"),
            ("Authorization: Bearer S", "Authorization: [redacted] [redacted]"),
            ("password: S and token=S", "password: [redacted] and token=[redacted]"),
            ("{\"auth\":\"S\"}", "{\"auth\":\"[redacted]\"}"),
            ("key Ab3Ab3Ab3Ab3Ab3Ab3Ab3S", "key [redacted]"),
            ("container 0123456789abcdef0123", "container 0123456789abcdef0123"),
            ("open /proc/1/ns (\"x\"): EACCES", "open /proc/1/ns (\"x\"): EACCES"),
            ("{\"msg\":\"a b\",\"pid\":12}", "{\"msg\":\"a b\",\"pid\":12}"),
        ] {
            assert_eq!(text(line), told);
        }
    }

    #[test]
    fn secrets_end_at_blanks_and_quotes_only() {
        for line in [
            "https://user:pa,sS@registry/v2",
            "https://user:h#erS@registry",
            "https://S:S",
            "DB_PWD=\"S S\"",
            "FOO='S S'",
            "FOO='=S S'",
            "{\"password\":\"correct S S\"}",
            "{\"msg\":\"{\\\"password\\\":\\\"correct S S\\\"}\"}",
            "password=ab;S",
            "--password=ab,S",
            "encryption_key: S",
            "key: S",
            "\"pwd\": \"S\"",
            "AKIASOSFSDNN7SXAMPLE",
            "user:S@db/x",
            "//cifsuser:S@host/share",
            "/S3abcdefghijklmnop+S=",
            "proxy=http://u:S@proxy:3128",
            "(http://u:S@proxy:3128),",
            "token 'S S'",
        ] {
            let told = text(line);
            assert!(!told.contains('S'), "{line}: {told}");
        }
    }

    #[test]
    fn all_is_told_that_says_nothing() {
        for line in [
            "docker.io/library/busybox@sha256:0123456789abcdef",
            "10.0.0.1:8080",
            "unix:///run/containerd/containerd.sock",
            "time=\"2026-11-23T10:00:00Z\" level=info msg=\"km: 12: killed\" ",
            "",
            "\"",
            "it's",
        ] {
            let expected =
                line.replace("unix:///run/containerd/containerd.sock", "unix:///[redacted]");
            assert_eq!(text(line), expected);
        }
    }
}
