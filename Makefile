# Everything runs from .venv, which the first target that needs it makes from constraints.txt.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
NEW_ENOUGH = $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "anticipate needs Python >= 3.11; found $$($(PYTHON) --version); name another with: make PYTHON=python3.12 ..." >&2; exit 2; }
# Without bytecode every process of the tests compiles the package and the tests anew.
TEST := PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help setup demo ablations report evidence evidence-tables dashboard notebooks test test-fast gpu-check check format clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1|/' | awk -F'|' '{printf "  make %-15s %s\n", $$1, $$2}'

$(READY): pyproject.toml constraints.txt
	@$(NEW_ENOUGH)
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

setup: $(READY)  ## make .venv with pinned packages

demo: $(READY)  ## train, sample and score MixANT on a small synthetic data set
	$(BIN)/anticipate demo

ablations: $(READY)  ## run every ablation, or STUDY=experts; PROFILE=demo: small, synthetic; SWEEP='--seeds 0 1 2'
	$(BIN)/anticipate ablations $(if $(STUDY),--study $(STUDY)) $(if $(PROFILE),--profile $(PROFILE)) $(SWEEP)

report: $(READY)  ## tables, figures and verdicts from finished runs (RUNS=runs OUTPUT=report)
	$(BIN)/anticipate report $(or $(RUNS),runs) --output $(or $(OUTPUT),report)

evidence: $(READY)  ## check the papers' claims without real features: LABELS=DIR, EVIDENCE=quick for the hour
	$(BIN)/anticipate evidence run $(if $(LABELS),--labels $(LABELS)) $(if $(EVIDENCE),--$(EVIDENCE))

evidence-tables: $(READY)  ## write the tables of the documents from what make evidence found
	$(BIN)/anticipate evidence tables evidence/evidence.json

dashboard: $(READY)  ## open TensorBoard on all runs (RUNS=runs)
	$(BIN)/tensorboard --logdir $(or $(RUNS),runs)

notebooks: $(READY)  ## run the notebooks again, which are kept with their outputs
	$(BIN)/python notebooks/execute.py notebooks/*.ipynb

test: $(READY)  ## run the tests
	$(TEST)

test-fast: $(READY)  ## run the tests that take a moment
	$(TEST) -m "not slow"

gpu-check:  ## check and measure on a GPU by the Python that is there, without .venv (OUTPUT=gpu_check.json)
	@$(NEW_ENOUGH)
	PYTHONPATH=. $(PYTHON) tests/gpu/check.py $(OUTPUT)

check: $(READY)  ## lint, formatting and types
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

format: $(READY)  ## format the code
	$(BIN)/ruff check --fix-only . ; $(BIN)/ruff format .

clean:  ## remove .venv and caches, never data/ or runs/
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis build *.egg-info
