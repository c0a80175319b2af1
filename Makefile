.DEFAULT_GOAL := help
.PHONY: help up test check soak package bench fuzz dashboards dashboards-json

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

up: ## run the whole bundle here until Ctrl-C (PORT, INDEX_PORT, DYNAMODB_PORT, METRICS_TOKEN, CONCURRENCY, PERSIST=1; OBSERVE=1 with dashboards, PROMETHEUS_PORT)
	@scripts/up

test: ## run every check and test
	@scripts/test

check: ## check formatting and lints
	@scripts/check

soak: ## clients while everything fails in turn (SOAK_DURATION=10m, SOAK_SEED); compare latency with metrics on and off (LATENCY_DURATION=30s, LATENCY_RATE=5 a second); the long fleet test (FLEET_REQUESTS=20000, FLEET_ENVIRONMENTS=200, FLEET_SEED); the larger model checks
	@scripts/soak

package: ## build the release artifacts into target/package (ARCHITECTURES="arm64 x86_64")
	@scripts/package

bench: ## start the release artifacts under an emulator of Lambda, and measure start, memory and latency beside Node (3 minutes)
	@scripts/bench

fuzz: ## fuzz the reading of the stats table's items, events and tokens, guided by coverage (FUZZ_SECONDS=60 each)
	@scripts/fuzz

dashboards: ## run an incident, compare every panel and alert with what was sent, and draw the pictures (5 minutes)
	@scripts/dashboards

dashboards-json: ## write the dashboards' JSON from their code
	@scripts/dashboards-json
