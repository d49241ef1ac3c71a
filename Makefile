# Two commands matter: `make run` and `make check`. Both install what is missing.
#
#   make            build build/peerscope
#   make run        set up, build and serve on port 8080   (ARGS='-o swarm.dht=off')
#   make check      set up, then every test; under ten minutes
#   make check-slow set up, then what takes minutes: real clients for ten of them, ten thousand ids, fuzzing
#   make demo       a loopback swarm of real clients, and what Peerscope sees (ARGS=--stay)
#   make bench      cold and warm figures against a scripted swarm and nginx
#   make install    as root, after make: binary, unit, manuals below PREFIX, /etc (DESTDIR=...)
#   make deb        build/peerscope_VERSION_ARCH.deb
#   make deps       install Debian packages only; starts no service
#   make style unit torture sanitize tsan e2e swarmtest   parts of `make check`
#   make format     lay out every .c and .cc as .clang-format says
#   make analyze    scan-build over everything
#   make SAN=address,undefined / SAN=thread / CC=clang  other builds, in their own folder

CC ?= gcc
ifeq ($(origin CC),default)
CC := gcc
endif
CXX := $(if $(findstring clang,$(CC)),clang++,g++)
SAN ?=
# -O1 finds as much under the sanitizers and compiles in two thirds of the time.
OPT ?= $(if $(SAN),-O1,-O2)
VERSION := $(shell cat VERSION)
COMMIT := $(shell git rev-parse --short HEAD 2>/dev/null || echo unknown)

comma := ,
B := build
ifneq ($(SAN)$(filter clang%,$(CC)),)
B := build/$(CC)$(if $(SAN),-$(subst $(comma),-,$(SAN)))
endif
BIN := $(B)/peerscope

LIBS := libevent_core libevent_extra hiredis libcjson libmaxminddb inih libcurl libsodium libcrypto
WARN := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
	-Wpointer-arith -Wvla -Wwrite-strings
SANFLAGS := $(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer -fno-sanitize-recover=all)
HARDEN := -fstack-protector-strong $(if $(SAN),,-D_FORTIFY_SOURCE=2) -fPIE
COMMON_FLAGS = $(OPT) -g $(SANFLAGS) $(HARDEN) -I. -D_GNU_SOURCE \
	-DPEERSCOPE_VERSION='"$(VERSION)"' -DPEERSCOPE_COMMIT='"$(COMMIT)"'
CFLAGS_ALL = -std=c11 $(WARN) $(COMMON_FLAGS) $(shell pkg-config --cflags $(LIBS)) \
	-isystem /usr/share/include/llhttp
CXXFLAGS_ALL = -std=c++17 -Wall -Wextra -Werror $(COMMON_FLAGS) \
	$(patsubst -I%,-isystem %,$(shell pkg-config --cflags libtorrent-rasterbar))
LDLIBS_ALL = $(shell pkg-config --libs $(LIBS) libtorrent-rasterbar) -lrt -lpthread
LDFLAGS_ALL = $(SANFLAGS) -pie -Wl,-z,relro,-z,now

SRC := $(wildcard common/*.c shm/*.c geo/*.c master/*.c worker/*.c collector/*.c)
LLHTTP := $(addprefix $(B)/llhttp/,llhttp.o api.o http.o)
OBJ := $(SRC:%.c=$(B)/%.o) $(B)/collector/lt.o $(LLHTTP)
LIBOBJ := $(filter-out $(B)/master/main.o,$(OBJ))
UNIT := $(patsubst tests/unit/%.c,$(B)/unit/%,$(wildcard tests/unit/test_*.c))
TORTURE := $(patsubst tests/torture/%.c,$(B)/torture/%,$(wildcard tests/torture/*.c))

# One line per step; V=1 shows the commands.
V ?=
ifeq ($(V),)
run = @echo '  $(1) $(2)';
endif

all: $(BIN)

$(BIN): $(OBJ)
	@mkdir -p $(@D)
	$(call run,LD,$@)$(CXX) $(LDFLAGS_ALL) -o $@ $^ $(LDLIBS_ALL)

$(B)/%.o: %.c
	@mkdir -p $(@D)
	$(call run,CC,$@)$(CC) $(CFLAGS_ALL) -MMD -MP -c -o $@ $<

$(B)/collector/lt.o: collector/lt.cc
	@mkdir -p $(@D)
	$(call run,CXX,$@)$(CXX) $(CXXFLAGS_ALL) -MMD -MP -c -o $@ $<

# Pages that never change are bytes of the binary (worker/pages.c), named by one digest.
PAGES := $(addprefix $(B)/worker/pages/,openapi.json docs.html docs.js docs.css)
$(PAGES): $(B)/worker/pages/%: worker/pages/% VERSION
	@mkdir -p $(@D)
	$(call run,PAGE,$@)sed 's/@VERSION@/$(VERSION)/' $< >$@

$(B)/worker/pages.o: $(PAGES)
$(B)/worker/pages.o: CFLAGS_ALL += -DPAGES_DIR='"$(B)/worker/pages/"' \
	-DPAGES_ETAG='"\"$(shell cat $(PAGES) | sha256sum | cut -c 1-16)\""'

# llhttp comes as C source in Debian's node-llhttp; it is compiled, never copied. Its strict
# mode is a matter of compiling: without it "Host : a" and raw bytes in a URL pass.
$(B)/llhttp/%.o: /usr/share/llhttp/%.c
	@mkdir -p $(@D)
	$(call run,CC,$@)$(CC) -std=gnu11 -O2 -g $(SANFLAGS) -fPIE -w -DLLHTTP_STRICT_MODE=1 \
		-I/usr/share/include/llhttp -c -o $@ $<

# Of an archive a test links what it uses and no more.
$(B)/parts.a: $(LIBOBJ)
	@rm -f $@
	$(call run,AR,$@)ar rcs $@ $^

$(B)/unit/%: tests/unit/%.c $(B)/parts.a
	@mkdir -p $(@D)
	$(call run,CC,$@)$(CC) $(CFLAGS_ALL) -MMD -MP -MT $@ -c -o $@.o $< && \
		$(CXX) $(LDFLAGS_ALL) -o $@ $@.o $(B)/parts.a $(LDLIBS_ALL) -lcmocka

$(B)/bench/%: scripts/bench/%.c $(B)/parts.a
	@mkdir -p $(@D)
	$(call run,CC,$@)$(CC) $(CFLAGS_ALL) -MMD -MP -MT $@ -c -o $@.o $< && \
		$(CXX) $(LDFLAGS_ALL) -o $@ $@.o $(B)/parts.a $(LDLIBS_ALL)

# Without libtorrent and most other libraries: they need these two rooms, the cache, and what
# writes known peers.
$(B)/segment.a: $(filter $(B)/common/% $(B)/shm/% $(B)/collector/meta% \
		$(B)/collector/statefile.o $(B)/collector/writer.o,$(OBJ))
	@rm -f $@
	$(call run,AR,$@)ar rcs $@ $^

# What tests upgrade to (tests/upgrade): ours but for one object, and no peerscope at all.
UPGRADE := $(addprefix $(B)/upgrade/,no_worker layout hangs)
$(B)/upgrade/%.o: tests/upgrade/%.c
	@mkdir -p $(@D)
	$(call run,CC,$@)$(CC) $(CFLAGS_ALL) -MMD -MP -c -o $@ $<
LAYOUT := shm/seg worker/health
$(LAYOUT:%=$(B)/upgrade/%.o): $(B)/upgrade/%.o: %.c
	@mkdir -p $(@D)
	$(call run,CC,$@)$(CC) $(CFLAGS_ALL) -DSHM_VERSION=9999u -MMD -MP -c -o $@ $<
$(B)/upgrade/no_worker: $(B)/upgrade/no_worker.o $(filter-out $(B)/worker/main.o,$(OBJ))
	$(call run,LD,$@)$(CXX) $(LDFLAGS_ALL) -o $@ $^ $(LDLIBS_ALL)
$(B)/upgrade/layout: $(LAYOUT:%=$(B)/upgrade/%.o) $(filter-out $(LAYOUT:%=$(B)/%.o),$(OBJ))
	$(call run,LD,$@)$(CXX) $(LDFLAGS_ALL) -o $@ $^ $(LDLIBS_ALL)
$(B)/upgrade/hangs: $(B)/upgrade/hangs.o
	$(call run,LD,$@)$(CC) $(LDFLAGS_ALL) -o $@ $^

$(B)/torture/%: tests/torture/%.c $(B)/segment.a
	@mkdir -p $(@D)
	$(call run,CC,$@)$(CC) $(CFLAGS_ALL) -MMD -MP -MT $@ -c -o $@.o $< && \
		$(CC) $(LDFLAGS_ALL) -o $@ $@.o $(B)/segment.a -lcjson -lsodium -lrt -lpthread

-include $(OBJ:.o=.d) $(UNIT:=.d) $(TORTURE:=.d) $(wildcard $(B)/upgrade/*.d $(B)/upgrade/*/*.d)

# Enables and starts nothing. A configuration that is there stays.
PREFIX ?= /usr/local
UNITS ?= $(PREFIX)/lib/systemd/system
SHARE := $(DESTDIR)$(PREFIX)/share
install: $(BIN)
	install -D -m 755 $(BIN) $(DESTDIR)$(PREFIX)/bin/peerscope
	install -D -m 755 -t $(SHARE)/peerscope scripts/geo-update scripts/upgrade-in-place
	set -e; for f in doc/*.[1-9]; do install -D -m 644 -t $(SHARE)/man/man$${f##*.} $$f; done
	install -D -m 644 conf/peerscope.sysusers $(DESTDIR)$(PREFIX)/lib/sysusers.d/peerscope.conf
	install -D -m 644 -t $(DESTDIR)$(UNITS) conf/peerscope.service
	sed -i 's,/usr/local/bin/,$(PREFIX)/bin/,' $(DESTDIR)$(UNITS)/peerscope.service
	[ -e $(DESTDIR)/etc/peerscope/peerscope.conf ] || \
		install -D -m 644 -t $(DESTDIR)/etc/peerscope conf/peerscope.conf
	[ -e $(DESTDIR)/etc/logrotate.d/peerscope ] || \
		install -D -m 644 conf/peerscope.logrotate $(DESTDIR)/etc/logrotate.d/peerscope

# build/peerscope_VERSION_ARCH.deb. The version stands in debian/changelog, too.
deb: deps-package
	@test "$$(dpkg-parsechangelog -SVersion)" = "$(VERSION)" || \
		{ echo "debian/changelog is not of VERSION, $(VERSION)"; exit 1; }
	dh_clean
	debian/rules binary
	dh_clean
	@ls -sh1 build/peerscope*_$(VERSION)_*.deb

# Parts of `make check`; each can be run alone. E2E='-k pex' picks tests.
# Tests wait more than they work, and each process of them has addresses of its own.
PYTEST := /usr/bin/python3 -B -m pytest -q -p no:cacheprovider
E2E ?=
E2E_AT_ONCE ?= 12
JOBS := $(shell nproc)

deps:
	scripts/install-deps build
deps-test:
	scripts/install-deps test
deps-package:
	scripts/install-deps package
deps-slow:
	scripts/install-deps slow

run: deps
	$(MAKE) -j$(JOBS) all
	$(BIN) serve $$(scripts/geo-update --options $(BIN) $(ARGS)) $(ARGS)

check: deps-test
	scripts/run-checks

check-slow: deps-slow
	scripts/run-checks slow

style:
	scripts/check-style

format:
	git ls-files -- '*.c' '*.cc' | xargs clang-format -i

# They wait more than they work: `make -j4 unit` runs four at once. Only what fails is shown.
unit: $(UNIT:=.ran)
	@echo "$$(cat $(UNIT:=.log) | grep -c '^\[       OK') passed"
$(UNIT:=.ran): %.ran: %
	@echo "== $<"; $< >$<.log 2>&1 || { cat $<.log; echo "== $<: FAILED"; exit 1; }

torture: $(TORTURE)
	@set -e; for t in $(TORTURE); do echo "== $$t"; $$t; done

# Every unit program again under ASan and UBSan (gcc), and those torture programs that storm
# with threads under TSan (clang, which thereby has to find the code clean of warnings, too).
# TSan does not see across processes, so kill.c, which is all processes, stays out. Torture
# under ASan takes minutes: make check-slow.
THREADED := $(filter-out %/kill,$(TORTURE))
sanitize:
	$(MAKE) SAN=address,undefined unit
sanitize-torture:
	$(MAKE) SAN=address,undefined torture
tsan:
	$(MAKE) CC=clang SAN=thread storm
storm: $(THREADED)
	@set -e; for t in $(THREADED); do echo "== $$t"; $$t; done

swarmtest:
	$(PYTEST) -n 4 tests/swarm

e2e: $(BIN) $(UPGRADE)
	PEERSCOPE_BIN=$(abspath $(BIN)) $(PYTEST) -n $(E2E_AT_ONCE) tests/e2e $(E2E)

# libFuzzer, so clang. Each program is built from what it reads with, and no more; its seeds
# are its own. What it finds stays in build/fuzz/, and FUZZ_SECONDS are for all of them.
FUZZ_SECONDS ?= 60
FUZZ_ACE := collector/benc.c $(wildcard collector/acewire*.c) common/buf.c common/err.c \
	common/addr.c common/ident.c shm/acejson.c
FUZZ_FLAGS := -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all
build/fuzz/fuzz_ace: tests/fuzz/fuzz_ace.c $(FUZZ_ACE) tests/unit/ace_stage.h \
		$(wildcard tests/fuzz/*.h collector/benc.h collector/acewire.h common/*.h)
	@mkdir -p $(@D)
	$(call run,FUZZ,$@)clang -std=c11 $(WARN) -O1 -g $(FUZZ_FLAGS) -I. -D_GNU_SOURCE \
		-o $@ $(filter %.c,$^) $(shell pkg-config --libs libsodium)

FUZZ_LIST := collector/listcode.c collector/listjson.c collector/statefile.c $(wildcard common/*.c shm/*.c)
build/fuzz/fuzz_list: tests/fuzz/fuzz_list.c $(FUZZ_LIST) tests/unit/list_stage.h \
		$(wildcard tests/fuzz/*.h collector/list*.h collector/statefile.h common/*.h shm/*.h)
	@mkdir -p $(@D)
	$(call run,FUZZ,$@)clang -std=c11 $(WARN) -O1 -g $(FUZZ_FLAGS) -I. -D_GNU_SOURCE \
		-o $@ $(filter %.c,$^) $(shell pkg-config --libs libcjson libsodium)

FUZZ_META := $(wildcard collector/metainfo*.c) collector/benc.c \
	$(addprefix common/,magnet.c selected.c clean.c given.c ident.c addr.c buf.c err.c)
build/fuzz/fuzz_meta: tests/fuzz/fuzz_meta.c $(FUZZ_META) tests/unit/meta_stage.h \
		$(wildcard tests/fuzz/*.h collector/metainfo.h collector/benc.h common/*.h)
	@mkdir -p $(@D)
	$(call run,FUZZ,$@)clang -std=c11 $(WARN) -O1 -g $(FUZZ_FLAGS) -I. -D_GNU_SOURCE \
		-o $@ $(filter %.c,$^) $(shell pkg-config --libs libcjson libsodium)

# libmaxminddb is Debian's, without instrumentation.
FUZZ_MMDB := $(addprefix geo/,file.c layout.c country.c walk.c) \
	$(addprefix common/,file.c thread.c clock.c addr.c err.c)
build/fuzz/fuzz_mmdb: tests/fuzz/fuzz_mmdb.c $(FUZZ_MMDB) tests/unit/mmdb_stage.h \
		$(wildcard tests/fuzz/*.h geo/*.h common/*.h)
	@mkdir -p $(@D)
	$(call run,FUZZ,$@)clang -std=c11 $(WARN) -O1 -g $(FUZZ_FLAGS) -I. -D_GNU_SOURCE \
		-o $@ $(filter %.c,$^) $(shell pkg-config --libs libmaxminddb libsodium) -lm

# A quarter of the time for each.
FUZZ_RUN = -max_total_time=$$(($(FUZZ_SECONDS) / 4)) -max_len=4096 -timeout=10 \
	-artifact_prefix=build/fuzz/ -print_final_stats=1
fuzz-short: build/fuzz/fuzz_ace build/fuzz/fuzz_list build/fuzz/fuzz_meta build/fuzz/fuzz_mmdb
	@mkdir -p $(addprefix build/fuzz/,ace.corpus list.corpus meta.corpus mmdb.corpus)
	FUZZ_SEEDS=build/fuzz/ace.corpus build/fuzz/fuzz_ace
	build/fuzz/fuzz_ace $(FUZZ_RUN) build/fuzz/ace.corpus
	FUZZ_SEEDS=build/fuzz/list.corpus build/fuzz/fuzz_list
	build/fuzz/fuzz_list $(FUZZ_RUN) build/fuzz/list.corpus
	FUZZ_SEEDS=build/fuzz/meta.corpus build/fuzz/fuzz_meta
	build/fuzz/fuzz_meta $(FUZZ_RUN) build/fuzz/meta.corpus
	FUZZ_SEEDS=build/fuzz/mmdb.corpus build/fuzz/fuzz_mmdb
	build/fuzz/fuzz_mmdb $(FUZZ_RUN) -max_len=65536 build/fuzz/mmdb.corpus

# SLOW='-k ids' picks tests.
SLOW ?=
slow: deps-slow $(BIN) $(UPGRADE)
	PEERSCOPE_BIN=$(abspath $(BIN)) $(PYTEST) tests/slow $(SLOW)

demo: deps-test $(BIN)
	PEERSCOPE_BIN=$(abspath $(BIN)) scripts/demo $(ARGS)

bench: deps-test $(BIN) $(B)/bench/geo
	PEERSCOPE_BIN=$(abspath $(BIN)) scripts/bench/run

analyze: deps-test
	scan-build --status-bugs -o build/scan $(MAKE) B=build/analyze CC=clang all

clean:
	rm -rf build

.PHONY: $(UNIT:=.ran) all install deb deps deps-package deps-test deps-slow run check check-slow style format unit torture sanitize sanitize-torture tsan storm \
	swarmtest e2e slow fuzz-short demo \
	bench analyze clean
