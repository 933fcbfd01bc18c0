# Everything that people and CI run. `make app` and `make test` need Python 3.11+, git, make and a C/C++ compiler;
# they install the rest into .venv.

PYTHON ?= python3
VENV := .venv
REFERENCE := .venv-reference
BIN := $(VENV)/bin
UV := $(BIN)/uv
UV_VERSION := 0.13.9
PORT ?= 8501
SECONDS ?= 1200

# llama-cpp-python comes as source. These leave out what Python never calls (multimodal input and the helpers of
# llama.cpp's own command-line tools), which is more than half of the build, and use every core. Your own CMAKE_ARGS,
# say -DGGML_CUDA=on, are kept.
LEAN := $(CURDIR)/.make/lean_llama_cpp.cmake
export CMAKE_ARGS := -DLLAVA_BUILD=OFF -DCMAKE_PROJECT_llama_cpp_INCLUDE=$(LEAN) $(CMAKE_ARGS)
export CMAKE_BUILD_PARALLEL_LEVEL ?= $(shell getconf _NPROCESSORS_ONLN)
export SKBUILD_BUILD_TARGETS ?= llama
# Another clone may be building it, too: wait for that, and take what it has built.
export UV_LOCK_TIMEOUT ?= 3600

# Trust what this machine trusts, a company's proxy say, where it keeps such a list.
ifneq ($(wildcard /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt),)
export UV_SYSTEM_CERTS ?= true
endif

INSTALL := $(UV) pip install --quiet --python $(BIN)/python --constraints constraints.txt --build-constraints constraints.txt

.PHONY: app test test-browser test-reference soak lint format docs packages constraints clean

app: $(VENV)/.app  ## the question-answering page, on the sample documents
	$(BIN)/jina-rag add apps/qa/sample_documents --index .jina-rag/samples --collection samples
	$(BIN)/python apps/qa/launcher.py --port $(PORT) --index .jina-rag/samples

test: $(VENV)/.test lint  ## everything that CI runs
	$(BIN)/python -m pytest -n auto --dist worksteal $(ARGS)

test-browser: $(VENV)/.browser  ## the page in a real browser
	$(BIN)/python -m pytest tests/browser $(ARGS)

test-reference: $(REFERENCE)/.ready  ## engines, dimensions and precisions against torch and sentence-transformers, and mteb
	$(REFERENCE)/bin/python -m pytest tests/reference tests/backends/test_sentence_transformers.py tests/evaluation/test_mteb.py $(ARGS)

soak: $(VENV)/.test  ## server, MCP, app and ingestion together, under load, kills and hostile input
	$(BIN)/python -m tests.soak --seconds $(SECONDS)

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo
	$(BIN)/mypy

format: $(VENV)/.test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(UV)  ## the site, in site/; a dead link fails
	$(UV) tool run --from zensical==0.0.73 --with mkdocstrings-python==2.0.11 zensical build --clean --strict

packages: $(UV)  ## the four packages, as wheels and source, in dist/
	rm -rf dist
	$(UV) build --quiet --all-packages --out-dir dist --build-constraints constraints.txt
	$(UV) tool run --from twine==7.0.0 twine check --strict dist/*.whl dist/*.tar.gz
	$(UV) tool run check-wheel-contents==0.6.3 dist/*.whl

constraints: $(VENV)/.test  ## renew the pins, and the hashes of the files, that both commands install
	$(UV) pip compile pyproject.toml --all-extras --group test --group benchmarks --group build --upgrade --python-version 3.11 \
	    --generate-hashes --no-header --no-annotate --quiet | grep -v '^-e' > constraints.txt

clean:
	rm -rf $(VENV) $(REFERENCE) .jina-rag

$(UV):
	@$(PYTHON) -c 'import sys; sys.exit("jina_rag needs Python 3.11 or newer: make PYTHON=python3.12") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

$(VENV)/.app: $(UV) pyproject.toml constraints.txt
	@echo "Installing. llama.cpp is built from source the first time, which takes some minutes."
	$(INSTALL) --editable . --group app
	@touch $@

$(VENV)/.test: $(UV) pyproject.toml constraints.txt integrations/langchain/pyproject.toml integrations/llama_index/pyproject.toml apps/qa/pyproject.toml
	@echo "Installing. llama.cpp is built from source the first time, which takes some minutes."
	$(INSTALL) --editable . --group test
	@touch $@ $(VENV)/.app

# pip and not uv for what uv leaves out here: see override-dependencies in pyproject.toml.
$(REFERENCE)/.ready: $(UV) pyproject.toml constraints.txt tests/reference/requirements.txt
	@echo "Installing torch and more beside what the tests need: some gigabytes on some systems."
	$(PYTHON) -m venv $(REFERENCE)
	$(subst $(BIN)/python,$(REFERENCE)/bin/python,$(INSTALL)) --editable . --group test
	$(REFERENCE)/bin/python -m pip install --quiet --disable-pip-version-check --requirement tests/reference/requirements.txt
	@touch $@

$(VENV)/.browser: $(VENV)/.test
	@command -v chromium >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq && apt-get install -qq -y chromium >/dev/null; } \
	    || { echo "The tests need Chromium: install it, on Debian with 'sudo apt-get install chromium'."; exit 1; }
	@touch $@
