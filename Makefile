# The words people type; `make` alone lists them.
#
# Every cargo call builds for release: the daemon, its tests and its benches then share one build of the
# dependencies, which is where the time goes. CARGO_TARGET_DIR is respected.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# A shell that was open before rustup came does not know its folder yet.
export PATH := $(HOME)/.cargo/bin:$(PATH)
export CARGO_TARGET_DIR := $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)

GUEST := wasm32-wasip2
RUST_VERSION := $(shell sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
# The folder of Kafka's jars; tests/harness/kafka.rs computes the same place.
KAFKA_VERSION := $(shell sed -n 's|.*<kafka.version>\(.*\)</kafka.version>.*|\1|p' tests/kafka/pom.xml)
KAFKA_JARS := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/millrace/kafka-$(KAFKA_VERSION)

# Installs the packages in the shell's array `packages`, if there are any.
define INSTALL_PACKAGES
if [ $${#packages[@]} -gt 0 ]; then
  echo "installing: $${packages[*]}"
  command -v apt-get >/dev/null || { echo "no apt-get here: install these by hand and try again" >&2; exit 1; }
  root=(); if [ "$$(id -u)" -ne 0 ]; then root=(sudo); fi
  "$${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -qq
  "$${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$${packages[@]}"
fi
endef

# $(1): a workspace of plugins; $(2): where its components go, named in kebab case. A component that did
# not change keeps its file, and one that did is replaced in one step: a running host may be reading it.
define BUILD_COMPONENTS
built=$$(cargo build --release --target $(GUEST) --manifest-path $(1)/Cargo.toml --message-format json-render-diagnostics)
mkdir -p $(2)
grep -o '"filenames":\["[^"]*\.wasm"' <<<"$$built" | cut -d '"' -f 4 | while read -r component; do
  name=$$(basename "$$component" | tr _ -)
  if ! cmp -s "$$component" "$(2)/$$name"; then
    cp "$$component" "$(2)/.$$name.new"
    mv "$(2)/.$$name.new" "$(2)/$$name"
  fi
done
endef

.PHONY: help
help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 24

.PHONY: run
run: setup-build plugins build ## try it: everything in one process until Ctrl-C, or for RUN_FOR=20s
	@exec "$(CARGO_TARGET_DIR)/release/millrace" dev $(if $(RUN_FOR),--for $(RUN_FOR))

.PHONY: build
build: ## the host
	@cargo build --release --bin millrace

.PHONY: plugins
plugins: ## the plugins, to plugins/dist/, and those that the tests use
	@$(call BUILD_COMPONENTS,plugins,plugins/dist)
	if [ -f tests/guests/Cargo.toml ]; then
	  $(call BUILD_COMPONENTS,tests/guests,tests/guests/target)
	fi

# The parts of `make test`, in the order in which they find mistakes cheapest.
TEST_PARTS := setup check-format plugins check-clippy check-docs test-unit test-integration

.PHONY: test
test: ## everything that must hold, on a real Apache Kafka; says what each part took
	@table=; failed=
	for part in $(TEST_PARTS); do
	  echo "==> $$part"
	  began=$$SECONDS
	  $(MAKE) $$part || failed=$$part
	  table+=$$(printf '  %-18s %5d s%s' "$$part" $$((SECONDS - began)) "$${failed:+   FAILED}")$$'\n'
	  if [ -n "$$failed" ]; then break; fi
	done
	printf '\nmake test\n%s' "$$table"
	printf '  %-18s %5d s\n' total $$SECONDS
	[ -z "$$failed" ]

.PHONY: lint
lint: check-format check-clippy check-docs ## format, clippy and documentation, warnings being errors

.PHONY: check-format
check-format:
	@cargo fmt --all --check
	for guests in plugins tests/guests; do
	  if [ -f $$guests/Cargo.toml ]; then cargo fmt --all --check --manifest-path $$guests/Cargo.toml; fi
	done

.PHONY: check-clippy
check-clippy:
	@cargo clippy --release --workspace --all-targets -- -D warnings
	for guests in plugins tests/guests; do
	  if [ -f $$guests/Cargo.toml ]; then
	    cargo clippy --release --target $(GUEST) --manifest-path $$guests/Cargo.toml -- -D warnings
	  fi
	done

.PHONY: check-docs
check-docs:
	@RUSTDOCFLAGS="-D warnings" cargo doc --release --workspace --no-deps

.PHONY: test-unit
test-unit: ## the unit tests of the host, the SDK and the plugins; needs neither Kafka nor Java
	@cargo test --release --workspace --lib --bins
	cargo test --release --workspace --doc
	cargo test --release --manifest-path plugins/Cargo.toml --lib

.PHONY: test-integration
test-integration: checker ## the integration tests, on what is built and installed already
	@cargo test --release --workspace --test integration

.PHONY: checker
checker: ## the process that judges the runs of the fault suite
	@cargo build --release --workspace --bin millrace-checker

# Where the long tier leaves its reports; tests/faults/run.rs names the same place.
FAULT_REPORTS := $(CARGO_TARGET_DIR)/release/fault-reports/long

.PHONY: fault
fault: setup-build setup-kafka plugins checker ## the long tier of the fault suite and of reloads, with negative controls; fills docs/reliability.md
	@rm -rf "$(FAULT_REPORTS)"
	export MILLRACE_FAULT_TIER=long
	failed=
	cargo test --release --workspace --test integration -- faults:: reload::flow --test-threads 2 || failed=1
	# This build can break its promises. What is delivered takes its place again afterwards.
	cargo test --release --workspace --features sabotage --test integration faults::controls -- --test-threads 2 || failed=1
	cargo build --release --bin millrace
	machine="$$(nproc) cores, $$(awk '/MemTotal/ { printf "%d GiB", $$2 / 1048576 }' /proc/meminfo), Apache Kafka $(KAFKA_VERSION) beside it"
	"$(CARGO_TARGET_DIR)/release/millrace-checker" table --reports "$(FAULT_REPORTS)" --into docs/reliability.md \
	  --run "Run on $$(date -u +%F): $$machine."
	[ -z "$$failed" ]

.PHONY: bench
bench: setup-build setup-kafka plugins ## throughput on a real Kafka beside a bare consumer loop
	@cargo bench --bench end_to_end

.PHONY: bench-delivery
bench-delivery: setup-build setup-kafka plugins ## what keys that fail cost those that do not, and handlers that wait
	@cargo bench --bench delivery

.PHONY: bench-hostile
bench-hostile: setup-build setup-kafka plugins ## loops on every core beside a healthy topic: latency, health, stalls
	@cargo bench --bench hostile

.PHONY: hostile
hostile: setup-build setup-kafka plugins ## every attack, a thousand damaged components, then the loops with their figures
	@MILLRACE_CORRUPTED=1000 cargo test --release --workspace --test integration hostile:: -- --nocapture --test-threads 1
	$(MAKE) bench-hostile

# Seconds for each target.
FUZZ_FOR ?= 60
FUZZ_TARGETS ?= packed batch config headers commit_map
# Where the inputs are kept that reach something new, and those that break something.
FUZZ_FOUND := $(CARGO_TARGET_DIR)/fuzz

.PHONY: fuzz
fuzz: setup-build ## what reads the bytes of others, FUZZ_FOR=60 seconds for each of FUZZ_TARGETS
	@RUSTC_WRAPPER="$(CURDIR)/fuzz/with-coverage" cargo build --release --manifest-path fuzz/Cargo.toml
	for target in $(FUZZ_TARGETS); do
	  echo "==> $$target"
	  mkdir -p "$(FUZZ_FOUND)/$$target"
	  "$(CARGO_TARGET_DIR)/release/$$target" "$(FUZZ_FOUND)/$$target" "fuzz/seeds/$$target" -max_total_time=$(FUZZ_FOR) \
	    -max_len=65536 -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 -artifact_prefix="$(FUZZ_FOUND)/$$target-"
	done

.PHONY: bench-rivals
bench-rivals: setup plugins ## the same beside franz-go, sarama and kafka-go; needs Go
	cd benches/rivals && go build -o $(CARGO_TARGET_DIR)/rivals .
	MILLRACE_BENCH_RIVALS=$(CARGO_TARGET_DIR)/rivals cargo bench --bench end_to_end

.PHONY: bench-boundary
bench-boundary: setup-build plugins ## what a call into a plugin costs
	@cargo bench --bench boundary

.PHONY: bench-load
bench-load: setup-build plugins ## what loading a plugin from the compile cache takes, and the memory of 500 of them
	@cargo bench --bench load

.PHONY: setup
setup: setup-build setup-lint setup-kafka ## install what is missing: packages, the WebAssembly target, Kafka

.PHONY: setup-build
setup-build:
	@packages=()
	if ! { command -v cc && command -v c++; } >/dev/null; then packages+=(build-essential); fi
	if ! command -v pkg-config >/dev/null; then packages+=(pkg-config); fi
	if ! pkg-config --exists openssl 2>/dev/null; then packages+=(libssl-dev); fi
	if ! pkg-config --exists zlib 2>/dev/null; then packages+=(zlib1g-dev); fi
	$(INSTALL_PACKAGES)
	if ! { command -v cargo || command -v rustup; } >/dev/null; then
	  echo "Rust is missing: install it from https://rustup.rs and try again" >&2; exit 1
	fi
	# rustup from a distribution's package begins without any toolchain.
	rustc --version >/dev/null 2>&1 || rustup default stable
	version=$$(rustc --version | cut -d ' ' -f 2)
	if [ "$$(printf '%s\n' $(RUST_VERSION) "$$version" | sort -V | head -n 1)" != $(RUST_VERSION) ]; then
	  echo "Rust $$version is too old, $(RUST_VERSION) is needed: run 'rustup update stable'" >&2; exit 1
	fi
	[ -d "$$(rustc --print sysroot)/lib/rustlib/$(GUEST)" ] || rustup target add $(GUEST)

.PHONY: setup-lint
setup-lint:
	@cargo fmt --version >/dev/null 2>&1 || rustup component add rustfmt
	cargo clippy --version >/dev/null 2>&1 || rustup component add clippy

.PHONY: setup-kafka
setup-kafka:
	@if [ -n "$${MILLRACE_TEST_BROKERS:-}" ]; then exit 0; fi
	java_version() { java -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p'; }
	packages=()
	if ! command -v java >/dev/null; then packages+=(default-jre-headless); fi
	if [ ! -e "$(KAFKA_JARS)/complete" ] && ! command -v mvn >/dev/null; then packages+=(maven); fi
	$(INSTALL_PACKAGES)
	# Kafka 4 needs Java 17, and some releases have an older one as their default.
	packages=()
	if [ "$$(java_version)" -lt 17 ]; then packages+=(openjdk-17-jre-headless); fi
	$(INSTALL_PACKAGES)
	if [ -e "$(KAFKA_JARS)/complete" ]; then exit 0; fi
	echo "fetching Apache Kafka $(KAFKA_VERSION) from Maven Central to $(KAFKA_JARS)"
	# Filled beside its place and then moved, so that an interrupted download leaves nothing half done.
	mkdir -p "$(dir $(KAFKA_JARS))"
	incoming=$$(mktemp -d "$(KAFKA_JARS).XXXXXX")
	trap 'rm -rf "$$incoming"' EXIT
	mvn --quiet --batch-mode --file tests/kafka/pom.xml dependency:copy-dependencies \
	  -DincludeScope=runtime -DoutputDirectory="$$incoming" </dev/null
	touch "$$incoming/complete"
	chmod 755 "$$incoming"
	rm -rf "$(KAFKA_JARS)"
	mv "$$incoming" "$(KAFKA_JARS)"
