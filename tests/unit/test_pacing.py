"""How often to look, on plain numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_cerebras.pacing import MIN_INTERVAL, next_interval

seconds = st.floats(min_value=0, max_value=10**7)
intervals = st.floats(min_value=0.01, max_value=3600)
jitters = st.floats(min_value=-1, max_value=1)


class TestInterval:
    @given(waited=seconds, poll_interval=intervals, failures=st.integers(0, 10**6), jitter=jitters)
    def test_it_is_never_less_than_the_floor(
        self, waited: float, poll_interval: float, failures: int, jitter: float
    ) -> None:
        interval = next_interval(waited=waited, poll_interval=poll_interval, failures=failures, jitter=jitter)
        assert interval >= min(MIN_INTERVAL, poll_interval) * 0.9 * (1 - 1e-9)

    @given(waited=seconds, poll_interval=intervals)
    def test_it_is_never_more_than_poll_interval_while_the_service_answers(
        self, waited: float, poll_interval: float
    ) -> None:
        assert next_interval(waited=waited, poll_interval=poll_interval) <= poll_interval

    @given(waited=st.floats(min_value=20, max_value=10**6))
    def test_in_between_it_is_a_tenth_of_the_time_already_waited(self, waited: float) -> None:
        assert next_interval(waited=waited, poll_interval=10**6) == pytest.approx(waited / 10)

    @given(one=seconds, other=seconds, poll_interval=intervals)
    def test_it_never_shrinks_while_a_wait_goes_on(self, one: float, other: float, poll_interval: float) -> None:
        shorter, longer = sorted((one, other))
        assert next_interval(waited=shorter, poll_interval=poll_interval) <= next_interval(
            waited=longer, poll_interval=poll_interval
        )

    @given(waited=seconds, poll_interval=intervals, failures=st.integers(0, 10**6))
    def test_each_look_without_an_answer_slows_it_down_to_four_poll_intervals_at_most(
        self, waited: float, poll_interval: float, failures: int
    ) -> None:
        now = next_interval(waited=waited, poll_interval=poll_interval, failures=failures)
        after_one_more = next_interval(waited=waited, poll_interval=poll_interval, failures=failures + 1)
        assert now <= after_one_more <= 4 * poll_interval

    @pytest.mark.parametrize(("failures", "interval"), [(0, 10), (1, 20), (2, 40), (3, 40), (1000, 40)])
    def test_looks_without_an_answer_double_it(self, failures: int, interval: float) -> None:
        assert next_interval(waited=100, poll_interval=10, failures=failures) == interval

    @given(waited=seconds, poll_interval=intervals, retry_after=st.floats(0, 10**6), jitter=jitters)
    def test_it_is_never_less_than_what_the_service_asked_for_up_to_two_minutes(
        self, waited: float, poll_interval: float, retry_after: float, jitter: float
    ) -> None:
        interval = next_interval(waited=waited, poll_interval=poll_interval, retry_after=retry_after, jitter=jitter)
        assert interval >= min(retry_after, 120)

    @pytest.mark.parametrize("retry_after", [121, 86400, float("inf")])
    def test_the_service_cannot_ask_for_more_than_two_minutes(self, retry_after: float) -> None:
        assert next_interval(waited=0, poll_interval=5, retry_after=retry_after) == 120

    @given(waited=seconds, poll_interval=intervals, failures=st.integers(0, 10), jitter=jitters)
    def test_jitter_shifts_it_by_a_tenth_at_most(
        self, waited: float, poll_interval: float, failures: int, jitter: float
    ) -> None:
        exact = next_interval(waited=waited, poll_interval=poll_interval, failures=failures)
        shifted = next_interval(waited=waited, poll_interval=poll_interval, failures=failures, jitter=jitter)
        assert exact * 0.9 * (1 - 1e-9) <= shifted <= exact * 1.1 * (1 + 1e-9)

    def test_jitter_keeps_waiters_apart(self) -> None:
        assert next_interval(waited=0, poll_interval=5, jitter=-1) < next_interval(waited=0, poll_interval=5, jitter=1)

    def test_a_clock_that_was_set_back_does_no_harm(self) -> None:
        assert next_interval(waited=-3600, poll_interval=30) == MIN_INTERVAL
