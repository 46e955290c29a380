/*
 * Address resolution, answered where it is asked: for gateways, and for every endpoint of the same
 * bridge domain that this host knows of. So neither ARP nor neighbour discovery is ever flooded,
 * and what one endpoint claims about addresses reaches no other.
 */
#ifndef SELVAGE_NEIGHBOUR_H
#define SELVAGE_NEIGHBOUR_H

/* RFC 826, for Ethernet and IPv4. */
struct arp {
	__be16 hardware;
	__be16 protocol;
	__u8 hardware_len;
	__u8 protocol_len;
	__be16 operation;
	__u8 sender_mac[6];
	__u8 sender_ip[4];
	__u8 target_mac[6];
	__u8 target_ip[4];
};

#define ARP_REQUEST 1
#define ARP_REPLY 2

/* RFC 4861, 4.3 and 4.4, with one link-layer address option. */
struct neighbour_message {
	__u8 type;
	__u8 code;
	__sum16 check;
	__be32 flags;
	struct address target;
	__u8 option;
	__u8 option_len; /* in units of 8 bytes */
	__u8 mac[6];
};

#define ND_ROUTER_SOLICITATION 133
#define ND_ROUTER_ADVERTISEMENT 134
#define ND_SOLICITATION 135
#define ND_ADVERTISEMENT 136
#define ND_REDIRECT 137
#define ND_OPTION_TARGET_MAC 2
#define ND_FLAG_ROUTER 0x80000000
#define ND_FLAG_SOLICITED 0x40000000
#define ND_FLAG_OVERRIDE 0x20000000
#define ND_HOPS 255 /* RFC 4861, 6.1 and 7.1: anything lower was forwarded */
#define ND_REPLY_LEN (ETH_HLEN + sizeof(struct ipv6hdr) + sizeof(struct neighbour_message))

static __always_inline const struct endpoint *find_by_ip(__u32 scope, const struct address *ip)
{
	struct ip_key key = { .scope = scope, .ip = *ip };

	return bpf_map_lookup_elem(&endpoints_by_ip, &key);
}

/* Whether the address is the endpoint's that is bound to this very port. The unspecified address
 * is nobody's: an endpoint without addresses does not own it. */
static __always_inline bool owns(struct __sk_buff *skb, const struct port *port,
				 const struct packet *p, const struct address *ip)
{
	const struct endpoint *e;

	if (is_unspecified(p, ip))
		return false;
	if (same_address(ip, &port->first_v4) || same_address(ip, &port->first_v6))
		return true;
	e = find_by_ip(port->scope, ip);
	return e && e->kind == ENDPOINT_LOCAL && e->ifindex == skb->ifindex;
}

/* Who answers for a target: something of the same bridge domain that is not the asker itself. */
static __always_inline const struct endpoint *
neighbour(struct __sk_buff *skb, const struct port *port, const struct address *target)
{
	const struct endpoint *e = find_by_ip(port->scope, target);

	if (!e || e->bd != port->bd)
		return NULL;
	return e;
}

static __noinline int handle_arp(struct __sk_buff *skb, struct packet *p, const struct port *port)
{
	const struct endpoint *answer;
	struct arp arp;

	if (bpf_skb_load_bytes(skb, ETH_HLEN, &arp, sizeof(arp)))
		return drop(skb, p, REASON_MALFORMED);
	if (arp.hardware != bpf_htons(1) || arp.protocol != bpf_htons(ETH_P_IP) ||
	    arp.hardware_len != 6 || arp.protocol_len != 4)
		return drop(skb, p, REASON_MALFORMED);
	p->arp_operation = bpf_ntohs(arp.operation);
	map_ipv4(&p->src, *(__be32 *)arp.sender_ip);
	map_ipv4(&p->dst, *(__be32 *)arp.target_ip);
	if (!same_mac(arp.sender_mac, port->mac))
		return drop(skb, p, REASON_SPOOFED_ARP);
	/* RFC 5227, 2.1.1: a probe has no sender address, claims nothing, and expects no answer
	 * where the address is free. Addresses here are given out, not negotiated. */
	if (!ipv4_of(&p->src))
		return consume(skb);
	if (!owns(skb, port, p, &p->src))
		return drop(skb, p, REASON_SPOOFED_ARP);
	if (p->arp_operation != ARP_REQUEST || same_address(&p->src, &p->dst))
		return consume(skb);
	answer = neighbour(skb, port, &p->dst);
	if (!answer)
		return drop(skb, p, REASON_UNKNOWN_DESTINATION);

	arp.operation = bpf_htons(ARP_REPLY);
	__builtin_memcpy(arp.target_mac, arp.sender_mac, 6);
	__builtin_memcpy(arp.sender_mac, answer->mac, 6);
	*(__be32 *)arp.sender_ip = ipv4_of(&p->dst);
	*(__be32 *)arp.target_ip = ipv4_of(&p->src);
	if (bpf_skb_store_bytes(skb, ETH_HLEN, &arp, sizeof(arp), 0) ||
	    rewrite_macs(skb, port->mac, answer->mac))
		return drop(skb, p, REASON_REDIRECT_FAILED);
	return reflect(skb, p);
}

/* Turns the solicitation in hand into the advertisement that answers it. */
static __always_inline int advertise(struct __sk_buff *skb, struct packet *p,
				     const struct port *port, const struct endpoint *answer,
				     const struct address *target)
{
	struct {
		struct ipv6hdr ip;
		struct neighbour_message nd;
	} reply = {};
	__u32 flags = ND_FLAG_SOLICITED | ND_FLAG_OVERRIDE;
	__s64 sum;

	if (answer->kind == ENDPOINT_GATEWAY)
		flags |= ND_FLAG_ROUTER;
	reply.nd.type = ND_ADVERTISEMENT;
	reply.nd.flags = bpf_htonl(flags);
	reply.nd.target = *target;
	reply.nd.option = ND_OPTION_TARGET_MAC;
	reply.nd.option_len = 1;
	__builtin_memcpy(reply.nd.mac, answer->mac, 6);
	__builtin_memcpy(&reply.ip.saddr, target, 16);
	__builtin_memcpy(&reply.ip.daddr, &p->src, 16);
	/* The pseudo-header (RFC 8200, 8.1) is what an IPv6 header with the length in its place
	 * sums to, so the header is filled in around the sum. */
	reply.ip.payload_len = bpf_htons(sizeof(reply.nd));
	reply.ip.hop_limit = IPPROTO_ICMPV6;
	sum = bpf_csum_diff(NULL, 0, (__be32 *)&reply, sizeof(reply), 0);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	reply.nd.check = ~sum;
	reply.ip.version = 6;
	reply.ip.nexthdr = IPPROTO_ICMPV6;
	reply.ip.hop_limit = ND_HOPS;
	if (bpf_skb_change_tail(skb, ND_REPLY_LEN, 0) ||
	    bpf_skb_store_bytes(skb, ETH_HLEN, &reply, sizeof(reply), BPF_F_RECOMPUTE_CSUM) ||
	    rewrite_macs(skb, port->mac, answer->mac))
		return drop(skb, p, REASON_REDIRECT_FAILED);
	return reflect(skb, p);
}

static __always_inline bool is_neighbour_discovery(const struct packet *p)
{
	return p->ether == ETH_P_IPV6 && p->what & IS_ICMP && p->proto == IPPROTO_ICMPV6 &&
	       p->icmp_type >= ND_ROUTER_SOLICITATION && p->icmp_type <= ND_REDIRECT;
}

/* All five messages end here. The source MAC is the endpoint's already. */
static __noinline int handle_nd(struct __sk_buff *skb, struct packet *p, const struct port *port)
{
	const struct endpoint *answer;
	struct address target;
	bool probe = is_unspecified(p, &p->src);

	if (p->hops != ND_HOPS)
		return drop(skb, p, REASON_MALFORMED);
	if (!probe && !is_link_local(&p->src) && !owns(skb, port, p, &p->src))
		return drop(skb, p, REASON_SPOOFED_ARP);
	if (p->icmp_type == ND_ROUTER_SOLICITATION)
		return drop(skb, p, REASON_MULTICAST);
	if (p->icmp_type == ND_ROUTER_ADVERTISEMENT || p->icmp_type == ND_REDIRECT)
		return drop(skb, p, REASON_SPOOFED_ARP);
	/* RFC 4861, 7.1: the code is 0. */
	if (p->icmp_code || bpf_skb_load_bytes(skb, p->l4 + 8, &target, sizeof(target)))
		return drop(skb, p, REASON_MALFORMED);
	if (p->icmp_type == ND_ADVERTISEMENT) {
		if (!is_link_local(&target) && !owns(skb, port, p, &target))
			return drop(skb, p, REASON_SPOOFED_ARP);
		return consume(skb);
	}
	/* RFC 4862, 5.4: duplicate address detection, as for ARP probes. */
	if (probe || same_address(&p->src, &target))
		return consume(skb);
	answer = neighbour(skb, port, &target);
	if (!answer)
		return drop(skb, p, REASON_UNKNOWN_DESTINATION);
	return advertise(skb, p, port, answer, &target);
}

#endif
