# Every command a developer or CI needs; `make help` prints them.
SHELL := /bin/bash
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3.14 python3; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: help run setup test test-long mutants check fix screenshots bench bench-growth faults soak audit lock

help: ## Print this list.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "Tocsin needs Python 3.11 or newer: install it, or name it with make PYTHON=/path/to/python3."; exit 1; }
	@$(PYTHON) -m venv .venv || { rm -rf .venv; echo "$(PYTHON) cannot make a virtual environment: install its venv module (Debian: apt install python3-venv)."; exit 1; }

.venv/.runtime: .venv/bin/python requirements/runtime.txt pyproject.toml
	@echo "Installing Tocsin's pinned dependencies into .venv ..."
	@$(PIP) install --no-deps --require-hashes -r requirements/runtime.txt
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

.venv/.dev: .venv/.runtime requirements/dev.txt
	@echo "Installing the pinned tools of the tests into .venv ..."
	@$(PIP) install --no-deps --require-hashes -r requirements/dev.txt
	@touch $@

.venv/.bench: .venv/.dev requirements/bench.txt
	@echo "Installing what the benchmarks compare with into .venv ..."
	@$(PIP) install --no-deps --require-hashes -r requirements/bench.txt
	@touch $@

setup: .venv/.runtime ## Install into .venv: afterwards .venv/bin/tocsin runs.

run: .venv/.runtime ## Start Tocsin with a sample app, and watch one event being delivered.
	@$(BIN)/tocsin demo

test: .venv/.dev ## Run all tests, installing what they need.
	@tests/install-debian-packages
	@$(BIN)/python -m pytest -n 2 --dist loadgroup -m "not long" $(ARGS)

test-long: .venv/.dev ## Run the tests that take minutes.
	@tests/install-debian-packages
	@$(BIN)/python -m pytest -m long --timeout 1800 $(ARGS)

mutants: .venv/.dev ## Take one protection after the other out of a copy: a test must notice (minutes).
	@tests/install-debian-packages
	@$(BIN)/python -m pytest -n 2 --dist loadgroup tests/mutants $(ARGS)

check: .venv/.dev ## Check formatting, lint, types and the one-way dependencies.
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

fix: .venv/.dev ## Format, and mend what the linter can.
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

screenshots: .venv/.dev ## Take a picture of every page, into build/screenshots, and renew those of the documents.
	@tests/install-debian-packages
	@$(BIN)/python -m tests.dashboard.screenshots $(ARGS)

bench: .venv/.bench ## Print the benchmark table, and how long pages take (some 20 minutes).
	@tests/install-debian-packages redis-server:redis-server
	@$(BIN)/python -m benchmarks $(ARGS)

bench-growth: .venv/.bench ## Measure how speed holds as the database grows (hours; goes on where it was broken off).
	@$(BIN)/python -m benchmarks.growth $(ARGS)

faults: .venv/.dev ## Inject faults, and refresh docs/reliability.md (90 minutes; goes on where it was broken off).
	@tests/install-debian-packages
	@$(BIN)/python -m faults --report $(ARGS)

soak: .venv/.dev ## Half an hour of steady load, on the same page.
	@tests/install-debian-packages
	@$(BIN)/python -m faults --soak --report $(ARGS)

.venv/.audit: .venv/.runtime requirements/audit.txt
	@echo "Installing the pinned tools of the audit into .venv/audit ..."
	@$(PYTHON) -m venv .venv/audit
	@.venv/audit/bin/python -m pip --disable-pip-version-check --quiet install --no-deps --require-hashes -r requirements/audit.txt
	@touch $@

audit: .venv/.audit ## Look for known weaknesses of dependencies; list licences and parts (it informs, and fails nothing).
	@deploy/audit build/audit

lock: ## Pin the dependencies anew (needs uv).
	@uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --group build --group dev pyproject.toml -o requirements/dev.txt
	@uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --group build pyproject.toml -c requirements/dev.txt -o requirements/runtime.txt
	@uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --group audit pyproject.toml -c requirements/dev.txt -o requirements/audit.txt
	@uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --group build --group dev --group bench pyproject.toml -c requirements/dev.txt -o requirements/bench.txt
