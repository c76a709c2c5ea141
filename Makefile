# SPDX-License-Identifier: GPL-3.0-or-later
#
# The commands a person types; `make help` lists them. Each calls the script
# that does it. BUILD=DIR puts everything that is made into DIR.

BUILD ?= build
# tests and the demo are called from here and from elsewhere: no relative path
BUILD_DIR := $(abspath $(BUILD))

ifneq (,$(findstring s,$(firstword -$(MAKEFLAGS))))
export QUIET = 1
endif
export SANITIZE VERBOSE DESTDIR
# A plain "su" leaves the directories of administrators out.
export PATH := $(PATH):/usr/sbin:/sbin

PARTS := unit store samba kernel packages docs failover

.PHONY: all newest deps demo demo-failover run stop check $(PARTS:%=check-%) \
	check-versions install bench deb clean help

all: deps
	@BUILD='$(BUILD)' tools/build build $(TARGETS)

deps:
	@tools/deps build

help:
	@sed -n 's/^#: //p' Makefile

#: make               build everything that is missing or out of date
#: make demo          show both control codes at work (as root)
#: make demo-failover a volume moves to another node under an open handle
#:                    (as root; gets Samba 4.25, for itself only)
#: make run           the demo's server, left running;  make stop ends it
#: make check         every test;  the parts:
#: make check-unit, check-store, check-samba, check-kernel, check-packages,
#:      check-docs, check-failover
#: make check-versions  with the Samba of every Debian release: 4.17 to 4.25;
#:                    VERSIONS="trixie ..." for some
#: make install       into the system, or below DESTDIR=...
#: make clean         remove the build directory
#: make deb           Debian packages, in build/deb
#: make bench         ratios for docs/PERFORMANCE.md; BENCH="name ..." for some
#:
#: BUILD=DIR          build there instead of in build/
#: TARGETS="..."      build only these (udfd udfctl ...)
#: SANITIZE=1         with the address and undefined behaviour sanitizers;
#:                    SANITIZE=thread with that of threads
#: VERBOSE=1          show the compiler's commands

demo: all
	@tools/deps demo
	@BUILD='$(BUILD_DIR)' demo/demo

demo-failover: all
	@tools/deps demo-failover
	@BUILD='$(BUILD_DIR)' demo/failover

run: all
	@tools/deps demo
	@BUILD='$(BUILD_DIR)' demo/run

stop:
	@BUILD='$(BUILD_DIR)' demo/stop

# The newest Samba, for the part "failover"; its tests say so if there is none.
newest: all
	@BUILD='$(BUILD_DIR)' tools/build-for >/dev/null || :

check: all newest
	@tools/deps check
	@BUILD='$(BUILD_DIR)' tests/run $(PARTS)

check-failover: newest

$(PARTS:%=check-%): check-%: all
	@tools/deps check
	@BUILD='$(BUILD_DIR)' tests/run $*

# Not a part of "check", which has the installed Samba and the newest: the
# first time takes half an hour.
check-versions: all
	@tools/deps check
	@BUILD='$(BUILD_DIR)' tests/versions $(VERSIONS)

install: all
	@BUILD='$(BUILD)' tools/build install

bench: all
	@tools/deps bench
	@BUILD='$(BUILD_DIR)' bench/bench $(BENCH)

deb:
	@tools/deps deb
	@BUILD='$(BUILD)' tools/deb

clean:
	@BUILD='$(BUILD)' tools/build clean
