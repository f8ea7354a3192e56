# `make run` and `make test` do everything themselves on a fresh machine, the
# virtual environment included.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
# As many processes of tests as tests/conftest.py sets; one test alone needs none beside it.
PARALLEL = $(if $(findstring .py,$(ARGS)),,-n auto --dist worksteal)
# Where an environment sets it otherwise: without them, each of the hundreds of processes of the
# tests compiles what it imports anew, a third of a second each.
export PYTHONDONTWRITEBYTECODE :=
STAMP  := $(VENV)/.installed
RUNTIME := $(VENV)/.installed-runtime
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# pip compiles fifteen thousand files one after the other; this, on every core. Some packages
# hold what is no Python of this version; pip does not mind either.
COMPILED = $(BIN)/python -m compileall -q -j 0 $(SKIPPED) $(VENV)/lib actors protocol >/dev/null || true

.DEFAULT_GOAL := help
MUTANTS := .venv-mutants

.PHONY: help setup run test faults simulate mutants nightly lint types bench check lock keep-release agents clean

help:  ## what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

setup: $(STAMP)  ## the virtual environment, with the locked dependencies

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "larkd needs Python 3.11 or newer; set PYTHON=/path/to/python3.11" >&2; exit 2; }
	@$(PYTHON) -m venv $(VENV) || \
	  { echo "python3-venv is missing: install it (Debian: apt-get install python3-venv)" >&2; exit 2; }

$(STAMP): pyproject.toml requirements.lock | $(BIN)/python
	$(PIP) --no-compile --require-hashes -r requirements.lock
	$(PIP) --no-deps --no-build-isolation -e .
	@$(COMPILED)
	@touch $@ $(RUNTIME)

# What running needs, and nothing of the developers' tools. Of the official client, two thirds
# of all files, it reads the frames of the long connection alone.
$(RUNTIME): SKIPPED = -x 'lark_oapi/(?!ws/)'
$(RUNTIME): runtime.lock | $(BIN)/python
	$(PIP) --no-compile --require-hashes -r runtime.lock
	@$(COMPILED)
	@touch $@

run: $(RUNTIME)  ## the daemon on its embedded sandbox; prints the chat page's address
	$(BIN)/python -m actors.daemon --sandbox $(ARGS)

test: $(STAMP)  ## every test, or those of ARGS
	$(BIN)/python -m pytest $(PARALLEL) $(ARGS)

faults: $(STAMP)  ## kill a daemon CYCLES times by SEED, and check what it promised
	$(BIN)/python -m tests.faults --cycles $(or $(CYCLES),20) $(if $(SEED),--seed $(SEED))

simulate: $(STAMP)  ## the whole daemon in memory by seed: SEED=7 one, or SEEDS=1000
	$(BIN)/python -m tests.simulation $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),300))

# A change may make a loop endless: its process has 3 GB, and the time that [tool.mutmut] gives.
mutants: $(MUTANTS)/.installed  ## small changes to protocol/: how many a test notices. ARGS='protocol.cards*'
	{ ulimit -v 3000000 || :; } 2>/dev/null; CI=1 $(MUTANTS)/bin/mutmut run $(ARGS)
	@$(MUTANTS)/bin/mutmut results --all true | $(MUTANTS)/bin/python -m tests.kit.mutation_score

$(MUTANTS)/.installed: mutants.lock | $(BIN)/python
	$(BIN)/python -m venv $(MUTANTS)
	$(MUTANTS)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

nightly: $(STAMP)  ## every test at its full size, 20,000 simulated seeds, 200 kills
	LARKD_NIGHTLY=1 $(BIN)/python -m pytest $(PARALLEL) --timeout 7200 $(ARGS)
	$(BIN)/python -m tests.faults --cycles 200

lint: $(STAMP)  ## style and Trio mistakes
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/flake8-async --enable=ASYNC1,ASYNC2,ASYNC3 --disable=ASYNC114,ASYNC124,ASYNC127,ASYNC128 $$(find actors protocol -name '*.py')

types: $(STAMP)  ## mypy, strict
	$(BIN)/mypy

check: lint types test  ## what CI runs

bench: $(STAMP)  ## every bench, a table each
	@for script in $$(grep -l __main__ bench/*.py | grep -v yardsticks); do echo "== $$script"; $(BIN)/python -m $$(echo $$script | sed "s,/,.,; s,.py,,") || exit 1; done

COMPILE := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
  --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" pyproject.toml

lock:  ## pin the dependencies anew from pyproject.toml, with hashes (needs uv)
	$(COMPILE) --extra dev -o requirements.lock
	$(COMPILE) --constraint requirements.lock -o runtime.lock
	$(COMPILE) --extra dev --extra mutants --constraint requirements.lock -o mutants.lock

keep-release: $(STAMP)  ## at a release: keep its journal and configuration, to upgrade from
	$(BIN)/python -m tests.kit.keep_release

agents: $(STAMP)  ## real coding agents from npm, each driven from the chat on stand-in models
	@command -v npm >/dev/null || { echo "npm is missing: install it (Debian: apt-get install npm)" >&2; exit 2; }
	@mkdir -p .agents && cp tests/agents/package.json .agents/
	npm install --prefix .agents --no-audit --no-fund --silent
	npm rebuild --prefix .agents --silent node opencode-ai @anthropic-ai/claude-code
	$(BIN)/python -m pytest tests/agents $(ARGS)

clean:  ## remove the virtual environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
