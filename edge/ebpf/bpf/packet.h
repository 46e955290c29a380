/* What is known about the packet in hand. Filled in by parse.h, then by the programs. */
#ifndef SELVAGE_PACKET_H
#define SELVAGE_PACKET_H

#define ETH_HLEN 14
#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

#define ICMP4_ECHO_REPLY 0
#define ICMP4_ECHO_REQUEST 8
#define ICMP6_ECHO_REQUEST 128
#define ICMP6_ECHO_REPLY 129

struct packet {
	__u64 what; /* see struct rule */
	struct address src;
	struct address dst;
	__u16 sport;
	__u16 dport;
	__u16 ether;
	__u8 proto;
	__u8 tcp_flags;
	__u8 icmp_type;
	__u8 icmp_code;
	__u8 hops; /* TTL or hop limit */
	__u8 direction;
	__u16 l4; /* offset of the transport header */
	__u16 src_class;
	__u16 dst_class;
	/* What the answer is judged by: the receiver's class as a sender, the sender's as a receiver.
	 * They differ for addresses outside that only a default prefix covers. */
	__u16 dst_sends;
	__u16 src_receives;
	__u8 src_mac[6];
	__u8 dst_mac[6];
	__u16 arp_operation;
	__u32 scope;
	__u32 bd;
	__u32 rule;
	struct address tunnel; /* outer source */
};

static __always_inline void set_source(struct packet *p, __u16 sends, __u16 receives)
{
	p->src_class = sends;
	p->src_receives = receives;
}

static __always_inline void set_destination(struct packet *p, __u16 receives, __u16 sends)
{
	p->dst_class = receives;
	p->dst_sends = sends;
}

static __always_inline bool same_mac(const __u8 *a, const __u8 *b)
{
	return *(const __u16 *)a == *(const __u16 *)b &&
	       *(const __u16 *)(a + 2) == *(const __u16 *)(b + 2) &&
	       *(const __u16 *)(a + 4) == *(const __u16 *)(b + 4);
}

static __always_inline bool same_address(const struct address *a, const struct address *b)
{
	const __u32 *x = (const __u32 *)a, *y = (const __u32 *)b;

	return x[0] == y[0] && x[1] == y[1] && x[2] == y[2] && x[3] == y[3];
}

/* RFC 4291, 2.5.5.2 */
static __always_inline void map_ipv4(struct address *to, __be32 ip)
{
	__u32 *words = (__u32 *)to;

	words[0] = 0;
	words[1] = 0;
	words[2] = bpf_htonl(0xffff);
	words[3] = ip;
}

static __always_inline __be32 ipv4_of(const struct address *from)
{
	return ((const __u32 *)from)[3];
}

static __always_inline bool is_multicast(const struct packet *p)
{
	if (p->ether == ETH_P_IPV6)
		return p->dst.bytes[0] == 0xff;
	return (p->dst.bytes[12] & 0xf0) == 0xe0 || ipv4_of(&p->dst) == 0xffffffff;
}

static __always_inline bool is_unspecified(const struct packet *p, const struct address *a)
{
	const __u32 *w = (const __u32 *)a;

	if (p->ether == ETH_P_IPV6)
		return !(w[0] | w[1] | w[2] | w[3]);
	return !w[3];
}

/* fe80::/10: valid on its own link only, which here ends at the port. */
static __always_inline bool is_link_local(const struct address *a)
{
	return a->bytes[0] == 0xfe && (a->bytes[1] & 0xc0) == 0x80;
}

static __always_inline bool is_echo_request(const struct packet *p)
{
	if (!(p->what & IS_ICMP))
		return false;
	return p->icmp_type == (p->proto == IPPROTO_ICMP ? ICMP4_ECHO_REQUEST : ICMP6_ECHO_REQUEST);
}

static __always_inline bool is_echo_reply(const struct packet *p)
{
	if (!(p->what & IS_ICMP))
		return false;
	return p->icmp_type == (p->proto == IPPROTO_ICMP ? ICMP4_ECHO_REPLY : ICMP6_ECHO_REPLY);
}

#endif
