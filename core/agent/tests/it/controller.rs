//! A controller made of a table of objects: what the agent may see of one, and no more.

use std::collections::BTreeMap;
use std::net::IpAddr;

use selvage_opflex::ext::{self, Applied, BridgeDomain, Group, Host, Location, Pair, PairPeer};
use selvage_opflex::message::{
    Call, FEATURE, Id, IdentityReply, Listed, Outcome, Refusal, Reply, Role, Update,
};
use selvage_opflex::mo::{Object, Reference};
use selvage_opflex::session::{Limits, Session, SessionEvent, Side};
use selvage_opflex::{Time, Uri};
use selvage_rules::{
    Action, BdId, ClassId, Encapsulation, Gateway, GroupId, Mac, Match, Origin, PortRange, Reason,
    Revision, Room, Rule, RuleId, RuleSetId, ScopeId, Treatment, proto,
};

pub const ADDRESS: &str = "192.0.2.1:8009";
pub const VRF: &str = "uni/tn-shop/ctx-main";
pub const WEB: &str = "uni/tn-shop/ap-store/epg-web";
pub const DB: &str = "uni/tn-shop/ap-store/epg-db";
pub const BD_WEB: &str = "uni/tn-shop/BD-web";
pub const BD_DB: &str = "uni/tn-shop/BD-db";
pub const SCOPE: ScopeId = ScopeId(100);
pub const WEB_CLASS: ClassId = ClassId(16386);
pub const DB_CLASS: ClassId = ClassId(16387);

pub struct Controller {
    pub objects: BTreeMap<Uri, Object>,
    pub locations: Vec<Location>,
    pub hosts: Vec<Host>,
    /// What agents declared, by the root's URI.
    pub declared: BTreeMap<Uri, Vec<Object>>,
    pub applied: Vec<Revision>,
    pub revision: Revision,
    /// It knows all endpoints and hosts there are.
    pub settled: bool,
    /// Leave endpoint_declare without an answer.
    pub mute_registry: bool,
    session: Option<Session>,
    next: u64,
}

impl Controller {
    /// A shop: web may reach db on tcp/5432 by the contract sql, which allows nothing else.
    pub fn shop() -> Controller {
        let mut controller = Controller {
            objects: BTreeMap::new(),
            locations: Vec::new(),
            hosts: vec![Host {
                name: "h2".into(),
                tunnel: ip("198.51.100.2"),
                encapsulations: Encapsulation::ALL.into(),
                node: None,
                room: Room::default(),
            }],
            declared: BTreeMap::new(),
            applied: Vec::new(),
            revision: Revision(1),
            settled: true,
            mute_registry: false,
            session: None,
            next: 1,
        };
        controller.put(vrf());
        controller.put(bridge_domain(BD_WEB, 201, &["10.1.0.1/24", "2001:db8:1::1/64"]));
        controller.put(bridge_domain(BD_DB, 202, &["10.2.0.1/24"]));
        for set in [forward(), backward()] {
            controller.put(set.to_objects());
        }
        controller.put(group(WEB).to_objects());
        controller.put(group(DB).to_objects());
        controller
    }

    pub fn put(&mut self, objects: Vec<Object>) {
        self.objects.extend(objects.into_iter().map(|object| (object.uri.clone(), object)));
    }

    pub fn connect(&mut self, now: Time) -> Vec<u8> {
        let feature = serde_json::json!({ "features": [FEATURE] });
        let reply = IdentityReply {
            name: "ctl".into(),
            domain: "selvage".into(),
            your_location: None,
            data: feature.as_object().cloned(),
            my_role: Role::CONTROLLER.to_vec(),
            peers: vec![Listed {
                role: Role::CONTROLLER.to_vec(),
                connectivity_info: ADDRESS.into(),
            }],
        };
        let mut session = Session::start(Side::Server(reply), Limits::SERVER, 1, now);
        let hello = session.take_output();
        self.session = Some(session);
        hello
    }

    pub fn hang_up(&mut self) {
        self.session = None;
    }

    pub fn receive(&mut self, bytes: &[u8], now: Time) -> Vec<u8> {
        let Some(session) = &mut self.session else { return Vec::new() };
        for event in session.receive(bytes, now) {
            match event {
                SessionEvent::Request { id, call } => {
                    if let Some(outcome) = self.serve(call) {
                        self.session.as_mut().unwrap().respond(&id, &outcome);
                    }
                }
                SessionEvent::Closed(reason) => panic!("the agent broke the protocol: {reason}"),
                SessionEvent::Ready(_) | SessionEvent::Response { .. } => {}
            }
        }
        self.session.as_mut().unwrap().take_output()
    }

    fn serve(&mut self, call: Call) -> Option<Outcome> {
        Some(match call {
            Call::PolicyResolve(asked) => {
                let mut found: Vec<Object> =
                    asked.iter().flat_map(|r| self.subtree(&r.target.uri)).collect();
                found.push(ext::revision_object(self.revision));
                Ok(Reply::Policy(found))
            }
            Call::EndpointDeclare(_) if self.mute_registry => return None,
            Call::EndpointDeclare(list) => self.declare(list),
            Call::EndpointUndeclare(gone) => {
                for reference in gone {
                    self.declared.remove(&reference.uri);
                }
                Ok(Reply::Empty)
            }
            Call::EndpointResolve(asked) => {
                let hosts = ext::hosts_uri();
                let mut found: Vec<Object> = match asked.first() {
                    Some(r) if r.target.uri == hosts => {
                        self.hosts.iter().flat_map(Host::to_objects).collect()
                    }
                    _ => self.locations.iter().map(Location::location_object).collect(),
                };
                found.push(ext::registry_object(self.settled));
                Ok(Reply::Endpoint(found))
            }
            Call::StateReport(objects) => {
                for object in &objects {
                    self.applied.push(Applied::from_object(object).unwrap().revision);
                }
                Ok(Reply::Empty)
            }
            Call::PolicyUnresolve(_) | Call::EndpointUnresolve(_) => Ok(Reply::Empty),
            other => panic!("an agent does not send {other:?}"),
        })
    }

    /// All of a declaration, or none of it.
    fn declare(&mut self, list: Vec<selvage_opflex::message::Declare>) -> Outcome {
        for object in list.iter().flat_map(|d| &d.objects) {
            let Ok(location) = Location::from_object(object) else { continue };
            let clash = self.locations.iter().find(|held| {
                held.vrf == location.vrf && held.ips.iter().any(|ip| location.ips.contains(ip))
            });
            if let Some(held) = clash {
                return Err(Refusal::error(format!("an address belongs to `{}`", held.id().0)));
            }
        }
        for declare in list {
            let root = declare.objects[0].uri.clone();
            self.declared.insert(root, declare.objects);
        }
        Ok(Reply::Empty)
    }

    pub fn declared_locations(&self) -> Vec<Location> {
        let objects = self.declared.values().flatten();
        objects.filter_map(|object| Location::from_object(object).ok()).collect()
    }

    fn subtree(&self, uri: &Uri) -> Vec<Object> {
        self.objects.values().filter(|o| o.uri.is_within(uri.as_str())).cloned().collect()
    }

    /// Makes a commit: `put` replaces what has the same URI, `delete` goes with all below it. Gives
    /// the bytes of the update.
    pub fn commit(&mut self, put: Vec<Vec<Object>>, delete: &[Uri]) -> Vec<u8> {
        self.revision = Revision(self.revision.0 + 1);
        let mut update = Update::default();
        for objects in put {
            let root = objects[0].uri.clone();
            self.objects.retain(|uri, _| !uri.is_within(root.as_str()));
            update.replace.extend(objects.clone());
            self.put(objects);
        }
        for uri in delete {
            for object in self.subtree(uri) {
                self.objects.remove(&object.uri);
                update.delete.push(Reference { subject: object.subject, uri: object.uri });
            }
        }
        update.replace.push(ext::revision_object(self.revision));
        self.push(Call::PolicyUpdate(update))
    }

    /// Puts an endpoint on another host. Gives the bytes of the update.
    pub fn locate(&mut self, location: Location) -> Vec<u8> {
        let object = location.location_object();
        self.locations.push(location);
        self.push(Call::EndpointUpdate(Update { replace: vec![object], ..Update::default() }))
    }

    fn push(&mut self, call: Call) -> Vec<u8> {
        let Some(session) = &mut self.session else { return Vec::new() };
        session.request(&Id::new(call.method(), self.next), &call);
        self.next += 1;
        session.take_output()
    }
}

pub fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub fn vrf() -> Vec<Object> {
    let (pairs, outside) = (Vec::new(), selvage_rules::Outside::default());
    ext::Vrf { name: VRF.into(), scope: SCOPE, pairs, outside, arms: Default::default() }
        .to_objects()
}

pub fn bridge_domain(dn: &str, number: u32, gateways: &[&str]) -> Vec<Object> {
    let gateway = |text: &&str| {
        let (ip, len) = text.split_once('/').unwrap();
        Gateway { ip: ip.parse().unwrap(), prefix_len: len.parse().unwrap() }
    };
    let bd = BridgeDomain {
        name: dn.into(),
        id: BdId(number),
        mac: "00:22:bd:f8:19:ff".parse().unwrap(),
        routed: true,
        vrf: VRF.into(),
        gateways: gateways.iter().map(gateway).collect(),
        arms: Default::default(),
    };
    bd.to_objects()
}

/// The group with this DN, and the pairs of the shop that it takes part in.
pub fn group(dn: &str) -> Group {
    let (class, bd, other) = match dn {
        WEB => (WEB_CLASS, BD_WEB, peer(DB, DB_CLASS, BdId(202))),
        _ => (DB_CLASS, BD_DB, peer(WEB, WEB_CLASS, BdId(201))),
    };
    let pair = |src, dst, rule_set| Pair { src, dst, rule_set, peer: Some(other.clone()) };
    Group {
        name: dn.into(),
        class,
        encap: GroupId(u32::from(class.0)),
        within: ext::Within::BridgeDomain(bd.into()),
        pairs: vec![
            pair(WEB_CLASS, DB_CLASS, RuleSetId(1)),
            pair(DB_CLASS, WEB_CLASS, RuleSetId(2)),
        ],
    }
}

fn peer(name: &str, class: ClassId, bd: BdId) -> PairPeer {
    PairPeer { name: name.into(), class, encap: GroupId(u32::from(class.0)), bd: Some(bd) }
}

pub fn forward() -> ext::RuleSet {
    rule_set(1, false)
}

pub fn backward() -> ext::RuleSet {
    rule_set(2, true)
}

fn rule_set(number: u32, reverse: bool) -> ext::RuleSet {
    let port = PortRange::one(5432);
    let (sport, dport) = if reverse { (port, PortRange::ANY) } else { (PortRange::ANY, port) };
    let rule = Rule {
        id: RuleId(number),
        priority: 100,
        matches: Match { proto: Some(proto::TCP), sport, dport, ..Match::EVERYTHING },
        action: Action::Permit,
        reason: Reason::Contract,
        stateful: false,
        log: false,
        treatment: Treatment::default(),
    };
    let origin = Origin {
        dn: "uni/tn-shop/brc-sql/subj-tcp".into(),
        entry: "uni/tn-shop/flt-sql/e-sql".into(),
        reverse,
    };
    ext::RuleSet {
        set: selvage_rules::RuleSet::new(RuleSetId(number), vec![rule]),
        origins: BTreeMap::from([(RuleId(number), origin)]),
    }
}

/// `db-9` on host `h2`, at `address`.
pub fn remote_db(address: &str) -> Location {
    Location {
        agent: "h2".into(),
        endpoint: selvage_rules::EndpointId("db-9".into()),
        group: DB.into(),
        class: DB_CLASS,
        encap: GroupId(u32::from(DB_CLASS.0)),
        bridge_domain: BD_DB.into(),
        bd: BdId(202),
        vrf: VRF.into(),
        mac: Mac([2, 0, 0, 0, 9, 9]),
        ips: vec![ip(address)],
        tunnel: ip("198.51.100.2"),
    }
}
