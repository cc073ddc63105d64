//! Writes kontain's manual pages and shell completions, made from its command line, below a directory such as
//! `/opt/kontain/share`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;
use kontain::cli::Cli;

/// Where shells look for completions, and what they call those of kontain.
const COMPLETIONS: [(Shell, &str); 3] = [
    (Shell::Bash, "bash-completion/completions/kontain"),
    (Shell::Zsh, "zsh/site-functions/_kontain"),
    (Shell::Fish, "fish/vendor_completions.d/kontain.fish"),
];

fn main() -> Result<()> {
    let directory = std::env::args_os().nth(1).map(PathBuf::from);
    write_all(&directory.context("name a directory, such as /opt/kontain/share")?)
}

fn write_all(directory: &Path) -> Result<()> {
    let mut command = Cli::command();
    command.build();
    let pages = directory.join("man/man1");
    write_pages(&command, &pages)?;
    for (shell, name) in COMPLETIONS {
        let mut text = Vec::new();
        clap_complete::generate(shell, &mut shown(), "kontain", &mut text);
        write(&directory.join(name), &text)?;
    }
    Ok(())
}

/// The command line without the verbs that are for kontain itself, which completions would offer.
fn shown() -> Command {
    let all = Cli::command();
    Command::new("kontain").version(env!("CARGO_PKG_VERSION")).subcommands(verbs(&all).cloned())
}

fn verbs(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|verb| !verb.is_hide_set() && verb.get_name() != "help")
}

/// A command's page and those of its verbs, which it names.
fn write_pages(command: &Command, directory: &Path) -> Result<()> {
    write_page(command, directory)?;
    verbs(command).try_for_each(|verb| write_pages(verb, directory))
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

    use clap::CommandFactory;
    use kontain::cli::Cli;

    use super::{COMPLETIONS, verbs, write_all};

    #[test]
    fn each_verb_has_a_page_that_names_its_options() {
        let directory = tempfile::tempdir().unwrap();

        write_all(directory.path()).unwrap();

        let command = Cli::command();
        for verb in verbs(&command) {
            let page = format!("man/man1/kontain-{}.1", verb.get_name());
            let text = fs::read_to_string(directory.path().join(page)).unwrap().replace('\\', "");
            for option in verb.get_opts() {
                let long = option.get_long().unwrap();
                assert!(text.contains(&format!("--{long}")), "{}: --{long}", verb.get_name());
            }
        }
        let all = fs::read_to_string(directory.path().join("man/man1/kontain.1")).unwrap();
        let all = all.replace('\\', "");
        assert!(all.contains("kontain-install(1)") && all.contains("Exit codes"), "{all}");
        // Nor have verbs for kontain itself one.
        let pages = fs::read_dir(directory.path().join("man/man1")).unwrap();
        let nested: usize = verbs(&command).map(|verb| verbs(verb).count()).sum();
        assert_eq!(pages.count(), 1 + verbs(&command).count() + nested);
        let dump = fs::read_to_string(directory.path().join("man/man1/kontain-config-dump.1"));
        let dump = dump.unwrap().replace('\\', "");
        assert!(["--root", "--json", "--exitless"].iter().all(|one| dump.contains(one)), "{dump}");
    }

    #[test]
    fn everything_that_is_shown_is_explained() {
        let command = Cli::command();
        for verb in verbs(&command) {
            assert!(verb.get_about().is_some(), "{}", verb.get_name());
            for argument in verb.get_arguments() {
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
            let command = Cli::command();
            assert!(verbs(&command).all(|verb| text.contains(verb.get_name())), "{name}");
            let hidden = command.get_subcommands().filter(|verb| verb.is_hide_set());
            assert!(hidden.into_iter().all(|verb| !text.contains(verb.get_name())), "{name}");
        }
    }
}
