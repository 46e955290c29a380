//! The live judge: the very programs that packets meet, loaded once more over the same policy, and
//! run by BPF_PROG_TEST_RUN on frames that nobody sent.
//!
//! What packets read is shared with the programs that are attached: ports, endpoints, networks,
//! tunnels, pairs, rules, the generation. What packets write is not: a rehearsal has connections,
//! counters and events of its own, and they end with it. So it is seen by no user, and no user's
//! connection changes what it says.

use selvage_agent::datapath::PlaneError;
use selvage_agent::judge::{At, Case, Opinion, Outer};
use selvage_rules::{Reason, RuleId};

use crate::config::Config;
use crate::error::{Result, refused};
use crate::layout::address_of;
use crate::maps::{self, Maps, Programs, Use};
use crate::program::Run;

/// The programs, attached to nothing.
#[derive(Debug)]
pub struct Rehearsal {
    maps: Maps,
    programs: Programs,
}

impl Rehearsal {
    /// Loads them over what is pinned in `config.pin_dir`.
    pub(crate) fn load(config: &Config) -> Result<Rehearsal> {
        let (maps, programs) = maps::load(config, Use::Rehearse)?;
        Ok(Rehearsal { maps, programs })
    }

    /// What becomes of the packet of `case`; if that answers a connection, after the packet which
    /// opens it. Interface indices are those of the calling thread's network namespace.
    pub fn judge(&self, case: &Case) -> Result<Opinion> {
        self.forget()?;
        if let Some(opening) = case.opening() {
            self.send(&opening)?;
        }
        self.send(case)
    }

    /// Forgets the connections that were opened.
    pub fn forget(&self) -> Result<()> {
        self.maps.connections.clear()
    }

    /// What becomes of the packet of `case`, among the connections that were opened before.
    pub fn send(&self, case: &Case) -> Result<Opinion> {
        let frame = case.frame().ok_or_else(|| PlaneError::Unsupported {
            feature: format!("an address of the packet's family ({:#06x})", case.packet.ether.0),
            hint: "both ends need one".to_owned(),
        })?;
        let run = match (case.from.at, case.outer()) {
            (At::Port(ifindex), _) => self.programs.from_endpoint.run_on_packet(&frame, ifindex, 1),
            (At::Host { .. }, outer) => {
                let (mark, words) = outer.map(|outer| words_of(&outer)).unwrap_or_default();
                self.programs.from_overlay.run_from_tunnel(&frame, mark, words)
            }
        };
        opinion(&run?)
    }
}

/// An outer header as `rehearse_outer` in `bpf/selvage.bpf.c` reads it: the mark is 0 where there is
/// no group policy header, and its upper half is not 0 where there is one.
fn words_of(outer: &Outer) -> (u32, [u32; 5]) {
    let mark = outer.class.map_or(0, |class| 1 << 16 | u32::from(class.0));
    let mut words = [outer.vni, 0, 0, 0, 0];
    let address = address_of(outer.tunnel).bytes;
    let (parts, _) = address.as_chunks::<4>();
    let parts = parts.iter().map(|bytes| u32::from_ne_bytes(*bytes));
    words.iter_mut().skip(1).zip(parts).for_each(|(word, part)| *word = part);
    (mark, words)
}

/// The reason and the rule that a rehearsal left.
fn opinion(run: &Run) -> Result<Opinion> {
    let (reason, rule) = run.left;
    let known = u8::try_from(reason).ok().and_then(Reason::from_code);
    let reason = known.ok_or_else(|| {
        refused("judge a packet".to_owned(), format!("the program left reason {reason}"))
    })?;
    Ok(Opinion { reason, rule: (rule != 0).then_some(RuleId(rule)) })
}
