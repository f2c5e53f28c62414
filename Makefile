# The two commands: `make run` and `make test`. Everything else serves them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DATA ?= ../shared/data

.DEFAULT_GOAL := help
.PHONY: help install run test test-slow process lint format bench lock wheel clean

help:            ## these lines
	@grep -E '^[a-z-]+: .*##|^[a-z-]+:  *##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 14

install: $(STAMP)  ## make .venv with .venv/bin/detector and all that the tests need, everything locked

# Where ensurepip is missing (Debian without python3-venv) the outer pip fills the environment. uv installs the set
# in seconds; where it has no wheel, pip does the same slowly. Compiled beforehand, a start is quick even where Python may
# not write its caches.
$(STAMP): requirements/locked.txt requirements/uv.txt pyproject.toml
	$(PYTHON) -m venv $(VENV) 2>/dev/null || $(PYTHON) -m venv --without-pip $(VENV)
	@if $(PYTHON) -m pip --python $(BIN)/python install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt; then \
	  $(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r requirements/locked.txt && \
	  $(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable . ; \
	else \
	  $(PYTHON) -m pip --python $(BIN)/python install --quiet --disable-pip-version-check --require-hashes -r requirements/locked.txt && \
	  $(PYTHON) -m pip --python $(BIN)/python install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable . ; \
	fi
	@$(BIN)/python -m compileall -q detector
	@touch $@

run: install     ## a small real service with a slowly growing fault, watched by the detector
	@$(BIN)/detector demo

test: install    ## the suite, under ten minutes on two cores
	$(BIN)/pytest

test-slow: install  ## what needs real minutes or many repetitions
	$(BIN)/pytest -m slow --timeout 1200

process: install  ## every line of the support process, with the tests that hold it
	@$(BIN)/python -m tests.process

lint: install    ## ruff, mypy --strict, the import contract
	$(BIN)/ruff check .
	$(BIN)/ruff format --check detector tests benchmarks
	$(BIN)/mypy
	$(BIN)/lint-imports

format: install  ## let ruff lay out the code
	$(BIN)/ruff format detector tests benchmarks
	$(BIN)/ruff check --fix .

bench: install   ## every figure of the README, as ratios against peers in the same run
	$(BIN)/python -m benchmarks --data $(DATA)

lock:            ## write the lock files anew (needs uv); names and hashes only
	uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate --python-version 3.11 \
	  --extra dev --extra postgres pyproject.toml --output-file requirements/locked.txt
	echo uv | uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate --python-version 3.11 - --output-file requirements/uv.txt

wheel: install   ## dist/*.whl
	$(BIN)/python -m hatchling build -t wheel

clean:
	rm -rf $(VENV) dist data artefacts .pytest_cache .mypy_cache .ruff_cache
