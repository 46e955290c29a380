//! Pools and addresses. An address is handed out when the fabric's registry has agreed to it, so two
//! hosts never hand out the same one.

use std::net::IpAddr;
use std::time::Duration;

use selvage_rules::{EndpointId, Mac, Prefix};
use serde_json::json;

use super::endpoint::endpoint_id;
use super::pool::text_of;
use super::wire::{Half, Reply, RequestAddress, RequestPool};
use super::{Driver, Held, Waiting, Wanted, refused};
use crate::Ticket;
use crate::local::{Address, Code, Detach, Refusal, Request, Reserve, Response};

/// Options of a `RequestAddress` (libnetwork's `ipamapi` and `netlabel`).
const TYPE: &str = "RequestAddressType";
const GATEWAY: &str = "com.docker.network.gateway";
const MAC: &str = "com.docker.network.endpoint.macaddress";

/// Docker makes an endpoint of an address at once; if it died in between, nobody gives it back.
const HOLD: Duration = Duration::from_secs(60);

impl Driver {
    pub(super) fn request_pool(&mut self, request: RequestPool) -> Result<Reply, Refusal> {
        let no = |what: &str, hint: &str| Err(Refusal::new(Code::BadRequest, what).hint(hint));
        if !request.sub_pool.is_empty() {
            return no(
                "no `--ip-range`: the hosts of a fabric share all addresses of a subnet",
                "leave it out",
            );
        }
        if !request.options.is_empty() {
            return no(
                "selvage has no `--ipam-opt`",
                "the EPG is given with `-o epg=TENANT/APP/EPG`",
            );
        }
        let given = match request.pool.is_empty() {
            true => None,
            false => Some(read_subnet(&request.pool)?),
        };
        let id = self.record.pools.open(given, request.v6)?;
        let text = text_of(id);
        let (_, pool) = self.record.pools.find(&text)?;
        Ok(Reply::of(&json!({
            "PoolID": text,
            "Pool": pool.shown.to_string(),
            "Data": { GATEWAY: pool.gateway_text() },
        })))
    }

    pub(super) fn release_pool(&mut self, request: &RequestAddress) -> Reply {
        self.record.pools.close(&request.pool);
        Reply::done()
    }

    pub(super) fn request_address(
        &mut self,
        ticket: Ticket,
        request: &RequestAddress,
    ) -> Result<(), Refusal> {
        let (id, pool) = self.record.pools.find(&request.pool)?;
        let wish = match request.address.is_empty() {
            true => None,
            false => Some(read_ip(&request.address)?),
        };
        if request.options.get(TYPE).is_some_and(|kind| kind == GATEWAY) {
            let text = match wish {
                Some(ip) if pool.network.is_none() => {
                    self.record.pools.name_gateway(id, ip)?.gateway_text()
                }
                _ => pool.gateway_text(),
            };
            self.reply(ticket, address(&text));
            return Ok(());
        }
        let Some(network) = pool.network.clone() else {
            return Err(Refusal::new(Code::BadRequest, "selvage has no `--aux-address`").hint(
                "leave it out: addresses in use anywhere in the fabric are never given out",
            ));
        };
        let mac = request.options.get(MAC).and_then(|mac| mac.parse::<Mac>().ok());
        let mac = mac.ok_or_else(|| {
            Refusal::new(Code::BadRequest, "Docker did not say which MAC the address is for")
        })?;
        let v6 = pool.v6;
        let wanted = Wanted { network, mac, ip: wish.into_iter().collect(), v6 };
        self.give(ticket, wanted);
        Ok(())
    }

    /// Gives an address of a reservation that is there, changes one that does not fit, or makes one:
    /// of both families at once, since they are one endpoint's.
    fn give(&mut self, ticket: Ticket, mut wanted: Wanted) {
        let id = endpoint_id(wanted.mac);
        let Some(held) = self.held.get(&id).filter(|held| held.network == wanted.network) else {
            return self.reserve(ticket, wanted);
        };
        let fits = |a: &&Address| wanted.ip.first().is_none_or(|ip| *ip == a.ip);
        match family(&held.addresses, wanted.v6).filter(fits) {
            Some(found) => {
                let text = text(found);
                self.reply(ticket, address(&text));
            }
            None => {
                wanted.ip.extend(family(&held.addresses, !wanted.v6).map(|a| a.ip));
                self.held.remove(&id);
                self.ask(ticket, Request::Detach(Detach { id }), Waiting::Amend(wanted));
            }
        }
    }

    pub(super) fn reserve(&mut self, ticket: Ticket, wanted: Wanted) {
        let group = match self.network(&wanted.network) {
            Ok(network) => network.group.clone(),
            Err(refusal) => return self.reply(ticket, Reply::refusal(Half::Ipam, &refusal)),
        };
        let request = Reserve {
            id: endpoint_id(wanted.mac),
            epg: group,
            ip: wanted.ip.clone(),
            mac: Some(wanted.mac),
            from: self.sources(&wanted.network),
            timeout_ms: None,
            hold_ms: u64::try_from(HOLD.as_millis()).unwrap_or(u64::MAX),
        };
        self.ask(ticket, Request::Reserve(request), Waiting::Address(wanted));
    }

    pub(super) fn reserved(
        &mut self,
        ticket: Ticket,
        wanted: &Wanted,
        response: Response,
    ) -> Result<(), Refusal> {
        let Response::Reserved(view) = response else { return Err(refused(response)) };
        let found = family(&view.addresses, wanted.v6).map(text);
        let held = Held { network: wanted.network.clone(), addresses: view.addresses };
        self.held.insert(view.id, held);
        let found = found.ok_or_else(|| {
            let message =
                format!("no IPv{} subnet is left to choose from", if wanted.v6 { 6 } else { 4 });
            Refusal::new(Code::NoAddress, message)
                .hint("`docker network inspect` shows the subnets that the network was made with")
        })?;
        self.reply(ticket, address(&found));
        Ok(())
    }

    pub(super) fn release_address(&mut self, ticket: Ticket, request: &RequestAddress) {
        let network =
            self.record.pools.find(&request.pool).ok().and_then(|(_, p)| p.network.clone());
        let ip: Option<IpAddr> = request.address.parse().ok();
        let found = self.held.iter().find(|(_, held)| {
            Some(&held.network) == network.as_ref()
                && held.addresses.iter().any(|a| Some(a.ip) == ip)
        });
        match found.map(|(id, _)| EndpointId::clone(id)) {
            Some(id) => {
                self.held.remove(&id);
                self.ask(ticket, Request::Detach(Detach { id }), Waiting::Release);
            }
            // It went with its endpoint, or was a gateway.
            None => self.reply(ticket, Reply::done()),
        }
    }
}

fn family(addresses: &[Address], v6: bool) -> Option<&Address> {
    addresses.iter().find(|address| address.ip.is_ipv6() == v6)
}

fn text(address: &Address) -> String {
    format!("{}/{}", address.ip, address.prefix_len)
}

fn address(text: &str) -> Reply {
    Reply::of(&json!({ "Address": text, "Data": {} }))
}

fn read_subnet(text: &str) -> Result<Prefix, Refusal> {
    text.parse().map_err(|_| Refusal::new(Code::BadAddress, format!("`{text}` is no subnet")))
}

fn read_ip(text: &str) -> Result<IpAddr, Refusal> {
    text.parse().map_err(|_| Refusal::new(Code::BadAddress, format!("`{text}` is no address")))
}
