//! Address pools, as Docker understands them.
//!
//! Docker asks its IPAM driver for a pool before it tells the network driver which EPG the network is
//! for, and `-o` options go to the network driver alone. So a pool is a promise at first: unless the
//! user names a subnet, Docker is told the whole of IPv4 (`0.0.0.0/0`, which its own `null` IPAM uses
//! too), and for IPv6 the discard prefix `100::/64` (RFC 6666), since `::/0` overlaps with every name
//! server that Docker checks pools against. When the network is made the pool is bound to it, and
//! addresses then come from the subnets of its bridge domain.
//!
//! What ties the two together: of a pool the network driver is told no id, only the prefix and the
//! gateway, which has a prefix length of its own. Pools that wait to be bound and look alike are told
//! different lengths.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use selvage_rules::Prefix;
use serde::{Deserialize, Serialize};

use super::wire::PoolChoice;
use crate::local::{Code, Refusal};

/// The one address space: addresses mean the same on every host.
pub(crate) const ADDRESS_SPACE: &str = "selvage";

/// Number of a pool, never used again.
pub(crate) type PoolId = u64;

/// A pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pool {
    pub v6: bool,
    /// The user named its subnet.
    pub given: bool,
    /// Where its addresses come from.
    pub source: Prefix,
    /// The prefix that Docker is told.
    pub shown: Prefix,
    /// The gateway that Docker shows.
    pub gateway: IpAddr,
    /// What its prefix length was said to be.
    token: u8,
    /// The network it is for, once that is known.
    pub network: Option<String>,
}

/// All pools, and the number of the next.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Pools {
    next: PoolId,
    pools: BTreeMap<PoolId, Pool>,
}

impl Pool {
    /// The gateway as Docker is told it.
    pub fn gateway_text(&self) -> String {
        format!("{}/{}", self.gateway, self.token)
    }

    fn looks_like(&self, choice: &PoolChoice) -> bool {
        self.shown.to_string() == choice.pool && self.gateway_text() == choice.gateway
    }
}

impl Pools {
    /// Makes a pool that waits for its network. The gateway is the subnet's first address until
    /// somebody says otherwise.
    pub fn open(&mut self, given: Option<Prefix>, v6: bool) -> Result<PoolId, Refusal> {
        let (source, shown) = match given {
            Some(given) => (given, given),
            None => placeholder(v6)?,
        };
        let gateway = if given.is_some() { first(shown) } else { shown.address() };
        let given = given.is_some();
        let pool = Pool { v6, given, source, shown, gateway, token: 0, network: None };
        let pool = self.tell_apart(pool)?;
        let id = self.next;
        self.next += 1;
        self.pools.insert(id, pool);
        Ok(id)
    }

    /// The user named a gateway.
    pub fn name_gateway(&mut self, id: PoolId, gateway: IpAddr) -> Result<&Pool, Refusal> {
        let unknown = || unknown(&text_of(id));
        let mut pool = self.pools.remove(&id).ok_or_else(unknown)?;
        pool.gateway = gateway;
        let pool = self.tell_apart(pool)?;
        Ok(self.pools.entry(id).or_insert(pool))
    }

    /// The pool by the text that Docker knows it by.
    pub fn find(&self, text: &str) -> Result<(PoolId, &Pool), Refusal> {
        let number = text.strip_prefix("selvage/").and_then(|number| number.parse().ok());
        let found = number.and_then(|id| Some((id, self.pools.get(&id)?)));
        found.ok_or_else(|| unknown(text))
    }

    /// Binds the pools that Docker shows of a new network to it.
    pub fn bind(&mut self, network: &str, choices: &[PoolChoice]) -> Result<(), Refusal> {
        let mut bound = Vec::new();
        for choice in choices {
            let waiting =
                self.pools.iter().filter(|(id, p)| p.network.is_none() && !bound.contains(*id));
            let mut alike = waiting.filter(|(_, pool)| pool.looks_like(choice));
            bound.push(*alike.next().ok_or_else(|| unknown(&choice.pool))?.0);
        }
        for id in bound {
            if let Some(pool) = self.pools.get_mut(&id) {
                pool.network = Some(network.to_owned());
            }
        }
        Ok(())
    }

    /// The pools of a network.
    pub fn of(&self, network: &str) -> impl Iterator<Item = &Pool> {
        self.pools.values().filter(move |pool| pool.network.as_deref() == Some(network))
    }

    /// Removes the pools of a network that is gone.
    pub fn unbind(&mut self, network: &str) {
        self.pools.retain(|_, pool| pool.network.as_deref() != Some(network));
    }

    /// Docker gives a pool back. One that is bound goes with its network, which is deleted next.
    pub fn close(&mut self, text: &str) {
        if let Ok((id, pool)) = self.find(text)
            && pool.network.is_none()
        {
            self.pools.remove(&id);
        }
    }

    /// Forgets pools that wait for networks: Docker was started again and knows nothing of them.
    pub fn forget_waiting(&mut self) {
        self.pools.retain(|_, pool| pool.network.is_some());
    }

    fn tell_apart(&self, mut pool: Pool) -> Result<Pool, Refusal> {
        let most = if pool.v6 { 128 } else { 32 };
        let waiting =
            |p: &&Pool| p.network.is_none() && p.shown == pool.shown && p.gateway == pool.gateway;
        let used: Vec<u8> = self.pools.values().filter(waiting).map(|p| p.token).collect();
        let free = (pool.shown.length()..=most).find(|len| !used.contains(len));
        pool.token = free.ok_or_else(|| {
            Refusal::new(Code::Exists, "too many networks are being made at the same time")
                .hint("try again")
        })?;
        Ok(pool)
    }
}

/// What addresses come from where the user names no subnet, and what Docker is told.
fn placeholder(v6: bool) -> Result<(Prefix, Prefix), Refusal> {
    const DISCARD: Ipv6Addr = Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 0);
    let all = |ip: IpAddr| Prefix::new(ip, 0);
    let both = match v6 {
        true => all(Ipv6Addr::UNSPECIFIED.into()).zip(Prefix::new(DISCARD.into(), 64)),
        false => all(Ipv4Addr::UNSPECIFIED.into()).map(|prefix| (prefix, prefix)),
    };
    both.ok_or_else(|| Refusal::new(Code::BadAddress, "no prefix is that long"))
}

/// The text that Docker knows a pool by.
pub(crate) fn text_of(id: PoolId) -> String {
    format!("selvage/{id}")
}

/// The first address of a subnet that a host can have, where gateways commonly are.
fn first(prefix: Prefix) -> IpAddr {
    match prefix.address() {
        IpAddr::V4(ip) => IpAddr::V4(ip.to_bits().saturating_add(1).into()),
        IpAddr::V6(ip) => IpAddr::V6(ip.to_bits().saturating_add(1).into()),
    }
}

fn unknown(pool: &str) -> Refusal {
    Refusal::new(Code::State, format!("address pool `{pool}` is not known to the agent"))
        .hint("was the agent's state removed? remove the network and create it again")
}
