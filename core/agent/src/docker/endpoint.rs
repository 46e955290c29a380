//! Containers: made of reserved addresses, joined to their sandbox, removed.

use std::net::IpAddr;
use std::path::PathBuf;

use selvage_rules::{EndpointId, Mac};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::wire::{CreateEndpoint, InterfaceName, Join, Joined, OneEndpoint, Reply};
use super::{Driver, Undo, Waiting, refused};
use crate::Ticket;
use crate::local::{Attach, Code, Detach, Refusal, Request, Response};

/// Where libnetwork puts what the user gave with `-p`.
const PORTS: &str = "com.docker.network.portmap";

/// Links become `eth0`, `eth1`, ... in the container.
const IN_CONTAINER: &str = "eth";

/// An endpoint that Docker has made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Bound {
    /// The network it is in.
    pub network: String,
    /// Its MAC, which it is called by.
    pub mac: Mac,
    /// Its addresses.
    pub ips: Vec<IpAddr>,
}

/// A container that is on its way into a network.
#[derive(Debug)]
pub(crate) struct Joining {
    network: String,
    pub attach: Attach,
}

/// What the agent calls the endpoint with this MAC.
pub(crate) fn endpoint_id(mac: Mac) -> EndpointId {
    EndpointId(format!("docker-{}", digits(mac)).into())
}

/// What its end of the link is called until Docker moves it: 14 of the 15 bytes there are.
fn link_name(mac: Mac) -> String {
    format!("sd{}", digits(mac))
}

fn digits(mac: Mac) -> String {
    mac.0.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Driver {
    pub(super) fn create_endpoint(
        &mut self,
        ticket: Ticket,
        request: &CreateEndpoint,
    ) -> Result<(), Refusal> {
        self.network(&request.network)?;
        let ports = request.options.get(PORTS).and_then(Value::as_array);
        if ports.is_some_and(|ports| !ports.is_empty()) {
            let message = "ports of a container in an EPG cannot be published";
            return Err(Refusal::new(Code::BadRequest, message).hint(
                "leave `-p` out: whom a contract allows reaches the container's own address",
            ));
        }
        let interface = &request.interface;
        let mac = interface.mac_address.parse::<Mac>();
        let mac = mac.map_err(|_| Refusal::new(Code::BadRequest, "Docker chose no MAC"))?;
        let ips = [&interface.address, &interface.address_v6].into_iter();
        let ips: Vec<IpAddr> =
            ips.filter_map(|text| text.split('/').next()?.parse().ok()).collect();
        let bound = Bound { network: request.network.clone(), mac, ips };
        self.record.endpoints.insert(request.endpoint.clone(), bound);
        self.held.remove(&endpoint_id(mac));
        let undo = Undo::Endpoint(request.endpoint.clone());
        self.save(ticket, Reply::of(&json!({ "Interface": {} })), Some(undo));
        Ok(())
    }

    pub(super) fn join(&mut self, ticket: Ticket, request: &Join) -> Result<(), Refusal> {
        let group = self.network(&request.network)?.group.clone();
        let Some(bound) = self.record.endpoints.get(&request.endpoint) else {
            let short = request.endpoint.get(..12).unwrap_or(&request.endpoint);
            let message = format!("endpoint `{short}` is not known to the agent");
            return Err(
                Refusal::new(Code::NoSuchEndpoint, message).hint("start the container again")
            );
        };
        let attach = Attach {
            id: endpoint_id(bound.mac),
            epg: group,
            netns: PathBuf::from(&request.sandbox_key),
            ifname: link_name(bound.mac),
            // Where the reservation is gone, with an agent that was started again, these are asked
            // for anew.
            ip: bound.ips.clone(),
            mac: Some(bound.mac),
            from: self.sources(&request.network),
            handover: true,
            timeout_ms: None,
        };
        let joining = Joining { network: request.network.clone(), attach: attach.clone() };
        self.ask(ticket, Request::Attach(attach), Waiting::Link(Box::new(joining)));
        Ok(())
    }

    pub(super) fn linked(
        &mut self,
        ticket: Ticket,
        joining: Box<Joining>,
        response: Response,
    ) -> Result<(), Refusal> {
        let view = match response {
            Response::Attached(view) => view,
            // An earlier call got so far and its answer was lost, with the agent or with Docker.
            Response::Error(refusal) if refusal.code == Code::Exists => {
                let detach = Request::Detach(Detach { id: joining.attach.id.clone() });
                self.ask(ticket, detach, Waiting::Relink(joining));
                return Ok(());
            }
            other => return Err(refused(other)),
        };
        let network = self.record.networks.get(&joining.network);
        let internal = network.is_some_and(|network| network.internal);
        let gateway = |v6: bool| {
            let mut gateways = view.addresses.iter().filter_map(|address| address.gateway);
            let gateway = gateways.find(|gateway| gateway.is_ipv6() == v6 && !internal);
            gateway.map(|gateway| gateway.to_string()).unwrap_or_default()
        };
        let joined = Joined {
            interface_name: InterfaceName {
                src_name: view.ifname.clone(),
                dst_prefix: IN_CONTAINER.to_owned(),
            },
            gateway: gateway(false),
            gateway_v6: gateway(true),
            disable_gateway_service: true,
        };
        self.reply(ticket, Reply::of(&joined));
        Ok(())
    }

    pub(super) fn delete_endpoint(&mut self, ticket: Ticket, request: OneEndpoint) {
        match self.record.endpoints.get(&request.endpoint) {
            Some(bound) => {
                let detach = Detach { id: endpoint_id(bound.mac) };
                self.ask(ticket, Request::Detach(detach), Waiting::Endpoint(request.endpoint));
            }
            None => self.reply(ticket, Reply::done()),
        }
    }
}
