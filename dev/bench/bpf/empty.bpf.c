// SPDX-License-Identifier: Apache-2.0
// The path of a workload without any policy: what comes in by one link goes out by the other.

#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, __u32);
	__type(value, __u32);
} others SEC(".maps");

SEC("tcx/ingress")
int empty_ingress(struct __sk_buff *skb)
{
	__u32 from = skb->ifindex;
	__u32 *to = bpf_map_lookup_elem(&others, &from);

	return to ? bpf_redirect_peer(*to, 0) : TC_ACT_OK;
}

// redirect_peer passes by the egress hook of the other link; policy is held there too, for packets
// of other hosts, so the empty path has a program there as well.
SEC("tcx/egress")
int empty_egress(struct __sk_buff *skb)
{
	return TC_ACT_OK;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
