"""How often to look, on plain numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_cerebras.polling.intervals import MIN_INTERVAL, NEWCOMER_INTERVAL, jitter, next_interval, pause
from airflow_provider_cerebras.polling.versions import ModelVersionPoller

if TYPE_CHECKING:
    from airflow_provider_cerebras.polling.pollers import Poller

NOW = 1_736_700_000.0
V1 = "orgs/my-org/models/gpt-oss-120b/versions/1"

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

    def test_the_third_doubles_it_too(self) -> None:
        assert next_interval(waited=0, poll_interval=100, failures=3) == 8 * MIN_INTERVAL

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


def wait(waited: float, poll_interval: float, deadline_in: float | None = None) -> tuple[Poller[Any], float]:
    """One who has waited for so long."""
    deadline = None if deadline_in is None else NOW + deadline_in
    return ModelVersionPoller(V1, deadline=deadline, started=NOW - waited), poll_interval


def pause_of(
    *waits: tuple[Poller[Any], float], failures: int = 0, retry_after: float = 0.0, jitter: float = 0.0
) -> float:
    return pause(waits, now=NOW, failures=failures, retry_after=retry_after, jitter=jitter)


class TestPause:
    @given(waits=st.lists(st.tuples(seconds, intervals), min_size=1), failures=st.integers(0, 9), jitter=jitters)
    def test_it_is_the_interval_of_the_keenest(
        self, waits: list[tuple[float, float]], failures: int, jitter: float
    ) -> None:
        found = pause_of(*(wait(*each) for each in waits), failures=failures, jitter=jitter)
        wanted = [
            max(
                next_interval(waited=waited, poll_interval=interval, failures=failures, jitter=jitter),
                min(NEWCOMER_INTERVAL, interval),
            )
            for waited, interval in waits
        ]
        assert found == pytest.approx(min(wanted), abs=1e-6)

    def test_of_one_poll_interval_the_last_who_came_counts_whoever_is_named_first(self) -> None:
        assert pause_of(wait(30, 600), wait(3000, 600)) == pause_of(wait(3000, 600), wait(30, 600)) == 3

    def test_the_last_look_is_at_the_deadline(self) -> None:
        assert pause_of(wait(100, 30, deadline_in=3)) == 3

    def test_whoever_s_deadline_comes_first(self) -> None:
        assert pause_of(wait(100, 30, 9), wait(100, 30, 3), wait(100, 30)) == 3
        assert pause_of(wait(100, 30, 3), wait(100, 30, 9)) == 3

    @pytest.mark.parametrize("deadline_in", [0.19, 0.0, -5.0])
    def test_no_deadline_makes_it_shorter_than_newcomers_do(self, deadline_in: float) -> None:
        assert pause_of(wait(100, 30, deadline_in)) == NEWCOMER_INTERVAL

    def test_a_poll_interval_that_is_less_still_does(self) -> None:
        assert pause_of(wait(100, 0.01, deadline_in=0)) == 0.01

    @given(
        waits=st.lists(st.tuples(seconds, intervals, st.none() | seconds), min_size=1),
        retry_after=st.floats(0, 10**6),
        jitter=jitters,
    )
    def test_it_is_never_less_than_what_the_service_asked_for_up_to_two_minutes(
        self, waits: list[tuple[float, float, float | None]], retry_after: float, jitter: float
    ) -> None:
        found = pause_of(*(wait(*each) for each in waits), retry_after=retry_after, jitter=jitter)
        assert found >= min(retry_after, 120)

    @pytest.mark.parametrize("retry_after", [121, 86400, float("inf")])
    def test_the_service_cannot_ask_for_more_than_two_minutes(self, retry_after: float) -> None:
        assert pause_of(wait(0, 5), retry_after=retry_after) == 120


class TestJitter:
    def test_it_is_within_what_an_interval_takes(self) -> None:
        thrown = [jitter() for _ in range(1000)]
        assert -1 <= min(thrown) < -0.9
        assert 0.9 < max(thrown) <= 1
