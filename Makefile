PY ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

help:  ## Show this help
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-9s %s\n", $$1, $$2}'

$(BIN)/voxpop: pyproject.toml
	$(PY) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[local]'

$(BIN)/pytest: pyproject.toml
	$(PY) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[local,test]'
	@touch $(BIN)/voxpop $(BIN)/pytest

run: $(BIN)/voxpop  ## Install what is missing, then start the page and the API on http://127.0.0.1:8080
	$(BIN)/voxpop up

test: $(BIN)/pytest  ## Lint, check types, run every test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest

lint: $(BIN)/pytest  ## Reformat and check style and types
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/mypy

bench: $(BIN)/pytest  ## Print every figure, one JSON line each
	@for file in benchmarks/[a-z]*.py; do $(BIN)/python $$file || exit 1; done

mutants: $(BIN)/pytest  ## Break each invariant on purpose and see a test fail
	$(BIN)/python tests/mutants/run.py

.PHONY: help run test lint bench mutants
.DEFAULT_GOAL := help
