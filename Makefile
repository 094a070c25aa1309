# Set-up is part of every target: on a fresh machine `make demo` or `make test` is all there is to type.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
FLOOR_LIGHTNING := 2.5.0.post0

.PHONY: demo test test-floor

demo: $(VENV)/.installed
	$(BIN)/python examples/demo.py

test: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -n 2 --dist worksteal

# The same tests with the oldest Lightning that is supported, which is at odds with newer versions of what it uses.
test-floor: .venv-floor/.installed
	.venv-floor/bin/pytest -n 2 --dist worksteal

# torch first, by itself and pinned: what comes behind then finds it installed.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

.venv-floor/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-floor
	grep -v -i -E "^((pytorch-)?lightning|fsspec|packaging|rich)=" constraints.txt > .venv-floor/constraints.txt
	.venv-floor/bin/python -m pip install --quiet --constraint .venv-floor/constraints.txt torch
	.venv-floor/bin/python -m pip install --quiet --constraint .venv-floor/constraints.txt lightning==$(FLOOR_LIGHTNING) "rich<14.1" --editable ".[dev]"
	touch $@
