# Two commands matter: `make sweep` and `make test`. Both make .venv first if it is not there or out of date.

PYTHON ?= python3
CORES ?= all
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
export PATH := $(CURDIR)/$(BIN):$(PATH)

# The build of torch, cpu or cuda; empty: by what is there. Once said it holds for the environment.
TORCH ?=
COMPLETE := $(VENV)/.complete$(if $(TORCH),-$(TORCH))

.PHONY: setup lock sweep plan test format lint unit e2e test-slurm bench docs release clean

setup: $(COMPLETE)

# Through uv, or pip where uv is not to be had (see the text of install.py).
$(COMPLETE): envs/requirements.txt envs/torch.txt envs/install.py
	$(PYTHON) envs/install.py $(VENV) $(if $(TORCH),--torch $(TORCH))

# What checks and tests need besides.
$(VENV)/.checks: $(COMPLETE) envs/requirements-dev.txt
	$(PYTHON) envs/install.py $(VENV) --checks

# Resolves pyproject.toml anew (all versions that it leaves open: make lock ARGS=--upgrade); look at the difference.
lock: $(VENV)/.checks
	$(BIN)/python envs/lock.py $(ARGS)

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

# What a module's tests share is made once: a module is one worker's. tests/conftest.py has the order.
SPREAD := -n 2 --dist loadfile --no-loadscope-reorder

unit: $(VENV)/.checks
	$(BIN)/python -m pytest tests $(SPREAD) -m "not slow and not e2e"

e2e: $(VENV)/.checks
	$(BIN)/python -m pytest tests $(SPREAD) -m "e2e and not slow"

# As root, on Debian: installs SLURM if it is not there, and tests on it what takes too long for `make test` too.
test-slurm: $(VENV)/.checks
	tests/slurm/start
	$(BIN)/python -m pytest tests/test_slurm.py -m "slow or not slow"; status=$$?; tests/slurm/stop; exit $$status

bench: $(VENV)/.checks
	$(BIN)/python -m pytest tests -m slow
	for script in benchmarks/*.py; do $(BIN)/python $$script || exit 1; done

# The docs site, in site/; pages that follow from the code are written anew, and links are checked.
docs: $(VENV)/.checks
	$(BIN)/python docs/generate.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

# Tags the version in pyproject.toml once all that names it agrees.
release: test
	.ci/release

clean:
	rm -rf .snakemake results/*
