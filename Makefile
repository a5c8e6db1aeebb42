# The two commands of the README are `make run` and `make test`. `make help` lists the others.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-builtin-rules

LINT := go tool -modfile=tools/go.mod golangci-lint
FUZZTIME ?= 20s
BENCH ?= .
SCHEDULES ?= 20000
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null)

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9\/-]+:.*## / {printf "%-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: run
run: build ## Build and run the demo: no key, no configuration
	@./midstream serve

.PHONY: cluster
cluster: build ## Run three NATS servers, two gateways and two producers, as deploy/ describes them, to be killed
	@go run ./e2e/cluster/run -binary ./midstream

.PHONY: build
build: ## Build ./midstream
	CGO_ENABLED=0 go build -trimpath -ldflags "-X main.stamped=$(VERSION)" -o midstream .

.PHONY: test
test: ## Run all tests, with the race detector
	go test -race ./...

.PHONY: sim
sim: ## Try SCHEDULES histories under faults on a simulated NATS, on every core (docs/reliability.md)
	go test -c -o .cache/simulation.test ./producers
	cd producers && workers=$$(nproc) && pids=() && for ((i = 0; i < workers; i++)); do \
		SCHEDULES=$$((($(SCHEDULES) + workers - 1) / workers)) GOMAXPROCS=1 GOGC=400 \
		../.cache/simulation.test -test.run '^TestSimulation$$' -test.v -test.timeout 0 & pids+=($$!); \
	done; failed=0; for pid in "$${pids[@]}"; do wait "$$pid" || failed=1; done; exit $$failed

.PHONY: lint
lint: ## Run the linter that tools/go.mod pins
	GOLANGCI_LINT_CACHE=$(CURDIR)/.cache/golangci-lint $(LINT) run ./...
	go mod verify
	go mod tidy -diff

.PHONY: e2e
e2e: ## Run the built binary against real clients, models, MCP servers and a browser
	$(MAKE) -C e2e setup
	go test -tags e2e -count=1 -p 1 -parallel 4 $$(go list -tags e2e ./e2e/... | grep -v /e2e/chaos)

.PHONY: chaos
chaos: ## Kill, pause, cut off and power down real processes under load (SEED=n plays a story's faults again)
	go test -tags e2e -count=1 ./e2e/chaos/check ./e2e/chaos/powercut ./e2e/chaos/rig
	go test -tags e2e -count=1 -timeout 20m -v ./e2e/chaos $(if $(STORY),-run '^TestChaos_$(STORY)$$') $(if $(SEED),-seed $(SEED))

.PHONY: check
check: test sim lint chaos e2e ## Everything that CI runs

.PHONY: bench
bench: build ## Run the benchmarks of the packages (BENCH=name runs some), then the built binary's under both fsync policies
	go test -run '^$$' -bench '$(BENCH)' -benchmem ./...
	go run ./e2e/bench -binary ./midstream -sync 1s
	go run ./e2e/bench -binary ./midstream -sync always

.PHONY: fuzz
fuzz: ## Fuzz each target for FUZZTIME
	@for package in $$(go list ./...); do \
		for target in $$(go test -list '^Fuzz' "$$package" | grep '^Fuzz' || true); do \
			go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) "$$package"; \
		done; \
	done

.PHONY: nightly
nightly: ## What is too slow for CI: a real model, a million schedules, longer fuzzing
	$(MAKE) -C e2e nightly
	go test -tags 'e2e nightly' -count=1 -p 1 -timeout 60m $$(go list -tags 'e2e nightly' ./e2e/... | grep -v /e2e/chaos)
	go test -tags 'e2e nightly' -count=1 -timeout 6h -v ./e2e/chaos
	$(MAKE) sim SCHEDULES=1000000
	$(MAKE) fuzz FUZZTIME=5m

.PHONY: generate
generate: ## Write anew what is made from the code
	go test . -run 'TestExample|TestReadme|TestUsage' -update
	go test ./schema -run TestCanonicalOrder -update
