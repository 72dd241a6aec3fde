# Millrace. `make help` lists what there is; whatever CI does is a target here.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

MODULES  := pkg services/api services/scheduler services/controller services/kubelet services/proxy cli test
PACKAGES := $(MODULES:%=./%/...)
BIN      := $(CURDIR)/bin
LINT     := $(BIN)/golangci-lint

.PHONY: help
help: ## what each target does
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  %-10s %s\n", $$1, $$2}'

.PHONY: tidy
tidy: ## go mod tidy, each module by itself
	@for m in $(MODULES) tools; do (cd $$m && GOWORK=off go mod tidy); done

.PHONY: fmt
fmt: $(LINT) ## format everything
	@$(LINT) fmt $(PACKAGES)

.PHONY: lint
lint: $(LINT) ## every linter, and nothing that fmt or tidy would change
	@$(LINT) run $(PACKAGES)

$(LINT): tools/go.mod tools/go.sum
	@echo "building golangci-lint (a few minutes, once)"
	@GOWORK=off GOBIN=$(BIN) go -C tools install tool
	@touch $@
