//! A packet to be judged: from the names of a request to a [`Case`], and from what the data plane's
//! judges say back to names.

use selvage_rules::{BdId, Desired, Endpoint, EtherType, GroupKey, RuleId};

use crate::agent::Agent;
use crate::datapath::Direction;
use crate::judge::{At, Case, Opinion, Opinions, Party};
use crate::local::{Code, End, Judge, Judged, Refusal, Said};

impl Agent {
    /// The case that a request describes, by what is in force on this host.
    ///
    /// # Errors
    /// When an end is not known here, both are elsewhere, or they can have no such packet.
    pub fn case_of(&self, request: &Judge) -> Result<Case, Refusal> {
        let Some(desired) = self.plane.in_force.as_deref() else {
            return Err(Refusal::new(Code::NotReady, "nothing is in force on this host yet"));
        };
        let (from, to) = (self.party(desired, &request.from)?, self.party(desired, &request.to)?);
        if let (At::Host { .. }, At::Host { .. }) = (from.at, to.at) {
            let message = format!("neither end of the packet is on host `{}`", self.config.host);
            return Err(Refusal::new(Code::NoSuchEndpoint, message)
                .hint("ask the agents of the hosts that they are on"));
        }
        let domains = &desired.table.bridge_domains;
        let scope_of = |party: &Party| domains.get(&party.endpoint.bd).map(|bd| bd.scope);
        let Some(scope) = scope_of(&from).filter(|scope| scope_of(&to) == Some(*scope)) else {
            let message = "the two ends are in different VRFs";
            return Err(Refusal::new(Code::BadRequest, message));
        };
        let (packet, answers) = (request.packet, request.answers);
        let case = Case { scope, from, to, packet, answers };
        if case.addresses().is_none() {
            let family = if packet.ether == EtherType::IPV6 { "IPv6" } else { "IPv4" };
            let message = format!("one of the two ends has no {family} address");
            return Err(Refusal::new(Code::BadAddress, message));
        }
        Ok(case)
    }

    fn party(&self, desired: &Desired, end: &End) -> Result<Party, Refusal> {
        let domains = &desired.table.bridge_domains;
        let (bd, domain) = domains
            .iter()
            .find(|(_, domain)| *domain.name == *end.bridge_domain)
            .ok_or_else(|| self.unknown(end))?;
        let is_meant = |e: &Endpoint, bd: BdId| e.bd == bd && e.mac == end.mac;
        let locals = desired.locals.values().filter_map(|local| {
            let endpoint = local.endpoint.as_ref()?;
            is_meant(endpoint, *bd).then_some((endpoint, At::Port(local.ifindex)))
        });
        let remotes = desired.remotes.values().filter_map(|remote| {
            let tunnel = remote.tunnel;
            let at = At::Host { tunnel, speaks: *desired.tunnels.get(&tunnel)? };
            is_meant(&remote.endpoint, *bd).then_some((&remote.endpoint, at))
        });
        let (endpoint, at) = locals.chain(remotes).next().ok_or_else(|| self.unknown(end))?;
        let key = GroupKey { scope: domain.scope, class: endpoint.class };
        let group = desired.sources.iter().find(|(_, source)| source.key == key);
        Ok(Party {
            endpoint: endpoint.clone(),
            gateway: domain.mac,
            group: group.map(|(number, _)| *number),
            at,
        })
    }

    fn unknown(&self, end: &End) -> Refusal {
        let host = &self.config.host;
        let message =
            format!("host `{host}` knows no endpoint {} in `{}`", end.mac, end.bridge_domain);
        Refusal::new(Code::NoSuchEndpoint, message)
    }

    /// What the judges said about `case`, with the names of the rules.
    pub fn judged(&self, case: &Case, opinions: Opinions) -> Judged {
        let in_force = self.plane.in_force.as_deref();
        let origin = |rule: RuleId| in_force.and_then(|d| d.table.origins.get(&rule));
        let said = |opinion: Opinion| {
            let origin = opinion.rule.and_then(origin);
            let entry = origin.map(|origin| origin.entry.to_string());
            Said {
                opinion,
                origin: origin.map(|origin| origin.dn.to_string()),
                entry: entry.filter(|entry| !entry.is_empty()),
            }
        };
        Judged {
            host: self.config.host.clone(),
            dataplane: self.config.dataplane.clone(),
            revision: in_force.map(|desired| desired.revision).unwrap_or_default(),
            direction: match case.from.at {
                At::Port(_) => Direction::FromEndpoint,
                At::Host { .. } => Direction::FromTunnel,
            },
            lowered: said(opinions.lowered),
            live: said(opinions.live),
        }
    }
}
