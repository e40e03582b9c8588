# D-GEX in JAX. `make` does everything for the default study; `make help` lists the rest.
STUDY ?= demo
OUT ?=
GPUS ?=
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OPTIONS = --study "$(STUDY)" $(if $(OUT),--out "$(OUT)") $(if $(GPUS),--gpus $(GPUS))

.DEFAULT_GOAL := all
.PHONY: all table1 table2 test test-slow lint lock clean help

all: $(VENV)/.ready  ## set up .venv and reproduce the study: raw files to all tables
	@$(BIN)/python -m reproduce.all $(OPTIONS)

table1: $(VENV)/.ready  ## Table 1: errors on GEO-te
	@$(BIN)/python -m reproduce.table1 $(OPTIONS)

table2: $(VENV)/.ready  ## Table 2: errors on GTEx-te
	@$(BIN)/python -m reproduce.table2 $(OPTIONS)

test: $(VENV)/.ready  ## the tests (minutes)
	@$(BIN)/python -m pytest -q -m "not slow"

test-slow: $(VENV)/.ready  ## the tests that take longer
	@$(BIN)/python -m pytest -q -m slow

lint: $(VENV)/.ready  ## format, lint and type checks
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

lock: $(VENV)/.ready  ## renew requirements.lock (needs uv)
	uv pip compile pyproject.toml --universal --python-version 3.11 --extra dev --upgrade \
	    --no-emit-index-url --no-emit-find-links --no-header --no-annotate -q -o requirements.lock

clean:  ## remove .venv and caches (results stay)
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache

help:  ## this list
	@echo "make TARGET [STUDY=name-or-file.toml] [OUT=folder] [GPUS=n] [PYTHON=python3]"
	@sed -n 's/^\([a-z0-9-]*\):.*  ## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

# Set up once, and again when what is to be installed changes. The stamp is written last.
$(VENV)/.ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	    || { echo "needs Python 3.11 or newer: make PYTHON=/path/to/python3.11" >&2; exit 2; }
	@echo "setting up $(VENV) (a minute or two, once)"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-compile -r requirements.lock
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@
