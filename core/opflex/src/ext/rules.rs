//! Rule sets: the rules with their origins, one object each.

use std::collections::BTreeMap;
use std::sync::Arc;

use selvage_rules::{
    Action, EtherMatch, EtherType, IcmpMatch, Match, Origin, PortRange, Reason, Rule, RuleId,
    RuleSetId, ServiceId, TcpFlags, TcpMatch, Treatment,
};

use super::{
    Malformed, class, expect_class, flag, missing, number, optional, rooted, rule_set_uri, split,
    text,
};
use crate::Uri;
use crate::mo::{Object, Value};

/// `SelvageRuleSet`, with a `SelvageRule` for each rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleSet {
    /// The rules, in the order in which they are tried.
    pub set: selvage_rules::RuleSet,
    /// Where each of them comes from.
    pub origins: BTreeMap<RuleId, Origin>,
}

impl RuleSet {
    /// Its URI.
    pub fn uri(&self) -> Uri {
        rule_set_uri(self.set.id)
    }

    /// The set and its rules, as they travel.
    pub fn to_objects(&self) -> Vec<Object> {
        let uri = self.uri();
        let rule = |(index, rule): (u64, &Rule)| {
            let at = uri.join(class::RULE).join(index);
            rule_object(at, index, rule, self.origins.get(&rule.id))
        };
        let rules = (0..).zip(&self.set.rules).map(rule).collect();
        let set = Object::new(class::RULE_SET, uri).with("number", u64::from(self.set.id.0));
        rooted(set, rules)
    }

    /// Reads a set and its rules back.
    pub fn from_objects<'a>(
        objects: impl IntoIterator<Item = &'a Object>,
    ) -> Result<RuleSet, Malformed> {
        let (set, rules) = split(objects, class::RULE_SET)?;
        let id = RuleSetId(number(set, "number")?);
        // The order of the list means nothing, so each rule says its place.
        let mut ordered = BTreeMap::new();
        let mut origins = BTreeMap::new();
        for object in rules {
            let (index, rule, origin) = read_rule(object)?;
            if let Some(origin) = origin {
                origins.insert(rule.id, origin);
            }
            ordered.insert(index, rule);
        }
        let rules = ordered.into_values().collect();
        Ok(RuleSet { set: selvage_rules::RuleSet { id, rules }, origins })
    }
}

fn rule_object(uri: Uri, index: u64, rule: &Rule, origin: Option<&Origin>) -> Object {
    let Match { ether, proto, sport, dport, tcp, icmp, arp_op, later_fragments_only, dscp } =
        rule.matches;
    let mut object = Object::new(class::RULE, uri)
        .with("index", index)
        .with("id", u64::from(rule.id.0))
        .with("priority", u64::from(rule.priority))
        .with("action", action_word(rule.action))
        .with("reason", rule.reason.name())
        .with("stateful", rule.stateful)
        .with("log", rule.log)
        .with("etherT", ether_value(ether))
        .with("tcpFlags", tcp_value(tcp))
        .with("fragmentsOnly", later_fragments_only);
    let numbers = [
        ("prot", proto.map(u64::from)),
        ("arpOpc", arp_op.map(u64::from)),
        ("icmpType", icmp.kind.map(u64::from)),
        ("icmpCode", icmp.code.map(u64::from)),
        ("dscp", dscp.map(u64::from)),
        ("service", rule.treatment.service.map(|service| u64::from(service.0))),
        ("qosClass", rule.treatment.class.map(u64::from)),
        ("markDscp", rule.treatment.dscp.map(u64::from)),
    ];
    for (name, number) in numbers {
        if let Some(number) = number {
            object = object.with(name, number);
        }
    }
    for ((from, to), range) in
        [(("sFromPort", "sToPort"), sport), (("dFromPort", "dToPort"), dport)]
    {
        if range != PortRange::ANY {
            object = object.with(from, u64::from(range.first)).with(to, u64::from(range.last));
        }
    }
    match origin {
        None => object,
        Some(origin) => object
            .with("originDn", &*origin.dn)
            .with("originEntry", &*origin.entry)
            .with("originReverse", origin.reverse),
    }
}

fn action_word(action: Action) -> &'static str {
    match action {
        Action::Permit => "permit",
        Action::Deny => "deny",
        Action::Redirect => "redirect",
    }
}

fn read_rule(object: &Object) -> Result<(u64, Rule, Option<Origin>), Malformed> {
    expect_class(object, class::RULE)?;
    let action = match &*text(object, "action")? {
        "permit" => Action::Permit,
        "deny" => Action::Deny,
        "redirect" => Action::Redirect,
        _ => return Err(missing(object, "action")),
    };
    let reason = text(object, "reason")?;
    let reason = Reason::ALL.iter().copied().find(|known| known.name() == &*reason);
    let matches = Match {
        ether: read_ether(object)?,
        proto: optional(object, "prot")?,
        sport: read_ports(object, "sFromPort", "sToPort")?,
        dport: read_ports(object, "dFromPort", "dToPort")?,
        tcp: read_tcp(object)?,
        icmp: IcmpMatch {
            kind: optional(object, "icmpType")?,
            code: optional(object, "icmpCode")?,
        },
        arp_op: optional(object, "arpOpc")?,
        later_fragments_only: flag(object, "fragmentsOnly")?,
        dscp: optional(object, "dscp")?,
    };
    let rule = Rule {
        id: RuleId(number(object, "id")?),
        priority: number(object, "priority")?,
        matches,
        action,
        reason: reason.ok_or_else(|| missing(object, "reason"))?,
        stateful: flag(object, "stateful")?,
        log: flag(object, "log")?,
        treatment: Treatment {
            service: optional(object, "service")?.map(ServiceId),
            class: optional(object, "qosClass")?,
            dscp: optional(object, "markDscp")?,
        },
    };
    Ok((number(object, "index")?, rule, read_origin(object)?))
}

fn read_origin(object: &Object) -> Result<Option<Origin>, Malformed> {
    let Some(dn) = object.text("originDn") else { return Ok(None) };
    let entry: Arc<str> = text(object, "originEntry")?;
    Ok(Some(Origin { dn: dn.clone(), entry, reverse: flag(object, "originReverse")? }))
}

fn ether_value(ether: EtherMatch) -> Value {
    match ether {
        EtherMatch::Any => "any".into(),
        EtherMatch::Ip => "ip".into(),
        EtherMatch::Is(EtherType(number)) => u64::from(number).into(),
    }
}

fn read_ether(object: &Object) -> Result<EtherMatch, Malformed> {
    match object.get("etherT") {
        Some(Value::Text(text)) if &**text == "any" => Ok(EtherMatch::Any),
        Some(Value::Text(text)) if &**text == "ip" => Ok(EtherMatch::Ip),
        _ => Ok(EtherMatch::Is(EtherType(number(object, "etherT")?))),
    }
}

fn tcp_value(tcp: TcpMatch) -> Value {
    match tcp {
        TcpMatch::Any => "any".into(),
        TcpMatch::Established => "established".into(),
        TcpMatch::All(TcpFlags(flags)) => u64::from(flags).into(),
    }
}

fn read_tcp(object: &Object) -> Result<TcpMatch, Malformed> {
    match object.get("tcpFlags") {
        Some(Value::Text(text)) if &**text == "any" => Ok(TcpMatch::Any),
        Some(Value::Text(text)) if &**text == "established" => Ok(TcpMatch::Established),
        _ => Ok(TcpMatch::All(TcpFlags(number(object, "tcpFlags")?))),
    }
}

fn read_ports(
    object: &Object,
    from: &'static str,
    to: &'static str,
) -> Result<PortRange, Malformed> {
    match (optional(object, from)?, optional(object, to)?) {
        (None, None) => Ok(PortRange::ANY),
        (Some(first), Some(last)) if first <= last => Ok(PortRange { first, last }),
        _ => Err(missing(object, from)),
    }
}
