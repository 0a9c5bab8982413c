# Tarn. Bare `make` lists what there is.

SHELL := /bin/bash
.DEFAULT_GOAL := help

GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -X main.version=$(VERSION)

export GOFLAGS := -buildvcs=false $(GOFLAGS)
export CGO_ENABLED := 1

# Packages whose goroutines share memory: they also run under the race detector. Those that spend
# their time inside DuckDB are left out: the detector does not see C++ and makes them ten times slower.
RACE := record stream ingest lake metadb project server govern delivery twin engine function table query extract cmd/tarn/internal/feed internal/telemetry internal/child bench/load
RACE_PKGS := $(foreach p,$(RACE),$(if $(wildcard $(p)),./$(p)/...))

STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
FUZZTIME    ?= 10s
ROUNDS      ?= 300
EVENTS      ?= 2000000

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## build bin/tarn
	@$(GO) build -ldflags '$(LDFLAGS)' -o bin/tarn ./cmd/tarn

.PHONY: demo
demo: build ## build, start a lake with the wagon fleet and generate load
	@bin/tarn demo

.PHONY: deps
deps: ## install what the tests need and this machine lacks (Debian: g++, PostgreSQL)
	@.ci/deps

.PHONY: test
test: deps ## all tests a change must pass: vet, unit, script, crash and race tests
	$(GO) vet ./...
	$(GO) test -timeout 10m $$($(GO) list ./... | grep -v internal/crashtest)
	$(GO) test -timeout 10m ./internal/crashtest
	$(GO) test -timeout 10m -short -race $(RACE_PKGS)

.PHONY: test-short
test-short: ## the unit tests only, for the minutes between edits
	$(GO) test -short ./...

.PHONY: lint
lint: ## gofmt, vet and staticcheck
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); \
		if [ -n "$$unformatted" ]; then echo "not gofmt-ed:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...

.PHONY: fuzz
fuzz: ## run every fuzz target for a short while (FUZZTIME=10s each)
	@set -euo pipefail; \
	targets=$$(git grep -Eo '^func Fuzz[A-Za-z0-9_]+' -- '*_test.go' || true); \
	for target in $${targets//func /}; do \
		package=./$$(dirname "$${target%%:*}"); \
		echo "== $$package $${target##*:}"; \
		$(GO) test -run '^$$' -fuzz "^$${target##*:}$$" -fuzztime $(FUZZTIME) "$$package"; \
	done

.PHONY: bench
bench: build ## the benchmark with its ratios (EVENTS=2000000, BENCHFLAGS=--json)
	@bin/tarn bench --events $(EVENTS) $(BENCHFLAGS)

.PHONY: soak
soak: ## kill the server ROUNDS=300 times under load and compare every record; ten minutes at 512 MiB
	TARN_MEMORY_SECONDS=600 $(GO) test -count=1 -timeout 1h -v -run TestMemoryBound ./internal/crashtest
	TARN_CRASH_ROUNDS=$(ROUNDS) $(GO) test -count=1 -timeout 8h -v -run TestCrash ./internal/crashtest

.PHONY: generate
generate: ## rewrite the generated files: the JSON Schema and the reference of projects
	$(GO) generate ./...

.PHONY: check-generated
check-generated: generate ## fail when a generated file differs from what is committed
	@changed=$$(git status --porcelain); \
		if [ -n "$$changed" ]; then echo "make generate changes files; commit them:"; echo "$$changed"; git --no-pager diff; exit 1; fi

.PHONY: clean
clean: ## remove what was built and the data of the demo and the examples
	rm -rf bin demo tarn-demo tarn-data .tarn examples/*/.tarn examples/*/*.json examples/*/*.etag examples/workshop/workshop.db
