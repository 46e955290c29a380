/* How long a silent connection is remembered. Counted from the last packet of either side. */
#ifndef SELVAGE_TIMEOUTS_H
#define SELVAGE_TIMEOUTS_H

#define TCP_OPENING_TIMEOUT (60 * SECOND)
#define TCP_ESTABLISHED_TIMEOUT (7200 * SECOND) /* RFC 5382, REQ-5: not below 2 h 4 min for NAT;
						  * here nothing breaks: the next packet is judged
						  * and opens the entry again */
#define TCP_HALF_CLOSED_TIMEOUT (120 * SECOND)
#define TCP_CLOSED_TIMEOUT (10 * SECOND)
#define OPENING_TIMEOUT (30 * SECOND)
#define ESTABLISHED_TIMEOUT (120 * SECOND) /* RFC 4787, REQ-5: UDP not below 2 min */
#define ECHO_TIMEOUT (30 * SECOND)

static __always_inline __u64 timeout_of(__u8 proto, __u8 state)
{
	if (proto == IPPROTO_TCP) {
		if (state == CONNECTION_OPENING)
			return TCP_OPENING_TIMEOUT;
		if (state == CONNECTION_ESTABLISHED)
			return TCP_ESTABLISHED_TIMEOUT;
		return state == CONNECTION_HALF_CLOSED ? TCP_HALF_CLOSED_TIMEOUT :
							 TCP_CLOSED_TIMEOUT;
	}
	if (proto == IPPROTO_ICMP || proto == IPPROTO_ICMPV6)
		return ECHO_TIMEOUT;
	return state == CONNECTION_OPENING ? OPENING_TIMEOUT : ESTABLISHED_TIMEOUT;
}

static __always_inline bool is_expired(__u8 proto, const struct connection *c, __u64 now)
{
	return c->last_seen + timeout_of(proto, c->state) < now;
}

#endif
