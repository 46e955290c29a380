/* Counters, events, and the one way a packet is dropped. */
#ifndef SELVAGE_COUNT_H
#define SELVAGE_COUNT_H

#define SECOND 1000000000ULL

/* A GSO packet counts as the packets it will become. */
static __always_inline void count(struct counter *counter, struct __sk_buff *skb)
{
	if (!counter)
		return;
	counter->packets += skb->gso_segs ?: 1;
	counter->bytes += skb->len;
}

/* Where a rehearsal leaves its verdict, for whoever made it run: its reason and its rule. */
static __always_inline void leave_reason(struct __sk_buff *skb, __u32 reason)
{
	if (rehearsal)
		skb->mark = reason;
}

static __always_inline void leave_rule(struct __sk_buff *skb, __u32 rule)
{
	if (rehearsal)
		skb->priority = rule;
}

static __always_inline void count_reason(struct __sk_buff *skb, __u32 reason)
{
	leave_reason(skb, reason);
	count(bpf_map_lookup_elem(&reason_counters, &reason), skb);
}

static __always_inline void count_rule(struct __sk_buff *skb, __u32 slot)
{
	count(bpf_map_lookup_elem(&rule_counters, &slot), skb);
}

/* Whether this CPU may still raise an event with this reason in this second. */
static __always_inline struct event_budget *spend(__u32 reason, __u64 now)
{
	struct event_budget *budget = bpf_map_lookup_elem(&event_budgets, &reason);
	__u64 second = now / SECOND;

	if (!budget)
		return NULL;
	if (budget->second != second) {
		budget->second = second;
		budget->sent = 0;
	}
	if (budget->sent >= events_per_second) {
		budget->suppressed++;
		return NULL;
	}
	budget->sent++;
	return budget;
}

__noinline int raise_event(struct __sk_buff *skb, const struct packet *p, __u32 reason)
{
	__u64 now = bpf_ktime_get_ns();
	struct event_budget *budget = spend(reason, now);
	struct event *event;

	if (!p || !budget)
		return 0;
	event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (!event) {
		budget->suppressed++;
		return 0;
	}
	event->time = now;
	event->scope = p->scope;
	event->rule = p->rule;
	event->src = p->src;
	event->dst = p->dst;
	event->src_class = p->src_class;
	event->dst_class = p->dst_class;
	event->ether = p->ether;
	event->sport = p->sport;
	event->dport = p->dport;
	event->proto = p->proto;
	event->icmp_type = p->icmp_type;
	event->icmp_code = p->icmp_code;
	event->tcp_flags = p->tcp_flags;
	event->reason = reason;
	event->direction = p->direction;
	__builtin_memcpy(event->src_mac, p->src_mac, 6);
	__builtin_memcpy(event->dst_mac, p->dst_mac, 6);
	event->ifindex = skb->ifindex;
	event->length = skb->len;
	event->tunnel = p->tunnel;
	event->bd = p->bd;
	event->later_fragment = !!(p->what & IS_LATER_FRAGMENT);
	event->has_ports = !!(p->what & HAS_PORTS);
	event->arp_operation = p->arp_operation;
	event->dscp = p->what >> WHAT_DSCP & 63;
	__builtin_memset(event->zero, 0, sizeof(event->zero));
	bpf_ringbuf_submit(event, 0);
	return 0;
}

static __always_inline int drop(struct __sk_buff *skb, const struct packet *p, __u32 reason)
{
	count_reason(skb, reason);
	leave_rule(skb, p->rule);
	if (!(REASONS_QUIET >> reason & 1))
		raise_event(skb, p, reason);
	return TC_ACT_SHOT;
}

/* The fabric took it in, and there is nothing to pass on. */
static __always_inline int consume(struct __sk_buff *skb)
{
	count_reason(skb, REASON_FABRIC);
	return TC_ACT_SHOT;
}

#endif
