//! What a D-Bus message says, in its bytes.
//!
//! <https://dbus.freedesktop.org/doc/dbus-specification.html#message-protocol-marshaling>

/// A value that says its own type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Text(String),
    Flag(bool),
    Number(u64),
    Bytes(Vec<u8>),
    Processes(Vec<u32>),
    /// Pairs of text, such as devices and what may be done with them.
    Pairs(Vec<(String, String)>),
    /// A number of another type, which is as long as its alignment.
    Fixed {
        kind: &'static str,
        bytes: Vec<u8>,
    },
    /// Values of one type.
    List {
        kind: &'static str,
        elements: Vec<Value>,
    },
}

impl Value {
    pub(super) fn signature(&self) -> String {
        match self {
            Self::Text(_) => "s".to_owned(),
            Self::Flag(_) => "b".to_owned(),
            Self::Number(_) => "t".to_owned(),
            Self::Bytes(_) => "ay".to_owned(),
            Self::Processes(_) => "au".to_owned(),
            Self::Pairs(_) => "a(ss)".to_owned(),
            Self::Fixed { kind, .. } => (*kind).to_owned(),
            Self::List { kind, .. } => format!("a{kind}"),
        }
    }
}

/// A message's body, or its header's fields, in the making.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Body {
    pub(super) bytes: Vec<u8>,
    pub(super) signature: String,
}

impl Body {
    /// Adds a string.
    pub(super) fn text(mut self, text: &str) -> Self {
        self.signature.push('s');
        self.put_text(text);
        self
    }

    /// Adds a boolean.
    pub(super) fn flag(mut self, value: bool) -> Self {
        self.signature.push('b');
        self.put_u32(u32::from(value));
        self
    }

    /// Adds a list of names with values, as a unit's properties are.
    pub(super) fn properties<'a>(
        mut self,
        list: impl IntoIterator<Item = (&'a str, &'a Value)>,
    ) -> Self {
        self.signature.push_str("a(sv)");
        self.put_array(8, |body| {
            for (name, value) in list {
                body.align(8);
                body.put_text(name);
                body.put_variant(value);
            }
        });
        self
    }

    /// Adds the list of further units that belong to a transient one: none.
    pub(super) fn no_further_units(mut self) -> Self {
        self.signature.push_str("a(sa(sv))");
        self.put_array(8, |_| {});
        self
    }

    fn put_variant(&mut self, value: &Value) {
        self.put_signature(&value.signature());
        self.put_value(value);
    }

    fn put_value(&mut self, value: &Value) {
        match value {
            Value::Text(text) => self.put_text(text),
            Value::Flag(value) => self.put_u32(u32::from(*value)),
            Value::Number(value) => {
                self.align(8);
                self.bytes.extend(value.to_le_bytes());
            }
            Value::Bytes(list) => self.put_array(1, |body| body.bytes.extend(list)),
            Value::Processes(list) => {
                self.put_array(4, |body| list.iter().for_each(|&pid| body.put_u32(pid)));
            }
            Value::Pairs(list) => self.put_array(8, |body| {
                for (one, other) in list {
                    body.align(8);
                    body.put_text(one);
                    body.put_text(other);
                }
            }),
            Value::Fixed { bytes, .. } => {
                self.align(bytes.len());
                self.bytes.extend(bytes);
            }
            Value::List { kind, elements } => self.put_array(alignment(kind), |body| {
                for element in elements {
                    body.put_value(element);
                }
            }),
        }
    }

    /// The length of an array is known afterwards, and does not count what aligns its start.
    fn put_array(&mut self, alignment: usize, elements: impl FnOnce(&mut Self)) {
        self.put_u32(0);
        let length = self.bytes.len() - 4..self.bytes.len();
        self.align(alignment);
        let start = self.bytes.len();
        elements(self);
        let count = self.bytes.len() - start;
        self.bytes[length].copy_from_slice(&as_u32(count).to_le_bytes());
    }

    fn put_text(&mut self, text: &str) {
        self.put_u32(as_u32(text.len()));
        self.bytes.extend(text.as_bytes());
        self.bytes.push(0);
    }

    fn put_signature(&mut self, signature: &str) {
        self.bytes.push(u8::try_from(signature.len()).expect("ours are short"));
        self.bytes.extend(signature.as_bytes());
        self.bytes.push(0);
    }

    fn put_u32(&mut self, value: u32) {
        self.align(4);
        self.bytes.extend(value.to_le_bytes());
    }

    pub(super) fn align(&mut self, alignment: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(alignment), 0);
    }

    /// Adds a field of a header.
    pub(super) fn put_field(&mut self, number: u8, kind: &str, text: &str) {
        self.align(8);
        self.bytes.push(number);
        self.put_signature(kind);
        if kind == "g" { self.put_signature(text) } else { self.put_text(text) }
    }
}

/// Of the elements of a list, which are text or numbers.
fn alignment(kind: &str) -> usize {
    match kind {
        "y" => 1,
        "n" | "q" => 2,
        "x" | "t" | "d" => 8,
        _ => 4,
    }
}

/// Nothing that is sent comes near 4 GiB: the longest part of it is a list of limits.
pub(super) fn as_u32(length: usize) -> u32 {
    u32::try_from(length).expect("messages are short")
}

#[cfg(test)]
mod tests {
    use super::{Body, Value};

    #[test]
    fn every_kind_of_property_is_aligned_and_counted() {
        for (value, expected) in [
            (Value::Flag(true), b"\x01b\x00\x00\x00\x00\x01\x00\x00\x00".as_slice()),
            (Value::Number(9), b"\x01t\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"),
            (Value::Bytes(vec![5]), b"\x02ay\x00\x00\x00\x00\x00\x00\x00"),
            (Value::Processes(vec![3]), b"\x02au\x00\x00\x00\x00\x00\x00\x00"),
            (Value::Fixed { kind: "q", bytes: vec![7, 0] }, b"\x01q\x00\x00\x00"),
            (Value::List { kind: "s", elements: vec![] }, b"\x02as\x00"),
            (Value::Pairs(vec![]), b"\x05a(ss)\x00"),
        ] {
            let body = Body::default().properties([("A", &value)]);

            assert_eq!(body.signature, "a(sv)");
            assert_eq!(&body.bytes[8..14], b"\x01\x00\x00\x00A\x00", "{value:?}");
            let counted = u32::from_le_bytes(body.bytes[..4].try_into().unwrap());
            assert_eq!(usize::try_from(counted).unwrap(), body.bytes.len() - 8, "{value:?}");
            assert_eq!(body.bytes[14..16], expected[..2], "{value:?}");
        }
        let number = Body::default().properties([("A", &Value::Number(9))]);
        assert_eq!(number.bytes[24..], 9_u64.to_le_bytes());
        let pids = Body::default().properties([("A", &Value::Processes(vec![3]))]);
        assert_eq!(pids.bytes[20..], [4, 0, 0, 0, 3, 0, 0, 0]);
        let pairs = Value::Pairs(vec![("ab".to_owned(), "c".to_owned())]);
        let pairs = Body::default().properties([("A", &pairs)]);
        assert_eq!(pairs.bytes[24..28], [14, 0, 0, 0]);
        assert_eq!(&pairs.bytes[32..], b"\x02\x00\x00\x00ab\x00\x00\x01\x00\x00\x00c\x00");
    }
}
