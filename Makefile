.DEFAULT_GOAL := help
.PHONY: help up test check guard soak package bench bench-document fuzz mutants dashboards dashboards-json deny

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

up: ## run the whole bundle locally until Ctrl-C (PORT, INDEX_PORT, DYNAMODB_PORT, METRICS_TOKEN, CONCURRENCY, PERSIST=1; OBSERVE=1 adds dashboards, PROMETHEUS_PORT)
	@scripts/up

test: ## run every check and test
	@scripts/test

check: ## check formatting and lints
	@scripts/check

guard: ## count the instructions of a scrape, a publish and an encode, and compare with the stored counts (UPDATE=1 stores new ones)
	@scripts/guard

soak: ## run clients while everything fails in turn (SOAK_DURATION=10m, SOAK_SEED); compare latency with metrics on and off (LATENCY_DURATION=30s, LATENCY_RATE=5 a second); run the long fleet test (FLEET_REQUESTS=20000, FLEET_ENVIRONMENTS=200, FLEET_SEED), the larger model checks and more
	@scripts/soak

package: ## build the release artifacts into target/package (ARCHITECTURES="arm64 x86_64")
	@scripts/package

bench: ## measure the costs of this project and of the usual alternatives (PARTS="scrape publish ..."; 10 minutes for all)
	@scripts/bench $(PARTS)

bench-document: ## write BENCHMARKS.md from the results of make bench
	@scripts/bench-document --write

fuzz: ## fuzz the decoding of the stats table's items, events and tokens, guided by coverage (FUZZ_RUNS=1000000 each)
	@scripts/fuzz

mutants: ## mutate the code that exactness depends on, and see that a test fails for each mutant (hours)
	@scripts/mutants

dashboards: ## run an incident, compare panels and alerts with what was sent, and draw the pictures (5 minutes)
	@scripts/dashboards

dashboards-json: ## write the dashboards' JSON from their code
	@scripts/dashboards-json

deny: ## check the licenses and sources of all dependencies (takes minutes the first time, to build cargo-deny)
	@scripts/deny
