# The two commands: `make demo` shows spark at work, `make test` proves it. Each does all the set-up it needs.
SHELL := /bin/bash
.DELETE_ON_ERROR:
.PHONY: demo test check soak sqlx release setup setup-test

CARGO ?= cargo
DEMO_DIR ?= $(CURDIR)/.spark
LISTEN ?= 127.0.0.1:8080
# Queries are checked against the committed descriptions in .sqlx; `make sqlx` writes them anew.
export SQLX_OFFLINE ?= true

demo: setup ## Build, make a pretend stream, import it, show its reels; ONCE=1 stops after checking them
	$(CARGO) build --locked
	target/debug/spark rehearse --data "$(DEMO_DIR)" --listen $(LISTEN) $(if $(ONCE),--once)

test: setup-test ## Build and pass all tests
	$(CARGO) fmt --check
	$(CARGO) test --locked --no-fail-fast

check: setup-test ## The lints
	$(CARGO) clippy --locked -- -D warnings
	$(CARGO) clippy --locked --all-targets -- -D warnings -A clippy::unwrap-used

soak: setup-test ## The long drills and benchmarks at full length; goes on where it stopped; figures into bench/RESULTS.md
	deploy/dev/soak

sqlx: setup-test ## Describe the queries anew, against a scratch database of the present migrations
	deploy/dev/describe-queries

release: setup ## What a villa runs
	$(CARGO) build --locked --release

setup:
	@deploy/dev/setup run

setup-test:
	@deploy/dev/setup test
