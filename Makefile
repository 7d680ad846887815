# The only command surface. Every target says what it does: `make help`.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin

.venv/.ok: requirements/bootstrap.txt requirements/dev.txt
	@echo "setting up the Python environment"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/bootstrap.txt
	@$(BIN)/uv pip install -q --python $(BIN)/python --require-hashes -r requirements/dev.txt
	@touch $@
