//! Networks that dockerd makes for its containers: published ports, names, networks that come and go.
//! By krun, with virtual machines and without, as by runc, on a daemon whose network is not the machine's.

#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

use std::fmt::Debug;

use integration::built;
use integration::dockerd::{Dockerd, IMAGE, RUNTIMES};
use integration::guests;
use integration::outcome::{self, End, TIME_LIMIT};

/// A web server with a short page, which names its container, and a long one.
const SERVER: &str = "busybox hostname > /data/name; busybox seq 100000 > /data/numbers; \
                      exec busybox httpd -f -p 80 -h /data";

fn start() -> Dockerd {
    Dockerd::start_with_network(&built::krun().expect("krun is built")).expect("dockerd starts")
}

/// A call of the client that must succeed. Returns what it prints.
#[track_caller]
fn must(docker: &Dockerd, args: &[&str]) -> String {
    let done = docker.call(args).expect("the client can be run");
    assert!(done.is_success(), "{args:?}: {done:?}\n{}", docker.log());
    done.stdout()
}

/// Starts a web server under this name.
#[track_caller]
fn serve(docker: &Dockerd, runtime: &str, name: &str, options: &[&str]) {
    let args = ["run", "-d", "--runtime", runtime, "--name", name, "--hostname", name];
    must(docker, &[&args[..], options, &[IMAGE, "sh", "-c", SERVER]].concat());
    let says_its_name = || {
        let args = ["exec", name, "busybox", "wget", "-q", "-O-", "http://127.0.0.1/name"];
        docker.call(args).is_ok_and(|got| got.stdout() == format!("{name}\n"))
    };
    assert!(outcome::eventually(TIME_LIMIT, says_its_name), "{name}: {}", docker.log());
}

/// A shell's script in a running container.
fn inside(docker: &Dockerd, name: &str, script: &str) -> (End, String) {
    let done = docker.call(["exec", name, "sh", "-c", script]).expect("the client can be run");
    (done.end, done.stdout())
}

/// What a client outside all containers gets from an address.
fn fetch(docker: &Dockerd, address: &str) -> (End, String) {
    let args = ["wget", "-q", "-O-", address];
    let done = docker.outside(&args).expect("the daemon's network can be entered");
    (done.end, done.stdout())
}

/// Tells a story by each runtime: it must be runc's, and nothing may be left of any.
#[track_caller]
fn assert_same_story<T: Debug + PartialEq>(docker: &Dockerd, tell: impl Fn(&str) -> T) -> T {
    let names = ["cut", "-d:", "-f1", "/proc/net/dev"];
    let interfaces = || docker.outside(&names).expect("interfaces are listed").stdout();
    let before = interfaces();
    let [expected, got, native] = RUNTIMES.map(|runtime| {
        let story = tell(runtime);
        docker.ensure_nothing_is_left().expect("nothing is left");
        let gone = outcome::eventually(TIME_LIMIT, || interfaces() == before);
        assert!(gone, "interfaces left by {runtime}: {}", interfaces());
        story
    });
    assert_eq!(got, expected, "{}", docker.log());
    assert_eq!(native, expected, "natively: {}", docker.log());
    got
}

fn answer(text: &str) -> (End, String) {
    (End::Exited(0), text.to_owned())
}

#[test]
fn published_ports_are_reached_from_outside() {
    let docker = start();
    let numbers: Vec<_> = (1..=100_000).map(|number: u32| number.to_string()).collect();
    let numbers = numbers.join("\n") + "\n";

    let story = assert_same_story(&docker, |runtime| {
        serve(&docker, runtime, "web", &["-p", "127.0.0.1:8081:80", "-p", "8082:80"]);
        // dockerd's proxy listens on 127.0.0.1, a firewall rule forwards the bridge's address.
        let mut story: Vec<_> = [
            "http://127.0.0.1:8081/name",
            "http://127.0.0.1:8082/name",
            "http://172.17.0.1:8082/name",
            "http://172.17.0.1:8082/none",
            "http://127.0.0.1:8081/numbers",
            "http://172.17.0.1:8082/numbers",
        ]
        .map(|address| fetch(&docker, address))
        .into();
        // So does a container.
        let client = ["run", "--rm", "--runtime", runtime, IMAGE, "busybox", "wget", "-q", "-O-"];
        let fetched = must(&docker, &[&client[..], &["http://172.17.0.1:8082/name"]].concat());
        story.push((End::Exited(0), fetched));
        story.push((End::Exited(0), must(&docker, &["port", "web"])));
        must(&docker, &["rm", "--force", "web"]);
        story.push(fetch(&docker, "http://127.0.0.1:8081/name"));
        story
    });

    assert_eq!(story[0..3], [answer("web\n"), answer("web\n"), answer("web\n")]);
    assert_eq!(story[3].0, End::Exited(1), "there is no such page");
    assert!(story[4..6].iter().all(|page| *page == answer(&numbers)), "a long page");
    assert_eq!(story[6], answer("web\n"));
    assert_eq!(story[8], (End::Exited(1), String::new()), "nobody listens any more");
}

/// Answers, or asks and prints the answer: one datagram each way.
const DATAGRAMS: &str = r#"
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
int main(int argc, char **argv) {
    char text[64] = "";
    int port = 0, s = socket(AF_INET, SOCK_DGRAM, 0);
    struct timeval patience = {argc > 2 ? 2 : 0, 0};
    setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    sscanf(argv[1], "%d", &port);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
    socklen_t length = sizeof at;
    if (argc == 2) {
        bind(s, (struct sockaddr *)&at, length);
        for (;;) {
            ssize_t got = recvfrom(s, text + 4, 59, 0, (struct sockaddr *)&at, &length);
            memcpy(text, "got ", 4);
            sendto(s, text, got + 4, 0, (struct sockaddr *)&at, length);
        }
    }
    inet_aton(argv[2], &at.sin_addr);
    for (int i = 0; i < 20; i++) {
        sendto(s, argv[3], strlen(argv[3]), 0, (struct sockaddr *)&at, length);
        ssize_t got = recv(s, text, 63, 0);
        if (got > 0)
            return printf("%.*s\n", (int)got, text) < 0;
        usleep(100000);
    }
    return 1;
}
"#;

#[test]
fn published_ports_take_datagrams() {
    let docker = start();
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("datagrams");
    guests::c_text(DATAGRAMS, &program).unwrap();
    let volume = format!("{}:/datagrams:ro", program.display());

    let story = assert_same_story(&docker, |runtime| {
        let detached = ["run", "-d", "--runtime", runtime, "--name", "web", "-v", &volume];
        let ports = ["-p", "127.0.0.1:8083:80/udp", "-p", "8084:80/udp"];
        must(&docker, &[&detached[..], &ports, &[IMAGE, "/datagrams", "80"]].concat());
        let asks = |network: &str, runtime: &str, [address, port]: [&str; 2]| {
            let run = ["run", "--rm", "--runtime", runtime, "--network", network, "-v", &volume];
            let question = [IMAGE, "/datagrams", port, address, "question"];
            let done = docker.call([&run[..], &question].concat()).expect("the client can be run");
            (done.end, done.stdout())
        };
        // What is outside is the measure's; so does a container of the same kind.
        let story = vec![
            asks("host", "runc", ["127.0.0.1", "8083"]),
            asks("host", "runc", ["172.17.0.1", "8084"]),
            asks("bridge", runtime, ["172.17.0.1", "8084"]),
            answer(&must(&docker, &["port", "web"])),
        ];
        must(&docker, &["rm", "--force", "web"]);
        story
    });

    assert!(story[..3].iter().all(|one| *one == answer("got question\n")), "{story:?}");
}

#[test]
fn containers_of_one_network_reach_each_other_by_name() {
    let docker = start();
    let fetch = |name: &str| format!("busybox wget -q -O- http://{name}/name");

    let story = assert_same_story(&docker, |runtime| {
        must(&docker, &["network", "create", "--subnet", "172.30.0.0/24", "front"]);
        let (network, alias) = (["--network", "front"], ["--network-alias", "shop"]);
        serve(&docker, runtime, "one", &[&network[..], &alias, &["--ip", "172.30.0.11"]].concat());
        serve(&docker, runtime, "two", &[&network[..], &["--ip", "172.30.0.12"]].concat());
        let mut story = vec![
            inside(&docker, "two", &fetch("one")),
            inside(&docker, "one", &fetch("two")),
            inside(&docker, "two", &fetch("shop")),
            inside(&docker, "two", "cat /etc/resolv.conf"),
            inside(&docker, "two", "busybox nslookup -type=a one"),
            inside(&docker, "two", "busybox nslookup 172.30.0.11"),
        ];
        // A third container lives in the second one's network.
        let joined = ["run", "--rm", "--runtime", runtime, "--network", "container:two", IMAGE];
        let both = format!("{}; {}", fetch("one"), fetch("127.0.0.1"));
        story.push(answer(&must(&docker, &[&joined[..], &["sh", "-c", &both]].concat())));
        must(&docker, &["rm", "--force", "one", "two"]);
        must(&docker, &["network", "rm", "front"]);
        story
    });

    assert_eq!(story[0..3], [answer("one\n"), answer("two\n"), answer("one\n")]);
    assert!(story[3].1.contains("nameserver 127.0.0.11"), "{story:?}");
    assert!(story[4].1.contains("Address: 172.30.0.11"), "{story:?}");
    assert!(story[5].1.contains("one.front"), "{story:?}");
    assert_eq!(story[6], answer("one\ntwo\n"));
}

#[test]
fn networks_come_to_a_running_container_and_go() {
    let docker = start();
    // The server's address is that of all its interfaces, also of those that come later.
    let interfaces = "busybox ip -o -4 addr show | busybox awk '{print $2, $4}'";
    let fetch = "busybox wget -q -O- http://172.31.0.11/name";

    let story = assert_same_story(&docker, |runtime| {
        must(&docker, &["network", "create", "--subnet", "172.31.0.0/24", "back"]);
        serve(&docker, runtime, "client", &[]);
        serve(&docker, runtime, "server", &["--network", "back", "--ip", "172.31.0.11"]);
        let mut story = vec![inside(&docker, "client", interfaces)];
        must(&docker, &["network", "connect", "--ip", "172.31.0.12", "back", "client"]);
        story.push(inside(&docker, "client", interfaces));
        story.push(inside(&docker, "client", fetch));
        story.push(inside(&docker, "client", "busybox nslookup -type=a server"));
        must(&docker, &["network", "disconnect", "back", "client"]);
        story.push(inside(&docker, "client", interfaces));
        must(&docker, &["rm", "--force", "client", "server"]);
        must(&docker, &["network", "rm", "back"]);
        story
    });

    assert!(story[1].1.contains("172.31.0.12/24"), "{story:?}");
    assert_eq!(story[2], answer("server\n"));
    assert!(story[3].1.contains("Address: 172.31.0.11"), "{story:?}");
    assert_eq!(story[4], story[0]);
}

#[test]
fn a_container_can_have_the_hosts_network_and_names_of_its_own() {
    let docker = start();
    let story = assert_same_story(&docker, |runtime| {
        serve(&docker, runtime, "web", &["--network", "host"]);
        let served = fetch(&docker, "http://127.0.0.1/name");
        must(&docker, &["rm", "--force", "web"]);
        let options =
            ["run", "--rm", "--runtime", runtime, "--hostname", "a", "--domainname", "b.c"];
        let names = ["--add-host", "db:10.1.2.3", "--dns", "10.9.8.7", "--dns-search", "d.e"];
        let program = ["sh", "-c", "busybox hostname -f; cat /etc/hosts /etc/resolv.conf"];
        let files = must(&docker, &[&options[..], &names, &[IMAGE], &program].concat());
        (served, files)
    });

    assert_eq!(story.0, answer("web\n"));
    assert!(story.1.contains("10.1.2.3\tdb\n"), "{story:?}");
}
