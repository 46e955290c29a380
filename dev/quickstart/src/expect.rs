//! What the policy says, asked of the oracle.

use std::path::Path;

use anyhow::{Result, anyhow};
use selvage_model::{Post, Stamp, Tree, apply, initial_tree, manifest};
use selvage_oracle::{Endpoint, Judgement, State, Verdict, judge};
use selvage_rules::{EtherType, Packet, TcpFlags};
use selvage_testkit::probe::What;

/// A policy as the oracle reads it.
pub struct Policy(Tree);

/// What should come of a probe, and who says so.
#[derive(Debug, Clone)]
pub struct Expected {
    /// The probe is answered.
    pub reaches: bool,
    /// The contract that allows it, or the reason that denies it.
    pub because: String,
}

/// A source port of the kind a kernel gives to connections.
const EPHEMERAL: u16 = 40_000;

impl Policy {
    /// Reads the policy from the file that is applied.
    pub fn read(path: &Path) -> Result<Policy> {
        let text = std::fs::read_to_string(path)?;
        let manifest =
            manifest::parse(&text).map_err(|wrong| anyhow!("{}: {wrong:?}", path.display()))?;
        let mut tree = initial_tree();
        let post = Post { children: manifest.posts, ..Post::new("polUni") };
        let at = "uni".parse().ok();
        apply(&mut tree, Stamp::new("never", "0"), at.as_ref(), &post)
            .map_err(|wrong| anyhow!("{}: {wrong:?}", path.display()))?;
        Ok(Policy(tree))
    }

    /// What should come of a probe: both its question and the answer must pass.
    pub fn expect(&self, from: &str, to: &str, what: What, family: EtherType) -> Expected {
        let (from, to) = (Endpoint::of(from), Endpoint::of(to));
        let (question, answer) = packets(what, family);
        let there = judge(&self.0, &from, &to, &question, State::New);
        let back = judge(&self.0, &to, &from, &answer, State::Established { opening: question });
        let reaches = [&there, &back].iter().all(|j| j.verdict == Verdict::Allow);
        let decisive = if there.verdict == Verdict::Allow && !reaches { &back } else { &there };
        Expected { reaches, because: words(decisive) }
    }
}

fn packets(what: What, family: EtherType) -> (Packet, Packet) {
    match what {
        What::Tcp(port) => {
            let question = Packet::tcp_syn(family, EPHEMERAL, port);
            let flags = TcpFlags(TcpFlags::SYN.0 | TcpFlags::ACK.0);
            let answer = Packet { tcp_flags: flags, ..Packet::tcp_syn(family, port, EPHEMERAL) };
            (question, answer)
        }
        What::Ping => {
            let question = Packet::echo_request(family);
            let reply = if family == EtherType::IPV6 { 129 } else { 0 };
            (question, Packet { icmp_type: reply, ..question })
        }
    }
}

/// The contract's name where one allowed it, else the reason.
fn words(judgement: &Judgement) -> String {
    let contract =
        judgement.because.iter().flat_map(|dn| dn.rns()).find_map(|rn| rn.strip_prefix("brc-"));
    match contract {
        Some(name) => name.to_owned(),
        None => judgement.reason.name().to_owned(),
    }
}
