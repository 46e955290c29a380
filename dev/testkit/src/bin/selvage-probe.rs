//! The far end of a probe: says its name on every port it serves, over IPv4 and IPv6.

use std::io::{self, Write};
use std::net::{Ipv6Addr, TcpListener};
use std::process::ExitCode;
use std::thread;

const USAGE: &str = "usage: selvage-probe serve --name NAME PORT...
Answers each TCP connection to a PORT with `NAME PORT`, and prints `ready` once all ports listen.";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let ["serve", "--name", name, ports @ ..] = words.as_slice() else { return usage(USAGE) };
    let ports: Result<Vec<u16>, _> = ports.iter().map(|port| port.parse()).collect();
    match ports {
        Ok(ports) if !ports.is_empty() => match serve(name, &ports) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => usage(&format!("selvage-probe: {error}")),
        },
        _ => usage(USAGE),
    }
}

fn usage(text: &str) -> ExitCode {
    eprintln!("{text}");
    ExitCode::from(2)
}

fn serve(name: &str, ports: &[u16]) -> io::Result<()> {
    // An IPv6 socket takes IPv4 too, unless told otherwise (RFC 3493, 5.3).
    let listeners: Vec<(u16, TcpListener)> = ports
        .iter()
        .map(|port| Ok((*port, TcpListener::bind((Ipv6Addr::UNSPECIFIED, *port))?)))
        .collect::<io::Result<_>>()?;
    println!("ready");
    thread::scope(|scope| {
        for (port, listener) in &listeners {
            let answer = format!("{name} {port}\n");
            scope.spawn(move || {
                for stream in listener.incoming().flatten() {
                    // A caller that went away is no business of ours.
                    let _ = { stream }.write_all(answer.as_bytes());
                }
            });
        }
    });
    Ok(())
}
