//! Endpoints as the tree knows them, for the people who ask about one.

use std::net::IpAddr;

use selvage_model::{Dn, Mo, Tree};
use selvage_rules::Mac;
use serde::Serialize;

use crate::problem::dn_as_text;

/// One endpoint: a MAC with its addresses, in a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Endpoint {
    /// The endpoint object.
    #[serde(serialize_with = "dn_as_text")]
    pub dn: Dn,
    /// What people call it; empty if it has no name.
    pub name: String,
    /// DN of its group.
    #[serde(serialize_with = "dn_as_text")]
    pub group: Dn,
    /// Its Ethernet address.
    pub mac: Option<Mac>,
    /// Its IP addresses, ascending.
    pub ips: Vec<IpAddr>,
}

/// Every endpoint of the tree, by DN.
pub fn endpoints(tree: &Tree) -> impl Iterator<Item = Endpoint> + '_ {
    tree.of_class("fvCEp").filter_map(|mo| {
        let group = mo.dn().parent()?;
        let mut ips: Vec<IpAddr> = tree
            .children_of_class(mo.dn(), "fvIp")
            .filter_map(|ip| ip.get("addr").parse().ok())
            .collect();
        ips.extend(mo.get("ip").parse::<IpAddr>().ok().filter(|ip| !ip.is_unspecified()));
        ips.sort();
        ips.dedup();
        let name = [mo.get("contName"), mo.get("id")].into_iter().find(|name| !name.is_empty());
        Some(Endpoint {
            dn: mo.dn().clone(),
            name: name.unwrap_or_default().to_owned(),
            group,
            mac: mo.get("mac").parse().ok(),
            ips,
        })
    })
}

/// Classes of groups, with what stands before the names of what contains them and before their own.
const GROUPS: [(&str, &str, &str); 3] =
    [("fvAEPg", "ap", "epg"), ("fvESg", "ap", "esg"), ("l3extInstP", "out", "instP")];

/// The groups that `text` may name: by DN, by `TENANT/APP/EPG` or `TENANT/L3OUT/EPG`, or by their own
/// name.
pub(crate) fn groups_called(tree: &Tree, text: &str) -> Vec<Dn> {
    let is_group = |mo: &&Mo| GROUPS.iter().any(|(class, ..)| *class == mo.class().name);
    if let Some(mo) = tree.get(text).filter(is_group) {
        return vec![mo.dn().clone()];
    }
    if let [tenant, profile, group] = text.split('/').collect::<Vec<_>>()[..] {
        let dn = |(_, within, of): (&str, &str, &str)| {
            format!("uni/tn-{tenant}/{within}-{profile}/{of}-{group}")
        };
        let found = GROUPS.into_iter().map(dn).filter_map(|dn| tree.get(&dn));
        return found.map(|mo| mo.dn().clone()).collect();
    }
    let called = |(class, _, of): (&str, &str, &str)| {
        let rn = format!("{of}-{text}");
        let all = tree.of_class(class).filter(move |mo| mo.dn().rn() == rn);
        all.map(|mo| mo.dn().clone()).collect::<Vec<_>>()
    };
    GROUPS.into_iter().flat_map(called).collect()
}
