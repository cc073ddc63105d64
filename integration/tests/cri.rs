//! Pods, as a kubelet makes them through containerd's CRI plugin: the pause container and the others by
//! krun, with virtual machines and natively, as by runc.

#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

use std::fs;

use integration::cri::stream::{ERROR, INPUT, OUTPUT, SIZE, STATUS, Stream};
use integration::cri::{Cri, IMAGE, NODE};
use integration::outcome::{self, TIME_LIMIT};
use integration::runtime::RUNTIMES;

/// Says something on both outputs, serves its name, and ends when it is asked to.
const SERVER: &str = "trap 'exit 7' TERM; echo out; echo err >&2; busybox hostname > /tmp/name; \
                      busybox httpd -p 80 -h /tmp; while :; do sleep 0.1; done";

/// A running pod.
struct Pod<'a> {
    cri: &'a Cri,
    config: String,
    id: String,
}

/// A call that must succeed. Returns a field of the answer, nothing where it is zero.
#[track_caller]
fn ask(cri: &Cri, method: &str, request: &str, field: &str) -> String {
    let answer = cri.call(&format!("RuntimeService/{method}"), request);
    let answer = answer.unwrap_or_else(|error| panic!("{method} {request}: {error:#}"));
    answer.field(field).unwrap_or_default()
}

impl<'a> Pod<'a> {
    /// Runs a pod by this runtime.
    #[track_caller]
    fn run(cri: &'a Cri, runtime: &str, more: &str) -> Self {
        let logs = cri.directory().join("logs");
        let config = format!(
            "metadata {{ name: 'pod' uid: 'one' namespace: 'test' }} hostname: 'pod' \
             log_directory: '{}' linux {{ cgroup_parent: '{}' {more} }}",
            logs.display(),
            cri.cgroup()
        );
        let request = format!("config {{ {config} }} runtime_handler: '{runtime}'");
        let id = ask(cri, "RunPodSandbox", &request, "pod_sandbox_id");
        Self { cri, config, id }
    }

    /// Creates a container that runs this script.
    #[track_caller]
    fn create(&self, name: &str, script: &str, more: &str) -> String {
        let request = format!(
            "pod_sandbox_id: '{}' sandbox_config {{ {} }} config {{ metadata {{ name: '{name}' }} \
             image {{ image: '{IMAGE}' }} command: ['sh', '-c', {script:?}] \
             log_path: '{name}.log' {more} }}",
            self.id, self.config
        );
        ask(self.cri, "CreateContainer", &request, "container_id")
    }

    /// Creates and starts it.
    #[track_caller]
    fn start(&self, name: &str, script: &str, more: &str) -> String {
        let id = self.create(name, script, more);
        ask(self.cri, "StartContainer", &of(&id), "");
        id
    }

    /// A field of the pod's status.
    #[track_caller]
    fn status(&self, field: &str) -> String {
        ask(self.cri, "PodSandboxStatus", &format!("pod_sandbox_id: '{}'", self.id), field)
    }

    /// Stops and removes the pod with all its containers: nothing may be left.
    #[track_caller]
    fn remove(self) {
        let request = format!("pod_sandbox_id: '{}'", self.id);
        ask(self.cri, "StopPodSandbox", &request, "");
        assert_eq!(self.status("state"), "SANDBOX_NOTREADY");
        ask(self.cri, "RemovePodSandbox", &request, "");
        self.cri.ensure_nothing_is_left().expect("nothing is left");
        fs::remove_dir_all(self.cri.directory().join("logs")).expect("logs can be removed");
    }

    /// What a container has logged, without times. The two outputs are two streams: one after the
    /// other.
    fn log(&self, name: &str) -> String {
        let path = self.cri.directory().join("logs").join(format!("{name}.log"));
        let text = fs::read_to_string(path).unwrap_or_default();
        let lines = text.lines().filter_map(|line| line.split_once(' ').map(|(_, rest)| rest));
        let (out, err): (Vec<_>, Vec<_>) = lines.partition(|line| line.starts_with("stdout"));
        out.into_iter().chain(err).flat_map(|line| [line, "\n"]).collect()
    }

    /// Waits until a container has logged this.
    #[track_caller]
    fn wait_for_log(&self, name: &str, text: &str) {
        let logged = outcome::eventually(TIME_LIMIT, || self.log(name).contains(text));
        assert!(logged, "{name} has logged {:?}: {}", self.log(name), self.cri.log());
    }
}

/// krun's stories, with virtual machines and natively, must be runc's.
#[track_caller]
fn assert_same(cri: &Cri, [expected, got, native]: &[Vec<String>; 3]) {
    assert_eq!(got, expected, "{}", cri.log());
    assert_eq!(native, expected, "natively: {}", cri.log());
}

/// A request that names a container.
fn of(id: &str) -> String {
    format!("container_id: '{id}'")
}

/// Exit code and both outputs of a program in a container, or why it could not be run.
fn exec(cri: &Cri, id: &str, program: &[&str], timeout: u32) -> Result<[String; 3], String> {
    let request = format!("{} cmd: {program:?} timeout: {timeout}", of(id));
    let answer = cri.call("RuntimeService/ExecSync", &request);
    let fields = ["exit_code", "stdout", "stderr"];
    // A failure names what had no other name than its number.
    let failure = |error: anyhow::Error| {
        let text = error.to_string();
        text.split('"').map(|part| if part.len() == id.len() { "ID" } else { part }).collect()
    };
    answer.map(|got| fields.map(|name| got.field(name).unwrap_or_default())).map_err(failure)
}

/// State, exit code and reason of a container.
#[track_caller]
fn state(cri: &Cri, id: &str) -> [String; 3] {
    ["state", "exit_code", "reason"].map(|field| ask(cri, "ContainerStatus", &of(id), field))
}

/// Waits until a container has ended. Returns its state.
#[track_caller]
fn ended(cri: &Cri, id: &str) -> [String; 3] {
    let has_ended = || state(cri, id)[0] == "CONTAINER_EXITED";
    assert!(outcome::eventually(TIME_LIMIT, has_ended), "{:?} {}", state(cri, id), cri.log());
    state(cri, id)
}

#[test]
fn a_pod_and_its_container_live_their_lives() {
    let cri = Cri::start().unwrap();
    let stories = RUNTIMES.map(|runtime| {
        let pod = Pod::run(&cri, runtime, "");
        let mut story = vec![pod.status("state")];
        let id = pod.create("web", SERVER, "");
        story.extend(state(&cri, &id));
        ask(&cri, "StartContainer", &of(&id), "");
        pod.wait_for_log("web", "err");
        story.extend(state(&cri, &id));
        story.push(pod.log("web"));

        // Every pod has an address.
        let page = format!("http://{}/name", pod.status("ip"));
        let fetched = || cri.outside(&["wget", "-q", "-O-", &page]).unwrap().stdout();
        outcome::eventually(TIME_LIMIT, || !fetched().is_empty());
        story.push(fetched());

        for (program, timeout) in [
            (&["sh", "-c", "echo inside; echo aside >&2; exit 4"][..], 60),
            (&["nosuchprogram"], 60),
            (&["sleep", "1000"], 1),
        ] {
            story.push(format!("{:?}", exec(&cri, &id, program, timeout)));
        }
        let stats = cri.call("RuntimeService/ContainerStats", &of(&id)).unwrap();
        for counted in ["usage_core_nano_seconds", "working_set_bytes"] {
            assert!(stats.number_in(counted) > Some(0), "{counted} by {runtime}: {stats:?}");
        }
        ask(&cri, "StopContainer", &format!("{} timeout: 60", of(&id)), "");
        story.extend(state(&cri, &id));
        ask(&cri, "RemoveContainer", &of(&id), "");
        pod.remove();
        story
    });

    assert_same(&cri, &stories);
    let story = &stories[1];
    assert_eq!(story[7..9], ["stdout F out\nstderr F err\n", "pod\n"]);
    assert_eq!(story[9], r#"Ok(["4", "inside\\n", "aside\\n"])"#);
    assert_eq!(story[12..], ["CONTAINER_EXITED", "7", "Error"]);
}

#[test]
fn a_container_is_what_its_configuration_says() {
    let cri = Cri::start().unwrap();
    let volume = cri.directory().join("volume");
    fs::create_dir(&volume).unwrap();
    fs::write(volume.join("file"), "of the host\n").unwrap();
    let mounts = format!(
        "mounts {{ container_path: '/data' host_path: '{}' readonly: true }}",
        volume.display()
    );
    let settings = "working_dir: '/tmp' envs { key: 'A' value: 'b c' } linux { \
        resources { memory_limit_in_bytes: 67108864 cpu_period: 100000 cpu_quota: 50000 } \
        security_context { run_as_user { value: 5 } run_as_group { value: 6 } \
        supplemental_groups: [7, 8] readonly_rootfs: true no_new_privs: true \
        capabilities { drop_capabilities: ['ALL'] } seccomp { profile_type: RuntimeDefault } } }";
    let script = "id; pwd; echo $A; echo $HOSTNAME; cat /data/file; touch /data/x /x; \
        busybox grep -E '^(Cap|NoNewPrivs)' /proc/self/status; \
        cat /proc/sys/net/ipv4/ip_unprivileged_port_start; echo end";
    let limits = "cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes memory.max 2>/dev/null; \
        cat cpu/cpu.cfs_quota_us cpu.max 2>/dev/null";

    let stories = RUNTIMES.map(|runtime| {
        let sysctls = "sysctls { key: 'net.ipv4.ip_unprivileged_port_start' value: '80' }";
        let pod = Pod::run(&cri, runtime, sysctls);
        let id =
            pod.start("web", &format!("{script}; sleep 1000"), &format!("{mounts} {settings}"));
        pod.wait_for_log("web", "end");
        let mut story = vec![pod.log("web")];
        story.push(format!("{:?}", exec(&cri, &id, &["sh", "-c", limits], 60)));
        let more = "linux { memory_limit_in_bytes: 33554432 cpu_quota: 20000 }";
        let update = format!("{} {more}", of(&id));
        ask(&cri, "UpdateContainerResources", &update, "");
        story.push(format!("{:?}", exec(&cri, &id, &["sh", "-c", limits], 60)));

        let terminal = pod.start("terminal", "tty; exit 3", "tty: true");
        story.extend(ended(&cri, &terminal));
        story.push(pod.log("terminal"));
        let limit = "linux { resources { memory_limit_in_bytes: 33554432 } }";
        let greedy = pod.start("greedy", "head -c 100000000 /dev/zero | busybox tail", limit);
        story.extend(ended(&cri, &greedy));
        pod.remove();
        story
    });

    assert_same(&cri, &stories);
    assert!(stories[0][0].contains("uid=5 gid=6 groups=6,7,8"), "{stories:?}");
    assert!(stories[0][1].contains("67108864"), "{stories:?}");
    assert!(stories[0][2].contains("33554432"), "{stories:?}");
}

#[test]
fn containers_of_a_pod_share_what_the_pod_has() {
    let cri = Cri::start().unwrap();
    let options = "namespace_options { pid: POD }";
    let stories = RUNTIMES.map(|runtime| {
        let pod = Pod::run(&cri, runtime, &format!("security_context {{ {options} }}"));
        let shared = format!("linux {{ security_context {{ {options} }} }}");
        let one = pod.start("one", SERVER, &shared);
        pod.wait_for_log("one", "err");
        let two = pod.start("two", "exec sleep 1000", &shared);

        let inside = |id: &str, script: &str| exec(&cri, id, &["sh", "-c", script], 60);
        let namespaces = "for i in net ipc pid uts mnt; do busybox readlink /proc/self/ns/$i; done";
        let [first, second] = [&one, &two].map(|id| inside(id, namespaces).unwrap()[1].clone());
        let same: Vec<_> =
            first.split("\\n").zip(second.split("\\n")).map(|(one, two)| one == two).collect();
        let fetch = "busybox wget -q -O- http://127.0.0.1/name";
        let written = inside(&two, "echo hello > /dev/shm/x; cat /proc/1/comm");
        // Not by a pipe: who counts might be counted, or have begun too late for that. Without the server's loop, which
        // sleeps in a new process again and again.
        let count = "cat /dev/shm/x; all=$(busybox ps -o args); \
                     echo \"$all\" | grep -vc -e trap -e 'sleep 0'";
        let counted = inside(&one, count);
        let mut story = vec![format!("{same:?}"), format!("{:?}", inside(&two, fetch))];
        story.extend([written, counted].map(|said| format!("{said:?}")));
        let release = inside(&one, "uname -r").unwrap()[1].clone();
        assert_eq!(release.contains(".kontain.KVM"), runtime == "krun", "{release}");
        // The pause container is krun's too.
        let made = fs::read_dir(cri.runtime_root()).unwrap().count();
        assert_eq!(made, 3, "{runtime}");
        pod.remove();
        story
    });

    assert_same(&cri, &stories);
    assert_eq!(stories[0][0], "[true, true, true, true, false, true]");
    assert!(stories[0][1].contains("pod"), "{stories:?}");
    assert!(stories[0][3].contains("hello"), "{stories:?}");
}

#[test]
fn on_a_node_of_kubernetes_pause_is_native_and_its_containers_are_not() {
    let cri = Cri::start().unwrap();
    let pod = Pod::run(&cri, NODE, "");
    let id = pod.start("web", "exec sleep 1000", "");
    // The container says that it is a pause container, too: by its arguments, and by its name.
    let request = format!(
        "pod_sandbox_id: '{}' sandbox_config {{ {} }} config {{ metadata {{ name: 'POD' }} \
         image {{ image: '{IMAGE}' }} command: ['/bin/../pause'] \
         annotations {{ key: 'io.kubernetes.cri.container-type' value: 'sandbox' }} }}",
        pod.id, pod.config
    );
    let other = ask(&cri, "CreateContainer", &request, "container_id");
    ask(&cri, "StartContainer", &of(&other), "");

    let modes = cri.modes().unwrap();
    let release = exec(&cri, &id, &["uname", "-r"], 60).unwrap()[1].clone();

    let mode = |id: &str| modes.get(id).map(|(mode, rule)| format!("{mode} by {rule}"));
    assert_eq!(mode(&pod.id).as_deref(), Some("native by pod-sandbox"), "{modes:?}");
    assert_eq!(mode(&id).as_deref(), Some("vm by default"), "{modes:?}");
    assert_eq!(mode(&other).as_deref(), Some("vm by default"), "{modes:?}");
    assert!(release.contains(".kontain.KVM"), "{release}");
    pod.remove();
}

/// A stream that must open.
#[track_caller]
fn stream(cri: &Cri, method: &str, request: &str, more: &str) -> Stream {
    let opened = cri.stream(&format!("RuntimeService/{method}"), request, more);
    opened.unwrap_or_else(|error| panic!("{method} {request}: {error:#}"))
}

/// What there is to tell of a stream that has come to its end.
fn told(mut stream: Stream) -> [String; 3] {
    stream.read_to_end().expect("it ends");
    [OUTPUT, ERROR, STATUS].map(|channel| stream.said(channel))
}

#[test]
fn streams_lead_to_programs_and_ports() {
    let cri = Cri::start().unwrap();
    let stories = RUNTIMES.map(|runtime| {
        let pod = Pod::run(&cri, runtime, "");
        let web = pod.start("web", SERVER, "stdin: true");
        pod.wait_for_log("web", "err");
        let mut story = Vec::new();

        // A program with pipes, one with a terminal, one that is not there.
        let script = "read word; echo got $word; echo aside >&2; exit 4";
        let pipes = format!("{} stdin: true stdout: true stderr: true", of(&web));
        let mut exec = stream(&cri, "Exec", &format!("{pipes} cmd: ['sh', '-c', {script:?}]"), "");
        exec.write(INPUT, "a line\n").unwrap();
        story.extend(told(exec));
        let terminal = format!("{} stdin: true stdout: true tty: true", of(&web));
        // A signal that comes just before it reads a shell would heed only after that.
        let script = "tty; trap 'stty size; seen=yes' WINCH; echo ready; \
                      until [ $seen ]; do sleep 0.1; done; read word; exit 5";
        let mut exec =
            stream(&cri, "Exec", &format!("{terminal} cmd: ['sh', '-c', {script:?}]"), "");
        story.push(exec.read_until(OUTPUT, "ready\r\n").unwrap());
        exec.write(SIZE, r#"{"Width": 44, "Height": 33}"#).unwrap();
        exec.read_until(OUTPUT, "33 44\r\n").unwrap();
        exec.write(INPUT, "word\n").unwrap();
        story.extend(told(exec));
        let missing = format!("{pipes} cmd: ['nosuchprogram']");
        let [_, _, status] = told(stream(&cri, "Exec", &missing, ""));
        // What comes before names the program by a number of its own.
        story.push(status.rsplit("OCI runtime").next().unwrap_or_default().to_owned());

        // A client comes, goes, and comes again.
        let script = "while read word; do echo got $word; echo aside >&2; done";
        let echo = pod.start("echo", script, "stdin: true");
        for word in ["one", "two"] {
            let mut attached = stream(&cri, "Attach", &pipes.replace(&web, &echo), "");
            attached.write(INPUT, &format!("{word}\n")).unwrap();
            story.push(attached.read_until(OUTPUT, &format!("got {word}\n")).unwrap());
            story.push(attached.read_until(ERROR, "aside\n").unwrap());
        }

        let request = format!("pod_sandbox_id: '{}' port: 80", pod.id);
        let mut forwarded = stream(&cri, "PortForward", &request, "?port=80");
        forwarded.write(INPUT, "GET /name HTTP/1.0\r\n\r\n").unwrap();
        let answer = forwarded.read_until(INPUT, "pod\n").unwrap();
        story.push(answer.lines().next().unwrap_or_default().to_owned());
        drop(forwarded);
        pod.remove();
        story
    });

    assert_same(&cri, &stories);
    let story = &stories[0];
    assert_eq!(story[..2], ["got a line\n", "aside\n"]);
    assert!(story[2].contains("ExitCode") && story[2].contains("\"4\""), "{story:#?}");
    assert!(story[3].starts_with("/dev/pts/"), "{story:#?}");
    assert!(story[7].contains("executable file not found in $PATH"), "{story:#?}");
}
