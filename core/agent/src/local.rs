//! The local socket: what programs on the host ask of the agent, and what it answers.
//!
//! One JSON object a line, both ways, over a unix stream socket. A connection carries any number of
//! requests, answered in order. Each request is one [`Request`]; it gets one [`Response`], except
//! `drops`: that gets a [`Response::Drop`] for each remembered drop and then [`Response::End`], or,
//! when following, one for each further drop until the connection is closed.
//!
//! ```text
//! > {"attach":{"id":"web-7","epg":"shop/store/web","netns":"/proc/4711/ns/net","ifname":"eth0"}}
//! < {"attached":{"id":"web-7","mac":"02:5e:...","addresses":[...],...}}
//! > {"detach":{"id":"web-8"}}
//! < {"error":{"code":"no-such-endpoint","message":"...","hint":"..."}}
//! ```

mod ahead;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use selvage_rules::{ClassId, EndpointId, Mac, Packet, Prefix, Reason, Revision, RuleId, ScopeId};
use serde::{Deserialize, Serialize};

pub use ahead::{GroupQuestion, GroupView, Reserve, SubnetView};

use crate::datapath::{Count, Direction, Drift, Usage};
use crate::judge::Opinion;

/// The longest line either side accepts, in bytes.
pub const MAX_LINE: usize = 1 << 20;

/// What a program on the host asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Make an endpoint of a network namespace. Answered when its policy is in force.
    Attach(Attach),
    /// Remove an endpoint and its link, or give back its addresses.
    Detach(Detach),
    /// Make addresses an endpoint's own, ahead of its attach. Answered when the registry took them.
    Reserve(Reserve),
    /// What is this group?
    Group(GroupQuestion),
    /// The endpoints of this host.
    List(Nothing),
    /// The packets dropped lately.
    Drops(Drops),
    /// How the agent is.
    Status(Nothing),
    /// Compare what the data plane has installed with what is desired.
    Audit(Nothing),
    /// What the judges of this host's data plane say about one packet.
    Judge(Judge),
}

/// What the agent answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Response {
    /// To `attach`: the endpoint is there and enforced.
    Attached(Box<EndpointView>),
    /// To `detach`: it is gone.
    Detached(Detach),
    /// To `reserve`: the endpoint has its addresses, and no link.
    Reserved(Box<EndpointView>),
    /// To `group`.
    Group(Box<GroupView>),
    /// To `list`.
    Endpoints(Vec<EndpointView>),
    /// To `status`.
    Status(Box<StatusView>),
    /// To `audit`.
    Audit(AuditView),
    /// To `drops`: one dropped packet.
    Drop(Box<DropView>),
    /// To `drops`, while following: this many drops were left out because they were not read in
    /// time.
    Lost(u64),
    /// To `drops`, when not following: that was the last.
    End(Nothing),
    /// To `judge`.
    Judged(Box<Judged>),
    /// To any request: it did not work.
    Error(Refusal),
}

/// What the data plane has installed, against what is desired.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditView {
    /// Which data plane.
    pub dataplane: String,
    /// The revision that is desired; `None` when this agent has asked the data plane for nothing
    /// yet, so that there is nothing to compare with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desired: Option<Revision>,
    /// The revision that is installed; `None` on a fresh data plane.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub installed: Option<Revision>,
    /// Tables that differ; empty when all agree.
    pub drift: Vec<Drift>,
}

/// An empty object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// Make an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attach {
    /// Its name on this host.
    pub id: EndpointId,
    /// Its group: `TENANT/APP/EPG`, or a DN (`uni/tn-TENANT/ap-APP/epg-EPG`).
    pub epg: String,
    /// Path of the network namespace to make the link in.
    pub netns: PathBuf,
    /// Name of the link in that namespace, at most 15 bytes.
    #[serde(default = "default_ifname")]
    pub ifname: String,
    /// Addresses asked for. A family none is asked for gets one from the subnets of its bridge
    /// domain.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ip: Vec<IpAddr>,
    /// MAC asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<Mac>,
    /// Prefixes to choose addresses from: only a family that has one here gets an address. When
    /// empty, all subnets of the bridge domain.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub from: Vec<Prefix>,
    /// Leave the endpoint's end of the link in the agent's own namespace, as `ifname`, down and bare:
    /// whoever asks moves it to `netns`, and gives it the MAC and the addresses of the answer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub handover: bool,
    /// How long to try, in milliseconds, before giving up and cleaning up; 10 s when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
}

fn default_ifname() -> String {
    "eth0".to_owned()
}

/// Remove an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Detach {
    /// Its name on this host.
    pub id: EndpointId,
}

/// Which drops to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drops {
    /// Go on with further drops as they happen.
    #[serde(default)]
    pub follow: bool,
}

/// One packet to be judged. Nothing is sent, counted or remembered for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Judge {
    /// Who sends it.
    pub from: End,
    /// Whom it is for. One of the two must be on this host.
    pub to: End,
    /// Its headers.
    pub packet: Packet,
    /// If it answers a connection: what the receiver had sent before to open it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answers: Option<Packet>,
}

/// An endpoint, wherever it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct End {
    /// DN of its bridge domain.
    pub bridge_domain: String,
    /// Its MAC.
    pub mac: Mac,
}

/// What the judges of a host's data plane say about a packet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judged {
    /// The host.
    pub host: String,
    /// Its data plane.
    pub dataplane: String,
    /// The commit in force.
    pub revision: Revision,
    /// Where the host meets the packet: at the sender's port, or out of the tunnel.
    pub direction: Direction,
    /// What is installed, read back and evaluated in Rust.
    pub lowered: Said,
    /// The plane itself.
    pub live: Said,
}

/// What one judge says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// The reason of the verdict, and the rule.
    #[serde(flatten)]
    pub opinion: Opinion,
    /// DN of the object that the rule was made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// DN of the filter entry, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<String>,
}

/// Where an endpoint is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Its addresses are its own; it has no link yet.
    Reserved,
    /// Its link is being made, or its policy is on the way.
    Resolving,
    /// Its policy is here and being programmed.
    Programming,
    /// Its policy is in force.
    Ready,
    /// Nothing passes; [`EndpointView::fault`] says why.
    Quarantined,
    /// It is being removed.
    Leaving,
}

/// One address of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// The address.
    pub ip: IpAddr,
    /// Length of its subnet's prefix, in bits.
    pub prefix_len: u8,
    /// The gateway of its subnet; `None` where the bridge domain does not route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
}

/// One endpoint of this host, as its agent sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointView {
    /// Its name on this host.
    pub id: EndpointId,
    /// The host.
    pub host: String,
    /// DN of its group.
    pub group: String,
    /// DN of its bridge domain, once known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bridge_domain: Option<String>,
    /// DN of its VRF, once known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vrf: Option<String>,
    /// Its class within the VRF, once known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<ClassId>,
    /// Scope of the VRF, once known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<ScopeId>,
    /// Where it is in its life.
    pub stage: Stage,
    /// What is wrong with it, if anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<Refusal>,
    /// Its MAC.
    pub mac: Mac,
    /// Its addresses.
    pub addresses: Vec<Address>,
    /// Path of its network namespace, as it was asked for.
    pub netns: PathBuf,
    /// Name of its link in its namespace.
    pub ifname: String,
    /// Name of the host's end of the link.
    pub host_ifname: String,
    /// Interface index of the host's end.
    pub ifindex: u32,
    /// Greatest packet of its link, in bytes.
    pub mtu: u32,
    /// The revision in force for it.
    pub revision: Revision,
    /// How long its attach took. Absent for one that was taken over after a restart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timings: Option<Timings>,
}

/// How long an attach took: microseconds from the request to each step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Timings {
    /// Its link exists, in quarantine.
    pub linked_us: u64,
    /// Its policy is complete and its addresses are chosen.
    pub resolved_us: u64,
    /// The registry took its declaration.
    pub declared_us: u64,
    /// Its identity and policy are in force.
    pub enforced_us: u64,
    /// Its link is up, with addresses and routes: it can speak. This is when the answer leaves.
    pub ready_us: u64,
}

/// How the agent is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusView {
    /// The host's name.
    pub host: String,
    /// Version of the agent.
    pub version: String,
    /// Process id of the agent.
    pub pid: u32,
    /// How long it has been running, in milliseconds.
    pub uptime_ms: u64,
    /// Its tunnel address.
    pub tunnel: IpAddr,
    /// Which data plane enforces.
    pub dataplane: String,
    /// Its controller.
    pub controller: ControllerView,
    /// The last commit that touched this host, as far as it has arrived.
    pub desired: Revision,
    /// The commit in force.
    pub applied: Revision,
    /// Microseconds from the arrival of the last update to its being in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub apply_us: Option<u64>,
    /// How many endpoints are in each stage.
    pub endpoints: BTreeMap<Stage, u64>,
    /// How many endpoints of other hosts are known.
    pub remotes: u64,
    /// How many other hosts are known.
    pub peers: u64,
    /// Packets by the reason of their verdict.
    pub reasons: BTreeMap<Reason, Count>,
    /// Packets each rule decided about, with the rule's origin.
    pub rules: Vec<RuleView>,
    /// How full each table of the data plane is.
    pub tables: BTreeMap<String, Usage>,
    /// What is wrong, if anything.
    pub faults: Vec<Refusal>,
}

/// The controller, as the agent sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControllerView {
    /// Its OpFlex address, as configured.
    pub address: String,
    /// Whether a session stands.
    pub connected: bool,
    /// For how long that has been so, in milliseconds.
    pub since_ms: u64,
    /// Why no session stands, if none does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What one rule did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleView {
    /// The rule.
    pub rule: RuleId,
    /// DN of the object it was made from.
    pub dn: String,
    /// DN of the filter entry, if there is one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub entry: String,
    /// It is the rule for the way back.
    pub reverse: bool,
    /// What it decided about.
    pub count: Count,
}

/// One packet that was dropped, or passed by a rule that logs, in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropView {
    /// When, in milliseconds since 1970-01-01 UTC.
    pub time_ms: u64,
    /// All of it in one sentence.
    pub text: String,
    /// The host that decided.
    pub host: String,
    /// Why.
    pub reason: Reason,
    /// Where.
    pub direction: Direction,
    /// Who sent it.
    pub src: Party,
    /// Whom it was for.
    pub dst: Party,
    /// The service: `tcp/5432`, `icmp echo-request`, `arp`.
    pub service: String,
    /// IP protocol; `None` where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proto: Option<u8>,
    /// The rule that denied it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<RuleId>,
    /// The contract that decided: DN of the subject the rule was made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// The contract that comes nearest to allowing it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nearest: Option<Nearest>,
    /// Outer source address of a packet out of the tunnel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tunnel: Option<IpAddr>,
    /// Length in bytes.
    pub length: u32,
}

/// One end of a dropped packet. What is unknown is absent.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Party {
    /// Name of the endpoint on its host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Its host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// DN of its group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Class of its group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<ClassId>,
    /// MAC in the packet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<Mac>,
    /// Address in the packet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<IpAddr>,
    /// Port in the packet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

/// A contract that comes near to allowing a dropped packet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nearest {
    /// Name of the contract.
    pub contract: String,
    /// DN of the subject.
    pub dn: String,
    /// What it allows: `tcp/3306`.
    pub allows: String,
    /// It allows that the other way round, from the receiver to the sender.
    pub reverse: bool,
}

/// Why something did not work, for the person who must act.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, thiserror::Error,
)]
#[error("{message}")]
pub struct Refusal {
    /// For programs.
    pub code: Code,
    /// For people: lower case, no full stop.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Refusal {
    /// A refusal without a hint.
    pub fn new(code: Code, message: impl Into<String>) -> Refusal {
        Refusal { code, message: message.into(), hint: None }
    }

    /// What to do about it.
    pub fn hint(mut self, hint: impl Into<String>) -> Refusal {
        self.hint = Some(hint.into());
        self
    }
}

/// What went wrong, for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// The line was no request.
    BadRequest,
    /// The fabric has no such group, or the group has no bridge domain, and by that no network.
    NoSuchEpg,
    /// The group is not known here, and the controller cannot be asked.
    NotReady,
    /// An endpoint of that name is on this host already.
    Exists,
    /// No endpoint of that name is on this host.
    NoSuchEndpoint,
    /// The network namespace cannot be opened.
    NoSuchNamespace,
    /// Another endpoint has the address that was asked for.
    AddressTaken,
    /// The address is in no subnet of the bridge domain, or is not one an endpoint can have.
    BadAddress,
    /// No address is left in the subnets of the bridge domain.
    NoAddress,
    /// The addresses are in use, but the registry has not confirmed them yet.
    Unconfirmed,
    /// The link could not be made.
    Link,
    /// The data plane could not do it.
    DataPlane,
    /// The data plane cannot enforce some of the policy; that part denies.
    Unsupported,
    /// It took longer than it may.
    Deadline,
    /// It was given up before it was ready: detached, or nobody waits for it any more.
    Cancelled,
    /// The agent is stopping.
    Stopping,
    /// A file of the state directory could not be read or written.
    State,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_requests_are_the_documented_lines() {
        let attach = r#"{"attach":{"id":"web-7","epg":"shop/store/web","netns":"/proc/1/ns/net"}}"#;
        let Request::Attach(request) = serde_json::from_str(attach).unwrap() else {
            panic!("not an attach");
        };
        assert_eq!((&*request.id.0, request.ifname.as_str()), ("web-7", "eth0"));
        assert_eq!(
            serde_json::from_str::<Request>(r#"{"drops":{"follow":true}}"#).unwrap(),
            Request::Drops(Drops { follow: true })
        );
        assert_eq!(serde_json::to_string(&Request::List(Nothing {})).unwrap(), r#"{"list":{}}"#);
        for bad in [r#"{"attach":{"id":"a"}}"#, r#"{"status":{"x":1}}"#, r#"{"stop":{}}"#] {
            assert!(serde_json::from_str::<Request>(bad).is_err(), "{bad} was accepted");
        }
    }

    #[test]
    fn an_error_is_code_message_and_hint() {
        let refusal = Refusal::new(Code::NoSuchEpg, "no EPG `a/b/c`").hint("see `selvage get epg`");
        let text = serde_json::to_string(&Response::Error(refusal)).unwrap();
        assert_eq!(
            text,
            r#"{"error":{"code":"no-such-epg","message":"no EPG `a/b/c`","hint":"see `selvage get epg`"}}"#
        );
    }
}
