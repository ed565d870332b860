# make demo       the main job: train on real data, hold the gradients against A - Y, draw (into out/)
# make test       the suite, under three minutes
# make check      ruff and mypy --strict
# make test-all   also what is marked slow, browser, oracles, dot; what is not installed is skipped and named
# make oracles    install torch, autograd and scikit-learn for test-all
# make browser    install Playwright for test-all; the browser itself is the system's chromium
# make debuggers  install debugpy for test-all
# make peers      install the peers of bench: torch, jax, numba, autograd, tinygrad, scikit-learn
# make bench      time the engine beside its peers, print the goals beside what was reached (half an hour; into `out/`)
# make bench-quick  a glance at the same, in under two minutes
# make clean      remove the environment and everything that runs leave behind
#
# Needs make and a Python >= 3.11; everything else goes into $(VENV), once, and again when pyproject.toml changes.

VENV ?= .venv
PIP_DISABLE_PIP_VERSION_CHECK ?= 1
export PIP_DISABLE_PIP_VERSION_CHECK

python := $(VENV)/bin/python
pytest := $(python) -m pytest -n auto --dist loadfile
new_enough := import sys; sys.exit(sys.version_info < (3, 11))

# The first that is new enough and can make an environment, else the first that is new enough; `make PYTHON=...` overrules.
PYTHON ?= $(firstword $(call first,$(new_enough); import ensurepip; import venv) $(call first,$(new_enough)))
first = $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python; do \
    "$$p" -c '$(1)' >/dev/null 2>&1 && command -v "$$p" && break; done)

.PHONY: demo test check test-all oracles browser debuggers peers bench bench-quick clean
.DEFAULT_GOAL := demo

demo: $(VENV)/.installed-plots
	$(python) -m demos.main

test: $(VENV)/.installed-test
	$(pytest) $(PYTEST_ARGS)

check: $(VENV)/.installed-test
	$(python) -m ruff check
	$(python) -m ruff format --check
	$(python) -m mypy --strict

test-all: $(VENV)/.installed-test
	$(pytest) -m "" -rfEs $(PYTEST_ARGS)

oracles browser debuggers: %: $(VENV)/.installed-%

peers: $(VENV)/.installed-bench

bench: $(VENV)/.installed-test
	$(python) tests/benchmarks/run.py $(BENCH_ARGS)

bench-quick: $(VENV)/.installed-test
	$(python) tests/benchmarks/run.py --quick $(BENCH_ARGS)

clean:
	rm -rf $(VENV) out build dist *.egg-info .pytest_cache .hypothesis .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# One stamp for each extra of pyproject.toml.
$(VENV)/.installed-%: pyproject.toml | $(VENV)/.made
	$(python) -m pip install --quiet --editable ".[$*]"
	@touch $@

$(VENV)/.made:
	@interpreter="$(PYTHON)"; \
	if [ -z "$$interpreter" ]; then \
	    echo "microgrid needs Python >= 3.11, and none of python3, python3.11 ... python3.14, python is one." \
	         "Install it, or name it: make PYTHON=/path/to/python3.11" >&2; exit 1; \
	fi; \
	echo "making $(VENV) with $$interpreter"; \
	"$$interpreter" -m venv --clear $(VENV) || { \
	    echo "$$interpreter cannot make a virtual environment." \
	         "On Debian and Ubuntu: apt-get install python3-venv; or name another: make PYTHON=..." >&2; exit 1; }
	@touch $@
