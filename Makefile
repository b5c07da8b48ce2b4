# Every target works on a fresh machine: it sets up what it needs first.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
UV := $(BIN)/uv
NATIVE := $(wildcard sketch/native/*.c sketch/native/*.h)
STAGES := $(basename $(notdir $(wildcard deploy/stages/*.yml)))

.PHONY: help setup demo test lint lab bench fuzz lock openapi clean

help: ## Show the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

setup: .venv/.ready node_modules/.ready ## Install everything into .venv/ and node_modules/

.venv/.ready: requirements/bootstrap.txt requirements/dev.txt handlers/requirements.txt pyproject.toml $(NATIVE)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] < (3, 11))' || { echo "Atoll needs Python 3.11 or newer: $(PYTHON) is older. Try: make PYTHON=python3.11 setup" >&2; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || { echo "Python's venv module is missing. On Debian: apt-get install python3-venv" >&2; exit 2; }
	@echo "Installing Python packages (hash-pinned: requirements/dev.txt)"
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/bootstrap.txt
	@VIRTUAL_ENV=.venv $(UV) pip sync -q --compile-bytecode --require-hashes requirements/bootstrap.txt requirements/dev.txt
	@VIRTUAL_ENV=.venv $(UV) pip install -q --no-deps --no-build-isolation --reinstall-package atoll -e .
	@rm -rf .venv/lambda-wheels && $(BIN)/python -m pip download -q --disable-pip-version-check --no-deps --only-binary=:all: --require-hashes -r handlers/requirements.txt -d .venv/lambda-wheels
	@touch $@

node_modules/.ready: package.json package-lock.json
	@command -v npm >/dev/null || { echo "npm is missing: install Node.js 20 or newer" >&2; exit 2; }
	@echo "Installing Node packages (package-lock.json)"
	@npm ci --silent
	@touch $@

lock: ## Recompile the pinned requirements from their .in files
	@for name in requirements/bootstrap handlers/requirements requirements/dev; do \
	  $(UV) pip compile -q --python-version 3.11 --universal --generate-hashes --no-header $(UPGRADE) $$name.in -o $$name.txt; done
	@npm install --package-lock-only --silent

openapi: setup ## Write the API's document, docs/openapi.json, from the code
	@mkdir -p .atoll
	@$(BIN)/python -m handlers.core.openapi > .atoll/openapi.json && mv .atoll/openapi.json docs/openapi.json

demo: setup ## Run the whole platform on this machine and report on it
	@$(BIN)/python -m ops.demo

test: setup ## Lint, then every test
	@$(MAKE) --no-print-directory lint
	@$(BIN)/pytest -q -n 2 tests/unit tests/notebooks tests/browser
	@$(BIN)/pytest -q -n 2 --dist loadfile --durations=12 tests/local

lint: setup ## ruff, mypy, cfn-lint and our cfn-guard rules on each stage's packaged template, notebooks without outputs
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/nbstripout --verify notebooks/*.ipynb
	@mkdir -p .atoll
	@for stage in $(STAGES); do echo "Packaging $$stage, with no account and no network"; \
	  AWS_ACCESS_KEY_ID=none AWS_SECRET_ACCESS_KEY=none node_modules/.bin/sls package --stage $$stage --package .atoll/lint/$$stage >.atoll/lint.log 2>&1 \
	    || { cat .atoll/lint.log; exit 1; }; done
	@$(BIN)/cfn-lint $(foreach stage,$(STAGES),.atoll/lint/$(stage)/cloudformation-template-update-stack.json)
	@$(BIN)/python -m tests.guard .atoll/lint

lab: setup ## JupyterLab on the local cloud
	@$(BIN)/ops up --stage local
	@$(BIN)/ops lab --stage local

bench: setup ## Measure, as ratios against a named baseline
	@$(BIN)/python -m tests.bench

fuzz: setup ## Mutated pages into the native core under sanitizers, for MINUTES (10)
	@$(BIN)/python -m tests.fuzz --minutes $(or $(MINUTES),10)

clean: ## Stop the local cloud and remove what was generated
	@if [ -x $(BIN)/ops ]; then $(BIN)/ops down; fi
	@rm -rf .atoll .serverless reports .venv node_modules build *.egg-info sketch/*.so .pytest_cache .mypy_cache .ruff_cache .hypothesis .schemathesis
