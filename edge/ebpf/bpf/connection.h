/*
 * Connections of stateful rules. An entry is made when a stateful rule permits a packet; what
 * answers it passes as established, for as long as the way forward is still permitted:
 *
 *   entry's generation and classes are the packet's  -> the remembered verdict holds
 *   either moved                                      -> the opening packet is judged again
 *
 * So tracking never allows what the rules deny, a revocation cuts the flows it is about at their
 * next packet, and all others pay for one judgement.
 */
#ifndef SELVAGE_CONNECTION_H
#define SELVAGE_CONNECTION_H

enum way {
	WAY_FORWARD = 0,
	WAY_REPLY = 1,
};

/* Whether the packet belongs to a connection that can be told by its headers. ICMP errors do not:
 * they are judged by the rules. */
static __always_inline bool is_trackable(const struct packet *p)
{
	if (p->what & IS_LATER_FRAGMENT)
		return false;
	return !(p->what & IS_ICMP) || is_echo_request(p) || is_echo_reply(p);
}

static __always_inline bool is_pure_syn(const struct packet *p)
{
	return p->what & IS_TCP && (p->tcp_flags & (TCP_SYN | TCP_ACK | TCP_RST)) == TCP_SYN;
}

/* Whether the packet may begin a connection. An answer to an echo never does. */
static __always_inline bool may_open(const struct packet *p)
{
	return !is_echo_reply(p);
}

/* Whether the packet can be an answer. A pure SYN or an echo request is a question of its own, and
 * asked of the rules, even where the other side has a connection with the same ports. */
static __always_inline bool may_answer(const struct packet *p)
{
	return !is_pure_syn(p) && !is_echo_request(p);
}

/* Writes the key; returns whether the packet's sender is the high side. */
static __always_inline bool connection_key_of(const struct packet *p, struct connection_key *key)
{
	const __u64 *s = (const __u64 *)&p->src, *d = (const __u64 *)&p->dst;
	bool high = s[0] != d[0] ? s[0] > d[0] : s[1] != d[1] ? s[1] > d[1] : p->sport > p->dport;

	key->scope = p->scope;
	key->proto = p->proto;
	key->zero[0] = key->zero[1] = key->zero[2] = 0;
	key->low = high ? p->dst : p->src;
	key->high = high ? p->src : p->dst;
	key->low_port = high ? p->dport : p->sport;
	key->high_port = high ? p->sport : p->dport;
	return high;
}

static __always_inline void remember(struct connection *c, const struct question *q,
				     const struct verdict *v)
{
	c->generation = (__u32)q->word;
	c->rule = v->rule;
	c->counter = v->counter;
	c->src_class = q->src;
	c->dst_class = q->dst;
	c->volatile_verdict = !!(v->flags & RULE_VOLATILE);
	c->reason = v->reason;
	c->log = !!(v->flags & RULE_LOG);
}

static __always_inline bool holds(const struct connection *c, __u64 word, __u16 src, __u16 dst)
{
	return c->generation == (__u32)word && c->src_class == src && c->dst_class == dst;
}

/* Whether the packet that opened it would open it now, between the classes its ends have now. */
static __always_inline bool still_permitted(struct connection *c, const struct packet *p,
					    __u64 word)
{
	struct question q = {
		.word = word,
		.what = c->what,
		.scope = p->scope,
		.src = p->dst_sends,
		.dst = p->src_receives,
		.sport = p->dport,
		.dport = p->sport,
	};
	struct verdict v;

	if (holds(c, word, q.src, q.dst))
		return true;
	judge(&q, &v);
	if (!(v.flags & RULE_PERMIT) || !(v.flags & RULE_STATEFUL))
		return false;
	remember(c, &q, &v);
	return true;
}

/* Counts the packet, and moves the TCP state along. */
static __always_inline void touch(struct connection *c, struct __sk_buff *skb,
				  const struct packet *p, __u32 way, __u64 now)
{
	way &= 1;
	__sync_fetch_and_add(&c->packets[way], skb->gso_segs ?: 1);
	__sync_fetch_and_add(&c->bytes[way], skb->len);
	/* A line that both CPUs read is not written for every packet. */
	if (now - c->last_seen > SECOND)
		c->last_seen = now;
	if (c->state == CONNECTION_OPENING && way == WAY_REPLY)
		c->state = CONNECTION_ESTABLISHED;
	if (!(p->tcp_flags & (TCP_FIN | TCP_RST)))
		return;
	c->last_seen = now;
	if (p->tcp_flags & TCP_FIN)
		c->fins |= 1 << way;
	c->state = p->tcp_flags & TCP_RST || c->fins == 3 ? CONNECTION_CLOSED :
							    CONNECTION_HALF_CLOSED;
}

/* Begins it anew: a new entry, or an old one whose time is over. */
static __always_inline void begin(struct connection *c, const struct question *q,
				  const struct verdict *v, bool high)
{
	c->packets[0] = c->packets[1] = 0;
	c->bytes[0] = c->bytes[1] = 0;
	c->what = q->what;
	c->initiator = high;
	c->state = CONNECTION_OPENING;
	c->fins = 0;
	remember(c, q, v);
}

/* A packet on its way to a verdict, and what is found out on that way. */
struct inquiry {
	struct connection_key key;
	struct question question;
	struct verdict verdict;
	__u64 now;
	__u32 charged; /* the port whose allowance a new connection uses */
	__u32 high;    /* the sender is the high side of the key */
};

/* Makes an entry. Returns 0, or the reason why it cannot. */
static __noinline int open_connection(struct __sk_buff *skb, const struct inquiry *i)
{
	struct connection fresh = { .last_seen = i->now, .charged = i->charged };
	__u32 *used = bpf_map_lookup_elem(&connection_counts, &fresh.charged);
	long error;

	if (used) {
		if (*(volatile __u32 *)used >= connections_per_endpoint)
			return REASON_CONNTRACK_CAP;
		__sync_fetch_and_add(used, 1);
	}
	begin(&fresh, &i->question, &i->verdict, i->high);
	fresh.packets[WAY_FORWARD] = skb->gso_segs ?: 1;
	fresh.bytes[WAY_FORWARD] = skb->len;
	error = bpf_map_update_elem(&connections, &i->key, &fresh, BPF_NOEXIST);
	if (!error)
		return 0;
	if (used)
		__sync_fetch_and_sub(used, 1);
	/* Another CPU was first with the same connection: it is tracked, which is all we want. */
	return error == -EEXIST ? 0 : REASON_CONNTRACK_FULL;
}

/* The sweep's one step; removing the element in hand is allowed in bpf_for_each_map_elem. */
static long sweep_connection(void *map, struct connection_key *key, struct connection *c,
			     struct sweep *sweep)
{
	__u32 charged = c->charged;
	__u32 *used;

	if (!is_expired(key->proto, c, sweep->now) &&
	    !(charged && charged == sweep->detached)) {
		sweep->live++;
		return 0;
	}
	if (bpf_map_delete_elem(&connections, key))
		return 0;
	sweep->expired++;
	used = bpf_map_lookup_elem(&connection_counts, &charged);
	if (used && *(volatile __u32 *)used)
		__sync_fetch_and_sub(used, 1);
	return 0;
}

#endif
