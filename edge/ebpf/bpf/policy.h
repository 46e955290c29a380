/*
 * The verdict between two classes: selvage_rules::Table::judge, in C. src/eval.rs evaluates the
 * same tables in Rust and is held equal to the judge by a property test.
 */
#ifndef SELVAGE_POLICY_H
#define SELVAGE_POLICY_H

/* Rules in one set. bpf_loop bounds its iterations at 1 << 23; this is far below. */
#define MAX_RULES_IN_SET 65536

struct question {
	__u64 word; /* state.word, read once per packet */
	__u64 what;
	__u32 scope;
	__u16 src;
	__u16 dst;
	__u16 sport;
	__u16 dport;
};

struct verdict {
	__u32 rule; /* 0: the implicit deny */
	__u32 counter;
	__u16 priority;
	__u8 reason;
	__u8 flags; /* of the deciding rule; RULE_VOLATILE if any run asked has it */
};

struct scan {
	const struct question *question;
	struct verdict *verdict;
	__u32 start;
	__u32 decided; /* an earlier lookup found a rule */
};

static long try_rule(__u32 index, struct scan *scan)
{
	const struct question *q = scan->question;
	struct verdict *v = scan->verdict;
	__u32 slot = scan->start + index;
	const struct rule *rule = bpf_map_lookup_elem(&rules, &slot);

	if (!rule)
		return 1;
	v->flags |= rule->flags & RULE_VOLATILE;
	/* Rules come by ascending priority, and an equal one does not displace. */
	if (scan->decided && rule->priority >= v->priority)
		return 1;
	if ((q->what & rule->mask) != rule->value)
		return 0;
	if (q->sport < rule->sport_first || q->sport > rule->sport_last ||
	    q->dport < rule->dport_first || q->dport > rule->dport_last)
		return 0;
	v->rule = rule->id;
	v->counter = rule->counter;
	v->priority = rule->priority;
	v->reason = rule->reason;
	v->flags = rule->flags | (v->flags & RULE_VOLATILE);
	scan->decided = 1;
	return 1;
}

/* One of the four lookups. */
static __always_inline void look_up(struct scan *scan, __u16 src, __u16 dst)
{
	const struct question *q = scan->question;
	struct pair_key key = { .scope = q->scope, .src = src, .dst = dst };
	const struct pair *pair = bpf_map_lookup_elem(&pairs, &key);
	struct run run;

	if (!pair)
		return;
	run = (__s32)((__u32)q->word - pair->since) >= 0 ? pair->after : pair->before;
	if (pair->check != ((__u32)src << 16 | dst) || run.count > MAX_RULES_IN_SET)
		return;
	scan->start = run.start;
	bpf_loop(run.count, try_rule, scan, 0);
}

static __noinline int judge(const struct question *q, struct verdict *v)
{
	struct scan scan = { .question = q, .verdict = v };

	v->rule = 0;
	v->counter = 0;
	v->priority = 0;
	v->reason = REASON_NO_CONTRACT;
	v->flags = 0;
	look_up(&scan, q->src, q->dst);
	if (q->word >> WILDCARD_DST & 1)
		look_up(&scan, q->src, CLASS_ANY);
	if (q->word >> WILDCARD_SRC & 1)
		look_up(&scan, CLASS_ANY, q->dst);
	if (q->word >> WILDCARD_BOTH & 1)
		look_up(&scan, CLASS_ANY, CLASS_ANY);
	return 0;
}

#endif
