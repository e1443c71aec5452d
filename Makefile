# `make demo` shows everything; `make test` checks everything. Both set up what they need.
.DEFAULT_GOAL := help
.PHONY: help setup broker models gemma demo test test-fast test-fuzz test-convert faults lint format docs bench bench-runtime bench-updates bench-models clean

PYTHON_BIN := .venv/bin/python
WORKERS ?= 2

help: ## Show the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 24

setup: ## Create .venv and install the project
	@scripts/setup.sh

broker:
	@scripts/ensure_mosquitto.sh

models: setup ## Fetch the real models
	@$(PYTHON_BIN) scripts/fetch_models.py smollm2

gemma: setup
	@$(PYTHON_BIN) scripts/fetch_models.py gemma3

demo: setup broker models ## Tell the whole story on real parts; KEEP=1 leaves it running
	@PYTHONPATH=tests $(PYTHON_BIN) -m demo --model "$$($(PYTHON_BIN) scripts/fetch_models.py --quiet smollm2)" $(if $(KEEP),--keep)

test: setup broker models gemma ## Run all tests: unit, integration, end to end
	@$(PYTHON_BIN) -m pytest -n $(WORKERS) --dist loadfile tests/unit tests/conformance tests/integration tests/e2e

test-fast: setup ## Run the unit tests
	@$(PYTHON_BIN) -m pytest -n $(WORKERS) --dist loadfile tests/unit

test-fuzz: setup ## Send many requests made from the OpenAPI document, also to a real agent
	@SKERRY_FUZZ_EXAMPLES=100 $(PYTHON_BIN) -m pytest -q --timeout 900 tests/integration/api/test_fuzz.py
	@SKERRY_FUZZ_EXAMPLES=25 SKERRY_FUZZ_DEVICE=1 $(PYTHON_BIN) -m pytest -q --timeout 900 tests/integration/api/test_fuzz.py

test-convert: setup ## Convert each layout and quantize to each type; installs llama.cpp's converter (311 MB to download) once
	@$(PYTHON_BIN) scripts/install_converter.py
	@SKERRY_CONVERT_ALL=1 $(PYTHON_BIN) -m pytest -q --timeout 600 tests/integration/workshop

faults: setup ## Kill the agent, cut its power and fail its disk all over its stories; ARGS="--sample 200" for less
	@PYTHONPATH=tests $(PYTHON_BIN) -m faults --workers $(WORKERS) $(ARGS)

lint: setup ## Check style and types
	@$(PYTHON_BIN) -m ruff check .
	@$(PYTHON_BIN) -m ruff format --check .
	@$(PYTHON_BIN) -m mypy

format: setup ## Format the code
	@$(PYTHON_BIN) -m ruff check --fix .
	@$(PYTHON_BIN) -m ruff format .

docs: setup ## Write the generated pages and examples anew
	@PYTHONPATH=tests $(PYTHON_BIN) scripts/make_settings_reference.py
	@PYTHONPATH=tests $(PYTHON_BIN) scripts/make_cli_reference.py

bench: setup broker ## Measure the agent's memory and start time
	@PYTHONPATH=tests $(PYTHON_BIN) tests/bench/agent_footprint.py

bench-runtime: setup ## Measure answers beside other servers; ARGS=--quick for a smoke
	@$(PYTHON_BIN) scripts/build_llama_server.py > /dev/null
	@PYTHONPATH=tests $(PYTHON_BIN) -m bench.runtime $(ARGS)

bench-updates: setup broker ## Measure what updates cost beside other methods; ARGS=--quick for a smoke
	@PYTHONPATH=tests $(PYTHON_BIN) -m bench.updates $(ARGS)

bench-models: setup models gemma ## Run the workshop's line on real models, and write docs/model-figures.md; ARGS=--quick
	@PYTHONPATH=tests $(PYTHON_BIN) -m bench.models $(ARGS)

clean: ## Remove what the targets made, but not the models
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache demo-data demo-report.json faults-report.json bench-*.json
