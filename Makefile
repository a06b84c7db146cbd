# Everything works on a fresh Debian 12: `make run` and `make test` set up what they need.
#
#   make run                     a call that you play in this terminal (without a terminal: a scripted one)
#   make run PBX=asterisk        the same through a real Asterisk, fetched from Debian's packages
#   make run PBX=freeswitch      the same through the FreeSWITCH of this machine, if there is one
#   make test                    all tests

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PBX ?= simulated
KEYS ?=
ARGS ?=
MINUTES ?=
# One worker computes, the others mostly listen to prompts: more workers than processors (tests/conftest.py).
WORKERS ?= 6

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= $(firstword $(foreach name,python3.14 python3.13 python3.12 python3.11 python3,\
	$(shell $(name) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(name))))

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: $(VENV)/.tools $(VENV)/.installed ## make the virtual environment, fetch packages, voice and audio tools

.PHONY: run
run: setup ## make one call: PBX=simulated|asterisk|freeswitch, KEYS=1 (what the caller presses, without a terminal)
	@$(BIN)/ivr-consent run --pbx $(PBX) $(if $(KEYS),--keys $(KEYS)) $(ARGS)

.PHONY: test
test: fetch setup ## run all tests; ARGS='-k server' for some
	$(BIN)/pytest -n $(WORKERS) --reruns 1 --rerun-show-tracebacks -raR $(ARGS)

.PHONY: lint
lint: setup ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.PHONY: mutants
mutants: setup ## plant faults one by one, and see that the tests notice; ARGS=flow for some
	$(BIN)/python -m tests.mutants $(ARGS)

# The fuzzer has wheels for Linux on x86-64 alone, so it is no part of the set-up: elsewhere all but this works.
.PHONY: fuzz
fuzz: setup ## fuzz all readers with coverage (atheris); MINUTES=60 altogether, ARGS=agi for some
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps --only-binary :all: \
		-r tests/fuzz/requirements.txt || echo "atheris cannot be installed here: it is made for Linux on x86-64" >&2
	$(BIN)/python -m tests.fuzz $(if $(MINUTES),--minutes $(MINUTES)) $(ARGS)

.PHONY: soak
soak: setup ## random callers on a real Asterisk, faults in between: MINUTES=10; SEED=1 repeats one, ASTERISK=16
	@$(BIN)/python -m tests.soak $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEED),--seed $(SEED)) \
		$(if $(ASTERISK),--asterisk $(ASTERISK)) $(ARGS)

.PHONY: bench
bench: setup ## measure speed and memory; results go to bench/results
	$(BIN)/python -m bench.agi
	$(BIN)/python -m bench.memory
	$(BIN)/python -m bench.prompts
	$(BIN)/python -m bench.ledger
	$(BIN)/python -m bench.audit
	$(BIN)/python -m bench.verify
	$(BIN)/python -m bench.questions --events 1000000
	$(BIN)/python -m bench.guard
	$(BIN)/python -m bench.scenarios
	$(BIN)/python -m bench.live

.PHONY: lock
lock: setup ## resolve all packages anew into requirements-dev.txt (with Python 3.11)
	$(BIN)/python .ci/lock.py

.PHONY: clean
clean: ## remove what was made, but for calls and logs in run/
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- set-up ---

# Both Asterisks for a whole run, in the background while packages are installed. It needs nothing but Python; the tests
# wait for it, and fetch what failed here themselves, with the reason if they cannot.
.PHONY: fetch
fetch:
	@if [ -n "$(PYTHON)" ] && [ -z '$(subst ','\'',$(ARGS))' ]; then for version in 22 16; do \
		$(PYTHON) -c "from ivr_consent.testing.rig import fetch; fetch('$$version')" </dev/null >/dev/null 2>&1 & \
	done; fi

# System programs: installed where we may, else said how. A stamp older than this file is looked at again.
$(VENV)/.tools: Makefile
	@missing=(); \
	for pair in espeak-ng:espeak-ng ffmpeg:ffmpeg openssl:openssl cc:gcc; do command -v "$${pair%%:*}" >/dev/null || missing+=("$${pair##*:}"); done; \
	[ -e /usr/include/stdio.h ] || missing+=(libc6-dev); \
	if [ -z "$(PYTHON)" ]; then missing+=(python3 python3-venv); fi; \
	if ! [ -x $(BIN)/python ] && [ -n "$(PYTHON)" ] && ! $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null; then \
		missing+=("$$($(PYTHON) -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"); fi; \
	if [ $${#missing[@]} -gt 0 ]; then \
		command="apt-get install -y --no-install-recommends $${missing[*]}"; \
		if ! command -v apt-get >/dev/null; then \
			echo "missing: $${missing[*]} - install them with your system's package manager, then run make again" >&2; exit 1; \
		elif [ "$$(id -u)" = 0 ]; then \
			echo "installing: $${missing[*]}"; export DEBIAN_FRONTEND=noninteractive; apt-get update -q=2; $$command; \
		elif sudo -n true 2>/dev/null; then \
			echo "installing: $${missing[*]}"; sudo apt-get update -q=2; sudo DEBIAN_FRONTEND=noninteractive $$command; \
		else \
			echo "missing: $${missing[*]} - run this, then make again:  sudo $$command" >&2; exit 1; \
		fi; \
	fi
	@mkdir -p $(VENV) && touch $@

# In a sub-make, for the Python that the tools above may just have brought.
$(VENV)/.installed: requirements-dev.txt pyproject.toml Makefile | $(VENV)/.tools
	@$(MAKE) --no-print-directory install
	@touch $@

.PHONY: install
install:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or later is needed: apt-get install python3 python3-venv" >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { echo "making $(VENV) with $(PYTHON)"; $(PYTHON) -m venv $(VENV); }
	@echo "installing the Python packages"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
