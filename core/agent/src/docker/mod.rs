//! The network driver and the address manager of a Docker engine, without sockets.
//!
//! [`Driver`] takes libnetwork's calls and the agent's answers, and says what to ask of the agent,
//! what to keep, and what to reply. A container is an endpoint like any other: its addresses are
//! reserved and its link attached by the requests of the local socket.
//!
//! ```text
//! docker network create    RequestPool       a promise of addresses
//!                          CreateNetwork     <- what is the group?          kept
//! docker run               RequestAddress    <- reserve: the registry has agreed
//!                          CreateEndpoint                                   kept
//!                          Join              <- attach: its policy is in force
//!                          (Docker moves the link into the container and starts it)
//! docker rm                Leave, DeleteEndpoint  <- detach
//!                          ReleaseAddress         <- detach, where it was never created
//! ```
//!
//! Docker never tells a network a second time, not even when it is started again, so networks and
//! endpoints are kept. It also never tells a driver the name of a container: an endpoint is called by
//! its MAC, `docker-0242ac110002`.

mod endpoint;
mod ipam;
mod network;
mod pool;
mod wire;

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use selvage_rules::{EndpointId, Mac, Prefix};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::Ticket;
use crate::local::{Address, Code, GroupQuestion, Refusal, Request, Response};
use endpoint::{Bound, Joining};
use network::Network;
use pool::{ADDRESS_SPACE, Pools};
use wire::{CreateNetwork, Half, OneNetwork};

pub use wire::Reply;

/// Version of what is kept.
pub const VERSION: u32 = 1;

/// What is kept across restarts of the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// [`VERSION`].
    pub version: u32,
    networks: BTreeMap<String, Network>,
    pools: Pools,
    endpoints: BTreeMap<String, Bound>,
}

impl Default for Record {
    fn default() -> Record {
        Record {
            version: VERSION,
            networks: BTreeMap::new(),
            pools: Pools::default(),
            endpoints: BTreeMap::new(),
        }
    }
}

/// Something to be done, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Ask the agent. Answered by [`Driver::answered`].
    Ask(Ticket, Request),
    /// Keep this; it must be durable. Answered by [`Driver::saved`].
    Save(Ticket, Box<Record>),
    /// Answer a call.
    Reply(Ticket, Reply),
}

/// The plugin of one agent.
#[derive(Debug, Default)]
pub struct Driver {
    record: Record,
    /// Addresses that Docker has and has made no endpoint of yet.
    held: BTreeMap<EndpointId, Held>,
    waiting: BTreeMap<Ticket, Waiting>,
    outputs: VecDeque<Output>,
}

/// Reserved addresses.
#[derive(Debug, Clone)]
struct Held {
    network: String,
    addresses: Vec<Address>,
}

/// Addresses that a call asks for.
#[derive(Debug, Clone)]
struct Wanted {
    network: String,
    mac: Mac,
    ip: Vec<IpAddr>,
    v6: bool,
}

/// What a call waits for.
#[derive(Debug)]
enum Waiting {
    /// A new network, for what its group is.
    Network(String, Network),
    /// An address, for its reservation.
    Address(Wanted),
    /// An address, for the end of a reservation that does not fit.
    Amend(Wanted),
    /// A container, for its link.
    Link(Box<Joining>),
    /// A container, for the end of a link that an earlier call left.
    Relink(Box<Joining>),
    /// The end of an endpoint.
    Endpoint(String),
    /// The end of a reservation.
    Release,
    /// Something kept, and the network or endpoint that is not there if it cannot be.
    Saved(Reply, Option<Undo>),
}

/// What is taken back when it cannot be kept.
#[derive(Debug)]
enum Undo {
    Network(String),
    Endpoint(String),
}

impl Driver {
    /// A driver that knows what was kept.
    pub fn new(record: Record) -> Driver {
        Driver { record, ..Driver::default() }
    }

    /// What is to be done next, until there is nothing.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// A call: the path of its URL without the slash, and its body. It is answered by exactly one
    /// [`Output::Reply`].
    pub fn call(&mut self, ticket: Ticket, method: &str, body: &[u8]) {
        let half = if method.starts_with("IpamDriver.") { Half::Ipam } else { Half::Network };
        if let Err(refusal) = self.dispatch(ticket, method, body) {
            self.reply(ticket, Reply::refusal(half, &refusal));
        }
    }

    fn dispatch(&mut self, ticket: Ticket, method: &str, body: &[u8]) -> Result<(), Refusal> {
        let reply = match method {
            "Plugin.Activate" => {
                self.record.pools.forget_waiting();
                Reply::of(&json!({ "Implements": ["NetworkDriver", "IpamDriver"] }))
            }
            "NetworkDriver.GetCapabilities" => Reply::of(&json!({ "Scope": "local" })),
            "NetworkDriver.CreateNetwork" => return self.create_network(ticket, &parse(body)?),
            "NetworkDriver.DeleteNetwork" => {
                self.delete_network(ticket, &parse(body)?);
                return Ok(());
            }
            "NetworkDriver.CreateEndpoint" => return self.create_endpoint(ticket, &parse(body)?),
            "NetworkDriver.DeleteEndpoint" => {
                self.delete_endpoint(ticket, parse(body)?);
                return Ok(());
            }
            "NetworkDriver.Join" => return self.join(ticket, &parse(body)?),
            "NetworkDriver.EndpointOperInfo" => Reply::of(&json!({ "Value": {} })),
            // The link goes when the endpoint does: until then Docker still handles it. What may pass
            // the fabric's border is the policy's to say, not Docker's.
            "NetworkDriver.Leave"
            | "NetworkDriver.ProgramExternalConnectivity"
            | "NetworkDriver.RevokeExternalConnectivity"
            | "NetworkDriver.DiscoverNew"
            | "NetworkDriver.DiscoverDelete" => Reply::done(),
            // Networks are kept here, so Docker need not ask for pools and addresses again when it
            // starts. The MAC is how the address calls of one container are known to be its.
            "IpamDriver.GetCapabilities" => {
                Reply::of(&json!({ "RequiresMACAddress": true, "RequiresRequestReplay": false }))
            }
            "IpamDriver.GetDefaultAddressSpaces" => Reply::of(&json!({
                "LocalDefaultAddressSpace": ADDRESS_SPACE,
                "GlobalDefaultAddressSpace": ADDRESS_SPACE,
            })),
            "IpamDriver.RequestPool" => self.request_pool(parse(body)?)?,
            "IpamDriver.ReleasePool" => self.release_pool(&parse(body)?),
            "IpamDriver.RequestAddress" => return self.request_address(ticket, &parse(body)?),
            "IpamDriver.ReleaseAddress" => {
                self.release_address(ticket, &parse(body)?);
                return Ok(());
            }
            _ => Reply::unknown(),
        };
        self.reply(ticket, reply);
        Ok(())
    }

    /// The agent answered.
    pub fn answered(&mut self, ticket: Ticket, response: Response) {
        let Some(waiting) = self.waiting.remove(&ticket) else { return };
        let (half, result) = match waiting {
            Waiting::Network(id, network) => {
                let result = self.network_known(ticket, &id, network, response);
                if result.is_err() {
                    self.record.pools.unbind(&id);
                }
                (Half::Network, result)
            }
            Waiting::Address(wanted) => (Half::Ipam, self.reserved(ticket, &wanted, response)),
            Waiting::Amend(wanted) => {
                self.reserve(ticket, wanted);
                return;
            }
            Waiting::Link(joining) => (Half::Network, self.linked(ticket, joining, response)),
            Waiting::Relink(joining) => {
                let attach = Request::Attach(joining.attach.clone());
                self.ask(ticket, attach, Waiting::Link(joining));
                return;
            }
            Waiting::Endpoint(id) => {
                self.record.endpoints.remove(&id);
                self.save(ticket, Reply::done(), None);
                return;
            }
            Waiting::Release => {
                self.reply(ticket, Reply::done());
                return;
            }
            // Nothing was asked of the agent.
            Waiting::Saved(..) => return,
        };
        if let Err(refusal) = result {
            self.reply(ticket, Reply::refusal(half, &refusal));
        }
    }

    /// What was to be kept is, or why it is not.
    pub fn saved(&mut self, ticket: Ticket, result: Result<(), String>) {
        let Some(Waiting::Saved(reply, undo)) = self.waiting.remove(&ticket) else { return };
        let reply = match (result, undo) {
            (Err(why), Some(undo)) => {
                match undo {
                    Undo::Network(id) => {
                        self.record.networks.remove(&id);
                        self.record.pools.unbind(&id);
                    }
                    Undo::Endpoint(id) => drop(self.record.endpoints.remove(&id)),
                }
                Reply::refusal(Half::Network, &Refusal::new(Code::State, why))
            }
            // What is gone is gone; a record that still has it does no harm.
            _ => reply,
        };
        self.reply(ticket, reply);
    }

    fn create_network(&mut self, ticket: Ticket, request: &CreateNetwork) -> Result<(), Refusal> {
        let network = Network::read(request)?;
        let choices: Vec<_> = request.v4.iter().chain(&request.v6).cloned().collect();
        self.record.pools.bind(&request.network, &choices)?;
        let question = GroupQuestion { epg: network.group.clone(), timeout_ms: None };
        let waiting = Waiting::Network(request.network.clone(), network);
        self.ask(ticket, Request::Group(question), waiting);
        Ok(())
    }

    fn network_known(
        &mut self,
        ticket: Ticket,
        id: &str,
        network: Network,
        response: Response,
    ) -> Result<(), Refusal> {
        let Response::Group(group) = response else { return Err(refused(response)) };
        let pools: Vec<_> = self.record.pools.of(id).collect();
        network.check(&group, &pools)?;
        self.record.networks.insert(id.to_owned(), network);
        self.save(ticket, Reply::done(), Some(Undo::Network(id.to_owned())));
        Ok(())
    }

    fn delete_network(&mut self, ticket: Ticket, request: &OneNetwork) {
        self.record.networks.remove(&request.network);
        self.record.pools.unbind(&request.network);
        self.save(ticket, Reply::done(), None);
    }

    fn network(&self, id: &str) -> Result<&Network, Refusal> {
        self.record.networks.get(id).ok_or_else(|| {
            let short = id.get(..12).unwrap_or(id);
            Refusal::new(Code::State, format!("network `{short}` is not known to the agent"))
                .hint("was the agent's state removed? remove the network and create it again")
        })
    }

    /// Where the addresses of a network's containers come from.
    fn sources(&self, network: &str) -> Vec<Prefix> {
        self.record.pools.of(network).map(|pool| pool.source).collect()
    }

    fn ask(&mut self, ticket: Ticket, request: Request, waiting: Waiting) {
        self.waiting.insert(ticket, waiting);
        self.outputs.push_back(Output::Ask(ticket, request));
    }

    fn save(&mut self, ticket: Ticket, reply: Reply, undo: Option<Undo>) {
        self.waiting.insert(ticket, Waiting::Saved(reply, undo));
        self.outputs.push_back(Output::Save(ticket, Box::new(self.record.clone())));
    }

    fn reply(&mut self, ticket: Ticket, reply: Reply) {
        self.outputs.push_back(Output::Reply(ticket, reply));
    }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| {
        Refusal::new(Code::BadRequest, format!("not a call of libnetwork: {error}"))
    })
}

/// An answer of the agent that is not the one hoped for.
fn refused(response: Response) -> Refusal {
    match response {
        Response::Error(refusal) => refusal,
        _ => Refusal::new(Code::State, "the agent answered something else than was asked"),
    }
}
