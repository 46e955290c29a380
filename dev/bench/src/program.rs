//! What the programs cost by themselves: nanoseconds by `BPF_PROG_TEST_RUN`, as the table grows.

use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::{Result, ensure};
use selvage_ebpf::Program;
use selvage_rules::Mac;

use crate::path::{self, CLIENT, SERVER};
use crate::policy::{STATELESS, table};
use crate::progress::Progress;
use crate::report::{Promise, Row, Section};
use crate::stats::Median;

/// Policy entries of the tables.
const SIZES: [usize; 4] = [10, 1_000, 100_000, 1_000_000];

/// How often a hot packet runs each round.
const REPEAT: i32 = 20_000;

/// New flows each round.
const FLOWS: u16 = 400;

/// TC_ACT_REDIRECT: the packet goes on to the other workload.
const REDIRECT: u32 = 7;

/// The promises of one packet, in nanoseconds.
const HOT: f64 = 200.0;
const NEW: f64 = 1500.0;

/// How much a hot packet may cost more in the largest table than in the smallest.
const GROWTH: f64 = 1.05;

const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

struct Bed {
    entries: usize,
    host: path::Host,
    client: u32,
    server: u32,
    _workloads: [path::Space; 2],
}

/// Nanoseconds by what is measured, then by table size, then by round.
type Measured = Vec<(String, f64, Vec<Vec<f64>>)>;

/// Measures every table size in every round.
pub fn measure(rounds: usize, progress: &Progress) -> Result<Section> {
    let mut beds = Vec::new();
    for entries in SIZES {
        progress.step(&format!("a table of {entries} entries"))?;
        beds.push(bed(entries)?);
    }
    let mut measured: Measured = Vec::new();
    for round in 0..rounds {
        progress.step(&format!("programs, round {} of {rounds}", round + 1))?;
        for at in 0..beds.len() {
            // Another one goes first each round.
            let at = (at + round) % beds.len();
            let Some(bed) = beds.get_mut(at) else { continue };
            for (what, promise, nanoseconds) in once(bed, round)? {
                let row = match measured.iter().position(|(name, ..)| *name == what) {
                    Some(row) => row,
                    None => {
                        measured.push((what, promise, vec![Vec::new(); SIZES.len()]));
                        measured.len() - 1
                    }
                };
                if let Some(values) =
                    measured.get_mut(row).and_then(|(.., sizes)| sizes.get_mut(at))
                {
                    values.push(nanoseconds);
                }
            }
        }
    }
    Ok(section(&measured))
}

fn section(measured: &Measured) -> Section {
    let mut section = Section::new("program alone, by policy entries", "ns");
    for (what, promise, sizes) in measured {
        for (entries, values) in SIZES.iter().zip(sizes) {
            let row = Row::new(format!("{what}, {entries} entries"), Median::of(values));
            section.rows.push(row.at_most(*promise));
        }
    }
    for (what, _, sizes) in measured.iter().filter(|(what, ..)| !what.contains("new")) {
        let (Some(small), Some(large)) = (sizes.first(), sizes.last()) else { continue };
        let ratio = Median::of_ratios(large, small);
        let mut row = Row::new(format!("{what}, largest table : smallest"), ratio);
        row.unit = Some("ratio".to_owned());
        section.rows.push(row.judged(Promise::AtMost(GROWTH)));
    }
    section
}

fn bed(entries: usize) -> Result<Bed> {
    let room = u32::try_from(entries)?.max(1024) * 5 / 4;
    let (host, workloads) = path::single(table(entries), |config| {
        config.sizes.pairs = room;
        config.sizes.connections = 65_536;
    })?;
    let port = |name: &str| {
        let locals = &host.desired.locals;
        locals.iter().find(|(id, _)| &*id.0 == name).map_or(0, |(_, local)| local.ifindex)
    };
    let (client, server) = (port("client"), port("server"));
    Ok(Bed { entries, host, client, server, _workloads: workloads })
}

/// One round over one table.
fn once(bed: &mut Bed, round: usize) -> Result<Vec<(String, f64, f64)>> {
    let mut found = Vec::new();
    let Bed { entries, host, client, server, .. } = bed;
    for v6 in [false, true] {
        let family = if v6 { "IPv6" } else { "IPv4" };
        let there = |sport, dport, flags| frame(v6, true, sport, dport, flags);
        let home = |sport, dport, flags| frame(v6, false, sport, dport, flags);
        let program = &host.plane.programs().from_endpoint;
        let hot = [
            ("hot packet, stateful", *client, there(4000, 5001, SYN), there(4000, 5001, ACK)),
            ("hot packet, reply", *server, home(5001, 4000, ACK), home(5001, 4000, ACK)),
            (
                "hot packet, stateless",
                *client,
                there(4000, STATELESS, ACK),
                there(4000, STATELESS, ACK),
            ),
        ];
        for (what, port, first, frame) in hot {
            let nanoseconds = host.space.ns.run(|| {
                run(program, &first, port, 1, *entries)?;
                run(program, &frame, port, REPEAT, *entries)
            })??;
            found.push((format!("{what}, {family}"), HOT, nanoseconds));
        }
        let base = 10_000 + u16::try_from(round % 100)? * FLOWS;
        let new = host.space.ns.run(|| {
            let times: Result<Vec<f64>> = (base..base + FLOWS)
                .map(|sport| run(program, &there(sport, 5001, SYN), *client, 1, *entries))
                .collect();
            times.map(|times| Median::of(&times).median)
        })??;
        found.push((format!("new flow, {family}"), NEW, new));
    }
    bed.host.forget()?;
    Ok(found)
}

fn run(program: &Program, frame: &[u8], port: u32, repeat: i32, entries: usize) -> Result<f64> {
    let run = program.run_on_packet(frame, port, repeat)?;
    ensure!(run.returned == REDIRECT, "a packet was not passed on, with {entries} entries");
    Ok(run.nanoseconds.into())
}

/// A TCP segment between the workloads, as the host's end of a link sees it.
fn frame(v6: bool, forward: bool, sport: u16, dport: u16, flags: u8) -> Vec<u8> {
    let end = |number: u8, v4: Ipv4Addr| {
        let v6 = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, number.into());
        (Mac([2, 0x5e, 0, 0, 0, number]), v4, v6)
    };
    let (client, server) = (end(1, CLIENT), end(2, SERVER));
    let (from, to) = if forward { (client, server) } else { (server, client) };
    let mut bytes = Vec::with_capacity(80);
    bytes.extend(to.0.0);
    bytes.extend(from.0.0);
    if v6 {
        bytes.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 20, 6, 64]);
        bytes.extend(from.2.octets());
        bytes.extend(to.2.octets());
    } else {
        bytes.extend([8, 0, 0x45, 0, 0, 40, 0, 1, 0, 0, 64, 6, 0, 0]);
        bytes.extend(from.1.octets());
        bytes.extend(to.1.octets());
        let sum = checksum(bytes.get(14..34).unwrap_or_default());
        bytes.splice(24..26, sum.to_be_bytes());
    }
    bytes.extend(sport.to_be_bytes());
    bytes.extend(dport.to_be_bytes());
    bytes.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, flags, 1, 0, 0, 0, 0, 0]);
    bytes
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks_exact(2).map(|pair| match pair {
        [high, low] => u32::from(u16::from_be_bytes([*high, *low])),
        _ => 0,
    });
    let sum: u32 = words.sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    !((sum & 0xffff) + (sum >> 16)) as u16
}
