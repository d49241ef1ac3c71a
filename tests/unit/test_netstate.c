/*
 * test_netstate.c -- what the kernel's messages say of a device, and what changed.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include "collector/netstate.h"

#define TUN 7

/* A letter to netstate: messages one behind the other. */
static _Alignas(8) char mail[4096];
static size_t mail_len;

static struct nlmsghdr *begin(uint16_t type, size_t body)
{
	struct nlmsghdr *h = (struct nlmsghdr *)(mail + mail_len);

	memset(h, 0, NLMSG_SPACE(body));
	h->nlmsg_type = type;
	h->nlmsg_len = (uint32_t)NLMSG_LENGTH(body);
	mail_len += NLMSG_SPACE(body);
	return h;
}

static void attr(struct nlmsghdr *h, uint16_t type, const void *data, size_t len)
{
	struct rtattr *a = (struct rtattr *)((char *)h + NLMSG_ALIGN(h->nlmsg_len));

	a->rta_type = type;
	a->rta_len = (uint16_t)RTA_LENGTH(len);
	memcpy(RTA_DATA(a), data, len);
	h->nlmsg_len = NLMSG_ALIGN(h->nlmsg_len) + (uint32_t)RTA_SPACE(len);
	mail_len = (size_t)((char *)h - mail) + NLMSG_ALIGN(h->nlmsg_len);
}

static void put_link(uint16_t type, int index, unsigned flags)
{
	struct ifinfomsg *m = NLMSG_DATA(begin(type, sizeof(*m)));

	m->ifi_index = index;
	m->ifi_flags = flags;
}

static struct nlmsghdr *put_addr_head(uint16_t type, int index, int family,
				      uint32_t flags)
{
	struct nlmsghdr *h = begin(type, sizeof(struct ifaddrmsg));
	struct ifaddrmsg *m = NLMSG_DATA(h);

	m->ifa_family = (unsigned char)family;
	m->ifa_index = (uint32_t)index;
	attr(h, IFA_FLAGS, &flags, sizeof(flags));
	return h;
}

static void put_addr(uint16_t type, int index, const char *text, uint32_t flags)
{
	int family = strchr(text, ':') ? AF_INET6 : AF_INET;
	uint8_t raw[16];

	assert_int_equal(inet_pton(family, text, raw), 1);
	attr(put_addr_head(type, index, family, flags), IFA_ADDRESS, raw,
	     family == AF_INET ? 4 : 16);
}

static int send_to(struct netstate *s)
{
	int rc = netstate_feed(s, mail, mail_len);

	mail_len = 0;
	return rc;
}

static int hurts(const struct netstate *s)
{
	int rc = netstate_hurt(s, mail, mail_len);

	mail_len = 0;
	return rc;
}

/* A device with up to two addresses. */
static struct netstate device(int index, unsigned flags, const char *a, const char *b)
{
	struct netstate s;

	netstate_begin(&s, "tun0");
	put_link(RTM_NEWLINK, index, flags);
	assert_int_equal(send_to(&s), 1);
	if (a)
		put_addr(RTM_NEWADDR, index, a, 0);
	if (b)
		put_addr(RTM_NEWADDR, index, b, 0);
	begin(NLMSG_DONE, 4);
	assert_int_equal(send_to(&s), 1);
	return s;
}

#define UP (IFF_UP | IFF_RUNNING)

static void usable_is_up_running_and_addressed(void **state)
{
	struct netstate s;

	(void)state;
	netstate_begin(&s, "tun0");
	assert_int_equal(netstate_why(&s), IFACE_MISSING);
	s = device(TUN, 0, "192.0.2.1", NULL);
	assert_int_equal(netstate_why(&s), IFACE_DOWN);
	s = device(TUN, IFF_UP, "192.0.2.1", NULL);
	assert_int_equal(netstate_why(&s), IFACE_NO_CARRIER);
	s = device(TUN, UP, NULL, NULL);
	assert_int_equal(netstate_why(&s), IFACE_NO_ADDRESS);
	s = device(TUN, UP | IFF_POINTOPOINT | IFF_NOARP, "192.0.2.1", NULL);
	assert_int_equal(netstate_why(&s), IFACE_OK);
	s = device(TUN, UP, "2001:db8::1", NULL);
	assert_int_equal(netstate_why(&s), IFACE_OK);
	s = device(TUN, UP, "fe80::1", "169.254.3.4");
	assert_int_equal(netstate_why(&s), IFACE_NO_ADDRESS);
	s = device(TUN, UP, "192.0.2.1", NULL);
	s.barred = 1;
	assert_int_equal(netstate_why(&s), IFACE_BARRED);
	netstate_begin(&s, "");
	assert_int_equal(netstate_why(&s), IFACE_OK);
}

static void another_devices_address_does_not_count(void **state)
{
	struct netstate s;

	(void)state;
	s = device(TUN, UP, NULL, NULL);
	put_addr(RTM_NEWADDR, TUN + 1, "192.0.2.1", 0);
	begin(NLMSG_DONE, 4);
	assert_int_equal(send_to(&s), 1);
	assert_int_equal(s.naddrs, 0);
}

static void addresses_that_cannot_be_bound_yet_or_pass_do_not_count(void **state)
{
	static const uint32_t no[] = {IFA_F_TENTATIVE, IFA_F_TENTATIVE | IFA_F_DADFAILED,
				      IFA_F_TEMPORARY, IFA_F_DEPRECATED};
	struct netstate s = device(TUN, UP, NULL, NULL);

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_LEN(no); i++)
		put_addr(RTM_NEWADDR, TUN, "2001:db8::5", no[i]);
	assert_int_equal(send_to(&s), 0);
	assert_int_equal(s.naddrs, 0);
	put_addr(RTM_NEWADDR, TUN, "2001:db8::6", IFA_F_TENTATIVE | IFA_F_OPTIMISTIC);
	/* The bit of "temporary" means "secondary" here. */
	put_addr(RTM_NEWADDR, TUN, "192.0.2.9", IFA_F_SECONDARY);
	assert_int_equal(send_to(&s), 0);
	assert_int_equal(s.naddrs, 2);
}

static void of_a_point_to_point_link_our_end_counts(void **state)
{
	struct netstate s = device(TUN, UP, NULL, NULL);
	const uint8_t ours[4] = {192, 0, 2, 1}, theirs[4] = {192, 0, 2, 2};
	uint8_t want[ADDR_LEN];

	(void)state;
	for (int order = 0; order < 2; order++) {
		struct nlmsghdr *h = put_addr_head(RTM_NEWADDR, TUN, AF_INET, 0);

		attr(h, order ? IFA_LOCAL : IFA_ADDRESS, order ? ours : theirs, 4);
		attr(h, order ? IFA_ADDRESS : IFA_LOCAL, order ? theirs : ours, 4);
	}
	assert_int_equal(send_to(&s), 0);
	assert_int_equal(s.naddrs, 1);
	assert_int_equal(addr_parse(want, "192.0.2.1"), 0);
	assert_memory_equal(s.addr[0], want, ADDR_LEN);
}

static void nonsense_is_refused(void **state)
{
	struct netstate s;
	uint16_t types[] = {RTM_NEWLINK, RTM_NEWADDR, NLMSG_ERROR};

	(void)state;
	netstate_begin(&s, "tun0");
	for (size_t i = 0; i < PS_ARRAY_LEN(types); i++) {
		begin(types[i], 4);
		assert_int_equal(send_to(&s), -1);
	}
	begin(RTM_DELADDR, 4);
	assert_int_equal(hurts(&s), 0);
	assert_int_equal(netstate_feed(&s, mail, 3), 0);
	/* An attribute that is longer than its message. */
	s = device(TUN, UP, NULL, NULL);
	put_addr(RTM_NEWADDR, TUN, "192.0.2.1", 0);
	((struct nlmsghdr *)mail)->nlmsg_len -= 4;
	assert_int_equal(send_to(&s), 0);
	assert_int_equal(s.naddrs, 0);
}

/* The macros of netlink(3) and rtnetlink(3) round lengths up: what is read must end with
 * the bytes that came, whatever lies behind them. */
static void odd_lengths_do_not_lead_beyond_the_end(void **state)
{
	struct netstate s;
	struct nlmsghdr *h;
	size_t end;

	(void)state;
	netstate_begin(&s, "");
	put_addr(RTM_NEWADDR, TUN, "192.0.2.1", 0);
	end = mail_len - 3; /* of an attribute that is one byte long, not four */
	put_addr(RTM_NEWADDR, TUN, "192.0.2.2", 0);
	h = (struct nlmsghdr *)mail;
	h->nlmsg_len = (uint32_t)end;
	((struct rtattr *)(mail + end - RTA_LENGTH(1)))->rta_len = RTA_LENGTH(1);
	mail_len = end;
	assert_int_equal(netstate_feed(&s, mail, end), 0);
	assert_int_equal(s.naddrs, 0);
	(void)netstate_hurt(&s, mail, end);
	mail_len = 0;
}

static void only_no_such_device_means_missing(void **state)
{
	struct nlmsgerr *e;
	struct netstate s;

	(void)state;
	netstate_begin(&s, "tun0");
	e = NLMSG_DATA(begin(NLMSG_ERROR, sizeof(*e)));
	e->error = -ENODEV;
	assert_int_equal(send_to(&s), -3);
	e = NLMSG_DATA(begin(NLMSG_ERROR, sizeof(*e)));
	e->error = -ENOBUFS;
	assert_int_equal(send_to(&s), -1);
}

static void a_disturbed_dump_is_asked_for_again(void **state)
{
	struct netstate s = device(TUN, UP, NULL, NULL);

	(void)state;
	put_addr(RTM_NEWADDR, TUN, "192.0.2.1", 0);
	((struct nlmsghdr *)mail)->nlmsg_flags = NLM_F_DUMP_INTR;
	begin(NLMSG_DONE, 4);
	assert_int_equal(send_to(&s), -2);
}

static void a_long_list_is_bounded(void **state)
{
	struct netstate s = device(TUN, UP, NULL, NULL), less;
	char text[32];

	(void)state;
	for (int i = 1; i <= NETSTATE_ADDRS + 1; i++) {
		snprintf(text, sizeof(text), "192.0.2.%d", i);
		put_addr(RTM_NEWADDR, TUN, text, 0);
		assert_int_equal(send_to(&s), 0);
	}
	assert_int_equal(s.naddrs, NETSTATE_ADDRS);
	assert_int_equal(s.more, 1);
	less = device(TUN, UP, "198.51.100.1", NULL);
	/* Perhaps it is among those that did not fit. */
	assert_int_equal(netstate_compare(&less, &s, 0), NET_GREW);
}

static void changes_of_a_device(void **state)
{
	struct netstate none, up, two, other, down, bare, again;

	(void)state;
	netstate_begin(&none, "tun0");
	up = device(TUN, UP, "192.0.2.1", NULL);
	two = device(TUN, UP, "2001:db8::1", "192.0.2.1");
	other = device(TUN, UP, "192.0.2.3", NULL);
	down = device(TUN, 0, "192.0.2.1", NULL);
	bare = device(TUN, UP, NULL, NULL);
	again = device(TUN + 1, UP, "192.0.2.1", NULL);
	assert_int_equal(netstate_compare(&up, &up, 0), NET_SAME);
	assert_int_equal(netstate_compare(&none, &up, 0), NET_BACK);
	assert_int_equal(netstate_compare(&up, &none, 0), NET_GONE);
	assert_int_equal(netstate_compare(&up, &down, 0), NET_GONE);
	assert_int_equal(netstate_compare(&down, &up, 0), NET_BACK);
	assert_int_equal(netstate_compare(&none, &bare, 0), NET_WHY);
	assert_int_equal(netstate_compare(&none, &none, 1), NET_SAME);
	assert_int_equal(netstate_compare(&bare, &up, 0), NET_BACK);
	assert_int_equal(netstate_compare(&up, &two, 0), NET_GREW);
	assert_int_equal(netstate_compare(&two, &up, 0), NET_MOVED);
	assert_int_equal(netstate_compare(&up, &other, 0), NET_MOVED);
	/* Deleted and made again between two looks: sockets are bound to the old one. */
	assert_int_equal(netstate_compare(&up, &again, 0), NET_MOVED);
	assert_int_equal(netstate_compare(&up, &up, 1), NET_MOVED);
}

static void only_what_we_stand_on_hurts(void **state)
{
	struct netstate up = device(TUN, UP, "192.0.2.1", NULL), any;

	(void)state;
	put_addr(RTM_NEWADDR, TUN, "192.0.2.1", 0);
	put_addr(RTM_DELADDR, TUN, "192.0.2.77", 0);
	put_addr(RTM_DELADDR, TUN + 1, "192.0.2.1", 0);
	put_link(RTM_DELLINK, TUN + 1, 0);
	put_link(RTM_NEWLINK, TUN, 0);
	assert_int_equal(hurts(&up), 0);
	put_link(RTM_NEWLINK, TUN + 1, 0);
	put_addr(RTM_DELADDR, TUN, "192.0.2.1", 0);
	assert_int_equal(hurts(&up), 1);
	put_link(RTM_DELLINK, TUN, 0);
	assert_int_equal(hurts(&up), 1);
	netstate_begin(&any, "");
	put_link(RTM_DELLINK, TUN, 0);
	assert_int_equal(hurts(&any), 0);
}

/* The machine: where packets start, and the addresses that it has. */
static struct netstate machine(const char *v4, const char *v6, const char *also)
{
	const char *has[] = {v4, v6, also};
	struct netstate s;

	netstate_begin(&s, "");
	for (size_t i = 0; i < PS_ARRAY_LEN(has); i++)
		if (has[i])
			put_addr(RTM_NEWADDR, 2, has[i], 0);
	begin(NLMSG_DONE, 4);
	assert_int_equal(send_to(&s), 1);
	if (v4)
		assert_int_equal(addr_parse(s.source[0], v4), 0);
	if (v6)
		assert_int_equal(addr_parse(s.source[1], v6), 0);
	return s;
}

static void changes_of_the_machine(void **state)
{
	struct netstate none = machine(NULL, NULL, NULL);
	struct netstate a = machine("192.0.2.1", NULL, NULL);
	struct netstate b = machine("192.0.2.2", NULL, NULL);
	struct netstate ab = machine("192.0.2.2", NULL, "192.0.2.1");
	struct netstate bridge = machine("192.0.2.1", NULL, "198.51.100.1");
	struct netstate a6 = machine("192.0.2.1", "2001:db8::1", NULL);
	struct netstate a7 = machine("192.0.2.1", "2001:db8::2", NULL);

	(void)state;
	assert_int_equal(netstate_compare(&a, &a, 1), NET_SAME);
	/* A container's bridge comes and goes: not our way. */
	assert_int_equal(netstate_compare(&a, &bridge, 0), NET_SAME);
	assert_int_equal(netstate_compare(&bridge, &a, 0), NET_SAME);
	assert_int_equal(netstate_compare(&a, &b, 0), NET_MOVED);
	assert_int_equal(netstate_compare(&a, &ab, 0), NET_GREW);
	assert_int_equal(netstate_compare(&a, &none, 0), NET_SAME);
	assert_int_equal(netstate_compare(&none, &a, 0), NET_MOVED);
	/* IPv4 goes on: nothing is torn down for IPv6. */
	assert_int_equal(netstate_compare(&a, &a6, 0), NET_GREW);
	assert_int_equal(netstate_compare(&a6, &a7, 0), NET_GREW);
	assert_int_equal(netstate_compare(&a6, &a, 0), NET_SAME);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(usable_is_up_running_and_addressed),
		cmocka_unit_test(another_devices_address_does_not_count),
		cmocka_unit_test(addresses_that_cannot_be_bound_yet_or_pass_do_not_count),
		cmocka_unit_test(of_a_point_to_point_link_our_end_counts),
		cmocka_unit_test(nonsense_is_refused),
		cmocka_unit_test(odd_lengths_do_not_lead_beyond_the_end),
		cmocka_unit_test(only_no_such_device_means_missing),
		cmocka_unit_test(a_disturbed_dump_is_asked_for_again),
		cmocka_unit_test(a_long_list_is_bounded),
		cmocka_unit_test(changes_of_a_device),
		cmocka_unit_test(only_what_we_stand_on_hurts),
		cmocka_unit_test(changes_of_the_machine),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
