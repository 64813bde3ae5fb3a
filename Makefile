# Every target installs what it needs first; `make` alone lists the targets.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
WORKERS ?= 2
READY := .venv/.ready
CLIENTS := .venv-clients
CLIENTS_READY := $(CLIENTS)/.ready
CLIENTS_V3 := .venv-clients-v3
CLIENTS_V3_READY := $(CLIENTS_V3)/.ready
# Measured on Linux x86_64 with all extras and the tools of developers: 3.4 GB by deflate of a sample of them, and du.
DOWNLOAD := 4
INSTALLED := 7

.DEFAULT_GOAL := help
.PHONY: help setup clients clients-v3 quickstart test lint format bench docs images lock clean

help:  ## list the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: $(READY)  ## create .venv with everything pinned; leaves .venv/bin/clearsight

# The stamp is written last, so that an interrupted set-up starts again. Every package has a hash; the project itself
# is built with the locked build backend, so nothing outside the lock file is downloaded.
$(READY): pyproject.toml requirements.lock requirements-bootstrap.lock
	@test -n "$(PYTHON)" || { echo "clearsight needs Python 3.11 or newer: install it, or pass PYTHON=/path/to/python"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is older than 3.11: pass PYTHON=/path/to/python3.11"; exit 1; }
	@rm -f $@
	@echo "setup: $$(grep -c '^[A-Za-z0-9._-]*==' requirements.lock) packages into .venv; at most $(DOWNLOAD) GB to download, less what uv has in its cache; $(INSTALLED) GB on disk"
	@echo "setup: step 1 of 3, the installer (uv)"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements-bootstrap.lock
	@echo "setup: step 2 of 3, the packages"
	@$(BIN)/uv pip sync --compile-bytecode --python $(BIN)/python --require-hashes requirements.lock
	@echo "setup: step 3 of 3, clearsight itself"
	@$(BIN)/uv pip install -q --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@
	@echo "setup: done; next: source .venv/bin/activate && clearsight doctor"

# The clients of SageMaker's APIs do not resolve with the packages of clearsight: an environment of their own.
clients: $(CLIENTS_READY)  ## create .venv-clients: the SageMaker SDK, boto3, awscli and moto, for tests

$(CLIENTS_READY): requirements-clients.lock | $(READY)
	@rm -f $@
	@$(BIN)/uv venv -q --allow-existing --python $(BIN)/python $(CLIENTS)
	@$(BIN)/uv pip sync -q --python $(CLIENTS)/bin/python --require-hashes requirements-clients.lock
	@touch $@

# Version 3 of the SDK has the package name of version 2.
clients-v3: $(CLIENTS_V3_READY)  ## create .venv-clients-v3: version 3 of the SageMaker SDK (1 GB), for slow tests

$(CLIENTS_V3_READY): requirements-clients-v3.lock | $(READY)
	@rm -f $@
	@$(BIN)/uv venv -q --allow-existing --python $(BIN)/python $(CLIENTS_V3)
	@$(BIN)/uv pip sync -q --python $(CLIENTS_V3)/bin/python --require-hashes requirements-clients-v3.lock
	@touch $@

quickstart: $(READY)  ## run the whole main job on embedded data, in about a minute
	@$(BIN)/clearsight quickstart

# The tests of a file run in one process, because they share fixtures that take seconds.
test: $(READY)  ## run the test suite, WORKERS=2 files at a time
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

lint: $(READY)  ## run ruff, mypy and the import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(READY)  ## format the code
	@$(BIN)/ruff check --fix-only -q .
	@$(BIN)/ruff format -q .

bench: $(READY)  ## run every benchmark and print its result (minutes)
	@for b in startup first_hour real_data default_recipe frozen_epochs debugger_overhead profiler_overhead kept_memory auto_tune frozen_tuning parallel_tuning sagemaker_service; do echo "== $$b"; $(BIN)/python benchmarks/$$b.py || exit 1; done

images: $(READY)  ## write docs/images/ from small runs on the data in shared/
	@$(BIN)/python docs/screenshots.py $${CLEARSIGHT_SHARED:-../shared}

docs: $(READY)  ## write docs/settings.md, docs/rules.md, docs/terms.md and the types of settings from the code
	@$(BIN)/python docs/settings.py > docs/settings.md
	@$(BIN)/python docs/rules.py > docs/rules.md
	@$(BIN)/python docs/terms.py > docs/terms.md
	@$(BIN)/python docs/signatures.py > src/clearsight/api/settings.py

lock: $(READY)  ## resolve the newest versions into requirements.lock
	@$(BIN)/uv pip compile -q --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--custom-compile-command 'make lock' --extra openvino --extra parquet --extra tensorboard --extra lightning --extra huggingface \
		--extra dashboard --extra ray --extra sagemaker --extra dev pyproject.toml -o requirements.lock
	@$(BIN)/uv pip compile -q --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--custom-compile-command 'make lock' requirements-clients.in -o requirements-clients.lock
	@$(BIN)/uv pip compile -q --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--custom-compile-command 'make lock' requirements-clients-v3.in -o requirements-clients-v3.lock
	@echo 'uv' | $(BIN)/uv pip compile -q --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--custom-compile-command 'make lock' - -o requirements-bootstrap.lock

clean:  ## remove .venv and caches
	@rm -rf .venv $(CLIENTS) $(CLIENTS_V3) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
