# `make repro` runs the pipeline on the default data; `make test` tests every environment.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

VENVS := pipeline spleeter svoice
BIN := $(CURDIR)/.venv/pipeline/bin
# The stages' commands say `python`. In a target that is the pipeline's.
export PATH := $(BIN):$(PATH)
TEST_DATA := scratch/test-data
RUNTIME ?= local
CUDA ?=
NAME ?= mini
SEEDS ?=
JOBS ?=
ENGINE ?= local
WAIT ?=
DRY_RUN ?=
PAGE ?= results/report.html

ifeq ($(filter local docker podman,$(RUNTIME)),)
$(error RUNTIME: found $(RUNTIME), expected local, docker or podman)
endif
# Some clusters export a variable of this name, which means another thing.
ifeq ($(origin CUDA)$(filter 0 1,$(CUDA)),environment)
CUDA :=
endif
ifneq ($(filter-out 0 1,$(CUDA)),)
$(error CUDA: found $(CUDA), expected 1, 0 or nothing)
endif

PYTHON ?= $(shell for p in python3.11 python3.10 python3; do \
	$$p -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 11))' 2>/dev/null \
	&& echo $$p && break; done)

.PHONY: help repro plan study report open screenshots test test-data setup installed cuda check-gpu system git base-image lint format lock clean

# Lets one process at a time run what follows on the line. The kernel releases the lock when the shell
# and what it started have ended, however they end.
LOCKED = mkdir -p .venv; exec 9>.venv/setup.lock; \
	flock --nonblock 9 || { echo "Waiting for the set-up in another process"; flock 9; }

help: ## print this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

repro: setup ## set up, run the pipeline, print the scores (RUNTIME=docker or podman: train in containers)
	@python -m stages.durations$(if $(filter local,$(RUNTIME)),, --runtime $(RUNTIME))
	$(if $(filter local,$(RUNTIME)),dvc repro,$(REPRO_IN_CONTAINERS))
	python -m report.table
	@echo "The page about this run: results/report.html (make open shows it)"

define REPRO_IN_CONTAINERS
python -m stages.runtime.base_image --runtime $(RUNTIME) --is-there || $(MAKE) base-image RUNTIME=$(RUNTIME)
	dvc exp run -S runtime=$(RUNTIME)
endef

# Quotes a text for the shell.
quoted = '$(subst ','\'',$(1))'

plan: setup ## print what the configuration or a study takes: steps, hours, memory, disk (NAME=tuned_mini SEEDS=3 SET='spleeter=musdb music=musdb18hq')
	@python -m studies.plan $(if $(filter file,$(origin NAME)),,$(call quoted,$(value NAME))) $(if $(SEEDS),--seeds $(SEEDS)) $(if $(value SET),--settings $(call quoted,$(value SET)))

study: setup ## run a study of conf/study, write its report (NAME=mini SEEDS=3 JOBS=2 ENGINE=slurm SET='svoice.epochs=8 svoice.N=64')
	python -m studies.study $(call quoted,$(value NAME)) $(if $(SEEDS),--seeds $(SEEDS)) $(if $(JOBS),--jobs $(JOBS)) --engine $(call quoted,$(value ENGINE)) $(if $(WAIT),--wait) $(if $(DRY_RUN),--dry-run) $(if $(value SET),--settings $(call quoted,$(value SET)))

report: setup ## write a page about this workspace, or about experiments or commits (REVS='adam sgd' BASELINE=adam OUT=reports/comparison.html)
	$(if $(REVS),python -m studies.report $(REVS) $(if $(BASELINE),--baseline $(call quoted,$(value BASELINE))) $(if $(OUT),--out $(call quoted,$(value OUT))),$(if $(BASELINE)$(OUT),@echo "ERROR: REVS: is not set; BASELINE and OUT are of a page about experiments: name them as in REVS='adam sgd'" >&2; exit 1,python -m stages.report))

open: setup ## open a page in a browser (PAGE=reports/mini.html)
	python -m report.open $(call quoted,$(value PAGE))

screenshots: setup ## picture the top of a report in docs/images (PAGE=reports/mini.html); needs a Chromium
	python -m report.screenshots $(call quoted,$(value PAGE)) $(call quoted,docs/images/$(basename $(notdir $(value PAGE))).png)

# The suites run seven at a time, the longest first, each in its environment. Those of tests/pipeline
# mostly wait for DVC's workers, and leave cores free. All that needs an engine is one suite: its tests
# remove containers. The contract is tested in all environments, except what needs libraries that
# only the pipeline has.
SUITES := spleeter units pipeline cluster datasets tuning study queue svoice containers
TESTS_units := .venv/pipeline tests/test_floors.py tests/test_docs.py tests/test_suites.py tests/test_forked.py tests/contract tests/metrics tests/report tests/studies tests/stages --ignore tests/stages/runtime
TESTS_containers := .venv/pipeline tests/stages/runtime tests/pipeline/test_contained_pipeline.py
TESTS_cluster := .venv/pipeline tests/cluster
TESTS_queue := .venv/pipeline tests/pipeline/test_queue.py tests/pipeline/test_clones.py tests/pipeline/test_menu.py tests/pipeline/test_sharing.py
TESTS_study := .venv/pipeline tests/pipeline/test_study_pipeline.py
TESTS_tuning := .venv/pipeline tests/pipeline/test_tuned_study.py
TESTS_datasets := .venv/pipeline tests/pipeline/test_data_sets.py tests/pipeline/test_killed_cell.py tests/pipeline/test_learning.py tests/pipeline/test_several_gpus.py
TESTS_pipeline := .venv/pipeline tests/pipeline/test_pipeline.py
TESTS_svoice := .venv/svoice tests/svoice tests/test_forked.py tests/contract --ignore tests/contract/test_locks.py --ignore tests/contract/test_names.py --ignore tests/contract/test_params.py
TESTS_spleeter := .venv/spleeter tests/spleeter_mod tests/test_forked.py tests/contract --ignore tests/contract/test_locks.py --ignore tests/contract/test_names.py --ignore tests/contract/test_params.py
LOGS := scratch/test-logs
test: test-data ## set up, run every suite of tests, say what was skipped
	@rm -rf $(LOGS); mkdir -p $(LOGS); code=0; \
	$(MAKE) --no-print-directory --keep-going --jobs=7 $(SUITES:%=test-%) || code=$$?; \
	echo; grep -hE '^=+ .*(passed|failed|error).* =+$$' $(LOGS)/*.log || true; \
	echo "Skipped:"; grep -hE '^SKIPPED' $(LOGS)/*.log || echo "nothing"; \
	exit $$code

# Prints a suite's output as it comes, each line after the suite's name.
$(SUITES:%=test-%): test-%:
	@mkdir -p $(LOGS); set -- $(TESTS_$*); $$1/bin/python -m pytest -o cache_dir=.pytest_cache/$* "$${@:2}" 2>&1 | tee $(LOGS)/$*.log | sed -u 's/^/$* | /'

test-data: setup ## make the data that the tests share
	@$(LOCKED); $(MAKE) --no-print-directory $(TEST_DATA)/.made

# Made by the pipeline's own stages.
$(TEST_DATA)/.made: $(wildcard contract/*.py metrics/*.py metrics/core/*.py stages/*.py stages/datasets/*.py stages/fetching/*.py) conf/speech/prompts.sha256 conf/speech/prompts.yaml configuration.yaml tests/make_data.py
	python -m tests.make_data $(TEST_DATA)
	touch $@

setup: ## install what is missing (CUDA=1: Spleeter's CUDA libraries also without a GPU; CUDA=0: never)
	@$(LOCKED); $(MAKE) --no-print-directory installed

PLOTS_PAGE := .venv/pipeline/share/plots.html
installed: system $(VENVS:%=.venv/%/requirements.sha256) cuda $(PLOTS_PAGE) git

# The page that `dvc plots` fills, see .dvc/config.
$(PLOTS_PAGE): .venv/pipeline/requirements.sha256 report/plots_page.py report/plots_page.html
	mkdir -p $(@D)
	python -m report.plots_page $@

# DVC expects a Git repository, which an unpacked archive of the files is not.
git:
	@if [ -e .git ]; then \
		! grep -qs no_scm .dvc/config.local || dvc config --local --unset core.no_scm; \
	else \
		grep -qs no_scm .dvc/config.local || dvc config --local core.no_scm true; \
		echo "This folder is not a Git repository: the pipeline runs, but experiments and studies need one."; \
		echo "To make it one: git init && git add --all && git commit -m 'The start' && make setup"; \
	fi

.venv/%/requirements.sha256: docker/requirements/%.txt | system
	@if sha256sum < $< | cut -d' ' -f1 | cmp -s - $@; then touch $@; exit; fi; \
	echo "Installing the $* environment (minutes, once)"; \
	test -x .venv/$*/bin/python || $(PYTHON) -m venv .venv/$*; \
	.venv/$*/bin/python -m pip install --quiet --disable-pip-version-check -r $<; \
	sha256sum < $< | cut -d' ' -f1 > $@

# The CUDA libraries of TensorFlow, where there is a GPU to use them. torch's CUDA build brings its own.
CUDA_LIBRARIES := docker/requirements/spleeter-cuda.txt
cuda: .venv/spleeter/requirements.sha256
	@case '$(CUDA)' in \
	0) exit ;; \
	'') nvidia-smi --list-gpus 2>/dev/null | grep -q '^GPU ' && [ "$$(uname -m)" = x86_64 ] || exit 0 ;; \
	esac; \
	if [ "$$(uname -sm)" != "Linux x86_64" ]; then \
		echo "ERROR: CUDA: found 1, expected 0 or nothing: TensorFlow 2.12 uses GPUs on Linux on x86_64 only" >&2; exit 1; fi; \
	if sha256sum < $(CUDA_LIBRARIES) | cut -d' ' -f1 | cmp -s - .venv/spleeter/cuda.sha256; then exit; fi; \
	echo "Installing Spleeter's CUDA libraries (1.7 GB to download, 3 GB on the disk, once; CUDA=0 leaves them out)"; \
	rm -f .venv/spleeter/cuda.sha256; \
	.venv/spleeter/bin/python -m pip install --quiet --disable-pip-version-check -r $(CUDA_LIBRARIES); \
	sh docker/link_cuda.sh .venv/spleeter; \
	sha256sum < $(CUDA_LIBRARIES) | cut -d' ' -f1 > .venv/spleeter/cuda.sha256

check-gpu: setup ## open every library that the trainers need on a GPU; needs none
	python -m stages.runtime.libraries

# Installs the system packages that $$missing names.
INSTALL = [ -n "$$missing" ] || exit 0; \
	if ! command -v apt-get >/dev/null; then \
		echo "ERROR: not installed:$$missing; install them with your system's package manager" >&2; exit 1; fi; \
	if [ "$$(id -u)" = 0 ]; then sudo=""; elif sudo -n true 2>/dev/null; then sudo="sudo"; else \
		echo "ERROR: not installed:$$missing; run: sudo apt-get install$$missing" >&2; exit 1; fi; \
	echo "Installing$$missing"; \
	$$sudo apt-get update -qq && \
	DEBIAN_FRONTEND=noninteractive $$sudo apt-get -o DPkg::Lock::Timeout=600 install -y -qq \
		--no-install-recommends $$missing >/dev/null

# Checks Python before anything else, then the system's packages.
system:
	@if [ -z "$(PYTHON)" ]; then \
		echo "ERROR: Python: found $$(python3 --version 2>&1 || true), expected 3.10 or 3.11; name one with PYTHON=..." >&2; exit 1; fi; \
	missing=""; \
	command -v ffmpeg >/dev/null && command -v ffprobe >/dev/null || missing="$$missing ffmpeg"; \
	$(PYTHON) -c 'import ensurepip' 2>/dev/null || missing="$$missing python3-venv"; \
	$(INSTALL)

base-image: setup ## make the base of the images for machines without GPUs, on Debian 12 or Ubuntu 22.04 (RUNTIME=podman)
	@missing=""; command -v debootstrap >/dev/null || missing=" debootstrap"; $(INSTALL)
	python -m stages.runtime.base_image --runtime $(patsubst local,docker,$(RUNTIME))

lint: setup ## check style
	ruff check .
	ruff format --check .

format: setup ## correct style
	ruff check --fix .
	ruff format .

# torch's wheel pins its CUDA libraries itself (see svoice.in). Images with its CUDA build install
# them from svoice-cuda.txt.
OF_TORCH := ^(nvidia-|cuda-|triton)
lock: system ## resolve docker/requirements/*.in into *.txt, for Python 3.10 and 3.11
	test -x .venv/lock/bin/uv || { $(PYTHON) -m venv .venv/lock && .venv/lock/bin/pip install -q uv==0.13.9; }
	for name in $(VENVS) pipeline-speech spleeter-cuda; do \
		.venv/lock/bin/uv pip compile -q --universal --python-version 3.10 --annotation-style line \
			--custom-compile-command "make lock" docker/requirements/$$name.in \
			> docker/requirements/$$name.new; \
		mv docker/requirements/$$name.new docker/requirements/$$name.txt; \
	done
	grep -E '$(OF_TORCH)' docker/requirements/svoice.txt > docker/requirements/svoice-cuda.txt
	sed -i -E '/$(OF_TORCH)/d' docker/requirements/svoice.txt

clean: ## remove scratch/ (unfinished trainings, partial downloads, a fetched LibriSpeech, spectrograms, the tests' data and output) and the tools' caches
	rm -rf scratch .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
