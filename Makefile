# D-GEX in JAX. `make` does everything for the default study; `make help` lists the rest.
STUDY ?= demo
OUT ?=
GPUS ?=
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OPTIONS = --study "$(STUDY)" $(if $(OUT),--out "$(OUT)") $(if $(GPUS),--gpus $(GPUS))

# `make -n TARGET` lists what the study still needs for it: the scripts run, with --dry-run.
DRY = $(if $(findstring n,$(firstword -$(MAKEFLAGS))), --dry-run)
define reproduce
+@if [ -x $(BIN)/python ]; then $(BIN)/python -m reproduce.$(1) $(OPTIONS)$(DRY); \
    else echo "set up $(VENV), then: python -m reproduce.$(1) $(OPTIONS)"; fi
endef

.DEFAULT_GOAL := all
TABLES := table1 table2 tableS1 tableS2 tableS3 tableS4 tableS5
FIGURES := figure1 figure2 figure3 figure4 figure5 figureS1 figureS2 figureS3
PRODUCTS := $(TABLES) $(FIGURES) adjusted-r2 weight-hubs departures
.PHONY: all setup tables figures $(PRODUCTS) beyond model docs \
    test test-long test-slow mutations fuzz bitrot stress bench lint lock clean help

all: $(VENV)/.ready  ## set up .venv and reproduce the study: raw files to all tables, figures, report
	$(call reproduce,all)

setup: $(VENV)/.ready  ## set up .venv alone, to use dgex without reproducing anything

tables: $(VENV)/.ready  ## all tables
	$(call reproduce,all_tables)

figures: $(VENV)/.ready  ## all figures
	$(call reproduce,all_figures)

table1:  ## errors on GEO-te, 10% dropout
table2:  ## errors on each test set (the paper: GTEx-te), 25% dropout
tableS1:  ## how networks are trained
tableS2:  ## errors on GEO-va, every dropout rate
tableS3:  ## errors on GEO-te, every dropout rate
tableS4:  ## errors on each validation set (the paper: 1000G-va), every dropout rate
tableS5:  ## errors on each test set (the paper: GTEx-te), every dropout rate
figure1:  ## error on GEO-te by architecture
figure2:  ## density of the errors per gene on GEO-te
figure3:  ## gene by gene on GEO-te
figure4:  ## gene by gene on each test set (the paper: GTEx-te)
figure5:  ## error on each test set (the paper: GTEx-te) by epoch and dropout rate
figureS1:  ## the architecture of the largest network
figureS2:  ## adjusted R2, gene by gene
figureS3:  ## the weight map
adjusted-r2:  ## adjusted R2 on landmarks and on the last hidden layer
weight-hubs:  ## the major weights and the hidden units they meet in
departures:  ## departures from the original, measured

# The script of a product has its name in Python's letters: tableS1 is reproduce.table_s1.
$(PRODUCTS): $(VENV)/.ready
	$(call reproduce,$(subst figureS,figure_s,$(subst tableS,table_s,$(subst -,_,$@))))

beyond: $(VENV)/.ready  ## methods beyond the paper's, on five splits (half an hour)
	+@$(BIN)/python -m reproduce.beyond --study "$(STUDY)" $(if $(OUT),--out "$(OUT)")

model: $(VENV)/.ready  ## models/human-mini and its card, from arrays that lie beside the checkout
	@$(BIN)/python -m reproduce.starter

docs: $(VENV)/.ready  ## the documentation site, docs/_build/html/index.html (its notebooks are run: minutes, once)
	@rm -rf docs/_build/html
	@$(BIN)/python -m sphinx -b html -q -n -E -W --keep-going -d docs/_build/doctrees docs docs/_build/html
	@$(BIN)/python docs/_ext/links.py docs/_build/html
	@echo "docs/_build/html/index.html"

test: $(VENV)/.ready  ## the tests (minutes)
	@$(BIN)/python -m pytest -q -m "not slow and not long"

test-long: $(VENV)/.ready  ## the tests of whole commands: processes that are stopped and killed, a wheel (minutes)
	@$(BIN)/python -m pytest -q -m long

test-slow: $(VENV)/.ready  ## the tests that take longer
	@$(BIN)/python -m pytest -q -m slow

mutations: $(VENV)/.ready  ## deliberate faults in the original's rules: which test finds each (half an hour)
	@$(BIN)/python tests/mutations/run.py --out docs/mutations.md

fuzz: $(VENV)/.ready  ## 12,000 damaged files against every reader (minutes)
	@$(BIN)/python -W ignore tests/stress/fuzz.py

bitrot: $(VENV)/.ready  ## flip 200 bits in each kind of file and see whether it is found (minutes)
	@$(BIN)/python tests/stress/bitrot.py --flips 200

stress: $(VENV)/.ready  ## kill commands at random moments and compare with undisturbed runs (half an hour)
	@$(BIN)/python tests/stress/kills.py

bench: $(VENV)/.ready  ## the benchmarks on this machine (an hour; python -m benchmarks.all --help)
	@$(BIN)/python -m benchmarks.all

lint: $(VENV)/.ready  ## format, lint and type checks
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

lock: $(VENV)/.ready  ## renew requirements.lock (needs uv)
	uv pip compile pyproject.toml --universal --python-version 3.11 --extra dev --upgrade \
	    --no-emit-index-url --no-emit-find-links --no-header --no-annotate -q -o requirements.lock

clean:  ## remove .venv, caches and the built docs (results stay)
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache docs/_build

help:  ## this list
	@echo "make TARGET [STUDY=name-or-file.toml] [OUT=folder] [GPUS=n] [PYTHON=python3]"
	@sed -n 's/^\([A-Za-z0-9-]*\):.*  ## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

# Set up once, and again when what is to be installed changes. The stamp is written last.
$(VENV)/.ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	    || { echo "needs Python 3.11 or newer: make PYTHON=/path/to/python3.11" >&2; exit 2; }
	@echo "setting up $(VENV) (a minute or two, once)"
	@$(PYTHON) -m venv --clear $(VENV)
	@# Python compiles what it uses as it goes, unless it may not keep that.
	@$(BIN)/python -m pip install -q --disable-pip-version-check \
	    $(if $(PYTHONDONTWRITEBYTECODE),,--no-compile) -r requirements.lock
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@
