//! Trees for tests, written as one object a line: `class dn property=value ..`.

use selvage_model::{Dn, Tree, blank};
use selvage_rules::{EtherType, Packet};

use crate::{Endpoint, Judgement, State, judge};

/// Two groups of one VRF: `web`, which consumes contract `c`, and `app`, which provides it.
/// The contract's subject `s` names filter `f`, which has no entries yet.
pub(crate) const WEB_AND_APP: &str = "
    fvTenant    uni/tn-t
    fvCtx       uni/tn-t/ctx-v
    fvBD        uni/tn-t/BD-b
    fvRsCtx     uni/tn-t/BD-b/rsctx                     tnFvCtxName=v
    fvAp        uni/tn-t/ap-p
    fvAEPg      uni/tn-t/ap-p/epg-web
    fvRsBd      uni/tn-t/ap-p/epg-web/rsbd              tnFvBDName=b
    fvRsCons    uni/tn-t/ap-p/epg-web/rscons-c          tnVzBrCPName=c
    fvAEPg      uni/tn-t/ap-p/epg-app
    fvRsBd      uni/tn-t/ap-p/epg-app/rsbd              tnFvBDName=b
    fvRsProv    uni/tn-t/ap-p/epg-app/rsprov-c          tnVzBrCPName=c
    vzBrCP      uni/tn-t/brc-c
    vzSubj      uni/tn-t/brc-c/subj-s
    vzRsSubjFiltAtt uni/tn-t/brc-c/subj-s/rssubjFiltAtt-f tnVzFilterName=f
    vzFilter    uni/tn-t/flt-f
";

/// DN of group `web` of [`WEB_AND_APP`].
pub(crate) const WEB: &str = "uni/tn-t/ap-p/epg-web";
/// DN of group `app` of [`WEB_AND_APP`].
pub(crate) const APP: &str = "uni/tn-t/ap-p/epg-app";

/// Puts the objects of all texts into one tree. A later line of a DN replaces an earlier one; a
/// line that starts with `-` takes the object away.
pub(crate) fn tree(texts: &[&str]) -> Tree {
    let mut tree = Tree::default();
    for line in texts.iter().flat_map(|text| text.lines()) {
        let mut words = line.split_whitespace();
        let (Some(class), Some(dn)) = (words.next(), words.next()) else { continue };
        if class == "-" {
            tree.remove(dn).expect("the object to take away exists");
            continue;
        }
        let mut mo = blank(&dn.parse::<Dn>().unwrap()).expect("a class fits the DN");
        assert_eq!(mo.class().name, class, "{dn}");
        for word in words {
            let (prop, value) = word.split_once('=').unwrap();
            assert!(mo.set(prop, value), "{class} has no property {prop}");
        }
        tree.insert(mo);
    }
    tree
}

/// A tree of [`WEB_AND_APP`] and more lines.
pub(crate) fn web_and_app(more: &str) -> Tree {
    tree(&[WEB_AND_APP, more])
}

/// Judges a packet of which no connection is known.
pub(crate) fn ask(tree: &Tree, from: &str, to: &str, packet: Packet) -> Judgement {
    judge(tree, &Endpoint::of(from), &Endpoint::of(to), &packet, State::New)
}

/// First packet of an IPv4 TCP connection from an ephemeral port.
pub(crate) fn syn(dport: u16) -> Packet {
    Packet::tcp_syn(EtherType::IPV4, 40000, dport)
}

/// `packet` with its ports exchanged.
pub(crate) fn turned(packet: Packet) -> Packet {
    Packet { sport: packet.dport, dport: packet.sport, ..packet }
}
