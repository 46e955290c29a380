/*
 * What the maps hold. Rust gets these structures from BTF, so every byte has a name here: padding
 * is spelled out, and map keys are compared by the kernel as bytes.
 *
 * Addresses are 128 bits everywhere, IPv4 as ::ffff:a.b.c.d, so that one code path serves both
 * families. Addresses and MACs are in network order, all other numbers in the host's.
 */
#ifndef SELVAGE_TYPES_H
#define SELVAGE_TYPES_H

/* Class 0 in a pair stands for every class of the VRF; no endpoint has it. */
#define CLASS_ANY 0
/* The class of addresses outside that only a default prefix covers, as receivers. */
#define CLASS_DEFAULT_OUTSIDE 15

struct address {
	__u8 bytes[16];
};

/*
 * ports: interface index of the host's end of a link -> the endpoint bound to it.
 *
 * Exact match. No entry, or one that is not bound, is quarantine.
 */
struct port {
	__u32 bd;
	__u32 scope;
	__u16 class;
	__u8 mac[6];
	__u8 gateway_mac[6];
	__u8 routed; /* frames to gateway_mac are routed */
	__u8 bound;
	/* Its first address of each family: most sources are told by them, without a lookup in
	 * endpoints_by_ip. Unspecified where there is none. */
	struct address first_v4;
	struct address first_v6;
};

/*
 * endpoints_by_ip: where an address of a VRF is. Asked for the destination of routed packets, the
 * target of ARP and neighbour discovery, and, with the source address, against spoofing: the entry
 * must name the very port the packet came in by.
 *
 * Exact match on VRF and address. A gateway is in the same table, since each question that finds
 * an endpoint may as well find a gateway; where both claim one address the gateway wins.
 */
struct ip_key {
	__u32 scope;
	struct address ip;
};

/* endpoints_by_mac: where a MAC of a bridge domain is. Exact match. Holds no gateways. */
struct mac_key {
	__u32 bd;
	__u8 mac[6];
	__u16 zero;
};

enum endpoint_kind {
	ENDPOINT_LOCAL = 1,
	ENDPOINT_REMOTE = 2,
	ENDPOINT_GATEWAY = 3,
};

struct endpoint {
	__u32 bd;
	__u32 ifindex;         /* LOCAL: the host's end of its link */
	struct address tunnel; /* REMOTE: the host it is on */
	__u16 class;
	__u8 mac[6];
	__u8 gateway_mac[6]; /* of its bridge domain: the source of what is routed to it */
	__u8 kind;
	__u8 routed; /* its bridge domain routes */
	__u8 encapsulation; /* REMOTE: what its host speaks */
	__u8 zero[3];
};

/*
 * tunnels: outer source address -> how that host says of which class a sender is.
 *
 *   GBP      VNI: bridge domain when bridged, VRF when routed; class in the group policy header
 *   EPG_VNI  VNI: the sender's group; no header extension. Bridged or routed is told by the inner
 *            destination: its MAC is one of the group's bridge domain, or its address is asked for
 */
enum encapsulation {
	ENCAPSULATION_GBP = 1,
	ENCAPSULATION_EPG_VNI = 2,
};

/* networks: VNI of a GBP packet -> what it stands for. A bridge domain names its VRF; a VRF has no
 * bd. */
struct network {
	__u32 scope;
	__u32 bd;
	__u16 default_source; /* CLASS_DEFAULT_OUTSIDE, as senders; 0 where there are none */
	__u16 zero;
};

/* sources: VNI of an EPG_VNI packet -> the group; group_vnis is the way back. bd is 0 for groups
 * whose members are outside of all bridge domains. */
struct source {
	__u32 scope;
	__u32 bd;
	__u16 class;
	__u16 receives; /* its class as a receiver */
};

struct group_key {
	__u32 scope;
	__u16 class;
	__u16 zero;
};

/*
 * outside: what holds for addresses that no endpoint of the VRF has, by longest prefix. One entry
 * says both which group they are in and by which host they are reached.
 *
 * The VRF and the address family lead the key, in full; an IPv4 prefix of n bits is one of 96 + n in
 * its mapped form. So neither a VRF nor a family ever sees another's default prefix.
 */
enum outside_key {
	OUTSIDE_IPV6 = 1 << 24, /* a VRF's number has 24 bits */
	OUTSIDE_BITS = 32,      /* before the address */
};

struct prefix_key {
	__u32 bits; /* how much of what follows counts */
	__u32 scope;
	struct address ip;
};

enum exit_kind {
	EXIT_NONE = 0, /* no host leads there */
	EXIT_HERE = 1, /* this host's own stack */
	EXIT_HOST = 2, /* another host */
};

struct external {
	__u32 ifindex;         /* HERE: our end of the link to the stack */
	struct address tunnel; /* HOST */
	__u16 source;          /* class of what comes from there; 0 is no group: nothing passes */
	__u16 destination;     /* class of what goes there */
	__u8 mac[6];           /* of the stack's end */
	__u8 exit;
	__u8 encapsulation; /* HOST: what it speaks */
};

/* A run of the rules array; count 0 is the empty set. */
struct run {
	__u32 start;
	__u32 count;
};

/*
 * pairs: (VRF, source class, destination class) -> the rules that hold between them.
 *
 * A packet is looked up by at most four keys, most specific first:
 *
 *   1. (source, destination)   2. (source, any)   3. (any, destination)   4. (any, any)
 *
 * and the matching rule of the lowest priority number wins; at equal numbers the earlier lookup.
 * Lookups 2 to 4 are skipped while no VRF on this host has such a pair (state.word says).
 *
 * The entry holds what is true before and from generation `since`, so that a swap of any number of
 * pairs takes effect at one store of the generation. `check` repeats the key's classes: the kernel
 * may recycle a deleted element while a program still reads it, and then they differ.
 */
struct pair_key {
	__u32 scope;
	__u16 src;
	__u16 dst;
};

struct pair {
	struct run before;
	struct run after;
	__u32 since;
	__u32 check;
};

/*
 * rules: immutable runs, each in the order in which it is tried.
 *
 * A rule matches when (packet.what & mask) == value and both ports are within range. `what` packs
 * every header field that a rule may name:
 *
 *   63    48 47   40 39       32 31           16 13   8 7   0
 *   ether    proto   tcp flags   icmp type, code  dscp   is_*
 *
 * For ARP the icmp bits hold the operation; is_icmp tells the two apart.
 */
enum what_shift {
	WHAT_DSCP = 8, /* RFC 2474: 6 bits */
	WHAT_ICMP_CODE = 16,
	WHAT_ICMP_TYPE = 24,
	WHAT_TCP_FLAGS = 32,
	WHAT_PROTO = 40,
	WHAT_ETHER = 48,
};

enum what_bit {
	IS_IP = 1,
	HAS_PORTS = 2,
	IS_TCP = 4,
	IS_ESTABLISHED = 8, /* TCP with ACK or RST */
	IS_ICMP = 16,
	IS_LATER_FRAGMENT = 32,
};

enum rule_flag {
	RULE_PERMIT = 1,
	RULE_STATEFUL = 2,
	RULE_LOG = 4,
	/* Set on all rules of a run of which one looks at what differs between packets of a
	 * connection (TCP flags, ICMP code, DSCP): its verdict must not be cached. */
	RULE_VOLATILE = 8,
};

struct rule {
	__u64 value;
	__u64 mask;
	__u16 sport_first;
	__u16 sport_last;
	__u16 dport_first;
	__u16 dport_last;
	__u32 id;
	__u32 counter; /* index into rule_counters */
	__u16 priority;
	__u8 reason;
	__u8 flags;
	__u32 zero;
};

/*
 * state: one entry, mapped by user space, which stores `word` in one instruction. A packet reads
 * it once and is judged by that generation to the end.
 */
enum wildcard_shift {
	WILDCARD_DST = 32,  /* some pair is (source, any) */
	WILDCARD_SRC = 33,  /* some pair is (any, destination) */
	WILDCARD_BOTH = 34, /* some pair is (any, any) */
};

struct state {
	__u64 word; /* low half: generation; above it, bits of wildcard_shift */
	__u64 revision;
	__u32 overlay; /* ifindex of the vxlan device; 0 is none */
	__u32 applied; /* nonzero once anything was; tells revision 0 from nothing */
};

/*
 * connections: one entry for both directions. The lower (address, port) comes first in the key, so
 * either direction finds it without knowing who began; `initiator` says who did.
 *
 * ICMP echo has its identifier as both ports. Protocols without ports have 0.
 */
struct connection_key {
	__u32 scope;
	__u8 proto;
	__u8 zero[3];
	struct address low;
	struct address high;
	__u16 low_port;
	__u16 high_port;
};

enum connection_state {
	CONNECTION_OPENING = 0,     /* no answer yet */
	CONNECTION_ESTABLISHED = 1, /* both sides spoke */
	CONNECTION_HALF_CLOSED = 2, /* TCP: one FIN */
	CONNECTION_CLOSED = 3,      /* TCP: both FINs, or RST */
};

struct connection {
	__u64 last_seen; /* ns, CLOCK_MONOTONIC_COARSE; written at most once a second */
	__u64 packets[2]; /* by direction: 0 forward, 1 reply */
	__u64 bytes[2];
	__u64 what;       /* of the packet that opened it, to judge it again by */
	__u32 generation; /* under which the forward verdict holds */
	__u32 rule;
	__u32 counter;
	__u32 charged; /* ifindex of the endpoint whose allowance it uses */
	__u16 src_class; /* forward direction */
	__u16 dst_class;
	__u8 initiator; /* 0: the low side, 1: the high side */
	__u8 state;
	__u8 fins;   /* bit per direction */
	__u8 volatile_verdict; /* forward packets are judged one by one */
	__u8 reason;
	__u8 log;
	__u8 zero[6];
};

/* rule_counters (by rule.counter) and reason_counters (by reason), per CPU. */
struct counter {
	__u64 packets;
	__u64 bytes;
};

/* event_budgets, per CPU and reason: how many events this second, and how many were held back. */
struct event_budget {
	__u64 second;
	__u64 sent;
	__u64 suppressed;
};

enum direction {
	FROM_ENDPOINT = 1,
	TO_ENDPOINT = 2,
	FROM_OVERLAY = 3,
	FROM_OUTSIDE = 4,
};

/* events, a ring buffer: one verdict about one packet. */
struct event {
	__u64 time; /* ns, CLOCK_MONOTONIC */
	__u32 scope;
	__u32 rule; /* 0 where no rule decided */
	struct address src;
	struct address dst;
	struct address tunnel; /* FROM_OVERLAY: outer source */
	__u16 src_class;
	__u16 dst_class;
	__u16 ether;
	__u16 sport;
	__u16 dport;
	__u8 proto;
	__u8 icmp_type;
	__u8 icmp_code;
	__u8 tcp_flags;
	__u8 reason;
	__u8 direction;
	__u8 src_mac[6];
	__u8 dst_mac[6];
	__u32 ifindex; /* where it was met */
	__u32 length;
	__u32 bd;
	__u8 later_fragment;
	__u8 has_ports;
	__u16 arp_operation;
	__u8 dscp;
	__u8 zero[3];
};

/* What the sweep program is run with: entries that are silent for too long at `now` are removed,
 * and all that are charged to the port `detached`, if it is not 0. */
struct sweep {
	__u64 now;
	__u32 detached;
	__u32 zero;
	__u32 expired;
	__u32 live;
};

#endif
