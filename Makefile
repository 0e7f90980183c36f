# Each target sets up its own virtual environment first; the first time takes a few minutes.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: quickstart test test-all test-trackers test-cluster check help

help:  ## show what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

quickstart: $(VENV)/.ready  ## run the generated study from planning to report (half a minute to two)
	$(BIN)/python -m sweep.launch

test: $(VENV)/.ready  ## the ordinary tests
	$(BIN)/python -m pytest -m "not slow and not cluster"

test-all: $(VENV)/.ready  ## all tests on one machine; those on real reviews need IMDB_PATH
	$(BIN)/python -m pytest -m "not cluster"

test-trackers: $(VENV)/.ready $(VENV)-mlflow/.ready  ## what MLflow and Weights & Biases show, with a real MLflow server
	MLFLOW_SERVER=$(VENV)-mlflow/bin/mlflow $(BIN)/python -m pytest tests/test_tracker_packages.py

# The server is in an environment of its own: the whole of MLflow asks for an older pyarrow than the one that is tested here.
$(VENV)-mlflow/.ready:
	$(PYTHON) -m venv $(VENV)-mlflow
	$(VENV)-mlflow/bin/python -m pip install --quiet --disable-pip-version-check mlflow==3.17.2
	@touch $@

test-cluster: $(VENV)/.ready-cluster  ## a real cluster of network namespaces, and what it survives; needs root
	$(BIN)/python -m pytest -m cluster -s

$(VENV)/.ready-cluster: $(VENV)/.ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,cluster]'
	@touch $@

check: $(VENV)/.ready  ## lint, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
