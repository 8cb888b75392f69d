# `make demo` and `make test` need nothing but python3 (3.11 to 3.13) and make: each sets up .venv first.
# `make PYTHON=python3.12 ...` chooses another Python for it.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo browser soak test cover mutate simulate crash endurance bench check format clean

VENV := .venv
BIN := $(VENV)/bin
CANDIDATES := $(if $(PYTHON),$(PYTHON),python3 python3.13 python3.12 python3.11 python)
FITS := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))

# Settings of an outer Python would follow us into .venv and break it.
unexport PYTHONHOME PYTHONPATH PIP_USER PIP_TARGET PIP_PREFIX VIRTUAL_ENV
export PIP_DISABLE_PIP_VERSION_CHECK := 1

help: ## list these targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1	\2/p' Makefile

demo: $(VENV)/.for-use ## see it work: 300 users, two tenants, a crash, a clean end; no tenant needed
	@$(BIN)/presence-manager demo

test: $(VENV)/.for-work $(if $(ARGS),$(if $(findstring page,$(ARGS)),browser),browser) ## run the tests
	@$(BIN)/python -W error -X dev -m pytest $(ARGS)

cover: $(VENV)/.for-work ## core, gate, engine and ledger: each branch is tested on purpose
	@$(BIN)/coverage run -m pytest tests/core tests/engine tests/awaits tests/ledger \
		tests/contract $(ARGS)
	@$(BIN)/coverage report

mutate: $(VENV)/.for-mutation ## break core/ and the gate in small ways: does a test see it? half an hour
	@HYPOTHESIS_PROFILE=mutate nice -n 19 $(BIN)/mutmut run --max-children 1 $(ARGS)
	@$(BIN)/mutmut results
	@echo "tests/core/SURVIVORS.md explains those that may survive; mutmut show NAME shows one"

simulate: $(VENV)/.for-work ## look for seeds that break a rule; SECONDS=600, or ARGS='--seed N'
	@$(BIN)/python -m tests.simulate $(if $(SECONDS),--seconds $(SECONDS)) $(ARGS)

crash: $(VENV)/.for-work ## kill processes at every step; N=3000 times, or ARGS='--story S --point P --at K'
	@$(BIN)/python -m tests.crash $(if $(N),--kills $(N)) $(ARGS)

endurance: $(VENV)/.for-work ## hold, renew and clear, does anything grow? N=200000, some minutes
	@$(BIN)/python -m tests.endurance $(if $(N),--operations $(N)) $(ARGS)

bench: $(VENV)/.for-bench ## measure it beside its peers, twenty minutes; ARGS=--quick, ARGS=--help
	@$(BIN)/python -m benchmarks $(ARGS)

soak: $(VENV)/.for-work ## load the daemon, ten minutes at 500 calls a second; ARGS='--seconds 60'
	@$(BIN)/python -m benchmarks.soak $(ARGS)

check: $(VENV)/.for-work ## lint, formatting, types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: $(VENV)/.for-work ## put the code into shape
	@$(BIN)/ruff check --fix-only .
	@$(BIN)/ruff format .

clean: ## remove .venv and all that was made
	@rm -rf $(VENV) mutants .coverage .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The tests of the page need Chromium. Where we may, we install it; elsewhere they say what to do.
browser:
	@for name in chromium chromium-browser google-chrome google-chrome-stable; do \
		if command -v $$name >/dev/null; then exit; fi; \
	done; \
	if [ -n "$$NO_BROWSER" ] || [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then exit 0; fi; \
	echo "installing Debian's chromium, for the tests of the page ..."; \
	apt="apt-get -qq -y -o APT::Sandbox::User=root -o Acquire::http::Timeout=20"; \
	{ $$apt update && DEBIAN_FRONTEND=noninteractive $$apt install --no-install-recommends chromium; } \
		>/dev/null || true

# One environment, a stamp for each use: who only runs the demo installs no tools for developers.
$(VENV)/.for-use: pyproject.toml $(BIN)/python
	@echo "installing presence-manager into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --editable '.[cli]'
	@touch $@

$(VENV)/.for-work: pyproject.toml $(BIN)/python
	@echo "installing presence-manager and the tools for its tests into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@ $(VENV)/.for-use

$(VENV)/.for-mutation: pyproject.toml $(BIN)/python
	@echo "installing presence-manager and mutmut into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --editable '.[mutate]'
	@touch $@ $(VENV)/.for-work $(VENV)/.for-use

$(VENV)/.for-bench: pyproject.toml $(BIN)/python
	@echo "installing presence-manager and its peers into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --editable '.[bench]'
	@touch $@

$(BIN)/python:
	@for python in $(CANDIDATES); do \
		if "$$python" -c '$(FITS)' 2>/dev/null; then found=$$python; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
		echo "presence-manager needs Python 3.11, 3.12 or 3.13; none of these is one: $(CANDIDATES)" >&2; \
		echo "name one that is: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)" >&2; exit 1; \
	fi; \
	if ! "$$found" -c 'import ensurepip, venv' 2>/dev/null; then \
		echo "$$found cannot make virtual environments: its modules venv and ensurepip are missing" >&2; \
		echo "(on Debian and Ubuntu: apt install python3-venv)" >&2; exit 1; \
	fi; \
	"$$found" -m venv --clear $(VENV)
