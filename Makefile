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
# The schema registry's own; tests/harness/schema_registry.rs computes the same place.
APICURIO_VERSION := $(shell sed -n 's|.*<apicurio.version>\(.*\)</apicurio.version>.*|\1|p' tests/schema-registry/pom.xml)
APICURIO := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/millrace/apicurio-$(APICURIO_VERSION)
# What plugins in other languages are built with; tests/authoring.rs computes the same place. The
# versions are pinned in sdk/toolchains.
TOOLCHAINS := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/millrace/toolchains

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

# Requests of each kind and operation.
CONTRACT_EXAMPLES ?= 3000

.PHONY: contract
contract: setup-build setup-kafka setup-clients plugins ## requests made out of the OpenAPI document, CONTRACT_EXAMPLES of each kind, others each time
	@export MILLRACE_CONTRACT_EXAMPLES=$(CONTRACT_EXAMPLES) MILLRACE_CONTRACT_SEED=$${MILLRACE_CONTRACT_SEED:-$$RANDOM}
	echo "seed $$MILLRACE_CONTRACT_SEED"
	cargo test --release --workspace --test integration http_gateway::contract -- --nocapture

.PHONY: bench
bench: setup-build setup-kafka plugins ## throughput on a real Kafka: beside a bare consumer loop, and of the gateways beside a bare producer
	@cargo bench --bench end_to_end --bench ingest

.PHONY: bench-ingest
bench-ingest: setup-build setup-kafka ## what the gateways take in, beside a bare producer on the same Kafka
	@cargo bench --bench ingest

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
FUZZ_TARGETS ?= packed batch config headers commit_map schemas
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

.PHONY: bench-ingest-doors
bench-ingest-doors: setup-build setup-kafka ## what 2 000 slow connections cost a good client of the gateway
	@cargo bench --bench ingest_doors

.PHONY: bench-page
bench-page: setup-build setup-kafka plugins ## how long the admin page waits with 1 000 partitions and 100 000 dead letters
	@cargo bench --bench page

.PHONY: bench-rivals
bench-rivals: setup plugins ## the same beside franz-go, sarama and kafka-go; needs Go
	cd benches/rivals && go build -o $(CARGO_TARGET_DIR)/rivals .
	MILLRACE_BENCH_RIVALS=$(CARGO_TARGET_DIR)/rivals cargo bench --bench end_to_end

.PHONY: bench-boundary
bench-boundary: setup-build plugins ## what a call into a plugin costs
	@cargo bench --bench boundary

.PHONY: bench-validation
bench-validation: setup-build ## what checking an event against schemas costs
	@cargo bench --bench validation

.PHONY: bench-load
bench-load: setup-build plugins ## what loading a plugin from the compile cache takes, and the memory of 500 of them
	@cargo bench --bench load

.PHONY: bench-languages
bench-languages: setup-build setup-languages ## what a plugin costs in each language; fills the table of docs/languages.md
	@cargo bench --bench languages

VERSION := $(shell sed -n '/^\[workspace.package\]/,/^$$/s/^version = "\(.*\)"/\1/p' Cargo.toml)
RELEASE_NAME := millrace-$(VERSION)-$(shell uname -m)-linux-gnu
# Everything in an archive carries the time of the commit, so that the same commit makes the same archive.
SOURCE_DATE_EPOCH = $(shell git log -1 --format=%ct)

.PHONY: release
release: setup-build plugins ## an archive, the chart, a bill of materials and their checksums, to dist/
	@command -v python3 objcopy >/dev/null || { echo "python3 and binutils are needed" >&2; exit 1; }
	rm -rf dist
	mkdir -p "dist/$(RELEASE_NAME)"
	# OpenSSL and zlib go into the binary; what is left is glibc, which librdkafka and the name service need. A folder
	# of its own, because what links them otherwise would be built anew with each change of mind.
	# Where OpenSSL stands must be said: what is found by pkg-config below /usr is never linked into a binary.
	OPENSSL_STATIC=1 OPENSSL_LIB_DIR="$$(pkg-config --variable=libdir openssl)" \
	  OPENSSL_INCLUDE_DIR="$$(pkg-config --variable=includedir openssl)" LIBZ_SYS_STATIC=1 \
	  CARGO_TARGET_DIR="$(CARGO_TARGET_DIR)/portable" \
	  cargo build --release --locked --bin millrace
	objcopy --strip-debug "$(CARGO_TARGET_DIR)/portable/release/millrace" "dist/$(RELEASE_NAME)/millrace"
	needed=$$(objdump -p "dist/$(RELEASE_NAME)/millrace" | awk '$$1 == "NEEDED" { print $$2 }')
	if others=$$(grep -v -E '^(libc|libm|libgcc_s|libpthread|libdl|librt|ld-linux-[a-z0-9-]*)\.so' <<<"$$needed"); then
	  echo "the binary needs more than glibc: $$others" >&2; exit 1
	fi
	SOURCE_DATE_EPOCH=$(SOURCE_DATE_EPOCH) deploy/release/bill_of_materials.py "$$(rustc -vV | sed -n 's/^host: //p')" \
	  > "dist/millrace-$(VERSION).cdx.json"
	cp "dist/millrace-$(VERSION).cdx.json" "dist/$(RELEASE_NAME)/millrace.cdx.json"
	install -D -m 0644 -t "dist/$(RELEASE_NAME)/plugins" plugins/dist/*.wasm
	cp -r LICENSE README.md CHANGELOG.md SECURITY.md docs wit proto "dist/$(RELEASE_NAME)/"
	mkdir -p "dist/$(RELEASE_NAME)/deploy"
	cp -r deploy/systemd deploy/prometheus deploy/grafana deploy/millrace.yaml "dist/$(RELEASE_NAME)/deploy/"
	tar --sort=name --owner=0 --group=0 --numeric-owner --mtime=@$(SOURCE_DATE_EPOCH) -C dist -c "$(RELEASE_NAME)" \
	  | gzip -n -9 > "dist/$(RELEASE_NAME).tar.gz"
	rm -rf "dist/$(RELEASE_NAME)"
	# The chart reads the rules and dashboards by links, and takes what they lead to.
	tar --sort=name --owner=0 --group=0 --numeric-owner --mtime=@$(SOURCE_DATE_EPOCH) -C deploy/helm --dereference \
	  --exclude=ci -c millrace | gzip -n -9 > "dist/millrace-chart-$(VERSION).tgz"
	sed -n '/^## \[$(VERSION)\]/,/^## /p' CHANGELOG.md | sed '1d;/^## /d' > dist/NOTES.md
	cd dist && sha256sum ./*.tar.gz ./*.tgz ./*.json | sed 's| \./| |' | tee SHA256SUMS

.PHONY: check-release
check-release: ## whether the tag TAG=vX.Y.Z is the version of the source, and has its changes written down
	@[ "$(TAG)" = "v$(VERSION)" ] || { echo "the tag is $(TAG), and Cargo.toml has the version $(VERSION)" >&2; exit 1; }
	for version in version appVersion; do
	  grep -qx "$$version: $(VERSION)" deploy/helm/millrace/Chart.yaml \
	    || { echo "deploy/helm/millrace/Chart.yaml has another $$version than $(VERSION)" >&2; exit 1; }
	done
	grep -q '^## \[$(VERSION)\]' CHANGELOG.md || { echo "CHANGELOG.md has no section '## [$(VERSION)]'" >&2; exit 1; }

.PHONY: transcripts
transcripts: setup-build setup-languages ## from nothing to an event in each language, as it is typed and printed
	@cargo test --release --workspace --test integration authoring::transcript
	for language in rust c go js ts python; do
	  printf '\n=== %s\n' "$$language"
	  cat "$(CARGO_TARGET_DIR)/tmp/transcripts/$$language.txt"
	done

.PHONY: setup
setup: setup-build setup-lint setup-kafka setup-schema-registry setup-registry setup-languages setup-clients setup-deploy setup-browser ## install what is missing: packages, the WebAssembly target, Kafka

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

.PHONY: setup-registry
setup-registry:
	@packages=()
	if ! command -v docker-registry >/dev/null; then packages+=(docker-registry); fi
	$(INSTALL_PACKAGES)

.PHONY: setup-kafka
setup-kafka:
	@if [ -n "$${MILLRACE_TEST_BROKERS:-}" ]; then exit 0; fi
	java_version() { java -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p'; }
	packages=()
	# The compiler too: a test runs a program of Kafka's own client from its source.
	if ! java --list-modules 2>/dev/null | grep -q jdk.compiler; then packages+=(default-jdk-headless); fi
	if [ ! -e "$(KAFKA_JARS)/complete" ] && ! command -v mvn >/dev/null; then packages+=(maven); fi
	$(INSTALL_PACKAGES)
	# Kafka 4 needs Java 17, and some releases have an older one as their default.
	packages=()
	if [ "$$(java_version)" -lt 17 ]; then packages+=(openjdk-17-jdk-headless); fi
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

.PHONY: setup-schema-registry
setup-schema-registry:
	@pins=$$(cat tests/schema-registry/pom.xml tests/schema-registry/python.txt | sha256sum)
	if [ "$$(cat "$(APICURIO)/complete" 2>/dev/null)" = "$$pins" ]; then exit 0; fi
	packages=()
	if ! command -v java >/dev/null; then packages+=(default-jre-headless); fi
	if ! command -v mvn >/dev/null; then packages+=(maven); fi
	if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then packages+=(python3-venv); fi
	$(INSTALL_PACKAGES)
	echo "fetching the Apicurio schema registry $(APICURIO_VERSION) from Maven Central to $(APICURIO)"
	# Filled beside its place and then moved, so that an interrupted download leaves nothing half done.
	mkdir -p "$(dir $(APICURIO))"
	incoming=$$(mktemp -d "$(APICURIO).XXXXXX")
	trap 'rm -rf "$$incoming"' EXIT
	mvn --quiet --batch-mode --file tests/schema-registry/pom.xml dependency:copy \
	  -DoutputDirectory="$$incoming" </dev/null
	tar -xzf "$$incoming"/apicurio-registry-app-*.tar.gz -C "$$incoming"
	rm "$$incoming"/*.tar.gz
	# Other people's codecs. An environment cannot be moved, so it is made in its last place.
	rm -rf "$(APICURIO)-python"
	python3 -m venv "$(APICURIO)-python"
	"$(APICURIO)-python/bin/pip" install --quiet --disable-pip-version-check --requirement tests/schema-registry/python.txt
	echo "$$pins" > "$$incoming/complete"
	chmod 755 "$$incoming"
	rm -rf "$(APICURIO)"
	mv "$$incoming" "$(APICURIO)"

# $(1): the name of a folder of tools; $(2): the file that names or pins what is in it; $(3): what fills the
# folder "$$incoming". The name is a link to a folder that holds one version of the file, set when that is filled:
# an interrupted download is never taken for a toolchain.
define INSTALL_TOOLCHAIN
version=$(1)-$$(sha256sum < $(2) | cut -c 1-12)
if [ "$$(readlink "$(TOOLCHAINS)/$(1)")" != "$$version" ] || [ ! -e "$(TOOLCHAINS)/$(1)/complete" ]; then
  echo "fetching what $(2) names to $(TOOLCHAINS)/$(1)"
  incoming="$(TOOLCHAINS)/$$version"
  rm -rf "$$incoming"
  mkdir -p "$$incoming"
  $(3)
  touch "$$incoming/complete"
  ln -sfn "$$version" "$(TOOLCHAINS)/.$(1).new"
  mv -fT "$(TOOLCHAINS)/.$(1).new" "$(TOOLCHAINS)/$(1)"
  find "$(TOOLCHAINS)" -maxdepth 1 -type d -name '$(1)-*' ! -name "$$version" -exec rm -rf {} +
fi
endef

define INSTALL_FROM_PYPI
python3 -m venv "$$incoming"
"$$incoming/bin/pip" install --quiet --disable-pip-version-check --requirement sdk/toolchains/python.txt
# zig compiles the C library the first time that it is linked, and keeps it.
echo 'int nothing(void) { return 0; }' | "$$incoming/bin/python-zig" cc --target=wasm32-wasi -mexec-model=reactor \
  -std=c11 -O2 -x c -o "$$incoming/first.wasm" -
endef

define INSTALL_FROM_NPM
cp sdk/toolchains/package.json "$$incoming"
npm --prefix "$$incoming" --loglevel error --no-fund --no-audit --no-package-lock install
endef

define INSTALL_CLIENTS
python3 -m venv "$$incoming"
"$$incoming/bin/pip" install --quiet --disable-pip-version-check --requirement tests/clients/requirements.txt
endef

.PHONY: setup-browser
setup-browser: ## the browser that the page is tested in, and what tells it what to do
	@packages=()
	if ! command -v chromium >/dev/null; then packages+=(chromium); fi
	if ! command -v chromedriver >/dev/null; then packages+=(chromium-driver); fi
	$(INSTALL_PACKAGES)

.PHONY: screenshots
screenshots: setup-build setup-kafka setup-browser plugins ## the page as it is now, into docs/images
	@MILLRACE_SCREENSHOTS="$(CURDIR)/docs/images" cargo test --release --workspace --test integration -- admin::page bad_night

# From a module of its own, because what Jaeger replaces in its own module keeps `go install` from building it.
define BUILD_JAEGER
go -C tests/jaeger build -trimpath -ldflags '-s -w' -o "$$incoming/jaeger" github.com/jaegertracing/jaeger/cmd/all-in-one
endef

.PHONY: setup-jaeger
setup-jaeger: ## a Jaeger for `make traces`, built from its source in some minutes; no part of `make setup`
	@packages=()
	if ! command -v go >/dev/null; then packages+=(golang-go); fi
	$(INSTALL_PACKAGES)
	$(call INSTALL_TOOLCHAIN,jaeger,tests/jaeger/go.sum,$(BUILD_JAEGER))

.PHONY: traces
traces: setup-build setup-kafka setup-jaeger plugins ## whether a real Jaeger shows what a host sends by OTLP, over gRPC and HTTP
	@MILLRACE_TEST_JAEGER=1 cargo test --release --workspace --test integration spans::jaeger

.PHONY: setup-clients
setup-clients: ## clients of strangers that the HTTP gateway is tested with: the CloudEvents SDK, and schemathesis
	@packages=()
	if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then packages+=(python3-venv); fi
	$(INSTALL_PACKAGES)
	$(call INSTALL_TOOLCHAIN,clients,tests/clients/requirements.txt,$(INSTALL_CLIENTS))

.PHONY: setup-languages
setup-languages: ## the tools for plugins in JavaScript, TypeScript, Python, Go and C, for their tests
	@packages=()
	if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then packages+=(python3-venv); fi
	if ! command -v npm >/dev/null; then packages+=(nodejs npm); fi
	if ! command -v go >/dev/null; then packages+=(golang-go); fi
	$(INSTALL_PACKAGES)
	$(call INSTALL_TOOLCHAIN,python,sdk/toolchains/python.txt,$(INSTALL_FROM_PYPI))
	$(call INSTALL_TOOLCHAIN,npm,sdk/toolchains/package.json,$(INSTALL_FROM_NPM))

# Unpacked and not installed: installing the package would start a service on the machine of whoever tests.
define UNPACK_FROM_DEBIAN
names=$$(cat deploy/tools/debian.txt)
[ -n "$$(apt-cache madison $$names 2>/dev/null)" ] || { [ "$$(id -u)" -eq 0 ] && apt-get update -qq || sudo apt-get update -qq; }
(cd "$$incoming" && apt-get download -qq $$names 2>/dev/null && for package in *.deb; do dpkg-deb -x "$$package" . && rm "$$package"; done)
endef

define INSTALL_FROM_GO
go_version=$$(go env GOVERSION | sed 's/^go//')
if [ "$$(printf '%s\n' 1.21 "$$go_version" | sort -V | head -n 1)" != 1.21 ]; then
  echo "Go $$go_version is too old to fetch what helm is built with, 1.21 is needed: install it from https://go.dev/dl" >&2; exit 1
fi
while read -r tool; do CGO_ENABLED=0 GOFLAGS=-trimpath GOBIN="$$incoming" go install "$$tool"; done < deploy/tools/go.txt
endef

define INSTALL_MANIFEST_CHECK
python3 -m venv "$$incoming"
"$$incoming/bin/pip" install --quiet --disable-pip-version-check --requirement deploy/tools/python.txt
endef

.PHONY: setup-deploy
setup-deploy: ## what checks the files below deploy/ and .github/: Prometheus, helm, Kubernetes' schemas, actionlint, systemd
	@packages=()
	if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then packages+=(python3-venv); fi
	if ! command -v go >/dev/null; then packages+=(golang-go); fi
	if ! command -v systemd-analyze >/dev/null; then packages+=(systemd); fi
	$(INSTALL_PACKAGES)
	command -v apt-get >/dev/null || { echo "no apt-get here: Debian's prometheus cannot be fetched" >&2; exit 1; }
	$(call INSTALL_TOOLCHAIN,prometheus,deploy/tools/debian.txt,$(UNPACK_FROM_DEBIAN))
	$(call INSTALL_TOOLCHAIN,deploy,deploy/tools/go.txt,$(INSTALL_FROM_GO))
	$(call INSTALL_TOOLCHAIN,manifests,deploy/tools/python.txt,$(INSTALL_MANIFEST_CHECK))
