# Each target does its own set-up: `make demo` and `make test` on a bare machine.
PYTHON ?= python3
VENV ?= .venv
VENV_COMPAT ?= .venv-compat
DEMO_ARGS ?=
TEST_ARGS ?=
# One thread per process: more would slow each other down in networks this small.
TEST_JOBS ?= 2
STUDY_JOBS ?= 2
PYTEST := -m pytest -n $(TEST_JOBS) --dist worksteal

# Written last, so that an interrupted installation is taken up again.
INSTALLED := $(VENV)/.installed
INSTALLED_COMPAT := $(VENV_COMPAT)/.installed
PACKAGING := setup.cfg pyproject.toml $(wildcard requirements/*)

.DEFAULT_GOAL := help
.PHONY: help install demo demo-online study test test-all nightly test-compat test-resume test-long fuzz lint docs clean

help:  ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 22
	@echo 'variables: PYTHON=$(PYTHON) VENV=$(VENV) DEMO_ARGS= TEST_ARGS= TEST_JOBS=$(TEST_JOBS) STUDY_JOBS=$(STUDY_JOBS)'

install: $(INSTALLED)  ## create the environment with the tested pins

demo: $(INSTALLED)  ## train, test and draw an end-to-end detector on toy videos
	$(VENV)/bin/python tools/demo.py $(DEMO_ARGS)

demo-online: $(INSTALLED)  ## the same online: what is on, frame by frame, streamed
	$(VENV)/bin/python tools/demo.py configs/toy/online_gru_cnn4_sbp-r4_toy.py \
		--work-dir work_dirs/demo_online $(DEMO_ARGS)

study: $(INSTALLED)  ## hours: every strategy on two looks of the toy set, the README's table
	sh benchmarks/study.sh $(VENV)/bin/python $(STUDY_JOBS)

test: $(INSTALLED)  ## run the tests that every change must pass, a few minutes
	OMP_NUM_THREADS=1 $(VENV)/bin/python $(PYTEST) $(TEST_ARGS)

test-all: $(INSTALLED)  ## run every test once, every case of every family
	OMP_NUM_THREADS=1 $(VENV)/bin/python $(PYTEST) -m '' $(TEST_ARGS)

nightly: $(INSTALLED)  ## every test with fresh random examples, then kills, a long run and fuzz
	HYPOTHESIS_PROFILE=random $(MAKE) test-all
	$(MAKE) test-resume test-long fuzz

test-compat: $(INSTALLED_COMPAT)  ## run the tests with the older mmaction2 1.1.0
	OMP_NUM_THREADS=1 $(VENV_COMPAT)/bin/python $(PYTEST) $(TEST_ARGS)

test-resume: $(INSTALLED)  ## nightly: kill a training at 25 moments, resume and compare
	RESUME_MOMENTS=25 $(VENV)/bin/python -m pytest -m '' tests/engine/test_exact_resume.py $(TEST_ARGS)

test-long: $(INSTALLED)  ## nightly: train 2,000 iterations, memory and open files stay flat
	LONG_RUN=1 OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -m '' tests/engine/test_long_runs.py $(TEST_ARGS)

fuzz: $(INSTALLED)  ## nightly: read 10,000 damaged annotations and videos
	FUZZ_CASES=10000 $(VENV)/bin/python -m pytest -m '' tests/datasets/test_fuzz.py $(TEST_ARGS)

lint: $(INSTALLED)  ## run the linters that the pre-commit hooks run
	PATH="$(abspath $(VENV))/bin:$$PATH" $(VENV)/bin/pre-commit run --all-files

docs: $(INSTALLED)  ## build the documentation, docs/_build/html/index.html; warnings are errors
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m sphinx -W -n --keep-going -q \
		-d docs/_build/doctrees -b html docs docs/_build/html

clean:  ## remove the environments, caches and what the demo wrote
	rm -rf .venv .venv-compat $(INSTALLED) $(INSTALLED_COMPAT) data/toy work_dirs/demo work_dirs/demo_online
	rm -rf data/toy_study work_dirs/study work_dirs/study_pretrain
	rm -rf docs/_build docs/reference/api docs/tutorials/generated
	rm -rf build *.egg-info .pytest_cache .hypothesis .import_linter_cache .ruff_cache .mypy_cache
	find sbp_tad tests tools configs benchmarks -name __pycache__ -prune -exec rm -rf {} +

$(INSTALLED): $(PACKAGING)
	sh requirements/install.sh '$(PYTHON)' '$(VENV)' requirements/constraints.txt dev
	@touch $@

$(INSTALLED_COMPAT): $(PACKAGING)
	sh requirements/install.sh '$(PYTHON)' '$(VENV_COMPAT)' \
		requirements/constraints-mmaction2-1.1.txt tests
	@touch $@
