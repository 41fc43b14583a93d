# make run     serve from ./var with a development configuration, made at first use
# make test    all tests; ARGS="-k queue -x" go to pytest
# make lint    ruff and mypy, as CI runs them
# make bench   the measurements
# make fuzz    look for octets that break a parser; MINUTES=60 for all targets together
# make faults  break running servers on purpose and count their mail; ARGS=--write puts the table into the docs
# make peers   install the foreign mail programs some tests talk to (Debian, root)
# make docs    write the pages that are made from the source
# make lock    compile the requirements*.lock files anew from pyproject.toml

PYTHON ?= python3
VENV   ?= .venv
ARGS   ?=
JOBS   ?= 2
MINUTES ?= 60

pip := $(VENV)/bin/python -m pip -qq --disable-pip-version-check
compile := $(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
           --no-emit-index-url --no-emit-find-links --no-header

.PHONY: run test lint bench fuzz faults peers docs lock venv venv-dev

run: venv
	@exec $(VENV)/bin/postroad serve --development var

test: venv-dev
	$(VENV)/bin/python -m pytest -n $(JOBS) --dist loadgroup $(ARGS)

lint: venv-dev
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy

bench: venv
	$(VENV)/bin/python -m bench $(ARGS)

fuzz: venv-dev
	$(VENV)/bin/python -m fuzz --minutes $(MINUTES) --jobs $(JOBS) $(ARGS)

faults: venv-dev
	$(VENV)/bin/python -m faults --jobs $(JOBS) $(ARGS)

peers:
	@.ci/peers

docs: venv
	@mkdir -p docs/operating
	$(VENV)/bin/python -m postroad.app.template > docs/operating/configuration.md

lock: venv-dev
	$(compile) pyproject.toml --output-file requirements.lock
	$(compile) pyproject.toml --group dev --constraint requirements.lock --output-file requirements-dev.lock

venv: $(VENV)/.core
venv-dev: $(VENV)/.dev

# `activate` is the last thing venv writes: without it the folder is half made, and is made again.
$(VENV)/bin/activate:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Postroad needs Python 3.11 or newer; try: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || \
	  { echo "This Python cannot make virtual environments; on Debian: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)

# The stamps say which locked set is installed; the dev set holds the core. pyproject.toml is not asked: it
# changes with every lint rule. After a change of its [project.scripts], remove the environment.
$(VENV)/.core: requirements.lock | $(VENV)/bin/activate
	$(pip) install --require-hashes -r requirements.lock
	$(pip) install --no-deps --editable .
	@touch $@

$(VENV)/.dev: requirements-dev.lock | $(VENV)/bin/activate
	$(pip) install --require-hashes -r requirements-dev.lock
	$(pip) install --no-deps --editable .
	@touch $(VENV)/.core $@
