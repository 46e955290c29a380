//! Why a packet passed or not. Generated from schema/reasons.toml; do not edit.

use serde::{Deserialize, Serialize};

/// Whether a reason lets a packet pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It passes.
    Allow,
    /// It is dropped.
    Drop,
}

/// Why a packet passed or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum Reason {
    /// A contract between the two groups allows it.
    Contract = 1,
    /// Both endpoints are in the same group, and the group is not isolated.
    IntraGroup = 2,
    /// It answers a connection that a stateful rule allowed.
    Established = 3,
    /// The VRF does not enforce policy.
    Unenforced = 4,
    /// The fabric itself answers it: address resolution, or the gateway's echo.
    Fabric = 5,
    /// Both groups are in the preferred group of their VRF.
    PreferredGroup = 6,
    /// A contract between the two groups sends it through a service.
    Service = 7,
    /// No contract between the two groups covers it.
    NoContract = 16,
    /// A rule denies it.
    Denied = 17,
    /// The endpoint's policy has not arrived.
    Quarantine = 18,
    /// Its source MAC is not the endpoint's.
    SpoofedMac = 19,
    /// Its source address is not the endpoint's.
    SpoofedIp = 20,
    /// It claims an address that is not the endpoint's, by ARP or neighbour discovery.
    SpoofedArp = 21,
    /// A header is truncated or contradicts itself.
    Malformed = 22,
    /// No endpoint of the VRF has the destination address.
    UnknownDestination = 23,
    /// It came through the overlay from an address that is no host of the fabric.
    UnknownTunnel = 24,
    /// It came through the overlay for a bridge domain or VRF that this host does not have.
    UnknownNetwork = 25,
    /// Its hop limit ran out at the gateway.
    TtlExpired = 26,
    /// The host's connection table is full.
    ConntrackFull = 27,
    /// The endpoint has as many connections as one endpoint may have.
    ConntrackCap = 28,
    /// Neither IPv4, IPv6 nor ARP.
    UnsupportedEthertype = 29,
    /// Multicast and broadcast are not carried between endpoints.
    Multicast = 30,
    /// It came from the host's own network stack, which is in no group.
    HostOrigin = 31,
    /// The destination is in another bridge domain, and one of the two does not route.
    NotRouted = 32,
    /// A later fragment carries no ports, so no rule with ports can match it.
    Fragment = 33,
    /// The kernel could not hand it to the destination's link.
    RedirectFailed = 34,
    /// The gateway address offers nothing but echo.
    Gateway = 35,
    /// Its chain of IPv6 extension headers is longer than the data plane follows.
    ExtensionHeader = 36,
    /// No external EPG of the VRF has the source address, which came from outside or from the host itself.
    UnknownSource = 37,
    /// The destination is outside, and no host that is up leads there.
    NoExit = 38,
    /// Its rule sends it through a service, which this data plane cannot do.
    RedirectUnsupported = 39,
    /// Its rule sends it through a service that has no healthy address.
    ServiceDown = 40,
    /// No host protection policy of one of the two endpoints allows it.
    HostProtection = 41,
}

impl Reason {
    /// Every reason, by ascending code.
    pub const ALL: &[Reason] = &[
        Reason::Contract,
        Reason::IntraGroup,
        Reason::Established,
        Reason::Unenforced,
        Reason::Fabric,
        Reason::PreferredGroup,
        Reason::Service,
        Reason::NoContract,
        Reason::Denied,
        Reason::Quarantine,
        Reason::SpoofedMac,
        Reason::SpoofedIp,
        Reason::SpoofedArp,
        Reason::Malformed,
        Reason::UnknownDestination,
        Reason::UnknownTunnel,
        Reason::UnknownNetwork,
        Reason::TtlExpired,
        Reason::ConntrackFull,
        Reason::ConntrackCap,
        Reason::UnsupportedEthertype,
        Reason::Multicast,
        Reason::HostOrigin,
        Reason::NotRouted,
        Reason::Fragment,
        Reason::RedirectFailed,
        Reason::Gateway,
        Reason::ExtensionHeader,
        Reason::UnknownSource,
        Reason::NoExit,
        Reason::RedirectUnsupported,
        Reason::ServiceDown,
        Reason::HostProtection,
    ];

    /// The reason with this code.
    pub fn from_code(code: u8) -> Option<Reason> {
        Reason::ALL.iter().copied().find(|r| *r as u8 == code)
    }

    /// What users read and type.
    pub fn name(self) -> &'static str {
        match self {
            Reason::Contract => "contract",
            Reason::IntraGroup => "intra-group",
            Reason::Established => "established",
            Reason::Unenforced => "unenforced",
            Reason::Fabric => "fabric",
            Reason::PreferredGroup => "preferred-group",
            Reason::Service => "service",
            Reason::NoContract => "no-contract",
            Reason::Denied => "denied",
            Reason::Quarantine => "quarantine",
            Reason::SpoofedMac => "spoofed-mac",
            Reason::SpoofedIp => "spoofed-ip",
            Reason::SpoofedArp => "spoofed-arp",
            Reason::Malformed => "malformed",
            Reason::UnknownDestination => "unknown-destination",
            Reason::UnknownTunnel => "unknown-tunnel",
            Reason::UnknownNetwork => "unknown-network",
            Reason::TtlExpired => "ttl-expired",
            Reason::ConntrackFull => "conntrack-full",
            Reason::ConntrackCap => "conntrack-cap",
            Reason::UnsupportedEthertype => "unsupported-ethertype",
            Reason::Multicast => "multicast",
            Reason::HostOrigin => "host-origin",
            Reason::NotRouted => "not-routed",
            Reason::Fragment => "fragment",
            Reason::RedirectFailed => "redirect-failed",
            Reason::Gateway => "gateway",
            Reason::ExtensionHeader => "extension-header",
            Reason::UnknownSource => "unknown-source",
            Reason::NoExit => "no-exit",
            Reason::RedirectUnsupported => "redirect-unsupported",
            Reason::ServiceDown => "service-down",
            Reason::HostProtection => "host-protection",
        }
    }

    /// One sentence, from the packet's point of view.
    pub fn text(self) -> &'static str {
        match self {
            Reason::Contract => "a contract between the two groups allows it",
            Reason::IntraGroup => {
                "both endpoints are in the same group, and the group is not isolated"
            }
            Reason::Established => "it answers a connection that a stateful rule allowed",
            Reason::Unenforced => "the VRF does not enforce policy",
            Reason::Fabric => {
                "the fabric itself answers it: address resolution, or the gateway's echo"
            }
            Reason::PreferredGroup => "both groups are in the preferred group of their VRF",
            Reason::Service => "a contract between the two groups sends it through a service",
            Reason::NoContract => "no contract between the two groups covers it",
            Reason::Denied => "a rule denies it",
            Reason::Quarantine => "the endpoint's policy has not arrived",
            Reason::SpoofedMac => "its source MAC is not the endpoint's",
            Reason::SpoofedIp => "its source address is not the endpoint's",
            Reason::SpoofedArp => {
                "it claims an address that is not the endpoint's, by ARP or neighbour discovery"
            }
            Reason::Malformed => "a header is truncated or contradicts itself",
            Reason::UnknownDestination => "no endpoint of the VRF has the destination address",
            Reason::UnknownTunnel => {
                "it came through the overlay from an address that is no host of the fabric"
            }
            Reason::UnknownNetwork => {
                "it came through the overlay for a bridge domain or VRF that this host does not have"
            }
            Reason::TtlExpired => "its hop limit ran out at the gateway",
            Reason::ConntrackFull => "the host's connection table is full",
            Reason::ConntrackCap => "the endpoint has as many connections as one endpoint may have",
            Reason::UnsupportedEthertype => "neither IPv4, IPv6 nor ARP",
            Reason::Multicast => "multicast and broadcast are not carried between endpoints",
            Reason::HostOrigin => "it came from the host's own network stack, which is in no group",
            Reason::NotRouted => {
                "the destination is in another bridge domain, and one of the two does not route"
            }
            Reason::Fragment => {
                "a later fragment carries no ports, so no rule with ports can match it"
            }
            Reason::RedirectFailed => "the kernel could not hand it to the destination's link",
            Reason::Gateway => "the gateway address offers nothing but echo",
            Reason::ExtensionHeader => {
                "its chain of IPv6 extension headers is longer than the data plane follows"
            }
            Reason::UnknownSource => {
                "no external EPG of the VRF has the source address, which came from outside or from the host itself"
            }
            Reason::NoExit => "the destination is outside, and no host that is up leads there",
            Reason::RedirectUnsupported => {
                "its rule sends it through a service, which this data plane cannot do"
            }
            Reason::ServiceDown => {
                "its rule sends it through a service that has no healthy address"
            }
            Reason::HostProtection => {
                "no host protection policy of one of the two endpoints allows it"
            }
        }
    }

    /// Whether it lets the packet pass.
    pub fn is_allow(self) -> bool {
        [
            Reason::Contract,
            Reason::IntraGroup,
            Reason::Established,
            Reason::Unenforced,
            Reason::Fabric,
            Reason::PreferredGroup,
            Reason::Service,
        ]
        .contains(&self)
    }

    /// Whether it is only counted, without an event for each packet.
    pub fn is_quiet(self) -> bool {
        [Reason::Multicast, Reason::HostOrigin, Reason::Gateway].contains(&self)
    }

    /// Whether it lets the packet pass, as a [`Kind`].
    pub fn kind(self) -> Kind {
        if self.is_allow() { Kind::Allow } else { Kind::Drop }
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
