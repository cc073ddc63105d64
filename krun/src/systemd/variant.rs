//! Values in GVariant's text format, as annotations have them: `uint64 5`, `'text'`, `['a', 'b']`.
//!
//! <https://docs.gtk.org/glib/gvariant-text-format.html>. What properties of units are made of is read:
//! strings, booleans, numbers, and lists of these.

use super::body::Value;

/// The words for types, with their signatures.
const TYPES: [(&str, &str); 10] = [
    ("string", "s"),
    ("boolean", "b"),
    ("byte", "y"),
    ("int16", "n"),
    ("uint16", "q"),
    ("int32", "i"),
    ("uint32", "u"),
    ("int64", "x"),
    ("uint64", "t"),
    ("double", "d"),
];

/// Reads a whole text, or says what is wrong with it.
pub(super) fn parse(text: &str) -> Result<Value, String> {
    let mut parser = Parser { rest: text.trim() };
    let value = parser.value(None)?;
    if parser.rest.trim().is_empty() {
        Ok(value)
    } else {
        Err(format!("found {:?} after the value", parser.rest.trim()))
    }
}

struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn value(&mut self, known: Option<&'static str>) -> Result<Value, String> {
        self.rest = self.rest.trim_start();
        match self.rest.chars().next() {
            None => Err("found no value".to_owned()),
            Some('\'' | '"') => self.text().and_then(|text| match known {
                None | Some("s") => Ok(Value::Text(text)),
                Some(kind) => Err(format!("found text, expected type {kind}")),
            }),
            Some('[') if known.is_none() => self.list(None),
            Some('@') => self.signed(known),
            Some(_) => self.word(known),
        }
    }

    /// A value behind its signature, such as `@as []`.
    fn signed(&mut self, known: Option<&'static str>) -> Result<Value, String> {
        let word = self.next_word();
        let signature = word.trim_start_matches('@');
        let kind = signature.strip_prefix('a').unwrap_or(signature);
        let kind = TYPES.iter().find(|(_, one)| *one == kind).map(|(_, kind)| *kind);
        match (kind, signature.starts_with('a'), known) {
            (Some(kind), false, None) => self.value(Some(kind)),
            (Some(kind), true, None) => self.list(Some(kind)),
            _ => Err(format!("found type {word}, expected one of strings, booleans and numbers")),
        }
    }

    fn word(&mut self, known: Option<&'static str>) -> Result<Value, String> {
        let word = self.next_word();
        if let Some((_, kind)) = TYPES.iter().find(|(name, _)| *name == word) {
            return match known {
                None => self.value(Some(kind)),
                Some(_) => Err(format!("found a second type, {word}")),
            };
        }
        match (word, known) {
            ("true", None | Some("b")) => Ok(Value::Flag(true)),
            ("false", None | Some("b")) => Ok(Value::Flag(false)),
            _ => number(word, known).ok_or_else(|| match known {
                None => format!("found {word:?}, expected a value"),
                Some(kind) => format!("found {word:?}, expected a value of type {kind}"),
            }),
        }
    }

    fn next_word(&mut self) -> &'a str {
        let end = self.rest.find(|c: char| c.is_whitespace() || ",]".contains(c));
        let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        word
    }

    /// All elements have the first one's type.
    fn list(&mut self, known: Option<&'static str>) -> Result<Value, String> {
        self.rest = self.rest.trim_start();
        let expect = |rest: &'a str, mark: char| rest.trim_start().strip_prefix(mark);
        self.rest = expect(self.rest, '[').ok_or("expected a list")?;
        let (mut kind, mut elements) = (known, Vec::new());
        while expect(self.rest, ']').is_none() {
            if !elements.is_empty() {
                self.rest =
                    expect(self.rest, ',').ok_or("expected a comma or the end of a list")?;
            }
            let element = self.value(kind)?;
            let signature = element.signature();
            let found = TYPES.iter().find(|(_, one)| *one == signature);
            kind = Some(found.ok_or("found a list in a list")?.1);
            elements.push(element);
        }
        self.rest = expect(self.rest, ']').unwrap_or_default();
        let kind = kind.ok_or("found an empty list without a type, such as @as []")?;
        Ok(Value::List { kind, elements })
    }

    fn text(&mut self) -> Result<String, String> {
        let mut chars = self.rest.chars();
        let quote = chars.next();
        let mut text = String::new();
        while let Some(next) = chars.next() {
            match next {
                '\0' => return Err("found a zero byte".to_owned()),
                '\\' => text.push(escaped(&mut chars).ok_or("found an unknown escape")?),
                end if Some(end) == quote => {
                    self.rest = chars.as_str();
                    return Ok(text);
                }
                other => text.push(other),
            }
        }
        Err("found text without its end".to_owned())
    }
}

fn escaped(chars: &mut std::str::Chars<'_>) -> Option<char> {
    let digits = match chars.next()? {
        'a' => return Some('\x07'),
        'b' => return Some('\x08'),
        'f' => return Some('\x0c'),
        'n' => return Some('\n'),
        'r' => return Some('\r'),
        't' => return Some('\t'),
        'v' => return Some('\x0b'),
        'u' => 4,
        'U' => 8,
        plain => return Some(plain),
    };
    let code: String = chars.take(digits).collect();
    let code = u32::from_str_radix(&code, 16).ok().filter(|code| *code != 0)?;
    char::from_u32(code)
}

/// A number, of type `int32` or `double` if nothing else is said.
fn number(word: &str, known: Option<&'static str>) -> Option<Value> {
    let is_fraction = !word.contains("0x") && word.contains(['.', 'e', 'E']);
    let kind = known.unwrap_or(if is_fraction { "d" } else { "i" });
    let bytes = if kind == "d" {
        word.parse::<f64>().ok()?.to_le_bytes().to_vec()
    } else {
        let value = integer(word)?;
        match kind {
            "y" => u8::try_from(value).ok()?.to_le_bytes().to_vec(),
            "n" => i16::try_from(value).ok()?.to_le_bytes().to_vec(),
            "q" => u16::try_from(value).ok()?.to_le_bytes().to_vec(),
            "i" => i32::try_from(value).ok()?.to_le_bytes().to_vec(),
            "u" => u32::try_from(value).ok()?.to_le_bytes().to_vec(),
            "x" => i64::try_from(value).ok()?.to_le_bytes().to_vec(),
            "t" => u64::try_from(value).ok()?.to_le_bytes().to_vec(),
            _ => return None,
        }
    };
    Some(Value::Fixed { kind, bytes })
}

/// As in C: hexadecimal, octal or decimal.
fn integer(word: &str) -> Option<i128> {
    let (sign, digits) = match word.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, word.strip_prefix('+').unwrap_or(word)),
    };
    let (digits, radix) = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None if digits.len() > 1 && digits.starts_with('0') => (&digits[1..], 8),
        None => (digits, 10),
    };
    let is_plain = digits.starts_with(|c: char| c.is_ascii_hexdigit());
    i128::from_str_radix(digits, radix).ok().filter(|_| is_plain).map(|value| sign * value)
}

#[cfg(test)]
mod tests {
    use super::super::body::Value;
    use super::parse;

    fn fixed(kind: &'static str, bytes: &[u8]) -> Value {
        Value::Fixed { kind, bytes: bytes.to_vec() }
    }

    #[test]
    fn values_are_read_with_their_types() {
        let text = |text: &str| Value::Text(text.to_owned());
        let list = |kind, elements| Value::List { kind, elements };
        for (written, expected) in [
            ("'inactive-or-failed'", text("inactive-or-failed")),
            (r#" "a'b\n\u00e9\\" "#, text("a'b\né\\")),
            ("string 'x'", text("x")),
            ("@s 'x'", text("x")),
            ("true", Value::Flag(true)),
            ("boolean false", Value::Flag(false)),
            ("-3", fixed("i", &[0xfd, 0xff, 0xff, 0xff])),
            ("uint64 123", fixed("t", &[123, 0, 0, 0, 0, 0, 0, 0])),
            ("@q 0x10", fixed("q", &[16, 0])),
            ("byte 010", fixed("y", &[8])),
            ("1.5", fixed("d", &1.5_f64.to_le_bytes())),
            ("double 2", fixed("d", &2_f64.to_le_bytes())),
            ("['a', 'b']", list("s", vec![text("a"), text("b")])),
            ("@as []", list("s", vec![])),
            ("[byte 1, 2]", list("y", vec![fixed("y", &[1]), fixed("y", &[2])])),
        ] {
            assert_eq!(parse(written), Ok(expected), "{written}");
        }
    }

    #[test]
    fn what_is_no_value_is_refused() {
        for written in [
            "",
            "word",
            "'open",
            r"'\u00'",
            "1 2",
            "uint64 -1",
            "byte 256",
            "uint64 'x'",
            "uint64 uint64 1",
            "@v <1>",
            "@a(ii) []",
            "[]",
            "[1, 'x']",
            "[1 2]",
            "[[1]]",
            "[1",
            "0x",
            "--1",
            "(1, 2)",
            "nothing",
        ] {
            assert!(parse(written).is_err(), "{written}");
        }
    }
}
