# Everything a developer types: `make demo`, `make test`, `make lint`, `make bench`, `make zoo`, `make clean`.
# The first call makes .venv and installs dashfx into it (some minutes); later calls find it there.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
DEMO   := runs/demo
ZOO    := .zoo-venv

.DEFAULT_GOAL := help
.PHONY: help demo test lint bench zoo clean

help:
	@echo "make demo   search examples/my_model.py:Net on handwritten digits, train and compare, write $(DEMO)/model.onnx"
	@echo "make test   run the tests"
	@echo "make lint   ruff check, ruff format --check, mypy"
	@echo "make bench  run the benchmarks of tests/bench"
	@echo "make zoo    run the models of eight packages through dashfx (many hours, may be stopped), write docs/reference/coverage.md"
	@echo "make clean  remove $(VENV), $(ZOO), caches and build folders (runs/ stays)"

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "dashfx needs Python 3.11 or newer, '$(PYTHON)' is $$($(PYTHON) --version 2>&1); try: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	@echo "== making $(VENV) and installing dashfx with its development tools (once) =="
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: $(STAMP)
	@echo "== demo: searching examples/my_model.py:Net on handwritten digits =="
	@rm -rf $(DEMO)
	$(BIN)/dashfx search examples/my_model.py:Net --data digits --seed 0 --out $(DEMO)
	@echo "== done: see $(DEMO)/report.html and $(DEMO)/model.onnx =="

test: $(STAMP)
	@echo "== tests =="
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 -m "not slow"
	@echo "== doctests =="
	$(BIN)/python -m pytest -q --doctest-modules dashfx

lint: $(STAMP)
	@echo "== ruff =="
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@echo "== mypy =="
	$(BIN)/mypy

bench: $(STAMP)
	@for script in tests/bench/bench_*.py; do echo "== $$script =="; $(BIN)/python "$$script" || exit 1; done

$(ZOO)/.installed: pyproject.toml constraints.txt tests/zoo/requirements.txt
	@test -x $(ZOO)/bin/python || $(PYTHON) -m venv $(ZOO)
	$(ZOO)/bin/python -m pip install --quiet --constraint constraints.txt --editable . -r tests/zoo/requirements.txt
	@touch $@

# A run with options is a part of the zoo, such as ZOO_ARGS="--packages timm --sample 5": its page stands beside its records.
zoo: $(ZOO)/.installed
	OMP_NUM_THREADS=1 PYTHONPATH=tests $(ZOO)/bin/python -m zoo --out runs/zoo \
	    --table $(if $(ZOO_ARGS),runs/zoo/coverage.md,docs/reference/coverage.md) $(ZOO_ARGS)

clean:
	rm -rf $(VENV) $(ZOO) build dist *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache .coverage htmlcov
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
