# `make demo` runs the main job, `make test` every check. Both make their own .venv; neither needs an account or a key.
PYTHON ?= python3
BIN := .venv/bin
# What is installed is pinned by version and hash in requirements/, which `make lock` writes. Our own packages come last and
# bring nothing: what they need, and what builds them, is in the lock.
PIP := -m pip install --quiet --disable-pip-version-check --no-deps
LOCKED := $(PIP) --require-hashes --requirement
OURS := $(PIP) --no-build-isolation

.PHONY: test demo lint types pytest pythons contrib docs bench lock clean
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
		test $$name/ready -nt pyproject.toml -a $$name/ready -nt requirements/dev.txt || { \
			$$python -m venv --clear $$name && \
			$$name/bin/python $(LOCKED) requirements/dev.txt && \
			$$name/bin/python $(OURS) --editable . && \
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

# Write the lock files; versions move only where pyproject.toml demands it, or all of them with `make lock UPGRADE=--upgrade`.
UV := uv==0.13.9
COMPILE = .venv-lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-emit-find-links --custom-compile-command "make lock" $(UPGRADE)
lock: .venv-lock/ready
	$(COMPILE) pyproject.toml --all-extras --group dev --output-file requirements/dev.txt
	printf '%s\n' "-e .[testing]" $(foreach folder,$(CONTRIBUTED),"-e ./$(folder)[testing]") | $(COMPILE) - --group types \
		--group test --constraints requirements/dev.txt --no-emit-package replay-identity \
		$(foreach folder,$(CONTRIBUTED),--no-emit-package replay-identity-$(notdir $(folder:%/=%))) \
		--output-file requirements/contrib.txt
	$(COMPILE) --group release --constraints requirements/dev.txt --output-file requirements/release.txt

clean:
	rm -rf .venv .venv-3.* .venv-contrib .venv-lock .venv-bench .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache

.venv/ready: pyproject.toml requirements/dev.txt
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.13" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python $(LOCKED) requirements/dev.txt
	$(BIN)/python $(OURS) --editable .
	$(BIN)/python -m pip check
	@touch $@

.venv-contrib/ready: pyproject.toml requirements/contrib.txt $(wildcard adapters_contrib/*/pyproject.toml)
	$(PYTHON) -m venv --clear .venv-contrib
	.venv-contrib/bin/python $(LOCKED) requirements/contrib.txt
	.venv-contrib/bin/python $(OURS) --editable . $(foreach folder,$(CONTRIBUTED),--editable "./$(folder)")
	.venv-contrib/bin/python -m pip check
	@touch $@

.venv-lock/ready: Makefile
	$(PYTHON) -m venv --clear .venv-lock
	.venv-lock/bin/python $(PIP) $(UV)
	@touch $@
