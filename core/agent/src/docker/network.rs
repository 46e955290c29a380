//! Networks: what their options say, and whether the bridge domain bears out what Docker shows.

use std::collections::BTreeMap;

use selvage_rules::Prefix;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::pool::{ADDRESS_SPACE, Pool};
use super::wire::CreateNetwork;
use crate::local::{Code, GroupView, Refusal, SubnetView};
use crate::{group_dn, words};

/// The one option of a network.
const EPG: &str = "epg";

/// Where libnetwork puts what the user gave with `-o`.
const GENERIC: &str = "com.docker.network.generic";
/// Where it says that the network is to have no way out.
const INTERNAL: &str = "com.docker.network.internal";

/// A network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Network {
    /// DN of its group.
    pub group: String,
    /// Its containers get no gateway, so they reach their own subnet only.
    pub internal: bool,
}

impl Network {
    /// What a request says, before anybody was asked whether there is such a group.
    pub fn read(request: &CreateNetwork) -> Result<Network, Refusal> {
        let generic = request.options.get(GENERIC).and_then(Value::as_object);
        let mut options: BTreeMap<&str, &Value> =
            generic.into_iter().flatten().map(|(name, value)| (name.as_str(), value)).collect();
        let epg = options.remove(EPG).and_then(Value::as_str);
        if let Some(unknown) = options.keys().next() {
            return Err(unknown_option(unknown));
        }
        let Some(epg) = epg else {
            return Err(Refusal::new(
                Code::BadRequest,
                "a selvage network needs the EPG it is for",
            )
            .hint("add `-o epg=TENANT/APP/EPG`"));
        };
        let group = group_dn(epg)?.to_string();
        let spaces = request.v4.iter().chain(&request.v6).map(|choice| &*choice.address_space);
        if request.v4.is_empty() || spaces.into_iter().any(|space| space != ADDRESS_SPACE) {
            let message = "the addresses of a selvage network are those of its bridge domain, \
                           not Docker's";
            return Err(Refusal::new(Code::BadRequest, message).hint("add `--ipam-driver selvage`"));
        }
        let internal = request.options.get(INTERNAL).and_then(Value::as_bool).unwrap_or(false);
        Ok(Network { group, internal })
    }

    /// Whether the subnets and gateways that Docker shows are the bridge domain's.
    pub fn check(&self, group: &GroupView, pools: &[&Pool]) -> Result<(), Refusal> {
        for pool in pools {
            match pool.given {
                true => check_subnet(group, pool)?,
                false => check_family(group, pool.v6)?,
            }
        }
        Ok(())
    }
}

fn check_subnet(group: &GroupView, pool: &Pool) -> Result<(), Refusal> {
    let given = pool.source;
    let Some(subnet) = group.subnets.iter().find(|subnet| subnet.prefix == given) else {
        let overlapped = group.subnets.iter().find(|subnet| overlap(subnet.prefix, given));
        let message = match overlapped {
            Some(subnet) => format!(
                "subnet `{given}` overlaps with `{}` of bridge domain `{}`, but is not it",
                subnet.prefix, group.bridge_domain
            ),
            None => {
                format!("subnet `{given}` is not of bridge domain `{}`", group.bridge_domain)
            }
        };
        return Err(Refusal::new(Code::BadAddress, message).hint(list(group)));
    };
    if pool.gateway != subnet.gateway {
        let message = format!(
            "the gateway of subnet `{given}` is `{}` in bridge domain `{}`, not `{}`",
            subnet.gateway, group.bridge_domain, pool.gateway
        );
        return Err(Refusal::new(Code::BadAddress, message)
            .hint(format!("add `--gateway {}`", subnet.gateway)));
    }
    Ok(())
}

fn overlap(one: Prefix, other: Prefix) -> bool {
    one.covers(other) || other.covers(one)
}

fn check_family(group: &GroupView, v6: bool) -> Result<(), Refusal> {
    if group.subnets.iter().any(|subnet| subnet.gateway.is_ipv6() == v6) {
        return Ok(());
    }
    let family = if v6 { 6 } else { 4 };
    let message = format!("bridge domain `{}` has no IPv{family} subnet", group.bridge_domain);
    Err(Refusal::new(Code::NoAddress, message).hint(match v6 {
        true => "leave `--ipv6` out, or add a subnet to the bridge domain",
        false => "add one: Docker gives every container an IPv4 address",
    }))
}

fn list(group: &GroupView) -> String {
    let subnets: Vec<String> =
        group.subnets.iter().map(|subnet: &SubnetView| subnet.prefix.to_string()).collect();
    match subnets.is_empty() {
        true => format!("EPG `{}` has no subnet", words::epg(&group.dn)),
        false => format!("it has {}; leave `--subnet` out to use them", subnets.join(", ")),
    }
}

fn unknown_option(name: &str) -> Refusal {
    let refusal = Refusal::new(Code::BadRequest, format!("no network option `{name}`"));
    if distance(name, EPG) <= 2 {
        return refusal.hint("did you mean `-o epg=TENANT/APP/EPG`?");
    }
    refusal.hint("there is one, `-o epg=TENANT/APP/EPG`")
}

/// How many letters must be put in, taken out or replaced (Levenshtein's distance).
fn distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.chars().count()).collect();
    for (line, a) in from.chars().enumerate() {
        let mut last = line + 1;
        let mut next = vec![last];
        for (above, b) in row.windows(2).zip(to.chars()) {
            let [diagonal, above] = *above else { continue };
            last = (diagonal + usize::from(a != b)).min(above + 1).min(last + 1);
            next.push(last);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_told_from_something_else() {
        for (from, to, far) in
            [("egp", "epg", 2), ("epg", "epg", 0), ("", "epg", 3), ("epgs", "epg", 1)]
        {
            assert_eq!(distance(from, to), far, "{from} {to}");
        }
        let hint = |name| unknown_option(name).hint.unwrap();
        assert!(hint("egp").starts_with("did you mean `-o epg="), "{}", hint("egp"));
        assert!(hint("com.docker.network.driver.mtu").starts_with("there is one"));
    }
}
