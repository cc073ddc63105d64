//! What `packaging/ecs` has for clusters: its documents, the script that makes an instance krun's, and those that make a
//! cluster and take it away.
//!
//! AWS's own command line calls a stand-in for AWS on this machine, moto. It keeps what it is told, and starts nothing.

#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

use std::fs::{self, Permissions};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use integration::built;
use integration::documents::{self, PACKAGING};
use integration::outcome::{self, Outcome};
use tempfile::TempDir;

const ATTRIBUTES: &str =
    "ECS_INSTANCE_ATTRIBUTES={\"kontain.runtime\":\"krun\",\"kontain.backend\":\"kvm\"}\n";

/// Documents with a mistake, and what is said of it.
const BROKEN: [(&str, &str, &str, &str); 7] = [
    (
        "stack.yaml",
        "NestedVirtualization: !Ref",
        "NestedVirtualisation: !Ref",
        "NestedVirtualisation",
    ),
    (
        "stack.yaml",
        "LaunchTemplateId: !Ref Template",
        "LaunchTemplateId: !Ref Templ",
        "'Templ' is not one of",
    ),
    ("stack.yaml", "ManagedDraining: ENABLED", "ManagedDraining: on", "True is not one of"),
    ("stack.yaml", "NetworkMode: bridge", "NetworkMode: bridges", "bridges"),
    ("task-definition.json", "\"memberOf\"", "\"memberof\"", "memberof"),
    ("task-definition.json", "\"memory\": 64", "\"memory\": \"64\"", "memory"),
    ("ami/krun-ecs.pkr.hcl", "most_recent =", "newest =", "\"newest\" is not expected"),
];

#[test]
fn the_documents_are_what_their_readers_take() -> Result<()> {
    documents::validate(&Path::new(PACKAGING).join("ecs"))?;
    Ok(())
}

#[test]
fn mistakes_in_documents_are_found() -> Result<()> {
    for (file, right, wrong, words) in BROKEN {
        let found = documents::broken(&Path::new("ecs").join(file), right, wrong)?;
        assert!(found.contains(words), "{file}: {wrong}: {found}");
    }
    Ok(())
}

/// The root directory of an instance, with krun in it.
struct Instance {
    dir: TempDir,
}

impl Instance {
    fn new() -> Result<Self> {
        let instance = Self { dir: tempfile::Builder::new().prefix("krun-ecs-").tempdir()? };
        let bin = instance.path("root/opt/kontain/bin");
        fs::create_dir_all(&bin)?;
        for made in ["etc/ecs", "var/lib/ecs", "dev", "proc", "sys"] {
            fs::create_dir_all(instance.path("root").join(made))?;
        }
        for program in [built::krun()?, built::km()?, built::kontain()?] {
            fs::copy(&program, bin.join(program.file_name().context("a name")?))?;
        }
        fs::create_dir(instance.path("programs"))?;
        let asked = instance.path("asked");
        let systemctl = instance.path("programs/systemctl");
        fs::write(&systemctl, format!("#!/bin/sh\necho \"$@\" >>{}\n", asked.display()))?;
        fs::set_permissions(&systemctl, Permissions::from_mode(0o755))?;
        Ok(instance)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// Puts an agent's image there as `docker save` writes it, with a pause container's within. Returns the hash of
    /// its program.
    fn add_agent(&self) -> Result<String> {
        let script = r#"
mkdir -p "$1/work/pause/layer" "$1/work/agent/blobs/sha256" "$1/work/images" "$1/root/var/cache/ecs"
cd "$1/work"
echo 'a pause program' >pause/pause
tar -C pause -cf pause/layer/layer.tar pause
echo '[]' >pause/manifest.json
tar -C pause -cf images/amazon-ecs-pause.tar manifest.json layer
tar -cf agent/blobs/sha256/0000 images/amazon-ecs-pause.tar
echo '{}' >agent/index.json
tar -C agent -cf "$1/root/var/cache/ecs/ecs-agent.tar" index.json blobs
sha256sum <pause/pause
"#;
        let mut command = Command::new("sh");
        command.args(["-euc", script, "sh"]).arg(self.dir.path());
        let made = outcome::run(&mut command, None)?;
        ensure!(made.is_success(), "{made:?}");
        Ok(made.stdout().split(' ').next().unwrap_or_default().to_owned())
    }

    /// Runs the script with the machine's devices and processes in the instance.
    fn call(&self, args: &[&str]) -> Result<Outcome> {
        let root = self.path("root");
        let enter =
            "for name in dev proc sys; do mount --rbind /$name \"$0/$name\"; done; exec \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-euc", enter]).arg(&root);
        command
            .arg(Path::new(PACKAGING).join("ecs/install-node"))
            .arg("--root")
            .arg(&root)
            .args(args);
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", self.path("programs").display()));
        outcome::run(&mut command, None)
    }
}

#[test]
fn an_instance_becomes_kruns_twice_and_is_then_as_it_was() -> Result<()> {
    let instance = Instance::new()?;
    let hash = instance.add_agent()?;
    let before = "{\n    \"log-opts\": {\"max-size\": \"1m\"}\n}\n";
    fs::create_dir_all(instance.path("root/etc/docker"))?;
    fs::write(instance.path("root/etc/docker/daemon.json"), before)?;
    fs::write(instance.path("root/var/lib/ecs/ecs.config"), "ECS_LOGLEVEL=info\n")?;

    for times in 1..=2 {
        let done = instance.call(&["--live", "install"])?;
        assert!(done.is_success(), "{done:?}");
        assert_eq!(instance.read("asked"), "reload docker\n".repeat(times));
    }

    let daemon: serde_json::Value =
        serde_json::from_str(&instance.read("root/etc/docker/daemon.json"))?;
    assert_eq!(daemon["default-runtime"], "krun");
    assert_eq!(daemon["runtimes"]["krun"]["path"], "/opt/kontain/bin/krun");
    assert_eq!(
        instance.read("root/var/lib/ecs/ecs.config"),
        format!("ECS_LOGLEVEL=info\n{ATTRIBUTES}")
    );
    let policy: toml::Table = instance.read("root/etc/kontain/policy.d/10-ecs.toml").parse()?;
    assert_eq!(policy["preset"].as_str(), Some("ecs"));
    assert_eq!(policy["pause_sha256"][0].as_str(), Some(hash.as_str()));

    let removed = instance.call(&["remove"])?;
    assert!(removed.is_success(), "{removed:?}");
    assert_eq!(instance.read("root/etc/docker/daemon.json"), before);
    assert_eq!(instance.read("root/var/lib/ecs/ecs.config"), "ECS_LOGLEVEL=info\n");
    assert!(!instance.path("root/etc/kontain/policy.d/10-ecs.toml").exists());
    Ok(())
}

/// krun itself reads the policy, and knows the agent by it.
#[test]
fn krun_takes_the_policy_that_an_image_gets() -> Result<()> {
    let instance = Instance::new()?;
    let done = instance.call(&["install"])?;
    assert!(done.is_success() && done.stdout().contains("in virtual machines, too"), "{done:?}");
    assert_eq!(instance.read("root/var/lib/ecs/ecs.config"), ATTRIBUTES);
    assert_eq!(instance.read("asked"), "", "an image's docker is not asked");

    let mut spec = Command::new(built::krun()?);
    spec.current_dir(instance.path("programs")).arg("spec");
    ensure!(outcome::run(&mut spec, None)?.is_success(), "{spec:?}");
    let mut test = Command::new(built::krun()?);
    test.arg("--policy-dir").arg(instance.path("root/etc/kontain/policy.d"));
    test.args(["policy", "test"]).arg(instance.path("programs/config.json"));
    let rules = outcome::run(&mut test, None)?;
    assert!(rules.is_success() && rules.stdout().contains("ecs-agent"), "{rules:?}");
    Ok(())
}

#[test]
fn what_is_in_the_way_is_named_and_nothing_is_changed() -> Result<()> {
    let instance = Instance::new()?;
    let own = "ECS_CLUSTER=a\nECS_INSTANCE_ATTRIBUTES=disk\n";
    fs::write(instance.path("root/etc/ecs/ecs.config"), own)?;

    let refused = instance.call(&["install"])?;
    let words = "/etc/ecs/ecs.config: ECS_INSTANCE_ATTRIBUTES: it is no JSON object";
    assert!(!refused.is_success() && refused.stderr().contains(words), "{refused:?}");
    for file in ["etc/docker", "etc/kontain", "var/lib/ecs/ecs.config"] {
        assert!(!instance.path("root").join(file).exists(), "{file}");
    }

    // Those that are there stay, and krun's are put beside them.
    fs::write(
        instance.path("root/etc/ecs/ecs.config"),
        own.replace("=disk", "={\"disk\":\"fast\"}"),
    )?;
    let done = instance.call(&["install"])?;
    assert!(
        done.is_success() && instance.read("root/var/lib/ecs/ecs.config").is_empty(),
        "{done:?}"
    );
    let config = instance.read("root/etc/ecs/ecs.config");
    let words = "{\"disk\":\"fast\",\"kontain.runtime\":\"krun\",\"kontain.backend\":\"kvm\"}\n";
    assert!(config.starts_with("ECS_CLUSTER=a\n") && config.ends_with(words), "{config}");
    Ok(())
}

/// The stand-in for AWS, which ends with its owner.
struct Aws {
    server: Child,
    port: u16,
}

impl Drop for Aws {
    fn drop(&mut self) {
        drop(self.server.kill());
        drop(self.server.wait());
    }
}

impl Aws {
    fn start() -> Result<Self> {
        // Nobody else takes it in the meantime: nextest's tests are processes, and the kernel gives each another one.
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let server = validator("moto_server")?
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let aws = Self { server, port };
        let is_there = || TcpStream::connect((Ipv4Addr::LOCALHOST, aws.port)).is_ok();
        ensure!(outcome::eventually(outcome::TIME_LIMIT, is_there), "moto does not answer");
        Ok(aws)
    }

    /// Gives a command AWS's command line, and this machine for AWS.
    fn run(&self, command: &mut Command) -> Result<Outcome> {
        let tools = built::target_dir()?.join("validators");
        let path = std::env::var("PATH").unwrap_or_default();
        command
            .env("PATH", format!("{}:{path}", tools.join("bin").display()))
            .env("PYTHONPATH", tools)
            .env("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{}", self.port))
            .env("AWS_ACCESS_KEY_ID", "none")
            .env("AWS_SECRET_ACCESS_KEY", "none")
            .env("AWS_EC2_METADATA_DISABLED", "true");
        outcome::run(command, None)
    }

    fn call(&self, args: &[&str]) -> Result<String> {
        let done = self.run(
            Command::new("aws").args(["--region", "us-east-1", "--output", "text"]).args(args),
        )?;
        ensure!(done.is_success(), "{args:?}: {done:?}");
        Ok(done.stdout().trim().to_owned())
    }

    fn script(&self, name: &str, args: &[&str]) -> Result<Outcome> {
        self.run(Command::new(Path::new(PACKAGING).join("ecs").join(name)).args(args))
    }
}

fn validator(name: &str) -> Result<Command> {
    let tools = built::target_dir()?.join("validators");
    let mut command = Command::new(tools.join("bin").join(name));
    command.env("PYTHONPATH", tools);
    Ok(command)
}

#[test]
fn a_cluster_is_made_and_taken_away() -> Result<()> {
    let aws = Aws::start()?;
    let image = aws.call(&["ec2", "describe-images", "--query", "Images[0].ImageId"])?;
    let provision = ["--region", "us-east-1", "--image", &image, "--no-wait", "Size=3"];

    for _ in 0..2 {
        let made = aws.script("provision", &provision)?;
        assert!(made.is_success(), "{made:?}");
    }
    let options =
        "LaunchTemplateVersions[].LaunchTemplateData.[CpuOptions.NestedVirtualization,ImageId]";
    let latest =
        ["ec2", "describe-launch-template-versions", "--versions", "$Latest", "--query", options];
    assert_eq!(aws.call(&latest)?, format!("enabled\t{image}"));
    let bare = [&provision[..], &["NestedVirtualization=disabled"]].concat();
    let changed = aws.script("provision", &bare)?;
    assert!(changed.is_success(), "{changed:?}");
    assert_eq!(aws.call(&latest)?, format!("None\t{image}"), "EC2 refuses any option there");
    let size = "AutoScalingGroups[].DesiredCapacity";
    assert_eq!(aws.call(&["autoscaling", "describe-auto-scaling-groups", "--query", size])?, "3");
    let services = aws.call(&["ecs", "list-services", "--cluster", "krun"])?;
    assert!(services.contains("service/krun/"), "{services}");

    let destroyed = aws.script("destroy", &["--region", "us-east-1"])?;
    assert!(destroyed.is_success(), "{destroyed:?}");
    // The stand-in leaves services, and so their cluster.
    let stacks = "StackSummaries[?StackStatus!='DELETE_COMPLETE'].StackName";
    assert_eq!(aws.call(&["cloudformation", "list-stacks", "--query", stacks])?, "");
    assert_eq!(aws.call(&["autoscaling", "describe-auto-scaling-groups", "--query", size])?, "");
    let again = aws.script("destroy", &["--region", "us-east-1"])?;
    assert!(again.is_success() && again.stdout().contains("there is no stack krun"), "{again:?}");
    Ok(())
}

#[test]
fn images_go_with_their_snapshots_and_other_peoples_stacks_stay() -> Result<()> {
    let aws = Aws::start()?;
    let base = aws.call(&["ec2", "describe-images", "--query", "Images[0].ImageId"])?;
    let instance = aws.call(&[
        "ec2",
        "run-instances",
        "--image-id",
        &base,
        "--query",
        "Instances[0].InstanceId",
    ])?;
    for name in ["ours", "other"] {
        let made =
            aws.call(&["ec2", "create-image", "--instance-id", &instance, "--name", name])?;
        if name == "ours" {
            aws.call(&[
                "ec2",
                "create-tags",
                "--resources",
                &made,
                "--tags",
                "Key=kontain.app/image,Value=ecs",
            ])?;
        }
    }
    let template = "{\"Resources\": {\"T\": {\"Type\": \"AWS::SNS::Topic\"}}}";
    aws.call(&[
        "cloudformation",
        "create-stack",
        "--stack-name",
        "krun",
        "--template-body",
        template,
    ])?;
    let own = ["ec2", "describe-images", "--owners", "self", "--query", "Images[].Name"];
    let snapshots =
        ["ec2", "describe-snapshots", "--owner-ids", "self", "--query", "length(Snapshots)"];
    let before: u32 = aws.call(&snapshots)?.parse()?;

    let refused = aws.script("destroy", &["--region", "us-east-1"])?;
    assert!(
        !refused.is_success() && refused.stderr().contains("was not made by provision"),
        "{refused:?}"
    );

    let destroyed =
        aws.script("destroy", &["--region", "us-east-1", "--stack", "none", "--images"])?;
    assert!(destroyed.is_success(), "{destroyed:?}");
    assert_eq!(aws.call(&own)?, "other");
    assert_eq!(aws.call(&snapshots)?.parse::<u32>()?, before - 1);
    Ok(())
}

/// Runs a script with a program for `aws` that does this.
fn with_stand_in(name: &str, args: &[&str], stand_in: &str) -> Result<(Outcome, String)> {
    let dir = tempfile::tempdir()?;
    let (aws, asked) = (dir.path().join("aws"), dir.path().join("asked"));
    fs::write(&aws, format!("#!/bin/sh\necho \"$*\" >>{}\n{stand_in}\n", asked.display()))?;
    fs::set_permissions(&aws, Permissions::from_mode(0o755))?;
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new(Path::new(PACKAGING).join("ecs").join(name));
    command.args(args).env("PATH", format!("{}:{path}", dir.path().display()));
    command.env("PROVISION_PATIENCE", "0");
    Ok((outcome::run(&mut command, None)?, fs::read_to_string(asked)?))
}

#[test]
fn tasks_come_when_an_instance_has_krun_and_not_before() -> Result<()> {
    let network = ["--vpc", "vpc-1", "--subnets", "subnet-1,subnet-2"];
    let args =
        [&["--region", "us-east-1", "--image", "ami-1"][..], &network, &["Tasks=2"]].concat();
    // There is no stack yet, and so many instances have krun.
    let aws = |count| {
        format!(
            "case $2 in describe-stacks) case $* in *Outputs*) echo service;; *) exit 255;; esac;; \
             list-container-instances) echo {count};; esac"
        )
    };

    let (refused, asked) = with_stand_in("provision", &args, &aws(0))?;
    let words = "no instance of cluster krun has krun";
    assert!(!refused.is_success() && refused.stderr().contains(words), "{refused:?}");
    assert!(asked.contains("Tasks=0") && !asked.contains("Tasks=2"), "{asked}");
    assert!(!asked.contains("services-stable"), "{asked}");

    let (made, asked) = with_stand_in("provision", &args, &aws(1))?;
    assert!(made.is_success() && made.stdout().contains("1 instances with krun"), "{made:?}");
    let (none, two) = (asked.find("Tasks=0"), asked.find("Tasks=2"));
    assert!(none.is_some() && none < two && asked.contains("services-stable"), "{asked}");
    Ok(())
}

#[test]
fn images_that_cannot_be_listed_are_not_said_to_be_gone() -> Result<()> {
    let fails = "case $2 in describe-stacks) echo 'krun does not exist'; exit 1;; describe-images) exit 254;; esac";
    let args = ["--region", "us-east-1", "--images"];
    let (refused, asked) = with_stand_in("destroy", &args, fails)?;
    assert!(!refused.is_success() && !refused.stdout().contains("done"), "{refused:?}");
    assert!(asked.contains("describe-images"), "{asked}");
    Ok(())
}

#[test]
fn a_task_for_machines_elsewhere_is_registered_and_they_are_let_in() -> Result<()> {
    let aws = Aws::start()?;
    let file = format!("file://{PACKAGING}/ecs/task-definition.json");
    let constraint = "taskDefinition.placementConstraints[].expression";
    let register =
        ["ecs", "register-task-definition", "--cli-input-json", &file, "--query", constraint];
    assert_eq!(aws.call(&register)?, "attribute:kontain.runtime == krun");

    for (script, args, words) in [
        ("provision", &["--region", "us-east-1"][..], "say --rpm FILE, or --image AMI"),
        (
            "provision",
            &["--region", "us-east-1", "--image", "ami-1", "--vpc", "vpc-1"],
            "say --subnets, too",
        ),
        (
            "provision",
            &["--region", "us-east-1", "--image", "ami-1", "--stack", "Ecs-krun"],
            "begins with aws, ecs or fargate",
        ),
        ("destroy", &[], "say --region"),
        ("activate", &["--region", "us-east-1"], "say --cluster"),
    ] {
        let refused = aws.script(script, args)?;
        assert!(!refused.is_success() && refused.stderr().contains(words), "{script}: {refused:?}");
    }
    Ok(())
}
