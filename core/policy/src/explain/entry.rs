//! One packet as the filter entry that matches its flow.

use selvage_model::Post;
use selvage_rules::{EtherType, Packet, proto};

/// A name and the attributes of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// What its filter may be called: `tcp-443`.
    pub name: String,
    attributes: Vec<(&'static str, String)>,
}

impl Wanted {
    /// The entry as an object of this name.
    pub fn post(&self, name: &str) -> Post {
        let entry = Post::new("vzEntry").with("name", name);
        self.attributes.iter().fold(entry, |entry, (prop, value)| entry.with(*prop, value.clone()))
    }

    /// The same, with answers by the connection where there is one.
    pub fn stateful(mut self, packet: &Packet) -> Wanted {
        if packet.has_ports() {
            self.attributes.push(("stateful", "yes".to_owned()));
        }
        self
    }
}

/// The entry that matches the flow of `packet` toward its receiver. `None` where a filter cannot
/// name it: port 0, and frames that are neither IP nor ARP.
pub fn toward(packet: &Packet) -> Option<Wanted> {
    of(packet, Some(packet.dport), None)
}

/// The entry that matches just this packet's ports.
pub fn exactly(packet: &Packet) -> Option<Wanted> {
    of(packet, Some(packet.dport), Some(packet.sport))
}

fn of(packet: &Packet, dport: Option<u16>, sport: Option<u16>) -> Option<Wanted> {
    if packet.ether == EtherType::ARP {
        let attributes = vec![("etherT", "arp".to_owned())];
        return Some(Wanted { name: "arp".to_owned(), attributes });
    }
    if !packet.ether.is_ip() || packet.proto == 0 {
        return None;
    }
    let protocol = match packet.proto {
        proto::TCP => "tcp".to_owned(),
        proto::UDP => "udp".to_owned(),
        proto::ICMP => "icmp".to_owned(),
        proto::ICMPV6 => "icmpv6".to_owned(),
        other => other.to_string(),
    };
    let mut attributes = vec![("etherT", "ip".to_owned()), ("prot", protocol.clone())];
    let mut name = protocol;
    if packet.later_fragment {
        attributes.push(("applyToFrag", "yes".to_owned()));
        name += "-fragments";
    } else if packet.has_ports() {
        let mut range = |port: Option<u16>, from, to| match port {
            Some(0) => None,
            Some(port) => {
                attributes.extend([(from, port.to_string()), (to, port.to_string())]);
                name += &format!("-{port}");
                Some(())
            }
            None => Some(()),
        };
        range(dport, "dFromPort", "dToPort")?;
        range(sport, "sFromPort", "sToPort")?;
    }
    Some(Wanted { name, attributes })
}
