//! Servers: each contestant runs them, and a native client says how much they do.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use integration::outcome;
use rustix::process::Signal;

use crate::contestants::{Contestant, Contestants, Kind};
use crate::options::Options;
use crate::place::{ID, Place};
use crate::say;
use crate::services::{Client, NGINX, PORT, POSTGRES, SERVERS, Server};
use crate::tables::{Row, Unit};

const ROUNDS: usize = 3;

/// A server that is not ready by then never is.
const PATIENCE: Duration = Duration::from_secs(20);

/// Puts all that servers need into the place.
pub(crate) fn prepare(place: &Place) -> Result<()> {
    for directory in ["/work/www", "/work/pg"] {
        fs::create_dir_all(place.inside(directory))?;
    }
    fs::write(place.inside("/work/www/small"), "small\n")?;
    place.prepare(&["/bin/sh", "-c", POSTGRES]).map(drop)
}

/// A row for each client.
pub(crate) fn measure(place: &Place, all: &Contestants, options: &Options) -> Vec<Row> {
    SERVERS.iter().flat_map(|server| rows(server, place, all, options)).collect()
}

fn rows(server: &Server, place: &Place, all: &Contestants, options: &Options) -> Vec<Row> {
    let row = |client: &Client| Row::new(client.name, Unit::PerSecond);
    let mut rows: Vec<_> = server.clients.iter().map(row).collect();
    for round in 1..=options.rounds(ROUNDS) {
        for one in &all.0 {
            if rows.iter().any(|row| row.has_failed(&one.name)) {
                continue;
            }
            say(&format!("macro, {}, round {round}, {}", server.clients[0].name, one.name));
            let numbers = match &one.refusal {
                Some(reason) => Err(anyhow!("{reason}")),
                None => ask(place, one, server),
            };
            match numbers {
                Ok(numbers) => {
                    for (row, number) in rows.iter_mut().zip(numbers) {
                        row.add(&one.name, number);
                    }
                }
                Err(error) => {
                    let reason = format!("{error:#}");
                    for row in &mut rows {
                        row.fail(&one.name, &reason);
                    }
                }
            }
        }
    }
    rows
}

/// Runs a server, and returns what each client measures.
fn ask(place: &Place, one: &Contestant, server: &Server) -> Result<Vec<f64>> {
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port().to_string();
    fs::write(place.inside("/work/nginx.conf"), NGINX.replace(PORT, &port))?;
    let argv = server.argv(&port);
    let mut command = place.command(one, &argv.iter().map(String::as_str).collect::<Vec<_>>())?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = one.within(|| command.spawn().context("start a server"))?;
    let numbers = wait_for(&mut child, &port)
        .and_then(|()| server.clients.iter().map(|client| number(place, client, &port)).collect());
    stop(one, &mut child)?;
    numbers
}

fn wait_for(child: &mut Child, port: &str) -> Result<()> {
    let mut has_ended = false;
    let listens = outcome::eventually(PATIENCE, || {
        has_ended = child.try_wait().is_ok_and(|status| status.is_some());
        has_ended || TcpStream::connect(format!("127.0.0.1:{port}")).is_ok()
    });
    match (listens, has_ended) {
        (true, false) => Ok(()),
        (_, true) => bail!("the server ends"),
        (false, false) => bail!("the server does not listen"),
    }
}

/// What a client says. A server may listen before it is ready.
fn number(place: &Place, client: &Client, port: &str) -> Result<f64> {
    let argv = client.argv(port);
    let argv: Vec<_> = argv.iter().map(String::as_str).collect();
    let begin = Instant::now();
    let printed = loop {
        let outcome = outcome::run(&mut place.chroot(&argv), None)?;
        if outcome.is_success() {
            break outcome.stdout();
        }
        if begin.elapsed() > PATIENCE {
            bail!("{}: {outcome:?}", client.name);
        }
        thread::sleep(Duration::from_millis(100));
    };
    let rest = printed.split_once(client.before).map(|(_, rest)| rest.trim_start());
    let digits = rest.and_then(|rest| rest.split(['"', ' ', '\n']).next());
    digits.and_then(|digits| digits.parse().ok()).with_context(|| format!("it prints {printed:?}"))
}

fn stop(one: &Contestant, child: &mut Child) -> Result<()> {
    match &one.kind {
        Kind::Native | Kind::Km(_) => outcome::signal(child, Signal::TERM)?,
        Kind::Container(runtime, _) => drop(one.within(|| runtime.call(["kill", ID, "TERM"]))?),
    }
    if outcome::wait(child, PATIENCE)?.is_none() {
        one.clear(ID);
        child.kill()?;
        child.wait()?;
    }
    Ok(())
}
