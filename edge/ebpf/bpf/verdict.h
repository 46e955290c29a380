/* Connection first, then rules: what becomes of a packet whose two classes are known. */
#ifndef SELVAGE_VERDICT_H
#define SELVAGE_VERDICT_H

/* A verdict that the rules have given before, for this connection. Returns 0: it passes. */
static __always_inline int pass_again(struct __sk_buff *skb, struct packet *p, struct connection *c,
				      enum way way, __u64 now)
{
	__u32 reason = way == WAY_REPLY ? REASON_ESTABLISHED : c->reason;

	p->rule = c->rule;
	touch(c, skb, p, way, now);
	count_rule(skb, c->counter);
	count_reason(skb, reason);
	leave_rule(skb, p->rule);
	if (c->log)
		raise_event(skb, p, reason);
	return 0;
}

/* A stateful rule has permitted the packet: makes the entry, or brings it up to date. */
static __always_inline int track(struct __sk_buff *skb, const struct packet *p,
				 struct connection *c, bool live, enum way way,
				 const struct inquiry *i)
{
	if (!c)
		return open_connection(skb, i);
	if (!live || way == WAY_REPLY ||
	    (is_pure_syn(p) && c->state >= CONNECTION_HALF_CLOSED))
		begin(c, &i->question, &i->verdict, i->high);
	else
		remember(c, &i->question, &i->verdict);
	touch(c, skb, p, WAY_FORWARD, i->now);
	return 0;
}

/*
 * Decides about the packet and counts the decision. Connections it opens are charged to the local
 * endpoint at `charged`. Returns 0 if it passes, else the reason to drop it for.
 *
 * 1. A reply to a connection whose way forward is permitted passes: established.
 * 2. A packet along the way forward passes by the remembered verdict, while that holds.
 * 3. Else the rules decide; a permit by a stateful rule opens the connection, or renews it.
 *
 * A global function: the verifier checks it once, not once for each way of reaching it.
 */
__noinline int decide(struct __sk_buff *skb, struct packet *p, __u32 charged)
{
	struct inquiry i = { .now = bpf_ktime_get_coarse_ns(), .charged = charged };
	__u32 zero = 0;
	const struct state *truth = bpf_map_lookup_elem(&state, &zero);
	struct connection *c = NULL;
	enum way way = WAY_FORWARD;
	bool live = false;
	int error = 0;

	if (!p || !truth)
		return REASON_NO_CONTRACT;
	i.question.word = *(volatile const __u64 *)&truth->word;
	i.question.what = p->what;
	i.question.scope = p->scope;
	i.question.src = p->src_class;
	i.question.dst = p->dst_class;
	i.question.sport = p->sport;
	i.question.dport = p->dport;
	if (is_trackable(p)) {
		i.high = connection_key_of(p, &i.key);
		c = bpf_map_lookup_elem(&connections, &i.key);
	}
	if (c) {
		live = !is_expired(p->proto, c, i.now);
		way = c->initiator == i.high ? WAY_FORWARD : WAY_REPLY;
	}
	if (live && way == WAY_REPLY && may_answer(p) &&
	    still_permitted(c, p, i.question.word))
		return pass_again(skb, p, c, WAY_REPLY, i.now);
	if (live && way == WAY_FORWARD && may_open(p) && !is_pure_syn(p) &&
	    !c->volatile_verdict && holds(c, i.question.word, p->src_class, p->dst_class))
		return pass_again(skb, p, c, WAY_FORWARD, i.now);

	judge(&i.question, &i.verdict);
	p->rule = i.verdict.rule;
	if (i.verdict.rule)
		count_rule(skb, i.verdict.counter);
	if (!(i.verdict.flags & RULE_PERMIT)) {
		if (!i.verdict.rule && p->what & IS_LATER_FRAGMENT)
			return REASON_FRAGMENT;
		return i.verdict.reason;
	}
	if (i.verdict.flags & RULE_STATEFUL && is_trackable(p) && may_open(p))
		error = track(skb, p, c, live, way, &i);
	if (error)
		return error;
	count_reason(skb, i.verdict.reason);
	leave_rule(skb, p->rule);
	if (i.verdict.flags & RULE_LOG)
		raise_event(skb, p, i.verdict.reason);
	return 0;
}

#endif
