/* The ways out: a local link, another host, or back to where the packet came from. */
#ifndef SELVAGE_FORWARD_H
#define SELVAGE_FORWARD_H

/* A VXLAN-GBP header's group, as the kernel's struct vxlan_metadata has it. */
struct vxlan_group {
	__u32 gbp;
};

/*
 * Into the endpoint's namespace, past its link's queue. The kernel judged the frame's MAC against
 * the device it came in by, and would drop it as another host's; the endpoint is its host.
 */
static __always_inline int deliver(struct __sk_buff *skb, __u32 ifindex)
{
	if (skb->pkt_type != PACKET_HOST)
		bpf_skb_change_type(skb, PACKET_HOST);
	return bpf_redirect_peer(ifindex, 0);
}

/* Back to the sender, from its own gateway or on behalf of a neighbour. */
static __always_inline int reflect(struct __sk_buff *skb, const struct packet *p)
{
	count_reason(skb, REASON_FABRIC);
	/* The stack is in this very namespace, where bpf_redirect_peer does not lead. */
	if (p->direction == FROM_OUTSIDE)
		return bpf_redirect(skb->ifindex, 0);
	return deliver(skb, skb->ifindex);
}

static __always_inline int rewrite_macs(struct __sk_buff *skb, const __u8 *dst, const __u8 *src)
{
	__u8 macs[12];

	__builtin_memcpy(macs, dst, 6);
	__builtin_memcpy(macs + 6, src, 6);
	return bpf_skb_store_bytes(skb, 0, macs, sizeof(macs), 0);
}

/* RFC 1624, equation 3, for a header whose word `from` becomes `to`. */
static __always_inline __sum16 checksum_replace(__sum16 sum, __u16 from, __u16 to)
{
	__u32 value = (__u16)~sum + (__u16)~from + to;

	value = (value & 0xffff) + (value >> 16);
	value = (value & 0xffff) + (value >> 16);
	return (__sum16)~value;
}

/* Writes the hop limit. IPv4's checksum follows, so the sum over the header stays what it was. */
static __always_inline int write_hops(struct __sk_buff *skb, const struct packet *p, __u8 hops)
{
	struct {
		__u8 ttl;
		__u8 proto;
		__sum16 check;
	} ip;
	__u16 from, to;

	if (p->ether == ETH_P_IPV6)
		return bpf_skb_store_bytes(skb, ETH_HLEN + offsetof(struct ipv6hdr, hop_limit),
					   &hops, 1, BPF_F_RECOMPUTE_CSUM);
	if (bpf_skb_load_bytes(skb, ETH_HLEN + offsetof(struct iphdr, ttl), &ip, sizeof(ip)))
		return -1;
	__builtin_memcpy(&from, &ip, 2);
	ip.ttl = hops;
	__builtin_memcpy(&to, &ip, 2);
	ip.check = checksum_replace(ip.check, from, to);
	return bpf_skb_store_bytes(skb, ETH_HLEN + offsetof(struct iphdr, ttl), &ip, sizeof(ip), 0);
}

/* What an EPG_VNI host knows the sender's group by; 0 if that is not known here. */
static __always_inline __u32 group_vni(const struct packet *p)
{
	struct group_key key = { .scope = p->scope, .class = p->src_class };
	const __u32 *vni = bpf_map_lookup_elem(&group_vnis, &key);

	return vni ? *vni : 0;
}

/* RFC 7348, and draft-smith-vxlan-group-policy for the class. A packet of group 0 leaves a device
 * that is made for group policy as plain VXLAN; one without the option leaves it with whatever group
 * the kernel found on its stack (observed on Linux 6.18). */
static __always_inline int send_to_host(struct __sk_buff *skb, const struct packet *p,
					const struct address *tunnel, __u8 encapsulation,
					__u32 vni)
{
	struct bpf_tunnel_key key = { .tunnel_id = vni, .tunnel_ttl = 64 };
	bool plain = encapsulation == ENCAPSULATION_EPG_VNI;
	struct vxlan_group group = { .gbp = plain ? 0 : p->src_class };
	__u64 flags = BPF_F_ZERO_CSUM_TX;
	__u32 zero = 0;
	const struct state *s = bpf_map_lookup_elem(&state, &zero);

	if (!s || !s->overlay)
		return drop(skb, p, REASON_REDIRECT_FAILED);
	if (plain)
		key.tunnel_id = group_vni(p);
	if (plain && !key.tunnel_id)
		return drop(skb, p, REASON_REDIRECT_FAILED);
	if (tunnel_is_v6) {
		flags = BPF_F_TUNINFO_IPV6;
		__builtin_memcpy(key.remote_ipv6, tunnel, 16);
		__builtin_memcpy(key.local_ipv6, (const void *)&tunnel_local, 16);
	} else {
		key.remote_ipv4 = bpf_ntohl(ipv4_of(tunnel));
		key.local_ipv4 = bpf_ntohl(ipv4_of((const struct address *)&tunnel_local));
	}
	if (bpf_skb_set_tunnel_key(skb, &key, sizeof(key), flags) ||
	    bpf_skb_set_tunnel_opt(skb, &group, sizeof(group)))
		return drop(skb, p, REASON_REDIRECT_FAILED);
	return bpf_redirect(s->overlay, 0);
}

#endif
