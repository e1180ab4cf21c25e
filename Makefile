# One command for each habit; README.md says which one you want.
#
# Every target can be run from a fresh clone: what it needs is installed by `make deps`.

SWIFT ?= swift
PREFIX ?= /usr/local
BUILD := .build
PLATTER := $(BUILD)/release/platter
# The Swift runtime goes into the binary: one file that runs where no Swift is installed, and that
# starts in half the time.
RELEASE := --configuration release --static-swift-stdlib --product platter

.PHONY: deps build test unit integration soak demo bench fuzz lint fmt docs install clean

deps:
	@scripts/install-dependencies

build: deps
	$(SWIFT) build $(RELEASE)

test: deps
	@scripts/test

unit: deps
	$(SWIFT) test

integration: build
	PLATTER=$(PLATTER) integration/run

# The full counts of what `make test` does with samples.
soak: build
	PLATTER_SOAK=1 PLATTER=$(PLATTER) integration/run
	PLATTER_SOAK=1 $(SWIFT) test --filter '[Ff]uzz|Model|PowerCut|Crowd|Fault|Concurrency|HostileVHDXLog|VMDKChain|noise'

demo: build
	@PLATTER=$(PLATTER) scripts/demo

bench: build
	python3 Benchmarks/bench.py --platter $(PLATTER) $(BENCH)

# Mutated images through every parser, with more rounds than `make test` gives them.
fuzz: deps
	PLATTER_SOAK=1 $(SWIFT) test --filter '[Ff]uzz'

lint:
	$(SWIFT) format lint --strict --recursive --parallel Package.swift Sources Tests
	shellcheck scripts/* integration/run .ci/run

fmt:
	$(SWIFT) format --in-place --recursive --parallel Package.swift Sources Tests

# Manual pages, from the same words as each verb's --help.
docs: deps
	mkdir -p $(BUILD)/man
	$(SWIFT) package --disable-sandbox --allow-writing-to-directory $(BUILD)/man \
		generate-manual --multi-page --output-directory $(BUILD)/man

install: build docs
	install -D -m 755 $(PLATTER) $(DESTDIR)$(PREFIX)/bin/platter
	for page in $(BUILD)/man/*.1; do \
		install -D -m 644 "$$page" "$(DESTDIR)$(PREFIX)/share/man/man1/$${page##*/}"; done

clean:
	rm -rf $(BUILD)
