//! Writes krun's manual pages and shell completions, made from its command line, below a directory
//! such as `/opt/kontain/share`.
//!
//! The pages are called `kontain-krun`: Debian's crun has a krun(1) of its own.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;

#[path = "../src/cli/mod.rs"]
#[expect(dead_code, unused_imports, reason = "only its shape is needed")]
mod cli;

/// Where shells look for completions, and what they call those of krun.
const COMPLETIONS: [(Shell, &str); 3] = [
    (Shell::Bash, "bash-completion/completions/krun"),
    (Shell::Zsh, "zsh/site-functions/_krun"),
    (Shell::Fish, "fish/vendor_completions.d/krun.fish"),
];

fn main() -> Result<()> {
    let directory = std::env::args_os().nth(1).map(PathBuf::from);
    write_all(&directory.context("name a directory, such as /opt/kontain/share")?)
}

fn write_all(directory: &Path) -> Result<()> {
    let command = command();
    let pages = directory.join("man/man1");
    write_page(&command, &pages)?;
    for verb in verbs(&command) {
        write_page(verb, &pages)?;
    }
    for (shell, name) in COMPLETIONS {
        let mut text = Vec::new();
        clap_complete::generate(shell, &mut cli::Cli::command(), "krun", &mut text);
        write(&directory.join(name), &text)?;
    }
    Ok(())
}

/// The command line, under the name of its pages.
fn command() -> Command {
    let mut command = cli::Cli::command().display_name("kontain-krun");
    command.build();
    command
}

fn verbs(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|verb| !verb.is_hide_set() && verb.get_name() != "help")
}

fn write_page(command: &Command, directory: &Path) -> Result<()> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    let mut text = Vec::new();
    Man::new(command.clone()).manual("Kontain").render(&mut text)?;
    write(&directory.join(format!("{name}.1")), &text)
}

fn write(path: &Path, text: &[u8]) -> Result<()> {
    let parent = path.parent().map_or(Ok(()), fs::create_dir_all);
    parent.and_then(|()| fs::write(path, text)).with_context(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{COMPLETIONS, command, verbs, write_all};

    #[test]
    fn each_verb_has_a_page_that_names_its_options() {
        let directory = tempfile::tempdir().unwrap();

        write_all(directory.path()).unwrap();

        let command = command();
        for verb in verbs(&command) {
            let page = format!("man/man1/kontain-krun-{}.1", verb.get_name());
            let text = fs::read_to_string(directory.path().join(page)).unwrap().replace('\\', "");
            for option in verb.get_opts().filter(|option| !option.is_hide_set()) {
                let long = option.get_long().unwrap();
                assert!(text.contains(&format!("--{long}")), "{}: --{long}", verb.get_name());
            }
        }
        let all = fs::read_to_string(directory.path().join("man/man1/kontain-krun.1")).unwrap();
        assert!(all.replace('\\', "").contains("kontain-krun-create(1)"), "{all}");
    }

    #[test]
    fn everything_that_is_shown_is_explained() {
        let command = command();
        for verb in verbs(&command) {
            assert!(verb.get_about().is_some(), "{}", verb.get_name());
            for argument in verb.get_arguments().filter(|argument| !argument.is_hide_set()) {
                let name = argument.get_id();
                assert!(argument.get_help().is_some(), "{} {name}", verb.get_name());
            }
        }
    }

    #[test]
    fn completions_know_the_verbs() {
        let directory = tempfile::tempdir().unwrap();

        write_all(directory.path()).unwrap();

        for (_, name) in COMPLETIONS {
            let text = fs::read_to_string(directory.path().join(name)).unwrap();
            assert!(verbs(&command()).all(|verb| text.contains(verb.get_name())), "{name}");
        }
    }
}
