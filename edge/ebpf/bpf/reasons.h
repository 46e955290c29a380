/* Why a packet passed or not. Generated from schema/reasons.toml; do not edit. */
#ifndef SELVAGE_REASONS_H
#define SELVAGE_REASONS_H

enum reason {
	REASON_CONTRACT = 1, /* a contract between the two groups allows it */
	REASON_INTRA_GROUP = 2, /* both endpoints are in the same group, and the group is not isolated */
	REASON_ESTABLISHED = 3, /* it answers a connection that a stateful rule allowed */
	REASON_UNENFORCED = 4, /* the VRF does not enforce policy */
	REASON_FABRIC = 5, /* the fabric itself answers it: address resolution, or the gateway's echo */
	REASON_PREFERRED_GROUP = 6, /* both groups are in the preferred group of their VRF */
	REASON_SERVICE = 7, /* a contract between the two groups sends it through a service */
	REASON_NO_CONTRACT = 16, /* no contract between the two groups covers it */
	REASON_DENIED = 17, /* a rule denies it */
	REASON_QUARANTINE = 18, /* the endpoint's policy has not arrived */
	REASON_SPOOFED_MAC = 19, /* its source MAC is not the endpoint's */
	REASON_SPOOFED_IP = 20, /* its source address is not the endpoint's */
	REASON_SPOOFED_ARP = 21, /* it claims an address that is not the endpoint's, by ARP or neighbour discovery */
	REASON_MALFORMED = 22, /* a header is truncated or contradicts itself */
	REASON_UNKNOWN_DESTINATION = 23, /* no endpoint of the VRF has the destination address */
	REASON_UNKNOWN_TUNNEL = 24, /* it came through the overlay from an address that is no host of the fabric */
	REASON_UNKNOWN_NETWORK = 25, /* it came through the overlay for a bridge domain or VRF that this host does not have */
	REASON_TTL_EXPIRED = 26, /* its hop limit ran out at the gateway */
	REASON_CONNTRACK_FULL = 27, /* the host's connection table is full */
	REASON_CONNTRACK_CAP = 28, /* the endpoint has as many connections as one endpoint may have */
	REASON_UNSUPPORTED_ETHERTYPE = 29, /* neither IPv4, IPv6 nor ARP */
	REASON_MULTICAST = 30, /* multicast and broadcast are not carried between endpoints */
	REASON_HOST_ORIGIN = 31, /* it came from the host's own network stack, which is in no group */
	REASON_NOT_ROUTED = 32, /* the destination is in another bridge domain, and one of the two does not route */
	REASON_FRAGMENT = 33, /* a later fragment carries no ports, so no rule with ports can match it */
	REASON_REDIRECT_FAILED = 34, /* the kernel could not hand it to the destination's link */
	REASON_GATEWAY = 35, /* the gateway address offers nothing but echo */
	REASON_EXTENSION_HEADER = 36, /* its chain of IPv6 extension headers is longer than the data plane follows */
	REASON_UNKNOWN_SOURCE = 37, /* no external EPG of the VRF has the source address, which came from outside or from the host itself */
	REASON_NO_EXIT = 38, /* the destination is outside, and no host that is up leads there */
	REASON_REDIRECT_UNSUPPORTED = 39, /* its rule sends it through a service, which this data plane cannot do */
	REASON_SERVICE_DOWN = 40, /* its rule sends it through a service that has no healthy address */
	REASON_HOST_PROTECTION = 41, /* no host protection policy of one of the two endpoints allows it */
};

/* Counted, without an event for each packet. */
#define REASONS_QUIET (1ULL << 30 | 1ULL << 31 | 1ULL << 35)

#endif
