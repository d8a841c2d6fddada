# Each target makes its own .venv where there is none.
PYTHON ?= python3
BIN := .venv/bin
# Tests share the cores by file, since files share their expensive fixtures.
PYTEST := $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

.PHONY: tune test check benchmark figure clean

tune: .venv/ready  ## tune the three embedded tiers: no key, no network
	@$(BIN)/tierwise tune --yes $(ARGS)

test: .venv/ready-dev  ## the test suite
	@$(PYTEST) $(ARGS)

check: .venv/ready-dev  ## everything that must hold before a commit lands
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(PYTEST)

# Those that print ratios within a couple of minutes; benchmarks/README.md has the others.
RATIOS := evaluation_speed reporting_speed serving_overhead

benchmark: .venv/ready-dev  ## ratios from one run on this machine
	@for name in $(RATIOS); do echo "== $$name"; $(BIN)/python benchmarks/$$name.py || exit 1; done

figure: .venv/ready  ## the README's figure, from recorded answers of real models
	@$(BIN)/python tools/pictures/recorded.py

.venv/ready: pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing tierwise into .venv (once, a minute or two) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

.venv/ready-dev: pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing tierwise and its tools into .venv (once, a minute or two) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch .venv/ready $@

clean:
	rm -rf .venv runs .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
