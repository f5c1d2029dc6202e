# `make demo` shows the library at work, `make check` runs the checks for every commit, and `make test` runs all checks.
# Each target creates the virtual environments that it needs; none needs an account or a key at a vendor.
# `HYPOTHESIS_PROFILE=nightly make test` runs more Hypothesis examples and larger files.
PYTHON ?= python3
BIN := .venv/bin
# requirements/ pins every package by version and hash; `make lock` writes it. The packages of this repository are installed
# last and without dependencies: the lock files contain those, and the build tools too.
PIP := -m pip install --quiet --disable-pip-version-check --no-deps
LOCKED := $(PIP) --require-hashes --requirement
LOCAL := $(PIP) --no-build-isolation

# Many containers set this. Each test process would then compile every module again, which takes 4 s, or longer in tests of
# the command line.
unexport PYTHONDONTWRITEBYTECODE

# One test process per core.
PYTEST := -m pytest --quiet --numprocesses=auto --dist=worksteal

.PHONY: check test demo lint types mypy pyright pytest pythons contrib contrib-types contrib-pytest endurance docs bench bench-check \
	bench-accept lock clean
.DEFAULT_GOAL := test

# About a minute on two cores: pyright and the tests marked slow run in `make test` only.
check: lint mypy
	$(BIN)/python $(PYTEST) -m "not slow"

# Each type checker uses one core, so two of them run in parallel.
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

# Run the tests that are not slow on every other Python >= 3.11 of this machine, as .ci/run does. The slow tests do not
# depend on the version of Python.
pythons: .venv/ready
	@for python in $$($(BIN)/python .ci/other_pythons.py); do \
		name=.venv-$$($$python -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
		echo "== $$python ($$name)"; \
		test $$name/ready -nt pyproject.toml -a $$name/ready -nt requirements/dev.txt || { \
			$$python -m venv --clear $$name && \
			$$name/bin/python $(LOCKED) requirements/dev.txt && \
			$$name/bin/python $(LOCAL) --editable . && \
			touch $$name/ready; } || exit 1; \
		$$name/bin/python $(PYTEST) -m "not slow" || exit 1; \
	done

# The contributed adapters have their own environment, so that the library's tests run without them.
CONTRIB := ../.venv-contrib/bin
CONTRIBUTED := $(dir $(wildcard adapters_contrib/*/pyproject.toml))
contrib: contrib-types contrib-pytest

# mypy runs once per folder, because each folder has a package `tests`. The runs share one cache.
contrib-types: .venv-contrib/ready
	@for folder in $(CONTRIBUTED); do \
		echo "== $$folder"; \
		(cd $$folder && \
			../$(CONTRIB)/mypy --cache-dir ../../.mypy_cache/contrib --config-file ../pyproject.toml .) || exit 1; \
	done
	cd adapters_contrib && $(CONTRIB)/pyright .

contrib-pytest: .venv-contrib/ready
	cd adapters_contrib && $(CONTRIB)/python $(PYTEST) .

# A million steps of the ledger against its model, then ten minutes of processes that are killed. About an hour.
endurance: .venv/ready
	REPLAY_IDENTITY_LEDGER_STEPS=1000000 $(BIN)/python -m pytest --quiet tests/ledger/test_ledger_model.py
	PYTHONPATH=tests $(BIN)/python -m support.endurance --minutes 10

# Regenerate the tables that the pages take from the code.
docs: .venv/ready
	$(BIN)/python docs/_generate.py

# Run the benchmarks, which takes a few minutes. The tests never run them.
bench: .venv/ready
	$(BIN)/python benchmarks/run.py

# Compare the ratios of a smaller run, about six minutes, with benchmarks/figures.json, or keep them there.
bench-check: .venv/ready
	$(BIN)/python benchmarks/check.py

bench-accept: .venv/ready
	$(BIN)/python benchmarks/check.py --accept

# Write the lock files. Only the versions that must change do; `make lock UPGRADE=--upgrade` updates all of them.
UV := uv==0.13.9
COMPILE = .venv-lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-emit-find-links --custom-compile-command "make lock" $(UPGRADE)
lock: .venv-lock/ready
	$(COMPILE) pyproject.toml --all-extras --group dev --output-file requirements/dev.txt
	printf '%s\n' "-e .[testing]" $(foreach folder,$(CONTRIBUTED),"-e ./$(folder)[testing]") | $(COMPILE) - --group types \
		--group test --group clients --constraints requirements/dev.txt --no-emit-package replay-identity \
		$(foreach folder,$(CONTRIBUTED),--no-emit-package replay-identity-$(notdir $(folder:%/=%))) \
		--output-file requirements/contrib.txt
	$(COMPILE) --group release --constraints requirements/dev.txt --output-file requirements/release.txt

clean:
	rm -rf .venv .venv-3.* .venv-contrib .venv-lock .venv-bench .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache

.venv/ready: pyproject.toml requirements/dev.txt
	@$(PYTHON) -c 'import sys; sys.exit("PYTHON: expected Python 3.11 or newer; run make PYTHON=python3.13" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python $(LOCKED) requirements/dev.txt
	$(BIN)/python $(LOCAL) --editable .
	$(BIN)/python -m pip check
	@touch $@

.venv-contrib/ready: pyproject.toml requirements/contrib.txt $(wildcard adapters_contrib/*/pyproject.toml)
	$(PYTHON) -m venv --clear .venv-contrib
	.venv-contrib/bin/python $(LOCKED) requirements/contrib.txt
	.venv-contrib/bin/python $(LOCAL) --editable . $(foreach folder,$(CONTRIBUTED),--editable "./$(folder)")
	.venv-contrib/bin/python -m pip check
	@touch $@

.venv-lock/ready: Makefile
	$(PYTHON) -m venv --clear .venv-lock
	.venv-lock/bin/python $(PIP) $(UV)
	@touch $@
