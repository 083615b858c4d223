"""The names of the metrics: what they may look like, and that the docs have them all."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_provider_cerebras.metrics import COUNTERS, DEPLOYMENT, MODEL_VERSION, Subject
from airflow_provider_cerebras.polling.outcome import Status

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
SUBJECTS = pytest.mark.parametrize("subject", [MODEL_VERSION, DEPLOYMENT], ids=lambda subject: subject.name)


def names(subject: Subject) -> set[str]:
    return {subject.metric(part) for part in (*COUNTERS, subject.duration)}


def documented(subject: Subject) -> dict[str, str]:
    """The rows of the page's table about a subject: type by name."""
    rows = re.findall(r"^\| `(cerebras\.[^`]+)` \| (\w+) \|", PAGE.read_text("utf-8"), flags=re.MULTILINE)
    return {name: kind for name, kind in rows if name.startswith(subject.metric(""))}


@SUBJECTS
def test_the_docs_have_each_with_its_type(subject: Subject) -> None:
    assert documented(subject) == {
        name: "timer" if name == subject.metric(subject.duration) else "counter" for name in names(subject)
    }


@SUBJECTS
def test_the_docs_have_the_tags(subject: Subject) -> None:
    assert f"`{subject.tag}`" in PAGE.read_text("utf-8")


@SUBJECTS
def test_every_backend_takes_the_names(subject: Subject) -> None:
    for name in names(subject):
        assert re.fullmatch(r"[a-z_.]+", name)
        # OpenTelemetry's limit, with Airflow's own prefix.
        assert len(f"airflow.{name}") <= 63


def test_each_way_in_which_a_wait_can_end_is_counted() -> None:
    assert {name for name in COUNTERS if name.startswith("waits.")} == {f"waits.{status}" for status in Status}


def test_where_metrics_are_off_nothing_of_them_is_loaded() -> None:
    program = (
        "import sys\n"
        "from airflow.providers.common.compat.sdk import conf\n"
        "from airflow_provider_cerebras.metrics import MODEL_VERSION, _stats\n"
        "before = set(sys.modules)\n"
        "MODEL_VERSION.count('submitted', 'gpt-oss-120b'); MODEL_VERSION.took(3.0, 'gpt-oss-120b')\n"
        "print(_stats(), sorted(set(sys.modules) - before))"
    )
    finished = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert finished.stdout.splitlines()[-1] == "None []"
