//! An error and its causes in one line, as callers read them.

use std::borrow::Cow;
use std::error::Error;

/// An error and its causes in one line.
pub(crate) fn text(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        let words = as_go_writes(&words);
        let words = words.as_ref();
        // Some libraries repeat the cause's words in their own.
        if !line.ends_with(words) {
            line = format!("{line}: {words}");
        }
        cause = error.source();
    }
    line
}

/// Linux's words begin with a capital, and Go's do not. Callers know Go's.
pub(crate) fn as_go_writes(words: &str) -> Cow<'_, str> {
    let plain = without_number(words);
    if plain.len() == words.len() {
        return Cow::Borrowed(plain);
    }
    let (before, last) = plain.split_at(plain.rfind(": ").map_or(0, |colon| colon + 2));
    let mut characters = last.chars();
    let first = characters.next().into_iter().flat_map(char::to_lowercase);
    Cow::Owned(before.chars().chain(first).chain(characters).collect())
}

/// The standard library adds the error's number to Linux's words.
pub(crate) fn without_number(words: &str) -> &str {
    match words.rsplit_once(" (os error ") {
        Some((plain, number)) if number.trim_end_matches(')').parse::<i32>().is_ok() => plain,
        _ => words,
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::{as_go_writes, text, without_number};

    #[test]
    fn only_a_number_at_the_end_is_left_out() {
        assert_eq!(without_number("not a directory (os error 20)"), "not a directory");
        assert_eq!(without_number("x (os error 20): y"), "x (os error 20): y");
        assert_eq!(without_number("x"), "x");
    }

    #[test]
    fn words_of_linuxs_begin_as_gos_do() {
        assert_eq!(
            as_go_writes("No such file or directory (os error 2)"),
            "no such file or directory"
        );
        assert_eq!(as_go_writes("A: B: Not a directory (os error 20)"), "A: B: not a directory");
        assert_eq!(as_go_writes("Other words"), "Other words");
    }

    #[derive(Debug, thiserror::Error)]
    #[error("read the moon")]
    struct Outer(#[source] io::Error);

    #[test]
    fn causes_follow_in_order() {
        let error = Outer(io::Error::other("too far"));

        assert_eq!(text(&error), "read the moon: too far");
    }
}
