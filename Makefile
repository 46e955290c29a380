# Two commands matter: `make quickstart` shows the whole thing work, `make test` proves it.
# `make check` is the inner loop.

CARGO ?= cargo
# cargo-nextest where it is installed: one process a test, one summary. Else cargo's own runner.
NEXTEST := $(shell $(CARGO) nextest --version >/dev/null 2>&1 && echo yes)

.PHONY: help deps build release quickstart check lint test soak bench clean

help: ## Show the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

deps: ## Install the Debian packages that building and testing needs
	@dev/install-deps.sh

release: deps
	$(CARGO) build --release --locked --package selvage --package selvage-testkit --package quickstart

quickstart: release ## Two hosts, nine workloads, every pair probed (KEEP=1, DATAPLANE=ebpf|ovs|mixed, WORKLOADS=docker)
	@target/release/quickstart $(if $(KEEP),--keep) $(if $(DATAPLANE),--dataplane $(DATAPLANE)) \
		$(if $(WORKLOADS),--workloads $(WORKLOADS))

lint:
	$(CARGO) fmt --all --check
	$(CARGO) xtask codegen-check
	$(CARGO) xtask check-deps
	$(CARGO) xtask tidy
	$(CARGO) clippy --locked --workspace --all-targets -- --deny warnings

check: deps lint ## The inner loop: formatting, lints, unit tests, one packet test
ifeq ($(NEXTEST),yes)
	$(CARGO) nextest run --locked --workspace --profile check
else
	$(CARGO) test --locked --workspace --lib --bins
	$(CARGO) test --locked --package selvage-ebpf --test it matrix
endif

test: deps lint ## Every test: unit, property, scenario, end to end in namespaces
ifeq ($(NEXTEST),yes)
	$(CARGO) nextest run --locked --workspace --profile full
else
	$(CARGO) test --locked --workspace
endif

soak: deps ## What takes long
	SELVAGE_SOAK=1 $(CARGO) test --locked --release --workspace -- --nocapture

bench: deps ## What policy costs: ratios and nanoseconds, with intervals; JSON in target/bench.json
	$(CARGO) build --release --locked --package selvage --package selvage-bench
	@target/release/bench $(BENCH)

clean: ## Remove what building made
	$(CARGO) clean
