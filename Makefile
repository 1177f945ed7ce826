# The ways into this checkout; `make help` lists them.
PYTHON ?= python3
PIP_INSTALL := -m pip install --disable-pip-version-check --quiet
CONVARIUM_DATA ?= $(HOME)/.cache/convarium
WORKERS ?= 2

ENV := .venv/.complete
ENV_PEERS := .venv-peers/.complete
ENV_DOCS := .venv-docs/.complete
RUN := .venv/bin/python
PYTEST := OMP_NUM_THREADS=1 CONVARIUM_DATA="$(CONVARIUM_DATA)" $(RUN) -m pytest -n $(WORKERS) --dist worksteal -q

.DEFAULT_GOAL := help
.PHONY: help demo env env-peers data check format families figures results docs map test test-all bench clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*  ## ' $(MAKEFILE_LIST) | \
	  awk -F ':.*  ## ' '{ printf "  make %-10s  %s\n", $$1, $$2 }'

demo: $(ENV)  ## train, evaluate, explain and export on the embedded digits; prints where everything is
	$(RUN) examples/demo.py

env: $(ENV)  ## .venv: the product, the command and all that its tests need

env-peers: $(ENV_PEERS)  ## .venv-peers: what the benchmarks compare against

data: $(ENV)  ## real data for the long tests and benchmarks, into a cache folder, without root
	$(RUN) tools/fetch_data.py "$(CONVARIUM_DATA)"

check: $(ENV)  ## format, lint, types, arrows between the rooms
	$(RUN) -m ruff format --check .
	$(RUN) -m ruff check .
	$(RUN) -m mypy
	.venv/bin/lint-imports

format: $(ENV)  ## put every file into the house format
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

families: $(ENV)  ## write the catalogue file and the pages of docs/families anew
	$(RUN) tools/write_catalogue.py
	$(RUN) tools/write_families.py

figures: $(ENV)  ## draw the figures of docs/theory anew
	$(RUN) tools/draw_theory.py

results: $(ENV)  ## write the page of every stored figure anew
	$(RUN) tools/write_results.py
	$(RUN) tools/write_depth.py

docs: $(ENV) $(ENV_DOCS)  ## the book as a site in build/book/site; a broken link is an error
	$(RUN) tools/write_book.py
	$(RUN) tools/draw_theory.py build/book/pages/theory
	.venv-docs/bin/zensical build --clean --strict
	$(RUN) tools/check_book.py

map: $(ENV)  ## bring the list of files in ARCHITECTURE.md up to date
	$(RUN) tools/map_files.py

test: $(ENV)  ## all tests but the long ones: doctests and the documents' code blocks too
	$(PYTEST)

test-all: $(ENV) $(ENV_PEERS) $(ENV_DOCS) data  ## every test, the long ones and those with peers too
	$(PYTEST) -m "long or not long" --timeout 3600

bench: $(ENV) $(ENV_PEERS) data  ## every benchmark; each writes benchmarks/results/NAME.json
	@set -e; for script in $(sort $(filter-out benchmarks/clients.py benchmarks/harness.py benchmarks/turns.py,$(wildcard benchmarks/*.py))); do \
	  echo "== $$script"; CONVARIUM_DATA="$(CONVARIUM_DATA)" $(RUN) $$script; \
	done

clean:  ## what builds and tools left behind; the environments, runs and data stay
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find src tests benchmarks examples tools -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/bin/python .venv-peers/bin/python .venv-docs/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "convarium needs Python 3.11 or newer; name one with: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "This Python cannot make environments; on Debian and Ubuntu run: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(firstword $(subst /, ,$@))

$(ENV): pyproject.toml constraints.txt | .venv/bin/python
	$(RUN) $(PIP_INSTALL) -c constraints.txt hatchling editables setuptools
	$(RUN) $(PIP_INSTALL) -c constraints.txt --no-build-isolation -e '.[test]'
	@touch $@

# Peers whose metadata would bring other builds of torch come without their dependencies.
$(ENV_PEERS): constraints-peers.txt | .venv-peers/bin/python
	.venv-peers/bin/python $(PIP_INSTALL) --no-deps -r constraints-peers.txt
	@touch $@

$(ENV_DOCS): constraints-docs.txt | .venv-docs/bin/python
	.venv-docs/bin/python $(PIP_INSTALL) -r constraints-docs.txt
	@touch $@
