/*
 * The maps. Everything but the event budgets is pinned by user space and outlives the process that
 * made it. max_entries is the size of a small host; user space sets it before loading.
 *
 * Tables that only user space writes are not preallocated, so they cost what they hold.
 * `connections` is preallocated: when it is full, new flows are refused and live ones stay.
 */
#ifndef SELVAGE_MAPS_H
#define SELVAGE_MAPS_H

#define HASH(name, key_type, value_type, map_flags_)                                               \
	struct {                                                                                   \
		__uint(type, BPF_MAP_TYPE_HASH);                                                   \
		__uint(max_entries, 1024);                                                         \
		__uint(map_flags, map_flags_);                                                     \
		__type(key, key_type);                                                             \
		__type(value, value_type);                                                         \
	} name SEC(".maps")

#define ARRAY(name, map_type, value_type, entries, map_flags_)                                     \
	struct {                                                                                   \
		__uint(type, map_type);                                                            \
		__uint(max_entries, entries);                                                      \
		__uint(map_flags, map_flags_);                                                     \
		__type(key, __u32);                                                                \
		__type(value, value_type);                                                         \
	} name SEC(".maps")

HASH(ports, __u32, struct port, BPF_F_NO_PREALLOC);
HASH(endpoints_by_ip, struct ip_key, struct endpoint, BPF_F_NO_PREALLOC);
HASH(endpoints_by_mac, struct mac_key, struct endpoint, BPF_F_NO_PREALLOC);
HASH(networks, __u32, struct network, BPF_F_NO_PREALLOC);
HASH(sources, __u32, struct source, BPF_F_NO_PREALLOC);
HASH(group_vnis, struct group_key, __u32, BPF_F_NO_PREALLOC);
/* Outer source addresses that belong to hosts of the fabric, and their enum encapsulation. */
HASH(tunnels, struct address, __u32, BPF_F_NO_PREALLOC);
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 1024);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct prefix_key);
	__type(value, struct external);
} outside SEC(".maps");
/* Our ends of the links to the host's stack: interface index -> VRF. */
HASH(exits, __u32, __u32, BPF_F_NO_PREALLOC);
HASH(pairs, struct pair_key, struct pair, BPF_F_NO_PREALLOC);
ARRAY(rules, BPF_MAP_TYPE_ARRAY, struct rule, 1024, 0);
ARRAY(state, BPF_MAP_TYPE_ARRAY, struct state, 1, BPF_F_MMAPABLE);

HASH(connections, struct connection_key, struct connection, 0);
/* How many connections are charged to each port. User space makes and removes the entries. */
HASH(connection_counts, __u32, __u32, BPF_F_NO_PREALLOC);

ARRAY(rule_counters, BPF_MAP_TYPE_PERCPU_ARRAY, struct counter, 1024, 0);
ARRAY(reason_counters, BPF_MAP_TYPE_PERCPU_ARRAY, struct counter, 64, 0);
ARRAY(event_budgets, BPF_MAP_TYPE_PERCPU_ARRAY, struct event_budget, 64, 0);

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} events SEC(".maps");

/* Set before loading. */
const volatile __u32 connections_per_endpoint = 16384;
const volatile __u32 events_per_second = 1000; /* per CPU and reason */
const volatile __u8 tunnel_is_v6 = 0;
const volatile struct address tunnel_local = {};
/* These programs are attached nowhere, and run on made-up packets only. The verifier takes out what
 * a constant 0 makes unreachable, so those that are attached do not pay for it. */
const volatile __u8 rehearsal = 0;

/* Never written: it makes BTF keep what no map names. */
struct event event_layout;
struct sweep sweep_layout;
enum what_shift what_shift_layout;
enum what_bit what_bit_layout;
enum wildcard_shift wildcard_shift_layout;
enum rule_flag rule_flag_layout;
enum endpoint_kind endpoint_kind_layout;
enum exit_kind exit_kind_layout;
enum outside_key outside_key_layout;
enum encapsulation encapsulation_layout;
enum direction direction_layout;

#endif
