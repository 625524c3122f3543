# `make` runs the default study, `make test` the tests; both set up what they need.
PYTHON ?= python3
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
export STUDY ?= config.yaml
# images of containers set it; a study starts Python hundreds of times, each would compile anew
unexport PYTHONDONTWRITEBYTECODE

.PHONY: all setup test test-slow test-slurm test-default format lint docs clean

# bars on a terminal, plain lines elsewhere
all: setup
	snakemake --configfile "$$STUDY" $$(test -t 2 && echo --logger rich)

setup: .venv/ready

.venv/ready: envs/lock.txt pyproject.toml
	$(PYTHON) -m venv .venv
	pip install --quiet --requirement envs/lock.txt
	pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

# two at once, in the order of tests/conftest.py: the files that take longest first
TESTS := pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

test: setup
	$(TESTS)

# what `make test` leaves out because it takes long
test-slow: setup
	$(TESTS) --dist load -m slow

# on a real SLURM of two nodes, which each of the four starts for itself and ends; they mostly wait
test-slurm: setup .slurm/ready
	ISOLOSS_SLURM_PLUGIN=$(CURDIR)/.slurm pytest --numprocesses 4 --dist load -m slurm tests/slurm

# beside the environment: where no controller of SLURM answers, the executor makes snakemake slower
.slurm/ready: envs/slurm.txt
	pip install --quiet --no-deps --target .slurm --requirement $<
	touch $@

# what would run again after a change, on the results that `make` left
test-default: setup
	pytest -m default_study

format: setup
	ruff format .
	ruff check --fix .
	snakefmt --line-length 100 Snakefile workflow/rules

lint: setup
	ruff format --check .
	ruff check .
	snakefmt --line-length 100 --check Snakefile workflow/rules
	snakemake --lint

docs: setup
	python -m isoloss docs

clean:
	rm -rf .venv .slurm
