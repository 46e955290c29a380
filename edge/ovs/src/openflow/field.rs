//! The fields of a packet and its metadata that a flow can match or set.

/// Declares [`Field`] and its table. A width is in bits. An OXM code is `class:field`; the first is
/// what we send, the others are what a switch may send for the same field.
macro_rules! fields {
    ($($(#[$doc:meta])* $name:ident $text:literal $nxm:literal $bits:literal $form:ident
       [$($class:literal : $code:literal),+];)*) => {
        /// A field of a packet, or of what the switch keeps beside it.
        ///
        /// The order is that in which `ovs-ofctl` prints them, which also puts every field behind
        /// those it presupposes (OpenFlow 1.4.1, 7.2.3.6).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Field { $($(#[$doc])* $name,)* }

        impl Field {
            /// Every field.
            pub const ALL: &'static [Field] = &[$(Field::$name,)*];

            /// Its name in `set_field` and in matches.
            pub fn name(self) -> &'static str {
                match self { $(Field::$name => $text,)* }
            }

            /// Its name in `move` and other actions on bits.
            pub fn nxm_name(self) -> &'static str {
                match self { $(Field::$name => $nxm,)* }
            }

            /// Its width in bits.
            pub fn bits(self) -> u32 {
                match self { $(Field::$name => $bits,)* }
            }

            /// How its values are written.
            pub(crate) fn form(self) -> Form {
                match self { $(Field::$name => Form::$form,)* }
            }

            /// The class and number it is sent with, then those it may also come with.
            pub(crate) fn codes(self) -> &'static [(u16, u8)] {
                match self { $(Field::$name => &[$(($class, $code)),+],)* }
            }

            /// The field of an OXM class and number.
            pub(crate) fn of_code(class: u16, code: u8) -> Option<Field> {
                match (class, code) {
                    $($(($class, $code) => Some(Field::$name),)+)*
                    _ => None,
                }
            }
        }
    };
}

/// How the values of a field are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Decimal,
    Hex,
    Mac,
    Ipv4,
    Ipv6,
    CtState,
    TcpFlags,
    Frag,
    Port,
}

fields! {
    /// A mark that the kernel keeps with the packet (`skb->mark`).
    PktMark "pkt_mark" "NXM_NX_PKT_MARK" 32 Hex [0x0001:33];
    /// Conjunction id, set when a conjunctive match is complete.
    ConjId "conj_id" "NXM_NX_CONJ_ID" 32 Decimal [0x0001:37];
    /// State of the tracked connection, see [`ct_state`].
    CtState "ct_state" "NXM_NX_CT_STATE" 32 CtState [0x0001:105];
    /// Zone it was tracked in.
    CtZone "ct_zone" "NXM_NX_CT_ZONE" 16 Hex [0x0001:106];
    /// Mark of the connection.
    CtMark "ct_mark" "NXM_NX_CT_MARK" 32 Hex [0x0001:107];
    /// Label of the connection.
    CtLabel "ct_label" "NXM_NX_CT_LABEL" 128 Hex [0x0001:108];
    /// Source address of the original direction of the connection.
    CtNwSrc "ct_nw_src" "NXM_NX_CT_NW_SRC" 32 Ipv4 [0x0001:120];
    /// Source address of the original direction of the connection.
    CtIpv6Src "ct_ipv6_src" "NXM_NX_CT_IPV6_SRC" 128 Ipv6 [0x0001:122];
    /// Destination address of the original direction of the connection.
    CtNwDst "ct_nw_dst" "NXM_NX_CT_NW_DST" 32 Ipv4 [0x0001:121];
    /// Destination address of the original direction of the connection.
    CtIpv6Dst "ct_ipv6_dst" "NXM_NX_CT_IPV6_DST" 128 Ipv6 [0x0001:123];
    /// IP protocol of the connection.
    CtNwProto "ct_nw_proto" "NXM_NX_CT_NW_PROTO" 8 Decimal [0x0001:119];
    /// Source port of the original direction of the connection.
    CtTpSrc "ct_tp_src" "NXM_NX_CT_TP_SRC" 16 Decimal [0x0001:124];
    /// Destination port of the original direction of the connection.
    CtTpDst "ct_tp_dst" "NXM_NX_CT_TP_DST" 16 Decimal [0x0001:125];
    /// Ethernet type.
    EthType "eth_type" "NXM_OF_ETH_TYPE" 16 Hex [0x8000:5, 0x0000:3];
    /// IP protocol (of IPv6: of the last header).
    IpProto "nw_proto" "NXM_OF_IP_PROTO" 8 Decimal [0x8000:10, 0x0000:6];
    /// Register 0; kept while the packet is in the pipeline, 0 at its start.
    Reg0 "reg0" "NXM_NX_REG0" 32 Hex [0x0001:0];
    /// Register 1.
    Reg1 "reg1" "NXM_NX_REG1" 32 Hex [0x0001:1];
    /// Register 2.
    Reg2 "reg2" "NXM_NX_REG2" 32 Hex [0x0001:2];
    /// Register 3.
    Reg3 "reg3" "NXM_NX_REG3" 32 Hex [0x0001:3];
    /// Register 4.
    Reg4 "reg4" "NXM_NX_REG4" 32 Hex [0x0001:4];
    /// Register 5.
    Reg5 "reg5" "NXM_NX_REG5" 32 Hex [0x0001:5];
    /// Register 6.
    Reg6 "reg6" "NXM_NX_REG6" 32 Hex [0x0001:6];
    /// Register 7.
    Reg7 "reg7" "NXM_NX_REG7" 32 Hex [0x0001:7];
    /// Register 8.
    Reg8 "reg8" "NXM_NX_REG8" 32 Hex [0x0001:8];
    /// Register 9.
    Reg9 "reg9" "NXM_NX_REG9" 32 Hex [0x0001:9];
    /// Register 10.
    Reg10 "reg10" "NXM_NX_REG10" 32 Hex [0x0001:10];
    /// Register 11.
    Reg11 "reg11" "NXM_NX_REG11" 32 Hex [0x0001:11];
    /// Register 12.
    Reg12 "reg12" "NXM_NX_REG12" 32 Hex [0x0001:12];
    /// Register 13.
    Reg13 "reg13" "NXM_NX_REG13" 32 Hex [0x0001:13];
    /// Register 14.
    Reg14 "reg14" "NXM_NX_REG14" 32 Hex [0x0001:14];
    /// Register 15.
    Reg15 "reg15" "NXM_NX_REG15" 32 Hex [0x0001:15];
    /// Registers 0 (upper half) and 1. In a match it becomes those.
    XReg0 "xreg0" "OXM_OF_PKT_REG0" 64 Hex [0x8001:0];
    /// Registers 2 and 3.
    XReg1 "xreg1" "OXM_OF_PKT_REG1" 64 Hex [0x8001:1];
    /// Registers 4 and 5.
    XReg2 "xreg2" "OXM_OF_PKT_REG2" 64 Hex [0x8001:2];
    /// Registers 6 and 7.
    XReg3 "xreg3" "OXM_OF_PKT_REG3" 64 Hex [0x8001:3];
    /// Registers 8 and 9.
    XReg4 "xreg4" "OXM_OF_PKT_REG4" 64 Hex [0x8001:4];
    /// Registers 10 and 11.
    XReg5 "xreg5" "OXM_OF_PKT_REG5" 64 Hex [0x8001:5];
    /// Registers 12 and 13.
    XReg6 "xreg6" "OXM_OF_PKT_REG6" 64 Hex [0x8001:6];
    /// Registers 14 and 15.
    XReg7 "xreg7" "OXM_OF_PKT_REG7" 64 Hex [0x8001:7];
    /// Registers 0 (most significant) to 3. In a match it becomes those.
    XxReg0 "xxreg0" "NXM_NX_XXREG0" 128 Hex [0x0001:111];
    /// Registers 4 to 7.
    XxReg1 "xxreg1" "NXM_NX_XXREG1" 128 Hex [0x0001:112];
    /// Registers 8 to 11.
    XxReg2 "xxreg2" "NXM_NX_XXREG2" 128 Hex [0x0001:113];
    /// Registers 12 to 15.
    XxReg3 "xxreg3" "NXM_NX_XXREG3" 128 Hex [0x0001:114];
    /// Key of the tunnel: the VNI of VXLAN. Set it before output to a `key=flow` tunnel port.
    TunId "tun_id" "NXM_NX_TUN_ID" 64 Hex [0x8000:38, 0x0001:16];
    /// Outer IPv4 source address.
    TunSrc "tun_src" "NXM_NX_TUN_IPV4_SRC" 32 Ipv4 [0x0001:31];
    /// Outer IPv4 destination address.
    TunDst "tun_dst" "NXM_NX_TUN_IPV4_DST" 32 Ipv4 [0x0001:32];
    /// Outer IPv6 source address.
    TunIpv6Src "tun_ipv6_src" "NXM_NX_TUN_IPV6_SRC" 128 Ipv6 [0x0001:109];
    /// Outer IPv6 destination address.
    TunIpv6Dst "tun_ipv6_dst" "NXM_NX_TUN_IPV6_DST" 128 Ipv6 [0x0001:110];
    /// Group of a VXLAN-GBP header.
    TunGbpId "tun_gbp_id" "NXM_NX_TUN_GBP_ID" 16 Decimal [0x0001:38];
    /// Flags of a VXLAN-GBP header.
    TunGbpFlags "tun_gbp_flags" "NXM_NX_TUN_GBP_FLAGS" 8 Hex [0x0001:39];
    /// Metadata between tables.
    Metadata "metadata" "OXM_OF_METADATA" 64 Hex [0x8000:2];
    /// The port it came in by.
    InPort "in_port_oxm" "OXM_OF_IN_PORT" 32 Port [0x8000:0];
    /// The whole VLAN tag; bit 12 says that there is one. Matches of [`Field::VlanVid`] and
    /// [`Field::VlanPcp`] become this.
    VlanTci "vlan_tci" "NXM_OF_VLAN_TCI" 16 Hex [0x0000:4];
    /// VLAN id, with 0x1000 for "there is one".
    VlanVid "vlan_vid" "OXM_OF_VLAN_VID" 13 Decimal [0x8000:6];
    /// VLAN priority.
    VlanPcp "vlan_pcp" "OXM_OF_VLAN_PCP" 3 Decimal [0x8000:7];
    /// Source MAC.
    EthSrc "eth_src" "NXM_OF_ETH_SRC" 48 Mac [0x8000:4, 0x0000:2];
    /// Destination MAC.
    EthDst "eth_dst" "NXM_OF_ETH_DST" 48 Mac [0x8000:3, 0x0000:1];
    /// IPv6 source address.
    Ipv6Src "ipv6_src" "NXM_NX_IPV6_SRC" 128 Ipv6 [0x8000:26, 0x0001:19];
    /// IPv6 destination address.
    Ipv6Dst "ipv6_dst" "NXM_NX_IPV6_DST" 128 Ipv6 [0x8000:27, 0x0001:20];
    /// IPv6 flow label.
    Ipv6Label "ipv6_label" "NXM_NX_IPV6_LABEL" 20 Hex [0x8000:28, 0x0001:27];
    /// Sender's protocol address of ARP.
    ArpSpa "arp_spa" "NXM_OF_ARP_SPA" 32 Ipv4 [0x8000:22, 0x0000:16];
    /// Target's protocol address of ARP.
    ArpTpa "arp_tpa" "NXM_OF_ARP_TPA" 32 Ipv4 [0x8000:23, 0x0000:17];
    /// IPv4 source address.
    Ipv4Src "ip_src" "NXM_OF_IP_SRC" 32 Ipv4 [0x8000:11, 0x0000:7];
    /// IPv4 destination address.
    Ipv4Dst "ip_dst" "NXM_OF_IP_DST" 32 Ipv4 [0x8000:12, 0x0000:8];
    /// Operation of ARP.
    ArpOp "arp_op" "NXM_OF_ARP_OP" 16 Decimal [0x8000:21, 0x0000:15];
    /// Sender's MAC of ARP.
    ArpSha "arp_sha" "NXM_NX_ARP_SHA" 48 Mac [0x8000:24, 0x0001:17];
    /// Target's MAC of ARP.
    ArpTha "arp_tha" "NXM_NX_ARP_THA" 48 Mac [0x8000:25, 0x0001:18];
    /// Upper six bits of the traffic class.
    IpDscp "ip_dscp" "OXM_OF_IP_DSCP" 6 Decimal [0x8000:8];
    /// Lower two bits of the traffic class.
    IpEcn "nw_ecn" "NXM_NX_IP_ECN" 2 Decimal [0x8000:9, 0x0001:28];
    /// Time to live, hop limit.
    IpTtl "nw_ttl" "NXM_NX_IP_TTL" 8 Decimal [0x0001:29];
    /// Whether it is a fragment, see [`frag`].
    IpFrag "ip_frag" "NXM_NX_IP_FRAG" 8 Frag [0x0001:26];
    /// ICMP type.
    Icmpv4Type "icmp_type" "NXM_OF_ICMP_TYPE" 8 Decimal [0x8000:19, 0x0000:13];
    /// ICMP code.
    Icmpv4Code "icmp_code" "NXM_OF_ICMP_CODE" 8 Decimal [0x8000:20, 0x0000:14];
    /// ICMPv6 type.
    Icmpv6Type "icmpv6_type" "NXM_NX_ICMPV6_TYPE" 8 Decimal [0x8000:29, 0x0001:21];
    /// ICMPv6 code.
    Icmpv6Code "icmpv6_code" "NXM_NX_ICMPV6_CODE" 8 Decimal [0x8000:30, 0x0001:22];
    /// Target of a neighbour solicitation or advertisement.
    NdTarget "nd_target" "NXM_NX_ND_TARGET" 128 Ipv6 [0x8000:31, 0x0001:23];
    /// Source link-layer address option.
    NdSll "nd_sll" "NXM_NX_ND_SLL" 48 Mac [0x8000:32, 0x0001:24];
    /// Target link-layer address option.
    NdTll "nd_tll" "NXM_NX_ND_TLL" 48 Mac [0x8000:33, 0x0001:25];
    /// The reserved word of a neighbour solicitation; the flags of an advertisement.
    NdReserved "nd_reserved" "ERICOXM_OF_ICMPV6_ND_RESERVED" 32 Hex [0x1000:1];
    /// Type of the first option of neighbour discovery.
    NdOptionsType "nd_options_type" "ERICOXM_OF_ICMPV6_ND_OPTIONS_TYPE" 8 Decimal [0x1000:2];
    /// TCP source port.
    TcpSrc "tcp_src" "NXM_OF_TCP_SRC" 16 Decimal [0x8000:13, 0x0000:9];
    /// TCP destination port.
    TcpDst "tcp_dst" "NXM_OF_TCP_DST" 16 Decimal [0x8000:14, 0x0000:10];
    /// UDP source port.
    UdpSrc "udp_src" "NXM_OF_UDP_SRC" 16 Decimal [0x8000:15, 0x0000:11];
    /// UDP destination port.
    UdpDst "udp_dst" "NXM_OF_UDP_DST" 16 Decimal [0x8000:16, 0x0000:12];
    /// SCTP source port.
    SctpSrc "sctp_src" "OXM_OF_SCTP_SRC" 16 Decimal [0x8000:17];
    /// SCTP destination port.
    SctpDst "sctp_dst" "OXM_OF_SCTP_DST" 16 Decimal [0x8000:18];
    /// TCP flags, the lower 12 bits.
    TcpFlags "tcp_flags" "NXM_NX_TCP_FLAGS" 12 TcpFlags [0x0001:34, 0x8000:42];
}

impl Field {
    /// Register `number`, 0 to 15.
    pub fn reg(number: u8) -> Option<Field> {
        Field::of_code(0x0001, number).filter(|_| number < 16)
    }

    /// Bytes of a value on the wire.
    pub(crate) fn bytes(self) -> usize {
        match self {
            Field::Ipv6Label => 4,
            field => field.bits().div_ceil(8) as usize,
        }
    }

    /// The bits of it that can be other than 0, where a switch that is told of more keeps only those.
    pub(crate) fn used_mask(self) -> u128 {
        match self {
            Field::CtState => 0xff,
            Field::IpFrag => 0x03,
            field => field.full_mask(),
        }
    }

    /// A mask of all its bits.
    pub fn full_mask(self) -> u128 {
        u128::MAX >> (128 - self.bits())
    }
}

/// Bits of [`Field::CtState`].
pub mod ct_state {
    /// First packet of a connection that is not committed.
    pub const NEW: u32 = 0x01;
    /// Part of a committed connection.
    pub const EST: u32 = 0x02;
    /// Caused by a committed connection, such as an ICMP error.
    pub const REL: u32 = 0x04;
    /// Against the direction in which the connection was opened.
    pub const RPL: u32 = 0x08;
    /// It cannot be tracked.
    pub const INV: u32 = 0x10;
    /// It went through the tracker.
    pub const TRK: u32 = 0x20;
    /// Its source was translated.
    pub const SNAT: u32 = 0x40;
    /// Its destination was translated.
    pub const DNAT: u32 = 0x80;
}

/// Bits of [`Field::IpFrag`].
pub mod frag {
    /// It is a fragment.
    pub const ANY: u8 = 0x01;
    /// It is a fragment other than the first.
    pub const LATER: u8 = 0x02;
    /// The IP protocol that a later fragment of IPv6 is said to have: the fragment header (RFC 8200,
    /// 4.5), whatever is in it.
    pub const HEADER: u8 = 44;
}
