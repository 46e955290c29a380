//! What comes out of the tunnel: the stages [`Stage::Tunnel`] and [`Stage::Recipient`].
//!
//! The VNI is the sender's group. Whether the packet was bridged or routed is told by its inner
//! destination: its MAC is one of the group's bridge domain, or else its address is asked for.

use selvage_rules::{Desired, GroupKey, Reason};

use super::deliver::{reach, to_address};
use super::outside::receives;
use super::place::{At, Places};
use super::{Bridge, Lowered, ipv4, ipv6, mac, otherwise};
use crate::openflow::{Action, Field, Match};
use crate::tables::{Stage, drop_for, flag, reg, set_flags, set_sender};

pub(super) fn fill(desired: &Desired, bridge: &Bridge, places: &Places, lowered: &mut Lowered) {
    for (number, source) in &desired.sources {
        let from = Match::any().with(Field::TunId, number.0);
        let GroupKey { scope, class } = source.key;
        let mut sender = vec![Action::set(reg::SCOPE, scope.0)];
        sender.extend(set_sender(class, receives(desired, source.key)));
        sender.push(Action::set(reg::BD, source.bd.map_or(0, |bd| bd.0)));
        for family in [ipv4(), ipv6()] {
            let mut ip = family;
            ip = ip.with(Field::TunId, number.0);
            lowered.add(Stage::Tunnel, 20, ip, then(&sender, vec![Stage::Recipient.goto()]));
        }
        let other = then(&sender, drop_for(Reason::UnsupportedEthertype));
        lowered.add(Stage::Tunnel, 10, from, other);
    }
    otherwise(lowered, Stage::Tunnel, Reason::UnknownNetwork);
    let is_here = |at: At| matches!(at, At::Port(_));
    for ((bd, to), place) in places.by_mac.iter().filter(|(_, place)| is_here(place.at)) {
        let bridged = Match::any().with(reg::BD, bd.0).with(Field::EthDst, mac(*to));
        lowered.add(Stage::Recipient, 30, bridged, reach(bridge, place, Stage::Track));
    }
    for ((scope, ip), place) in places.by_ip.iter().filter(|(_, place)| is_here(place.at)) {
        let routed = to_address(*ip).with(reg::SCOPE, scope.0);
        let actions = then(&[set_flags(flag::ROUTED)], reach(bridge, place, Stage::Track));
        lowered.add(Stage::Recipient, 20, routed, actions);
    }
    otherwise(lowered, Stage::Recipient, Reason::UnknownDestination);
}

fn then(first: &[Action], rest: Vec<Action>) -> Vec<Action> {
    first.iter().cloned().chain(rest).collect()
}
