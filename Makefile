# `make` or `make help` lists what there is.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TEST_PROCESSES ?= 4

# Tests, benchmarks and services start hundreds of processes: each would compile the project anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help install install-dev demo test proof lint format bench lock up down clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

install: $(VENV)/.installed ## Make the virtual environment with all the product needs, and find a browser
	@$(BIN)/mlops install-browser > /dev/null

install-dev: $(VENV)/.installed-dev install ## ... and what its development needs

demo: install ## Evaluate two agents through every queue; MODEL=name for a real model
	$(BIN)/mlops demo $(if $(MODEL),--model "$(MODEL)")

test: install-dev ## Run the tests, on real services
	$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadscope --no-loadscope-reorder -m "not proof"

proof: install-dev ## Run the slow proofs: faults, kills, restarts
	$(BIN)/python -m pytest -m proof

lint: $(VENV)/.installed-dev ## Check style, types and the one-way imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.installed-dev ## Rewrite the code in the project's format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: install-dev ## Measure against peers and limits; ONLY=drift for one subject, PEERS=agentlab,evidently,mlflow for large peers
	$(BIN)/python -m benchmarks $(if $(ONLY),--only "$(ONLY)")

lock: $(VENV)/.installed-dev ## Resolve the dependencies anew, with hashes
	$(BIN)/uv pip compile -q pyproject.toml --extra all --universal -p 3.11 --generate-hashes \
	    --no-annotate --no-header -o requirements.lock
	$(BIN)/uv pip compile -q pyproject.toml --extra dev --universal -p 3.11 --generate-hashes \
	    --no-annotate --no-header -c requirements.lock -o requirements-dev.lock

up: install ## Start all services in the background
	$(BIN)/mlops up --detach

down: ## Stop them
	$(BIN)/mlops down

clean: ## Remove the virtual environment
	rm -rf $(VENV)

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "Python 3.11 or newer is needed: make PYTHON=python3.11 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)

# The locks are installed by hash; the project itself is the checkout.
$(VENV)/.installed: requirements.lock pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps -e .
	@touch $@

$(VENV)/.installed-dev: requirements-dev.lock $(VENV)/.installed
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@
