//! The far end of a probe, as a program for workloads of tests and of the quickstart.

use std::process::ExitCode;
use std::sync::atomic::AtomicBool;

use selvage_testkit::server::Server;

const USAGE: &str = "usage: selvage-probe serve --name NAME [--stream PORT]... PORT...
Answers each TCP connection to a PORT with `NAME PORT`, and each UDP datagram with itself and
`NAME PORT`, over IPv4 and IPv6; sends numbered words to whoever connects to a --stream port.
Prints `ready` once all ports are open.";

fn main() -> ExitCode {
    let Some((name, ports, streams)) = arguments(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let served = Server::open(&name, &ports, &streams).and_then(|server| {
        println!("ready");
        server.answer(&AtomicBool::new(false))
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("selvage-probe: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The name, the ports and the stream ports.
fn arguments(mut words: impl Iterator<Item = String>) -> Option<(String, Vec<u16>, Vec<u16>)> {
    if words.next()? != "serve" {
        return None;
    }
    let (mut name, mut ports, mut streams) = (None, Vec::new(), Vec::new());
    while let Some(word) = words.next() {
        match word.as_str() {
            "--name" => name = words.next(),
            "--stream" => streams.push(words.next()?.parse().ok()?),
            port => ports.push(port.parse().ok()?),
        }
    }
    let any = !ports.is_empty() || !streams.is_empty();
    name.filter(|_| any).map(|name| (name, ports, streams))
}
