# `make demo` and `make test` work on a fresh clone: whichever comes first makes .venv from requirements.lock.
# Needs Python 3.11 or newer with pip, and make. PYTEST_ARGS replaces pytest's arguments.

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.stamp
EDGE := $(VENV)/.edge
PYTEST_ARGS ?= -q -n 2
EXTRAS := --extra train --extra eval --extra dev

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test lint docs edge bench lock clean

help: ## print this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | expand -t 10

demo: $(STAMP) ## train and measure a small model that sees and reasons, on this machine
	@echo "==> sepiola demo"
	@$(BIN)/sepiola demo

test: lint docs $(EDGE) ## run every check: linters, types, imports, docs, tests
	@echo "==> pytest $(PYTEST_ARGS)"
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

lint: $(STAMP) ## run ruff, mypy and the import rules
	@echo "==> ruff check"
	@$(BIN)/ruff check --quiet .
	@echo "==> ruff format --check"
	@$(BIN)/ruff format --check --quiet .
	@echo "==> mypy"
	@$(BIN)/mypy
	@echo "==> lint-imports"
	@$(BIN)/lint-imports --no-logo

docs: $(STAMP) ## build the book into site/
	@echo "==> mkdocs build --strict"
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

edge: $(EDGE) ## build the native core, which runs models faster on a CPU (needs a C++17 compiler)

bench: $(STAMP) $(EDGE) ## measure against named peers
	@echo "==> benchmarks"
	@$(BIN)/python -m benchmarks

# The lock must hold for the oldest 3.11, so run this under it. Pins that stand are kept; a CPU tag and the CUDA
# libraries are left out, because pip adds what the torch build it finds asks for.
lock: $(STAMP) ## bring requirements.lock in line with pyproject.toml
	@echo "==> pip-compile"
	@$(BIN)/pip-compile --quiet --no-header --no-annotate --strip-extras --no-emit-index-url \
	  --no-emit-trusted-host --no-emit-find-links --no-emit-options --unsafe-package pip $(EXTRAS) \
	  -o requirements.lock pyproject.toml
	@{ echo '# The pins of the core and of the extras train, eval and dev, for Python 3.11 and 3.12; `make lock` writes them.'; \
	  echo '# torch bears no local tag, so that a CPU build (2.13.0+cpu) satisfies it where pip sees one.'; \
	  sed -e '/^#/d;/^$$/d;/^nvidia-/d;/^cuda-/d;/^triton/d' -e 's/^\(torch==[0-9.]*\)+.*/\1/' requirements.lock; \
	} > requirements.lock.new && mv requirements.lock.new requirements.lock

# Without a compiler everything runs on torch: that is said, and no error.
$(EDGE): $(STAMP) edge/pyproject.toml edge/CMakeLists.txt $(wildcard edge/native/* edge/sepiola_edge/*.py* edge/sepiola_edge/demo/* sepiola/calling/*.py)
	@echo "==> building the native core (a minute)"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps ./edge || { \
	  echo "==> the native core is not built: its tests are skipped, and models run on torch." \
	       "It needs a C++17 compiler (Debian: apt install g++); then: make edge" >&2; }
	@touch $(EDGE)

clean: ## remove what the other targets made (.venv too; runs/ stays)
	@echo "==> clean"
	@rm -rf $(VENV) site dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): requirements.lock pyproject.toml
	@if ! $(BIN)/python -c '' 2>/dev/null; then \
	  for python in python3.11 python3.12 python3; do \
	    if $$python -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	      found=$$python; break; \
	    fi; \
	  done; \
	  if [ -z "$$found" ]; then \
	    echo "no Python 3.11 or newer with venv and pip on the PATH; install one (Debian: apt install python3.11-venv)" >&2; \
	    exit 1; \
	  fi; \
	  echo "==> making $(VENV) with $$($$found --version)"; \
	  $$found -m venv --clear $(VENV) || exit 1; \
	fi
	@echo "==> installing requirements.lock (once; some minutes)"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -r requirements.lock
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(STAMP)
