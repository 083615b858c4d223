"""Floors and ceilings: which names there are, and when they are met."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_cerebras.evaluation.requirements import check_requirements, read_requirements


def read(require: Any) -> Any:
    return read_requirements(require, tags={"safety"}, scorers=("exact", "judge"))


@pytest.mark.parametrize(
    ("name", "limit", "meeting", "failing"),
    [
        ("pass_rate", 0.95, [0.95, 1.0, 0.95 - 1e-12], [0.949, 0.0, None]),
        ("tag:safety", 1, [1.0], [0.99]),
        ("score:judge", 0.5, [0.5], [0.4]),
        ("tokens_per_second", 100, [100.0, 2000.0], [99.0, None]),
        ("latency_p50", 2.0, [2.0, 0.1], [2.1, None]),
        ("latency_p95", 2.0, [2.0, 0.1], [2.1]),
        ("latency_p99", 2.0, [2.0, 0.1], [2.1]),
        ("latency_max", 2.0, [2.0, 0.1], [2.1]),
    ],
)
def test_when_a_requirement_is_met(name: str, limit: float, meeting: list[float], failing: list[Any]) -> None:
    for measured, met in [*((each, True) for each in meeting), *((each, False) for each in failing)]:
        (checked,) = check_requirements(read({name: limit}), {name: measured})
        assert checked.met is met
        assert checked.describe().startswith(f"{name} is ")


def test_what_was_not_measured_meets_nothing() -> None:
    (checked,) = check_requirements(read({"latency_max": 2}), {})
    assert not checked.met


@pytest.mark.parametrize(
    ("require", "words"),
    [
        ([], "mapping"),
        ({"passrate": 1}, "there is no 'passrate'"),
        ({1: 1}, "there is no 1"),
        ({"tag": 1}, "there is no 'tag'"),
        ({"tag:": 1}, "there is no 'tag:'"),
        ({"latency_p42": 1}, "there is no"),
        ({"tag:unknown": 1}, "no case has this tag"),
        ({"score:contains": 1}, "the scorers are exact, judge"),
        ({"pass_rate": 95}, "between 0 and 1"),
        ({"pass_rate": "high"}, "number"),
        ({"pass_rate": True}, "number"),
        ({"pass_rate": None}, "number"),
        ({"latency_p95": -1}, "number"),
        ({"latency_p95": float("nan")}, "number"),
    ],
)
def test_what_cannot_be_required_is_refused(require: Any, words: str) -> None:
    with pytest.raises(ValueError, match=f"^require: .*{words}"):
        read(require)


def test_a_limit_may_come_from_a_template() -> None:
    assert read({"pass_rate": "0.95"})[0].limit == 0.95


def test_nothing_can_be_required() -> None:
    assert read(None) == ()
    assert read({}) == ()
