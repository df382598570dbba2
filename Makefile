# What people and CI run. `make` alone lists the targets.

PYTHON ?= python3
PORT ?= 8000
WORKERS ?= 2
BIN := .venv/bin

up: export PORT := $(PORT)
# Linters, type checks and tests read fixed values, whatever the machine's own are.
lint test: export ENV_FILE := tests/settings.env

.DEFAULT_GOAL := help
.PHONY: help install up test lint format lock bench clean

help: ## List the targets
	@sed -n 's/^\([a-z]*\):.*## /\1 /p' $(MAKEFILE_LIST) | while read -r target text; do \
		printf '  make %-10s %s\n' "$$target" "$$text"; done

install: ## Install what the lock files say into .venv and node_modules, build the front end
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "This needs Python 3.11 or newer, and '$(PYTHON)' is not: $$($(PYTHON) --version 2>&1)" >&2; \
		echo "Install one (Debian, Ubuntu: apt-get install python3 python3-venv; Fedora: dnf install python3;" >&2; \
		echo "macOS: brew install python) or name it: make $(firstword $(MAKECMDGOALS)) PYTHON=python3.12" >&2; \
		exit 1; }
	@$(PYTHON) platform/devstack/install.py

up: install ## Run everything at http://localhost:8000 (PORT=8001 for another port); Ctrl-C stops it
	@$(BIN)/python -m devstack up

test: lint ## Lint, check types and run every test (WORKERS=4 for more at once)
	@$(BIN)/python -m devstack chromium
	$(BIN)/pytest -n $(WORKERS) --dist loadgroup

lint: install ## Check style and types, of Python and TypeScript
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m devstack npm run check

format: install ## Put the Python sources into the one format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: install ## Renew requirements/*.txt from the .in files
	cd requirements && for name in base dev prod; do \
		../$(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 \
			--no-emit-index-url --custom-compile-command "make lock" $$name.in -o $$name.txt || exit 1; done
	cd requirements && ../$(BIN)/uv pip compile --quiet --no-deps --generate-hashes --python-version 3.11 \
		--no-emit-index-url --custom-compile-command "make lock" feeds.in -o feeds.txt

bench: install ## Measure every claim about speed
	$(BIN)/python -m benchmarks

clean: ## Remove what the other targets made, except the data and secrets in var/
	rm -rf .venv node_modules frontend/dist static .mypy_cache .ruff_cache .pytest_cache .hypothesis
