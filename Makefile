# `make repro` runs everything on the embedded data; `make test` tests every environment.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

VENVS := pipeline spleeter svoice
BIN := $(CURDIR)/.venv/pipeline/bin
# Stage commands say `python`: inside a target it is the pipeline's.
export PATH := $(BIN):$(PATH)
TEST_DATA := scratch/test-data
RUNTIME ?= local
NAME ?= mini
SEEDS ?= 1
JOBS ?= 1
OUT ?= reports/comparison.html

PYTHON ?= $(shell for p in python3.11 python3.10 python3; do \
	$$p -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 11))' 2>/dev/null \
	&& echo $$p && break; done)

.PHONY: help repro study report test test-data setup installed system git base-image lint format lock clean

# One process at a time in what follows it on the line, and in what make starts there. The kernel
# lets go of the lock when the shell ends, however it does.
LOCKED = mkdir -p .venv; exec 9>.venv/setup.lock; \
	flock --nonblock 9 || { echo "Waiting for the set-up in another process"; flock 9; }

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

repro: setup ## set up, run the pipeline, print the scores (RUNTIME=docker: train in containers)
	$(REPRO_$(RUNTIME))
	python -m metrics.table

REPRO_local := dvc repro
define REPRO_docker
python -m stages.base_image --is-there || $(MAKE) base-image
	dvc exp run -S runtime=docker
endef

# A text as it stands, for the shell.
quoted = '$(subst ','\'',$(1))'

study: setup ## run a study of conf/study (NAME=mini, SEEDS=3, JOBS=2) and write its report
	python -m stages.study $(call quoted,$(value NAME)) --seeds $(SEEDS) --jobs $(JOBS) $(if $(value SET),--settings $(call quoted,$(value SET)))

report: setup ## a page about any experiments or commits (REVS='adam sgd', BASELINE=adam)
	python -m metrics.report $(REVS) $(if $(BASELINE),--baseline $(call quoted,$(value BASELINE))) --out $(call quoted,$(value OUT))

TESTS_pipeline := tests/stages tests/metrics tests/pipeline
TESTS_svoice := tests/svoice
TESTS_spleeter := tests/spleeter_mod
test: test-data ## set up, run every environment's tests
	@failed=""; \
	$(foreach name,$(VENVS),.venv/$(name)/bin/python -m pytest $(TESTS_$(name)) || failed="$$failed $(name)";) \
	if [ -n "$$failed" ]; then echo "ERROR: tests failed in:$$failed" >&2; exit 1; fi

test-data: setup ## make the data the tests share
	@$(LOCKED); $(MAKE) --no-print-directory $(TEST_DATA)/.made

# By the pipeline's own stages.
$(TEST_DATA)/.made: $(wildcard stages/*.py) conf/speech/prompts.sha256 params.yaml tests/make_data.py
	python -m tests.make_data $(TEST_DATA)
	touch $@

setup: ## install what is missing
	@$(LOCKED); $(MAKE) --no-print-directory installed

installed: system $(VENVS:%=.venv/%/requirements.sha256) git

# DVC asks for a Git repository, which an archive of the files is not.
git:
	@if [ -e .git ]; then \
		! grep -qs no_scm .dvc/config.local || dvc config --local --unset core.no_scm; \
	else \
		grep -qs no_scm .dvc/config.local || dvc config --local core.no_scm true; \
		echo "This folder is not a Git repository: the pipeline runs, experiments and studies need one."; \
		echo "To make it one: git init && git add --all && git commit -m 'The start' && make setup"; \
	fi

.venv/%/requirements.sha256: docker/requirements/%.txt | system
	@if sha256sum < $< | cut -d' ' -f1 | cmp -s - $@; then touch $@; exit; fi; \
	echo "Installing the $* environment (minutes, once)"; \
	test -x .venv/$*/bin/python || $(PYTHON) -m venv .venv/$*; \
	.venv/$*/bin/python -m pip install --quiet --disable-pip-version-check -r $<; \
	sha256sum < $< | cut -d' ' -f1 > $@

# Installs the system's packages named in $$missing.
INSTALL = [ -n "$$missing" ] || exit 0; \
	if ! command -v apt-get >/dev/null; then \
		echo "ERROR: not installed:$$missing; install with your system's package manager" >&2; exit 1; fi; \
	if [ "$$(id -u)" = 0 ]; then sudo=""; elif sudo -n true 2>/dev/null; then sudo="sudo"; else \
		echo "ERROR: not installed:$$missing; run: sudo apt-get install$$missing" >&2; exit 1; fi; \
	echo "Installing$$missing"; \
	$$sudo apt-get update -qq && \
	DEBIAN_FRONTEND=noninteractive $$sudo apt-get -o DPkg::Lock::Timeout=600 install -y -qq \
		--no-install-recommends $$missing >/dev/null

# Python is checked before anything else, then the system's packages.
system:
	@if [ -z "$(PYTHON)" ]; then \
		echo "ERROR: Python: found $$(python3 --version 2>&1 || true), expected 3.10 or 3.11 (name one with PYTHON=...)" >&2; exit 1; fi; \
	missing=""; \
	command -v ffmpeg >/dev/null && command -v ffprobe >/dev/null || missing="$$missing ffmpeg"; \
	$(PYTHON) -c 'import ensurepip' 2>/dev/null || missing="$$missing python3-venv"; \
	$(INSTALL)

base-image: setup ## make the images' base for machines without GPUs
	@missing=""; command -v debootstrap >/dev/null || missing=" debootstrap"; $(INSTALL)
	python -m stages.base_image

lint: setup ## check style
	ruff check .
	ruff format --check .

format: setup ## mend style
	ruff check --fix .
	ruff format .

# torch's wheel pins its CUDA libraries itself: see svoice.in. Images that hold its CUDA build take
# them from svoice-cuda.txt.
CUDA := ^(nvidia-|cuda-|triton)
lock: system ## resolve docker/requirements/*.in into *.txt, for Python 3.10 and 3.11
	test -x .venv/lock/bin/uv || { $(PYTHON) -m venv .venv/lock && .venv/lock/bin/pip install -q uv==0.13.9; }
	for name in $(VENVS) pipeline-speech; do \
		.venv/lock/bin/uv pip compile -q --universal --python-version 3.10 --annotation-style line \
			--custom-compile-command "make lock" docker/requirements/$$name.in \
			> docker/requirements/$$name.new; \
		grep -E '$(CUDA)' docker/requirements/$$name.new > docker/requirements/$$name-cuda.txt || rm docker/requirements/$$name-cuda.txt; \
		grep -Ev '$(CUDA)' docker/requirements/$$name.new > docker/requirements/$$name.txt; \
		rm docker/requirements/$$name.new; \
	done

clean: ## remove unfinished training and caches of the tools (results and data stay)
	rm -rf scratch .pytest_cache .ruff_cache
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
