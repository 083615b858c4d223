"""Comparing with a baseline: which falls stop a release, over many seeds, and what is not compared at all."""

from __future__ import annotations

import base64
import zlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_cerebras.evaluation.cases import read_rows
from airflow_provider_cerebras.evaluation.comparison import compare, encode_passes, read_baseline
from tests.unit.evaluation.data_sets import SimulatedModel, compared, data_set, row, subject

SEEDS = range(40)
CASES = 200
DATA_SET = data_set(CASES)


def stopped(change: int, *, max_regression: float = 0.0, churn: float = 0.05) -> int:
    """In how many of the seeds a model that is better or worse by so many cases is stopped."""
    count = 0
    for seed in SEEDS:
        model = SimulatedModel(seed, CASES, churn)
        before = model.evaluate()
        now = model.change(change).evaluate()
        count += compared(DATA_SET, before, now, max_regression).regressed
    return count


class TestSeeds:
    def test_a_better_model_passes(self) -> None:
        assert stopped(+10) == 0

    def test_an_equal_model_that_does_not_sample_passes(self) -> None:
        assert stopped(0, churn=0.0) == 0

    def test_an_equal_model_that_samples_is_stopped_no_more_often_than_the_confidence_allows(self) -> None:
        assert stopped(0) <= 0.05 * len(SEEDS) + 1

    def test_a_model_that_is_worse_by_25_of_200_cases_is_stopped(self) -> None:
        assert stopped(-25) >= len(SEEDS) - 1
        assert stopped(-25, churn=0.0) == len(SEEDS)

    @pytest.mark.parametrize("max_regression", [0.0, 0.01])
    def test_a_model_that_seems_worse_by_2_of_200_cases_passes(self, max_regression: float) -> None:
        assert stopped(-2, churn=0.0, max_regression=max_regression) == 0


def outcomes(worse: int, better: int, cases: int = 200) -> tuple[bytes, bytes]:
    """Two evaluations: of all other cases, half pass in both."""
    rest = cases - worse - better
    same = bytes(index % 2 for index in range(rest))
    return b"\x01" * worse + b"\x00" * better + same, b"\x00" * worse + b"\x01" * better + same


@pytest.mark.parametrize(
    ("worse", "better", "max_regression", "regressed"),
    [
        (0, 0, 0.0, False),
        (4, 0, 0.0, False),  # p = 0.0625
        (5, 0, 0.0, True),  # p = 0.03125
        (5, 0, 0.025, False),  # just what is allowed, whatever floats make of it
        (6, 0, 0.025, True),
        (5, 1, 0.0, False),
        (0, 30, 0.0, False),
        (2, 0, 0.01, False),
        (40, 60, 0.0, False),
    ],
)
def test_when_a_fall_stops_a_release(worse: int, better: int, max_regression: float, regressed: bool) -> None:
    before, now = outcomes(worse, better)
    comparison = compared(DATA_SET, before, now, max_regression)
    assert comparison.regressed is regressed
    assert (len(comparison.worse), comparison.better) == (worse, better)
    assert comparison.fall == pytest.approx((worse - better) / CASES)


@given(st.binary(min_size=20, max_size=20), st.binary(min_size=20, max_size=20))
@settings(max_examples=100, deadline=None)
def test_equal_results_never_stop_and_a_swap_turns_the_fall_round(one: bytes, other: bytes) -> None:
    before, now = (bytes(each % 2 for each in outcome) for outcome in (one, other))
    cases = data_set(20)
    assert not compared(cases, before, before).regressed
    there, back = compared(cases, before, now), compared(cases, now, before)
    assert there.fall == pytest.approx(-back.fall)
    assert not (there.regressed and back.regressed)


def test_weights_count_in_the_rate_and_not_in_the_test() -> None:
    cases = read_rows([row(0, weight=99), row(1, weight=1)])
    comparison = compared(cases, b"\x01\x01", b"\x00\x01")
    assert comparison.fall == pytest.approx(0.99)
    assert comparison.p_value == 0.5


def test_a_data_set_that_is_too_small_is_said_to_be() -> None:
    same = bytes(CASES)
    assert compared(DATA_SET, same, same, 0.01).is_too_small
    assert not compared(DATA_SET, same, same, 0.025).is_too_small
    assert compared(DATA_SET, same, same, 0.01).smallest_fall == 0.025
    assert compared(data_set(4), bytes(4), bytes(4), 1.0).is_too_small


def test_repeats_count_as_often_as_they_pass() -> None:
    cases, of = data_set(10), {"repeats": 3}
    summary = {**subject(cases, **of)._asdict(), "scorers": ["exact"], "outcomes": encode_passes(b"\x03" * 10)}
    baseline = read_baseline(summary, subject(cases, **of), 10)
    assert baseline is not None
    now = b"\x02" * 6 + b"\x03" * 4
    comparison = compare(baseline, cases, now, repeats=3, max_regression=0.0, confidence=0.95)
    assert len(comparison.worse) == 6
    assert comparison.fall == pytest.approx(6 / 30)
    assert comparison.smallest_fall == pytest.approx(5 / 30)
    assert comparison.regressed


class TestBaseline:
    cases = data_set(10)

    def summary(self, **changes: Any) -> dict[str, Any]:
        summary = {**subject(self.cases)._asdict(), "scorers": ["exact"], "outcomes": encode_passes(bytes(10))}
        return {**summary, **changes}

    def test_none_is_none(self) -> None:
        assert read_baseline(None, subject(self.cases), 10) is None

    def test_what_an_evaluation_returned_is_read(self) -> None:
        baseline = read_baseline(self.summary(model_version="v1", system_fingerprint=7), subject(self.cases), 10)
        assert baseline is not None
        assert baseline.passes == bytes(10)
        assert (baseline.model_version, baseline.system_fingerprint) == ("v1", None)

    @pytest.mark.parametrize("value", ["", "None", 0, False, [], {}, {"outcomes": None}])
    def test_what_is_no_summary_is_refused(self, value: Any) -> None:
        with pytest.raises(ValueError, match=r"^baseline: must be"):
            read_baseline(value, subject(self.cases), 10)

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("dataset_digest", "other"),
            ("dataset_digest", None),
            ("scorers", ["contains"]),
            ("scorers", "exact"),
            ("repeats", 2),
            ("chat_params_digest", "other"),
        ],
    )
    def test_another_subject_is_refused(self, name: str, value: Any) -> None:
        with pytest.raises(ValueError, match=rf"^baseline: is of another {name}: "):
            read_baseline(self.summary(**{name: value}), subject(self.cases), 10)

    @pytest.mark.parametrize(
        "encoded",
        [
            "",
            "no base64",
            base64.b64encode(b"no zlib").decode(),
            encode_passes(bytes(9)),
            encode_passes(bytes(11)),
            encode_passes(b"\x02" * 10),
            base64.b64encode(zlib.compress(bytes(10))[:-5]).decode(),
            base64.b64encode(zlib.compress(bytes(100_000_000))).decode(),
        ],
    )
    def test_outcomes_that_cannot_be_those_of_the_cases_are_refused(self, encoded: str) -> None:
        with pytest.raises(ValueError, match=r"^baseline: its outcomes cannot be read"):
            read_baseline(self.summary(outcomes=encoded), subject(self.cases), 10)
