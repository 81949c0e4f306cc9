# Every target is listed by `make help`, from the `##` behind it.
.DEFAULT_GOAL := help
CARGO ?= cargo
# Anything for the demo itself: make demo ARGS="--tenants 10 --for 2m"
ARGS ?=

SOAK_SEEDS ?= 20
# With what settles and is checked afterwards, about half a minute for each seed.
SOAK_SECONDS ?= 20
# Of `make kills`; each takes some seconds for each kind.
ROUNDS ?= 20

.PHONY: demo test soak kills lint fmt deny bench package clean help

demo: ## The main job on private, throwaway Postgres servers; ends by verifying every copy (ARGS="--for 2m --tenants 5")
	@scripts/ensure-postgres
	$(CARGO) run --locked --release --package offtake -- demo $(ARGS)

# The end-to-end tests start target/debug/offtake, which a test build alone does not make.
test: ## Everything: units, loops against real databases, the real binary end to end
	@scripts/ensure-postgres
	$(CARGO) build --locked --workspace --bins
	@if $(CARGO) nextest --version >/dev/null 2>&1; then \
	  echo "$(CARGO) nextest run --locked --workspace"; $(CARGO) nextest run --locked --workspace; \
	else \
	  echo "$(CARGO) test --locked --workspace"; $(CARGO) test --locked --workspace; \
	fi

soak: ## A quarter of an hour of the long forms, and of random writes and random faults, a world per seed (SOAK_SEEDS=20 SOAK_SECONDS=20; OFFTAKE_SEED=n: that one)
	@scripts/ensure-postgres
	$(CARGO) build --locked --workspace --bins
	OFFTAKE_SOAK=1 $(CARGO) test --locked --package offtake-tests --test audit --test crashes --test debts --test deployment --test exports --test groups --test order --test huge_rows --test kinds --test no_harm --test remedies --test shared_database --test verify --test verify_at_scale
	OFFTAKE_SOAK_SEEDS=$(SOAK_SEEDS) OFFTAKE_SOAK_SECONDS=$(SOAK_SECONDS) \
	  $(CARGO) test --locked --package offtake-tests --test isolation -- for_long --nocapture

kills: ## Daemons killed with SIGKILL at any moment, while they write to each kind of destination (ROUNDS=20)
	@scripts/ensure-postgres
	$(CARGO) build --locked --workspace --bins
	OFFTAKE_SOAK_ROUNDS=$(ROUNDS) $(CARGO) test --locked --package offtake-tests --test kinds -- for_long --nocapture --test-threads 1

lint: ## Formatting and clippy, as CI runs them
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings

fmt: ## Format the code
	$(CARGO) fmt --all

deny: ## Advisories, licences and sources of the dependencies (needs cargo-deny: cargo install --locked cargo-deny)
	$(CARGO) deny --locked check --hide-inclusion-graph

bench: ## Speed and cost beside built-in logical replication (ARGS="--only update,idle", "--list", "--json FILE", "--compare FILE"; "--save" writes docs/benchmarks.md)
	@scripts/ensure-postgres
	$(CARGO) build --locked --release --package offtake --bin offtake
	$(CARGO) run --locked --release --package offtake-tests --bin bench -- $(ARGS)

package: ## The Debian packages of a release build, in target/debian (needs binutils)
	$(CARGO) build --locked --release --package offtake --bin offtake
	scripts/build-deb

clean: ## Remove what was built
	$(CARGO) clean

help: ## This list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
