/*
 * lt.cc -- the only C++ of the project. See lt.h for what crosses.
 *
 * Threads meet here: the network thread of each session (one that joins, and up to three
 * for visits) runs the plugins and writes records through `outbox`; the loop thread runs
 * everything that is extern "C"; `saver` writes the DHT's nodes.
 * FIELD-NOTES section 0 and 2.2 say why the settings are what they are.
 */
extern "C" {
#include "collector/acewire.h"
#include "collector/listens.h"
#include "collector/lt.h"
#include "collector/tracksay.h"
#include "common/file.h"
#include "shm/peerwords.h"
}

#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <libtorrent/add_torrent_params.hpp>
#include <libtorrent/alert_types.hpp>
#include <libtorrent/announce_entry.hpp>
#include <libtorrent/bdecode.hpp>
#include <libtorrent/disabled_disk_io.hpp>
#include <libtorrent/error_code.hpp>
#include <libtorrent/extensions.hpp>
#include <libtorrent/extensions/ut_metadata.hpp>
#include <libtorrent/fingerprint.hpp>
#include <libtorrent/hasher.hpp>
#include <libtorrent/ip_filter.hpp>
#include <libtorrent/peer_connection_handle.hpp>
#include <libtorrent/peer_info.hpp>
#include <libtorrent/session.hpp>
#include <libtorrent/session_params.hpp>
#include <libtorrent/session_stats.hpp>
#include <libtorrent/torrent_flags.hpp>
#include <libtorrent/torrent_handle.hpp>
#include <libtorrent/torrent_status.hpp>

namespace
{

struct key {
	uint8_t b[IH_LEN];
	bool operator<(const key &o) const
	{
		return memcmp(b, o.b, IH_LEN) < 0;
	}
};

key key_of(const uint8_t id[IH_LEN])
{
	key k;
	memcpy(k.b, id, IH_LEN);
	return k;
}

void set_text(lt_event &e, const char *p, size_t n)
{
	n = n < LT_TEXT_MAX ? n : LT_TEXT_MAX;
	memcpy(e.text, p, n);
	e.text[n] = '\0';
	for (size_t i = 0; i < n; i++) /* a NUL inside would cut the name */
		if (e.text[i] == '\0')
			e.text[i] = '?';
}

void set_addr(lt_event &e, const lt::address &a)
{
	const auto v6 =
		a.is_v4() ? boost::asio::ip::make_address_v6(boost::asio::ip::v4_mapped,
							     a.to_v4())
			  : a.to_v6();
	const auto bytes = v6.to_bytes();
	memcpy(e.addr, bytes.data(), ADDR_LEN);
}

lt::address get_addr(const uint8_t raw[ADDR_LEN])
{
	boost::asio::ip::address_v6::bytes_type b;
	memcpy(b.data(), raw, ADDR_LEN);
	const boost::asio::ip::address_v6 v6(b);
	if (v6.is_v4_mapped())
		return boost::asio::ip::make_address_v4(boost::asio::ip::v4_mapped, v6);
	return v6;
}

std::vector<lt::tcp::endpoint> endpoints_of(const lt_endpoint *peer, size_t n)
{
	std::vector<lt::tcp::endpoint> out;

	for (size_t i = 0; i < n; i++)
		out.emplace_back(get_addr(peer[i].addr), peer[i].port);
	return out;
}

/* Records on their way to the loop. Bounded; full means dropped and counted. */
class outbox
{
      public:
	explicit outbox(int bell) : bell_(bell)
	{
	}

	bool put(const lt_event &e)
	{
		bool ring;
		{
			std::lock_guard<std::mutex> hold(mutex_);
			if (queue_.size() >= limit + reserve(e)) {
				dropped_++;
				return false;
			}
			ring = queue_.empty();
			queue_.push_back(e);
		}
		if (ring)
			ring_bell();
		return true;
	}

	std::atomic<bool> crowded{false}; /* connections are needed for others */
	std::atomic<uint64_t> filtered{0}, dials{0};
	std::atomic<int> open{0},
		half_open{0};                /* connections; those that don't stand yet */
	std::atomic<int> hold_s{0}, keep{0}; /* swarm.hold, swarm.keep */
	std::atomic<uint16_t> port{0};       /* where peers reach us */
	std::string secret;                  /* of this process: see token() */
	std::atomic<size_t> limit{32768};    /* swarm.event_queue */

	/* Remembers one: there are few, and repeats are harmless. */
	bool is_new_local(const lt::address &a)
	{
		std::lock_guard<std::mutex> hold(mutex_);
		if (a == last_local_)
			return false;
		last_local_ = a;
		return true;
	}

	void swap(std::vector<lt_event> &other)
	{
		std::lock_guard<std::mutex> hold(mutex_);
		queue_.swap(other);
	}

	uint64_t dropped() const
	{
		std::lock_guard<std::mutex> hold(mutex_);
		return dropped_;
	}

	void ring_bell() const
	{
		const uint64_t one = 1;
		if (write(bell_, &one, sizeof(one)) < 0) {
			/* EAGAIN: it rings already */
		}
	}

      private:
	/* An end is said once, and a peer whose end is lost stays connected for ever: it
	 * has room when a flood of endpoints has none, for twice the default connections. */
	size_t reserve(const lt_event &e) const
	{
		return e.kind == LT_PEER_GONE ? ENDS_MAX : 0;
	}

	static constexpr size_t ENDS_MAX = 4096;
	mutable std::mutex mutex_;
	std::vector<lt_event> queue_;
	uint64_t dropped_ = 0;
	lt::address last_local_;
	int bell_;
};

uint8_t source_bits(lt::peer_source_flags_t s)
{
	uint8_t out = 0;
	if (s & lt::peer_info::tracker)
		out |= PEER_SRC_TRACKER;
	if (s & lt::peer_info::dht)
		out |= PEER_SRC_DHT;
	if (s & lt::peer_info::pex)
		out |= PEER_SRC_PEX;
	if (s & lt::peer_info::lsd)
		out |= PEER_SRC_LSD;
	if (s & lt::peer_info::incoming)
		out |= PEER_SRC_INCOMING;
	return out;
}

/*
 * A torrent in one of the sessions: the swarm as it was joined, or a visit to some of its
 * peers. Shared by the loop, its swarm_watch and every peer_watch.
 */
struct torrent_at {
	torrent_at(std::shared_ptr<outbox> o, const key &k, uint32_t of)
	    : out(std::move(o)), id(k), life(of)
	{
	}

	std::shared_ptr<outbox> out;
	key id;
	uint32_t life;
	lt_way way = LT_WAY_PLAIN;
	bool visit = false;
	lt::torrent_handle home; /* of a visit: the swarm as it was joined */
	std::atomic<int> open{0};
	std::atomic<bool> hurry{false}; /* of a visit: others wait for its end */
	std::atomic<uint32_t> lies{0};  /* metadata that was another torrent's */
	std::mutex mutex;
	lt::torrent_handle handle; /* under the mutex; set once it is there */
	std::shared_ptr<const lt::torrent_info> info; /* the same */

	lt::torrent_handle get_handle()
	{
		std::lock_guard<std::mutex> hold(mutex);
		return handle;
	}

	bool has_metadata()
	{
		std::lock_guard<std::mutex> hold(mutex);
		return info != nullptr;
	}
};

lt_event event_of(const torrent_at &at, lt_kind kind, const lt::tcp::endpoint &peer)
{
	lt_event e{};
	e.kind = kind;
	e.life = at.life;
	memcpy(e.id, at.id.b, IH_LEN);
	set_addr(e, peer.address());
	e.port = peer.port();
	return e;
}

/* A word that only we know, another one in each swarm: whoever says it in a handshake is
 * a session of ours that was reached under an address we did not know. */
std::string token(const outbox &out, const key &id)
{
	lt::hasher h(out.secret.data(), static_cast<int>(out.secret.size()));
	h.update(reinterpret_cast<const char *>(id.b), IH_LEN);
	return h.final().to_string().substr(0, 8);
}

/* Our own number of the ut_pex message in visits, where libtorrent's part for PEX is
 * left out: it would dial whom it hears of. */
constexpr int VISIT_PEX = 9;
constexpr int VISIT_PEX_BYTES = 8192;
/* libtorrent's number of the ut_metadata message (BEP 9). */
constexpr int METADATA_MESSAGE = 2;
/* Connections of a revisit end so long after the peer told everything. */
constexpr unsigned REVISIT_HOLD_S = 5;
/* Who promised an extension handshake and did not make it by then never will. */
constexpr unsigned PROMISE_S = 10;

/*
 * One connection, or attempt. Lives on the network thread. What it says of itself
 * is kept here and sent when it changed: HAVE messages come by the thousand, so
 * after the first word they wait for the tick of each second.
 */
class peer_watch final : public lt::peer_plugin
{
      public:
	peer_watch(std::shared_ptr<torrent_at> at, lt::peer_connection_handle h)
	    : at_(std::move(at)), out_(at_->out), handle_(std::move(h))
	{
		port_ = handle_.remote().port();
		at_->open++;
		out_->open++;
		if (!handle_.is_outgoing())
			return;
		half_open_ = true;
		out_->half_open++;
		if (!at_->visit)
			out_->dials++;
		out_->put(event(LT_PEER_DIALLED));
	}

	~peer_watch() override
	{
		closed();
	}

	peer_watch(const peer_watch &) = delete;
	peer_watch &operator=(const peer_watch &) = delete;

	/* Upload mode makes libtorrent say "upload_only", and a seed or a leech with
	 * stock settings hangs up on such a peer that has nothing to give. */
	void add_handshake(lt::entry &h) override
	{
		auto &d = h.dict();
		d.erase("upload_only");
		d["ps"] = token(*out_, at_->id);
		if (!at_->visit)
			return;
		d.erase("p"); /* of that session, where nobody listens */
		if (out_->port)
			d["p"] = static_cast<int>(out_->port);
		h["m"]["ut_pex"] = VISIT_PEX;
	}

	void on_connected() override
	{
		stood();
		connected_ = true;
	}

	bool on_handshake(lt::span<char const> reserved) override
	{
		on_connected();
		shaken_ = true;
		say_local();
		extended_ = reserved.size() >= 6 && (reserved[5] & 0x10) != 0;
		/* An incoming peer with extensions says in them where it listens: it is
		 * announced only then, or a second later. */
		if (handle_.is_outgoing() || !extended_)
			say_handshake();
		return true;
	}

	bool on_extension_handshake(lt::bdecode_node const &h) override
	{
		if (h.type() != lt::bdecode_node::dict_t)
			return true;
		if (h.dict_find_string_value("ps") == token(*out_, at_->id)) {
			handle_.disconnect(lt::errors::self_connection,
					   lt::operation_t::bittorrent);
			return true;
		}
		const auto v = h.dict_find_string_value("v");
		if (!v.empty())
			client_.assign(v.data(),
				       v.size() < LT_TEXT_MAX ? v.size() : LT_TEXT_MAX);
		const auto p = h.dict_find_int_value("p");
		if (!handle_.is_outgoing() && p > 0 && p < 65536)
			move_to(static_cast<uint16_t>(p));
		metadata_ = h.dict_find_int_value("metadata_size") > 0;
		told_extension_ = true;
		say_handshake();
		say();
		return true;
	}

	/* PEX (BEP 11) that comes to a visit; and who gave metadata is remembered. */
	bool on_extended(int length, int msg, lt::span<char const> body) override
	{
		if (msg == METADATA_MESSAGE &&
		    lt::string_view(body.data(), static_cast<size_t>(body.size()))
				    .substr(0, 32)
				    .find("8:msg_typei1e") != lt::string_view::npos)
			gave_ = at_->lies + 1;
		if (!at_->visit || msg != VISIT_PEX || length > VISIT_PEX_BYTES)
			return false;
		if (body.size() < length)
			return true;
		lt::error_code ec;
		const auto h = lt::bdecode(body, ec);
		if (ec || h.type() != lt::bdecode_node::dict_t)
			return true;
		try {
			pex_peers<lt::address_v4>(h.dict_find_string_value("added"));
			pex_peers<lt::address_v6>(h.dict_find_string_value("added6"));
		} catch (const std::exception &) {
			/* the swarm was left: that is another session's thread */
		}
		return true;
	}

	bool on_bitfield(lt::bitfield const &bits) override
	{
		set_pieces(bits);
		say();
		return false;
	}

	bool on_have_all() override
	{
		have_ = pieces_ = LT_ALL_PIECES;
		say();
		return false;
	}

	bool on_have_none() override
	{
		have_ = 0;
		said_none_ = true;
		say();
		return false;
	}

	bool on_have(lt::piece_index_t) override
	{
		dirty_ = have_ != LT_ALL_PIECES;
		return false;
	}

	void on_disconnect(lt::error_code const &ec) override
	{
		lt_event e = event(LT_PEER_GONE);
		e.forget = ec == lt::errors::self_connection;
		/* not "refused": it stood, and the reset was there before we looked */
		if (ec == boost::asio::error::connection_reset)
			e.connected = 1;
		if (!e.forget && shaken_)
			say_handshake(); /* came and went within a second */
		if (handle_.is_outgoing() || said_handshake_)
			out_->put(e);
		closed();
	}

	void tick() override
	{
		if (!shaken_ || ticks_++ == 0)
			return; /* the first one may come right after the handshake */
		say_handshake();
		if (may_go()) {
			handle_.disconnect(lt::errors::optimistic_disconnect,
					   lt::operation_t::bittorrent);
			return;
		}
		if (dirty_ || unsent_ || ticks_ % 5 == 0)
			refresh();
	}

      private:
	/* It has told what it can tell: the slot is free for others, ours and its own.
	 * Who called us stays, and so do some of each swarm: they tell of newcomers. When
	 * others wait for a connection all may go, a quarter of them at a time: whether
	 * it is still crowded is asked once a second. */
	bool may_go() const
	{
		/* libtorrent asks a liar again and again, and so nobody else. */
		if (gave_ && gave_ <= at_->lies)
			return true;
		if (unsent_ || ticks_ < 3 ||
		    (!told_extension_ && extended_ && ticks_ < PROMISE_S))
			return false;
		if (out_->crowded)
			return (ticks_ + port_) % 4 == 0;
		if (!handle_.is_outgoing())
			return false;
		if (at_->visit && (lt_transport(at_->way) == LT_WAY_PLAIN || at_->hurry))
			return ticks_ >= REVISIT_HOLD_S;
		return ticks_ >= static_cast<unsigned>(out_->hold_s) &&
		       (at_->visit || at_->open > out_->keep);
	}

	void closed()
	{
		stood();
		at_->open -= counted_;
		out_->open -= counted_;
		counted_ = false;
	}

	/* The transport stands, or never will. */
	void stood()
	{
		if (half_open_)
			out_->half_open--;
		half_open_ = false;
	}

	/* The swarm as it was joined hears of them, dials them and makes the records. */
	template <typename Address> void pex_peers(lt::string_view list)
	{
		typename Address::bytes_type b;
		constexpr size_t len = std::tuple_size<decltype(b)>::value;

		for (; list.size() >= len + 2; list.remove_prefix(len + 2)) {
			const auto *p = reinterpret_cast<const uint8_t *>(list.data());
			memcpy(b.data(), p, len);
			const auto port = static_cast<uint16_t>(p[len] << 8 | p[len + 1]);
			if (port)
				at_->home.connect_peer({Address(b), port},
						       lt::peer_info::pex);
		}
	}

	/* An incoming peer says where it listens. Late, it was announced under the port
	 * of this connection, which is no place to find anybody. */
	void move_to(uint16_t port)
	{
		if (port == port_)
			return;
		if (said_handshake_) {
			lt_event e = event(LT_PEER_GONE);
			e.forget = 1;
			out_->put(e);
			said_handshake_ = false;
		}
		port_ = port;
	}

	lt_event event(lt_kind kind) const
	{
		lt_event e = event_of(*at_, kind, handle_.remote());
		e.port = port_;
		e.incoming = !handle_.is_outgoing();
		e.extended = extended_;
		e.way = static_cast<uint8_t>(at_->way);
		e.connected = connected_;
		return e;
	}

	void set_pieces(lt::bitfield const &bits)
	{
		const int have = bits.count(), size = bits.size();

		have_ = static_cast<uint32_t>(have);
		pieces_ = static_cast<uint32_t>(size);
		/* Without metadata the field's length is known to the byte only: one that
		 * lacks nothing but bits at its end may be a seed's. */
		likely_seed_ = have > 0 && size - have <= 7;
		for (int i = have; i < size && likely_seed_; i++)
			likely_seed_ = !bits[i];
	}

	/* PEX brings our own address back, as other peers see it. */
	void say_local()
	{
		lt_event e{};
		const auto local = handle_.local_endpoint();

		if (local.address().is_unspecified() ||
		    !out_->is_new_local(local.address()))
			return;
		e.kind = LT_EXTERNAL;
		set_addr(e, local.address());
		out_->put(e);
	}

	void say_handshake()
	{
		if (said_handshake_)
			return;
		lt_event e = event(LT_PEER_HANDSHAKE);
		lt::peer_info info;
		handle_.get_peer_info(info);
		e.flags = flags_ = flag_bits(info);
		/* a visit was told of the peer by us, not by a source */
		e.source = at_->visit ? 0 : source_bits(info.source);
		set_text(e, info.client.data(), info.client.size());
		said_handshake_ = out_->put(e);
	}

	static uint8_t flag_bits(const lt::peer_info &info)
	{
		uint8_t f = 0;
		if (info.flags &
		    (lt::peer_info::rc4_encrypted | lt::peer_info::plaintext_encrypted))
			f |= PEER_F_ENCRYPTED;
		if (info.flags & lt::peer_info::utp_socket)
			f |= PEER_F_UTP;
		if (info.flags & lt::peer_info::remote_interested)
			f |= PEER_F_INTERESTED;
		if (info.flags & lt::peer_info::remote_choked)
			f |= PEER_F_CHOKED;
		return f;
	}

	/* Look at the connection: pieces after HAVEs, rates, flags. */
	void refresh()
	{
		lt::peer_info info;
		handle_.get_peer_info(info);
		const auto flags = flag_bits(info);
		const auto down =
			static_cast<uint32_t>(info.down_speed > 0 ? info.down_speed : 0);
		const auto up =
			static_cast<uint32_t>(info.up_speed > 0 ? info.up_speed : 0);
		bool changed = dirty_ || unsent_ || flags != flags_ || down != down_ ||
			       up != up_;

		if (dirty_) {
			if (info.flags & lt::peer_info::seed)
				have_ = pieces_ = LT_ALL_PIECES;
			else if (info.pieces.size() > 0)
				set_pieces(info.pieces);
			dirty_ = false;
		}
		flags_ = flags;
		down_ = down;
		up_ = up;
		if (changed)
			say();
	}

	void say()
	{
		lt_event e = event(LT_PEER_TOLD);
		set_text(e, client_.data(), client_.size());
		e.have = have_;
		e.pieces = said_none_ && pieces_ == 0 ? 1 : pieces_;
		e.extended = told_extension_;
		e.metadata = metadata_;
		e.likely_seed = likely_seed_;
		e.flags = flags_;
		e.down_rate = down_;
		e.up_rate = up_;
		unsent_ = !out_->put(e);
	}

	std::shared_ptr<torrent_at> at_;
	std::shared_ptr<outbox> out_;
	lt::peer_connection_handle handle_;
	std::string client_;
	uint16_t port_ = 0;
	uint32_t have_ = 0, pieces_ = 0, down_ = 0, up_ = 0;
	unsigned ticks_ = 0;
	uint32_t gave_ = 0; /* metadata, while there were so many lies and this one */
	uint8_t flags_ = 0;
	bool counted_ = true, half_open_ = false, connected_ = false;
	bool shaken_ = false, extended_ = false, told_extension_ = false;
	bool metadata_ = false, likely_seed_ = false, said_handshake_ = false,
	     said_none_ = false, dirty_ = false, unsent_ = false;
};

/* On libtorrent's own thread, where nobody waits: fn gets there as an extension that makes
 * none. Not at all, if the torrent is gone. */
template <typename Function> void on_its_thread(lt::torrent_handle handle, Function fn)
{
	try {
		handle.add_extension(
			[fn](const lt::torrent_handle &h,
			     lt::client_data_t) -> std::shared_ptr<lt::torrent_plugin> {
				fn(h);
				return nullptr;
			});
	} catch (const std::exception &) {
		/* it is gone */
	}
}

/* One torrent: hears of every endpoint, and watches every connection. */
class swarm_watch final : public lt::torrent_plugin
{
      public:
	explicit swarm_watch(std::shared_ptr<torrent_at> at) : at_(std::move(at))
	{
	}

	std::shared_ptr<lt::peer_plugin> new_connection(
		lt::peer_connection_handle const &h) override
	{
		if (h.type() != lt::connection_type::bittorrent)
			return nullptr; /* a web seed is no peer */
		return std::make_shared<peer_watch>(at_, h);
	}

	void on_add_peer(lt::tcp::endpoint const &ep, lt::peer_source_flags_t src,
			 lt::add_peer_flags_t flags) override
	{
		if (at_->visit)
			return; /* it was told of them by us */
		const bool left_out = (flags & lt::torrent_plugin::filtered) ==
				      lt::torrent_plugin::filtered;
		if (left_out && !acewire_port(ep.port())) {
			at_->out->filtered++;
			return;
		}
		lt_event e = event_of(*at_, LT_PEER_LEARNED, ep);
		e.filtered = left_out; /* by its port, if its address is a good one */
		e.source = source_bits(src);
		e.again = !left_out && !(flags & lt::torrent_plugin::first_time);
		at_->out->put(e);
	}

	/* Peers that speak uTP or encryption alone give metadata to a visit: it is the
	 * swarm's, which checks it again. */
	void tick() override
	{
		if (!at_->visit || handed_)
			return;
		const auto info = at_->get_handle().torrent_file();
		handed_ = info != nullptr;
		if (handed_)
			on_its_thread(at_->home, [info](const lt::torrent_handle &home) {
				home.set_metadata(info->info_section());
			});
	}

      private:
	std::shared_ptr<torrent_at> at_;
	bool handed_ = false; /* metadata of a visit */
};

/* What a torrent needs to be watched. */
void watch(lt::add_torrent_params &p, const std::shared_ptr<torrent_at> &at)
{
	p.extensions.emplace_back(
		[at](libtorrent::torrent_handle const &h, libtorrent::client_data_t)
			-> std::shared_ptr<libtorrent::torrent_plugin> {
			std::lock_guard<std::mutex> hold(at->mutex);
			at->handle = h;
			if (at->visit)
				at->out->ring_bell(); /* visits::push_all */
			return std::make_shared<swarm_watch>(at);
		});
	p.save_path = "/"; /* wanted, never used: the disk is disabled */
	/* Of the defaults stay the IP filter and the state updates. */
	p.flags &= ~(libtorrent::torrent_flags::auto_managed |
		     libtorrent::torrent_flags::paused);
	p.flags |= libtorrent::torrent_flags::upload_mode |
		   libtorrent::torrent_flags::no_verify_files;
}

/* Somebody sent bytes, but not those of a tracker. */
bool is_garbage(const lt::error_code &ec)
{
	using namespace lt::errors;
	static const error_code_enum of[] = {http_parse_error,
					     http_missing_location,
					     http_failed_decompress,
					     invalid_tracker_response,
					     invalid_peer_dict,
					     invalid_files_entry,
					     invalid_hash_entry,
					     invalid_peers_entry,
					     invalid_tracker_response_length,
					     invalid_tracker_transaction_id,
					     invalid_tracker_action};

	return std::any_of(std::begin(of), std::end(of),
			   [&ec](error_code_enum e) { return ec == e; });
}

/* What a failed announce says about the way to the tracker. */
lt_failure failure_of(const lt::error_code &ec)
{
	namespace asio = boost::asio::error;

	if (ec == lt::errors::timed_out || ec == asio::timed_out)
		return LT_FAIL_SILENT;
	if (ec.category() == asio::get_netdb_category() ||
	    ec.category() == asio::get_addrinfo_category())
		return LT_FAIL_NAME;
	if (ec == asio::connection_refused || ec == asio::connection_reset)
		return LT_FAIL_REFUSED;
	if (ec.category() == lt::bdecode_category() || is_garbage(ec))
		return LT_FAIL_GARBLED;
	/* Of libtorrent's others none came from a tracker: skipped, filtered, no such scheme. */
	if (ec.category() == lt::http_category() || ec == lt::errors::tracker_failure ||
	    ec == asio::eof)
		return LT_FAIL_ANSWERED;
	return LT_FAIL_UNREACHABLE;
}

std::string interfaces_of(const conf &c, bool visit)
{
	char out[LISTENS_TEXT];

	listens_interfaces(out, &c, visit);
	return out;
}

void tune(lt::settings_pack &s, const conf &c)
{
	using sp = lt::settings_pack;

	s.set_str(sp::listen_interfaces, interfaces_of(c, false));
	s.set_str(sp::outgoing_interfaces, c.swarm_interface);
	s.set_bool(sp::enable_dht, c.swarm_dht != 0);
	s.set_bool(sp::enable_lsd, c.swarm_lsd != 0);
	s.set_str(sp::dht_bootstrap_nodes, c.swarm_dht ? c.swarm_dht_bootstrap : "");
	s.set_bool(sp::dht_restrict_routing_ips, !c.swarm_allow_private);
	s.set_bool(sp::dht_restrict_search_ips, !c.swarm_allow_private);
	s.set_bool(sp::ssrf_mitigation, !c.swarm_allow_private);
	s.set_int(sp::connections_limit, lt_connections(&c));
	s.set_int(sp::connection_speed, static_cast<int>(c.swarm_connection_speed));
	s.set_int(sp::torrent_connect_boost, static_cast<int>(c.swarm_connect_boost));
	s.set_int(sp::max_peerlist_size, static_cast<int>(c.swarm_max_peers));
	s.set_int(sp::alert_queue_size, static_cast<int>(c.swarm_alert_queue));
}

/* What differs in a session for visits from the one that joins. */
void tune_visit(lt::settings_pack &s, const conf &c, lt_way way)
{
	using sp = lt::settings_pack;

	tune(s, c);
	s.set_str(sp::listen_interfaces, interfaces_of(c, true));
	s.set_bool(sp::enable_dht, false);
	s.set_bool(sp::enable_lsd, false);
	s.set_str(sp::dht_bootstrap_nodes, "");
	s.set_int(sp::connections_limit,
		  std::max(lt_connections(&c) / LT_VISITS_SHARE, 2));
	s.set_bool(sp::enable_incoming_tcp, false);
	s.set_bool(sp::enable_incoming_utp, false);
	s.set_bool(sp::enable_outgoing_tcp, way != LT_WAY_UTP);
	s.set_bool(sp::enable_outgoing_utp, way == LT_WAY_UTP);
	s.set_int(sp::out_enc_policy, way == LT_WAY_PLAIN       ? sp::pe_disabled
				      : way == LT_WAY_ENCRYPTED ? sp::pe_forced
								: sp::pe_enabled);
	s.set_int(sp::alert_mask, 0);
	s.set_int(sp::tick_interval,
		  100); /* somebody waits, and a visit starts at a tick */
}

lt::settings_pack first_settings(const conf &c)
{
	using sp = lt::settings_pack;
	lt::settings_pack s;

	s.set_str(sp::user_agent, "Peerscope/" PEERSCOPE_VERSION);
	s.set_str(sp::handshake_client_version, "Peerscope/" PEERSCOPE_VERSION);
	s.set_str(sp::peer_fingerprint, lt::generate_fingerprint("Ps", 0, 1, 0, 0));
	s.set_int(sp::alert_mask,
		  static_cast<int>(static_cast<uint32_t>(
			  lt::alert_category::status | lt::alert_category::tracker |
			  lt::alert_category::dht_operation |
			  lt::alert_category::error)));
	s.set_bool(sp::enable_upnp, false);
	s.set_bool(sp::enable_natpmp, false);
	/* TCP first: an outgoing uTP attempt costs seconds before TCP gets its turn. */
	s.set_bool(sp::enable_outgoing_utp, false);
	/* Plain first: an encrypted attempt costs a key exchange and, with a peer that
	 * speaks plain only, a second connection. Incoming ones choose. */
	s.set_int(sp::out_enc_policy, sp::pe_disabled);
	s.set_int(sp::in_enc_policy, sp::pe_enabled);
	/* Stock settings drop seeds once the metadata is there. */
	s.set_bool(sp::close_redundant_connections, false);
	s.set_bool(sp::allow_multiple_connections_per_ip, true);
	s.set_bool(sp::announce_to_all_trackers, true);
	s.set_bool(sp::announce_to_all_tiers, true);
	s.set_bool(sp::use_dht_as_fallback, false);
	/* The DHT's own defaults are those of a client with a few torrents: a burst of new
	 * ids makes it deaf, for five minutes, to nodes that answer more than 5 times a
	 * second. */
	s.set_int(sp::dht_block_ratelimit, 200);
	s.set_int(sp::dht_upload_rate_limit, 64000);
	s.set_int(sp::max_metadata_size, 10 << 20); /* metainfo.h */
	s.set_int(sp::peer_connect_timeout, 7);
	s.set_int(sp::handshake_timeout, 7);
	/* Nobody is dialled twice by libtorrent: when to try again, and how, is decided in
	 * swarm.c and done by lt_visit. */
	s.set_int(sp::min_reconnect_time, 7 * 86400);
	s.set_int(sp::max_retry_port_bind, 0);
	s.set_bool(sp::listen_system_port_fallback, false);
	s.set_int(sp::stop_tracker_timeout, 1);
	s.set_int(sp::unchoke_slots_limit, 0); /* nothing to give */
	s.set_int(sp::aio_threads, 1);
	s.set_int(sp::hashing_threads, 1);
	tune(s, c);
	return s;
}

lt::ip_filter private_filter(const conf &c)
{
	uint8_t first[ADDR_LEN], last[ADDR_LEN];
	lt::ip_filter f;
	int global;

	for (size_t i = 0;
	     !c.swarm_allow_private && (global = addr_range(i, first, last)) >= 0; i++)
		f.add_rule(get_addr(first), get_addr(last),
			   global ? 0 : lt::ip_filter::blocked);
	return f;
}

/* Ports of AceStream engines: whoever listens there is called in that protocol first, or
 * visited. Visits have no such filter. */
lt::port_filter engines_filter(const conf &c)
{
	lt::port_filter f;

	for (uint16_t port = 1; port < UINT16_MAX && c.acestream_peers; port++)
		if (acewire_port(port))
			f.add_rule(port, port, lt::port_filter::blocked);
	return f;
}

/*
 * The DHT's nodes, kept from one life to the next. Getting them waits for the network
 * thread, and writing them for the disk, so that is done in threads of its own.
 */
struct dht_store {
	std::mutex mutex;
	std::string path;
	std::vector<lt::udp::endpoint> nodes; /* as last loaded or saved */
	std::atomic<bool> busy{false};
};

/* A state of 400 nodes takes 8 KiB. */
constexpr size_t DHT_STATE_MAX = 1 << 20;
/* Of the saved ones so many are asked when all are lost: a few that live will do. */
constexpr size_t DHT_AGAIN_MAX = 64;

void dht_remember(dht_store &d, const lt::dht::dht_state &st)
{
	std::lock_guard<std::mutex> hold(d.mutex);
	d.nodes = st.nodes;
	d.nodes.insert(d.nodes.end(), st.nodes6.begin(), st.nodes6.end());
}

lt_event dht_event(lt_kind kind, size_t n, const char *text)
{
	lt_event e{};
	e.kind = kind;
	e.n = static_cast<int32_t>(n);
	set_text(e, text, strlen(text));
	return e;
}

/* What an earlier life wrote; garbage is no reason not to start. */
lt_event dht_load(dht_store &d, lt::session_params &p)
{
	char err[ERRLEN] = "", *data = nullptr;
	size_t len = 0;

	if (d.path.empty() ||
	    file_read(d.path.c_str(), DHT_STATE_MAX, &data, &len, err) <= 0)
		return dht_event(LT_DHT_LOADED, 0, err);
	const std::unique_ptr<char, decltype(&free)> owner(data, free);
	try {
		const auto state = lt::read_session_params(
			lt::span<char const>(data, static_cast<std::ptrdiff_t>(len)),
			lt::session_handle::save_dht_state);
		p.dht_state = state.dht_state;
		dht_remember(d, p.dht_state);
		return dht_event(LT_DHT_LOADED, d.nodes.size(),
				 d.nodes.empty() ? "the file names no node" : "");
	} catch (const std::exception &e) {
		return dht_event(LT_DHT_LOADED, 0, e.what());
	}
}

void dht_write(const lt::session_handle &s, dht_store &d, outbox &out)
{
	char err[ERRLEN] = "";
	std::string path;
	{
		std::lock_guard<std::mutex> hold(d.mutex);
		path = d.path;
	}
	try {
		const auto p = s.session_state(lt::session_handle::save_dht_state);
		const size_t n = p.dht_state.nodes.size() + p.dht_state.nodes6.size();
		if (n == 0 || path.empty())
			return; /* what lies there is better than nothing */
		const auto buf =
			lt::write_session_params_buf(p,
						     lt::session_handle::save_dht_state);
		dht_remember(d, p.dht_state);
		if (file_write(path.c_str(), buf.data(), buf.size(), err) != 0)
			out.put(dht_event(LT_DHT_SAVED, 0, err));
		else
			out.put(dht_event(LT_DHT_SAVED, n, ""));
	} catch (const std::exception &e) {
		out.put(dht_event(LT_DHT_SAVED, 0, e.what()));
	}
}

/* A join is known by its key at once, by its handle once it is added. One that is left
 * before that stays, and is removed (or joined again) then. */
struct joined {
	uint32_t life = 0;
	lt::torrent_handle handle;
	bool leaving = false;
	bool quiet = false; /* LT_ANNOUNCE_NEVER */
	lt_ids ids{};       /* as joined, then as the metadata says */
	std::shared_ptr<torrent_at> at;
	/* of lt_give, before there is a handle; at most GIVEN_EARLY_MAX */
	std::vector<lt::tcp::endpoint> given;
	std::vector<std::string> trackers; /* the same of lt_add_tracker */
};

lt::info_hash_t hashes_of(const lt_ids &ids)
{
	lt::info_hash_t ih;

	if (ids.has_v1)
		ih.v1 = lt::sha1_hash(reinterpret_cast<const char *>(ids.v1));
	if (ids.has_v2)
		ih.v2 = lt::sha256_hash(reinterpret_cast<const char *>(ids.v2));
	return ih;
}

/* What libtorrent greets the peers of a torrent with is its v1 hash, unless a source has
 * named them under the other. A torrent with one hash leaves no choice. */
lt_ids one_hash(lt_ids ids, lt_way way)
{
	if (way >= LT_WAY_V2 && ids.has_v2)
		ids.has_v1 = 0;
	else if (ids.has_v1)
		ids.has_v2 = 0;
	return ids;
}

constexpr auto VISIT_IDLE = std::chrono::seconds(3);
constexpr auto VISIT_ADD =
	std::chrono::seconds(60); /* not added by then: it was refused */

/*
 * Visits (lt_visit): torrents for second attempts, in sessions of their own that are made
 * when they are first needed, one for each transport, since what libtorrent dials with is a
 * setting of a session. One torrent for each swarm and way, until its peers all have had
 * their turn. Used by the loop thread alone.
 */
class visits
{
      public:
	visits(std::shared_ptr<outbox> out, const conf &c)
	    : out_(std::move(out)), conf_(c)
	{
	}

	void dial(const key &k, const joined &home, lt_way way,
		  const std::vector<lt::tcp::endpoint> &peers)
	{
		auto it = all_.find({k, way});

		if (it == all_.end())
			it = all_.emplace(std::make_pair(k, way), begin(k, home, way))
				     .first;
		auto &v = it->second;
		for (const auto &ep : peers) {
			if (!v.later.empty() || !v.given.insert(ep).second) {
				v.later.insert(ep);
				v.at->hurry = true;
				continue;
			}
			v.next.push_back(ep);
			v.used = clock::now();
		}
		pushing_ |= !push(v);
	}

	/* What could not be pushed before. */
	void push_all()
	{
		if (!pushing_)
			return;
		pushing_ = false;
		for (auto &pair : all_)
			pushing_ |= !push(pair.second);
	}

	/* At once, if it can be: the swarm may be joined again in the same second, and a
	 * torrent that is there already would not be made anew. */
	void leave(const key &k)
	{
		for (auto it = all_.lower_bound({k, LT_WAY_PLAIN});
		     it != all_.end() && !(k < it->first.first); it = all_.erase(it))
			if (!remove(*it->second.at))
				ending_.push_back(it->second);
	}

	void tick()
	{
		const auto now = clock::now();
		std::vector<visit> over;

		/* Whatever the mask, each torrent makes two alerts; unread, they keep it
		 * alive. */
		each([this](lt::session &s, lt_way) { s.pop_alerts(&alerts_); });
		for (auto it = all_.begin(); it != all_.end();) {
			auto &v = it->second;
			if (v.at->open > 0 ||
			    now - v.used <= (v.next.empty() ? VISIT_IDLE : VISIT_ADD)) {
				++it;
				continue;
			}
			remove(*v.at);
			over.push_back(std::move(v));
			it = all_.erase(it);
		}
		ending_.erase(std::remove_if(ending_.begin(), ending_.end(),
					     [&](const visit &v) {
						     return remove(*v.at) ||
							    now - v.used > VISIT_ADD;
					     }),
			      ending_.end());
		for (const auto &v : over)
			if (!v.later.empty())
				dial(v.at->id, v.home, v.at->way,
				     {v.later.begin(), v.later.end()});
	}

	template <typename Function> void each(Function fn)
	{
		for (int t = 0; t < LT_TRANSPORTS; t++)
			if (session_[t])
				fn(*session_[t], lt_transport(t));
	}

	void configure(const conf &c)
	{
		conf_ = c;
		each([&c](lt::session &s, lt_way transport) {
			lt::settings_pack p;
			tune_visit(p, c, transport);
			s.set_ip_filter(private_filter(c));
			s.apply_settings(std::move(p));
		});
	}

	/* The end of what it returns waits. */
	std::vector<lt::session_proxy> abort()
	{
		std::vector<lt::session_proxy> out;

		each([&out](lt::session &s, lt_way) { out.push_back(s.abort()); });
		for (auto &s : session_)
			s.reset();
		return out;
	}

      private:
	using clock = std::chrono::steady_clock;

	struct visit {
		std::shared_ptr<torrent_at> at;
		joined home;
		/* A torrent dials an endpoint once. Whoever is to be dialled a second time
		 * waits for its end, and everybody after him, too, so that it comes. */
		std::set<lt::tcp::endpoint> given, later;
		std::vector<lt::tcp::endpoint> next; /* wait for the handle */
		clock::time_point used = clock::now();
	};

	lt::session &session_of(lt_way way)
	{
		auto &session = session_[lt_transport(way)];

		if (!session) {
			auto s = first_settings(conf_);
			tune_visit(s, conf_, lt_transport(way));
			lt::session_params p(std::move(s), {});
			p.disk_io_constructor = lt::disabled_disk_io_constructor;
			p.ip_filter = private_filter(conf_);
			session = std::make_unique<lt::session>(std::move(p));
		}
		return *session;
	}

	visit begin(const key &k, const joined &home, lt_way way)
	{
		lt::add_torrent_params p;
		visit v;

		v.home = home;
		v.at = std::make_shared<torrent_at>(out_, k, home.life);
		v.at->way = way;
		v.at->visit = true;
		v.at->home = home.handle;
		p.info_hashes = hashes_of(one_hash(home.ids, way));
		watch(p, v.at);
		if (!home.at->has_metadata())
			p.extensions.emplace_back(&lt::create_ut_metadata_plugin);
		p.flags |= lt::torrent_flags::disable_dht |
			   lt::torrent_flags::disable_lsd |
			   lt::torrent_flags::disable_pex;
		session_of(way).async_add_torrent(std::move(p));
		return v;
	}

	/* Once the torrent is there. Not through add_torrent_params: those peers are taken
	 * for some that speak neither uTP nor encryption. False: later. */
	static bool push(visit &v)
	{
		const auto h = v.at->get_handle();

		if (!v.next.empty() && !h.is_valid())
			return false;
		for (const auto &ep : v.next)
			h.connect_peer(ep);
		v.next.clear();
		return true;
	}

	/* False: it is still being added. */
	bool remove(torrent_at &at)
	{
		const auto h = at.get_handle();

		if (h.is_valid())
			session_of(at.way).remove_torrent(h);
		return h.is_valid();
	}

	std::shared_ptr<outbox> out_;
	conf conf_; /* as last configured */
	std::unique_ptr<lt::session> session_[LT_TRANSPORTS];
	std::map<std::pair<key, lt_way>, visit> all_;
	std::vector<visit> ending_; /* left before they were added */
	bool pushing_ = false;      /* some have a next */
	std::vector<lt::alert *> alerts_;
};

} // namespace

struct lt_session {
	std::shared_ptr<outbox> out;
	std::shared_ptr<dht_store> dht;
	std::thread saver;
	std::unique_ptr<libtorrent::session> session;
	std::unique_ptr<visits> visit;
	conf settings; /* as last configured */
	std::map<libtorrent::torrent_handle, key> by_handle;
	std::map<key, joined> by_key;
	uint32_t lives = 0;
	int limit = 0;              /* of connections */
	int speed = -1, boost = -1; /* as last set: bound_dials() */
	/* Announces of torrents whose add alert has not come yet: the first ones are
	 * reported before it. Hash of the URL; at most EARLY_MAX. */
	std::vector<std::pair<libtorrent::torrent_handle, uint32_t>> early;
	int finding = 0; /* polls that ask for look-ups, too */
	std::vector<lt_event> taken;
	size_t next = 0;
	uint64_t alerts_dropped = 0;
	int stat_dht_nodes = -1, stat_dht_in = -1, stat_dht_out = -1;
	std::vector<libtorrent::alert *> alerts;
};

namespace
{

int fail(char err[ERRLEN], const char *what, const std::exception &e)
{
	return err_set(err, "%s: %s", what, e.what());
}

joined *join_of(struct lt_session *l, const uint8_t id[IH_LEN])
{
	const auto it = l->by_key.find(key_of(id));
	return it == l->by_key.end() ? nullptr : &it->second;
}

lt_event swarm_event(const struct lt_session *l, lt_kind kind, const key &k)
{
	lt_event e{};
	const auto it = l->by_key.find(k);

	e.kind = kind;
	e.seeds = e.leechers = -1;
	memcpy(e.id, k.b, IH_LEN);
	e.life = it == l->by_key.end() ? 0 : it->second.life;
	return e;
}

constexpr size_t EARLY_MAX = 1024;
/* A torrent is added within milliseconds; so many questions of 16 peers each. */
constexpr size_t GIVEN_EARLY_MAX = 256;
constexpr size_t TRACKERS_EARLY = 64;

/* k is NULL for a torrent that was not added yet, or that was left. */
void tracker_event(struct lt_session *l, const lt::tracker_alert &a, const key *k,
		   lt_kind kind, int n)
{
	const uint32_t url = tracker_hash(a.tracker_url());

	if (k) {
		lt_event e = swarm_event(l, kind, *k);
		e.tracker = url;
		e.n = n;
		l->taken.push_back(e);
	} else if (kind == LT_TRACKER_ASKED && l->early.size() < EARLY_MAX) {
		l->early.emplace_back(a.handle, url);
	}
}

void failed_event(struct lt_session *l, const lt::tracker_error_alert &a, const key *k)
{
	if (!k)
		return;
	/* Over UDP it is empty: libtorrent 2.0 takes the packet's header, whose first byte
	 * is zero, for the beginning of the text. */
	const char *said = a.failure_reason();
	const std::string text = a.error == lt::errors::tracker_failure && said && *said
					 ? said
					 : a.error.message();

	tracker_event(l, a, k, LT_TRACKER_FAILED, failure_of(a.error));
	set_text(l->taken.back(), text.data(), text.size());
}

void early_events(struct lt_session *l, const lt::torrent_handle &h, const key &k)
{
	auto keep = l->early.begin();

	for (auto &pair : l->early) {
		if (pair.first != h) {
			if (pair.first.is_valid())
				*keep++ = pair;
			continue;
		}
		lt_event e = swarm_event(l, LT_TRACKER_ASKED, k);
		e.tracker = pair.second;
		l->taken.push_back(e);
	}
	l->early.erase(keep, l->early.end());
}

/* The largest of what one tracker said to each address and about each hash of ours. */
void largest_count(lt_event &e, const lt::announce_entry &t)
{
	for (const auto &from : t.endpoints)
		for (const auto &said : from.info_hashes)
			if (said.scrape_complete + said.scrape_incomplete >
			    e.seeds + e.leechers) {
				e.seeds = said.scrape_complete;
				e.leechers = said.scrape_incomplete;
			}
}

/* libtorrent's numbers of a torrent are the largest of each over all trackers and have no
 * time. So we read what the one said that has just answered. */
void ask_scrape(struct lt_session *l, const lt::tracker_reply_alert &a, const key &k)
{
	const std::string url = a.tracker_url();
	lt_event e = swarm_event(l, LT_SCRAPE, k);

	e.tracker = tracker_hash(url.c_str());
	on_its_thread(a.handle, [out = l->out, url, e](const lt::torrent_handle &h) {
		lt_event found = e;

		for (const auto &t : h.trackers())
			if (t.url == url)
				largest_count(found, t);
		if (found.seeds >= 0 || found.leechers >= 0)
			out->put(found);
	});
}

void set_ids(lt_event &e, const lt::info_hash_t &ih)
{
	e.ids.has_v1 = ih.has_v1();
	e.ids.has_v2 = ih.has_v2();
	memcpy(e.ids.v1, ih.v1.data(), IH_LEN);
	memcpy(e.ids.v2, ih.v2.data(), IH_V2_LEN);
}

void conflict_event(struct lt_session *l, const lt::torrent_conflict_alert &a,
		    const key &k)
{
	lt_event e = swarm_event(l, LT_CONFLICT, k);
	set_ids(e, a.metadata->info_hashes());
	l->taken.push_back(e);
}

/* The metadata of a hybrid has come. Left alone, libtorrent would announce the other hash
 * at the next interval only. That the first is announced once more is the price: there is
 * no way to ask for one. Joined under the short v2 hash, neither was announced as what it
 * is, and intervals of before are another hash's: true, and visits say a hash that is not
 * what it was taken for. */
bool other_hash(joined &join, const lt_ids &ids)
{
	const bool known = join.ids.has_v1 && join.ids.has_v2;
	const bool renamed = join.ids.has_v1 && memcmp(join.ids.v1, ids.v1, IH_LEN) != 0;

	join.ids = ids;
	if (known || !ids.has_v1 || !ids.has_v2)
		return renamed;
	join.handle.force_reannounce(0, -1,
				     renamed ? lt::torrent_handle::ignore_min_interval
					     : lt::reannounce_flags_t{});
	join.handle.force_dht_announce();
	return renamed;
}

void metadata_event(struct lt_session *l, const joined &join)
{
	const lt_event e = swarm_event(l, LT_METADATA, join.at->id);

	on_its_thread(join.handle, [at = join.at, e](const lt::torrent_handle &h) {
		const auto info = h.torrent_file();
		lt_event found = e;

		if (!info)
			return;
		found.pieces = static_cast<uint32_t>(info->num_pieces());
		set_ids(found, info->info_hashes());
		{
			std::lock_guard<std::mutex> hold(at->mutex);
			at->info = info;
		}
		at->out->put(found);
	});
}

/* A torrent's metadata was read: see other_hash(). */
void metadata_hashes(struct lt_session *l)
{
	for (const auto &e : l->taken) {
		joined *join = e.kind == LT_METADATA ? join_of(l, e.id) : nullptr;

		if (join && join->life == e.life && other_hash(*join, e.ids))
			l->visit->leave(key_of(e.id));
	}
}

void listen_events(struct lt_session *l, const lt::alert *a)
{
	lt_event e{};

	if (const auto *ok = lt::alert_cast<lt::listen_succeeded_alert>(a)) {
		l->out->port = static_cast<uint16_t>(ok->port);
		e.kind = LT_LISTENING;
		set_addr(e, ok->address);
		e.port = static_cast<uint16_t>(ok->port);
		e.incoming = ok->socket_type == lt::socket_type_t::tcp;
	} else if (const auto *bad = lt::alert_cast<lt::listen_failed_alert>(a)) {
		const bool tcp = bad->socket_type == lt::socket_type_t::tcp;
		const auto ip = bad->address.to_string();
		const std::string text = (tcp ? "TCP " : "UDP ") +
					 (bad->address.is_v6() ? "[" + ip + "]" : ip) +
					 ":" + std::to_string(bad->port) + ": " +
					 bad->error.message();
		e.kind = LT_LISTEN_FAILED;
		set_addr(e, bad->address);
		e.port = static_cast<uint16_t>(bad->port);
		e.n = bad->error.category() == boost::system::system_category()
			      ? bad->error.value()
			      : 0;
		set_text(e, text.data(), text.size());
	} else if (const auto *ext = lt::alert_cast<lt::external_ip_alert>(a)) {
		e.kind = LT_EXTERNAL;
		set_addr(e, ext->external_address);
	} else {
		return;
	}
	l->taken.push_back(e);
}

void stats_event(struct lt_session *l, const lt::session_stats_alert &a)
{
	const auto counters = a.counters();
	lt_event e{};

	e.kind = LT_STATS;
	e.n = l->stat_dht_nodes < 0 ? 0
				    : static_cast<int32_t>(counters[l->stat_dht_nodes]);
	e.have = static_cast<uint32_t>(std::max(0, l->out->open.load()));
	if (l->stat_dht_out >= 0 && l->stat_dht_in >= 0) {
		e.pieces = static_cast<uint32_t>(counters[l->stat_dht_out]);
		e.down_rate = static_cast<uint32_t>(counters[l->stat_dht_in]);
	}
	l->out->crowded = e.have > static_cast<uint32_t>(l->limit / 10 * 8);
	l->taken.push_back(e);
}

void find_event(struct lt_session *l, lt_kind kind, const lt::sha1_hash &target,
		const lt::tcp::endpoint &ep)
{
	lt_event e{};
	e.kind = kind;
	memcpy(e.id, target.data(), IH_LEN);
	set_addr(e, ep.address());
	e.port = ep.port();
	l->taken.push_back(e);
}

/* What lt_dht_find finds, and that it is still at it. */
void find_events(struct lt_session *l, const lt::alert *a)
{
	if (const auto *d = lt::alert_cast<lt::dht_stats_alert>(a))
		for (const auto &r : d->active_requests)
			find_event(l, LT_DHT_AT_WORK, r.target, {});
	if (const auto *f = lt::alert_cast<lt::dht_get_peers_reply_alert>(a))
		for (const auto &ep : f->peers())
			find_event(l, LT_DHT_FOUND, f->info_hash, ep);
}

void added(struct lt_session *l, const lt::add_torrent_alert &a)
{
	const auto *at = a.params.userdata.get<key>();
	if (!at)
		return;
	const key k = *at; /* it lies in by_key, whose entry may go now */
	if (a.error) {
		lt_event e = swarm_event(l, LT_JOIN_FAILED, k);
		const auto text = a.error.message();
		set_text(e, text.data(), text.size());
		l->taken.push_back(e);
		l->by_key.erase(k);
		return;
	}
	const auto it = l->by_key.find(k);
	if (it == l->by_key.end() || it->second.leaving) {
		l->session->remove_torrent(a.handle); /* left before it was there */
		l->by_key.erase(k);
		return;
	}
	it->second.handle = a.handle;
	l->by_handle[a.handle] = k;
	for (const auto &ep : it->second.given)
		a.handle.connect_peer(ep);
	it->second.given.clear();
	for (const auto &url : it->second.trackers)
		a.handle.add_tracker(lt::announce_entry(url));
	it->second.trackers.clear();
	/* Resumed, it calls the peers that it knows; else they wait up to a second for a tick. */
	a.handle.resume();
	early_events(l, a.handle, k);
}

void torrent_events(struct lt_session *l, const lt::alert *a)
{
	const auto *t = dynamic_cast<const lt::torrent_alert *>(a);
	if (!t)
		return;
	const auto it = l->by_handle.find(t->handle);
	const key *k = it == l->by_handle.end() ? nullptr : &it->second;

	if (const auto *x = lt::alert_cast<lt::tracker_announce_alert>(a)) {
		if (x->event != lt::event_t::stopped)
			tracker_event(l, *x, k, LT_TRACKER_ASKED, 0);
	} else if (const auto *r = lt::alert_cast<lt::tracker_reply_alert>(a)) {
		tracker_event(l, *r, k, LT_TRACKER_OK, r->num_peers);
		if (k)
			ask_scrape(l, *r, *k);
	} else if (const auto *f = lt::alert_cast<lt::tracker_error_alert>(a)) {
		failed_event(l, *f, k);
	} else if (const auto *d = lt::alert_cast<lt::dht_reply_alert>(a); d && k) {
		lt_event e = swarm_event(l, LT_DHT_REPLY, *k);
		e.n = d->num_peers;
		l->taken.push_back(e);
	} else if (lt::alert_cast<lt::metadata_received_alert>(a) && k) {
		metadata_event(l, l->by_key.at(*k));
	} else if (lt::alert_cast<lt::metadata_failed_alert>(a) && k) {
		l->by_key.at(*k).at->lies++;
	} else if (const auto *both = lt::alert_cast<lt::torrent_conflict_alert>(a);
		   both && k && both->metadata) {
		conflict_event(l, *both, *k);
	}
}

void take_alerts(struct lt_session *l)
{
	l->session->pop_alerts(&l->alerts);
	for (const auto *a : l->alerts) {
		if (const auto *add = lt::alert_cast<lt::add_torrent_alert>(a))
			added(l, *add);
		else if (const auto *st = lt::alert_cast<lt::session_stats_alert>(a))
			stats_event(l, *st);
		else if (lt::alert_cast<lt::alerts_dropped_alert>(a))
			l->alerts_dropped++;
		else {
			find_events(l, a);
			listen_events(l, a);
			torrent_events(l, a);
		}
	}
}

/* No more attempts at once than swarm.half_open: what swarms dial by themselves in the
 * next second is bounded by the room that there is now. */
void bound_dials(struct lt_session *l)
{
	using sp = lt::settings_pack;
	const conf &c = l->settings;
	const int room =
		std::max(static_cast<int>(c.swarm_half_open) - l->out->half_open.load(),
			 0);
	const int speed =
		std::min(static_cast<int>(c.swarm_connection_speed) * 9 / 10 + 1, room);
	const int boost = std::min(static_cast<int>(c.swarm_connect_boost), room);
	sp s;

	if (speed == l->speed && boost == l->boost)
		return;
	s.set_int(sp::connection_speed, l->speed = speed);
	s.set_int(sp::torrent_connect_boost, l->boost = boost);
	l->session->apply_settings(std::move(s));
}

void remember_settings(struct lt_session *l, const conf &c)
{
	l->settings = c;
	l->limit = lt_connections(&c);
	l->speed = l->boost = -1;
	l->out->hold_s = static_cast<int>(c.swarm_hold_ms / 1000);
	l->out->keep = static_cast<int>(c.swarm_keep);
	l->out->limit = static_cast<size_t>(c.swarm_event_queue);
}

std::string random_bytes()
{
	std::string out(20, '\0');
	if (getrandom(&out[0], out.size(), 0) != static_cast<ssize_t>(out.size()))
		throw std::runtime_error("no random bytes");
	return out;
}

std::vector<lt::announce_entry> trackers_of(const conf &c, int64_t max)
{
	std::vector<lt::announce_entry> out;
	char url[512];

	for (const char *at = c.swarm_trackers;
	     at && static_cast<int64_t>(out.size()) < max;) {
		at = conf_list_next(at, url, sizeof(url));
		const auto same = [&url](const lt::announce_entry &t) {
			return t.url == url;
		};
		if (url[0] == '\0' || std::any_of(out.begin(), out.end(), same))
			continue;
		out.emplace_back(url);
		out.back().tier = static_cast<uint8_t>(out.size() - 1);
	}
	return out;
}

/* No exception crosses the C face. What was not done for one is tried again later, or its
 * torrent has just gone. 0, or -1. */
template <typename Function> int guarded(Function fn)
{
	try {
		return fn(), 0;
	} catch (const std::exception &) {
		return -1;
	}
}

} // namespace

extern "C" {

int lt_open(struct lt_session **out, const struct conf *c, int bell_fd, char err[ERRLEN])
{
	try {
		auto l = std::make_unique<lt_session>();
		libtorrent::session_params p(first_settings(*c));

		l->out = std::make_shared<outbox>(bell_fd);
		l->visit = std::make_unique<visits>(l->out, *c);
		l->dht = std::make_shared<dht_store>();
		l->dht->path = c->swarm_dht_state;
		if (c->swarm_dht)
			l->out->put(dht_load(*l->dht, p));
		p.disk_io_constructor = libtorrent::disabled_disk_io_constructor;
		p.ip_filter = private_filter(*c);
		l->session = std::make_unique<libtorrent::session>(std::move(p));
		l->session->set_port_filter(engines_filter(*c));
		l->stat_dht_nodes = libtorrent::find_metric_idx("dht.dht_nodes");
		l->stat_dht_in = libtorrent::find_metric_idx("dht.dht_messages_in");
		l->stat_dht_out = libtorrent::find_metric_idx("dht.dht_messages_out");
		remember_settings(l.get(), *c);
		l->out->secret = random_bytes();
		const auto bell = l->out;
		l->session->set_alert_notify([bell] { bell->ring_bell(); });
		*out = l.release();
		return 0;
	} catch (const std::exception &e) {
		return fail(err, "libtorrent session", e);
	}
}

int lt_close(struct lt_session **session, int wait_ms)
{
	struct lt_session *l = *session;
	int rc = -1;

	if (!l)
		return 0;
	*session = nullptr;
	try {
		/* In a thread of its own, so that neither a tracker that hangs nor the
		 * disk can hold us: the proxy's end waits for the trackers' "stopped".
		 * If it takes too long the caller exits. */
		auto done = std::make_shared<std::promise<void>>();
		auto over = done->get_future();
		l->session->set_alert_notify({});
		std::thread([l, done] {
			if (l->saver.joinable())
				l->saver.join();
			dht_write(*l->session, *l->dht, *l->out);
			{ /* the end of the proxies waits */
				auto proxies = l->visit->abort();
				proxies.push_back(l->session->abort());
				l->session.reset();
			}
			delete l;
			done->set_value();
		}).detach();
		if (over.wait_for(std::chrono::milliseconds(wait_ms)) ==
		    std::future_status::ready)
			rc = 0;
	} catch (const std::exception &) {
		/* leaving anyway: the caller exits */
	}
	return rc;
}

int lt_configure(struct lt_session *l, const struct conf *c, char err[ERRLEN])
{
	try {
		libtorrent::settings_pack s;

		tune(s, *c);
		l->session->set_ip_filter(private_filter(*c));
		l->session->set_port_filter(engines_filter(*c));
		l->session->apply_settings(std::move(s));
		if (strcmp(l->settings.swarm_trackers, c->swarm_trackers) != 0 ||
		    l->settings.swarm_max_trackers != c->swarm_max_trackers)
			for (const auto &pair : l->by_handle)
				if (!l->by_key[pair.second].quiet)
					pair.first.replace_trackers(
						trackers_of(*c, c->swarm_max_trackers));
		remember_settings(l, *c);
		l->visit->configure(*c);
		std::lock_guard<std::mutex> hold(l->dht->mutex);
		l->dht->path = c->swarm_dht_state;
		return 0;
	} catch (const std::exception &e) {
		return fail(err, "libtorrent settings", e);
	}
}

int lt_join(struct lt_session *l, const uint8_t id[IH_LEN], const struct lt_ids *ids,
	    const struct lt_endpoint *known, size_t n, enum lt_announce announce,
	    const struct conf *c, uint32_t *life, char err[ERRLEN])
{
	try {
		libtorrent::add_torrent_params p;
		const key k = key_of(id);
		auto &join = l->by_key[k];
		const bool quiet = announce == LT_ANNOUNCE_NEVER;
		if (join.life) { /* left, but not yet added: it is wanted after all */
			if (quiet && !join.quiet)
				return err_set(err, "it is still being left");
			join.leaving = false;
			*life = join.life;
			return 0;
		}
		*life = join.life = ++l->lives;
		join.ids = *ids;
		join.quiet = quiet;
		p.info_hashes = hashes_of(*ids);
		join.at = std::make_shared<torrent_at>(l->out, k, join.life);
		watch(p, join.at);
		for (const auto &t :
		     trackers_of(*c,
				 announce == LT_ANNOUNCE ? c->swarm_max_trackers : 0)) {
			p.trackers.push_back(t.url);
			p.tracker_tiers.push_back(t.tier);
		}
		if (quiet)
			p.flags |= libtorrent::torrent_flags::disable_dht |
				   libtorrent::torrent_flags::disable_lsd;
		p.peers = endpoints_of(known, n);
		if (n)
			p.flags |= libtorrent::torrent_flags::paused; /* see added() */
		/* No swarm may take all connections from the others. */
		p.max_connections = std::max(lt_connections(c) / 4 * 3, 2);
		bound_dials(l);
		/* The key in by_key: its entry stays where it is until added() has seen it. */
		p.userdata = libtorrent::client_data_t(
			const_cast<key *>(&l->by_key.find(k)->first));
		l->session->async_add_torrent(std::move(p));
		return 0;
	} catch (const std::exception &e) {
		l->by_key.erase(key_of(id));
		return fail(err, "join", e);
	}
}

void lt_ask_trackers(struct lt_session *l, const uint8_t id[IH_LEN], const struct conf *c)
{
	guarded([=] {
		const joined *join = join_of(l, id);
		if (join && join->handle.is_valid())
			join->handle.replace_trackers(
				trackers_of(*c, c->swarm_max_trackers));
	});
}

void lt_leave(struct lt_session *l, const uint8_t id[IH_LEN])
{
	guarded([=] {
		joined *join = join_of(l, id);
		if (!join)
			return;
		const auto handle = join->handle;
		l->visit->leave(key_of(id));
		if (!handle.is_valid()) {
			join->leaving = true; /* see added() */
			return;
		}
		l->by_key.erase(key_of(id));
		l->by_handle.erase(handle);
		l->session->remove_torrent(handle);
	});
}

int lt_visit(struct lt_session *l, const uint8_t id[IH_LEN], enum lt_way way,
	     const struct lt_endpoint *peer, size_t n)
{
	const joined *join = join_of(l, id);

	if (join && !join->handle.is_valid())
		return 1;
	if (!join)
		return -1;
	return guarded(
		[=] { l->visit->dial(key_of(id), *join, way, endpoints_of(peer, n)); });
}

int lt_give(struct lt_session *l, const uint8_t id[IH_LEN],
	    const struct lt_endpoint *peer, size_t n)
{
	joined *join = join_of(l, id);

	if (!join)
		return -1;
	return guarded([=] {
		for (const auto &ep : endpoints_of(peer, n)) {
			if (join->handle.is_valid())
				join->handle.connect_peer(ep);
			else if (join->given.size() < GIVEN_EARLY_MAX)
				join->given.push_back(ep);
		}
	});
}

void lt_add_tracker(struct lt_session *l, const uint8_t id[IH_LEN], const char *url)
{
	guarded([=] {
		joined *join = join_of(l, id);
		if (join && !join->quiet && join->handle.is_valid())
			join->handle.add_tracker(libtorrent::announce_entry(url));
		else if (join && !join->quiet && join->trackers.size() < TRACKERS_EARLY)
			join->trackers.emplace_back(url);
	});
}

void lt_metadata(struct lt_session *l, const uint8_t id[IH_LEN])
{
	const joined *join = join_of(l, id);

	if (join && join->handle.is_valid())
		metadata_event(l, *join);
}

int lt_metadata_take(struct lt_session *l, const uint8_t id[IH_LEN], char **info,
		     size_t *len)
{
	const joined *join = join_of(l, id);

	if (!join)
		return -1;
	std::lock_guard<std::mutex> hold(join->at->mutex);
	const auto all = join->at->info ? join->at->info->info_section()
					: libtorrent::span<char const>{};
	*len = static_cast<size_t>(all.size());
	*info = *len ? static_cast<char *>(malloc(*len)) : nullptr;
	if (*info)
		memcpy(*info, all.data(), *len);
	return *info ? 0 : -1;
}

void lt_load(const struct lt_session *l, struct lt_load *out)
{
	out->open = static_cast<uint32_t>(std::max(0, l->out->open.load()));
	out->half_open = static_cast<uint32_t>(std::max(0, l->out->half_open.load()));
	out->dials = l->out->dials;
	out->limit = static_cast<uint32_t>(l->limit);
	out->filtered = l->out->filtered;
	out->dropped = l->out->dropped();
	out->alerts_dropped = l->alerts_dropped;
}

size_t lt_next(struct lt_session *l, struct lt_event *out, size_t max)
{
	size_t n = 0;

	try {
		if (l->next == l->taken.size()) {
			l->taken.clear();
			l->next = 0;
			if (l->taken.capacity() > 8192) /* a burst is over */
				std::vector<lt_event>().swap(l->taken);
			l->out->swap(l->taken);
			metadata_hashes(l);
			take_alerts(l);
			l->visit->push_all();
		}
		while (n < max && l->next < l->taken.size())
			out[n++] = l->taken[l->next++];
	} catch (const std::exception &) {
		/* out of memory: what was not copied is lost and will be said again */
	}
	return n;
}

void lt_reopen(struct lt_session *l)
{
	guarded([=] {
		l->session->reopen_network_sockets();
		l->visit->each(
			[](lt::session &s, lt_way) { s.reopen_network_sockets(); });
	});
}

void lt_rebind(struct lt_session *l, const struct conf *c)
{
	using sp = libtorrent::settings_pack;

	guarded([=] {
		for (const bool open : {false, true}) {
			sp s, v;
			s.set_str(sp::listen_interfaces,
				  open ? interfaces_of(*c, false) : "");
			l->session->apply_settings(std::move(s));
			v.set_str(sp::listen_interfaces,
				  open ? interfaces_of(*c, true) : "");
			l->visit->each([&v](lt::session &visitor, lt_way) {
				visitor.apply_settings(v);
			});
		}
	});
}

void lt_reannounce(struct lt_session *l)
{
	using handle = libtorrent::torrent_handle;

	guarded([=] {
		for (const auto &pair : l->by_handle) {
			pair.first.force_reannounce(0, -1, handle::ignore_min_interval);
			pair.first.force_dht_announce();
		}
	});
}

void lt_dht_again(struct lt_session *l, const struct conf *c)
{
	char host[LT_ROUTER_MAX];
	uint16_t port;

	try {
		for (const char *at = c->swarm_dht_bootstrap;
		     (at = lt_router_next(at, host, &port)) != nullptr;)
			if (port)
				l->session->add_dht_node({host, port});
		std::lock_guard<std::mutex> hold(l->dht->mutex);
		auto &nodes = l->dht->nodes;
		for (size_t i = 0; i < nodes.size() && i < DHT_AGAIN_MAX; i++)
			l->session->add_dht_node(
				{nodes[i].address().to_string(), nodes[i].port()});
		/* other ones the next time */
		if (nodes.size() > DHT_AGAIN_MAX)
			std::rotate(nodes.begin(), nodes.begin() + DHT_AGAIN_MAX,
				    nodes.end());
	} catch (const std::exception &) {
		/* tried again later: dhtwatch.c */
	}
}

void lt_dht_restart(struct lt_session *l, const struct conf *c)
{
	using sp = libtorrent::settings_pack;

	guarded([=] {
		for (const bool on : {false, true}) {
			sp s;
			s.set_bool(sp::enable_dht, on);
			l->session->apply_settings(std::move(s));
		}
		lt_dht_again(l, c);
	});
}

int lt_dht_find(struct lt_session *l, const uint8_t id[IH_LEN])
{
	return guarded([=] {
		l->session->dht_get_peers(
			libtorrent::sha1_hash(reinterpret_cast<const char *>(id)));
		l->finding = LT_DHT_FIND_S;
	});
}

void lt_dht_save(struct lt_session *l)
{
	try {
		if (l->dht->busy.exchange(true))
			return;
		if (l->saver.joinable())
			l->saver.join(); /* it is over: not busy */
		const libtorrent::session_handle s(*l->session);
		l->saver = std::thread([s, d = l->dht, out = l->out] {
			dht_write(s, *d, *out);
			d->busy = false;
		});
	} catch (const std::exception &) {
		l->dht->busy = false;
	}
}

void lt_poll(struct lt_session *l)
{
	guarded([=] {
		l->visit->tick();
		bound_dials(l);
		if (l->finding > 0 && l->finding--)
			l->session->post_dht_stats();
		l->session->post_session_stats();
	});
}

} // extern "C"
