# Everything runs from .venv, which the first target that needs it makes from constraints.txt.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.DEFAULT_GOAL := help
.PHONY: help setup demo ablations report dashboard notebooks test check format clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1|/' | awk -F'|' '{printf "  make %-12s %s\n", $$1, $$2}'

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "anticipate needs Python >= 3.11; found $$($(PYTHON) --version); name another with: make PYTHON=python3.12 ..." >&2; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

setup: $(READY)  ## make .venv with pinned packages

demo: $(READY)  ## train, sample and score MixANT on a small synthetic data set
	$(BIN)/anticipate demo

# Shell words that sweep the studies $(4) of a family: its whole model $(1) stands first, so that every study shares it.
# On the data set $(2), or in the reduced profile on its stand-in $(3).
define sweep
if test -z "$(strip $(4))"; then :; \
elif test -z "$(PROFILE)" && test -f data/$(2).h5; then \
	$(BIN)/anticipate sweep $(addprefix experiments/ablations/,$(1).yaml $(4)) --run-dir runs/ablations $(SWEEP); \
else \
	test -f data/$(2).h5 || echo "no data/$(2).h5 (anticipate prepare $(2)): small runs on synthetic data instead" >&2; \
	{ test -f data/$(3).h5 || $(BIN)/anticipate prepare $(3) --output data/$(3).h5; } && \
	$(BIN)/anticipate sweep $(addprefix experiments/ablations/,$(1).yaml $(4)) --run-dir runs/demo_ablations \
		--profile $(or $(PROFILE),demo) --jobs $$(nproc) $(SWEEP); \
fi
endef

STUDIES = $(or $(STUDY),$(patsubst experiments/ablations/%/,%,$(wildcard experiments/ablations/*/)))

ablations: $(READY)  ## run every ablation, or STUDY=experts; PROFILE=demo: small, synthetic; SWEEP='--seeds 0 1 2'
	@failed=0; \
	$(call sweep,mixant,breakfast,synthetic,$(filter-out aga_%,$(STUDIES))) || failed=1; \
	$(call sweep,aga,ek100,synthetic_actions,$(filter aga_%,$(STUDIES))) || failed=1; \
	runs=$$(ls -d runs/ablations runs/demo_ablations 2>/dev/null); \
	test -z "$$runs" || $(BIN)/anticipate report $$runs --output report || failed=1; \
	exit $$failed

report: $(READY)  ## tables, figures and verdicts from finished runs (RUNS=runs OUTPUT=report)
	$(BIN)/anticipate report $(or $(RUNS),runs) --output $(or $(OUTPUT),report)

dashboard: $(READY)  ## open TensorBoard on all runs (RUNS=runs)
	$(BIN)/tensorboard --logdir $(or $(RUNS),runs)

notebooks: $(READY)  ## run the notebooks; runs/notebooks gets them with their results
	mkdir -p runs/notebooks
	$(BIN)/jupyter-execute --output='../runs/notebooks/{notebook_name}' notebooks/*.ipynb

test: $(READY)  ## run the tests
	$(BIN)/python -m pytest -n 2

check: $(READY)  ## lint, formatting and types
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

format: $(READY)  ## format the code
	$(BIN)/ruff check --fix-only . ; $(BIN)/ruff format .

clean:  ## remove .venv and caches, never data/ or runs/
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis build *.egg-info
