# Everything here sets itself up: it needs make, and a Python >= 3.11 that can create virtual environments.
#   make demo    watch three sentinels fail over a killed master
#   make test    lint, types, import contracts, then every test
#   make soak    simulate fresh seeds for as long as told (SECONDS=3600, JOBS=2, SEEDS=1..500, ARGS='--sometimes')
#   make bench   compare with the stock sentinels: minutes, figures only (ARGS='--quick --json out.json')
#   make fuzz    feed mutated input to every parser (ARGS='--inputs 1000000 --seed 2', ARGS='--live 3600')
#   make hostile 500 hostile connections at work against a deployment: figures with and without them
#   make check   lint, types and import contracts only
#   make clean   remove .venv and caches
# Choose another Python with `make PYTHON=python3.12 ...`, another place with `make VENV=/somewhere ...`.

PYTHON ?= python3
VENV ?= .venv
JOBS ?= 2
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
SHELL := /bin/sh

.PHONY: help demo test check soak bench fuzz hostile clean
.DEFAULT_GOAL := help

help:
	@sed -n 's/^#   //p' Makefile

demo: $(VENV)/.demo-ready
	@$(BIN)/trio-sentinel demo $(ARGS)

test: check
	$(BIN)/python -m pytest -n $(JOBS) $(ARGS)

check: $(VENV)/.dev-ready
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

SECONDS ?= 600
soak: $(VENV)/.dev-ready
	@$(BIN)/python -m trio_sentinel.sim soak --jobs $(JOBS) $(if $(SEEDS),--seeds $(SEEDS),--seconds $(SECONDS)) $(ARGS)

bench: $(VENV)/.dev-ready
	@$(BIN)/python -m tests.bench $(ARGS)

fuzz: $(VENV)/.dev-ready
	@$(BIN)/python -m tests.fuzz $(ARGS)

hostile: $(VENV)/.dev-ready
	@$(BIN)/python -m tests.hostile $(ARGS)

# The stamps make a second run quick; a changed pyproject.toml installs again.
$(VENV)/.demo-ready: pyproject.toml | $(BIN)/python
	@echo "Installing trio-sentinel and what its demo needs into $(VENV) ..."
	@$(PIP) install --editable '.[demo]'
	@touch $@

$(VENV)/.dev-ready: pyproject.toml | $(BIN)/python
	@echo "Installing trio-sentinel and what its tests need into $(VENV) ..."
	@$(PIP) install --editable '.[dev]'
	@touch $(VENV)/.demo-ready $@

# No half-made environment may look like a whole one: it is removed when a step fails.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "trio-sentinel needs Python 3.11 or later; '$(PYTHON)' is not (try: make PYTHON=python3.12)" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo "'$(PYTHON)' cannot create virtual environments; install them first (Debian, Ubuntu: apt-get install python3-venv)" >&2; \
	  exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
