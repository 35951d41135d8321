# The commands of the house. `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

JOBS ?= $(shell nproc)
# Debian's own interpreter: the one that Debian's numpy belongs to.
PYTHON ?= /usr/bin/python3
export PYTHON
# Two clones of the tree share what the compiler cache holds.
export CCACHE_BASEDIR := $(CURDIR)
export CCACHE_NOHASHDIR := 1

CTEST := ctest --output-on-failure --no-tests=error -j $(JOBS)
BUILD := build/release
TOOLS := tests/tools
FUZZ_SECONDS ?= 20

.PHONY: help setup build demo test deploy bench quality docs format lint asan tsan fuzz clean

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install the Debian packages that are missing
	@cmake/setup.sh build test demo

build: setup ## build the release binaries: build/release/bin/quantd and quantctl
	@cmake --preset release --log-level=WARNING
	@cmake --build $(BUILD) -j $(JOBS) --target quantd quantctl

demo: build ## quantize a real model and show what came of it
	@demo/run.sh $(BUILD)/bin build/demo

test: setup ## build everything and run all tests but those of the deployment
	@cmake --preset release --log-level=WARNING
	@cmake --build $(BUILD) -j $(JOBS)
	@$(CTEST) --test-dir $(BUILD) -LE deploy

deploy: build ## run the deployment: manifests, chart, alerts, dashboards, image, replicas, autoscaling (as root)
	@cmake/setup.sh deploy
	@$(PYTHON) tests/deploy/prepare.py
	@QUANTD_DEPLOY_STRICT=1 ctest --output-on-failure --no-tests=error --test-dir $(BUILD) -L deploy

bench: setup ## run the benchmarks and write docs/performance.md
	@cmake --preset release --log-level=WARNING
	@cmake --build $(BUILD) -j $(JOBS)
	@$(PYTHON) tests/bench/run.py $(BUILD) --output docs/performance.md

quality: demo ## measure every method on the demo's model and write docs/quality.md
	@cmake --build $(BUILD) -j $(JOBS) --target aqlm_cases
	@$(PYTHON) tests/quality/run.py $(BUILD)/bin

docs: build ## write the generated pages of docs/: cli, methods, metrics, server-options
	@$(PYTHON) $(TOOLS)/generate_docs.py $(BUILD)/bin

format: ## format the C++ sources
	@cmake/setup.sh lint
	@git ls-files -co --exclude-standard '*.cc' '*.h' | xargs clang-format -i

lint: setup ## check format, includes, files and clang-tidy's findings (LINT_ALL=1: in every file)
	@cmake/setup.sh lint
	@git ls-files -co --exclude-standard '*.cc' '*.h' | xargs clang-format --dry-run --Werror
	@$(PYTHON) $(TOOLS)/check_includes.py
	@$(PYTHON) $(TOOLS)/check_files.py
	@cmake --preset release --log-level=WARNING
	@cmake --build $(BUILD) -j $(JOBS) --target quantd_messages quantd_stubs
	@$(PYTHON) $(TOOLS)/run_clang_tidy.py $(BUILD) $(if $(LINT_ALL),--all) -j $(JOBS)

asan: setup ## unit tests under the address and undefined-behaviour sanitizers
	@cmake --preset asan --log-level=WARNING
	@cmake --build build/asan -j $(JOBS) --target unit_tests
	@ASAN_OPTIONS=detect_stack_use_after_return=1 UBSAN_OPTIONS=print_stacktrace=1 \
	  $(CTEST) --test-dir build/asan -L unit

tsan: setup ## unit tests under the thread sanitizer
	@cmake --preset tsan --log-level=WARNING
	@cmake --build build/tsan -j $(JOBS) --target unit_tests
	@TSAN_OPTIONS="ignore_noninstrumented_modules=1 suppressions=$(CURDIR)/tests/tsan.supp" \
	  $(CTEST) --test-dir build/tsan -L unit

fuzz: setup ## run each fuzz target for FUZZ_SECONDS (20)
	@cmake/setup.sh fuzz
	@cmake --preset fuzz -DCMAKE_CXX_COMPILER=clang++-16 --log-level=WARNING
	@cmake --build build/fuzz -j $(JOBS) --target fuzzers
	@$(TOOLS)/run_fuzzers.sh build/fuzz/bin tests/fuzz/corpus $(FUZZ_SECONDS) $(JOBS)

clean: ## remove everything that was built
	@rm -rf build
