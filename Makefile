# make demo            label real pictures from end to end  (DATASET=solar-cells|digits|mnist|flowers)
# make test            what must hold after each change: lint, types, import rules, tests
# make soak            the tests that take long: kills, whole workflows, clusters
# make test-fast       the tests that need neither TensorFlow nor a server
# make lint | format   check the source, or rewrite it in the agreed form
# make bench           measure speed, print a table and save it as JSON
# make install         only the environment, .venv
# make flink-demo      both jobs on a real Flink inside Beam's job server (needs Java 17 and Maven)
# make runners         fetch Flink, its job server, Prism and Kustomize to this machine (Java 17, Maven, Go)
# make docs            the site of the pages, as build/docs, and the references in docs/reference
# make pins            the pins of requirements/, after a change of pyproject.toml
# make browser         Chromium and its driver, which the tests of pages need (Debian, as root)

SHELL := /bin/sh
.DEFAULT_GOAL := demo
.PHONY: install demo test soak test-fast lint format bench docs pins browser runners flink-demo

DATASET ?= solar-cells
BIN := .venv/bin
PYTHON := $(BIN)/python
UV := $(or $(shell command -v uv),$(BIN)/uv)
# A file's tests share what they make, so one process has them all; long ones come early.
PYTEST := $(PYTHON) -m pytest --dist loadfile --no-loadscope-reorder
SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))

install: .venv/.dev

$(PYTHON):
	@if command -v uv > /dev/null; then exec uv venv --quiet --python '>=3.11,<3.14' .venv; fi; \
	for python in python3.11 python3.12 python3.13 python3; do \
	    if $$python -c '$(SUPPORTED)' 2> /dev/null; then exec $$python -m venv .venv; fi; \
	done; \
	echo 'Python 3.11, 3.12 or 3.13 is needed, and none of them is on the PATH' >&2; \
	exit 1

# Of uv alone, the lines of its pin go to pip.
$(BIN)/uv: requirements/dev.txt | $(PYTHON)
	@$(PYTHON) -m pip --version > /dev/null 2>&1 || $(PYTHON) -m ensurepip > /dev/null
	@sed -n '/^uv==/,/[^\\]$$/p' $< | \
	    $(PYTHON) -m pip install --quiet --disable-pip-version-check -r /dev/stdin
	@touch $@

# An environment has what another one brought, too: `make test` adds to what `make demo` installed.
.venv/.%: requirements/%.txt pyproject.toml | $(PYTHON) $(UV)
	@echo 'Installing the pinned packages of $< into .venv (a minute or two the first time) ...'
	@$(UV) pip install --quiet --python $(PYTHON) -r $<
	@$(UV) pip install --quiet --python $(PYTHON) --no-deps --no-build-isolation -e .
	@touch $@

demo: .venv/.demo
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

# On two cores: tests wait for servers and silent stores a third of their time.
test: lint browser
	$(PYTEST) -n 4 -m 'not soak'

soak: install
	$(PYTEST) -n 2 -m soak

test-fast: install
	$(PYTEST) -n 3 -m 'not slow and not soak'

bench: install
	$(PYTHON) -m benchmarks
	$(PYTHON) -m benchmarks --only main-job --rounds 1 --json bench-main-job.json

docs: .venv/.docs
	@$(PYTHON) docs/columns.py
	@$(PYTHON) docs/backbones.py
	@$(PYTHON) -m linnaeus.workflow.file.reference_page docs/how-to/workflow-file.md
	@$(PYTHON) -m typer linnaeus.cli.app utils docs --name linnaeus \
	    --title 'The command line' --output docs/reference/command-line.md > /dev/null
	@$(PYTHON) -m sphinx --quiet --fail-on-warning --keep-going -c docs . build/docs
	@echo 'build/docs/index.html'

PIN = $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes pyproject.toml

pins: $(UV)
	@$(PIN) --all-extras --output-file requirements/dev.txt
	@$(PIN) --extra demo --constraint requirements/dev.txt --output-file requirements/demo.txt
	@$(PIN) --extra docs --constraint requirements/dev.txt --output-file requirements/docs.txt
