# make demo            label real pictures from end to end  (DATASET=solar-cells|digits|mnist|flowers)
# make test            what must hold after each change: lint, types, import rules, tests
# make soak            the tests that take long: kills, whole nights, clusters
# make test-fast       the tests that need neither TensorFlow nor a server
# make lint | format   check the source, or rewrite it in the agreed form
# make bench           measure speed, print a table and save it as JSON
# make install         only the environment, .venv
# make flink-demo      both jobs on a real Flink inside Beam's job server (needs Java 17 and Maven)
# make runners         fetch Flink, its job server, Prism and Kustomize to this machine (Java 17, Maven, Go)
# make browser         Chromium and its driver, which the tests of pages need (Debian, as root)

SHELL := /bin/sh
.DEFAULT_GOAL := demo
.PHONY: install demo test soak test-fast lint format bench browser runners flink-demo

DATASET ?= solar-cells
BIN := .venv/bin
PYTHON := $(BIN)/python
# A file's tests share what they make, so one process has them all; long ones come early.
PYTEST := $(PYTHON) -m pytest -n 2 --dist loadfile --no-loadscope-reorder
INSTALLED := .venv/.installed
SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))

install: $(INSTALLED)

$(PYTHON):
	@if command -v uv > /dev/null; then exec uv venv --quiet --python '>=3.11,<3.14' .venv; fi; \
	for python in python3.11 python3.12 python3.13 python3; do \
	    if $$python -c '$(SUPPORTED)' 2> /dev/null; then exec $$python -m venv .venv; fi; \
	done; \
	echo 'Python 3.11, 3.12 or 3.13 is needed, and none of them is on the PATH' >&2; \
	exit 1

$(INSTALLED): $(PYTHON) requirements.txt pyproject.toml
	@echo 'Installing the pinned packages into .venv (minutes the first time) ...'
	@if command -v uv > /dev/null; then \
	    install='uv pip install --quiet --compile-bytecode --python $(PYTHON)'; \
	else \
	    install='$(PYTHON) -m pip install --quiet --disable-pip-version-check'; \
	    $(PYTHON) -m pip --version > /dev/null 2>&1 || $(PYTHON) -m ensurepip > /dev/null; \
	fi; \
	$$install -r requirements.txt && $$install --no-deps --no-build-isolation -e .
	@touch $@

demo: install
	@$(BIN)/linnaeus demo --dataset $(DATASET)

runners: install
	@$(PYTHON) -m infra.flink.downloads
	@$(PYTHON) -m infra.prism.build
	@$(PYTHON) -m infra.kubernetes.kustomize version

flink-demo: install
	@$(PYTHON) -m infra.flink.demo

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

browser:
	@if command -v chromium > /dev/null && command -v chromedriver > /dev/null; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null; then \
	    echo 'Installing chromium and chromium-driver ...'; \
	    export DEBIAN_FRONTEND=noninteractive; \
	    { apt-get update -qq && apt-get install -qq -y --no-install-recommends \
	        chromium chromium-driver; } > /dev/null 2>&1 < /dev/null; \
	fi; \
	if ! command -v chromedriver > /dev/null; then \
	    echo 'There is no Chromium: install chromium and chromium-driver to test pages' >&2; \
	fi

test: lint browser
	$(PYTEST) -m 'not soak'

soak: install
	$(PYTEST) -m soak

test-fast: install
	$(PYTEST) -m 'not slow and not soak'

bench: install
	$(PYTHON) -m benchmarks
	$(PYTHON) -m benchmarks --only main-job --rounds 1 --json bench-main-job.json
