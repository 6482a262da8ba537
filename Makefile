# SPDX-License-Identifier: Apache-2.0
# Everything is built out of tree. `make help` lists the targets people use.
#   CC=clang          build with clang (its own build folder)
#   SAN=1             AddressSanitizer + UndefinedBehaviorSanitizer (its own build folder); SAN=thread: ThreadSanitizer
#   V=1               show commands
MAKEFLAGS += -rR --no-print-directory
# As many jobs as processors, unless it was said otherwise or this make is another's, which shares its jobs.
ifeq ($(MAKELEVEL)$(findstring j,$(filter-out --%,$(MAKEFLAGS))),0)
MAKEFLAGS += -j$(shell nproc)
endif
.DELETE_ON_ERROR:
.DEFAULT_GOAL := all
SHELL := /bin/bash
ifeq ($(origin CC),default)
CC := gcc
endif
CC ?= gcc
AR := ar
PYTHON := /usr/bin/python3
VERSION := $(shell cat engine/VERSION)
GIT_COMMIT := $(shell git rev-parse --short=7 HEAD 2>/dev/null || echo unknown)
# The time of the commit, so that the same sources give the same binary.
BUILD_TIME := $(shell TZ=UTC git log -1 --format=%cd --date=format-local:%Y-%m-%dT%H:%M:%S.000000000+00:00 2>/dev/null || echo unknown)
CFLAGS_system = -DHATAKE_GIT_COMMIT='"$(GIT_COMMIT)"' -DHATAKE_BUILD_TIME='"$(BUILD_TIME)"'
Q := $(if $(V),,@)

# ---- where things go -------------------------------------------------------------------------------------------------
TOP := build
B := $(TOP)$(if $(SAN),/$(if $(filter thread,$(SAN)),tsan,san))$(if $(findstring clang,$(CC)),/clang)
GEN := $(TOP)/gen
BIN := $(B)/bin

comma := ,
# ---- flags -----------------------------------------------------------------------------------------------------------
WARN := -Wall -Wextra -Werror -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wpointer-arith -Wformat=2 -Wno-unused-parameter \
        -Werror=incompatible-pointer-types -Werror=unused-result
SANITIZERS := $(if $(filter thread,$(SAN)),thread,address$(comma)undefined -fno-sanitize-recover=undefined)
OPT := $(if $(SAN),-O1 -g -fno-omit-frame-pointer -fsanitize=$(SANITIZERS),-O2 -g -D_FORTIFY_SOURCE=2)
CPPFLAGS := -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -Iengine -I$(GEN) -include engine/base/banned.h
CFLAGS := -std=gnu11 $(WARN) $(OPT) -fPIE -fstack-protector-strong -fno-strict-overflow -pthread
LDFLAGS := -pie -pthread -Wl,-z,relro,-z,now,--as-needed $(if $(SAN),-fsanitize=$(SANITIZERS))
# The programs that enter containers are static: no loader, no name services, no plug-ins (rule R6).
STATIC_LDFLAGS := $(if $(SAN),$(LDFLAGS),-static -pthread -Wl,-z,relro,-z,now,--gc-sections)
LIBS_DAEMON := -lmicrohttpd -ljansson -larchive -lcurl -lseccomp -lnl-route-3 -lnl-3 -lsqlite3 -lcrypto -lssl -lzstd -lisal -lz -llzma -lbz2

# ---- modules: a folder of engine/ is a static library; main*.c are programs, test-*.c are its unit tests --------------
MODULES := $(sort $(patsubst engine/%/,%,$(dir $(wildcard engine/*/*.c))))
srcs = $(filter-out engine/$(1)/main%.c engine/$(1)/test-%.c,$(wildcard engine/$(1)/*.c))
objs = $(patsubst engine/%.c,$(B)/obj/%.o,$(1))
GEN_SRCS := $(GEN)/api-table.c
GEN_STAMP := $(wildcard spec/tools/gen.py)
LIB = $(B)/lib/$(1).a
ALL_LIBS := $(foreach m,$(filter-out cli,$(MODULES)),$(call LIB,$(m)))

PROGRAMS := $(if $(wildcard engine/daemon/main.c),hataked) $(if $(wildcard engine/monitor/main.c),hatake-monitor hatake-init) \
            $(if $(wildcard engine/layers/main-unpack.c),hatake-unpack) $(if $(wildcard engine/container/main-files.c),hatake-files) $(if $(wildcard engine/volume/main-mount.c),hatake-mount) $(if $(wildcard engine/logdrv/main-tls.c),hatake-logtls) $(if $(wildcard engine/netd/main.c),hatake-netd) $(if $(wildcard engine/oci/main.c),hatake-runtime) $(if $(wildcard engine/cli/main.c),hatake)

.PHONY: all
all: $(addprefix $(BIN)/,$(PROGRAMS))

# ---- generated code --------------------------------------------------------------------------------------------------
ifneq ($(GEN_STAMP),)
$(GEN)/.stamp: $(wildcard spec/*.yaml spec/tools/*.py)
	$(Q)mkdir -p $(GEN)
	$(Q)$(PYTHON) spec/tools/gen.py --out $(GEN)
	$(Q)touch $@
# So that what includes a generated header is made again in the same run that writes it anew.
$(wildcard $(GEN)/*.h): $(GEN)/.stamp ;
endif
gen_c = $(wildcard $(GEN)/*.c)
$(B)/lib/gen.a: $(GEN)/.stamp
	$(Q)mkdir -p $(B)/obj/gen $(@D)
	$(Q)$(MAKE) gen-objects
	$(Q)rm -f $@; $(AR) rcsD $@ $$(ls $(B)/obj/gen/*.o)
.PHONY: gen gen-objects
gen: $(if $(GEN_STAMP),$(GEN)/.stamp)
gen-objects: $(patsubst $(GEN)/%.c,$(B)/obj/gen/%.o,$(gen_c))
$(B)/obj/gen/%.o: $(GEN)/%.c
	$(Q)mkdir -p $(@D)
	@echo "  CC      $<"
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<
GEN_LIB := $(if $(GEN_STAMP),$(B)/lib/gen.a)

# ---- objects and libraries -------------------------------------------------------------------------------------------
$(B)/obj/%.o: engine/%.c Makefile | $(if $(GEN_STAMP),$(GEN)/.stamp)
	$(Q)mkdir -p $(@D)
	@echo "  CC      $<"
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -ffunction-sections -DHATAKE_VERSION='"$(VERSION)"' $(CFLAGS_$(notdir $(basename $<))) -MMD -MP -c -o $@ $<
# What each lower module may use (the edges of engine/ARCHITECTURE.md); a unit test links only these. Upper modules link everything.
DEPS_base :=
DEPS_kern := base
DEPS_wire := base
DEPS_db := base
DEPS_content := base kern wire db
DEPS_layers := base kern wire db content
DEPS_registry := base kern wire db content
DEPS_netplane := base kern wire db
DEPS_logdrv := base
DEPS_oci := base kern
DEPS_monitor := base kern oci logdrv
DEPS_netd := base kern
DEPS_cli := base
LOWER := base kern wire db content layers registry netplane logdrv oci monitor netd cli
deps = $(filter $(MODULES),$(if $(filter $(1),$(LOWER)),$(1) $(DEPS_$(1)),$(filter-out cli,$(MODULES))))
define module_rules
$(B)/lib/$(1).a: $$(call objs,$$(call srcs,$(1)))
	$$(Q)mkdir -p $$(@D)
	$$(Q)rm -f $$@; $(AR) rcsD $$@ $$^
$(B)/test/$(1): $$(call objs,$$(wildcard engine/$(1)/test-*.c)) $(B)/obj/base/test-main.o $$(foreach m,$$(call deps,$(1)),$$(call LIB,$$(m))) $$(if $$(filter $(1),base kern oci monitor netd logdrv cli),,$(GEN_LIB))
	$$(Q)mkdir -p $$(@D)
	$$(Q)$(CC) $(LDFLAGS) -o $$@ $$(sort $$(filter %.o,$$^)) -Wl,--start-group $$(filter %.a,$$^) -Wl,--end-group $(LIBS_DAEMON)
.PHONY: unit-$(1)
unit-$(1): $(B)/test/$(1) $$(if $$(filter image logdrv monitor network volume,$(1)),unit-programs)
	$$(Q)$(B)/test/$(1) $(T)
endef
$(foreach m,$(MODULES),$(eval $(call module_rules,$(m))))
TESTED := $(sort $(foreach m,$(MODULES),$(if $(filter-out engine/base/test-main.c,$(wildcard engine/$(m)/test-*.c)),$(m))))

# ---- programs --------------------------------------------------------------------------------------------------------
STATIC_LIBS = $(foreach m,$(filter base kern oci monitor logdrv netplane netd,$(MODULES)),$(call LIB,$(m)))
$(BIN)/hataked: $(call objs,$(wildcard engine/daemon/main*.c)) $(filter-out %/netd.a,$(ALL_LIBS)) $(GEN_LIB)
	$(Q)mkdir -p $(@D)
	@echo "  LINK    $@"
	$(Q)$(CC) $(LDFLAGS) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LIBS_DAEMON)
# The init of `--init` containers is the monitor's program under another name: one text in memory for both.
$(BIN)/hatake-init: $(BIN)/hatake-monitor
	$(Q)ln -f $< $@
$(BIN)/hatake-monitor: $(call objs,$(wildcard engine/monitor/main*.c)) $(foreach m,base kern oci monitor logdrv,$(call LIB,$(m)))
	$(Q)mkdir -p $(@D)
	@echo "  LINK    $@"
	$(Q)$(CC) $(STATIC_LDFLAGS) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group -lz
$(BIN)/hatake-netd: $(call objs,$(wildcard engine/netd/main*.c)) $(STATIC_LIBS)
	$(Q)mkdir -p $(@D)
	@echo "  LINK    $@"
	$(Q)$(CC) $(STATIC_LDFLAGS) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group
$(BIN)/hatake-runtime: $(call objs,$(wildcard engine/oci/main*.c)) $(foreach m,base kern oci,$(call LIB,$(m)))
	$(Q)mkdir -p $(@D)
	@echo "  LINK    $@"
	$(Q)$(CC) $(STATIC_LDFLAGS) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group -ljansson -lseccomp
# Unpacks archives in a cage (rule R9); shares code with the layers module, links only what that needs. One is started per layer: the libraries of which
# little is used are linked in, since relocating them takes longer than unpacking a small layer.
$(BIN)/hatake-unpack: $(B)/obj/layers/main-unpack.o $(call LIB,layers) $(call LIB,base)
	$(Q)mkdir -p $(@D)
	@echo "  LINK    $@"
	$(Q)$(CC) $(LDFLAGS) -Wl,--gc-sections -o $@ $(filter %.o,$^) $(filter %.a,$^) -Wl,-Bstatic -lzstd -lcrypto -llzma -lbz2 -lseccomp -Wl,-Bdynamic -lisal
# Reads and writes files of containers in a cage: only the files that do that, and what they need of the lower modules.
$(BIN)/hatake-files: $(call objs,$(wildcard engine/container/main-files.c engine/container/files*.c)) $(call LIB,layers) $(call LIB,wire) $(call LIB,kern) $(call LIB,base)
	$(Q)mkdir -p $(@D)
	@echo "  LINK    $@"
	$(Q)$(CC) $(LDFLAGS) -Wl,--gc-sections -o $@ $(filter %.o,$^) $(filter %.a,$^) -lisal -lzstd -lcrypto -llzma -lbz2 -lseccomp
# Mounts the file systems of volumes.
$(BIN)/hatake-mount: $(B)/obj/volume/main-mount.o $(B)/obj/volume/mount-options.o $(call LIB,base)
	$(Q)mkdir -p $(@D)
	@echo "  LINK    $@"
	$(Q)$(CC) $(LDFLAGS) -o $@ $(filter %.o,$^) $(filter %.a,$^)
# One for each connection of a log over TLS: the libraries are the machine's, so that they are in memory once and get its mends.
$(BIN)/hatake-logtls: $(B)/obj/logdrv/main-tls.o $(call LIB,base)
	$(Q)mkdir -p $(@D)
	@echo "  LINK    $@"
	$(Q)$(CC) $(LDFLAGS) -o $@ $(filter %.o,$^) $(filter %.a,$^) -lssl -lcrypto -lseccomp
# What `sbom` reads images with and backups are made of is linked in: as shared libraries it would cost every other command milliseconds.
$(BIN)/hatake: $(call objs,$(call srcs,cli) $(wildcard engine/cli/main*.c)) $(call LIB,base)
	$(Q)mkdir -p $(@D)
	@echo "  LINK    $@"
	$(Q)$(CC) $(LDFLAGS) -Wl,--gc-sections -o $@ $(filter %.o,$^) $(filter %.a,$^) -Wl,-Bstatic -larchive -lsqlite3 -lzstd -lcrypto -lz -Wl,-Bdynamic -lm -ljansson

-include $(shell find $(B)/obj -name '*.d' 2>/dev/null)

# ---- everyday targets ------------------------------------------------------------------------------------------------
# The tests of some modules run the programs themselves, always those of the plain build.
.PHONY: unit-programs
ifeq ($(B),$(TOP))
unit-programs: $(BIN)/hatake-monitor $(BIN)/hatake-netd $(BIN)/hatake-mount $(BIN)/hatake-unpack $(BIN)/hatake-logtls
else
unit-programs:
	$(Q)$(MAKE) SAN= CC=gcc unit-programs
endif
.PHONY: help unit clean check conformance golden spec-check lint format asan compat
help: ## list the targets
	@grep -hE '^[a-z][a-z-]*:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 16
check: ## everything CI runs: both compilers, lint, unit tests with and without sanitizers, the lab, conformance, leaks
	@ci/packages all
	@ci/check
unit: $(addprefix $(B)/test/,$(TESTED)) unit-programs ## unit tests of every module
	$(Q)r=0; for t in $(filter $(B)/test/%,$^); do echo "# $$t"; $$t || r=1; done; exit $$r
asan: ## unit tests under AddressSanitizer and UndefinedBehaviorSanitizer
	@$(MAKE) SAN=1 unit
conformance: all ## the same steps on this engine and the live reference, compared
	@ci/packages all
	@ci/images build && ci/lab up && eval "$$(ci/lab env | sed 's/^/export /')" && diffharness/hatake-diff live --cli all $(T) && \
	 diffharness/hatake-diff live --api 1.24 --output build/diff/1.24 $(or $(T),container exec) && \
	 diffharness/hatake-diff live --api 1.41 --output build/diff/1.41 $(or $(T),container exec) && \
	 contract-tests/clients/run
golden: ## record the reference's answers into golden/
	@ci/packages all
	@ci/images build && ci/lab up registry && ci/lab up neighbour && ci/lab up reference && eval "$$(ci/lab env | sed 's/^/export /')" && \
	 diffharness/hatake-diff record $(T) && contract-tests/run --record && contract-tests/options --record
spec-check: ## compare the structure of spec/ with the published API description
	@$(PYTHON) spec/tools/spec-check.py
compat: ## write COMPAT.md from spec/, scenarios and deviations
	@$(PYTHON) spec/tools/compat.py
lint: ## static checks
	@ci/lint
format: ## format the C sources
	@git ls-files -co --exclude-standard 'engine/*.c' 'engine/*.h' 'ci/*.c' | xargs clang-format -i
clean: ## remove what was built (the lab's downloads stay in their cache)
	$(Q)rm -rf $(TOP)/obj $(TOP)/lib $(TOP)/bin $(TOP)/test $(TOP)/gen $(TOP)/san $(TOP)/clang
# ---- run, bench, install ---------------------------------------------------------------------------------------------
prefix ?= /usr/local
bindir ?= $(prefix)/bin
libexecdir ?= $(prefix)/libexec/hatake
datadir ?= $(prefix)/share
mandir ?= $(datadir)/man
unitdir ?= $(prefix)/lib/systemd/system
sysusersdir ?= $(prefix)/lib/sysusers.d
compldir ?= $(datadir)/bash-completion/completions
docdir ?= $(datadir)/doc/hatake
INSTALL_FROM := engine/daemon/install

# `hatake compat` carries COMPAT.md in itself.
$(B)/obj/cli/compat.o: $(wildcard COMPAT.md)

# The image that the first run needs, from Debian's busybox-static.
$(TOP)/images/busybox.tar: ci/images ci/image_format.py
	$(Q)mkdir -p $(TOP)/images
	$(Q)cp "$$(ci/images path busybox)" $(TOP)/images/busybox.tar
	$(Q)touch $(TOP)/images/busybox.tar

.PHONY: run stop bench install uninstall
run: ## from nothing installed to a running container (as root)
	$(Q)ci/run-demo up
stop: ## stop what `make run` started
	$(Q)ci/run-demo down
bench: all ## time engine and reference in turn; table and chart in build/bench
	$(Q)mkdir -p $(TOP)/bench/bin && cp -p --remove-destination $(BIN)/* $(TOP)/bench/bin/
	$(Q)ci/lab up registry reference && HATAKE_VALIDATE= ENGINE_BIN=$(CURDIR)/$(TOP)/bench/bin/hataked ci/lab restart engine && ci/bench $(BENCH)

$(TOP)/man/hataked.8: $(INSTALL_FROM)/hataked.8.in $(INSTALL_FROM)/man-fill $(BIN)/hataked
	$(Q)mkdir -p $(@D)
	$(Q)$(PYTHON) $(INSTALL_FROM)/man-fill $< $(BIN)/hataked VERSION=$(VERSION) DOCDIR=$(docdir) >$@
$(TOP)/man/hatake.1: $(INSTALL_FROM)/hatake.1.in $(INSTALL_FROM)/man-fill $(BIN)/hatake
	$(Q)mkdir -p $(@D)
	$(Q)$(PYTHON) $(INSTALL_FROM)/man-fill $< $(BIN)/hatake VERSION=$(VERSION) >$@

INSTALL_BIN := $(filter hataked hatake hatake-runtime,$(PROGRAMS))
INSTALL_LIBEXEC := $(filter-out $(INSTALL_BIN),$(PROGRAMS))
install: all $(TOP)/man/hataked.8 $(TOP)/man/hatake.1 $(TOP)/images/busybox.tar ## install below DESTDIR and prefix (/usr/local), with units, manual pages, completion
	$(Q)install -d $(addprefix $(DESTDIR),$(bindir) $(libexecdir) $(mandir)/man8 $(mandir)/man1 $(unitdir) $(sysusersdir) $(compldir) $(docdir) $(datadir)/hatake)
	$(Q)install -m 755 $(addprefix $(BIN)/,$(INSTALL_BIN)) $(DESTDIR)$(bindir)
	$(Q)install -m 755 $(addprefix $(BIN)/,$(filter-out hatake-init,$(INSTALL_LIBEXEC))) $(DESTDIR)$(libexecdir)
	$(Q)ln -f $(DESTDIR)$(libexecdir)/hatake-monitor $(DESTDIR)$(libexecdir)/hatake-init
	$(Q)install -m 644 $(TOP)/man/hataked.8 $(DESTDIR)$(mandir)/man8
	$(Q)install -m 644 $(TOP)/man/hatake.1 $(DESTDIR)$(mandir)/man1
	$(Q)sed 's|@BINDIR@|$(bindir)|' $(INSTALL_FROM)/hatake.service.in >$(TOP)/hatake.service
	$(Q)install -m 644 $(TOP)/hatake.service $(INSTALL_FROM)/hatake.socket $(DESTDIR)$(unitdir)
	$(Q)install -m 644 $(INSTALL_FROM)/hatake.sysusers $(DESTDIR)$(sysusersdir)/hatake.conf
	$(Q)install -m 644 $(INSTALL_FROM)/hatake.bash $(DESTDIR)$(compldir)/hatake
	$(Q)ln -sf hatake $(DESTDIR)$(compldir)/hataked
	$(Q)install -m 644 $(INSTALL_FROM)/daemon.json $(INSTALL_FROM)/policy.json LICENSE $(wildcard COMPAT.md) $(DESTDIR)$(docdir)
	$(Q)install -m 644 $(TOP)/images/busybox.tar $(DESTDIR)$(datadir)/hatake
uninstall: ## remove what install put there (data and configuration stay)
	$(Q)rm -f $(addprefix $(DESTDIR)$(bindir)/,hataked hatake hatake-runtime) $(addprefix $(DESTDIR)$(mandir)/,man8/hataked.8 man1/hatake.1)
	$(Q)rm -f $(addprefix $(DESTDIR)$(unitdir)/,hatake.service hatake.socket) $(DESTDIR)$(sysusersdir)/hatake.conf
	$(Q)rm -f $(addprefix $(DESTDIR)$(compldir)/,hatake hataked)
	$(Q)rm -rf $(DESTDIR)$(libexecdir) $(DESTDIR)$(docdir) $(DESTDIR)$(datadir)/hatake
