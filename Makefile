# Two commands matter: `make sweep` and `make test`. Both make .venv first if it is not there or out of date.

PYTHON ?= python3
CORES ?= all
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: setup lock sweep plan test format lint unit e2e test-slurm bench clean

setup: $(VENV)/.complete

# torch first and by itself: every other package accepts the build that is there, so no second one is downloaded.
$(VENV)/.complete: envs/requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet "$$(grep '^torch==' envs/requirements.txt)"
	$(BIN)/python -m pip install --quiet --requirement envs/requirements.txt
	touch $@

# What checks and tests need besides.
$(VENV)/.checks: $(VENV)/.complete envs/requirements-dev.txt
	$(BIN)/python -m pip install --quiet --requirement envs/requirements-dev.txt
	touch $@

# Resolves requirements.in anew; look at the difference before committing it.
lock:
	$(PYTHON) -m venv .lock
	.lock/bin/python -m pip install --quiet --upgrade pip
	.lock/bin/python -m pip install --quiet "$$(grep -o '^torch==[^ ]*' envs/requirements.in)"
	.lock/bin/python -m pip install --quiet --requirement envs/requirements.in
	{ head -n 1 envs/requirements.txt; .lock/bin/python -m pip freeze | sed 's/+cpu//'; } > .lock/requirements.txt
	mv .lock/requirements.txt envs/requirements.txt && rm -rf .lock

sweep: setup
	PYTHONPATH=workflow $(BIN)/snakemake --logger cells --cores $(CORES) $(ARGS)

plan: setup
	$(BIN)/snakemake plan $(ARGS)

test: format lint unit e2e

format: $(VENV)/.checks
	$(BIN)/snakefmt --check Snakefile rules
	$(BIN)/ruff format --check .

lint: $(VENV)/.checks
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/snakemake --lint

unit: $(VENV)/.checks
	$(BIN)/python -m pytest tests -n 2 -m "not slow and not e2e"

e2e: $(VENV)/.checks
	$(BIN)/python -m pytest tests -n 2 --dist loadgroup -m "e2e and not slow"

# As root, on Debian: installs SLURM if it is not there, and tests on it what takes too long for `make test` too.
test-slurm: $(VENV)/.checks
	tests/slurm/start
	$(BIN)/python -m pytest tests/test_slurm.py -m "slow or not slow"; status=$$?; tests/slurm/stop; exit $$status

bench: $(VENV)/.checks
	$(BIN)/python -m pytest tests -m slow
	for script in benchmarks/*.py; do $(BIN)/python $$script || exit 1; done

clean:
	rm -rf .snakemake results/*
