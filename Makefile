# Each target works alone on a machine with Python 3.11 and nothing else: set-up is a prerequisite, done once.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

BIN := .venv/bin
READY := .venv/.ready
BENCH_READY := .venv/.ready-bench
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
PORT ?= 3000

# The first of these that runs and is 3.11 or 3.12; PYTHON=... chooses another.
PYTHON ?= $(shell for candidate in python3.11 python3.12 python3 python; do \
	"$$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null && { echo "$$candidate"; break; }; done)

.PHONY: help setup test check demo ui bench bench-full lock clean

help: ## Show what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) ## Create .venv with every dependency as pinned

$(READY): pyproject.toml constraints.txt
	@if [ -z "$(PYTHON)" ]; then echo "Python 3.11 or 3.12 is needed and none was found: install python3.11, or name one by make PYTHON=/path/to/python" >&2; exit 1; fi
	@echo "setting up .venv with $$($(PYTHON) --version): a minute or two, once"
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv .venv || { rm -rf .venv; echo "$(PYTHON) cannot create environments: install its venv module (Debian: python3.11-venv)" >&2; exit 1; }
	@$(PIP) install --constraint constraints.txt pip hatchling editables
	@$(PIP) install --constraint constraints.txt --no-build-isolation --editable . --group dev
	@touch $@

$(BENCH_READY): $(READY)
	@$(PIP) install --constraint constraints.txt --group bench
	@touch $@

test: $(READY) ## Run the whole test suite
	@$(BIN)/pytest

check: $(READY) ## Everything that a change must pass: format, lint, types, import contracts, definitions, tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	RECSYS_CONFIG=recsys.toml $(BIN)/dagster definitions validate --workspace workspace.yaml
	$(BIN)/pytest

lock: ## Write constraints.txt anew: the newest versions that pyproject.toml allows
	@rm -rf .venv-lock && $(PYTHON) -m venv .venv-lock
	@.venv-lock/bin/python -m pip --quiet install --upgrade pip hatchling editables
	@.venv-lock/bin/python -m pip --quiet install --editable . --group dev --group bench
	@{ echo "# Every version as tested, for pip install --constraint. Written by: make lock"; \
		.venv-lock/bin/python -m pip freeze --all --exclude-editable; } > constraints.txt
	@rm -rf .venv-lock

clean: ## Remove what was generated (.venv and demo included)
	rm -rf .venv .venv-lock demo .pytest_cache .ruff_cache .hypothesis .import_linter_cache
