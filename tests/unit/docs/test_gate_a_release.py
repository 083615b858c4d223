"""The tables of the page "Gate a release" are what the code computes, and the error rates what a simulation finds."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_provider_cerebras.evaluation.requirements import __doc__ as requirements
from airflow_provider_cerebras.evaluation.scorers import NAMED
from airflow_provider_cerebras.evaluation.statistics import detectable_fall, power, smallest_fall
from tests.unit.evaluation.data_sets import SimulatedModel, compared, data_set

PAGE = (Path(__file__).parents[3] / "docs" / "gate-a-release.md").read_text(encoding="utf-8")
CONFIDENCE = 0.95
SIZES = (50, 200, 1000)
SEEDS = range(40)


def percent(share: float | None) -> str:
    assert share is not None
    return f"{100 * share:.1f} %"


def falls() -> list[str]:
    """What data sets of three sizes can show."""
    rows = []
    for cases in SIZES:
        found = [percent(detectable_fall(cases, churn, CONFIDENCE)) for churn in (0.0, 0.01, 0.05)]
        alarms = percent(power(cases, 0.0, 0.05, CONFIDENCE))
        rows.append(f"| {cases:,} | {percent(smallest_fall(cases, CONFIDENCE))} | {' | '.join(found)} | {alarms} |")
    return rows


def rates() -> list[str]:
    """How many of 40 evaluations of 200 cases fail."""
    rows = []
    for name, change in (
        ("better by 10 cases", 10),
        ("equal", 0),
        ("worse by 2 cases", -2),
        ("worse by 25 cases", -25),
    ):
        counts = []
        for churn in (0.0, 0.1):
            failed = 0
            for seed in SEEDS:
                model = SimulatedModel(seed, 200, churn)
                before = model.evaluate()
                failed += compared(data_set(200), before, model.change(change).evaluate(), 0.01).regressed
            counts.append(f"{failed} of {len(SEEDS)}")
        rows.append(f"| {name} | {' | '.join(counts)} |")
    return rows


def test_the_table_of_what_can_be_shown_is_computed() -> None:
    assert [row for row in falls() if row not in PAGE] == []


def test_the_table_of_error_rates_is_simulated() -> None:
    assert [row for row in rates() if row not in PAGE] == []


@pytest.mark.parametrize("name", NAMED)
def test_each_scorer_is_described(name: str) -> None:
    assert f"\n| `{name}` |" in PAGE


def test_each_requirement_is_described() -> None:
    assert requirements is not None
    names = [line.split("``")[1] for line in requirements.splitlines() if line.startswith("``")]
    assert len(names) == 8
    assert [name for name in names if f"\n| `{name}` |" not in PAGE] == []
