//! Properties of a scope that the bundle names itself: annotations `org.systemd.property.NAME`, whose
//! values are in GVariant's text format. As with runc they come after krun's own, so that they count.

use super::SystemdError;
use super::body::Value;
use super::variant;

const PREFIX: &str = "org.systemd.property.";

/// Names and values, of all annotations.
pub(super) fn properties<'a>(
    annotations: impl Iterator<Item = (&'a str, &'a str)>,
) -> Result<Vec<(String, Value)>, SystemdError> {
    annotations
        .filter_map(|(key, text)| Some((key.to_owned(), key.strip_prefix(PREFIX)?, text)))
        .map(|(annotation, name, text)| {
            if name.len() < 3 || !name.bytes().all(|byte| byte.is_ascii_alphabetic()) {
                let reason = "expected at least three letters, and nothing else";
                return Err(SystemdError::PropertyName { annotation, reason });
            }
            property(name, text).map_err(|reason| SystemdError::PropertyValue {
                annotation,
                text: text.to_owned(),
                reason,
            })
        })
        .collect()
}

fn property(name: &str, text: &str) -> Result<(String, Value), String> {
    let value = variant::parse(text)?;
    // What the documentation calls seconds is in microseconds on the bus, and called so.
    match name.strip_suffix("Sec").filter(|stem| stem.ends_with(|c: char| c.is_ascii_lowercase())) {
        None => Ok((name.to_owned(), value)),
        Some(stem) => {
            let value = microseconds(&value).ok_or("expected a number of seconds")?;
            Ok((format!("{stem}USec"), Value::Number(value)))
        }
    }
}

fn microseconds(seconds: &Value) -> Option<u64> {
    const PER_SECOND: u64 = 1_000_000;
    let Value::Fixed { kind, bytes } = seconds else { return None };
    if *kind == "d" {
        let exact = f64::from_le_bytes(bytes.as_slice().try_into().ok()?) * 1e6;
        return format!("{:.0}", exact.floor()).parse().ok();
    }
    let is_signed = ["n", "i", "x"].contains(kind);
    if is_signed && bytes.last().is_some_and(|byte| byte & 0x80 != 0) {
        return None;
    }
    let whole = bytes.iter().rev().fold(0_u64, |all, byte| all << 8 | u64::from(*byte));
    whole.checked_mul(PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::super::body::Value;
    use super::properties;

    fn one(key: &str, text: &str) -> Result<Vec<(String, Value)>, String> {
        properties([(key, text)].into_iter()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_property_is_what_comes_after_the_prefix() {
        let text = Value::Text("inactive-or-failed".to_owned());

        let found = one("org.systemd.property.CollectMode", "'inactive-or-failed'");

        assert_eq!(found, Ok(vec![("CollectMode".to_owned(), text)]));
        assert_eq!(one("org.example.property.CollectMode", "]"), Ok(vec![]));
    }

    #[test]
    fn seconds_are_told_in_microseconds() {
        for (name, text, expected) in [
            ("TimeoutStopSec", "5", Some(("TimeoutStopUSec", 5_000_000))),
            ("TimeoutStopSec", "uint64 7", Some(("TimeoutStopUSec", 7_000_000))),
            ("TimeoutStopSec", "1.25", Some(("TimeoutStopUSec", 1_250_000))),
            ("TimeoutStopSec", "-1", None),
            ("TimeoutStopSec", "double -1", None),
            ("TimeoutStopSec", "'5'", None),
            ("TimeoutStopSec", "uint64 18446744073709551615", None),
        ] {
            let found = one(&format!("org.systemd.property.{name}"), text).ok();

            let expected =
                expected.map(|(name, number)| vec![(name.to_owned(), Value::Number(number))]);
            assert_eq!(found, expected, "{text}");
        }
        let kept = one("org.systemd.property.TimeoutStopUSec", "uint64 5").unwrap();
        assert_eq!(kept[0].0, "TimeoutStopUSec");
        assert!(matches!(kept[0].1, Value::Fixed { kind: "t", .. }));
    }

    #[test]
    fn what_is_wrong_is_told_with_the_annotation() {
        for (name, text, reason) in [
            ("Ab", "1", " name incorrect: "),
            ("Bad-Name", "1", " name incorrect: "),
            ("TasksMax", "many", "=many value parse error: "),
        ] {
            let error = one(&format!("org.systemd.property.{name}"), text).unwrap_err();

            let start = format!("annotation org.systemd.property.{name}{reason}");
            assert!(error.starts_with(&start), "{error}");
        }
    }
}
