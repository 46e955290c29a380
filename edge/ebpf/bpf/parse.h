/*
 * Headers, outside in. Bytes are copied out by bpf_skb_load_bytes, which reads fragments of a
 * nonlinear skb as well, so that no packet has to be made linear to be judged.
 *
 * Each function returns 0, or the reason to drop the packet for.
 */
#ifndef SELVAGE_PARSE_H
#define SELVAGE_PARSE_H

/* RFC 8200 recommends each extension header at most once: hop-by-hop, two destination options,
 * routing, fragment, authentication. */
#define MAX_EXTENSION_HEADERS 6

static __always_inline int parse_ethernet(struct __sk_buff *skb, struct packet *p)
{
	struct ethhdr eth;

	if (bpf_skb_load_bytes(skb, 0, &eth, sizeof(eth)))
		return REASON_MALFORMED;
	__builtin_memcpy(p->dst_mac, eth.h_dest, 6);
	__builtin_memcpy(p->src_mac, eth.h_source, 6);
	/* A tag that the kernel has taken out of the frame is still a tag. */
	p->ether = skb->vlan_present ? ETH_P_8021Q : bpf_ntohs(eth.h_proto);
	return 0;
}

/* Fills in what a later fragment lacks: the transport header. */
static __always_inline int parse_transport(struct __sk_buff *skb, struct packet *p)
{
	__u8 l4[14] = {};

	p->what |= (__u64)p->ether << WHAT_ETHER | (__u64)p->proto << WHAT_PROTO | IS_IP;
	if (p->what & IS_LATER_FRAGMENT)
		return 0;
	switch (p->proto) {
	case IPPROTO_TCP:
		if (bpf_skb_load_bytes(skb, p->l4, l4, 14))
			return REASON_MALFORMED;
		p->tcp_flags = l4[13];
		p->what |= (__u64)p->tcp_flags << WHAT_TCP_FLAGS | IS_TCP | HAS_PORTS;
		if (p->tcp_flags & (TCP_ACK | TCP_RST))
			p->what |= IS_ESTABLISHED;
		break;
	case IPPROTO_UDP:
	case IPPROTO_SCTP:
		if (bpf_skb_load_bytes(skb, p->l4, l4, 8))
			return REASON_MALFORMED;
		p->what |= HAS_PORTS;
		break;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		if (bpf_skb_load_bytes(skb, p->l4, l4, 8))
			return REASON_MALFORMED;
		p->icmp_type = l4[0];
		p->icmp_code = l4[1];
		p->what |= (__u64)p->icmp_type << WHAT_ICMP_TYPE |
			   (__u64)p->icmp_code << WHAT_ICMP_CODE | IS_ICMP;
		/* Not ports to any rule, but what tells two echo conversations apart. */
		if (is_echo_request(p) || is_echo_reply(p))
			p->sport = p->dport = (__u16)l4[4] << 8 | l4[5];
		return 0;
	default:
		return 0;
	}
	p->sport = (__u16)l4[0] << 8 | l4[1];
	p->dport = (__u16)l4[2] << 8 | l4[3];
	return 0;
}

static __always_inline int parse_ipv4(struct __sk_buff *skb, struct packet *p)
{
	struct iphdr ip;
	__u32 header, total;

	if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)))
		return REASON_MALFORMED;
	header = ip.ihl * 4;
	total = bpf_ntohs(ip.tot_len);
	if (ip.version != 4 || header < sizeof(ip) || total < header ||
	    total > skb->len - ETH_HLEN)
		return REASON_MALFORMED;
	map_ipv4(&p->src, ip.saddr);
	map_ipv4(&p->dst, ip.daddr);
	p->proto = ip.protocol;
	p->hops = ip.ttl;
	p->what |= (__u64)(ip.tos >> 2) << WHAT_DSCP;
	p->l4 = ETH_HLEN + header;
	if (ip.frag_off & bpf_htons(0x1fff))
		p->what |= IS_LATER_FRAGMENT;
	return parse_transport(skb, p);
}

/* RFC 8200, 4: follows the chain to the transport header, or to a fragment that has none. */
static __always_inline int parse_ipv6(struct __sk_buff *skb, struct packet *p)
{
	struct ipv6hdr ip;
	__u32 offset = ETH_HLEN + sizeof(ip);
	__u8 next, head[4];
	int i;

	if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)))
		return REASON_MALFORMED;
	if (ip.version != 6 || bpf_ntohs(ip.payload_len) > skb->len - offset)
		return REASON_MALFORMED;
	__builtin_memcpy(&p->src, &ip.saddr, sizeof(p->src));
	__builtin_memcpy(&p->dst, &ip.daddr, sizeof(p->dst));
	p->hops = ip.hop_limit;
	/* The traffic class lies across the first two bytes; its upper six bits are the DSCP. */
	p->what |= (__u64)(ip.priority << 2 | ip.flow_lbl[0] >> 6) << WHAT_DSCP;
	next = ip.nexthdr;
	for (i = 0; i <= MAX_EXTENSION_HEADERS; i++) {
		bool options = next == IPPROTO_HOPOPTS || next == IPPROTO_ROUTING ||
			       next == IPPROTO_DSTOPTS;

		if (!options && next != IPPROTO_FRAGMENT && next != IPPROTO_AH) {
			p->proto = next;
			p->l4 = offset;
			return parse_transport(skb, p);
		}
		if (bpf_skb_load_bytes(skb, offset, head, sizeof(head)))
			return REASON_MALFORMED;
		if (next == IPPROTO_FRAGMENT) {
			offset += 8;
			if (head[2] || head[3] & 0xf8) {
				p->proto = head[0];
				p->l4 = offset;
				p->what |= IS_LATER_FRAGMENT;
				return parse_transport(skb, p);
			}
		} else if (next == IPPROTO_AH) {
			offset += (head[1] + 2) * 4; /* RFC 4302, 2.2 */
		} else {
			offset += (head[1] + 1) * 8;
		}
		next = head[0];
	}
	return REASON_EXTENSION_HEADER;
}

__noinline int parse_ip(struct __sk_buff *skb, struct packet *p)
{
	if (!p)
		return REASON_MALFORMED;
	if (p->ether == ETH_P_IP)
		return parse_ipv4(skb, p);
	if (p->ether == ETH_P_IPV6)
		return parse_ipv6(skb, p);
	return REASON_UNSUPPORTED_ETHERTYPE;
}

#endif
