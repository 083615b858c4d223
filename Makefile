# Needs Python >= 3.11 and make; everything else is installed below this folder. `make help` tells what there is.

AIRFLOW := 3.3.2
# Parameters of the DAG for `make demo`, as JSON.
CONF ?= {}
# Options for `make bench`, such as --quick.
BENCH ?=
# Options of pytest for `make drills`, such as -m quick.
DRILLS ?=
# Names of what `make mutants` breaks, as patterns (default: all).
MUTANTS ?=
# For how long `make soak` begins new releases, and what decides on what goes wrong (default: another each time).
MINUTES ?= 30
SEED ?=

# The first of these that is new enough (a pyenv shim may exist without a Python behind it, so each is run).
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11 python; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$python" && break; done)
UV := $(shell uv --version >/dev/null 2>&1 && command -v uv || echo .venv/bin/uv)
INSTALL = $(UV) pip install --quiet --python .venv --compile-bytecode 'apache-airflow==$(AIRFLOW)'

# With it, each start of Airflow would compile all of its modules again.
unexport PYTHONDONTWRITEBYTECODE
export CONF
# Behind a company's proxy, it is the machine's certificates that count; pip looks there by itself.
export UV_SYSTEM_CERTS ?= $(if $(wildcard /etc/ssl/certs/*),true,false)
ifneq ($(shell test -w "$$HOME" && echo writable),writable)
export UV_CACHE_DIR ?= $(CURDIR)/.venv/cache
endif

.PHONY: help demo standalone test test-rest test-matrix docs acceptance browser registry arguments messages drills matrix soak reliability \
	conformance mutants bench releases clean

help:  ## tell what there is
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

demo: .venv/.demo  ## run the flagship DAG on a real Airflow and report (CONF='{"endpoint_id": ...}'; OVERWRITE=1: it ends red)
	@.venv/bin/python scripts/demo.py $(if $(OVERWRITE),--overwrite) --conf "$$CONF"

standalone: .venv/.demo  ## the same with Airflow's UI, until Ctrl-C
	@.venv/bin/python scripts/demo.py --standalone

# A shim of pyenv answers for the versions that are chosen only.
test test-rest test-matrix: export PYENV_VERSION ?= $(shell pyenv versions --bare 2>/dev/null | grep -E '^3\.1[123]\.[0-9]+$$' | paste -sd:)

test: | $(UV)  ## lint, types, and the quick tests of each module (some minutes)
	$(UV) tool run --python $(PYTHON) --from 'nox[uv]' nox

test-rest: | $(UV)  ## docs, and all other tests, on the newest and the oldest Airflow (a quarter of an hour)
	$(UV) tool run --python $(PYTHON) --from 'nox[uv]' nox --session docs tests s3fs coverage

test-matrix: | $(UV)  ## run the integration tests on every pair of Airflow and Python, and write docs/compatibility-matrix.md
	$(UV) tool run --python $(PYTHON) --from 'nox[uv]' nox --session matrix compatibility

docs: | $(UV)  ## build the documentation into docs/_build/html
	$(UV) tool run --python $(PYTHON) --from 'nox[uv]' nox --session docs

acceptance: .venv/.test  ## run the demo for real, and interrupt it, and break it
	.venv/bin/python -m pytest tests/acceptance

browser: .venv/.test | $(UV)  ## see the pages of Airflow and of the emulator in a real browser
	@scripts/install_chromium.sh
	.venv/bin/python -m pytest tests/browser
	$(UV) tool run --python $(PYTHON) --from 'nox[uv]' nox --session form

arguments: .venv/.test  ## write docs/arguments.md from what operators and sensors declare
	.venv/bin/python scripts/argument_tables.py

messages: .venv/.test  ## write docs/messages.md from the code, docs/troubleshooting.md and docs/log_lines.toml
	.venv/bin/python scripts/messages.py

registry: .venv/.test  ## write .airflow-registry.yaml from the provider info and the docstrings
	.venv/bin/python scripts/registry.py

drills: | $(UV)  ## kill what a real Airflow is made of: the crash matrix, and in the middle of releases (an hour)
	$(UV) tool run --python $(PYTHON) --from 'nox[uv]' nox --session drills -- $(DRILLS)

matrix:  ## write docs/crash-matrix.md from what the drills have found
	$(PYTHON) -m tests.drills.report

soak: | $(UV)  ## release again and again while things go wrong at random (MINUTES=30 SEED=...)
	$(UV) tool run --python $(PYTHON) --from 'nox[uv]' nox --session soak -- \
		--minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

reliability: | $(UV)  ## write docs/reliability.md from what the drills and the soak have found
	$(UV) tool run --python $(PYTHON) --from 'nox[uv]' nox --session reliability

conformance: .venv/.test  ## hold the emulator, or the service at BASE_URL, to each documented rule (docs/conformance.md)
	@.venv/bin/python -m tests.conformance

mutants: .venv/.test  ## break what decides in small ways, and list what no test notices (MUTANTS='*polling*' for a part)
	$(UV) pip install --quiet --python .venv mutmut
	.venv/bin/python -m mutmut run $(MUTANTS)
	.venv/bin/python -m mutmut results

bench: .bench/.installed  ## measure what waiting costs beside other providers, and write docs/benchmarks (a quarter of an hour)
	.bench/bin/python -m tests.benchmarks $(BENCH)

releases: | $(UV)  ## measure what a release costs, alone and 20 at once, and write docs/benchmarks/releases.md (ten minutes)
	$(UV) tool run --python $(PYTHON) --from 'nox[uv]' nox --session releases

clean:  ## remove all that was installed or made
	rm -rf .bench .demo .drills .mypy_cache .nox .pytest_cache .ruff_cache .venv build dist docs/_build mutants

# Without pip, for Debian has it in a package of its own, and with uv it is not needed.
.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "No Python >= 3.11 was found: install one, or run make PYTHON=/path/to/it" >&2; exit 1; }
	$(PYTHON) -m venv --without-pip .venv

.venv/bin/uv: | .venv/bin/python
	.venv/bin/python -m ensurepip >/dev/null
	.venv/bin/python -m pip install --quiet uv

.venv/.demo: pyproject.toml | $(UV) .venv/bin/python
	$(INSTALL) --editable '.[demo]'
	@touch $@

.venv/.test: .venv/.demo
	$(INSTALL) --editable '.[test]'
	@touch $@

# In a folder of its own, for other providers may need other versions of what Airflow needs.
.bench/.installed: pyproject.toml | $(UV)
	$(UV) venv --quiet --allow-existing --python $(PYTHON) .bench
	$(UV) pip install --quiet --python .bench --compile-bytecode 'apache-airflow==$(AIRFLOW)' --editable '.[bench]'
	@touch $@
