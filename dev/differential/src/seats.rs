//! One host of a fabric, so that a flow between two groups becomes a packet between two endpoints.
//!
//! Every group has three endpoints: two on this host, so that it can be asked about itself, and one
//! elsewhere. A group that the table has not placed is in quarantine, and elsewhere does not exist.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use selvage_agent::judge::{At, Case, Party};
use selvage_rules::{
    BdId, ClassId, Desired, Encapsulation, Endpoint, EndpointId, Group, GroupKey, Local, Mac,
    Packet, Remote, Revision, ScopeId, Source, Table,
};

/// This host's tunnel address.
pub const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
/// The other hosts': the endpoints elsewhere of every second group are on a host that speaks another
/// encapsulation.
pub const THERE: [(IpAddr, Encapsulation); 2] = [
    (IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2)), Encapsulation::Gbp),
    (IpAddr::V4(Ipv4Addr::new(192, 0, 2, 3)), Encapsulation::EpgVni),
];

fn elsewhere(group: usize) -> (IpAddr, Encapsulation) {
    let [even, odd] = THERE;
    if group.is_multiple_of(2) { even } else { odd }
}

/// Which of a group's three endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seat {
    First,
    Second,
    Away,
}

/// How a packet comes to this host, and where it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// From one of its endpoints to another.
    Within,
    /// From one of its endpoints to another host.
    Out,
    /// From another host to one of its endpoints.
    In,
}

impl Route {
    /// All of them.
    pub const ALL: [Route; 3] = [Route::Within, Route::Out, Route::In];
}

/// A packet between two groups, given by their place in the list of groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flow {
    /// The sender's group.
    pub from: usize,
    /// The receiver's group.
    pub to: usize,
    /// Where the two are.
    pub route: Route,
    /// What is sent.
    pub packet: Packet,
    /// What the receiver had sent before.
    pub answers: Option<Packet>,
}

/// The endpoints of a fabric's groups.
pub struct Seats<'a> {
    table: &'a Table,
    keys: Vec<Option<GroupKey>>,
    ports: &'a [u32],
}

impl<'a> Seats<'a> {
    /// Of these groups, given by DN. `ports` are interface indices, two for each group.
    pub fn new(table: &'a Table, groups: &[String], ports: &'a [u32]) -> Seats<'a> {
        let key_of = |dn: &String| {
            table.groups.iter().find(|(_, group)| *group.name == **dn).map(|(key, _)| *key)
        };
        Seats { table, keys: groups.iter().map(key_of).collect(), ports }
    }

    /// What this host must enforce.
    pub fn desired(&self, revision: u64) -> Desired {
        let (mut locals, mut remotes) = (BTreeMap::new(), BTreeMap::new());
        for group in 0..self.keys.len() {
            for seat in [Seat::First, Seat::Second] {
                let endpoint = self.keys.get(group).and_then(|key| *key);
                let endpoint = endpoint.map(|_| self.endpoint(group, seat));
                let local = Local { ifindex: self.port(group, seat), endpoint };
                locals.insert(EndpointId(format!("{group}-{seat:?}").into()), local);
            }
            if self.keys.get(group).is_some_and(Option::is_some) {
                let endpoint = self.endpoint(group, Seat::Away);
                let (tunnel, _) = elsewhere(group);
                let remote = Remote { endpoint, tunnel };
                remotes.insert(EndpointId(format!("there/{group}").into()), remote);
            }
        }
        Desired {
            revision: Revision(revision),
            table: self.table.clone(),
            locals,
            remotes,
            tunnels: THERE.into_iter().collect(),
            sources: self
                .table
                .groups
                .iter()
                .map(|(key, group)| (group.encap, Source { key: *key, bd: group.bd }))
                .collect(),
            ..Desired::default()
        }
    }

    /// The flow as this host meets it; `None` for one that cannot be: from an endpoint elsewhere
    /// that does not exist.
    pub fn case(&self, flow: &Flow) -> Option<Case> {
        let (from, to) = match flow.route {
            Route::Within => (Seat::First, Seat::Second),
            Route::Out => (Seat::First, Seat::Away),
            Route::In => (Seat::Away, Seat::First),
        };
        let sender = self.keys.get(flow.from).copied().flatten();
        let receiver = self.keys.get(flow.to).copied().flatten();
        if sender.is_none() && flow.route == Route::In {
            return None;
        }
        Some(Case {
            scope: sender.or(receiver).map_or(ScopeId(0), |key| key.scope),
            from: self.party(flow.from, from),
            to: self.party(flow.to, to),
            packet: flow.packet,
            answers: flow.answers,
        })
    }

    fn party(&self, group: usize, seat: Seat) -> Party {
        let endpoint = self.endpoint(group, seat);
        let domain = self.table.bridge_domains.get(&endpoint.bd);
        Party {
            gateway: domain.map_or(Mac([0x02, 0, 0, 0, 0xff, 0xff]), |domain| domain.mac),
            group: self.group(group).map(|group| group.encap),
            at: match seat {
                Seat::Away => {
                    let (tunnel, speaks) = elsewhere(group);
                    At::Host { tunnel, speaks }
                }
                Seat::First | Seat::Second => At::Port(self.port(group, seat)),
            },
            endpoint,
        }
    }

    fn group(&self, group: usize) -> Option<&Group> {
        self.keys.get(group).copied().flatten().and_then(|key| self.table.groups.get(&key))
    }

    fn port(&self, group: usize, seat: Seat) -> u32 {
        self.ports.get(group * 2 + usize::from(seat == Seat::Second)).copied().unwrap_or(0)
    }

    fn endpoint(&self, group: usize, seat: Seat) -> Endpoint {
        let number = u8::try_from(group).unwrap_or(u8::MAX);
        let last = match seat {
            Seat::First => 10,
            Seat::Second => 11,
            Seat::Away => 12,
        };
        let key = self.keys.get(group).copied().flatten();
        let bd = self.group(group).and_then(|group| group.bd).unwrap_or(BdId(0));
        Endpoint {
            bd,
            class: key.map_or(ClassId::ANY, |key| key.class),
            mac: Mac([0x02, 0, 0, 0, number, last]),
            ips: vec![
                Ipv4Addr::new(10, 0, number, last).into(),
                Ipv6Addr::new(0x2001, 0xdb8, 0, number.into(), 0, 0, 0, last.into()).into(),
            ],
        }
    }
}
