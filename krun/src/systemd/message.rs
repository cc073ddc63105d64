//! D-Bus messages: the little of their format that talking to systemd takes.
//!
//! <https://dbus.freedesktop.org/doc/dbus-specification.html#message-protocol>: numbers in the
//! sender's byte order, and everything aligned, from the message's start, to its own size. Header
//! and body both start at a multiple of 8, so that each is built and read by itself.

use super::body::{Body, as_u32};

/// The bytes in front of the header's fields.
pub(super) const PREFIX: usize = 16;

/// Answers and signals of systemd are some hundred bytes.
const LONGEST: usize = 1 << 24;

const LITTLE_ENDIAN: u8 = b'l';
const METHOD_CALL: u8 = 1;
const VERSION: u8 = 1;

/// The header's fields, by number.
mod field {
    pub(super) const PATH: u8 = 1;
    pub(super) const INTERFACE: u8 = 2;
    pub(super) const MEMBER: u8 = 3;
    pub(super) const ERROR_NAME: u8 = 4;
    pub(super) const REPLY_SERIAL: u8 = 5;
    pub(super) const DESTINATION: u8 = 6;
    pub(super) const SIGNATURE: u8 = 8;
}

/// Whom a method call is for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Method<'a> {
    pub(super) destination: &'a str,
    pub(super) path: &'a str,
    pub(super) interface: &'a str,
    pub(super) member: &'a str,
}

/// A whole method call.
pub(super) fn call(serial: u32, method: Method<'_>, body: &Body) -> Vec<u8> {
    let mut fields = Body::default();
    fields.put_field(field::PATH, "o", method.path);
    fields.put_field(field::INTERFACE, "s", method.interface);
    fields.put_field(field::MEMBER, "s", method.member);
    fields.put_field(field::DESTINATION, "s", method.destination);
    if !body.signature.is_empty() {
        fields.put_field(field::SIGNATURE, "g", &body.signature);
    }
    let mut message = vec![LITTLE_ENDIAN, METHOD_CALL, 0, VERSION];
    for number in [as_u32(body.bytes.len()), serial, as_u32(fields.bytes.len())] {
        message.extend(number.to_le_bytes());
    }
    fields.align(8);
    message.extend(&fields.bytes);
    message.extend(&body.bytes);
    message
}

/// A message as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Received {
    /// The call that this answers.
    pub(super) answers: Option<u32>,
    /// The error's name, of an error.
    pub(super) error: Option<String>,
    /// The signal's name, of a signal.
    pub(super) member: Option<String>,
    pub(super) body: Vec<u8>,
}

/// How many bytes follow the first [`PREFIX`], and how many of them are fields.
pub(super) fn lengths(prefix: &[u8; PREFIX]) -> Option<(usize, usize)> {
    let number = |at: usize| -> Option<usize> {
        let bytes = prefix.get(at..at + 4)?.try_into().ok()?;
        usize::try_from(u32::from_le_bytes(bytes)).ok()
    };
    let (body, fields) = (number(4)?, number(12)?);
    let rest = fields.checked_next_multiple_of(8)?.checked_add(body)?;
    (prefix[0] == LITTLE_ENDIAN && rest <= LONGEST).then_some((rest, fields))
}

/// What follows the prefix. `None` if it is no such message.
pub(super) fn received(rest: &[u8], fields: usize) -> Option<Received> {
    let mut message =
        Received { body: rest.get(fields.next_multiple_of(8)..)?.to_vec(), ..Received::default() };
    let mut reader = Reader::new(rest.get(..fields)?);
    while !reader.is_at_end() {
        reader.align(8);
        let number = reader.byte()?;
        match (number, reader.signature()?) {
            (field::REPLY_SERIAL, "u") => message.answers = Some(reader.number()?),
            (field::ERROR_NAME, "s") => message.error = Some(reader.text()?.to_owned()),
            (field::MEMBER, "s") => message.member = Some(reader.text()?.to_owned()),
            (_, "u") => drop(reader.number()?),
            (_, "s" | "o") => drop(reader.text()?),
            (_, "g") => drop(reader.signature()?),
            _ => return None,
        }
    }
    Some(message)
}

/// Reads values one after the other. `None` where they end too early.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    fn is_at_end(&self) -> bool {
        self.at >= self.bytes.len()
    }

    fn align(&mut self, alignment: usize) {
        self.at = self.at.next_multiple_of(alignment);
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(count)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    pub(super) fn number(&mut self) -> Option<u32> {
        self.align(4);
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    pub(super) fn text(&mut self) -> Option<&'a str> {
        let length = usize::try_from(self.number()?).ok()?;
        let text = self.take(length)?;
        self.take(1)?;
        str::from_utf8(text).ok()
    }

    pub(super) fn signature(&mut self) -> Option<&'a str> {
        let length = usize::from(self.byte()?);
        let text = self.take(length)?;
        self.take(1)?;
        str::from_utf8(text).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::super::body::Body;
    use super::{Method, PREFIX, Reader, call, lengths, received};

    #[test]
    fn a_call_is_what_the_specification_says() {
        let method = Method { destination: "b.c", path: "/a", interface: "d.e", member: "Do" };

        let bytes = call(7, method, &Body::default().text("hi").flag(true));

        let expected = [
            b"l\x01\x00\x01\x0c\x00\x00\x00\x07\x00\x00\x00\x48\x00\x00\x00".as_slice(),
            b"\x01\x01o\x00\x02\x00\x00\x00/a\x00\x00\x00\x00\x00\x00",
            b"\x02\x01s\x00\x03\x00\x00\x00d.e\x00\x00\x00\x00\x00",
            b"\x03\x01s\x00\x02\x00\x00\x00Do\x00\x00\x00\x00\x00\x00",
            b"\x06\x01s\x00\x03\x00\x00\x00b.c\x00\x00\x00\x00\x00",
            b"\x08\x01g\x00\x02sb\x00",
            b"\x02\x00\x00\x00hi\x00\x00\x01\x00\x00\x00",
        ]
        .concat();
        assert_eq!(bytes, expected);
    }

    #[test]
    fn an_answer_is_read_back() {
        let fields = b"\x05\x01u\x00\x09\x00\x00\x00\x04\x01s\x00\x03\x00\x00\x00x.y\x00";
        let mut bytes = fields.to_vec();
        bytes.resize(fields.len().next_multiple_of(8), 0);
        bytes.extend(b"\x02\x00\x00\x00no\x00");
        let mut prefix = *b"l\x03\x01\x01\x07\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00";
        prefix[12] = u8::try_from(fields.len()).unwrap();

        let (rest, count) = lengths(&prefix).unwrap();
        let message = received(&bytes, count).unwrap();

        assert_eq!((rest, count), (bytes.len(), fields.len()));
        assert_eq!(message.answers, Some(9));
        assert_eq!(message.error.as_deref(), Some("x.y"));
        assert_eq!(Reader::new(&message.body).text(), Some("no"));
    }

    #[test]
    fn what_is_cut_off_or_too_long_is_no_message() {
        let fields = b"\x05\x01u\x00\x09\x00\x00\x00\x04\x01s\x00\x03\x00\x00\x00x.y\x00";

        for end in 1..fields.len() {
            if end != 8 {
                assert_eq!(received(fields.get(..end).unwrap(), end), None, "{end}");
            }
        }
        let mut prefix = [0xff; PREFIX];
        assert_eq!(lengths(&prefix), None);
        prefix[0] = b'l';
        assert_eq!(lengths(&prefix), None);
    }
}
