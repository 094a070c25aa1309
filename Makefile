# Every target first installs what it needs: on a fresh machine, type `make demo` or `make test` and nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
FLOOR_LIGHTNING := 2.5.0.post0
# Without compiled modules each process of the tests would compile torch and Lightning anew: some 9 s.
unexport PYTHONDONTWRITEBYTECODE
BOTH_PACKAGES := $(addprefix tests/,trainer/test_lr_tracer.py trainer/test_progress_bar.py contracts/test_interfaces.py \
	callbacks/test_lr_range_test.py callbacks/test_scheduled_lr.py)

.PHONY: demo test lint tests tests-of-both-packages docs pictures test-floor test-pytorch-lightning bench bench-full bench-check matrix faults

demo: $(VENV)/.installed
	$(BIN)/python examples/demo.py

# All at the same time: a test that waits for a browser or for another process leaves its core to the other jobs.
test: $(VENV)/.installed
	$(MAKE) --jobs 3 lint tests tests-of-both-packages

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(MAKE) docs

tests: $(VENV)/.installed
	$(BIN)/pytest -n 2 --dist worksteal

# The files that use the most of Lightning, with the classes of pytorch_lightning. The cache of `pytest --last-failed` is
# that of the other tests.
tests-of-both-packages: $(VENV)/.installed
	TEST_LIGHTNING=pytorch_lightning $(BIN)/pytest -p no:cacheprovider $(BOTH_PACKAGES)

# The site of the documentation, in site/. Warnings are errors.
docs: $(VENV)/.installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# Every picture of the documentation. Look at them before you commit them.
pictures: $(VENV)/.installed
	PYTHONPATH=. $(BIN)/python examples/pictures.py

# All tests with the classes of pytorch_lightning.
test-pytorch-lightning: $(VENV)/.installed
	TEST_LIGHTNING=pytorch_lightning $(BIN)/pytest -n 2 --dist worksteal

# The same tests with the oldest supported Lightning. It needs older versions of fsspec, packaging and rich than
# constraints.txt pins.
test-floor: .venv-floor/.installed
	.venv-floor/bin/pytest -n 2 --dist worksteal

# All figures of docs/benchmarks.md: in under 20 minutes on two free cores, or in hours with more seeds and lengths.
bench: $(VENV)/.installed-benchmarks
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.bench

bench-full: $(VENV)/.installed-benchmarks
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.bench --full

# Which costs got worse than the spread of those in benchmarks/results.
bench-check: $(VENV)/.installed
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.check

$(VENV)/.installed-benchmarks: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[benchmarks]"
	touch $@

# Every callback in every setting, all faults, and docs/support.md from them: some quarter of an hour on two processors.
matrix: $(VENV)/.installed
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.contracts

# The faults alone, and a table of them.
faults: $(VENV)/.installed
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.faults

# The pinned torch is installed first, so that the second command finds it installed. Modules are compiled when they are
# imported: most never are.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt pip  # one that knows --group
	$(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt --editable ".[examples,optuna]" \
		--group dev
	touch $@

.venv-floor/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-floor
	grep -v -i -E "^((pytorch-)?lightning|fsspec|packaging|rich)=" constraints.txt > .venv-floor/constraints.txt
	.venv-floor/bin/python -m pip install --quiet --constraint constraints.txt pip
	.venv-floor/bin/python -m pip install --quiet --constraint .venv-floor/constraints.txt torch
	.venv-floor/bin/python -m pip install --quiet --constraint .venv-floor/constraints.txt lightning==$(FLOOR_LIGHTNING) "rich<14.1" --editable ".[examples,optuna]" --group test
	touch $@

CLIENTS := darts neuralforecast pytorch_forecasting scvi chemprop pytorch_tabular

.PHONY: clients $(CLIENTS:%=clients-%)

# Trainings inside real projects, and docs/clients.md from them. `make clients-darts` runs one project.
clients: $(CLIENTS:%=clients-%)
	$(PYTHON) clients/table.py $(CLIENTS:%=clients/.rows/%.jsonl) > docs/clients.md

$(CLIENTS:%=clients-%): clients-%: clients/.venvs/%/.installed
	mkdir -p clients/.rows clients/.work/$*
	cd clients/.work/$* && OMP_NUM_THREADS=1 ../../.venvs/$*/bin/python -m clients.project_$* > ../../.rows/$*.jsonl 2> log.txt || (tail -5 log.txt; exit 1)

clients/.venvs/%/.installed: clients/requirements/%.txt
	$(PYTHON) -m venv --clear clients/.venvs/$*
	clients/.venvs/$*/bin/python -m pip install --quiet $$(grep "^torch==" $<)
	clients/.venvs/$*/bin/python -m pip install --quiet --requirement $<
	clients/.venvs/$*/bin/python -m pip install --quiet --no-deps --editable .
	touch $@

# make would delete these after use.
.PRECIOUS: clients/.venvs/%/.installed
