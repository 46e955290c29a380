//! Assertions as the tree holds them.

use selvage_model::{Mo, Tree};

use super::ends::{self, End};
use super::traffic::Traffic;
use crate::reach::Reach;

/// What is asserted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Assertion {
    /// In one sentence.
    pub text: String,
    pub claim: Claim,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Claim {
    Reachable { from: Vec<End>, to: Vec<End>, traffic: Traffic, answers: bool },
    Unreachable { from: Vec<End>, to: Vec<End>, traffic: Traffic },
    Only { from: Vec<End>, to: Vec<End>, traffic: Traffic },
    Isolated { group: Vec<End>, allowed: Vec<Allowed> },
}

/// What isolation leaves open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Allowed {
    pub peer: Vec<End>,
    /// The peer sends; otherwise what is isolated does.
    pub peer_asks: bool,
    pub traffic: Traffic,
}

/// The assertions of a tree.
pub(super) fn objects(tree: &Tree) -> impl Iterator<Item = &Mo> {
    tree.of_class("selvageAssertion")
}

/// Reads one.
///
/// # Errors
/// What is wrong with it, in one sentence.
pub(super) fn assertion(tree: &Tree, reach: &Reach<'_>, mo: &Mo) -> Result<Assertion, String> {
    let kind = mo.get("kind");
    let taken: &[&str] = if kind == "isolated" { &["group"] } else { &["from", "to", "traffic"] };
    let stray = ["from", "to", "traffic", "group"]
        .into_iter()
        .find(|prop| !mo.get(prop).is_empty() && !taken.contains(prop));
    if let Some(stray) = stray {
        return Err(format!(
            "`{stray}` means nothing to `{kind}`; it takes `{}`",
            taken.join("`, `")
        ));
    }
    let ends = |prop: &str| ends::parse(tree, reach, prop, mo.get(prop));
    if kind == "isolated" {
        let group = ends("group")?;
        let mut allowed = Vec::new();
        for (class, peer_asks) in [("selvageAllowedFrom", true), ("selvageAllowedTo", false)] {
            for mo in tree.children_of_class(mo.dn(), class) {
                let peer = ends::parse(tree, reach, "peer", mo.get("peer"))?;
                let traffic = Traffic::parse(mo.get("traffic"))?;
                allowed.push(Allowed { peer, peer_asks, traffic });
            }
        }
        let text = sentence(tree, mo);
        return Ok(Assertion { text, claim: Claim::Isolated { group, allowed } });
    }
    if ["selvageAllowedFrom", "selvageAllowedTo"]
        .iter()
        .any(|class| tree.children_of_class(mo.dn(), class).next().is_some())
    {
        return Err(format!("what is allowed means nothing to `{kind}`, only to `isolated`"));
    }
    let (from, to) = (ends("from")?, ends("to")?);
    let traffic = Traffic::parse(mo.get("traffic"))?;
    let claim = match kind {
        "reachable" => Claim::Reachable { from, to, traffic, answers: mo.get("answers") != "no" },
        "only" => Claim::Only { from, to, traffic },
        _ => Claim::Unreachable { from, to, traffic },
    };
    Ok(Assertion { text: sentence(tree, mo), claim })
}

fn sentence(tree: &Tree, mo: &Mo) -> String {
    let traffic = |mo: &Mo| match mo.get("traffic") {
        "" => "anything".to_owned(),
        text => text.to_owned(),
    };
    let (from, to) = (mo.get("from"), mo.get("to"));
    match mo.get("kind") {
        "reachable" => format!("{from} reaches {to} with {}", traffic(mo)),
        "only" => format!("nothing outside {from} reaches {to} with {}", traffic(mo)),
        "isolated" => {
            let peers = |class: &'static str, way: &str| -> Vec<String> {
                let all = tree.children_of_class(mo.dn(), class);
                all.map(|mo| format!("{} {way} {}", traffic(mo), mo.get("peer"))).collect()
            };
            let mut but = peers("selvageAllowedFrom", "from");
            but.extend(peers("selvageAllowedTo", "to"));
            let but =
                if but.is_empty() { String::new() } else { format!(" but {}", but.join(", ")) };
            format!("nothing reaches or leaves {}{but}", mo.get("group"))
        }
        _ => format!("{from} does not reach {to} with {}", traffic(mo)),
    }
}
