/*
 * The data plane: four programs that packets meet, and one that user space runs.
 *
 *   endpoint --veth--> from_endpoint --+--> redirect_peer --> endpoint of this host
 *                                      +--> vxlan --> other host --> from_overlay --+
 *                          endpoint of that host <-- redirect_peer <----------------+
 *
 *   from_endpoint or from_overlay --> link to the host's stack --> outside, or the host itself
 *   outside, or the host itself --> that link --> from_exit --> endpoint of this or another host
 *
 * The source host judges, so that what is denied costs no one else; the destination host always
 * judges, by the class that came along, so that nothing depends on the source having done so.
 * Routing happens once, at the source: the hop limit falls there, and the MACs become the
 * destination's. The destination host writes the MACs of routed packets again, because its own
 * knowledge of its endpoint is the newer one.
 */
#include <linux/types.h>
#include <linux/bpf.h>
#include <linux/errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <stdbool.h>
#include <stddef.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#ifndef memset
#define memset __builtin_memset
#endif

#include "reasons.h"
#include "types.h"
#include "maps.h"
#include "packet.h"
#include "count.h"
#include "parse.h"
#include "policy.h"
#include "timeouts.h"
#include "connection.h"
#include "verdict.h"
#include "forward.h"
#include "neighbour.h"
#include "gateway.h"
#include "outside.h"

char LICENSE[] SEC("license") = "GPL";

/* Multicast is what it is whoever sends it, as long as nobody else is impersonated by it. */
static __always_inline int check_source(struct __sk_buff *skb, const struct port *port,
					const struct packet *p)
{
	bool multicast = is_multicast(p);

	if (multicast && (is_unspecified(p, &p->src) || is_link_local(&p->src)))
		return REASON_MULTICAST;
	if (!owns(skb, port, p, &p->src))
		return REASON_SPOOFED_IP;
	return multicast ? REASON_MULTICAST : 0;
}

/* By MAC within the bridge domain, or by address within the VRF if it is for the gateway's MAC. */
static __always_inline const struct endpoint *
find_destination(const struct port *port, const struct packet *p, bool routed)
{
	struct mac_key key = { .bd = port->bd };

	if (routed)
		return find_by_ip(port->scope, &p->dst);
	__builtin_memcpy(key.mac, p->dst_mac, 6);
	return bpf_map_lookup_elem(&endpoints_by_mac, &key);
}

static __always_inline int route(struct __sk_buff *skb, const struct packet *p,
				 const struct endpoint *to)
{
	if (write_hops(skb, p, p->hops - 1) || rewrite_macs(skb, to->mac, to->gateway_mac))
		return REASON_REDIRECT_FAILED;
	return 0;
}

/* A frame of a bound endpoint, its MAC checked, that is neither ARP nor neighbour discovery. */
static __always_inline int switch_packet(struct __sk_buff *skb, struct packet *p,
					 const struct port *port)
{
	bool routed = same_mac(p->dst_mac, port->gateway_mac);
	const struct endpoint *to;
	int reason = check_source(skb, port, p);

	if (reason)
		return drop(skb, p, reason);
	if (p->dst_mac[0] & 1)
		return drop(skb, p, REASON_MULTICAST);
	if (routed && !port->routed)
		return drop(skb, p, REASON_NOT_ROUTED);
	to = find_destination(port, p, routed);
	if (!to && routed)
		return send_outside(skb, p, skb->ifindex);
	if (!to)
		return drop(skb, p, REASON_UNKNOWN_DESTINATION);
	if (to->kind == ENDPOINT_GATEWAY)
		return handle_gateway(skb, p);
	if (routed && !to->routed)
		return drop(skb, p, REASON_NOT_ROUTED);
	if (routed && p->hops <= 1)
		return drop(skb, p, REASON_TTL_EXPIRED);
	set_destination(p, to->class, to->class);
	reason = decide(skb, p, skb->ifindex);
	if (reason)
		return drop(skb, p, reason);
	if (routed) {
		reason = route(skb, p, to);
		if (reason)
			return drop(skb, p, reason);
	}
	if (to->kind == ENDPOINT_LOCAL)
		return deliver(skb, to->ifindex);
	return send_to_host(skb, p, &to->tunnel, to->encapsulation,
			    routed ? port->scope : port->bd);
}

/* Ingress of the host's end of an endpoint's link: everything the endpoint sends. */
SEC("tc")
int from_endpoint(struct __sk_buff *skb)
{
	struct packet p = { .direction = FROM_ENDPOINT };
	__u32 ifindex = skb->ifindex;
	const struct port *port = bpf_map_lookup_elem(&ports, &ifindex);
	int reason = parse_ethernet(skb, &p);

	if (reason)
		return drop(skb, &p, reason);
	if (!port || !port->bound) {
		parse_ip(skb, &p); /* for whoever reads the event */
		return drop(skb, &p, REASON_QUARANTINE);
	}
	p.scope = port->scope;
	p.bd = port->bd;
	set_source(&p, port->class, port->class);
	if (!same_mac(p.src_mac, port->mac))
		return drop(skb, &p, REASON_SPOOFED_MAC);
	if (p.ether == ETH_P_ARP)
		return handle_arp(skb, &p, port);
	reason = parse_ip(skb, &p);
	if (reason)
		return drop(skb, &p, reason);
	if (is_neighbour_discovery(&p))
		return handle_nd(skb, &p, port);
	return switch_packet(skb, &p, port);
}

/* Egress of the host's end: what the host's own stack sends. Packets of endpoints go to the
 * other end by bpf_redirect_peer, and never pass here. */
SEC("tc")
int to_endpoint(struct __sk_buff *skb)
{
	struct packet p = { .direction = TO_ENDPOINT };

	return drop(skb, &p, REASON_HOST_ORIGIN);
}

/* What a VNI and a group policy header say of the sender. */
static __always_inline int open_gbp(struct packet *p, __u32 vni, __u32 class)
{
	const struct network *network;

	/* A header without a group would be judged as "any", which no sender is. */
	if (!class)
		return REASON_MALFORMED;
	set_source(p, class, class);
	network = bpf_map_lookup_elem(&networks, &vni);
	if (!network)
		return REASON_UNKNOWN_NETWORK;
	if (class == network->default_source)
		p->src_receives = CLASS_DEFAULT_OUTSIDE;
	p->scope = network->scope;
	p->bd = network->bd;
	return 0;
}

/* What the VNI says alone. */
static __always_inline int open_epg_vni(struct packet *p, __u32 vni)
{
	const struct source *source = bpf_map_lookup_elem(&sources, &vni);

	if (!source)
		return REASON_UNKNOWN_NETWORK;
	set_source(p, source->class, source->receives);
	p->scope = source->scope;
	p->bd = source->bd;
	return 0;
}

/* What an outer header says: its source, the VNI, and the class if there is a group policy header. */
struct outer {
	__u32 vni;
	__u32 class;
	bool has_group;
};

/* Test runs know no tunnels: a rehearsal is told what the outer header would say. */
static __always_inline void rehearse_outer(struct __sk_buff *skb, struct packet *p,
					   struct outer *outer)
{
	__u32 *tunnel = (__u32 *)&p->tunnel;

	tunnel[0] = skb->cb[1];
	tunnel[1] = skb->cb[2];
	tunnel[2] = skb->cb[3];
	tunnel[3] = skb->cb[4];
	outer->vni = skb->cb[0];
	outer->has_group = !!skb->mark;
	outer->class = skb->mark & 0xffff;
}

static __always_inline int read_outer(struct __sk_buff *skb, struct packet *p, struct outer *outer)
{
	struct vxlan_group group = {};
	struct bpf_tunnel_key key = {};
	int error;

	if (tunnel_is_v6)
		error = bpf_skb_get_tunnel_key(skb, &key, sizeof(key), BPF_F_TUNINFO_IPV6);
	else
		error = bpf_skb_get_tunnel_key(skb, &key, sizeof(key), 0);
	if (error)
		return REASON_UNKNOWN_TUNNEL;
	if (tunnel_is_v6)
		__builtin_memcpy(&p->tunnel, key.remote_ipv6, 16);
	else
		map_ipv4(&p->tunnel, bpf_htonl(key.remote_ipv4));
	outer->vni = key.tunnel_id;
	outer->has_group = bpf_skb_get_tunnel_opt(skb, &group, sizeof(group)) >= 0;
	outer->class = group.gbp & 0xffff;
	return 0;
}

/* The outer source must be a host of the fabric, and speak as it said it would. Fills in the
 * sender's class and its VRF; and its bridge domain, unless the packet is known to be routed. */
static __always_inline int open_tunnel(struct __sk_buff *skb, struct packet *p, __u32 *speaks)
{
	struct outer outer = {};
	const __u32 *known;
	int reason = 0;

	if (rehearsal)
		rehearse_outer(skb, p, &outer);
	else
		reason = read_outer(skb, p, &outer);
	if (reason)
		return reason;
	known = bpf_map_lookup_elem(&tunnels, &p->tunnel);
	if (!known)
		return REASON_UNKNOWN_TUNNEL;
	*speaks = *known;
	if (outer.has_group != (*speaks == ENCAPSULATION_GBP))
		return REASON_UNKNOWN_TUNNEL;
	if (outer.has_group)
		return open_gbp(p, outer.vni, outer.class);
	return open_epg_vni(p, outer.vni);
}

/* Whom a packet of another host is for. `routed` packets get the MACs of their last leg anew. */
static __always_inline const struct endpoint *
find_recipient(const struct packet *p, __u32 speaks, bool *routed)
{
	struct mac_key key = { .bd = p->bd };
	const struct endpoint *to = NULL;

	*routed = !p->bd;
	if (p->bd) {
		__builtin_memcpy(key.mac, p->dst_mac, 6);
		to = bpf_map_lookup_elem(&endpoints_by_mac, &key);
	}
	if (!to && (!p->bd || speaks == ENCAPSULATION_EPG_VNI)) {
		*routed = true;
		to = find_by_ip(p->scope, &p->dst);
	}
	return to && to->kind == ENDPOINT_LOCAL ? to : NULL;
}

/* Ingress of the vxlan device: everything other hosts send. */
SEC("tc")
int from_overlay(struct __sk_buff *skb)
{
	struct packet p = { .direction = FROM_OVERLAY };
	const struct endpoint *to;
	__u32 speaks = 0;
	bool routed;
	int reason;

	reason = parse_ethernet(skb, &p) ?: open_tunnel(skb, &p, &speaks);
	if (reason == REASON_UNKNOWN_NETWORK)
		parse_ip(skb, &p); /* for whoever reads the event */
	if (reason)
		return drop(skb, &p, reason);
	reason = parse_ip(skb, &p);
	if (reason)
		return drop(skb, &p, reason);
	to = find_recipient(&p, speaks, &routed);
	/* An address that an endpoint has is not outside, wherever the endpoint is. */
	if (!to && routed && !find_by_ip(p.scope, &p.dst))
		return send_outside(skb, &p, 0);
	if (!to)
		return drop(skb, &p, REASON_UNKNOWN_DESTINATION);
	set_destination(&p, to->class, to->class);
	reason = decide(skb, &p, to->ifindex);
	if (reason)
		return drop(skb, &p, reason);
	if (routed && rewrite_macs(skb, to->mac, to->gateway_mac))
		return drop(skb, &p, REASON_REDIRECT_FAILED);
	return deliver(skb, to->ifindex);
}

/*
 * Ingress of our end of the link to the host's stack: what comes from outside, and what the host
 * itself sends. Both are told by their source address, as everything outside is.
 */
SEC("tc")
int from_exit(struct __sk_buff *skb)
{
	struct packet p = { .direction = FROM_OUTSIDE };
	__u32 ifindex = skb->ifindex;
	const __u32 *scope = bpf_map_lookup_elem(&exits, &ifindex);
	const struct endpoint *to;
	int reason;

	reason = parse_ethernet(skb, &p) ?: parse_ip(skb, &p);
	if (reason)
		return drop(skb, &p, reason);
	if (!scope)
		return drop(skb, &p, REASON_QUARANTINE);
	p.scope = *scope;
	reason = classify_source(&p);
	if (reason)
		return drop(skb, &p, reason);
	to = find_by_ip(p.scope, &p.dst);
	/* Nothing is carried from outside to outside. */
	if (!to)
		return drop(skb, &p, REASON_UNKNOWN_DESTINATION);
	if (to->kind == ENDPOINT_GATEWAY)
		return handle_gateway(skb, &p);
	if (!to->routed)
		return drop(skb, &p, REASON_NOT_ROUTED);
	if (p.hops <= 1)
		return drop(skb, &p, REASON_TTL_EXPIRED);
	set_destination(&p, to->class, to->class);
	reason = decide(skb, &p, to->kind == ENDPOINT_LOCAL ? to->ifindex : 0) ?:
		 route(skb, &p, to);
	if (reason)
		return drop(skb, &p, reason);
	if (to->kind == ENDPOINT_LOCAL)
		return deliver(skb, to->ifindex);
	return send_to_host(skb, &p, &to->tunnel, to->encapsulation, p.scope);
}

/* Removes connections that fell silent. Run by user space, with struct sweep as its context. */
SEC("syscall")
int sweep_connections(struct sweep *sweep)
{
	struct sweep done = { .now = sweep->now, .detached = sweep->detached };

	bpf_for_each_map_elem(&connections, sweep_connection, &done, 0);
	sweep->expired = done.expired;
	sweep->live = done.live;
	return 0;
}
