# Roost: set up, test, check, demonstrate. `make help` lists the targets. tools/setup.py does the setting up.

PYTHON ?= $(shell for p in python3.11 python3 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
# Fast ones first: a mistake in a pure function should not wait for a broker.
TESTS := $(wildcard tests/unit tests/contract tests/property tests/integration)
# Two at a time, a file whole on one worker: most of what integration tests take is waiting for processes to start. A worker that
# crashes ends the run with its test named: in place of one, xdist waits for ever.
PYTEST := -m pytest -n 2 --dist loadfile --no-loadscope-reorder --max-worker-restart=0

.DEFAULT_GOAL := help
.PHONY: help setup test check demo bench docs lock clean
MAKEFLAGS += --no-print-directory

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

setup: ## make .venv and fetch Kafka; does nothing when nothing changed
	@test -n "$(PYTHON)" || { echo "setup: Python 3.11 is missing: install python3.11 with its headers and venv module (apt install python3.11-dev python3.11-venv)." >&2; exit 1; }
	@$(PYTHON) tools/setup.py

test: setup ## all tests, on a real broker (KAFKA_BOOTSTRAP_SERVERS to use yours) and a real schema registry
	@$(PYTHON) tools/setup.py --with-registry
	@if $(BIN)/python -m tools.chromium >/dev/null; then $(BIN)/python $(PYTEST) $(TESTS); else \
		echo "test: the browser tests of the console are left out"; $(BIN)/python $(PYTEST) $(TESTS) -m "not browser"; fi

check: setup ## format, lint, strict types, the import rule
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

demo: setup ## the whole loop on this machine: events, index, answers, fine-tune, rollout, rollback
	@$(BIN)/roost demo

bench: setup ## the quick set of benchmarks
	@$(BIN)/roost bench ingest
	@$(BIN)/roost bench query

docs: setup ## the reference anew from the code, and the site in build/site
	@$(BIN)/python -m tools.reference
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "docs: build/site/index.html"

lock: ## resolve requirements.lock and the sums of the jars anew, after a change of pyproject.toml or a pom
	@test -x $(BIN)/uv || { echo "lock: run \`make setup\` once; it brings uv." >&2; exit 1; }
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --all-extras --generate-hashes --no-emit-index-url \
		--no-emit-find-links --custom-compile-command "make lock" --output-file requirements.lock pyproject.toml
	@rm -rf .cache/kafka .cache/java
	@for jars in kafka java; do mvn -q -B -ntp --strict-checksums -f tools/$$jars/pom.xml dependency:copy-dependencies \
		-DoutputDirectory=$(CURDIR)/.cache/$$jars/libs -DincludeScope=runtime && \
		(cd .cache/$$jars/libs && sha256sum *.jar) > tools/$$jars/jars.sha256 || exit 1; done

clean: ## remove everything that the other targets made
	rm -rf .venv .cache .roost build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
