# osctl-eventd. `make run` and `make test` are all that a newcomer needs; both install
# what they miss on Debian 12. `make help` lists the rest.

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo 0.0.0-dev)
# The bus that `make run` serves on: private, system, session, or an address.
BUS ?= private
# What `make test` gives to go test, as in: make test ARGS='-run Report ./dbusapi'
ARGS ?= ./...
FUZZTIME ?= 10m
# Where `make install` puts things, below DESTDIR.
PREFIX ?= /usr
# The version of packages: that of a tag, or one below all tags.
PACKAGE_VERSION ?= $(shell packaging/version.sh '$(call checked,$(VERSION))')

GO ?= go
LDFLAGS = -s -w -X main.version=$(call checked,$(VERSION))
GOLANGCI = $(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

# checked is a version that a shell may see, and else an error: the name of a tag may have
# quotes, $$ and ; in it, and whoever may push a tag must not run anything here.
VERSION_CHARACTERS = a b c d e f g h i j k l m n o p q r s t u v w x y z A B C D E F G H I J K L M N O P Q R S T U V W X Y Z 0 1 2 3 4 5 6 7 8 9 . _ + ~ -
without = $(if $1,$(call without,$(wordlist 2,$(words $1),$1),$(subst $(firstword $1),,$2)),$2)
checked = $(if $(call without,$(VERSION_CHARACTERS),$1)$(filter-out 1,$(words $1)),$(error VERSION, which is the name of a tag where it is not given, has more than letters, digits and ._+~-; give one, as in make VERSION=1.2.3),$(strip $1))

.DEFAULT_GOAL := build
.PHONY: help build run test soak lint bench fuzz install uninstall deb rpm man clean

help: ## list the targets
	@sed -n 's/^\([a-z ]*\):.*## /\1\t/p' $(MAKEFILE_LIST)

build: ## build both programs to bin/
	CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)' -o bin/ ./cmd/...

run: ## build, start the daemon on a private bus (or BUS=...), show events as they come
	@packaging/dev/setup.sh run
	@$(MAKE) --no-print-directory build
	@packaging/dev/run.sh '$(BUS)'

test: ## all tests, as root: unit, race, kernel, bus, end to end
	@packaging/dev/setup.sh test
	CGO_ENABLED=1 $(GO) test -race -timeout 20m $(ARGS)

soak: ## the long form of the tests that kill and stall, for as long as they take
	@packaging/dev/setup.sh test
	OSCTL_EVENTD_TEST_KILLS=500 OSCTL_EVENTD_TEST_STALL=60s CGO_ENABLED=1 $(GO) test -race -count=1 -v -timeout 60m -run 'KilledAtAnyInstant|Soak' ./cmd/osctl-eventd ./dbusapi

lint: ## vet, format and the linters
	$(GO) mod verify
	$(GOLANGCI) run

bench: build ## all benchmarks; claims of speed are ratios measured in one run
	@packaging/dev/setup.sh test
	$(GO) test -run '^$$' -bench . -benchmem -timeout 60m ./...

fuzz: ## every fuzz target for FUZZTIME each
	@set -e; for dir in $$($(GO) list -f '{{.Dir}}' ./...); do \
		for target in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9]*\)(.*/\1/p' $$dir/*_test.go 2>/dev/null); do \
			echo "== $$target"; $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzzminimizetime 20x -fuzztime $(FUZZTIME) $$dir; \
		done; \
	done

install: build ## install below DESTDIR: programs, unit, bus policy, documentation
	PREFIX='$(PREFIX)' packaging/install.sh install

uninstall: ## remove what install installed
	PREFIX='$(PREFIX)' packaging/install.sh uninstall

deb rpm: build ## make a package in dist/
	GO='$(GO)' packaging/package.sh $@ '$(PACKAGE_VERSION)'

man: ## write the manual pages anew, and the picture of the live view
	$(GO) test -count=1 -run 'Interface|ManualPage|Picture' ./packaging/man ./cmd/osctl-eventd ./cmd/osctl-eventctl -update

clean: ## remove what was built
	rm -rf bin dist
