//! The hosts of a rig: one, or two joined by a link.

use std::net::IpAddr;

use selvage_host::{Netlink, Veth, fill_checksums};
use selvage_rules::NodeId;

use super::{Kind, Options, Space};

/// Where a data plane is opened.
#[derive(Debug, Clone, Copy)]
pub struct Ground<'a> {
    /// The host's namespace.
    pub space: &'a Space,
    /// The host's tunnel address.
    pub tunnel: IpAddr,
    /// The link that has it, where there is another host.
    pub link: Option<&'a str>,
}

/// A host.
pub struct Host<K: Kind> {
    /// Its data plane.
    pub plane: Box<K::Plane>,
    /// How that was opened.
    pub kind: K,
    /// Its namespace.
    pub space: Space,
    /// Its tunnel address.
    pub tunnel: IpAddr,
    link: Option<String>,
}

impl<K: Kind> Host<K> {
    fn new(mut kind: K, (space, tunnel, link): (Space, IpAddr, Option<String>)) -> Host<K> {
        let ground = Ground { space: &space, tunnel, link: link.as_deref() };
        let plane = space.ns.run(|| kind.open(ground)).unwrap();
        Host { plane, kind, space, tunnel, link }
    }

    pub(super) fn restart(&mut self) {
        let link = self.link.as_deref();
        let ground = Ground { space: &self.space, tunnel: self.tunnel, link };
        self.plane = self.space.ns.run(|| self.kind.open(ground)).unwrap();
    }
}

pub(super) fn make<K: Kind>(kinds: Vec<K>, options: Options) -> Vec<Host<K>> {
    assert!(kinds.len() <= 2, "an underlay is one link");
    let like_a_wire = kinds.iter().any(Kind::is_like_a_wire);
    let joined = kinds.len() == 2;
    let grounds: Vec<(Space, IpAddr, Option<String>)> = (0..kinds.len())
        .map(|at| {
            let link = joined.then(|| format!("under{at}"));
            (Space::new("h"), tunnel_of(at, options), link)
        })
        .collect();
    if let [(one, _, Some(near)), (other, _, Some(far))] = &grounds[..] {
        join((one, near), (other, far));
        let len = if options.underlay_v6 { 64 } else { 24 };
        for (space, tunnel, name) in &grounds {
            let name = name.as_deref().unwrap();
            let mut link = Netlink::open_in(&space.ns).unwrap();
            if like_a_wire {
                fill_checksums(&space.ns, name).unwrap();
            }
            link.set_up(name).unwrap();
            let index = link.index_of(name).unwrap();
            link.add_address(index, *tunnel, len).unwrap();
        }
    }
    kinds.into_iter().zip(grounds).map(|(kind, ground)| Host::new(kind, ground)).collect()
}

fn join(one: (&Space, &str), other: (&Space, &str)) {
    let veth = Veth {
        name: one.1,
        mac: None,
        peer: other.1,
        peer_mac: None,
        peer_namespace: Some(&other.0.ns),
        mtu: 1600,
        group: 0,
    };
    Netlink::open_in(&one.0.ns).unwrap().create_veth(&veth).unwrap();
}

/// Hosts are numbered as a fabric's leaves are: from 101.
pub(super) fn node_of(host: usize) -> NodeId {
    NodeId(101 + u16::try_from(host).unwrap())
}

fn tunnel_of(host: usize, options: Options) -> IpAddr {
    let last = u8::try_from(host + 1).unwrap();
    if options.underlay_v6 {
        return IpAddr::from([0x2001, 0xdb8, 0xff, 0, 0, 0, 0, u16::from(last)]);
    }
    IpAddr::from([192, 0, 2, last])
}
