# Every target is complete on a fresh machine: it needs only Python 3.11+ with venv, and make.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin

.PHONY: help demo test test-faults test-fast lint install-targets test-targets bench-live bench-cases bench-search bench-search-subset bench-evidence bench-compare bench-ablation bench-generator bench-record clean

help:            ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## */\t/' | expand -t 21

# The stamp makes set-up run once, and again when the dependencies change.
$(VENV)/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "locust-adaptive needs Python 3.11 or later, this is " + sys.version)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --group test --group lint
	@touch $@

$(VENV)/.installed-benchmark: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --group benchmark
	@touch $@

# Real model servers, with what they want of other packages, in an environment of their own.
TARGETS := $(VENV)-targets
$(TARGETS)/.installed: pyproject.toml
	$(PYTHON) -m venv $(TARGETS)
	$(TARGETS)/bin/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(TARGETS)/bin/python -m pip install --quiet --no-compile --editable . --group test --group targets
	@touch $@

demo: $(VENV)/.installed  ## find the capacity of the embedded model server from a recorded trace (about 5 minutes)
	$(BIN)/locust -f locustfiles/quickstart.py --headless --only-summary

# These need no clock, or little, so they run beside the others; the searches in real time get the machine to themselves.
PURE := tests/search tests/simulation tests/report tests/replay tests/demo tests/cases
# These have a target of their own.
OTHERS := --ignore=tests/faults

test: $(VENV)/.installed-dev  ## run every test (about 12 minutes on 2 cores)
	@log=$$(mktemp); $(BIN)/python -m pytest -m 'not live' $(PURE) >$$log 2>&1 & pure=$$!; \
	$(BIN)/python -m pytest -m 'not live' $(PURE:%=--ignore=%) $(OTHERS); rest=$$?; \
	wait $$pure; pure=$$?; cat $$log; rm -f $$log; \
	[ $$rest -eq 0 ] && [ $$pure -eq 0 ] && $(BIN)/python -m pytest -m live $(OTHERS)

test-faults: $(VENV)/.installed-dev  ## searches in which something dies, hangs, lies or is stopped (about 8 minutes on 2 cores)
	$(BIN)/python -m pytest tests/faults --timeout 900

install-targets: $(TARGETS)/.installed  ## install Triton, FastAPI and llama.cpp (800 MB, in .venv-targets)

test-targets: $(TARGETS)/.installed  ## real model servers: started, asked, searched and ended (about 5 minutes)
	$(TARGETS)/bin/python -m pytest -p no:anyio tests/cases/test_targets.py tests/cases/test_v2.py

test-fast: $(VENV)/.installed-dev  ## run the tests that need no real time
	$(BIN)/python -m pytest -m 'not live' $(OTHERS)

lint: $(VENV)/.installed-dev  ## ruff and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench-live: $(VENV)/.installed-dev  ## searches against servers of known capacity, and real ones (about 70 minutes); results in benchmarks/live/, benchmarks/cases/
	$(BIN)/python benchmarks/live/run.py
	@$(MAKE) --no-print-directory bench-cases

bench-cases: $(TARGETS)/.installed  ## searches that replay a trace against real model servers (about 25 minutes); benchmarks/cases/RESULTS.md
	$(TARGETS)/bin/python -m benchmarks.cases.live

bench-search: $(VENV)/.installed-benchmark  ## our search and the peers, in virtual time (about 25 minutes on 2 cores); results in benchmarks/search/
	$(BIN)/python -m benchmarks.search.run

bench-search-subset: $(VENV)/.installed-benchmark  ## our search on the suite with 6 seeds, judged against bounds (3 minutes)
	$(BIN)/python -m benchmarks.search.run --subset

bench-evidence: $(VENV)/.installed-benchmark  ## what each kind of evidence adds to counting misses (about 8 minutes on 2 cores); benchmarks/search/EVIDENCE.md
	$(BIN)/python -m benchmarks.search.evidence

bench-compare: $(VENV)/.installed-benchmark  ## false alarms and power of comparing two results (about 20 minutes on 2 cores); results in benchmarks/search/
	$(BIN)/python -m benchmarks.search.compare

bench-ablation: $(VENV)/.installed-benchmark  ## our search without each of its parts (about 100 minutes on 2 cores); benchmarks/search/ABLATION.md
	$(BIN)/python -m benchmarks.search.ablation

bench-generator: $(VENV)/.installed-dev  ## CPU time a request of ReplayUser, FastHttpUser and HttpUser (about 8 minutes); benchmarks/generator/RESULTS.md
	$(BIN)/python -m benchmarks.generator.run

bench-record: $(VENV)/.installed-dev  ## what the recording proxy adds to a request (about 70 s); results in benchmarks/recorder/
	$(BIN)/python -m benchmarks.recorder.run

clean:           ## remove what the targets made
	rm -rf $(VENV) $(TARGETS) build/cases .pytest_cache .mypy_cache .ruff_cache .hypothesis
