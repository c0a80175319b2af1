.DEFAULT_GOAL := help
.PHONY: help up test check guard soak package bench bench-document fuzz mutants dashboards dashboards-json deny

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

up: ## run the whole bundle here until Ctrl-C (PORT, INDEX_PORT, DYNAMODB_PORT, METRICS_TOKEN, CONCURRENCY, PERSIST=1; OBSERVE=1 with dashboards, PROMETHEUS_PORT)
	@scripts/up

test: ## run every check and test
	@scripts/test

check: ## check formatting and lints
	@scripts/check

guard: ## count the instructions of a scrape, a publish and an encode, and compare them with what they were (UPDATE=1 notes them)
	@scripts/guard

soak: ## clients while everything fails in turn (SOAK_DURATION=10m, SOAK_SEED); compare latency with metrics on and off (LATENCY_DURATION=30s, LATENCY_RATE=5 a second); the long fleet test (FLEET_REQUESTS=20000, FLEET_ENVIRONMENTS=200, FLEET_SEED); the larger model checks
	@scripts/soak

package: ## build the release artifacts into target/package (ARCHITECTURES="arm64 x86_64")
	@scripts/package

bench: ## measure what this project costs beside what one would take instead (PARTS="scrape publish ...", all in 12 minutes)
	@scripts/bench $(PARTS)

bench-document: ## write BENCHMARKS.md from what make bench has measured
	@scripts/bench-document --write

fuzz: ## fuzz the reading of the stats table's items, events and tokens, guided by coverage (FUZZ_SECONDS=60 each)
	@scripts/fuzz

mutants: ## change the code that exactness stands on, one place after the other, and see a test fail each time (hours)
	@scripts/mutants

dashboards: ## run an incident, compare every panel and alert with what was sent, and draw the pictures (5 minutes)
	@scripts/dashboards

dashboards-json: ## write the dashboards' JSON from their code
	@scripts/dashboards-json

deny: ## check the licences and sources of all dependencies (minutes the first time, to build cargo-deny)
	@scripts/deny
