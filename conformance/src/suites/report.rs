//! What a run found: what is wrong with it, and `RESULTS.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write};
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use integration::outcome;

use super::groups::{Scope, Suite};
use super::known_gaps::KnownGaps;
use super::tap::Verdict;
use super::world::{self, Mode};
use super::{Choice, Ran, Row};

/// The tests of all suites.
#[derive(Debug)]
pub struct Report {
    pub(super) rows: Vec<Row>,
    pub(super) gaps: KnownGaps,
    pub(super) ran: Vec<Ran>,
    pub(super) choice: Choice,
}

impl Report {
    /// Fails with every test that is not as `known-gaps.toml` says.
    pub fn judge(&self) -> Result<()> {
        let offences = self.offences();
        ensure!(offences.is_empty(), "\n{}", offences.join("\n"));
        Ok(())
    }

    fn offences(&self) -> Vec<String> {
        let mut offences = Vec::new();
        for row in self.rows.iter().filter(|row| row.judges()) {
            for mode in Mode::OURS {
                let gap = self.gaps.get(&(row.suite, row.test(), mode));
                let (suite, test, mode_name) = (row.suite.name(), row.test(), mode.name());
                match (row.passed(mode), gap) {
                    (false, None) => offences.push(format!(
                        "{suite}: runc passes {test:?}, krun ({mode_name}) does not"
                    )),
                    (true, Some(gap)) if !gap.sometimes => offences.push(format!(
                        "{suite}: krun ({mode_name}) passes {test:?}: take it out of known-gaps.toml"
                    )),
                    (false, Some(_)) | (true, _) => {}
                }
            }
        }
        offences.extend(self.unheard_of());
        offences.extend(self.too_few());
        offences
    }

    /// Suites of which runc passes so little that krun is hardly judged.
    fn too_few(&self) -> Vec<String> {
        let is_whole = self.choice.only.is_none();
        let few = |suite: &Suite| {
            let [judging, ..] = self.passed(*suite);
            let (name, floor) = (suite.name(), suite.floor(self.choice.scope));
            (is_whole && judging < floor).then(|| {
                format!(
                    "{name}: runc passes {judging} tests, and on a sound machine at least {floor}"
                )
            })
        };
        self.choice.suites.iter().filter_map(few).collect()
    }

    /// Gaps of tests that runc does not pass, if there are such tests at all, and it does not pass them
    /// only sometimes.
    fn unheard_of(&self) -> Vec<String> {
        let judging = self.rows.iter().filter(|row| row.judges());
        let judging: BTreeSet<_> = judging.map(|row| (row.suite, row.test())).collect();
        let groups: BTreeSet<_> = self.rows.iter().map(|row| (row.suite, &row.group)).collect();
        let ran = |suite: Suite, test: &str| {
            groups.iter().any(|(other, group)| {
                *other == suite
                    && test.strip_prefix(group.as_str()).is_some_and(|rest| rest.starts_with(": "))
            })
        };
        let everything = self.choice.is_whole();
        let places = self.gaps.places().filter(|place| {
            let (suite, test, _) = place;
            let due = everything && self.choice.suites.contains(suite);
            let is_pardoned = self.gaps.get(place).is_some_and(|gap| gap.sometimes);
            (due || ran(*suite, test)) && !is_pardoned && !judging.contains(&(*suite, test.clone()))
        });
        let tests: BTreeSet<_> = places.map(|(suite, test, _)| (suite.name(), test)).collect();
        let line =
            |(suite, test)| format!("{suite}: runc does not pass {test:?} of known-gaps.toml");
        tests.into_iter().map(line).collect()
    }

    /// One line for each suite, and one for what was run again.
    pub fn summary(&self) -> String {
        let line = |suite: &Suite| {
            let [judging, crun, vm, native] = self.passed(*suite);
            let crun =
                if self.has(*suite, Mode::Crun) { format!(", crun {crun}") } else { String::new() };
            format!(
                "{}: of {judging} tests that runc passes, krun passes {vm} with virtual machines and {native} \
                 natively{crun}\n",
                suite.name()
            )
        };
        let lines: String = self.choice.suites.iter().map(line).collect();
        format!("{lines}{}\n", self.tries())
    }

    /// What the number of podman's tests does not say.
    fn about_podman(&self) -> &'static str {
        if self.choice.suites.contains(&Suite::Podman) {
            "\nOf podman's files of tests those are run that start containers, with an image that `conformance/fetch` makes \
             of busybox; which ones, and why not the others, is in `src/suites/groups.rs`.\n"
        } else {
            ""
        }
    }

    /// What did not pass at first, and how long all took.
    fn tries(&self) -> String {
        let [count, programs] = self.again(|ran| ran.mode != Mode::Runc && ran.found.tries > 1);
        let [runcs, runc_programs] = self.again(|ran| ran.mode == Mode::Runc && ran.found.gained);
        let time: Duration = self.ran.iter().map(|ran| ran.found.time).sum();
        format!(
            "Programs that were run again because krun failed a test that it should pass: {count}{programs}. \
             Programs of which runc passed more when they were run again: {runcs}{runc_programs}. All programs \
             together ran for {:.0} minutes, two at a time.",
            time.as_secs_f64() / 60.0
        )
    }

    /// How many programs, and which.
    fn again(&self, counts: impl Fn(&Ran) -> bool) -> [String; 2] {
        let again: Vec<_> = self.ran.iter().filter(|ran| counts(ran)).collect();
        let name =
            |ran: &&Ran| format!("{} ({}: {} tries)", ran.group, ran.mode.name(), ran.found.tries);
        let names: Vec<_> = again.iter().map(name).collect();
        let list = if names.is_empty() { String::new() } else { format!(": {}", names.join(", ")) };
        [names.len().to_string(), list]
    }

    /// How many tests runc passes, and how many of these the others.
    fn passed(&self, suite: Suite) -> [usize; 4] {
        Mode::ALL.map(|mode| self.count(suite, |row| row.judges() && row.passed(mode)))
    }

    /// Whether its programs were run for it.
    fn has(&self, suite: Suite, mode: Mode) -> bool {
        suite.modes(self.choice.scope).contains(&mode)
    }

    fn count(&self, suite: Suite, is_counted: impl Fn(&Row) -> bool) -> usize {
        self.rows.iter().filter(|row| row.suite == suite && is_counted(row)).count()
    }

    /// The text of `RESULTS.md`.
    pub fn text(&self) -> Result<String> {
        let mut text = String::new();
        self.head(&mut text)?;
        for suite in &self.choice.suites {
            self.suite(&mut text, *suite)?;
        }
        Ok(text)
    }

    fn head(&self, text: &mut String) -> Result<()> {
        let line = |program: &str, words: &[&str]| -> Result<String> {
            let outcome = outcome::run(Command::new(program).args(words), None)?;
            Ok(outcome.stdout().trim().to_owned())
        };
        let date = line("date", &["-u", "+%F"])?;
        let kernel = line("uname", &["-r"])?;
        // What follows the second number is a machine's own.
        let kernel = kernel.splitn(3, '.').take(2).collect::<Vec<_>>().join(".");
        let mut versions = Vec::new();
        for mode in [Mode::Runc, Mode::Crun, Mode::Vm] {
            versions.push(world::version(mode)?);
        }
        let versions = versions.join(", ");
        writeln!(text, "# Other people's suites\n")?;
        writeln!(
            text,
            "Written by `{}` on {date}: {versions}; Linux {kernel}, cgroups of version 1.\n",
            self.command()
        )?;
        writeln!(
            text,
            "A test that runc passes here judges krun. What is not passed is in `known-gaps.toml`.\n"
        )?;
        writeln!(
            text,
            "| suite | tests | runc passes | of these: crun | krun, virtual machines | krun, natively |"
        )?;
        writeln!(text, "|---|--:|--:|--:|--:|--:|")?;
        for suite in &self.choice.suites {
            let [judging, others @ ..] = self.passed(*suite);
            let (name, all) = (suite.name(), self.count(*suite, |_| true));
            let [crun, ours @ ..] =
                others.map(|passed| format!("{passed} ({})", percent(passed, judging)));
            let crun = if self.has(*suite, Mode::Crun) { crun } else { "–".to_owned() };
            let others = [&[crun][..], &ours].concat();
            writeln!(text, "| {name} | {all} | {judging} | {} |", others.join(" | "))?;
        }
        let left_out: Vec<_> = Suite::ALL
            .into_iter()
            .filter(|suite| !self.choice.suites.contains(suite))
            .map(Suite::name)
            .collect();
        if !left_out.is_empty() {
            writeln!(text, "\nNot run: {}.", left_out.join(", "))?;
        }
        let gained = self
            .rows
            .iter()
            .filter(|row| !row.judges() && row.passed(Mode::Vm) && row.passed(Mode::Native));
        writeln!(
            text,
            "\nkrun passes {} tests, both ways, that runc does not pass here.",
            gained.count()
        )?;
        text.push_str(self.about_podman());
        writeln!(text, "\n{}", self.tries())?;
        Ok(())
    }

    /// What writes such a report.
    fn command(&self) -> String {
        let is_everything = self.choice.is_whole();
        if is_everything && self.choice.suites == Suite::ALL && !self.choice.resume {
            return "make conformance".to_owned();
        }
        let mut words = vec!["conformance/run"];
        words.extend((self.choice.scope == Scope::Quick).then_some("--quick"));
        words.extend(self.choice.resume.then_some("--resume"));
        if self.choice.suites != Suite::ALL {
            words.extend(self.choice.suites.iter().map(|suite| suite.name()));
        }
        words.extend(self.choice.only.iter().flat_map(|name| ["--only", name]));
        words.join(" ")
    }

    /// Tests of a program on which all runtimes agree are one line, as are many of one pattern.
    fn suite(&self, text: &mut String, suite: Suite) -> fmt::Result {
        writeln!(text, "\n## {}\n\n| test | runc | crun | krun vm | krun native |", suite.name())?;
        writeln!(text, "|---|---|---|---|---|")?;
        let rows: Vec<_> = self.rows.iter().filter(|row| row.suite == suite).collect();
        for group in rows.chunk_by(|one, other| one.group == other.group) {
            let mut patterns: BTreeMap<[&str; 4], Vec<String>> = BTreeMap::new();
            for row in group {
                let cells = Mode::ALL.map(|mode| word(row.verdicts.get(&mode).copied()));
                patterns.entry(cells).or_default().push(row.test().replace('|', "\\|"));
            }
            for (cells, tests) in patterns {
                let agree = cells.iter().all(|cell| *cell == cells[0]);
                let cells = cells.join(" | ");
                if agree || tests.len() > MANY {
                    let tests = format!("{}: {} tests", group[0].group, tests.len());
                    writeln!(text, "| {tests} | {cells} |")?;
                } else {
                    for test in tests {
                        writeln!(text, "| {test} | {cells} |")?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Never more than it is: what is not all is less than 100.
fn percent(passed: usize, judging: usize) -> String {
    let thousandth = passed * 1000 / judging.max(1);
    format!("{}.{} %", thousandth / 10, thousandth % 10)
}

/// So many tests of a program with the same results need no lines of their own.
const MANY: usize = 8;

fn word(verdict: Option<Verdict>) -> &'static str {
    match verdict {
        Some(Verdict::Passed) => "ok",
        Some(Verdict::Failed) => "**failed**",
        Some(Verdict::Skipped) => "skipped",
        None => "–",
    }
}
