# `make demo` runs the main job, `make test` every check. Both make their own .venv; neither needs an account or a key.
PYTHON ?= python3
BIN := .venv/bin
PIP := -m pip install --quiet --disable-pip-version-check

.PHONY: test demo lint types pytest pythons contrib docs bench clean
.DEFAULT_GOAL := test

test: lint types pytest contrib pythons

demo: .venv/ready
	$(BIN)/replay-identity demo

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/ready
	$(BIN)/mypy
	$(BIN)/pyright

pytest: .venv/ready
	$(BIN)/coverage run -m pytest
	$(BIN)/coverage report

# The tests on every other Python from 3.11 on that this machine has, with few examples and but for the slowest: what
# these run (pages of the docs, long commands, a run killed ten times, suites in suites) takes minutes and hangs on no
# version of Python.
SLOW := tests/docs tests/cli/test_cli_sync.py tests/cli/test_cli_ledger.py tests/cli/test_cli_watching.py \
	tests/bulk/test_bulk_killed.py tests/bulk/test_bulk_http.py tests/migration/test_migration_killed.py \
	tests/testing/test_testing_broken_adapters.py tests/testing/test_testing_broken_worlds.py
pythons: .venv/ready
	@for python in $$($(BIN)/python .ci/other_pythons.py); do \
		name=.venv-$$($$python -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
		echo "== $$python ($$name)"; \
		test -f $$name/ready -a $$name/ready -nt pyproject.toml || { \
			$$python -m venv $$name && \
			$$name/bin/python $(PIP) --upgrade "pip>=25.1" && \
			$$name/bin/python $(PIP) --editable ".[cli]" --group test && \
			touch $$name/ready; } || exit 1; \
		$$name/bin/pytest --quiet --hypothesis-profile=few $(SLOW:%=--ignore=%) || exit 1; \
	done

# The contributed adapters, in an environment of their own: the library's tests find none of them.
CONTRIB := ../../.venv-contrib/bin
CONTRIBUTED := $(dir $(wildcard adapters_contrib/*/pyproject.toml))
contrib: .venv-contrib/ready
	@for folder in $(CONTRIBUTED); do \
		echo "== $$folder"; \
		(cd $$folder && $(CONTRIB)/mypy --config-file ../pyproject.toml . && $(CONTRIB)/pyright . && \
			$(CONTRIB)/pytest --quiet .) || exit 1; \
	done

# Bring the tables that the documentation takes from the code up to date.
docs: .venv/ready
	$(BIN)/python docs/_generate.py

# Measurements, never run by the tests; they take a few minutes.
bench: .venv/ready
	$(BIN)/python benchmarks/run.py

clean:
	rm -rf .venv .venv-3.* .venv-contrib .venv-bench .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache

.venv/ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.13" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/python $(PIP) --upgrade "pip>=25.1"
	$(BIN)/python $(PIP) --editable ".[cli]" --group dev
	@touch $@

.venv-contrib/ready: pyproject.toml $(wildcard adapters_contrib/*/pyproject.toml)
	$(PYTHON) -m venv .venv-contrib
	.venv-contrib/bin/python $(PIP) --upgrade "pip>=25.1"
	.venv-contrib/bin/python $(PIP) --editable ".[testing]" --group types --group test \
		$(foreach folder,$(CONTRIBUTED),--editable "./$(folder)[testing]")
	@touch $@
