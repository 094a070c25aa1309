# Every target first installs what it needs: on a fresh machine, type `make demo` or `make test` and nothing else.
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

# The same tests with the oldest supported Lightning. It needs older versions of fsspec, packaging and rich than
# constraints.txt pins.
test-floor: .venv-floor/.installed
	.venv-floor/bin/pytest -n 2 --dist worksteal

# The pinned torch is installed first, so that the second command finds it installed.
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
