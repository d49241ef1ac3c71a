/*
 * test_vpn.c -- what Gluetun's answers mean: every form of a port, states and their
 * words, the port that is followed, and where that makes the session listen.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "collector/vpn_judge.h"

static struct web_answer ok(const char *body)
{
	struct web_answer a = {.rc = WEB_OK, .status = 200, .body = body, .error = ""};

	a.len = strlen(body);
	return a;
}

static struct web_answer status(int code)
{
	struct web_answer a = {.rc = WEB_OK, .status = code, .body = "", .error = ""};

	return a;
}

static struct web_answer failed(enum web_rc rc)
{
	struct web_answer a = {.rc = rc, .body = "", .error = "why not"};

	return a;
}

/* ---- answers ------------------------------------------------------------------------ */

static void port_is(const char *body, int port)
{
	struct web_answer a = ok(body);
	struct vpn_facts f = {.port = 7};

	vpn_take_port(&f, &a);
	if (port < 0 ? f.port_reply != VPN_R_BAD || f.port != 0
		     : f.port_reply != VPN_R_GOOD || f.port != port)
		fail_msg("%s: reply %d, port %u", body, f.port_reply, f.port);
}

static void test_forms_of_a_port(void **state)
{
	(void)state;
	port_is("{\"port\":51820}\n", 51820);
	port_is("{\"port\":0}", 0);
	port_is("{\"ports\":[51820,51821]}", 51820);
	port_is("{\"ports\":[]}", 0);
	port_is("{\"ports\":null}", 0);
	port_is("{\"ports\":null,\"port\":0}", 0);
	port_is("{\"ports\":[0,51821]}", 51821);
	port_is("{\"port\":51820,\"ports\":[51820,51821]}", 51820);
	port_is("{\"port\":0,\"ports\":[51821]}", 51821);
	port_is("{\"port\":65535,\"other\":{\"x\":[]}}", 65535);
}

static void test_what_is_no_port(void **state)
{
	static const char *const bad[] = {
		"",
		"null",
		"[]",
		"51820",
		"{}",
		"{\"port\":\"51820\"}",
		"{\"port\":-1}",
		"{\"port\":65536}",
		"{\"port\":1e300}",
		"{\"port\":1.5}",
		"{\"port\":null}",
		"{\"port\":true}",
		"{\"port\":[51820]}",
		"{\"ports\":51820}",
		"{\"ports\":[\"51820\"]}",
		"{\"ports\":[51820,-1]}",
		"{\"ports\":{\"0\":51820}}",
		"{\"port\":51820",
		"{\"port\":51820} and more",
		"{\"port\":51820}{\"port\":1}",
		"<html>51820</html>",
		"{\"Port\":51820}",
	};

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_LEN(bad); i++)
		port_is(bad[i], -1);
}

static void test_replies(void **state)
{
	static const struct {
		int status;
		enum web_rc rc;
		enum vpn_reply reply;
	} cases[] = {
		{401, WEB_OK, VPN_R_UNAUTHORIZED}, {403, WEB_OK, VPN_R_UNAUTHORIZED},
		{404, WEB_OK, VPN_R_NO_ROUTE},     {400, WEB_OK, VPN_R_NO_ROUTE},
		{308, WEB_OK, VPN_R_NO_ROUTE},     {500, WEB_OK, VPN_R_NO_ROUTE},
		{0, WEB_REFUSED, VPN_R_REFUSED},   {0, WEB_TIMEOUT, VPN_R_SILENT},
		{0, WEB_FAILED, VPN_R_GONE},       {0, WEB_TOO_LARGE, VPN_R_BAD},
	};

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_LEN(cases); i++) {
		struct web_answer a = cases[i].rc == WEB_OK ? status(cases[i].status)
							    : failed(cases[i].rc);
		struct vpn_facts f = {0};

		vpn_take_port(&f, &a);
		vpn_take_status(&f, &a);
		vpn_take_ip(&f, &a);
		assert_int_equal(f.port_reply, cases[i].reply);
		assert_int_equal(f.status_reply, cases[i].reply);
		assert_int_equal(f.ip_reply, cases[i].reply);
	}
}

static void test_status(void **state)
{
	struct web_answer a = ok("{\"status\":\"running\"}\n");
	struct vpn_facts f = {0};

	(void)state;
	vpn_take_status(&f, &a);
	assert_int_equal(f.status_reply, VPN_R_GOOD);
	assert_int_equal(f.running, 1);
	a = ok("{\"status\":\"crashed\"}");
	vpn_take_status(&f, &a);
	assert_int_equal(f.status_reply, VPN_R_GOOD);
	assert_int_equal(f.running, 0);
	assert_string_equal(f.status, "crashed");
	a = ok("{\"status\":\"a word that is far longer than any of Gluetun\"}");
	vpn_take_status(&f, &a);
	assert_int_equal(strlen(f.status), sizeof(f.status) - 1);
	a = ok("{\"status\":1}");
	vpn_take_status(&f, &a);
	assert_int_equal(f.status_reply, VPN_R_BAD);
	a = ok("{\"outcome\":\"running\"}");
	vpn_take_status(&f, &a);
	assert_int_equal(f.status_reply, VPN_R_BAD);
}

static void test_address(void **state)
{
	struct web_answer a = ok("{\"public_ip\":\"203.0.113.9\",\"region\":\"NH\","
				 "\"country\":\"Netherlands\",\"city\":\"Amsterdam\"}");
	struct vpn_facts f = {0};

	(void)state;
	vpn_take_ip(&f, &a);
	assert_int_equal(f.ip_reply, VPN_R_GOOD);
	assert_string_equal(f.place.ip, "203.0.113.9");
	assert_string_equal(f.place.country, "Netherlands");
	assert_string_equal(f.place.city, "Amsterdam");
	a = ok("{\"public_ip\":\"\"}"); /* Go's zero value: no address now */
	vpn_take_ip(&f, &a);
	assert_int_equal(f.ip_reply, VPN_R_GOOD);
	assert_string_equal(f.place.ip, "");
	assert_string_equal(f.place.country, "");
	a = ok("{\"public_ip\":\"203.0.113.9\",\"city\":7}");
	vpn_take_ip(&f, &a);
	assert_int_equal(f.ip_reply, VPN_R_BAD);
	assert_string_equal(f.place.ip, "");
	a = ok("{\"ip\":\"203.0.113.9\"}");
	vpn_take_ip(&f, &a);
	assert_int_equal(f.ip_reply, VPN_R_BAD);
}

static void test_health(void **state)
{
	struct web_answer a = ok("");
	struct vpn_facts f = {0};

	(void)state;
	vpn_take_health(&f, &a);
	assert_true(f.health_reply == VPN_R_GOOD && f.healthy);
	a = status(500);
	vpn_take_health(&f, &a);
	assert_true(f.health_reply == VPN_R_GOOD && !f.healthy);
	a = status(404); /* some other server */
	vpn_take_health(&f, &a);
	assert_true(f.health_reply == VPN_R_NO_ROUTE && !f.healthy);
}

static void test_file(void **state)
{
	static const struct {
		const char *text;
		int port;
	} cases[] = {
		{"51820", 51820}, {"51820\n", 51820}, {"51820\n51821\n", 51820},
		{"0\n", 0},       {"65535 ", 65535},  {"65536", -1},
		{"", -1},         {"\n", -1},         {"-1", -1},
		{"port", -1},     {"51820x", -1},     {"99999999999999999999", -1},
	};

	(void)state;
	for (size_t i = 0; i < PS_ARRAY_LEN(cases); i++)
		assert_int_equal(vpn_file_port(cases[i].text, strlen(cases[i].text)),
				 cases[i].port);
}

static void test_the_better_of_two_routes(void **state)
{
	(void)state;
	assert_int_equal(vpn_better(VPN_R_UNASKED, VPN_R_NO_ROUTE), VPN_R_NO_ROUTE);
	assert_int_equal(vpn_better(VPN_R_NO_ROUTE, VPN_R_GOOD), VPN_R_GOOD);
	assert_int_equal(vpn_better(VPN_R_UNAUTHORIZED, VPN_R_GOOD), VPN_R_GOOD);
	assert_int_equal(vpn_better(VPN_R_UNAUTHORIZED, VPN_R_NO_ROUTE),
			 VPN_R_UNAUTHORIZED);
	assert_int_equal(vpn_better(VPN_R_NO_ROUTE, VPN_R_UNAUTHORIZED),
			 VPN_R_UNAUTHORIZED);
	assert_int_equal(vpn_better(VPN_R_NO_ROUTE, VPN_R_BAD), VPN_R_NO_ROUTE);
}

/* ---- states --------------------------------------------------------------------------- */

static struct vpn_judge j;
static struct vpn_facts f;
static struct vpn_news news;
static struct conf conf;
static uint64_t now;

static int fresh(void **state)
{
	(void)state;
	memset(&j, 0, sizeof(j));
	memset(&f, 0, sizeof(f));
	f.file_port = -1;
	now = 1000;
	conf_defaults(&conf);
	snprintf(conf.vpn_gluetun_url, sizeof(conf.vpn_gluetun_url), "http://g:8000");
	return 0;
}

static void all_good(uint16_t port)
{
	f.port_reply = f.status_reply = f.ip_reply = VPN_R_GOOD;
	f.health_reply = VPN_R_UNASKED;
	f.port = port;
	f.running = 1;
	snprintf(f.status, sizeof(f.status), "running");
	snprintf(f.place.ip, sizeof(f.place.ip), "203.0.113.9");
}

static void no_control(enum vpn_reply r)
{
	f.port_reply = f.status_reply = f.ip_reply = r;
	memset(&f.place, 0, sizeof(f.place));
}

static enum vpn_state step(uint64_t ms)
{
	now += ms;
	vpn_judge(&j, &f, now, &news);
	return j.state;
}

static void says(const char *word)
{
	char text[NOTE_SIZE];

	vpn_detail(&j, &f, &conf, text);
	if (word[0] ? !strstr(text, word) : text[0])
		fail_msg("%s: \"%s\" does not say \"%s\"", vpn_state_name(j.state), text,
			 word);
}

static void test_up_and_down(void **state)
{
	(void)state;
	all_good(0);
	assert_int_equal(step(0), VPN_UP);
	assert_int_equal(news.state_changed, 1);
	says("");
	assert_int_equal(step(2000), VPN_UP);
	assert_int_equal(news.state_changed, 0);
	f.running = 0;
	snprintf(f.status, sizeof(f.status), "starting");
	assert_int_equal(step(2000), VPN_DOWN);
	says("starting");
	all_good(0);
	f.place.ip[0] = '\0';
	assert_int_equal(step(2000), VPN_DOWN);
	says("no public address");
	f.status_reply = VPN_R_NO_ROUTE; /* the address alone is enough to know */
	assert_int_equal(step(2000), VPN_DOWN);
	all_good(0);
	f.place.ip[0] = '\0'; /* PUBLICIP_ENABLED=off, or a 429: the VPN is fine */
	assert_true(vpn_wants_health(&f));
	f.health_reply = VPN_R_GOOD;
	f.healthy = 1;
	assert_int_equal(step(2000), VPN_UP);
	says("PUBLICIP_ENABLED");
	f.healthy = 0;
	assert_int_equal(step(2000), VPN_DOWN);
	f.running = 0; /* that is plain enough */
	assert_false(vpn_wants_health(&f));
	f.healthy = 1;
	assert_int_equal(step(2000), VPN_DOWN);
	all_good(0);
	f.healthy = 0;
	f.ip_reply = VPN_R_UNAUTHORIZED;
	assert_int_equal(step(2000), VPN_UP);
	all_good(0);
	f.interface_gone = 1;
	snprintf(conf.swarm_interface, sizeof(conf.swarm_interface), "tun0");
	assert_int_equal(step(2000), VPN_DOWN);
	says("tun0");
}

static void test_a_hiccup_is_no_state(void **state)
{
	(void)state;
	all_good(51820);
	assert_int_equal(step(0), VPN_UP);
	no_control(VPN_R_SILENT);
	f.health_reply = VPN_R_SILENT;
	assert_int_equal(step(2000), VPN_UP);
	assert_int_equal(step(VPN_HICCUP_MS - 1), VPN_UP);
	assert_int_equal(step(1), VPN_UNREACHABLE);
	says("neither");
	assert_int_equal(j.port, 51820); /* nobody said that it is gone */
	all_good(51820);
	assert_int_equal(step(2000), VPN_UP);
	assert_int_equal(news.port_changed, 0);
}

static void test_nobody_from_the_start(void **state)
{
	(void)state;
	no_control(VPN_R_REFUSED);
	f.health_reply = VPN_R_REFUSED;
	assert_int_equal(step(0), VPN_UNKNOWN);
	assert_int_equal(step(VPN_HICCUP_MS), VPN_UNREACHABLE);
	assert_int_equal(step(600000), VPN_UNREACHABLE); /* there is more than lo */
}

static void test_unauthorized(void **state)
{
	char role[NOTE_SIZE];

	(void)state;
	no_control(VPN_R_UNAUTHORIZED);
	assert_true(vpn_wants_health(&f));
	f.health_reply = VPN_R_REFUSED;
	assert_int_equal(step(0), VPN_UNAUTHORIZED);
	says("/gluetun/auth/config.toml");
	f.health_reply = VPN_R_GOOD;
	f.healthy = 1;
	assert_int_equal(step(2000), VPN_UP);
	says("401");
	f.healthy = 0;
	assert_int_equal(step(2000), VPN_DOWN);
	vpn_role(&f, &conf, role);
	assert_string_equal(role,
			    "[[roles]]\nname = \"peerscope\"\n"
			    "routes = [\"GET /v1/portforward\", \"GET /v1/publicip/ip\", "
			    "\"GET /v1/vpn/status\"]\n"
			    "auth = \"apikey\"\napikey = \"<vpn.api_key>\"\n");
	snprintf(conf.vpn_user, sizeof(conf.vpn_user), "me");
	snprintf(conf.vpn_password, sizeof(conf.vpn_password), "geheim");
	vpn_role(&f, &conf, role);
	assert_non_null(strstr(role, "auth = \"basic\"\n"));
	assert_null(strstr(role, "geheim"));
	assert_non_null(strstr(role, "password = \"<vpn.password>\"\n")); /* not cut */
	all_good(0);
	vpn_role(&f, &conf, role);
	assert_string_equal(role, "");
	assert_false(vpn_wants_health(&f));
}

static void test_one_refused_question(void **state)
{
	char role[NOTE_SIZE];

	(void)state;
	all_good(0);
	f.port_reply = VPN_R_UNAUTHORIZED;
	assert_int_equal(step(0), VPN_UP);
	says("401");
	vpn_role(&f, &conf, role);
	assert_true(role[0]);
}

static void test_dead_namespace(void **state)
{
	(void)state;
	snprintf(conf.swarm_interface, sizeof(conf.swarm_interface), "tun0");
	all_good(51820);
	assert_int_equal(step(0), VPN_UP);
	no_control(VPN_R_REFUSED);
	f.health_reply = VPN_R_REFUSED;
	f.interface_gone = f.only_lo = 1;
	assert_int_equal(step(2000), VPN_UP);
	assert_int_equal(step(VPN_HICCUP_MS), VPN_UNREACHABLE);
	assert_int_equal(step(VPN_DEAD_MS - VPN_HICCUP_MS - 1), VPN_UNREACHABLE);
	assert_int_equal(step(1), VPN_DEAD_NAMESPACE);
	says("--force-recreate");
	/* The whole sentence fits. */
	says("merely restarted");
	f.only_lo = 0;
	assert_int_equal(step(2000), VPN_UNREACHABLE);
}

static void test_what_is_not_dead(void **state)
{
	(void)state;
	no_control(VPN_R_REFUSED);
	f.only_lo = 1;
	f.health_reply = VPN_R_SILENT; /* somebody is there, and hangs */
	step(0);
	assert_int_equal(step(60000), VPN_UNREACHABLE);
	f.health_reply = VPN_R_GOOD;
	assert_int_equal(step(2000), VPN_DOWN);
	f.health_reply = VPN_R_REFUSED;
	no_control(VPN_R_UNAUTHORIZED);
	assert_int_equal(step(60000), VPN_UNAUTHORIZED);
	no_control(VPN_R_GONE); /* a control server elsewhere, and no way there */
	step(2000);
	assert_int_equal(step(VPN_DEAD_MS), VPN_DEAD_NAMESPACE);
	no_control(VPN_R_REFUSED);
	f.health_reply = VPN_R_UNASKED; /* vpn.health_url is empty */
	assert_int_equal(step(2000), VPN_DEAD_NAMESPACE);
}

static void test_interface_gone_with_a_control_server(void **state)
{
	(void)state;
	f.interface_gone = f.only_lo = 1;
	no_control(VPN_R_NO_ROUTE); /* it answers, and that is all it does */
	f.health_reply = VPN_R_REFUSED;
	assert_int_equal(step(0), VPN_DOWN);
	assert_int_equal(step(60000), VPN_DOWN);
}

/* ---- the port ----------------------------------------------------------------------------- */

static void test_port_is_followed(void **state)
{
	(void)state;
	all_good(51820);
	step(0);
	assert_true(news.port_changed && j.port == 51820);
	step(2000);
	assert_false(news.port_changed);
	f.port = 51821;
	step(2000);
	assert_true(news.port_changed && j.port == 51821);
	f.port_reply = VPN_R_SILENT;
	f.port = 0;
	step(3600000);
	assert_false(news.port_changed);
	assert_int_equal(j.port, 51821);
}

static void test_port_that_goes(void **state)
{
	(void)state;
	all_good(51820);
	step(0);
	f.port = 0; /* a reconnect of the VPN: the same one comes back */
	step(2000);
	assert_false(news.port_changed);
	step(VPN_NO_PORT_MS - 1);
	f.port = 51820;
	step(2000);
	assert_false(news.port_changed);
	f.port = 0;
	step(2000);
	step(VPN_NO_PORT_MS - 1);
	assert_false(news.port_changed);
	step(1);
	assert_true(news.port_changed && j.port == 0);
	step(VPN_NO_PORT_MS);
	assert_false(news.port_changed);
}

static void test_port_of_the_file(void **state)
{
	(void)state;
	all_good(0);
	f.port_reply = VPN_R_UNAUTHORIZED;
	f.file_port = 51830;
	step(0);
	assert_true(news.port_changed && j.port == 51830);
	f.file_port = -1; /* for a moment, while Gluetun writes it */
	step(60000);
	assert_int_equal(j.port, 51830);
	f.port_reply = VPN_R_GOOD; /* the server knows better */
	f.port = 51831;
	f.file_port = 51830;
	step(2000);
	assert_int_equal(j.port, 51831);
}

static void test_churn_is_said_once_an_hour(void **state)
{
	int said = 0;

	(void)state;
	all_good(1000);
	for (int i = 0; i < 47; i++) { /* a report: 47 in an hour */
		f.port++;
		step(76000);
		said += news.churn;
		assert_int_equal(news.churn, i == VPN_CHURN_PORTS - 1);
	}
	assert_int_equal(said, 1);
	fresh(NULL);
	all_good(1000);
	for (int i = 0; i < 50; i++) { /* a few a day */
		f.port++;
		step(VPN_CHURN_MS / 4);
		assert_false(news.churn);
	}
}

/* ---- where to listen ------------------------------------------------------------------------ */

static void listens(const char *before, const char *after)
{
	snprintf(conf.swarm_listen, sizeof(conf.swarm_listen), "%s", before);
	assert_int_equal(vpn_listen(&conf, 51820), 0);
	assert_string_equal(conf.swarm_listen, after);
}

static void test_listen(void **state)
{
	(void)state;
	listens("0.0.0.0:42069,[::]:42069", "0.0.0.0:51820,[::]:51820");
	listens("tun0:1", "tun0:51820");
	listens("0.0.0.0:1, 0.0.0.0:2", "0.0.0.0:51820");
	listens("", "");
}

static void test_listen_without_room(void **state)
{
	char before[sizeof(conf.swarm_listen)] = "";
	size_t n = 0;

	(void)state;
	for (int i = 0; n + 12 < sizeof(before); i++)
		n += (size_t)snprintf(before + n, sizeof(before) - n, "%s127.0.0.%d:1",
				      i ? "," : "", i % 10);
	memcpy(conf.swarm_listen, before, sizeof(before));
	assert_int_equal(vpn_listen(&conf, 51820), 0); /* the same ones stand once */
	n = 0;
	for (int i = 0; n + 14 < sizeof(before); i++)
		n += (size_t)snprintf(before + n, sizeof(before) - n, "%s127.0.%d:1",
				      i ? "," : "", 100 + i);
	memcpy(conf.swarm_listen, before, sizeof(before));
	assert_int_equal(vpn_listen(&conf, 51820), -1);
	assert_string_equal(conf.swarm_listen, before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_forms_of_a_port),
		cmocka_unit_test(test_what_is_no_port),
		cmocka_unit_test(test_replies),
		cmocka_unit_test(test_status),
		cmocka_unit_test(test_address),
		cmocka_unit_test(test_health),
		cmocka_unit_test(test_file),
		cmocka_unit_test(test_the_better_of_two_routes),
		cmocka_unit_test_setup(test_up_and_down, fresh),
		cmocka_unit_test_setup(test_a_hiccup_is_no_state, fresh),
		cmocka_unit_test_setup(test_nobody_from_the_start, fresh),
		cmocka_unit_test_setup(test_unauthorized, fresh),
		cmocka_unit_test_setup(test_one_refused_question, fresh),
		cmocka_unit_test_setup(test_dead_namespace, fresh),
		cmocka_unit_test_setup(test_what_is_not_dead, fresh),
		cmocka_unit_test_setup(test_interface_gone_with_a_control_server, fresh),
		cmocka_unit_test_setup(test_port_is_followed, fresh),
		cmocka_unit_test_setup(test_port_that_goes, fresh),
		cmocka_unit_test_setup(test_port_of_the_file, fresh),
		cmocka_unit_test_setup(test_churn_is_said_once_an_hour, fresh),
		cmocka_unit_test_setup(test_listen, fresh),
		cmocka_unit_test_setup(test_listen_without_room, fresh),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
