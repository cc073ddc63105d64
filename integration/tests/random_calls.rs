//! Sequences of calls that chance has put together: under `km` as natively.

#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use integration::guests::{self, Link};
use integration::native_and_km::Case;
use integration::outcome::{self, Outcome};

/// How many calls a sequence has.
const LENGTH: &str = "300";

/// The sequences' numbers unless `KRUN_RANDOM_CALLS=FIRST-LAST` says others.
const NUMBERS: &str = "1-40";

/// Says that all calls are drawn from which the guest knows, and not only those of which no difference is known.
const ALL: &str = "KRUN_RANDOM_CALLS_ALL";

fn numbers() -> Result<std::ops::RangeInclusive<u32>> {
    let wish = env::var("KRUN_RANDOM_CALLS").unwrap_or_else(|_| NUMBERS.to_owned());
    let (first, last) = wish.split_once('-').context("KRUN_RANDOM_CALLS is FIRST-LAST")?;
    Ok(first.parse()?..=last.parse()?)
}

/// Each run has the same directory, as its name appears in what is compared, and finds it empty.
fn in_new_place(
    case: &Case,
    place: &Path,
    run: impl Fn(&Case) -> Result<Outcome>,
) -> Result<Outcome> {
    fs::create_dir(place)?;
    let outcome = run(&case.clone().dir(place));
    fs::remove_dir_all(place)?;
    outcome
}

/// Where two texts first differ.
fn first_difference(native: &str, km: &str) -> String {
    let differs = |(one, two): &(&str, &str)| one != two;
    match native.lines().zip(km.lines()).find(differs) {
        Some((native, km)) => format!("natively {native:?}, under km {km:?}"),
        None => "one is longer".to_owned(),
    }
}

fn compare(number: u32) -> Result<Option<String>> {
    let guest = guests::c("random_calls.c", Link::GlibcStatic)?;
    let more = if env::var_os(ALL).is_some() { "more" } else { "" };
    let case = Case::program(&guest).arg(number.to_string()).arg(LENGTH).arg(more);
    let folder = tempfile::Builder::new()
        .prefix("random-calls-")
        .permissions(fs::Permissions::from_mode(0o755))
        .tempdir()?;
    let place = folder.path().join("place");
    let native = in_new_place(&case, &place, Case::run_natively)?;
    let km = in_new_place(&case, &place, Case::run_under_km)?;
    let [native_text, km_text] = [&native, &km].map(|run| String::from_utf8_lossy(&run.stdout));
    if native_text.is_empty() {
        return Ok(Some(format!("sequence {number} does not run natively: {native:?}")));
    }
    let difference = outcome::difference(&native, &km);
    Ok(difference
        .map(|_| format!("sequence {number}: {}", first_difference(&native_text, &km_text))))
}

#[test]
fn calls_by_chance_do_what_they_do_on_linux() {
    let compared = numbers().and_then(|numbers| numbers.map(compare).collect::<Result<Vec<_>>>());

    let found: Vec<_> = compared.expect("all sequences run").into_iter().flatten().collect();

    assert!(found.is_empty(), "{found:#?}");
}
