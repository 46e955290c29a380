/* The gateway's own address: it answers echo, and offers nothing else. */
#ifndef SELVAGE_GATEWAY_H
#define SELVAGE_GATEWAY_H

#define GATEWAY_HOPS 64

static __always_inline int swap_addresses(struct __sk_buff *skb, const struct packet *p)
{
	__be32 v4[2] = { ipv4_of(&p->dst), ipv4_of(&p->src) };
	struct address v6[2] = { p->dst, p->src };

	if (p->ether == ETH_P_IP)
		return bpf_skb_store_bytes(skb, ETH_HLEN + offsetof(struct iphdr, saddr), v4,
					   sizeof(v4), 0);
	return bpf_skb_store_bytes(skb, ETH_HLEN + offsetof(struct ipv6hdr, saddr), v6, sizeof(v6),
				   0);
}

/*
 * Makes the reply of the request in place. Swapping source and destination changes no sum; the
 * type does, by its own word. The later fragments of a long request only turn around.
 */
static __noinline int handle_gateway(struct __sk_buff *skb, struct packet *p)
{
	bool later = p->what & IS_LATER_FRAGMENT &&
		     (p->proto == IPPROTO_ICMP || p->proto == IPPROTO_ICMPV6);
	__u8 type = p->ether == ETH_P_IP ? ICMP4_ECHO_REPLY : ICMP6_ECHO_REPLY;
	__u16 from = 0, to;
	__sum16 check;

	if (!later && !is_echo_request(p))
		return drop(skb, p, REASON_GATEWAY);
	if (!later) {
		if (bpf_skb_load_bytes(skb, p->l4, &from, 2) ||
		    bpf_skb_load_bytes(skb, p->l4 + 2, &check, 2))
			return drop(skb, p, REASON_MALFORMED);
		to = from;
		*(__u8 *)&to = type;
		check = checksum_replace(check, from, to);
		if (bpf_skb_store_bytes(skb, p->l4, &to, 2, 0) ||
		    bpf_skb_store_bytes(skb, p->l4 + 2, &check, 2, 0))
			return drop(skb, p, REASON_REDIRECT_FAILED);
	}
	if (write_hops(skb, p, GATEWAY_HOPS) || swap_addresses(skb, p) ||
	    rewrite_macs(skb, p->src_mac, p->dst_mac))
		return drop(skb, p, REASON_REDIRECT_FAILED);
	return reflect(skb, p);
}

#endif
