//! The command line.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{fs, io};

use clap::{Args, Parser, Subcommand, ValueEnum};
use krun_config::Flags;
use serde_json::json;

use crate::check::{self, check};
use crate::collect::{self, Collection};
use crate::engines::{Engine, Wish};
use crate::error::{NodeError, Result};
use crate::files::Root;
use crate::install::{self, Work};
use crate::max_pods::{self, Answer, Instance, Pods};
use crate::output::{self, Verb};
use crate::policy::Rules;
use crate::settings::Dump;

/// Gives krun to the container engines of a node, and takes it away again.
#[derive(Debug, Parser)]
#[command(version, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  done, or nothing to do
  1  check: something that krun needs is missing
  2  the command line is wrong
  3  refused: something on the node is in the way; nothing was changed
  4  somebody else changed a file at the same time; nothing was changed, try again
  5  the system does not let us (rights, room, a read-only file system); nothing was changed";

#[derive(Debug, Subcommand)]
enum Command {
    /// Tells an engine of krun.
    Install {
        /// The engine.
        engine: Engine,
        /// The name by which the engine knows krun.
        #[arg(long, default_value = "krun")]
        name: String,
        /// Makes it what containers run with that ask for nothing else.
        #[arg(long)]
        default: bool,
        /// krun's binary, as the node sees it.
        #[arg(long, value_name = "PATH", default_value = "/opt/kontain/bin/krun")]
        binary: PathBuf,
        /// The engine's file, as the node sees it, where it is not the usual one.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        #[command(flatten)]
        options: Options,
    },
    /// Makes an engine's configuration what it was before, to the byte if nobody else has changed it.
    Uninstall {
        /// The engine.
        engine: Engine,
        #[command(flatten)]
        options: Options,
    },
    /// Looks at what krun needs of this node, and says why and what helps.
    Check {
        /// The root directory of the node.
        #[arg(long, value_name = "DIR", default_value = "/")]
        root: PathBuf,
        /// Writes JSON.
        #[arg(long)]
        json: bool,
        /// Also runs a container by krun, without an engine, measures what leaving its virtual machine takes, and asks
        /// the engines that run which krun they use. Needs root, and leaves nothing behind.
        #[arg(long, conflicts_with = "root")]
        run: bool,
        /// The same, and measures what a container's life takes, beside runc's where that is installed.
        #[arg(long, conflicts_with = "root")]
        bench: bool,
        /// Looks at a part only.
        #[arg(long, value_name = "PART", conflicts_with_all = ["run", "bench"])]
        only: Option<Part>,
        #[command(flatten)]
        krun: Krun,
    },
    /// Collects in one archive what somebody who is to help has to see of this node: configuration, records of
    /// containers, logs, what `check` says, facts about kernel and processor. What is not known to be harmless is left
    /// out, such as the values of variables.
    Collect {
        /// The archive, a new file [default: kontain-NODE-TIME.tar.gz].
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// The root directory of the node.
        #[arg(long, value_name = "DIR", default_value = "/")]
        root: PathBuf,
        /// Writes JSON.
        #[arg(long)]
        json: bool,
    },
    /// Shows what krun goes by on this node.
    Config {
        #[command(subcommand)]
        verb: ConfigVerb,
    },
    /// Shows the rules by which krun runs containers in virtual machines, natively or not at all.
    Policy {
        #[command(subcommand)]
        verb: PolicyVerb,
    },
    /// Says how many pods a node of EKS's may run: as nodeadm counts addresses, and, with --pod-memory, for how many
    /// pods in virtual machines there is memory.
    MaxPods(MaxPods),
    /// What `check --run` starts in a process of its own.
    #[command(name = check::smoke::WORKER, hide = true)]
    CheckWorker {
        #[arg(long)]
        bench: bool,
        #[command(flatten)]
        krun: Krun,
    },
    /// What `check --run` starts in a container.
    #[command(name = check::smoke::GUEST, hide = true)]
    CheckGuest,
}

/// What `check --only` looks at.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Part {
    /// Processor, device, kernel, cgroups and krun's programs: what does not depend on anybody's configuration.
    Machine,
}

#[derive(Debug, Subcommand)]
enum ConfigVerb {
    /// Shows each of krun's settings, and whether that is the default or from which file, variable or option. What is
    /// wrong comes last, with exit code 3: krun makes no container then. Variables are those that kontain is called
    /// with, which an engine need not have.
    Dump {
        /// The root directory of the node.
        #[arg(long, value_name = "DIR", default_value = "/")]
        root: PathBuf,
        /// Writes JSON.
        #[arg(long)]
        json: bool,
        #[command(
            flatten,
            next_help_heading = "Options of krun's, as an engine's runtimeArgs have them"
        )]
        flags: Flags,
    },
}

#[derive(Debug, Subcommand)]
enum PolicyVerb {
    /// Shows the rules in the order in which they are asked: the first one that holds decides.
    List {
        #[command(flatten)]
        place: Place,
    },
    /// Says what each rule says of a bundle's container, and the decision. Exit code 3 if the container is refused.
    Test {
        /// The bundle's config.json.
        #[arg(value_name = "CONFIG.JSON")]
        config: PathBuf,
        #[command(flatten)]
        place: Place,
    },
}

#[derive(Debug, Args)]
struct Place {
    /// The root directory of the node.
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
    /// Writes JSON.
    #[arg(long)]
    json: bool,
}

impl PolicyVerb {
    fn tell(&self) -> ExitCode {
        let (Self::List { place } | Self::Test { place, .. }) = self;
        let rules = match Root::open(&place.root).and_then(|root| Rules::of(&root)) {
            Ok(rules) => rules,
            Err(error) => return fail(&error, place.json),
        };
        let Self::Test { config, .. } = self else {
            let text = if place.json { format!("{:#}\n", rules.json()) } else { rules.text() };
            return tell(&text);
        };
        match rules.ask(config) {
            Ok(answer) => {
                let text =
                    if place.json { format!("{:#}\n", answer.json()) } else { answer.text() };
                let is_told = output::print(&text);
                ExitCode::from(if !is_told {
                    5
                } else if answer.decision.is_ok() {
                    0
                } else {
                    3
                })
            }
            Err(error) => fail(&error, place.json),
        }
    }
}

impl ConfigVerb {
    fn tell(&self) -> ExitCode {
        let Self::Dump { root, json, flags } = self;
        let dump = Dump::of(root, flags);
        let text = if *json { format!("{:#}\n", dump.json()) } else { dump.text() };
        let is_told = output::print(&text);
        ExitCode::from(match (is_told, dump.is_wrong()) {
            (false, _) => 5,
            (true, true) => 3,
            (true, false) => 0,
        })
    }
}

#[derive(Debug, Args)]
struct MaxPods {
    /// What `aws ec2 describe-instance-types` says of types of instances, as JSON; - for standard input.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["enis", "memory", "vcpus"])]
    instance_types: Option<PathBuf>,
    /// Interfaces that an instance can have on its default card.
    #[arg(
        long,
        value_name = "NUMBER",
        requires = "ips_per_eni",
        required_unless_present = "instance_types"
    )]
    enis: Option<u64>,
    /// IPv4 addresses that each of them can have.
    #[arg(long, value_name = "NUMBER", requires = "enis")]
    ips_per_eni: Option<u64>,
    /// The instance's memory.
    #[arg(long, value_name = "MIB")]
    memory: Option<u64>,
    /// The instance's virtual processors.
    #[arg(long, value_name = "NUMBER")]
    vcpus: Option<u64>,
    /// Interfaces have prefixes of addresses, by ENABLE_PREFIX_DELEGATION of the CNI.
    #[arg(long)]
    prefix_delegation: bool,
    /// What a pod needs without krun.
    #[arg(long, value_name = "MIB")]
    pod_memory: Option<u64>,
    /// What krun adds to a pod. The default is what a container of one process was measured to take, rounded up.
    #[arg(long, value_name = "MIB", default_value_t = 3)]
    overhead: u64,
    /// Writes JSON.
    #[arg(long)]
    json: bool,
}

impl MaxPods {
    fn tell(&self) -> ExitCode {
        match self.answers() {
            Ok(answers) if self.json => tell(&format!("{:#}\n", json!(answers))),
            Ok(answers) => tell(&max_pods::text(&answers)),
            Err(error) => fail(&error, self.json),
        }
    }

    fn answers(&self) -> Result<Vec<Answer>> {
        let path = self.instance_types.as_deref();
        let shown = path.unwrap_or(Path::new("max-pods"));
        let refused =
            |reason: String| NodeError::refused(shown, reason, "see kontain max-pods --help");
        let instances = if let Some(path) = path {
            let text = if path == Path::new("-") {
                io::read_to_string(io::stdin())
            } else {
                fs::read_to_string(path)
            };
            Instance::all(&text.map_err(|error| NodeError::system("read", path, error))?)
                .map_err(refused)?
        } else {
            let (interfaces, addresses) = (self.enis.unwrap_or(0), self.ips_per_eni.unwrap_or(0));
            let (memory, processors) = (self.memory, self.vcpus);
            vec![Instance { name: String::new(), interfaces, addresses, memory, processors }]
        };
        let pods = Pods {
            prefixes: self.prefix_delegation,
            memory: self.pod_memory,
            overhead: self.overhead,
        };
        instances
            .iter()
            .map(|one| one.max_pods(pods))
            .collect::<std::result::Result<_, _>>()
            .map_err(refused)
    }
}

#[derive(Debug, Args)]
struct Krun {
    /// krun's binary, as the node sees it; km is beside it.
    #[arg(long, value_name = "PATH", default_value = check::KRUN)]
    binary: PathBuf,
    /// With --run, the longest time that the container, and each question to an engine, may take.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    timeout: u64,
}

#[derive(Debug, Args)]
struct Options {
    /// The root directory of the node, such as that of an image.
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
    /// Shows what would be changed, and changes nothing.
    #[arg(long)]
    dry_run: bool,
    /// Writes JSON.
    #[arg(long)]
    json: bool,
}

impl Cli {
    /// Does what is asked.
    pub fn run(self) -> ExitCode {
        match self.command {
            Command::Install { engine, name, default, binary, config, options } => {
                let wish = Wish { name, binary, default, config };
                change(Verb::Install, engine, &options, |root| {
                    install::install_all(root, engine, &wish)
                })
            }
            Command::Uninstall { engine, options } => {
                change(Verb::Uninstall, engine, &options, |root| {
                    install::uninstall_all(root, engine)
                })
            }
            Command::Check { root, json, run, bench, only, krun } => {
                look(&root, json, &krun, (run || bench).then_some(bench), only)
            }
            Command::Collect { output, root, json } => collect(&root, output, json),
            Command::Config { verb } => verb.tell(),
            Command::Policy { verb } => verb.tell(),
            Command::MaxPods(wish) => wish.tell(),
            Command::CheckWorker { bench, krun } => {
                tell(&json!(check::smoke::worker(&krun.binary, krun.timeout, bench)).to_string())
            }
            Command::CheckGuest => tell(&check::smoke::guest()),
        }
    }
}

/// Plans a change, makes it unless it is only to be shown, and tells.
fn change(
    verb: Verb,
    engine: Engine,
    options: &Options,
    plan: impl FnOnce(&Root) -> Result<Vec<Work>>,
) -> ExitCode {
    let done = Root::open(&options.root).and_then(|root| {
        let mut works = plan(&root)?;
        if !options.dry_run {
            let left = Work::apply_all(&works, &root)?;
            let note = |path: &PathBuf| format!("{}: saved in the same moment", path.display());
            if let Some(work) = works.first_mut() {
                work.warnings.extend(left.iter().map(note));
            }
        }
        Ok(works)
    });
    let text = match (&done, options.json) {
        (done, true) => output::json(verb, engine, options.dry_run, done),
        (Ok(works), false) => {
            works.iter().map(|work| output::text(verb, options.dry_run, work)).collect()
        }
        (Err(error), false) => return fail(error, false),
    };
    let is_told = output::print(&text);
    match done {
        Err(error) => {
            if !is_told {
                output::error(&error);
            }
            ExitCode::from(error.exit_code())
        }
        Ok(_) if options.dry_run => ExitCode::from(if is_told { 0 } else { 5 }),
        Ok(works) => {
            // What is done is done, whoever hears of it.
            if !is_told {
                output::unheard(if works.iter().any(Work::is_needed) {
                    "done"
                } else {
                    "nothing to do"
                });
            }
            ExitCode::SUCCESS
        }
    }
}

/// `run` is whether to measure, if anything is to run.
fn look(root: &Path, json: bool, krun: &Krun, run: Option<bool>, only: Option<Part>) -> ExitCode {
    let mut findings = match Root::open(root) {
        Ok(root) => match only {
            Some(Part::Machine) => check::machine(&root, &krun.binary),
            None => check(&root, &krun.binary),
        },
        Err(error) => return fail(&error, json),
    };
    findings.extend(
        run.map(|bench| check::smoke::check(&krun.binary, krun.timeout, bench))
            .into_iter()
            .flatten(),
    );
    let text = if json { format!("{:#}\n", json!(findings)) } else { check::text(&findings) };
    let fails = findings.iter().any(|finding| finding.status == check::Status::Fail);
    ExitCode::from(if output::print(&text) { u8::from(fails) } else { 5 })
}

fn collect(root: &Path, output: Option<PathBuf>, json: bool) -> ExitCode {
    let output = output.unwrap_or_else(collect::usual_name);
    let written = Root::open(root).and_then(|root| Collection::of(&root).write(&output));
    match written {
        Ok(files) if json => tell(&format!("{:#}\n", json!({"file": output, "files": files}))),
        Ok(files) => {
            let (count, file) = (files.len(), output.display());
            tell(&format!("{file}: {count} files; look through it before you pass it on\n"))
        }
        Err(error) => fail(&error, json),
    }
}

fn tell(text: &str) -> ExitCode {
    ExitCode::from(if output::print(text) { 0 } else { 5 })
}

fn fail(error: &NodeError, json: bool) -> ExitCode {
    if !json || !output::print(&output::error_json(error)) {
        output::error(error);
    }
    ExitCode::from(error.exit_code())
}
