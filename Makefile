# `make demo` runs the main job, `make check` what to run while you work, `make test` every check. Each makes its own
# .venv; none needs an account or a key. `HYPOTHESIS_PROFILE=nightly make test` takes more examples and larger files.
PYTHON ?= python3
BIN := .venv/bin
# What is installed is pinned by version and hash in requirements/, which `make lock` writes. Our own packages come last and
# bring nothing: what they need, and what builds them, is in the lock.
PIP := -m pip install --quiet --disable-pip-version-check --no-deps
LOCKED := $(PIP) --require-hashes --requirement
OURS := $(PIP) --no-build-isolation

# Where it is set, as in many a container, each process that tests compiles everything again: 4 s, and more for commands.
unexport PYTHONDONTWRITEBYTECODE

# On two cores, two processes that test; on more, as many.
PYTEST := -m pytest --quiet --numprocesses=auto --dist=worksteal

.PHONY: check test demo lint types mypy pyright pytest pythons contrib contrib-types contrib-pytest docs bench lock clean
.DEFAULT_GOAL := test

# Under a minute on two cores: what is marked slow, and pyright, are for `make test`.
check: lint mypy
	$(BIN)/python $(PYTEST) -m "not slow"

# What checks types takes one core each, so two run side by side.
test: .venv/ready .venv-contrib/ready
	$(MAKE) --jobs=2 --output-sync=target lint mypy pyright contrib-types
	$(MAKE) pytest contrib-pytest

demo: .venv/ready
	$(BIN)/replay-identity demo

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: mypy pyright

mypy: .venv/ready
	$(BIN)/mypy

pyright: .venv/ready
	$(BIN)/pyright

pytest: .venv/ready
	$(BIN)/coverage erase
	$(BIN)/coverage run $(PYTEST)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

# The tests that are not slow on every other Python from 3.11 on that this machine has; .ci/run runs them, and the matrix
# of the GitHub workflow does the same. What is slow does not depend on the version of Python.
pythons: .venv/ready
	@for python in $$($(BIN)/python .ci/other_pythons.py); do \
		name=.venv-$$($$python -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
		echo "== $$python ($$name)"; \
		test $$name/ready -nt pyproject.toml -a $$name/ready -nt requirements/dev.txt || { \
			$$python -m venv --clear $$name && \
			$$name/bin/python $(LOCKED) requirements/dev.txt && \
			$$name/bin/python $(OURS) --editable . && \
			touch $$name/ready; } || exit 1; \
		$$name/bin/python $(PYTEST) -m "not slow" || exit 1; \
	done

# The contributed adapters, in an environment of their own: the library's tests find none of them.
CONTRIB := ../.venv-contrib/bin
CONTRIBUTED := $(dir $(wildcard adapters_contrib/*/pyproject.toml))
contrib: contrib-types contrib-pytest

# mypy folder by folder, since each has a package `tests`; one cache holds what they share.
contrib-types: .venv-contrib/ready
	@for folder in $(CONTRIBUTED); do \
		echo "== $$folder"; \
		(cd $$folder && \
			../$(CONTRIB)/mypy --cache-dir ../../.mypy_cache/contrib --config-file ../pyproject.toml .) || exit 1; \
	done
	cd adapters_contrib && $(CONTRIB)/pyright .

contrib-pytest: .venv-contrib/ready
	cd adapters_contrib && $(CONTRIB)/python $(PYTEST) .

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
