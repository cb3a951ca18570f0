# Everything a newcomer or a contributor runs. `make help` lists it.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo test test-all test-browser test-benchmark lint types imports check format bench needs-data clean

help: ## list these targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Fourfold needs Python 3.11 or newer; this is `$(PYTHON) --version`. Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -f $@; exit 1; } # half an environment, without pip, would be taken for one

$(VENV)/.demo: $(BIN)/python pyproject.toml constraints.txt
	@echo "setting up $(VENV) (once, about a minute) ..."
	@$(PIP) --editable '.[demo]'
	@touch $@

$(VENV)/.dev: $(BIN)/python pyproject.toml constraints.txt
	@echo "setting up $(VENV) with everything for development (once, some minutes) ..."
	@$(PIP) --editable '.[dev]'
	@touch $@ $(VENV)/.demo

demo: $(VENV)/.demo ## restore a real photograph in several ways, on one sheet
	@$(BIN)/fourfold demo

test: $(VENV)/.dev ## run the tests (about three minutes on two cores)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

test-all: $(VENV)/.dev ## run the slow tests too (kills, soaks, several processes)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m 'not benchmark and not gpu and not browser'

test-browser: $(VENV)/.dev ## drive the web pages in a real Chromium (install it first)
	$(BIN)/python -m pytest -m browser

test-benchmark: $(VENV)/.dev ## the tests that need benchmark pictures: FOURFOLD_DATA=DIR
	$(BIN)/python -m pytest -m benchmark

lint: $(VENV)/.dev ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev ## mypy, strict
	$(BIN)/mypy

imports: $(VENV)/.dev ## who may import whom
	$(BIN)/lint-imports

check: lint types imports test ## all of these

format: $(VENV)/.dev ## put the code in its format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: needs-data $(VENV)/.dev ## print the speed tables (upscaling, training): DATA=DIR of photographs
	$(BIN)/python benchmarks/upscaling.py --model srresnet-mse
	$(BIN)/python benchmarks/training.py --data "$(DATA)"

needs-data:
	@test -n "$(DATA)" || { echo "say where photographs are to train on: make bench DATA=DIR"; exit 2; }

clean: ## remove the environment and what tools left behind
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
