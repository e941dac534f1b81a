.DEFAULT_GOAL := help
.PHONY: help setup demo demo-services test coverage fast lint format check bench year campaign chaos sizes reference man completion lock clean
PY := .venv/bin/python
# Who forbids Python to keep what it compiled has each of five pytests compile all the tests: 10 s of CPU for each.
export PYTHONDONTWRITEBYTECODE :=
# Branch coverage of the whole suite under this fails `make coverage`: apart from `make test`, since counting lines
# costs a third more time.
COVERAGE := 90
# The oldest restic that is supported runs everything, the newest what turns on restic: mostly as tests/quick_restic.py
# makes them, and as they are where a test is about restic itself (--plain-restic: everywhere).
OLDEST := $(CURDIR)/.tools/restic-0.18.0/restic
WHERE_RESTIC_MATTERS := tests/tools/test_restic.py tests/sources/test_files.py tests/sources/test_walk.py \
	$(patsubst %,tests/run/test_%.py,drill escrow keys locks recover verify) tests/e2e/test_trip.py tests/e2e/test_rebuild.py
# What is pure or nearly so. Of these too, --fast leaves out what starts servers or takes time.
FAST := tests/plan tests/evidence tests/catalog tests/report tests/tools tests/test_house.py tests/test_changelog.py
# Three times as many workers as two cores: most tests wait for servers. A module's tests mostly stay with one worker.
PYTEST := $(PY) -m pytest -n 6 --dist worksteal -q -p tests.no_skips

help: ## Say what there is
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 16

setup: ## Set up for use: virtual environment, restic (no root needed)
	@scripts/setup

demo: setup ## A small school district: backups, drills, a disaster, recovery, a report
	@scripts/install-locked requirements-demo.lock
	@$(PY) scripts/demo.py

demo-services: ## PostgreSQL, and MariaDB on another host over SSH: drills, a disaster, recovery, a report
	@scripts/setup --services
	@scripts/install-locked requirements-demo.lock
	@$(PY) scripts/demo_services.py

test: ## Set up, and pass the tests, with both restic versions (T=PATH: only those, with the oldest)
	@scripts/setup --test
ifdef T
	DR_RESTIC=$(OLDEST) $(PY) -m pytest -q -p tests.no_skips $(T)
else
	DR_RESTIC=$(OLDEST) $(PYTEST)
	@newest=$$(ls -d .tools/restic-*/restic | sort -V | tail -n 1); \
	case $$newest in .tools/restic-0.18.0/*) echo "no newer restic in .tools: scripts/get-restic --newest" >&2; exit 1;; esac; \
	echo "again with $$newest, where restic matters"; \
	DR_RESTIC=$(CURDIR)/$$newest $(PYTEST) $(WHERE_RESTIC_MATTERS)
endif

coverage: ## The tests once, and which lines and branches they pass through
	@scripts/setup --test
	DR_RESTIC=$(OLDEST) $(PYTEST) --cov --cov-report=term --cov-fail-under=$(COVERAGE)

fast: ## The tests that start no server and take no time: a minute on two idle cores
	@scripts/setup --test
	DR_RESTIC=$(OLDEST) $(PY) -m pytest -n 2 --dist worksteal -q -p tests.no_skips --fast $(FAST)

lint: ## Style, types, import contracts
	@scripts/setup --test
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	.venv/bin/lint-imports

format: ## Mend what can be mended by itself
	@scripts/setup --test
	$(PY) -m ruff check --fix -q .
	$(PY) -m ruff format .

check: lint test ## All that CI does

bench: ## Ratios, ours against the plain tool, measured side by side (T=proof: only tests/bench/bench_proof.py)
	@scripts/setup --test
	@for bench in tests/bench/bench_$(or $(T),*).py; do echo "== $$bench"; PYTHONPATH=. $(PY) $$bench || exit 1; done

year: ## A simulated year of a thousand systems: seconds a tick, memory, the catalog's size (SYSTEMS=100: of so many)
	@scripts/setup --test
	@PYTHONPATH=. $(PY) -m tests.year $(SYSTEMS)

campaign: ## Fifty generated databases, captured, drilled and recovered, and compared by their own dumps
	@scripts/setup --test
	CAMPAIGN=all DR_RESTIC=$(OLDEST) $(PYTEST) tests/campaign

chaos: ## A thousand seeded interruptions of every verb, and what must hold after each
	@scripts/setup --test
	CHAOS=$(or $(N),1000) DR_RESTIC=$(OLDEST) $(PYTEST) tests/chaos

sizes: ## The measures of the house: longest, widest, what the board loads
	@scripts/setup --test
	@$(PY) scripts/sizes.py

reference: ## Write docs/reference.md from the schemas
	@test -x $(PY) || scripts/setup
	@$(PY) scripts/reference.py

man: ## Write the manual pages into build/man
	@test -x $(PY) || scripts/setup
	@$(PY) scripts/manual.py

completion: ## Write the completion of bash, zsh and fish into build/completion
	@test -x $(PY) || scripts/setup
	@$(PY) scripts/completion.py

lock: ## Write the lock files from pyproject.toml (UPGRADE=1: to the newest that its ranges allow)
	@scripts/lock $(if $(UPGRADE),--upgrade)

.PHONY: changelog
changelog: ## Print what changed since the last release (V=VERSION: write it into CHANGELOG.md)
	@scripts/setup --test
	@.venv/bin/towncrier build $(if $(V),--yes --version $(V),--draft --version Unreleased)

.PHONY: wheel deb
wheel: ## The program as a wheel, in build/ (pipx install takes it)
	@scripts/setup
	@scripts/wheel

deb: ## The program as a Debian package with all its libraries, in build/
	@scripts/setup
	@scripts/deb

clean: ## Remove what can be made again
	rm -rf .venv .tools build demo-report *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage*
