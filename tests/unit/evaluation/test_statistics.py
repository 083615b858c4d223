"""The sign test against the definition, and what a data set can show against simulation."""

from __future__ import annotations

from fractions import Fraction
from math import comb

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_cerebras.evaluation.statistics import (
    detectable_fall,
    percentiles,
    power,
    sign_test,
    smallest_change,
    smallest_excess,
    smallest_fall,
)
from tests.unit.evaluation.data_sets import SimulatedModel, compared, data_set


@given(st.integers(0, 300), st.integers(0, 300))
@settings(max_examples=100, deadline=None)
def test_the_p_value_is_that_of_the_definition(worse: int, better: int) -> None:
    changed = worse + better
    definition = Fraction(sum(comb(changed, count) for count in range(worse, changed + 1)), 2**changed)
    assert sign_test(worse, better) == pytest.approx(float(definition), rel=1e-12)


@pytest.mark.parametrize(("worse", "better", "p"), [(0, 0, 1.0), (1, 0, 0.5), (5, 0, 0.03125), (3, 3, 0.65625)])
def test_p_values_that_are_known(worse: int, better: int, p: float) -> None:
    assert sign_test(worse, better) == p


def test_many_cases_are_no_problem() -> None:
    assert sign_test(50_000, 50_000) == pytest.approx(0.5, abs=0.01)
    assert sign_test(60_000, 40_000) == 0.0


@pytest.mark.parametrize(("confidence", "cases"), [(0.5, 2), (0.9, 4), (0.95, 5), (0.99, 7), (0.999, 10)])
def test_so_many_cases_must_get_worse_at_least(confidence: float, cases: int) -> None:
    assert smallest_change(confidence) == cases
    assert smallest_fall(cases, confidence) == 1.0
    assert smallest_fall(cases - 1, confidence) is None
    assert smallest_fall(100, confidence) == cases / 100


@given(st.integers(0, 400), st.sampled_from([0.5, 0.8, 0.9, 0.95, 0.99]))
@settings(max_examples=100, deadline=None)
def test_the_excess_that_is_needed_is_the_smallest(changed: int, confidence: float) -> None:
    excess = smallest_excess(changed, confidence)
    if excess is None:
        assert sign_test(changed, 0) >= 1 - confidence
        return
    worse = (changed + excess) // 2
    assert worse * 2 == changed + excess
    assert sign_test(worse, changed - worse) < 1 - confidence
    assert sign_test(worse - 1, changed - worse + 1) >= 1 - confidence


@pytest.mark.parametrize(("cases", "fall", "churn"), [(50, 0.1, 0.0), (200, 0.06, 0.02), (200, 0.0, 0.03)])
def test_the_power_is_what_a_simulation_finds(cases: int, fall: float, churn: float) -> None:
    dataset, found, rounds = data_set(cases), 0, 400
    for seed in range(rounds):
        model = SimulatedModel(seed, cases, churn=0)
        before = bytearray(model.evaluate())
        now = bytearray(before)
        for index in range(cases):
            if before[index] and model._random.random() < (fall + churn) / (sum(before) / cases):
                now[index] = 0
            elif not before[index] and model._random.random() < churn / (1 - sum(before) / cases):
                now[index] = 1
        found += compared(dataset, bytes(before), bytes(now)).regressed
    assert found / rounds == pytest.approx(power(cases, fall, churn, 0.95), abs=0.06)


def test_a_fall_that_can_be_detected_is_the_smallest() -> None:
    fall = detectable_fall(200, 0.025, 0.95)
    assert fall is not None
    assert power(200, fall, 0.025, 0.95) >= 0.8 > power(200, fall - 0.001, 0.025, 0.95)


def test_four_cases_show_nothing() -> None:
    assert detectable_fall(4, 0.0, 0.95) is None


def test_percentiles_are_values_that_were_measured() -> None:
    assert percentiles([3.0]) == (3.0, 3.0, 3.0, 3.0)
    assert percentiles([float(value) for value in range(100, 0, -1)]) == (50.0, 95.0, 99.0, 100.0)
