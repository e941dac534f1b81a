.DEFAULT_GOAL := help
.PHONY: help setup demo test fast lint format check bench sizes clean
PY := .venv/bin/python
# Branch coverage under this fails `make check`.
COVERAGE := 80

help: ## Say what there is
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 16

setup: ## Set up for use: virtual environment, restic (no root needed)
	@scripts/setup

demo: setup ## A small school district: backups, drills, a disaster, recovery, a report
	@$(PY) -m pip -q --disable-pip-version-check install -r requirements-demo.lock
	@$(PY) scripts/demo.py

test: ## Set up, and pass the tests, with both restic versions
	@scripts/setup --test
	$(PY) -m pytest -n 2 -q -p tests.no_skips
	@newest=$$(ls -d .tools/restic-*/restic | sort -V | tail -n 1); echo "again with $$newest"; \
	DR_RESTIC=$$PWD/$$newest $(PY) -m pytest -n 2 -q -p tests.no_skips tests/tools tests/run tests/e2e

fast: ## The tests that take no time
	$(PY) -m pytest -n 2 -q -m "not slow and not browser"

lint: ## Style, types, import contracts
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	.venv/bin/lint-imports

format: ## Mend what can be mended by itself
	$(PY) -m ruff check --fix -q .
	$(PY) -m ruff format .

check: ## All that CI does
	@scripts/setup --test
	$(MAKE) lint
	$(MAKE) test

bench: ## Ratios, ours against the plain tool, measured side by side
	@scripts/setup --test
	@for bench in tests/bench/bench_*.py; do echo "== $$bench"; PYTHONPATH=. $(PY) $$bench || exit 1; done

sizes: ## The ten longest files and functions
	@$(PY) scripts/sizes.py

clean: ## Remove what can be made again
	rm -rf .venv .tools build demo-report *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage*
