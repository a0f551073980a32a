# `make demo` shows the whole product; `make test` proves it. Everything is installed into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# A hub name or a checkpoint's directory; MODEL=patrickjohncyh/fashion-clip is the real one.
MODEL ?= assets/demo-clip
PORT ?= 8000
# An extra package index for torch, e.g. PyTorch's CPU-only one (README, "Two commands").
TORCH_INDEX ?=

.PHONY: install demo serve stack cluster test test-stack chaos chaos-import chaos-reindex lint format clean help

help:  ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

install: $(VENV)/installed  ## Install the service into .venv

demo: $(VENV)/installed  ## Upload a catalogue to a fresh stack, ask by words and by a photo, show the answers, stop
	@$(BIN)/python -m scripts.demo --model "$(MODEL)"

serve: $(VENV)/installed  ## The same in ./data, once, and keep serving on PORT (8000)
	@$(BIN)/python -m scripts.demo --model "$(MODEL)" --serve --data-dir data --port $(PORT)

stack: $(VENV)/installed-dev  ## Serve configs/cluster.yaml against separate PostgreSQL, Chroma, Redis, S3 and SMTP servers
	@$(BIN)/python -m scripts.stack --model "$(MODEL)" --port $(PORT)

cluster: $(VENV)/installed-dev  ## Three Ray nodes on this machine: index, ask, kill a worker node, then the head
	@$(BIN)/python -m scripts.cluster --model "$(MODEL)"

test: $(VENV)/installed-dev  ## Run all tests against real PostgreSQL, Chroma and Ray Serve
	@$(BIN)/python -m pytest

test-stack: $(VENV)/installed-dev  ## The integration tests against the servers of make stack
	@STACK=cluster $(BIN)/python -m pytest tests/integration

chaos: chaos-import chaos-reindex  ## The long tests: imports while parts are killed, models changed while shoppers ask

chaos-import: $(VENV)/installed-dev  ## Import 5,000 photos by CSV, then by ZIP, while parts are killed, 5 times each
	@IMPORT_CHAOS_PHOTOS=5000 IMPORT_CHAOS_KILLS=5 $(BIN)/python -m pytest -s tests/chaos/test_killed_import.py

chaos-reindex: $(VENV)/installed-dev  ## Change the model under load: killed, stopped by the gate, rolled back, pruned
	@REINDEX_CHAOS=1 $(BIN)/python -m pytest -s tests/chaos/test_reindex.py

lint: $(VENV)/installed-dev  ## Style, types and import directions
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check -q .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache | tail -n 8

format: $(VENV)/installed-dev  ## Format the code
	@$(BIN)/ruff check -q --fix .
	@$(BIN)/ruff format -q .

clean:  ## Remove .venv and build output; data/ stays
	rm -rf $(VENV) build .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; this is $$($(PYTHON) --version). Try: make PYTHON=python3.12"; exit 2; }
	@echo "Installing into $(VENV) (a few minutes the first time) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt \
	  $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch
	@$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed
	@$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@
