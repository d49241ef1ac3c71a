/* /metrics: the format, the cells of routes and codes, what is shown and when. */
#include "tests/unit/shm_stage.h"

#include "worker/metrics.h"
#include "worker/peers.h"
#include "worker/prom.h"
#include "worker/route.h"
#include "worker/status.h"

static void text_is_escaped(void **state)
{
	struct prom p;
	struct buf b;

	(void)state;
	buf_init(&b, 4096);
	prom_init(&p, &b);
	prom_family(&p, "a", PROM_GAUGE, "back\\slash, new\nline, \"quote\"");
	prom_label(&p, "x", "back\\slash, new\nline, \"quote\"");
	prom_label_uint(&p, "y", 7);
	prom_uint(&p, UINT64_MAX);
	prom_uint(&p, 0);
	assert_string_equal(b.p,
			    "# HELP peerscope_a back\\\\slash, new\\nline, \"quote\"\n"
			    "# TYPE peerscope_a gauge\n"
			    "peerscope_a{x=\"back\\\\slash, new\\nline, \\\"quote\\\"\","
			    "y=\"7\"} 18446744073709551615\n"
			    "peerscope_a 0\n");
	buf_free(&b);
}

static void numbers_are_exact(void **state)
{
	static const struct {
		uint64_t v;
		int decimals;
		const char *text;
	} t[] = {
		{0, 3, "0"},         {1, 6, "0.000001"},
		{500, 6, "0.0005"},  {2500000, 6, "2.5"},
		{30000000, 6, "30"}, {1795270520699, 3, "1795270520.699"},
		{10, 1, "1"},        {100, 1, "10"},
	};

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_LEN(t); i++) {
		struct prom p;
		struct buf b;

		buf_init(&b, 4096);
		prom_init(&p, &b);
		prom_family(&p, "a_total", PROM_COUNTER, "h");
		buf_reset(&b);
		prom_fixed(&p, t[i].v, t[i].decimals);
		assert_memory_equal(b.p, "peerscope_a_total ", 18);
		b.p[b.len - 1] = '\0';
		assert_string_equal(b.p + 18, t[i].text);
		buf_free(&b);
	}
}

static void a_histogram_adds_up(void **state)
{
	static const uint64_t bucket[4] = {3, 0, 2, 4};
	static const uint32_t le[3] = {500, 1000000, 30000000};
	struct prom p;
	struct buf b;

	(void)state;
	buf_init(&b, 4096);
	prom_init(&p, &b);
	prom_family(&p, "t_seconds", PROM_HISTOGRAM, "h");
	prom_times(&p, "route", "/x", bucket, le, 4, 1500250);
	prom_uint(&p, 1); /* the suffix is gone */
	assert_string_equal(strchr(strchr(b.p, '\n') + 1, '\n') + 1,
			    "peerscope_t_seconds_bucket{route=\"/x\",le=\"0.0005\"} 3\n"
			    "peerscope_t_seconds_bucket{route=\"/x\",le=\"1\"} 3\n"
			    "peerscope_t_seconds_bucket{route=\"/x\",le=\"30\"} 5\n"
			    "peerscope_t_seconds_bucket{route=\"/x\",le=\"+Inf\"} 9\n"
			    "peerscope_t_seconds_sum{route=\"/x\"} 1.50025\n"
			    "peerscope_t_seconds_count{route=\"/x\"} 9\n"
			    "peerscope_t_seconds 1\n");
	buf_free(&b);
}

/* --- cells ---------------------------------------------------------------------------- */

static void each_status_has_its_cell(void **state)
{
	int known = 0;

	(void)state;
	assert_int_equal(httpstat_code(0), 0);
	for (int status = 100; status < 600; status++) {
		int cells = 0;

		for (uint32_t i = 1; i < HTTPSTAT_CODES; i++)
			cells += httpstat_code(i) == status;
		if (strcmp(status_phrase(status), "Unknown") == 0)
			assert_int_equal(cells, 0);
		else
			assert_int_equal(cells, 1);
		known += cells;
	}
	assert_int_equal(known, HTTPSTAT_CODES - 1);
}

static uint64_t code(const struct httpstat *st, uint32_t route, int status)
{
	for (uint32_t i = 0; i < HTTPSTAT_CODES; i++)
		if (httpstat_code(i) == status)
			return st->route[route].code[i];
	fail_msg("no cell for %d", status);
	return 0;
}

static void an_answer_is_counted_once(void **state)
{
	static const uint64_t us[] = {0, 500, 501, 30000000, 30000001, UINT32_MAX};
	struct stage *st = *state;
	struct httpstat all;
	uint64_t sum = 0, count = 0;

	httpstat_answered(1, 200, 5); /* nobody owns a block yet: nowhere */
	stat_own(st->worker, 2);
	for (size_t i = 0; i < PS_ARRAY_LEN(us); i++) {
		httpstat_answered(3, i % 2 ? 200 : 304, us[i]);
		sum += us[i];
	}
	httpstat_answered(HTTPSTAT_ROUTES - 1, 777, 9);
	httpstat_refused(431);
	httpstat_read(st->seg, &all);
	assert_int_equal(code(&all, 1, 200), 0);
	assert_int_equal(code(&all, 3, 200), 3);
	assert_int_equal(code(&all, 3, 304), 3);
	assert_int_equal(code(&all, 0, 431), 1);
	assert_int_equal(code(&all, HTTPSTAT_ROUTES - 1, 0), 1);
	assert_int_equal(all.route[3].bucket[0], 2);
	assert_int_equal(all.route[3].bucket[1], 1);
	assert_int_equal(all.route[3].bucket[HTTPSTAT_BUCKETS - 2], 1);
	assert_int_equal(all.route[3].bucket[HTTPSTAT_BUCKETS - 1], 2);
	for (int i = 0; i < HTTPSTAT_BUCKETS; i++) {
		count += all.route[3].bucket[i];
		assert_int_equal(all.route[0].bucket[i], 0);
	}
	assert_int_equal(count, PS_ARRAY_LEN(us));
	assert_true(all.route[3].sum_us == sum);
}

static void cells_outlive_their_worker(void **state)
{
	struct stage *st = *state;
	struct httpstat before, after;

	for (uint32_t block = 0; block < 2; block++) {
		stat_own(st->worker, block);
		httpstat_answered(2, 404, 70000);
		stat_inc(joins);
	}
	httpstat_read(st->seg, &before);
	stat_own(NULL, 0);
	stat_retire(st->master, 0);
	stat_retire(st->master, 1);
	stat_retire(st->master, 1); /* its next life did nothing */
	httpstat_read(st->seg, &after);
	assert_int_equal(code(&after, 2, 404), 2);
	assert_memory_equal(&before, &after, sizeof before);
	assert_int_equal(stat_total(st->seg, STAT_joins), 2);
}

/* --- all of it ------------------------------------------------------------------------- */

static struct kid kid;
static struct conf conf;

static void write_all(const struct stage *st, struct buf *b)
{
	struct worker w = {.kid = &kid,
			   .conf = &conf,
			   .seg = st->worker,
			   .ptab = st->reader};

	kid.nworkers = 2;
	buf_init(b, 1u << 20);
	metrics_write(&w, b);
	assert_false(b->failed);
}

static int has(const struct buf *b, const char *line)
{
	char text[256];

	snprintf(text, sizeof text, "\n%s\n", line);
	return strstr(b->p, text) != NULL;
}

static void check_has(const struct buf *b, const char *line)
{
	if (!has(b, line))
		fail_msg("no line %s", line);
}

static void routes_and_the_table(void **state)
{
	struct stage *st = *state;
	uint32_t n = route_number(peers_get);
	struct shm_swarm s;
	struct buf b;

	assert_in_range(n, 1, route_count());
	assert_string_equal(route_pattern(n), "/peers/{id}");
	stat_own(st->worker, 1);
	httpstat_answered(n, 200, 1500);
	httpstat_refused(414);
	s = swarm(7, 0);
	s.phase = SWARM_SETTLED;
	s.verdict = VERDICT_ALIVE;
	s.total_peers = 20;
	s.connected = 3;
	s.contacted = 4;
	s.tried = 5;
	assert_int_equal(ptab_put(st->p, &s, st->peer), PTAB_PUT);
	write_all(st, &b);
	check_has(&b,
		  "peerscope_http_requests_total{route=\"/peers/{id}\",code=\"200\"} 1");
	check_has(&b, "peerscope_http_requests_total{route=\"none\",code=\"414\"} 1");
	check_has(&b, "peerscope_http_request_duration_seconds_bucket"
		      "{route=\"/peers/{id}\",le=\"0.001\"} 0");
	check_has(&b, "peerscope_http_request_duration_seconds_bucket"
		      "{route=\"/peers/{id}\",le=\"0.0025\"} 1");
	check_has(&b, "peerscope_http_request_duration_seconds_count"
		      "{route=\"/peers/{id}\"} 1");
	assert_null(strstr(b.p, "_count{route=\"none\"}"));
	assert_null(strstr(b.p, "code=\"404\""));
	check_has(&b, "peerscope_table_swarms{phase=\"settled\"} 1");
	check_has(&b, "peerscope_table_verdicts{verdict=\"alive\"} 1");
	check_has(&b, "peerscope_table_peers{state=\"known\"} 8");
	check_has(&b, "peerscope_table_peers{state=\"tried\"} 5");
	check_has(&b, "peerscope_table_peers{state=\"contacted\"} 4");
	check_has(&b, "peerscope_table_peers{state=\"connected\"} 3");
	buf_free(&b);
}

static void without_a_collector(void **state)
{
	struct stage *st = *state;
	struct buf b;

	stat_own(st->seg, small.worker_slots);
	stat_set(dht_nodes, 41);
	stat_set(path_since_s, 1700000000);
	stat_inc(joins);
	write_all(st, &b);
	check_has(&b, "peerscope_collector_up 1");
	check_has(&b, "peerscope_dht_nodes 41");
	check_has(&b, "peerscope_path_since_timestamp_seconds 1700000000");
	assert_null(strstr(b.p, "geo_online_left")); /* conf: as many as we like */
	buf_free(&b);
	atomic_store(&seg_head_rw(st->master)->lease_pid, 0);
	conf.geo_online_daily = 10000;
	write_all(st, &b);
	check_has(&b, "peerscope_collector_up 0");
	check_has(&b, "peerscope_joins_total 1");
	assert_null(strstr(b.p, "dht_nodes"));
	buf_free(&b);
	atomic_store(&seg_head_rw(st->master)->lease_pid, 1);
	write_all(st, &b);
	check_has(&b, "peerscope_geo_online_left 0");
	buf_free(&b);
	conf.geo_online_daily = 0;
}

static void processes_that_are_there(void **state)
{
	struct stage *st = *state;
	struct shm_page *page = seg_page(st->master, 3);
	struct buf b;

	atomic_store(&page->pid, 4711);
	atomic_store(&page->started_ms, 1700000000250);
	atomic_store(&page->rss_bytes, 4096);
	atomic_store(&page->cpu_ms, 1250);
	atomic_store(&page->fds, 12);
	atomic_store(&page->busy, 9);
	atomic_store(&seg_page(st->master, small.worker_slots + 2)->fds, 21);
	write_all(st, &b);
	check_has(&b, "peerscope_process_open_fds{role=\"worker\",slot=\"3\"} 12");
	check_has(&b, "peerscope_process_open_fds{role=\"master\",slot=\"0\"} 21");
	check_has(&b,
		  "peerscope_process_cpu_seconds_total{role=\"worker\",slot=\"3\"} 1.25");
	check_has(&b, "peerscope_process_start_time_seconds{role=\"worker\",slot=\"3\"} "
		      "1700000000.25");
	check_has(&b, "peerscope_http_open_connections{slot=\"3\"} 9");
	assert_null(strstr(b.p, "slot=\"2\""));
	assert_null(strstr(b.p, "role=\"collector\""));
	buf_free(&b);
}

/* Prometheus shows each row's text alone, so that none may lean on its neighbour. */
static void check_help(const struct stat_meta *m, int n)
{
	static const char *const leaning[] = {"of these", "the same", "its ",      "it ",
					      "such ",    "when it ", "when that "};

	for (int i = 0; i < n; i++) {
		assert_true(strlen(m[i].help) > 8);
		for (size_t k = 0; k < PS_ARRAY_LEN(leaning); k++)
			if (strncmp(m[i].help, leaning[k], strlen(leaning[k])) == 0)
				fail_msg("stat.h: %s: %s", m[i].name, m[i].help);
	}
}

static void texts_stand_alone(void **state)
{
	(void)state;
	check_help(stat_counters, STAT_COUNTER_N);
	check_help(stat_gauges, STAT_GAUGE_N);
}

/* The longest numbers, everywhere, and a family's lines together. */
static void it_is_bounded(void **state)
{
	struct stage *st = *state;
	struct buf b;
	size_t families = 0;

	stat_own(st->worker, 0);
	for (int i = 0; i < STAT_COUNTER_N; i++)
		stat_add((enum stat_counter)i, UINT64_MAX);
	for (uint32_t i = 0; i < HTTPSTAT_CELLS; i++)
		stat_cell_add(i, UINT64_MAX);
	write_all(st, &b);
	assert_in_range(b.len, 1, 1u << 19);
	for (char *at = b.p; (at = strstr(at, "# TYPE ")) != NULL; families++) {
		char name[PROM_NAME_MAX + 16];

		at += 7;
		snprintf(name, sizeof name, "# TYPE %.*s ", (int)strcspn(at, " "), at);
		assert_null(strstr(at, name));
	}
	assert_true(families > STAT_COUNTER_N + STAT_GAUGE_N);
	buf_free(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_is_escaped),
		cmocka_unit_test(numbers_are_exact),
		cmocka_unit_test(a_histogram_adds_up),
		cmocka_unit_test(each_status_has_its_cell),
		T(an_answer_is_counted_once),
		T(cells_outlive_their_worker),
		T(routes_and_the_table),
		T(without_a_collector),
		T(processes_that_are_there),
		cmocka_unit_test(texts_stand_alone),
		T(it_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
