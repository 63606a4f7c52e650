# make demo | test | test-long | lint | docs | clean | help. Each does its own set-up; PYTHON=... chooses the interpreter, 3.10 or newer.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python

.DEFAULT_GOAL := help
.PHONY: help demo test test-long lint docs setup setup-dev clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

demo: setup ## two stages of MVPT and of the recommended MAPT on the pocket suite, side by side; a submission and a report in output/demo
	$(PY) train.py --trainer MVPT --shots 5 --seed 0 --resume auto --output-dir output/demo
	$(PY) train.py --trainer MAPT --shots 5 --seed 0 --resume auto --output-dir output/demo_anchored
	$(PY) -m scripts.study.compare_runs output/demo output/demo_anchored --by-task
	$(PY) -m elevater_eval validate output/demo/submission.zip
	$(PY) -m scripts.report output/demo

test: lint ## ruff, mypy and all tests but the long ones, two files at a time
	OMP_NUM_THREADS=1 $(PY) -m pytest -n 2 --dist loadfile

test-long: setup-dev ## the tests that take minutes each
	$(PY) -m pytest -m long --durations=10

lint: setup-dev ## ruff (rules and format), and mypy for the installed packages
	$(PY) -m ruff check .
	$(PY) -m ruff format --check --quiet .
	$(PY) -m mypy

docs: setup-dev ## the pages of docs/ as a site in build/site; a dead link is an error
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --quiet --strict

setup: $(PY) ## .venv with requirements.txt; TORCH_INDEX=... names an index with torch's CPU build
	@if [ -n "$(TORCH_INDEX)" ] && ! command -v nvidia-smi >/dev/null && ! $(PY) -c "import torch" 2>/dev/null; then \
		$(PY) -m pip install --quiet --disable-pip-version-check torch torchvision -i "$(TORCH_INDEX)" \
		|| echo "no CPU build of torch at $(TORCH_INDEX): taking that of pip's own index"; fi
	$(call install,requirements.txt)

setup-dev: setup ## .venv with requirements-dev.txt too
	$(call install,requirements-dev.txt)

$(PY):
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.10 or newer is needed, this is " + sys.version if sys.version_info < (3, 10) else 0)'
	@echo "making $(VENV)"
	@$(PYTHON) -m venv --clear $(VENV) || { rm -rf $(VENV); exit 1; }

# Install a requirements file unless .venv holds a copy of it: the copy is made once all is installed.
define install
@cmp -s $(1) $(VENV)/$(1) || { \
	echo "installing $(1) into $(VENV); with torch this takes some minutes"; \
	$(PY) -m pip install --quiet --disable-pip-version-check -r $(1) && cp $(1) $(VENV)/$(1); }
endef

clean: ## remove caches, output/demo and the rendered pocket suite; .venv and other runs stay
	rm -rf .pytest_cache .ruff_cache .mypy_cache build dist mvlpt.egg-info output/demo data/pocket
	find . -name __pycache__ -not -path "./$(VENV)/*" -prune -exec rm -rf {} +
