/* The world outside: which group an address is in that no endpoint has, and the way there. */
#ifndef SELVAGE_OUTSIDE_H
#define SELVAGE_OUTSIDE_H

/* A frame of its own, so that its key does not lie on the stack below decide(). */
static __noinline const struct external *find_outside(const struct packet *p,
						      const struct address *ip)
{
	struct prefix_key key = {
		.bits = OUTSIDE_BITS + 128,
		.scope = p->scope | (p->ether == ETH_P_IPV6 ? OUTSIDE_IPV6 : 0),
		.ip = *ip,
	};

	return bpf_map_lookup_elem(&outside, &key);
}

/* RFC 3927 and RFC 4291: valid on one link only, so never beyond a router. */
static __always_inline bool stays_on_link(const struct packet *p, const struct address *a)
{
	if (p->ether == ETH_P_IPV6)
		return is_link_local(a);
	return a->bytes[12] == 169 && a->bytes[13] == 254;
}

/* Fills in the class of a packet that came from outside, or from the host. An address of the inside
 * never comes from there. */
static __always_inline int classify_source(struct packet *p)
{
	const struct external *from;

	if (is_multicast(p) || is_neighbour_discovery(p))
		return REASON_MULTICAST;
	if (find_by_ip(p->scope, &p->src))
		return REASON_SPOOFED_IP;
	from = find_outside(p, &p->src);
	if (!from || !from->source || is_unspecified(p, &p->src) || stays_on_link(p, &p->src))
		return REASON_UNKNOWN_SOURCE;
	set_source(p, from->source, from->destination);
	return 0;
}

/* Whether the packet may go that way at all, before anybody asks for a contract. */
static __always_inline int check_way(const struct packet *p, const struct external *out)
{
	bool first = p->direction == FROM_ENDPOINT;

	if (!out || !out->destination || stays_on_link(p, &p->dst))
		return REASON_UNKNOWN_DESTINATION;
	if (out->exit != EXIT_HERE && !(first && out->exit == EXIT_HOST))
		return REASON_NO_EXIT;
	if (first && p->hops <= 1)
		return REASON_TTL_EXPIRED;
	return 0;
}

/* The hop limit falls where a packet is routed first, as between endpoints. */
static __noinline int hand_out(struct __sk_buff *skb, struct packet *p, const struct external *out)
{
	if (p->direction == FROM_ENDPOINT && write_hops(skb, p, p->hops - 1))
		return drop(skb, p, REASON_REDIRECT_FAILED);
	if (rewrite_macs(skb, out->mac, p->dst_mac))
		return drop(skb, p, REASON_REDIRECT_FAILED);
	if (out->exit == EXIT_HERE)
		return bpf_redirect(out->ifindex, 0);
	return send_to_host(skb, p, &out->tunnel, out->encapsulation, p->scope);
}

/*
 * A packet for an address that no endpoint has: judged, and sent to where its prefix is reached.
 * What came through the overlay has been routed, and goes no farther than this host.
 */
static __always_inline int send_outside(struct __sk_buff *skb, struct packet *p, __u32 charged)
{
	const struct external *out = find_outside(p, &p->dst);
	int reason = check_way(p, out);

	if (!reason && out) {
		set_destination(p, out->destination, out->source);
		reason = decide(skb, p, charged);
	}
	if (reason || !out)
		return drop(skb, p, reason);
	return hand_out(skb, p, out);
}

#endif
