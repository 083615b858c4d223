"""The table of what was tested says no more than what was."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.compatibility import outcome, page

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ('tests="12" failures="0" errors="0" skipped="0"', "12 passed"),
        ('tests="12" failures="0" errors="0" skipped="2"', "10 passed, 2 skipped"),
        ('tests="12" failures="1" errors="2" skipped="2"', "**3 failed**, 7 passed, 2 skipped"),
    ],
)
def test_an_outcome_counts_what_passed_and_what_did_not(tmp_path: Path, counts: str, words: str) -> None:
    result = tmp_path / "result.xml"
    result.write_text(f"<testsuites><testsuite {counts}/></testsuites>")
    assert outcome(result) == words


def test_a_pair_that_was_not_run_is_not_said_to_pass(tmp_path: Path) -> None:
    assert outcome(tmp_path / "missing.xml") == "not run"


def test_the_page_has_a_row_for_each_airflow_and_a_column_for_each_python() -> None:
    text = page({("3.3.2", "3.12"): "7 passed", ("3.3.2", "3.13"): "8 passed", ("2.11.2", "3.12"): "not run"})
    assert text.splitlines()[-4:] == [
        "| Airflow | Python 3.12 | Python 3.13 |",
        "|---|---|---|",
        "| 3.3.2 | 7 passed | 8 passed |",
        "| 2.11.2 | not run | not supported by Airflow |",
    ]
