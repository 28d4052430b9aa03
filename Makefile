# Every target sets up what it needs by itself: the first run makes .venv, a later one only when the requirements changed.
#
#   make demo     see it at work          make test     all tests
#   make lab      engines, JupyterLab     make check    what every commit must pass: make lint, and the fast tests
#   make bench    measure                 make lint     format, lint, types, rooms
#   make tutorials   run the notebooks    make format   tidy the code
#   make front    build widgets' pages    make clean    remove what the others made

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/ready

ifneq ($(shell cat $(READY) 2>/dev/null),$(shell pwd))
$(shell rm -f $(READY))
endif

# The tests start hundreds of processes, and each would compile all that it imports.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo lab test tutorials check lint bench format front clean

help:
	@sed -n 's/^# \{0,1\}//; 1,8p' Makefile

demo: $(READY)
	$(BIN)/ifog demo

lab: $(READY)
	$(BIN)/ifog lab -np 4

test: $(READY)
	$(BIN)/python -m pytest

# Every notebook on four real engines, with the right answers put in; and every answer that is known to be wrong.
tutorials: $(READY)
	$(BIN)/python -m pytest tests/test_tutorials.py tests/course

check: lint
	$(BIN)/python -m pytest -m "not slow"

lint: $(READY)
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m ruff check .
	$(BIN)/python tests/px_cells.py
	$(BIN)/python -m mypy
	$(BIN)/python $(BIN)/lint-imports

bench: $(READY)
	$(BIN)/python -m benchmarks.topology
	$(BIN)/python -m benchmarks.comm
	$(BIN)/python -m benchmarks.simulate
	$(BIN)/python -m benchmarks.experiment
	$(BIN)/python -m benchmarks.train
	$(BIN)/python -m benchmarks.virtual_nodes
	$(BIN)/python -m benchmarks.widgets

format: $(READY)
	$(BIN)/python -m ruff check --fix-only --quiet .
	$(BIN)/python -m ruff format .

# Needs npm. What it builds is committed, so that nobody else does.
front: $(READY)
	$(BIN)/python -m ifog.widgets.messages
	cd widgets/front && npm ci --no-audit --no-fund && npm run types && npm run build

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache demo.html demo.png tour.html benchmarks/results widgets/front/node_modules widgets/front/out
	rm -f ifog/comm/_kernel.*.so
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Updated in place when a requirement or the kernel changes. A set-up that never ended starts afresh: `ready` is written last,
# and holds the folder, because an environment does not survive being moved.
$(READY): pyproject.toml constraints.txt ifog/comm/_kernel.c
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "ifog needs Python 3.11 or newer, and $(PYTHON) is " + sys.version.split()[0] + ": make PYTHON=python3.12 …")'
	@echo "Setting up $(VENV): a minute or two, and it needs the internet …"
	@[ -f $@ ] || $(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@pwd > $@
