# `make test` and `make demo` install everything into .venv; they only need Python 3.11 or newer.

PYTHON ?= python3
# torch is installed first, so that no other package selects its build. pip options may follow the requirement.
TORCH ?= torch==2.13.0
# Seed of `make demo`.
SEED ?= 0
# Additional options for pytest, e.g. PYTEST="-n 2 -x -k store".
PYTEST ?=

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: help test lint pytest demo format clean

help:
	@echo 'make test    check style, types and import rules, then run the tests'
	@echo 'make demo    train a seed policy, improve it with two loops, compare; SEED=1 draws another run'
	@echo 'make lint    run only the checks'
	@echo 'make pytest  run only the tests; PYTEST="-x -k store" adds options'
	@echo 'make format  format the code'
	@echo 'make clean   remove everything that make created'

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
	$(BIN)/kintsugi demo --seed $(SEED) --run runs/demo-$(SEED)

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build dist *.egg-info

$(INSTALLED): pyproject.toml constraints.txt | $(BIN)/pip
	$(BIN)/pip install $(TORCH)
	$(BIN)/pip install -c constraints.txt -e '.[dev]'
	@touch $@

# On Debian, creating virtual environments needs the separate package python3-venv.
$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python is older than 3.11; expected 3.11 or newer; choose one: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update && apt-get install -y python3-venv; } || \
	  { echo "Python's venv module is missing; as root: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
