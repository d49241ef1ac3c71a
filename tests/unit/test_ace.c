/*
 * test_ace.c -- calls of the AceStream prober to scripted peers on loopback: those of
 * contracts/acestream-wire.md 7.2 and worse ones. Both sides are on one loop, so time
 * runs for both. socket, connect and send are ours, to see what they are given.
 */
#include "shm_stage.h"

#include <dirent.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "ace_peers.h"
#include "collector/ace.h"
#include "steady.h"

#define SEEN_MAX 256
#define GUARD_MS 20000

/* ---- system calls ---- */

static int connects, sends, sockets_fail;
static char bound_to[32]; /* device of the socket that was connected last */

int connect(int fd, const struct sockaddr *to, socklen_t len)
{
	socklen_t n = sizeof(bound_to);

	connects++;
	memset(bound_to, 0, sizeof(bound_to));
	(void)getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, bound_to, &n);
	return (int)syscall(SYS_connect, fd, to, len);
}

/* Of the prober alone: peers write. */
ssize_t send(int fd, const void *p, size_t n, int flags)
{
	sends++;
	return syscall(SYS_sendto, fd, p, n, flags, NULL, 0);
}

int socket(int family, int type, int protocol)
{
	if (sockets_fail) {
		errno = EMFILE;
		return -1;
	}
	return (int)syscall(SYS_socket, family, type, protocol);
}

static int descriptors(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

/* ---- the stage ---- */

struct seen {
	struct ace_seen s;
	struct acewire_told told; /* s.told as it was, if there was any */
	uint64_t at_ms;
};

struct play {
	struct stage *stage;
	struct event_base *base;
	struct event *clock;
	struct ace *ace;
	struct conf conf;
	struct seen seen[SEEN_MAX];
	int n, ended, calling, fds;
	uint64_t began_ms;
	void (*hook)(struct play *p, const struct ace_seen *s);
};

/* Of the configuration; the last is the other end's time for its FIN. */
struct limits {
	uint32_t connect_ms, reply_ms, ext_ms, listen_ms, all_ms, leave_ms;
};

/* For peers that answer; the listening is short, as all must wait for its end. */
static const struct limits patient = {2000, 2000, 2000, 60, 6000, 2000};

static void on_seen(void *arg, const struct ace_seen *s)
{
	struct play *p = arg;
	struct seen *to = &p->seen[p->n++];

	assert_false(p->calling);
	assert_true(p->n < SEEN_MAX);
	to->s = *s;
	if (s->told)
		to->told = *s->told;
	to->at_ms = clock_ms();
	p->ended += s->what == ACE_END;
	if (p->hook)
		p->hook(p, s);
}

static void on_clock(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
}

static struct play *play_begin(void **state, const struct limits *limits)
{
	static const struct timeval often = {0, 5000};
	struct stage *stage = *state;
	struct play *p = calloc(1, sizeof(*p));
	char err[ERRLEN];

	assert_non_null(p);
	p->fds = descriptors();
	p->stage = stage;
	stat_own(stage->seg, small.worker_slots);
	p->base = event_base_new();
	assert_non_null(p->base);
	p->clock = event_new(p->base, -1, EV_PERSIST, on_clock, p);
	event_add(p->clock, &often);
	conf_defaults(&p->conf);
	p->conf.acestream_connection_speed = 2000;
	p->conf.acestream_connect_time_ms = limits->connect_ms;
	p->conf.acestream_reply_time_ms = limits->reply_ms;
	p->conf.acestream_tell_time_ms = limits->ext_ms;
	p->conf.acestream_listen_time_ms = limits->listen_ms;
	p->conf.acestream_call_time_ms = limits->all_ms;
	p->began_ms = clock_ms();
	if (ace_open(&p->ace, p->base, &p->conf, limits->leave_ms, on_seen, p, err) != 0)
		fail_msg("%s", err);
	connects = sends = 0;
	return p;
}

static void play_end(struct play *p)
{
	ace_close(&p->ace);
	assert_null(p->ace);
	event_free(p->clock);
	event_base_free(p->base);
	assert_int_equal(descriptors(), p->fds);
	free(p);
}

static void turn(struct play *p)
{
	if (clock_ms() > p->began_ms + GUARD_MS)
		fail_msg("it does not come to an end: %d seen, %d ended", p->n, p->ended);
	assert_int_equal(event_base_loop(p->base, EVLOOP_ONCE), 0);
}

#define UNTIL(p, what)  \
	while (!(what)) \
	turn(p)

static void wait_ms(struct play *p, uint32_t ms)
{
	uint64_t until = clock_ms() + ms;

	UNTIL(p, clock_ms() >= until);
}

static enum ace_rc call_of(struct play *p, const struct peer *to, uint8_t swarm)
{
	struct ace_target t = {.life = 7, .port = to->port};
	enum ace_rc rc;

	memset(t.swarm, swarm, IH_LEN);
	memcpy(t.addr, to->addr, ADDR_LEN);
	memcpy(t.key, STAGE_KEY, IH_LEN);
	p->calling = 1;
	rc = ace_call(p->ace, &t);
	p->calling = 0;
	return rc;
}

static uint32_t open_calls(struct play *p)
{
	struct ace_load load;

	ace_load(p->ace, &load);
	assert_int_equal(stat_gauge_get(p->stage->master, GAUGE_ace_open), load.open);
	return load.open;
}

static uint64_t counted(struct play *p, enum stat_counter c)
{
	return stat_total(p->stage->master, c);
}

/* The whole life of one call to such a peer: what its end was, and what the peer saw. */
struct met {
	struct seen end;
	struct peer peer;
	int shaken, told, more;
	uint64_t took_ms, cut;
};

static struct met meet(void **state, const struct limits *limits, const char *address,
		       const struct script *script)
{
	struct play *p = play_begin(state, limits);
	struct met m = {.cut = counted(p, STAT_ace_cut)};
	struct peer peer;

	peer_listen(&peer, p->base, address, script);
	assert_int_equal(call_of(p, &peer, 1), ACE_STARTED);
	assert_int_equal(open_calls(p), 1);
	UNTIL(p, p->ended && peer.calls == 1 && peer.open == 0);
	assert_int_equal(open_calls(p), 0);
	m.end = p->seen[p->n - 1];
	m.took_ms = m.end.at_ms - p->began_ms;
	m.cut = counted(p, STAT_ace_cut) - m.cut;
	for (int i = 0; i < p->n; i++) {
		m.shaken += p->seen[i].s.what == ACE_SHAKEN;
		m.told += p->seen[i].s.what == ACE_TOLD;
		m.more += p->seen[i].s.what == ACE_MORE;
	}
	assert_true(sends <= 1);
	assert_int_equal(m.end.s.what, ACE_END);
	assert_int_equal(m.end.s.target.life, 7);
	assert_int_equal(m.end.s.target.port, peer.port);
	assert_int_equal(peer.too_much, 0);
	peer_close(&peer);
	m.peer = peer;
	play_end(p);
	return m;
}

/* ---- what peers say ---- */

static void say_all(struct bytes *b)
{
	stage_hand(b);
	stage_messages(b);
}

static void say_who(struct bytes *b)
{
	const struct stage_ext as_is = {0};

	stage_hand(b);
	stage_ext(b, &as_is);
}

static void say_zeros(struct bytes *b, size_t n)
{
	PS_ASSERT(n <= STAGE_MAX - b->n);
	memset(b->p + b->n, 0, n);
	b->n += n;
}

static void say_wrong_key(struct bytes *b)
{
	stage_hand(b);
	b->p[30] ^= 1;
	say_zeros(b, 40000);
}

static void say_half(struct bytes *b)
{
	stage_hand(b);
	b->n = 40;
}

static void say_bittorrent(struct bytes *b)
{
	stage_str(b, "\x13"
		     "BitTorrent protocol");
	say_zeros(b, 48);
}

static void say_garbage(struct bytes *b)
{
	stage_str(b, "SSH-2.0-OpenSSH_9.2\r\n");
}

static void say_content(struct bytes *b)
{
	uint8_t piece[100] = {0};

	stage_frame(b, 7, piece, sizeof(piece));
	say_zeros(b, 40000);
}

static void say_content_first(struct bytes *b)
{
	stage_hand(b);
	say_content(b);
}

static void say_who_and_content(struct bytes *b)
{
	say_who(b);
	say_content(b);
}

static void say_huge(struct bytes *b)
{
	stage_hand(b);
	stage_hex(b, "ffffffff 14 00");
	say_zeros(b, 4096);
}

static void say_unsorted(struct bytes *b)
{
	stage_hand(b);
	stage_frame(b, 20, "\0d1:bi1e1:ai1ee", 15);
}

static void say_status(struct bytes *b)
{
	for (int i = 0; i < 20; i++)
		stage_status(b);
}

static void say_idle(struct bytes *b)
{
	say_zeros(b, 10 * FLOOD_BYTES); /* keep-alives */
}

static void say_pex(struct bytes *b)
{
	stage_hand(b);
	stage_pex(b);
}

/* ---- one call: peers that are right ---- */

static void is_polite(const struct met *m)
{
	assert_int_equal(m->peer.came, AW_HAND);
	assert_int_equal(m->peer.reads, 1);
	assert_int_equal(m->peer.ended, BY_FIN);
	assert_memory_equal(m->peer.hand,
			    "\x11"
			    "AceStreamProtocol\0\0\0\0\0\0\0\0",
			    26);
	assert_memory_equal(m->peer.hand + 26, STAGE_KEY, IH_LEN);
	assert_true(acewire_id_ok(m->peer.hand + AW_HAND_ID));
}

static void told_all(const struct met *m)
{
	const struct acewire_told *t = &m->end.told;

	assert_int_equal(m->end.s.how, ACE_DONE);
	assert_true(m->end.s.connected && m->end.s.has_peer_id && m->end.s.told);
	assert_memory_equal(m->end.s.peer_id, STAGE_ID, AW_ID_LEN);
	assert_int_equal(m->shaken, 1);
	assert_int_equal(m->told, 1);
	assert_int_equal(t->sig, AW_SIG_GOOD);
	assert_int_equal(t->version, 3021100);
	assert_int_equal(t->saw, AW_SAW_EXT | AW_SAW_HAVE | AW_SAW_FIELD | AW_SAW_TAIL |
					 AW_SAW_STATUS | AW_SAW_PEX | AW_SAW_SOURCE);
	assert_int_equal(t->recs, 2);
	assert_int_equal(acewire_head(t), 5064);
	assert_int_equal(m->cut, 0);
}

static void test_a_peer_tells_all_and_hears_66_bytes(void **state)
{
	const struct script s = {.say = say_all, .strict = 1};
	struct met m = meet(state, &patient, "127.64.0.1", &s);

	told_all(&m);
	is_polite(&m);
	assert_true(m.took_ms >= patient.listen_ms);
}

static void test_by_single_bytes(void **state)
{
	const struct script s = {.say = say_all, .piece = 1};
	const struct limits limits = {2000, 2000, 2000, 600, 6000, 2000};
	struct met m = meet(state, &limits, "127.64.0.1", &s);

	told_all(&m);
	is_polite(&m);
}

static void test_over_ipv6(void **state)
{
	const struct script s = {.say = say_all};
	struct met m;

	if (access("/proc/sys/net/ipv6", F_OK) != 0)
		skip();
	m = meet(state, &patient, "::1", &s);
	told_all(&m);
	is_polite(&m);
}

/* A peer id may link what should not be linked: none is used twice. */
static void test_each_call_has_a_peer_id_of_its_own(void **state)
{
	const struct script s = {.say = say_who, .then = CLOSE};
	struct play *p = play_begin(state, &patient);
	struct peer peer;

	peer_listen(&peer, p->base, "127.64.0.1", &s);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(call_of(p, &peer, 1), ACE_STARTED);
		UNTIL(p, p->ended == i + 1 && peer.open == 0);
		for (int j = 0; j < i; j++)
			assert_memory_not_equal(peer.ids[i], peer.ids[j], AW_ID_LEN);
	}
	peer_close(&peer);
	play_end(p);
}

/* A list names a peer as soon as it has said who it is, and does not wait for its end. */
static void test_what_comes_later_is_told_when_it_comes(void **state)
{
	const struct script s = {.say = say_who, .more = stage_field, .gap_ms = 20};
	const struct limits limits = {2000, 2000, 30000, 200, 30000, 2000};
	struct play *p = play_begin(state, &limits);
	struct peer peer;

	peer_listen(&peer, p->base, "127.64.0.1", &s);
	assert_int_equal(call_of(p, &peer, 1), ACE_STARTED);
	UNTIL(p, p->ended);
	assert_int_equal(p->n, 4);
	assert_int_equal(p->seen[0].s.what, ACE_SHAKEN);
	assert_int_equal(p->seen[0].told.saw, 0);
	assert_memory_equal(p->seen[0].s.peer_id, STAGE_ID, AW_ID_LEN);
	assert_int_equal(p->seen[1].s.what, ACE_TOLD);
	assert_int_equal(p->seen[1].told.saw, AW_SAW_EXT);
	assert_int_equal(p->seen[2].s.what, ACE_MORE);
	assert_int_equal(p->seen[2].told.field_set, 64);
	assert_int_equal(p->seen[3].s.how, ACE_DONE);
	assert_true(p->seen[2].at_ms < p->seen[3].at_ms);
	assert_in_range(p->seen[3].at_ms - p->seen[1].at_ms, limits.listen_ms, 15000);
	peer_close(&peer);
	play_end(p);
}

static void test_gossip_may_come_first(void **state)
{
	const struct script s = {.say = say_pex, .more = say_who, .gap_ms = 1};
	struct met m = meet(state, &patient, "127.64.0.1", &s);

	/* The second handshake is no message: its length is absurd. */
	assert_int_equal(m.end.s.how, ACE_SHOOK);
	assert_int_equal(m.end.told.recs, 2);
	assert_int_equal(m.told, 0);
}

/* A loop that was busy must not take it out on the peers. */
static void test_a_late_loop_blames_nobody(void **state)
{
	const struct script s = {.say = say_all, .stall_ms = 150};
	const struct limits limits = {2000, 100, 100, 60, 6000, 2000};
	struct met m = meet(state, &limits, "127.64.0.1", &s);

	told_all(&m);
}

/* ---- one call: peers that are not ---- */

static void test_not_one_byte(void **state)
{
	const struct script closes = {.then = CLOSE}, resets = {.then = RESET},
			    silent = {0}, shut = {.then = CLOSE, .at_once = 1},
			    slammed = {.then = RESET, .at_once = 1};
	const struct script *each[] = {&closes, &resets, &shut, &slammed, &silent};
	const struct limits limits = {2000, 120, 120, 60, 6000, 2000};

	for (size_t i = 0; i < PS_ARRAY_LEN(each); i++) {
		struct met m = meet(state, &limits, "127.64.0.1", each[i]);

		assert_int_equal(m.end.s.how, ACE_ZERO);
		assert_true(m.end.s.connected);
		assert_int_equal(m.end.s.bytes_in, 0);
		assert_int_equal(m.shaken, 0);
		assert_null(m.end.s.told);
		assert_false(m.end.s.has_peer_id);
		if (each[i] == &silent) {
			is_polite(&m);
			assert_true(m.took_ms >= limits.reply_ms);
		}
	}
}

static void ends(void **state, const struct limits *limits, const struct script *s,
		 enum ace_outcome how, uint64_t cut)
{
	struct met m = meet(state, limits, "127.64.0.1", s);

	if (m.end.s.how != how)
		fail_msg("%s, not %s", ace_outcome_name(m.end.s.how),
			 ace_outcome_name(how));
	assert_int_equal(m.cut, cut);
	assert_int_equal(m.told, how == ACE_DONE);
	assert_int_equal(m.shaken, how == ACE_DONE || how == ACE_SHOOK);
	assert_true(m.end.s.connected && m.end.s.bytes_in > 0);
	if (s->then == STAY)
		is_polite(&m);
}

/* With what they send behind it unread there would be a RST. */
static void test_other_replies(void **state)
{
	const struct script wrong_key = {.say = say_wrong_key},
			    bittorrent = {.say = say_bittorrent},
			    garbage = {.say = say_garbage};

	ends(state, &patient, &wrong_key, ACE_WRONG_KEY, 0);
	ends(state, &patient, &bittorrent, ACE_BITTORRENT, 0);
	ends(state, &patient, &garbage, ACE_OTHER, 0);
}

static void test_half_a_reply(void **state)
{
	const struct script half = {.say = say_half},
			    and_close = {.say = say_half, .then = CLOSE};
	const struct limits limits = {2000, 120, 120, 60, 6000, 2000};

	ends(state, &limits, &half, ACE_OTHER, 0);
	ends(state, &patient, &and_close, ACE_OTHER, 0);
}

static void test_a_handshake_and_no_more(void **state)
{
	const struct script mute = {.say = stage_hand},
			    fin = {.say = stage_hand, .then = CLOSE},
			    reset = {.say = stage_hand, .then = RESET};
	const struct limits limits = {2000, 2000, 120, 60, 6000, 2000};

	ends(state, &limits, &mute, ACE_SHOOK, 0);
	ends(state, &patient, &fin, ACE_SHOOK, 0);
	ends(state, &patient, &reset, ACE_SHOOK, 0);
}

/* At once: the limits would let them stay for longer than the guard. */
static void test_content_nonsense_and_lengths_end_it_at_once(void **state)
{
	const struct script content = {.say = say_content_first},
			    later = {.say = say_who_and_content},
			    huge = {.say = say_huge}, unsorted = {.say = say_unsorted};
	const struct limits limits = {60000, 60000, 60000, 60000, 60000, 2000};

	ends(state, &limits, &content, ACE_SHOOK, 1);
	ends(state, &limits, &later, ACE_DONE, 1);
	ends(state, &limits, &huge, ACE_SHOOK, 1);
	ends(state, &limits, &unsorted, ACE_SHOOK, 1);
}

static void test_a_flood_is_read_up_to_the_bound(void **state)
{
	const struct script s = {.say = say_who, .more = say_status, .flood = 1},
			    idle = {.say = stage_hand, .more = say_idle, .flood = 1};
	struct limits limits = patient;
	struct met m;

	limits.listen_ms = limits.ext_ms = limits.all_ms = 60000;
	m = meet(state, &limits, "127.64.0.1", &s);
	assert_int_equal(m.end.s.how, ACE_DONE);
	assert_int_equal(m.end.s.bytes_in, AW_IN_MAX);
	assert_int_equal(m.cut, 1);
	assert_true(m.more <= 80); /* one for each read, not one for each message */
	m = meet(state, &limits, "127.64.0.1", &idle);
	assert_int_equal(m.end.s.how, ACE_SHOOK);
	assert_int_equal(m.end.s.bytes_in, AW_IN_MAX);
	assert_int_equal(m.cut, 1);
}

static void test_nobody_stays_longer_than_the_whole(void **state)
{
	const struct script s = {.say = say_all, .piece = 66};
	const struct limits limits = {2000, 2000, 60000, 60000, 150, 2000};
	struct met m = meet(state, &limits, "127.64.0.1", &s);

	assert_int_equal(m.end.s.how, ACE_DONE);
	assert_true(m.took_ms >= 150);
	is_polite(&m);
}

/* ---- keys ---- */

static struct seen whole_call(struct play *p, struct peer *peer)
{
	int ended = p->ended;

	assert_int_equal(call_of(p, peer, 1), ACE_STARTED);
	UNTIL(p, p->ended > ended && peer->open == 0);
	return p->seen[p->n - 1];
}

/* The defaults are those of section 9 B, and a reload takes each of them. */
static void test_a_reload_takes_every_bound(void **state)
{
	const struct script mute = {.say = stage_hand},
			    flood = {.say = say_who, .more = say_status, .flood = 1};
	const struct limits long_ = {60000, 60000, 60000, 60000, 60000, 2000};
	struct play *p = play_begin(state, &long_);
	struct peer silent, quiet, loud;
	struct seen s;

	peer_listen(&silent, p->base, "127.64.0.1", NULL);
	peer_listen(&quiet, p->base, "127.64.0.2", &mute);
	peer_listen(&loud, p->base, "127.64.0.3", &flood);
	p->conf.acestream_reply_time_ms = 40;
	ace_configure(p->ace, &p->conf);
	assert_int_equal(whole_call(p, &silent).s.how, ACE_ZERO);
	p->conf.acestream_tell_time_ms = 40;
	ace_configure(p->ace, &p->conf);
	assert_int_equal(whole_call(p, &quiet).s.how, ACE_SHOOK);
	p->conf.acestream_call_bytes_bytes = 5000;
	ace_configure(p->ace, &p->conf);
	s = whole_call(p, &loud);
	assert_int_equal(s.s.how, ACE_DONE);
	assert_int_equal(s.s.bytes_in, 5000);
	p->conf.acestream_reply_time_ms = p->conf.acestream_tell_time_ms = 60000;
	p->conf.acestream_call_time_ms = 40;
	ace_configure(p->ace, &p->conf);
	assert_int_equal(whole_call(p, &silent).s.how, ACE_ZERO);
	p->conf.acestream_per_address = 2;
	ace_configure(p->ace, &p->conf);
	assert_int_equal(call_of(p, &silent, 1), ACE_STARTED);
	assert_int_equal(call_of(p, &silent, 2), ACE_STARTED);
	assert_int_equal(call_of(p, &silent, 3), ACE_BUSY_ADDRESS);
	UNTIL(p, p->ended == 6 && silent.open == 0);
	peer_close(&silent);
	peer_close(&quiet);
	peer_close(&loud);
	play_end(p);
}

static void test_the_defaults_are_polite(void **state)
{
	struct conf c;

	(void)state;
	conf_defaults(&c);
	assert_int_equal(c.acestream_per_address, 1);
	assert_int_equal(c.acestream_swarm_connections, 8);
	assert_int_equal(c.acestream_connections, 64);
	assert_int_equal(c.acestream_connection_speed, 20);
	assert_int_equal(c.acestream_connect_time_ms, 3000);
	assert_int_equal(c.acestream_reply_time_ms, 3000);
	assert_int_equal(c.acestream_tell_time_ms, 4000);
	assert_int_equal(c.acestream_listen_time_ms, 500);
	assert_int_equal(c.acestream_call_time_ms, 8000);
	assert_int_equal(c.acestream_call_bytes_bytes, AW_IN_MAX);
}

/* ---- after our FIN ---- */

static uint64_t leaving(const struct play *p)
{
	return stat_gauge_get(p->stage->master, GAUGE_ace_leaving);
}

/* It is not answered by resets, which would not know the device: the place is free, but
 * the socket stays until the peer has said all and hangs up, too. */
static void test_who_still_speaks_hears_no_reset(void **state)
{
	const struct script s = {.say = say_who,
				 .more = say_status,
				 .gap_ms = 60,
				 .piece = 100,
				 .then = CLOSE,
				 .stays = 1};
	const struct limits limits = {2000, 2000, 2000, 20, 6000, 30000};
	struct play *p = play_begin(state, &limits);
	struct peer peer;

	peer_listen(&peer, p->base, "127.64.0.1", &s);
	assert_int_equal(call_of(p, &peer, 1), ACE_STARTED);
	UNTIL(p, p->ended);
	assert_int_equal(open_calls(p), 0);
	assert_int_equal(leaving(p), 1);
	UNTIL(p, peer.open == 0);
	assert_int_equal(peer.ended, BY_ITSELF);
	assert_true(peer.heard_fin);
	assert_int_equal(peer.said, 66 + 679 + 20 * 146);
	UNTIL(p, leaving(p) == 0);
	peer_close(&peer);
	play_end(p);
}

static void test_who_never_hangs_up_is_left(void **state)
{
	const struct script mute = {.say = say_who, .stays = 1},
			    flood = {.say = say_who,
				     .more = say_status,
				     .flood = 1,
				     .stays = 1};
	const struct script *each[] = {&mute, &flood};
	const struct limits limits = {2000, 2000, 2000, 20, 6000, 100};

	for (size_t i = 0; i < PS_ARRAY_LEN(each); i++) {
		struct play *p = play_begin(state, &limits);
		struct peer peer;
		int before;

		peer_listen(&peer, p->base, "127.64.0.1", each[i]);
		before = descriptors();
		assert_int_equal(call_of(p, &peer, 1), ACE_STARTED);
		UNTIL(p, p->ended);
		assert_int_equal(leaving(p), 1);
		UNTIL(p, leaving(p) == 0);
		assert_true(clock_ms() - p->seen[p->n - 1].at_ms >= 90);
		assert_int_equal(descriptors(), before + peer.open);
		peer_close(&peer);
		play_end(p);
	}
}

static void test_no_more_may_leave_than_may_be_called(void **state)
{
	const struct script s = {.say = say_who, .stays = 1};
	const struct limits limits = {2000, 2000, 2000, 20, 6000, 30000};
	struct play *p = play_begin(state, &limits);
	uint64_t early = counted(p, STAT_ace_left_early);
	struct peer peer;

	peer_listen(&peer, p->base, "127.64.0.1", &s);
	p->conf.acestream_connections = 2;
	ace_configure(p->ace, &p->conf);
	for (int i = 0; i < 5; i++) {
		assert_int_equal(call_of(p, &peer, 1), ACE_STARTED);
		UNTIL(p, p->ended == i + 1);
	}
	assert_int_equal(leaving(p), 2);
	assert_int_equal(counted(p, STAT_ace_left_early), early + 3);
	peer_close(&peer);
	play_end(p);
}

/* ---- nobody there ---- */

static void test_refused(void **state)
{
	struct play *p = play_begin(state, &patient);
	struct peer peer = {0};

	peer_bind(&peer, "127.64.0.1");
	assert_int_equal(call_of(p, &peer, 1), ACE_STARTED);
	UNTIL(p, p->ended);
	assert_int_equal(p->n, 1);
	assert_int_equal(p->seen[0].s.how, ACE_REFUSED);
	assert_false(p->seen[0].s.connected);
	peer_close(&peer);
	play_end(p);
}

/* Its queue is full: the kernel drops further SYNs. */
static void test_no_answer_to_the_syn(void **state)
{
	const struct limits limits = {150, 2000, 2000, 60, 6000, 2000};
	struct play *p = play_begin(state, &limits);
	struct peer peer = {0};
	struct sockaddr_in to = {.sin_family = AF_INET};
	int fd[4];

	peer_bind(&peer, "127.64.0.1");
	assert_int_equal(listen(peer.fd, 0), 0);
	to.sin_port = htons(peer.port);
	memcpy(&to.sin_addr, peer.addr + 12, 4);
	for (size_t i = 0; i < PS_ARRAY_LEN(fd); i++) {
		fd[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		(void)connect(fd[i], (struct sockaddr *)&to, sizeof(to));
	}
	assert_int_equal(call_of(p, &peer, 1), ACE_STARTED);
	UNTIL(p, p->ended);
	assert_int_equal(p->seen[0].s.how, ACE_TIMEOUT);
	assert_false(p->seen[0].s.connected);
	assert_true(p->seen[0].at_ms - p->began_ms >= limits.connect_ms);
	for (size_t i = 0; i < PS_ARRAY_LEN(fd); i++)
		close(fd[i]);
	peer_close(&peer);
	play_end(p);
}

static void test_no_way_there_is_our_own_fault(void **state)
{
	struct play *p = play_begin(state, &patient);
	struct peer peer = {.port = 8621};

	/* The kernel refuses to connect a TCP socket to a multicast group. */
	assert_int_equal(addr_parse(peer.addr, "239.255.17.18"), 0);
	assert_int_equal(call_of(p, &peer, 1), ACE_STARTED);
	assert_int_equal(p->n, 0);
	assert_int_equal(open_calls(p), 1);
	UNTIL(p, p->ended);
	assert_int_equal(p->seen[0].s.how, ACE_UNREACHABLE);
	play_end(p);
}

/* ---- the device ---- */

static void test_through_the_device_or_not_at_all(void **state)
{
	const struct script s = {.say = say_who};
	struct play *p = play_begin(state, &patient);
	struct peer peer;

	peer_listen(&peer, p->base, "127.64.0.1", &s);
	snprintf(p->conf.swarm_interface, sizeof(p->conf.swarm_interface), "lo");
	ace_configure(p->ace, &p->conf);
	assert_int_equal(call_of(p, &peer, 1), ACE_STARTED);
	assert_string_equal(bound_to, "lo");
	UNTIL(p, p->ended == 1);
	assert_int_equal(p->seen[p->n - 1].s.how, ACE_DONE);
	connects = 0;
	snprintf(p->conf.swarm_interface, sizeof(p->conf.swarm_interface), "nosuchdev0");
	ace_configure(p->ace, &p->conf);
	assert_int_equal(call_of(p, &peer, 1), ACE_STARTED);
	UNTIL(p, p->ended == 2);
	assert_int_equal(p->seen[p->n - 1].s.how, ACE_UNREACHABLE);
	assert_int_equal(connects, 0);
	assert_int_equal(peer.calls, 1);
	peer_close(&peer);
	play_end(p);
}

static void test_over_ipv6_through_the_device(void **state)
{
	const struct script s = {.say = say_who};
	struct play *p;
	struct peer peer;

	if (access("/proc/sys/net/ipv6", F_OK) != 0)
		skip();
	p = play_begin(state, &patient);
	peer_listen(&peer, p->base, "::1", &s);
	snprintf(p->conf.swarm_interface, sizeof(p->conf.swarm_interface), "lo");
	ace_configure(p->ace, &p->conf);
	assert_int_equal(call_of(p, &peer, 1), ACE_STARTED);
	assert_string_equal(bound_to, "lo");
	UNTIL(p, p->ended == 1);
	assert_int_equal(p->seen[p->n - 1].s.how, ACE_DONE);
	peer_close(&peer);
	play_end(p);
}

/* ---- bounds ---- */

#define CROWD 20

static void crowd_open(struct play *p, struct peer *peer, const struct script *s)
{
	char address[ADDR_TEXT_MAX];

	for (int i = 0; i < CROWD; i++) {
		snprintf(address, sizeof(address), "127.64.1.%d", i + 1);
		peer_listen(&peer[i], p->base, address, s);
	}
}

static void crowd_close(struct peer *peer)
{
	for (int i = 0; i < CROWD; i++)
		peer_close(&peer[i]);
}

static int crowd_calls(const struct peer *peer)
{
	int n = 0;

	for (int i = 0; i < CROWD; i++)
		n += peer[i].calls;
	return n;
}

static void test_bounds_of_a_swarm_of_all_and_of_an_address(void **state)
{
	struct play *p = play_begin(state, &patient);
	uint64_t all = counted(p, STAT_ace_busy_all);
	uint64_t swarm = counted(p, STAT_ace_busy_swarm);
	uint64_t address = counted(p, STAT_ace_busy_address);
	static struct peer peer[CROWD];
	struct peer beside = {0};

	crowd_open(p, peer, NULL);
	p->conf.acestream_swarm_connections = 3;
	p->conf.acestream_connections = 5;
	ace_configure(p->ace, &p->conf);
	for (int i = 0; i < 3; i++)
		assert_int_equal(call_of(p, &peer[i], 1), ACE_STARTED);
	assert_int_equal(call_of(p, &peer[3], 1), ACE_BUSY_SWARM);
	assert_int_equal(call_of(p, &peer[0], 2), ACE_BUSY_ADDRESS);
	peer_bind(&beside, "127.64.1.1"); /* another port of the same address */
	assert_int_equal(call_of(p, &beside, 2), ACE_BUSY_ADDRESS);
	for (int i = 3; i < 5; i++)
		assert_int_equal(call_of(p, &peer[i], 2), ACE_STARTED);
	assert_int_equal(call_of(p, &peer[5], 2), ACE_BUSY_ALL);
	assert_int_equal(open_calls(p), 5);
	assert_int_equal(counted(p, STAT_ace_busy_all), all + 1);
	assert_int_equal(counted(p, STAT_ace_busy_swarm), swarm + 1);
	assert_int_equal(counted(p, STAT_ace_busy_address), address + 2);
	UNTIL(p, crowd_calls(peer) == 5);
	/* Who ends makes room. */
	ace_hush(p->ace, p->seen[0].s.target.swarm); /* of nobody: swarm 0 */
	assert_int_equal(open_calls(p), 5);
	conn_end(peer[0].conns, BY_ITSELF);
	UNTIL(p, p->ended == 1);
	assert_int_equal(call_of(p, &beside, 1), ACE_STARTED);
	peer_close(&beside);
	crowd_close(peer);
	play_end(p);
}

static void test_the_pace(void **state)
{
	struct play *p = play_begin(state, &patient);
	struct ace_load load;
	static struct peer peer[CROWD];
	uint64_t began, made = 0, before = counted(p, STAT_ace_too_fast);

	crowd_open(p, peer, NULL);
	p->conf.acestream_connection_speed = 20; /* ten at once, then one each 50 ms */
	p->conf.acestream_swarm_connections = p->conf.acestream_connections = CROWD;
	ace_configure(p->ace, &p->conf);
	ace_load(p->ace, &load);
	assert_int_equal(load.room, 10);
	assert_int_equal(load.wait_ms, 0);
	began = clock_ms();
	while (call_of(p, &peer[made], 1) == ACE_STARTED)
		made++;
	assert_in_range(made, 10, 10 + (clock_ms() - began) / 50);
	assert_int_equal(counted(p, STAT_ace_too_fast), before + 1);
	ace_load(p->ace, &load);
	assert_int_equal(load.room, 0);
	assert_in_range(load.wait_ms, 1, 50);
	wait_ms(p, load.wait_ms);
	assert_int_equal(call_of(p, &peer[made++], 1), ACE_STARTED);
	while (made < CROWD) {
		made += call_of(p, &peer[made], 1) == ACE_STARTED;
		turn(p);
	}
	assert_true(clock_ms() - began >= (CROWD - 10) * 50);
	crowd_close(peer);
	play_end(p);
}

/* One per second is the slowest pace that there is, and one may be called at once. */
static void test_the_slowest_pace(void **state)
{
	struct play *p = play_begin(state, &patient);
	static struct peer peer[CROWD];
	struct ace_load load;

	crowd_open(p, peer, NULL);
	p->conf.acestream_connection_speed = 1;
	ace_configure(p->ace, &p->conf);
	assert_int_equal(call_of(p, &peer[0], 1), ACE_STARTED);
	assert_int_equal(call_of(p, &peer[1], 1), ACE_TOO_FAST);
	ace_load(p->ace, &load);
	assert_in_range(load.wait_ms, 1, 1000);
	crowd_close(peer);
	play_end(p);
}

static void test_no_descriptor(void **state)
{
	struct play *p = play_begin(state, &patient);
	uint64_t before = counted(p, STAT_ace_failed);
	struct peer peer;

	peer_listen(&peer, p->base, "127.64.0.1", NULL);
	sockets_fail = 1;
	assert_int_equal(call_of(p, &peer, 1), ACE_FAILED);
	sockets_fail = 0;
	assert_int_equal(counted(p, STAT_ace_failed), before + 1);
	assert_int_equal(open_calls(p), 0);
	assert_int_equal(call_of(p, &peer, 1), ACE_STARTED);
	peer_close(&peer);
	play_end(p);
}

static void test_descriptors_are_a_part_of_what_there_is(void **state)
{
	struct conf conf;
	struct rlimit old, few = {0};

	(void)state;
	conf_defaults(&conf);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	few.rlim_max = old.rlim_max;
	few.rlim_cur = 4096;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	assert_int_equal(ace_descriptors(&conf), 128);
	conf.acestream_connections = 1000;
	assert_int_equal(ace_descriptors(&conf), 512);
	conf.acestream_peers = 0;
	assert_int_equal(ace_descriptors(&conf), 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
}

/* ---- hushing, changes, the end ---- */

static void test_a_hushed_swarm_is_heard_of_no_more(void **state)
{
	const struct script s = {.say = say_who};
	struct limits limits = patient;
	struct play *p;
	static struct peer peer[CROWD];

	limits.listen_ms = 100;
	p = play_begin(state, &limits);
	crowd_open(p, peer, &s);
	for (int i = 0; i < 4; i++) /* swarms 0 and 1 in turn */
		assert_int_equal(call_of(p, &peer[i], (uint8_t)(i % 2)), ACE_STARTED);
	UNTIL(p, p->n == 8); /* shaken and told each */
	ace_hush(p->ace, p->seen[0].s.target.swarm);
	assert_int_equal(open_calls(p), 2);
	UNTIL(p, p->ended == 2);
	assert_int_equal(p->n, 10);
	for (int i = 8; i < 10; i++)
		assert_memory_not_equal(p->seen[i].s.target.swarm,
					p->seen[0].s.target.swarm, IH_LEN);
	for (int i = 0; i < 4; i++)
		UNTIL(p, peer[i].ended == BY_FIN);
	assert_int_equal(p->n, 10);
	crowd_close(peer);
	play_end(p);
}

static void hush_all(struct play *p, const struct ace_seen *s)
{
	(void)s;
	ace_hush(p->ace, NULL);
}

/* From within the call's own words, of each kind. */
static void test_hushed_while_it_speaks(void **state)
{
	const struct script says[] = {{.say = stage_hand},
				      {.say = say_who},
				      {.say = say_who_and_content},
				      {.then = CLOSE}};
	static struct peer peer[CROWD];

	for (size_t i = 0; i < PS_ARRAY_LEN(says); i++) {
		struct play *p = play_begin(state, &patient);

		p->hook = hush_all;
		crowd_open(p, peer, &says[i]);
		for (int j = 0; j < 3; j++)
			assert_int_equal(call_of(p, &peer[j], 1), ACE_STARTED);
		UNTIL(p, p->n > 0);
		assert_int_equal(open_calls(p), 0);
		UNTIL(p, peer[0].open + peer[1].open + peer[2].open == 0);
		assert_int_equal(p->n, 1);
		crowd_close(peer);
		play_end(p);
	}
}

static void hush_when_told(struct play *p, const struct ace_seen *s)
{
	if (s->what == ACE_TOLD)
		ace_hush(p->ace, NULL);
}

static void test_hushed_when_it_told(void **state)
{
	const struct script s = {.say = say_all, .piece = 100};
	struct play *p = play_begin(state, &patient);
	struct peer peer;

	p->hook = hush_when_told;
	peer_listen(&peer, p->base, "127.64.0.1", &s);
	assert_int_equal(call_of(p, &peer, 1), ACE_STARTED);
	UNTIL(p, p->n == 2);
	assert_int_equal(open_calls(p), 0);
	UNTIL(p, peer.open == 0);
	assert_int_equal(p->n, 2);
	peer_close(&peer);
	play_end(p);
}

static const struct peer *again;

static void call_again(struct play *p, const struct ace_seen *s)
{
	if (s->what == ACE_END && p->ended < 3)
		assert_int_equal(call_of(p, again, 1), ACE_STARTED);
}

/* The next in line behind one address may be called as soon as the one before is over. */
static void test_an_end_is_a_free_place(void **state)
{
	const struct script s = {.then = CLOSE};
	struct play *p = play_begin(state, &patient);
	struct peer peer;

	p->conf.acestream_swarm_connections = p->conf.acestream_connections = 1;
	ace_configure(p->ace, &p->conf);
	peer_listen(&peer, p->base, "127.64.0.1", &s);
	again = &peer;
	p->hook = call_again;
	assert_int_equal(call_of(p, &peer, 1), ACE_STARTED);
	UNTIL(p, p->ended == 3 && peer.open == 0);
	assert_int_equal(peer.calls, 3);
	assert_int_equal(peer.most_open, 1);
	peer_close(&peer);
	play_end(p);
}

static void test_another_device_or_none_ends_what_is_under_way(void **state)
{
	struct play *p = play_begin(state, &patient);
	struct peer peer;

	peer_listen(&peer, p->base, "127.64.0.1", NULL);
	assert_int_equal(call_of(p, &peer, 1), ACE_STARTED);
	UNTIL(p, peer.open == 1);
	ace_configure(p->ace, &p->conf); /* nothing that matters to it */
	wait_ms(p, 20);
	assert_int_equal(p->n, 0);
	snprintf(p->conf.swarm_interface, sizeof(p->conf.swarm_interface), "lo");
	ace_configure(p->ace, &p->conf);
	assert_int_equal(p->n, 0);
	UNTIL(p, p->ended == 1);
	assert_int_equal(p->seen[0].s.how, ACE_UNREACHABLE);
	UNTIL(p, peer.ended == BY_FIN);
	assert_int_equal(call_of(p, &peer, 1), ACE_STARTED);
	p->conf.acestream_peers = 0;
	ace_configure(p->ace, &p->conf);
	UNTIL(p, p->ended == 2);
	assert_int_equal(p->seen[p->n - 1].s.how, ACE_UNREACHABLE);
	assert_int_equal(call_of(p, &peer, 1), ACE_BUSY_ALL);
	peer_close(&peer);
	play_end(p);
}

static void test_closed_in_the_middle(void **state)
{
	const struct script s = {.say = stage_hand};
	struct play *p = play_begin(state, &patient);
	static struct peer peer[CROWD];
	char err[ERRLEN];
	int n;

	crowd_open(p, peer, &s);
	for (int i = 0; i < 4; i++)
		assert_int_equal(call_of(p, &peer[i], 1), ACE_STARTED);
	UNTIL(p, p->n == 4);
	n = p->n;
	ace_close(&p->ace);
	assert_null(p->ace);
	ace_close(&p->ace);
	for (int i = 0; i < 4; i++)
		UNTIL(p, peer[i].ended == BY_FIN);
	assert_int_equal(p->n, n);
	assert_int_equal(ace_open(&p->ace, p->base, &p->conf, ACE_LEAVE_MS, on_seen, p,
				  err),
			 0);
	crowd_close(peer);
	play_end(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_a_peer_tells_all_and_hears_66_bytes),
		T(test_by_single_bytes),
		T(test_over_ipv6),
		T(test_each_call_has_a_peer_id_of_its_own),
		T(test_what_comes_later_is_told_when_it_comes),
		T(test_gossip_may_come_first),
		T(test_a_late_loop_blames_nobody),
		T(test_not_one_byte),
		T(test_other_replies),
		T(test_half_a_reply),
		T(test_a_handshake_and_no_more),
		T(test_content_nonsense_and_lengths_end_it_at_once),
		T(test_a_flood_is_read_up_to_the_bound),
		T(test_nobody_stays_longer_than_the_whole),
		T(test_a_reload_takes_every_bound),
		T(test_the_defaults_are_polite),
		T(test_who_still_speaks_hears_no_reset),
		T(test_who_never_hangs_up_is_left),
		T(test_no_more_may_leave_than_may_be_called),
		T(test_refused),
		T(test_no_answer_to_the_syn),
		T(test_no_way_there_is_our_own_fault),
		T(test_through_the_device_or_not_at_all),
		T(test_over_ipv6_through_the_device),
		T(test_bounds_of_a_swarm_of_all_and_of_an_address),
		T(test_the_pace),
		T(test_the_slowest_pace),
		T(test_no_descriptor),
		T(test_descriptors_are_a_part_of_what_there_is),
		T(test_a_hushed_swarm_is_heard_of_no_more),
		T(test_hushed_while_it_speaks),
		T(test_hushed_when_it_told),
		T(test_an_end_is_a_free_place),
		T(test_another_device_or_none_ends_what_is_under_way),
		T(test_closed_in_the_middle),
	};

	signal(SIGPIPE, SIG_IGN); /* of peers that write to who is gone */
	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
