# Millrace. `make help` lists what there is; whatever CI does is a target here.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

MODULES  := pkg services/api services/scheduler services/controller services/kubelet services/proxy cli test
PACKAGES := $(MODULES:%=./%/...)
BIN      := bin
TOOLS    := $(BIN)/golangci-lint $(BIN)/gotestsum
COMMANDS := ./cli/cmd/... $(MODULES:services/%=./services/%/cmd/...) ./test/images/cmd/...
COMMANDS := $(filter %/cmd/...,$(COMMANDS))

# Of semver.org, after a v: of the tag, or what the working tree is called that has none behind it.
VERSION  := $(or $(shell git describe --tags --match 'v[0-9]*' --dirty 2>/dev/null),v0.0.0-dev+$(or $(shell git describe --always --dirty 2>/dev/null),unknown))
LDFLAGS  := -s -w -X millrace.dev/pkg/version.release=$(VERSION)

# Packages that meet the services only as binaries; all others are tested with the race detector.
SCENARIOS := ./test/script/... ./test/scenario/... ./test/chaos/...
GOTESTSUM := $(BIN)/gotestsum --format pkgname-and-test-fails --format-hide-empty-pkg

.PHONY: help
help: ## what each target does
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  %-10s %s\n", $$1, $$2}'

.PHONY: up
up: ## install what is missing, build, start a cluster on this machine and run a first application
	@tools/dev/prerequisites run
	@$(MAKE) --no-print-directory bin
	@tools/dev/up

.PHONY: down
down: ## stop that cluster and leave nothing behind
	@tools/dev/down

.PHONY: bin
bin: ## the programs of this machine, into bin/
	@mkdir -p $(BIN)
	@CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN)/ $(COMMANDS)

.PHONY: build
build: bin ## the programs, each module by itself, and everything for amd64 and arm64
	@for m in $(MODULES); do for arch in amd64 arm64; do \
		echo "build $$m $$arch"; (cd $$m && GOWORK=off CGO_ENABLED=0 GOARCH=$$arch go build -trimpath ./...); done; done
	@echo "build the command line for darwin"; cd cli && GOWORK=off CGO_ENABLED=0 GOOS=darwin go build -trimpath -o /dev/null ./cmd/millrace

.PHONY: images
images: ## the small images that tests run, made from Debian packages and our own programs
	@go run ./test/images/cmd/millrace-testimages build

.PHONY: test
test: ## install what is missing and run every test: race, e2e
	@tools/dev/prerequisites test
	@$(MAKE) --no-print-directory race e2e

.PHONY: race
race: $(BIN)/gotestsum ## every test beside the code, with the race detector
	@mkdir -p .cache
	@$(GOTESTSUM) --jsonfile-timing-events .cache/race.json -- -race -shuffle=on \
		$$(go list $(PACKAGES) | grep -vE '^millrace.dev/test/(script|scenario|chaos)(/|$$)')
	@tools/dev/skips race

.PHONY: e2e
e2e: $(BIN)/gotestsum bin images ## user stories with the built programs: the CLI's scripts, scenarios on real containers, chaos
	@mkdir -p .cache
	@MILLRACE_BIN=$(CURDIR)/$(BIN) $(GOTESTSUM) --jsonfile-timing-events .cache/e2e.json -- -count=1 -p 1 -timeout 20m $(SCENARIOS)
	@tools/dev/skips e2e

.PHONY: bench
bench: bin images ## the budgets of the design, measured on this machine
	@MILLRACE_BIN=$(CURDIR)/$(BIN) go test -run '^$$' -bench . -benchtime 1x -timeout 20m ./test/perf

.PHONY: ci
ci: export MILLRACE_REQUIRE := all
ci: lint build test ## what must pass before a change lands

.PHONY: lint
lint: $(BIN)/golangci-lint ## every linter, and nothing that fmt, tidy or gen would change
	@$(BIN)/golangci-lint run $(PACKAGES)
	@$(BIN)/golangci-lint fmt --diff $(PACKAGES)
	@go run ./test/arch/cmd/gendocs -check
	@for m in $(MODULES) tools; do (cd $$m && GOWORK=off go mod tidy -diff); done

.PHONY: fmt
fmt: $(BIN)/golangci-lint ## format everything
	@$(BIN)/golangci-lint fmt $(PACKAGES)

.PHONY: gen
gen: ## write the documents that follow from the code: docs/events.md, docs/metrics.md
	@go run ./test/arch/cmd/gendocs

.PHONY: tidy
tidy: ## go mod tidy, each module by itself
	@for m in $(MODULES) tools; do (cd $$m && GOWORK=off go mod tidy); done

$(TOOLS): tools/go.mod tools/go.sum
	@echo "building $(@F) (once; golangci-lint takes a few minutes)"
	@cd tools && GOWORK=off GOBIN=$(CURDIR)/$(BIN) go install $$(GOWORK=off go list -f '{{.ImportPath}}' tool | grep '/$(@F)$$')
	@touch $@
