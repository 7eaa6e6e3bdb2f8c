# The two commands a newcomer needs are `make demo` and `make test`; both set everything up themselves.
# PYTHON names the interpreter to set up with; ARGS is passed on, as in: make test ARGS="-k parser"

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test lint sample format lock clean

export PYTHON ?= python3
UV_COMPILE := .venv/bin/uv pip compile pyproject.toml --quiet --upgrade --universal --python-version 3.11 \
	--fork-strategy fewest --generate-hashes --annotation-style line --custom-compile-command "make lock"

help:  ## show this list
	@sed -n 's/^\([a-z]*\):  *## \(.*\)/  make \1\t\2/p' Makefile | expand -t 16

demo:  ## audit an embedded AWS organisation; no AWS account needed
	@scripts/setup demo
	@.venv/bin/auditor demo $(ARGS)

test:  ## run the whole test suite
	@scripts/setup test
	@.venv/bin/pytest -n 3 --dist worksteal $(ARGS)  # on two cores: some of them wait for what takes its time

lint:  ## ruff, mypy --strict and the import rules
	@scripts/setup dev
	@.venv/bin/ruff check
	@.venv/bin/ruff format --check
	@.venv/bin/mypy
	@.venv/bin/pytest -q tests/test_imports.py

sample:  ## renew the golden run in reports/sample after a deliberate change
	@scripts/setup demo
	@rm -rf build/sample
	@.venv/bin/auditor demo -q --as-of 2026-11-22T19:00:00Z --output build/sample
	@rm -rf reports/sample && mkdir -p reports && mv build/sample/* reports/sample

format:  ## put the code into the one format
	@scripts/setup dev
	@.venv/bin/ruff check --fix-only --quiet
	@.venv/bin/ruff format

lock:  ## resolve the dependencies anew, with versions and hashes
	@scripts/setup dev
	@$(UV_COMPILE) --extra demo --group build -o requirements/demo.lock
	@$(UV_COMPILE) --extra demo --extra dask --group dev -c requirements/demo.lock -o requirements/dev.lock

clean:  ## remove what set-up, tests and builds made; reports stay
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
