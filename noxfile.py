"""What `make test` runs (lint, typing, unit), and `make test-rest` (the documentation and all other tests)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import nox

# The newest patch of each, newest first.
EVERY_AIRFLOW = ("3.3.2", "3.2.2", "3.1.8", "3.0.6", "2.11.2")
EVERY_PYTHON = ("3.11", "3.12", "3.13")
# An Airflow that does not know the newest Python.
UP_TO_3_12 = ("3.0.6", "2.11.2")
MATRIX = [
    (airflow, python)
    for airflow in EVERY_AIRFLOW
    for python in EVERY_PYTHON
    if not (airflow in UP_TO_3_12 and python == "3.13")
]
# What an Airflow cannot do with the newest release of, where it is installed without its constraints.
NOT_NEWER = {"3.2.2": ["fastapi<0.137", "svcs<26.2"], "3.0.6": ["fastapi<0.117", "universal-pathlib<0.3"]}

AIRFLOWS = (EVERY_AIRFLOW[0], EVERY_AIRFLOW[-1])
# Airflow 2.11 knows no later Python; uv finds or fetches 3.12 where the one that runs this will not do.
PYTHON = "{}.{}".format(*min(sys.version_info[:2], (3, 12)))


def runs(python: str) -> bool:
    """Tell whether this machine has a Python (a shim of pyenv may have none behind it)."""
    command = [f"python{python}", "-c", ""]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0  # noqa: S603
    except OSError:
        return False


# The corners of the matrix, which `make test` runs: the newest Airflow on the newest Python that is there, the oldest
# on the one that runs this.
CORNERS = [(AIRFLOWS[0], next(filter(runs, reversed(EVERY_PYTHON)), PYTHON)), (AIRFLOWS[1], PYTHON)]

# A file of tests after the other for each processor; each process has an Airflow home of its own.
IN_PARALLEL = ["--numprocesses=logical", "--maxprocesses=4", "--dist=loadfile"]
# Where the tests and what they share with the demo find each other.
SCRIPTS = {"PYTHONPATH": "scripts"}

# What imports no Airflow is the same on each, so it is tested beside the newest only.
WITHOUT_AIRFLOW = (
    "api",
    "docs",
    "durable/test_interleavings.py",
    "durable/test_race.py",
    "durable/test_two_releases.py",
    "emulator",
    "evaluation",
    "polling",
    "scripts",
    "weights",
)

# Unit tests of more than five seconds or so, which `make test-rest` runs: races, storms, fuzzing, processes.
SLOW = (
    "api/test_fuzzed_answers.py",
    "api/test_hostile_service.py",
    "arguments/test_serialized.py",
    "dags_examples/test_finetune_upload_deploy.py",
    "durable/test_incomplete_rollouts.py",
    "durable/test_interleavings.py",
    "durable/test_race.py",
    "emulator/test_pytest_plugin.py",
    "operators/test_evaluation.py",
    "operators/test_seal.py",
    "polling/test_storm.py",
    "scripts",
    "test_error_messages.py",
    "test_metrics.py",
    "weights/test_check.py",
    "weights/test_cli.py",
    "weights/test_reader.py",
    "weights/test_witness.py",
)
# Coverage that is measured by Python's own monitoring costs next to nothing. It came with Python 3.12.
MEASURED = CORNERS[0][1] != "3.11"
# Only what both sessions have run together is held to the floor.
COVERAGE = ["--cov", "--cov-append", "--cov-report=", "--cov-fail-under=0"] if MEASURED else []
MONITORING = {"COVERAGE_CORE": "sysmon"}

nox.options.default_venv_backend = "uv"
nox.options.sessions = ["lint", "typing", "unit"]
nox.options.reuse_venv = "yes"


@nox.session(python=PYTHON)
def lint(session: nox.Session) -> None:
    """Style, the rules of pyproject.toml, and the wording (docs/wording.txt)."""
    session.install("codespell>=2.3", "ruff>=0.9")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("codespell", "-D-", "-Ddocs/wording.txt")


@nox.session(python=PYTHON)
def typing(session: nox.Session) -> None:
    """Types, strictly, and which module may import which."""
    install(session, AIRFLOWS[0])
    session.run("mypy")
    session.run("lint-imports")


@nox.session(python=PYTHON)
def docs(session: nox.Session) -> None:
    """The documentation, in which nothing may point nowhere and nothing may be missing."""
    install(session, AIRFLOWS[0], extra="docs,test")
    home = Path(session.create_tmp()).resolve()
    session.run("sphinx-build", "-q", "-E", "-W", "docs", "docs/_build/html", env={"AIRFLOW_HOME": str(home)})
    session.run("pytest", "tests/docs")


@nox.session(python=CORNERS[0][1])
def unit(session: nox.Session) -> None:
    """The quick tests of each module, on the newest Airflow."""
    install(session, AIRFLOWS[0])
    Path(".coverage").unlink(missing_ok=True)
    slow = [f"--ignore=tests/unit/{name}" for name in SLOW]
    session.run("pytest", *IN_PARALLEL, *COVERAGE, "tests/unit", *slow, *session.posargs, env=MONITORING)


@nox.session
@nox.parametrize(("airflow", "python"), CORNERS, ids=AIRFLOWS)
def tests(session: nox.Session, airflow: str) -> None:
    """The tests that the session `unit` leaves out, without those that start the demo."""
    install(session, airflow)
    if airflow == AIRFLOWS[0]:
        slow = [f"tests/unit/{name}" for name in SLOW]
        folders = [*slow, *(f"tests/{name}" for name in ("integration", "benchmarks", "packaging", "conformance"))]
        session.run("pytest", *IN_PARALLEL, *COVERAGE, *folders, *session.posargs, env=MONITORING)
    else:
        ignored = [f"--ignore=tests/unit/{name}" for name in WITHOUT_AIRFLOW]
        session.run("pytest", *IN_PARALLEL, "tests/unit", "tests/integration", *ignored, *session.posargs)


@nox.session(python=CORNERS[0][1])
def coverage(session: nox.Session) -> None:
    """How much of the package the sessions `unit` and `tests` have run, which has a floor."""
    if not MEASURED:
        session.skip("Python's own monitoring came with 3.12; without it, measuring takes too long.")
    session.install("coverage>=7.7")
    session.run("coverage", "report")


@nox.session(python=PYTHON)
def s3fs(session: nox.Session) -> None:
    """The results of evaluations in S3, through what needs an older botocore than the newest boto3."""
    install(session, AIRFLOWS[0])
    session.install("s3fs", "boto3")
    session.run("pytest", "tests/unit/operators/test_evaluation.py", "-k", "s3", *session.posargs)


@nox.session(default=False)
@nox.parametrize(("airflow", "python"), MATRIX, ids=[f"{airflow}-{python}" for airflow, python in MATRIX])
def matrix(session: nox.Session, airflow: str) -> None:
    """The integration tests on every supported pair of Airflow and Python."""
    install(session, airflow)
    results = Path(".nox", "compatibility")
    results.mkdir(parents=True, exist_ok=True)
    result = results / f"{airflow}-{session.python}.xml"
    result.unlink(missing_ok=True)
    session.run("pytest", *IN_PARALLEL, "tests/integration", f"--junit-xml={result}", *session.posargs)


@nox.session(python="3.11", default=False)
def lowest(session: nox.Session) -> None:
    """The tests on the lowest version of each requirement that pyproject.toml permits."""
    # Airflow 2.11.0 itself cannot do with a newer one.
    below = "universal-pathlib>=0.2.2,<0.3"
    session.install("--resolution=lowest-direct", "--compile-bytecode", below, "--editable", ".[test]")
    ignored = ("docs", "scripts")
    session.run(
        "pytest",
        *IN_PARALLEL,
        "tests/unit",
        "tests/integration",
        *(f"--ignore=tests/unit/{name}" for name in ignored),
        *session.posargs,
    )


@nox.session(python=PYTHON, default=False)
def airflow_main(session: nox.Session) -> None:
    """The tests on the main branch of Airflow, which needs a network that reaches its repository."""
    repository = "git+https://github.com/apache/airflow"
    session.install("--editable", ".[test]")
    session.install("--upgrade", *(f"{repository}#subdirectory={part}" for part in ("task-sdk", "airflow-core")))
    session.run("pytest", *IN_PARALLEL, "tests/unit", "tests/integration", *session.posargs)


@nox.session(python=PYTHON, default=False)
def compatibility(session: nox.Session) -> None:
    """The page on what the matrix has found."""
    pairs = [f"{airflow}-{python}" for airflow, python in MATRIX]
    session.run("python", "-m", "tests.compatibility", *pairs)


@nox.session(python=PYTHON, default=False)
def form(session: nox.Session) -> None:
    """The form for a connection on the oldest Airflow, in a real browser; it needs Chromium and its driver."""
    install(session, AIRFLOWS[-1])
    session.run("pytest", "tests/browser/test_connection_form_2.py", *session.posargs)


@nox.session(python=PYTHON, default=False)
@nox.parametrize("airflow", AIRFLOWS, ids=AIRFLOWS)
def drills(session: nox.Session, airflow: str) -> None:
    """The crash matrix and the drills on releases: a real Airflow whose processes are killed."""
    install(session, airflow, extra="drills")
    # All drills are gone through before the first test of them ends.
    session.run("pytest", "tests/drills", "-o", "timeout=2400", *session.posargs)


@nox.session(python=PYTHON, default=False)
def soak(session: nox.Session) -> None:
    """Releases one after the other while things go wrong."""
    install(session, AIRFLOWS[0], extra="drills")
    session.run("python", "-m", "tests.drills.soak", *session.posargs, env=SCRIPTS)


@nox.session(python=PYTHON, default=False)
def reliability(session: nox.Session) -> None:
    """The page on what the drills and the soak have found."""
    install(session, AIRFLOWS[0], extra="drills")
    session.run("python", "-m", "tests.drills.reliability", env=SCRIPTS)


@nox.session(python=PYTHON, default=False)
def releases(session: nox.Session) -> None:
    """The page on the cost of a release, alone and 20 at once."""
    install(session, AIRFLOWS[0], extra="drills")
    session.run("python", "-m", "tests.drills.side_by_side", *session.posargs, env=SCRIPTS)


def install(session: nox.Session, airflow: str, *, extra: str = "test") -> None:
    """Install the package with all that its tests need."""
    not_newer = NOT_NEWER.get(airflow, [])
    session.install("--compile-bytecode", f"apache-airflow=={airflow}", *not_newer, "--editable", f".[{extra}]")
