# Everything a person or a CI job does with this repository. `make help` lists it.
#
# Only make and a Python >= 3.11 are needed; the rest goes into .venv, from the lock
# files and with hashes. PYTHON=/path/to/python chooses another interpreter.

APP   ?=
ARGS  ?=
IMAGE ?= localhost/config-reload-sidecar:dev
# for podman without a registry: make image BUILD_ARGS='--pull=never --network=host'
BUILD_ARGS ?=

VENV    := .venv
PY      := $(VENV)/bin/python
RUNTIME := $(VENV)/.runtime
DEV     := $(VENV)/.dev

# tried in this order; the first that is new enough is taken
PYTHONS := python3 python3.14 python3.13 python3.12 python3.11
CONTAINERS = $(firstword $(foreach tool,podman docker,$(if $(shell command -v $(tool)),$(tool))))

version = $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' sidecar/__init__.py)

# The same sources make the same layers: every time in the image is 0, as in its base.
# docker takes it from the environment, podman is told.
build = SOURCE_DATE_EPOCH=0 $(CONTAINERS) build $(BUILD_ARGS) \
  $(if $(filter podman,$(CONTAINERS)),--timestamp 0)

.DEFAULT_GOAL := help
.PHONY: help bench demo test check lint types layers format model chaos image test-image e2e \
  lock audit sbom clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(RUNTIME) ## watch three updates reach a running program (APP=nginx: a real nginx)
	@PYTHONDONTWRITEBYTECODE=1 $(PY) -m tests.demo $(APP)

test: $(DEV) ## unit tests, and integration tests on the real programs that are installed
	$(PY) -m pytest tests/unit tests/cli tests/integration tests/manifests tests/programs $(ARGS)

model: $(DEV) ## random histories against a model (HYPOTHESIS_PROFILE=nightly: ten times as many)
	$(PY) -m pytest tests/model --timeout 3600 $(ARGS)

check: lint types layers test model ## everything that must hold before a change goes in

lint: $(DEV) ## style
	$(PY) -m ruff check sidecar tests
	$(PY) -m ruff format --check sidecar tests

types: $(DEV) ## mypy, strict, tests included
	$(PY) -m mypy

layers: $(DEV) ## who may import whom
	$(VENV)/bin/lint-imports

format: $(DEV) ## write the code in the house's format
	$(PY) -m ruff check --fix-only sidecar tests
	$(PY) -m ruff format sidecar tests

chaos: $(DEV) ## faults of every kind on real processes, and a table of what came of them
	$(PY) -m tests.chaos $(ARGS)

bench: $(DEV) ## measure it beside its peers, for docs/BENCHMARKS.md (ARGS=--quick: a taste)
	IMAGE=$(IMAGE) $(PY) -m tests.bench $(ARGS)

image: ## build the container image with podman or docker (IMAGE=, BUILD_ARGS=)
	@test -n "$(CONTAINERS)" || { echo 'make image needs podman or docker: install one of them' >&2; exit 1; }
	$(build) \
	  --label org.opencontainers.image.version=$(version) \
	  --label org.opencontainers.image.revision=$$(git rev-parse HEAD 2>/dev/null || echo unknown) \
	  -t $(IMAGE) .

# Privileged, because some tests take inotify away from a process or mount something.
test-image: $(DEV) image ## the image itself, and unit and integration tests on its Python
	IMAGE=$(IMAGE) CONTAINERS=$(CONTAINERS) BUILD_ARGS='$(BUILD_ARGS)' $(PY) -m pytest tests/image $(ARGS)
	$(build) --target test -t $(IMAGE)-test .
	$(CONTAINERS) run --rm --privileged --network none -v "$(CURDIR)":/checkout:ro \
	  -e CI -e PYTEST_ADDOPTS $(IMAGE)-test tests/unit tests/integration $(ARGS)

e2e: $(DEV) ## the image in a real cluster: KUBECONFIG's, or one made with kind
	IMAGE=$(IMAGE) tests/e2e/run $(PY) -m pytest tests/e2e --timeout 600 $(ARGS)

audit: ## look for known vulnerabilities in what the image installs
	@$(tools) && "$$tools/bin/pip" install --quiet pip-audit && \
	"$$tools/bin/pip-audit" --strict --require-hashes --disable-pip -r requirements.lock $(ARGS)

# of an environment that has just that; the version in pyproject.toml is found by import
sbom: ## write dist/sbom.cdx.json: CycloneDX of what the image installs over its base
	@$(tools) && "$$tools/bin/pip" install --quiet cyclonedx-bom && mkdir -p dist && \
	"$$python" -m venv --without-pip "$$tools/image" && \
	"$$tools/bin/pip" --python "$$tools/image" install $(pip_flags) -r requirements.lock && \
	sed 's/^dynamic = .*/version = "$(version)"/' pyproject.toml >"$$tools/pyproject.toml" && \
	"$$tools/bin/cyclonedx-py" environment --pyproject "$$tools/pyproject.toml" \
	  --output-reproducible --validate -o dist/sbom.cdx.json "$$tools/image" $(ARGS)

lock: ## resolve the dependencies again (ARGS=--upgrade for the newest of all)
	@$(tools) && "$$tools/bin/pip" install --quiet uv && \
	compile="$$tools/bin/uv pip compile --quiet --universal --python-version 3.11 \
	  --generate-hashes --no-build --no-emit-index-url $(ARGS)" && \
	export UV_CUSTOM_COMPILE_COMMAND='make lock' && \
	$$compile pyproject.toml -o requirements.lock && \
	$$compile -c requirements.lock --extra cli --group pyproject.toml:dev pyproject.toml -o requirements-dev.lock

clean: ## remove everything that make made
	rm -rf $(VENV) build/bench .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find sidecar tests -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps are newer than what they were made from, or they are made again.
$(RUNTIME): pyproject.toml requirements.lock
	@$(find_python); \
	"$$python" -m venv --clear $(VENV)
	@echo 'installing the dependencies into $(VENV)'
	@$(PY) -m pip install $(pip_flags) -r requirements.lock
	@touch $@

$(DEV): $(RUNTIME) requirements-dev.lock
	@echo 'installing what the checks need into $(VENV)'
	@$(PY) -m pip install $(pip_flags) -r requirements-dev.lock
	@touch $@

pip_flags := --quiet --disable-pip-version-check --require-hashes --only-binary :all:

# Makes a virtual environment in $$tools, for as long as a recipe runs.
tools = $(find_python); tools=$$(mktemp -d); trap 'rm -rf "$$tools"' EXIT; "$$python" -m venv "$$tools"

# Sets $$python to a suitable interpreter, or says what to install. ensurepip is a part
# that distributions split off.
define find_python
python=; too_old=; bare=; \
for candidate in $(or $(PYTHON),$(PYTHONS)); do \
  command -v "$$candidate" >/dev/null 2>&1 || continue; \
  "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { too_old=$$candidate; continue; }; \
  "$$candidate" -c 'import ensurepip, venv' 2>/dev/null || { bare=$$candidate; continue; }; \
  python=$$candidate; break; \
done; \
if [ -z "$$python" ]; then \
  if [ -n "$$bare" ]; then \
    name=python$$("$$bare" -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
    echo "$$bare comes without venv: install it (Debian, Ubuntu: apt install $$name-venv), then run make again" >&2; \
  elif [ -n "$$too_old" ]; then \
    echo "$$too_old is $$("$$too_old" -V 2>&1), and Python 3.11 or newer is needed: install one (Debian, Ubuntu: apt install python3.11 python3.11-venv), or name one with make PYTHON=/path/to/python3.13" >&2; \
  else \
    echo 'no Python was found and Python 3.11 or newer is needed: install it (Debian, Ubuntu: apt install python3 python3-venv), or name one with make PYTHON=/path/to/python3.13' >&2; \
  fi; \
  exit 1; \
fi
endef
