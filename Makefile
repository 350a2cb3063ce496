# Everything a newcomer types. Each target makes .venv and installs what it needs by itself, and again only after
# pyproject.toml, constraints.txt or an extension in C changed. Needed beforehand: make and Python 3.11 or newer.
#
#   PYTHON=python3.13  another interpreter           ARGS="…"  more arguments for the program that a target runs
#   KEEP=0             make demo exits when it is done      VENV=…     another place for the environment
#   WORKERS=4          test processes at once: most of a test is waiting (WORKERS=0: in one process, for a debugger)

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
KEEP   ?= 1
ARGS   ?=
WORKERS ?= 3

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:           # two pip at work in one environment break each other
.PHONY: help demo serve test lint lint-dashboard format bench screenshots clean distclean

help:
	@echo 'make demo    train an example against a service of its own and look at the result (KEEP=0: exit when done)'
	@echo 'make serve   run the service with its bundled PostgreSQL on http://127.0.0.1:5000'
	@echo 'make test    the whole test-suite          make lint    ruff and mypy          make format  let ruff rewrite'
	@echo 'make screenshots   pictures of the dashboard, in docs/screenshots'
	@echo 'make bench   the short form of the benches  make clean   remove caches and builds  make distclean  … and .venv'

demo: $(VENV)/.installed-demo
	@$(BIN)/python bench/demo.py $(if $(filter 0,$(KEEP)),--no-keep,) $(ARGS)

serve: $(VENV)/.installed-server
	@$(BIN)/ingest serve $(ARGS)

test: $(VENV)/.installed-test
	@if command -v npm >/dev/null; then $(MAKE) --no-print-directory node_modules/.installed; fi
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

lint: $(VENV)/.installed-lint
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@if command -v npm >/dev/null; then $(MAKE) --no-print-directory lint-dashboard; \
	else echo 'no npm here: the types of the dashboard were not checked (CI does)'; fi

# The dashboard needs no build; this checks its JSDoc types.
lint-dashboard: node_modules/.installed
	@node_modules/.bin/tsc -p ingest/dashboard/tsconfig.json

node_modules/.installed: package.json package-lock.json
	@npm ci --silent --no-audit --no-fund
	@touch $@

format: $(VENV)/.installed-lint
	@$(BIN)/ruff check --fix-only .
	@$(BIN)/ruff format .

# Pictures of every page of the dashboard into docs/screenshots; needs Debian's chromium.
screenshots: $(VENV)/.installed-test
	@$(BIN)/python -m bench.screenshots

bench: $(VENV)/.installed-demo
	@$(BIN)/python -m bench $(ARGS)

clean:
	rm -rf build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV)

# ------------------------------------------------------------------------------------------------- the environment
# One environment, one stamp for each set of extras. pip adds to what is there, so the sets share what they share.

EXTENSIONS    := client/ingest_client/_hot.c ingest/store/_weave.c
EXTRAS_server := server
EXTRAS_lint   := dev
EXTRAS_test   := dev,torch,integrations
EXTRAS_demo   := demo
NOTE_server   := the service
NOTE_lint     := linters, types and the service
NOTE_test     := test tools, the service, PyTorch and training libraries (large: up to some gigabytes, once)
NOTE_demo     := the service and PyTorch (large: up to some gigabytes, once)

$(VENV)/.installed-%: pyproject.toml constraints.txt hatch_build.py $(EXTENSIONS) $(BIN)/python
	@echo 'Installing $(NOTE_$*) into $(VENV) …'
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS_$*)]'
	@touch $@

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || \
	  { echo 'error: no $(PYTHON) on the PATH. Install Python 3.11 or newer, or name one: make PYTHON=/path/to/python3' >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: $(PYTHON) is $$($(PYTHON) -V 2>&1), but Python 3.11 or newer is needed. Name one: make PYTHON=python3.13" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo 'error: $(PYTHON) cannot make environments. On Debian and Ubuntu: apt-get install python3-venv' >&2; exit 1; }
	@$(PYTHON) -m venv --clear $(VENV)
