# osctl-eventd. `make run` and `make test` are all that a newcomer needs; both install
# missing packages on Debian 12. `make help` lists the other targets.

#? BUS=private      run: the bus to serve on: private, system, session, or an address
#? ARGS=./...       test: arguments of go test, as in ARGS='-run Report ./dbusapi'
#? WEBARGS=         test-web: more arguments of go test, as in WEBARGS='-run Pause'
#? FUZZTIME=10m     fuzz: the time for each target
#? PREFIX=/usr      install, uninstall: where programs and documentation go
#? DESTDIR=         install, uninstall: a directory before all paths
#? RELEASE='amd64 arm64'  release: the architectures
#? VERSION=         build, packages: the version, by default that of git describe
BUS ?= private
ARGS ?= ./...
FUZZTIME ?= 10m
PREFIX ?= /usr
RELEASE ?= amd64 arm64
# git refuses to describe a clone of another user. Root, who runs make there, trusts that user
# already.
VERSION ?= $(shell git -c safe.directory='*' describe --tags --always --dirty 2>/dev/null || echo 0.0.0-dev)
# make does not expand a version that is given.
ifneq ($(filter environment command,$(firstword $(origin VERSION))),)
override VERSION := $(value VERSION)
endif
# The version of packages: that of a tag, or one below all tags.
PACKAGE_VERSION ?= $(shell packaging/version.sh '$(call checked,$(VERSION))')

GO ?= go
# The directory of upstream's Go. sudo drops it from PATH.
export PATH := $(PATH):/usr/local/go/bin
LDFLAGS = -s -w -X main.version=$(call checked,$(VERSION))
BUILD = CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)'
GOLANGCI = $(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
# Imports of tests that need root or packages.
PRIVILEGED = nstest|cttest|bustest|apitest|daemontest|x/sys/unix|syscall
# The directory in which package cttest keeps the Debian that it boots.
IMAGES = $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/osctl-eventd-cttest

# checked is a version that is safe in a shell, or else an error: the name of a tag may have
# quotes, $$ and ; in it, and a user who may push a tag must not run commands here.
VERSION_CHARACTERS = a b c d e f g h i j k l m n o p q r s t u v w x y z A B C D E F G H I J K L M N O P Q R S T U V W X Y Z 0 1 2 3 4 5 6 7 8 9 . _ + ~ -
without = $(if $1,$(call without,$(wordlist 2,$(words $1),$1),$(subst $(firstword $1),,$2)),$2)
checked = $(if $(call without,$(VERSION_CHARACTERS),$1)$(filter-out 1,$(words $1)),$(error VERSION, which is the name of a tag where it is not given, has more than letters, digits and ._+~-; give one, as in make VERSION=1.2.3),$(strip $1))

.DEFAULT_GOAL := build
.PHONY: help check-go build run test test-web check soak lint lintian bench fuzz install uninstall deb rpm release man clean

help: ## list the targets, and the variables with their defaults
	@sed -n 's/^\([a-z -]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12
	@sed -n 's/^#? //p' $(MAKEFILE_LIST)

check-go:
	@packaging/dev/check-go.sh '$(GO)'

build: check-go ## build the programs to bin/
	$(BUILD) -o bin/ ./cmd/...

run: check-go ## build, start the daemon on a private bus (or BUS=...), show events as they come
	@packaging/dev/setup.sh run
	@$(MAKE) --no-print-directory build
	@# The script ends with make, however make ends.
	@$$(setpriv --pdeathsig TERM true 2>/dev/null && echo exec setpriv --pdeathsig TERM) packaging/dev/run.sh '$(BUS)'

test: check-go ## all tests, as root: unit, race, kernel, bus, end to end
	@echo 'This takes about 5 minutes on two cores, the first time 10, and keeps a Debian in $(IMAGES), 350 MB, until make clean.'
	@packaging/dev/leftovers.sh sh -ec 'packaging/dev/setup.sh test; set -x; exec env CGO_ENABLED=1 "$$@"' test $(GO) test -race -timeout 20m -p "$$(($$(nproc) * 2))" $(ARGS)

check: check-go ## vet, and the tests that need neither root nor packages: a minute
	$(GO) vet ./...
	$(GO) test -skip '^TestLint$$' $$($(GO) list -f '{{.ImportPath}} {{.TestImports}} {{.XTestImports}}' ./... | grep -vE '$(PRIVILEGED)' | cut -d' ' -f1)

test-web: build ## the page for Cockpit in Chromium, as root; installs 400 MB
	@packaging/dev/setup.sh test-web
	@mkdir -p bin/web
	@! command -v npm >/dev/null || [ -e bin/web/package/axe.min.js ] || (cd bin/web && npm --silent pack axe-core@4.14.1 >/dev/null && tar -xzf axe-core-4.14.1.tgz package/axe.min.js)
	axe='$(CURDIR)/bin/web/package/axe.min.js'; [ -e "$$axe" ] || axe=; \
		OSCTL_EVENTD_TEST_WEB=1 OSCTL_EVENTD_TEST_AXE="$$axe" $(GO) test -count=1 -v -timeout 20m $(WEBARGS) ./cmd/internal/webtest

soak: check-go ## the long form of the tests that kill and stall, for as long as they take
	@packaging/dev/setup.sh test
	GOBIN='$(CURDIR)/bin/soak' $(GO) install github.com/nats-io/nats-server/v2@v2.15.3
	OSCTL_EVENTD_TEST_KILLS=200 NATS_SERVER='$(CURDIR)/bin/soak/nats-server' CGO_ENABLED=1 $(GO) test -race -count=1 -v -timeout 60m ./cmd/osctl-eventd-nats/...
	OSCTL_EVENTD_TEST_KILLS=50 CGO_ENABLED=1 $(GO) test -race -count=1 -v -timeout 60m -run KilledAtAnyInstant ./cmd/osctl-eventd-runtimes
	OSCTL_EVENTD_TEST_KILLS=500 OSCTL_EVENTD_TEST_STALL=60s CGO_ENABLED=1 $(GO) test -race -count=1 -v -timeout 60m -run 'KilledAtAnyInstant|Soak' ./cmd/osctl-eventd ./dbusapi

lint: check-go ## vet, format and the linters
	$(GO) mod verify
	$(GOLANGCI) run --allow-parallel-runners

bench: build ## all benchmarks; claims of speed are ratios measured in one run
	@packaging/dev/setup.sh bench
	$(GO) test -run '^$$' -bench . -benchmem -timeout 60m ./...

fuzz: ## every fuzz target for FUZZTIME each
	@set -e; for dir in $$($(GO) list -f '{{.Dir}}' ./...); do \
		for target in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9]*\)(.*/\1/p' $$dir/*_test.go 2>/dev/null); do \
			echo "== $$target"; $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzzminimizetime 20x -fuzztime $(FUZZTIME) $$dir; \
		done; \
	done

install: build ## install below DESTDIR: programs, unit, bus policy, documentation
	PREFIX='$(PREFIX)' packaging/install.sh install

uninstall: ## remove the files that install installed
	PREFIX='$(PREFIX)' packaging/install.sh uninstall

deb rpm: build ## make packages of osctl-eventd, osctl-eventd-nats and cockpit-osctl-eventd in dist/
	@packaging/dev/setup.sh $@
	rm -f dist/*.$@ dist/SHA256SUMS
	GO='$(GO)' packaging/package.sh $@ '$(PACKAGE_VERSION)'
	GO='$(GO)' packaging/package.sh $@ '$(PACKAGE_VERSION)' osctl-eventd-nats
	packaging/package.sh $@ '$(PACKAGE_VERSION)' cockpit-osctl-eventd

release: build ## tarball, deb, rpm and checksums for all of RELEASE in dist/
	@packaging/dev/setup.sh $@
	rm -rf dist
	set -e; for arch in $(RELEASE); do \
		GOARCH=$$arch $(BUILD) -o dist/build/$$arch/ ./cmd/...; \
		for format in tar deb rpm; do \
			for package in osctl-eventd osctl-eventd-nats; do \
				NATIVE=bin BIN=dist/build/$$arch ARCH=$$arch packaging/package.sh $$format '$(PACKAGE_VERSION)' $$package; \
			done; \
		done; \
	done
	for format in tar deb rpm; do packaging/package.sh $$format '$(PACKAGE_VERSION)' cockpit-osctl-eventd || exit; done
	rm -rf dist/build
	cd dist && sha256sum -- * >SHA256SUMS && cat SHA256SUMS

man: ## regenerate the manual pages, and the pictures
	$(GO) test -count=1 -run 'Interface|ManualPage|Picture|Template' ./packaging/man ./packaging/cockpit ./cmd/osctl-eventd ./cmd/osctl-eventctl ./cmd/osctl-eventd-nats ./cmd/osctl-eventd-runtimes -update
	@if command -v chromium >/dev/null; then \
		OSCTL_EVENTD_TEST_WEB=1 $(GO) test -count=1 -timeout 20m -run Picture ./cmd/internal/webtest -update; \
	else echo 'The pictures of the page for Cockpit stay as they are: make test-web installs what draws them.'; fi

lintian: deb ## check the Debian packages with lintian
	@packaging/dev/setup.sh lintian
	lintian --allow-root --fail-on=error,warning dist/osctl-eventd_$(PACKAGE_VERSION)_$$($(GO) env GOARCH).deb dist/cockpit-osctl-eventd_$(PACKAGE_VERSION)_all.deb

clean: ## remove built files, and the Debian that the tests keep
	rm -rf bin dist '$(IMAGES)'
