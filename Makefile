# Two commands for a newcomer: `make repro` and `make test`. Both install what they need.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
# DVC's stages call `python`: it must be the environment's.
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.PHONY: help install lock repro test lint format clean

help: ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

install: $(VENV)/.installed ## the virtual environment: requirements.txt exactly, and this project

$(VENV)/.installed: requirements.txt pyproject.toml Makefile
	$(PYTHON) -m venv $(VENV)
	pip install --quiet uv
	uv pip sync --quiet --compile-bytecode --python $(VENV)/bin/python requirements.txt
	uv pip install --quiet --python $(VENV)/bin/python --no-deps --editable .
	touch $@

repro: install ## run the whole pipeline; ends with reports/index.html
	dvc repro
	@echo "the report: reports/index.html"

# A worker a core.
test: export OMP_NUM_THREADS := 1
test: install ## run the tests
	python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

lint: install ## ruff and mypy
	ruff check .
	ruff format --check .
	mypy

format: install ## format and mend what ruff can
	ruff format .
	ruff check --fix .

lock: ## renew requirements.txt within the ranges of pyproject.toml
	uv pip compile --fork-strategy fewest --quiet --universal --python-version 3.11 --all-extras --upgrade \
	  --no-emit-index-url --no-header --no-annotate pyproject.toml -o requirements.txt

clean: ## remove the environment and everything that the pipeline wrote outside reports/
	rm -rf $(VENV) .cache .dvc/cache data/raw/sample data/prepared data/embeddings data/models data/study data/times data/newcomers
