# `make test` and `make demo` do all their own set-up, in .venv; they need Python 3.11 or newer and nothing else.

PYTHON ?= python3
# Installed first, so that nothing else chooses a build of it; options of pip may follow the requirement.
TORCH ?= torch==2.13.0
# More options for pytest, e.g. PYTEST="-n 2 -x -k store".
PYTEST ?=

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: help test lint pytest demo format clean

help:
	@echo 'make test    check style, types and floors, then run the tests'
	@echo 'make demo    seed policy, self-training, Re-ReST, and a table (at most 15 minutes on 2 cores)'
	@echo 'make lint    the checks alone'
	@echo 'make pytest  the tests alone; PYTEST="-x -k store" passes options on'
	@echo 'make format  bring the code into the house style'
	@echo 'make clean   remove what the above made'

test: lint pytest

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@mkdir -p build/types && ln -sfn ../.. build/types/kintsugi
	$(BIN)/mypy build/types/kintsugi tests examples/my_loop/my_loop
	$(BIN)/lint-imports --no-logo

pytest: $(INSTALLED)
	$(BIN)/pytest -n auto --dist loadfile $(PYTEST)

demo: $(INSTALLED)
	$(BIN)/kintsugi demo

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build dist *.egg-info

$(INSTALLED): pyproject.toml constraints.txt | $(BIN)/pip
	$(BIN)/pip install $(TORCH)
	$(BIN)/pip install -c constraints.txt -e '.[dev]'
	@touch $@

# Debian keeps the part of Python that makes virtual environments in a package of its own.
$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; name one: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update && apt-get install -y python3-venv; } || \
	  { echo "Python's venv module is missing; as root: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
