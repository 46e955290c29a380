//! ICMP and ICMPv6 echo (RFC 792, RFC 4443) over raw sockets.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use socket2::{Domain, Protocol, Socket, Type};

use crate::probe::Outcome;

/// Sends one echo request to each address and waits for the answers, all at once.
pub fn echo(hosts: &[IpAddr], patience: Duration) -> Result<Vec<Outcome>> {
    let mut outcomes = vec![Outcome::Silent; hosts.len()];
    for family in [Family::V4, Family::V6] {
        let mine: BTreeMap<u16, IpAddr> = (0..)
            .zip(hosts)
            .filter(|(_, ip)| ip.is_ipv4() == (family == Family::V4))
            .map(|(index, ip)| (index, *ip))
            .collect();
        if !mine.is_empty() {
            one_family(family, &mine, patience, &mut outcomes)?;
        }
    }
    Ok(outcomes)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    V4,
    V6,
}

impl Family {
    fn socket(self) -> io::Result<Socket> {
        match self {
            Family::V4 => Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)),
            Family::V6 => Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6)),
        }
    }

    fn request(self) -> u8 {
        if self == Family::V4 { 8 } else { 128 }
    }

    fn reply(self) -> u8 {
        if self == Family::V4 { 0 } else { 129 }
    }
}

fn one_family(
    family: Family,
    hosts: &BTreeMap<u16, IpAddr>,
    patience: Duration,
    outcomes: &mut [Outcome],
) -> Result<()> {
    let socket = family.socket().context("opening a raw socket for echo")?;
    // Tells this run's answers from another's on the same host.
    let id = (std::process::id() & 0xffff) as u16;
    let start = Instant::now();
    for (index, ip) in hosts {
        if let Err(error) =
            socket.send_to(&message(family, id, *index), &SocketAddr::new(*ip, 0).into())
            && let Some(outcome) = outcomes.get_mut(usize::from(*index))
        {
            *outcome = Outcome::Failed(error.to_string());
        }
    }
    let mut waiting = hosts.len();
    while waiting > 0 {
        let left = patience.saturating_sub(start.elapsed());
        if left.is_zero() {
            break;
        }
        socket.set_read_timeout(Some(left))?;
        let Some((from, index)) = receive(&socket, family, id)? else { continue };
        let Some(outcome) = outcomes.get_mut(usize::from(index)) else { continue };
        if hosts.get(&index) == Some(&from) && *outcome == Outcome::Silent {
            *outcome = Outcome::Reached { by: String::new(), after: start.elapsed() };
            waiting -= 1;
        }
    }
    Ok(())
}

/// One answer to this run: who sent it, and its sequence number.
fn receive(socket: &Socket, family: Family, id: u16) -> io::Result<Option<(IpAddr, u16)>> {
    let mut buffer = [MaybeUninit::<u8>::uninit(); 512];
    let (length, from) = match socket.recv_from(&mut buffer) {
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            return Ok(None);
        }
        received => received?,
    };
    // SAFETY: recv_from has initialised the first `length` bytes.
    let bytes: Vec<u8> = buffer.iter().take(length).map(|b| unsafe { b.assume_init() }).collect();
    // A raw IPv4 socket gives the IP header too (raw(7)); its length is in the first byte.
    let header = match (family, bytes.first()) {
        (Family::V4, Some(first)) => usize::from(first & 0x0f) * 4,
        _ => 0,
    };
    let Some([kind, _, _, _, id_high, id_low, seq_high, seq_low, ..]) = bytes.get(header..) else {
        return Ok(None);
    };
    let ours = *kind == family.reply() && u16::from_be_bytes([*id_high, *id_low]) == id;
    let from = from.as_socket().map(|address| address.ip());
    Ok(from.filter(|_| ours).map(|ip| (ip, u16::from_be_bytes([*seq_high, *seq_low]))))
}

fn message(family: Family, id: u16, sequence: u16) -> Vec<u8> {
    let mut bytes = vec![family.request(), 0, 0, 0];
    bytes.extend(id.to_be_bytes());
    bytes.extend(sequence.to_be_bytes());
    bytes.extend(b"selvage probe   ");
    if family == Family::V4 {
        // The kernel fills in the checksum of ICMPv6 (RFC 3542, 3.1), not that of ICMP.
        let sum = checksum(&bytes).to_be_bytes();
        if let Some(field) = bytes.get_mut(2..4) {
            field.copy_from_slice(&sum);
        }
    }
    bytes
}

/// The internet checksum (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let sum: u32 = bytes
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => u32::from(u16::from_be_bytes([*high, *low])),
            [high] => u32::from(*high) << 8,
            _ => 0,
        })
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    !(folded as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_sums_to_zero() {
        assert_eq!(checksum(&message(Family::V4, 0x1234, 7)), 0);
    }

    #[test]
    fn loopback_answers_over_both_families() {
        let hosts = ["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()];
        let outcomes = echo(&hosts, Duration::from_secs(5)).unwrap();
        assert!(outcomes.iter().all(|o| matches!(o, Outcome::Reached { .. })), "{outcomes:?}");
    }
}
