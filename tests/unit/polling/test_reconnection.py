"""When the connection is read again during a wait: on plain errors and plain times."""

from __future__ import annotations

import itertools

import httpx
import pytest

from airflow_provider_cerebras.api.errors import CerebrasTransportError, error_from_response
from airflow_provider_cerebras.polling.reconnection import Reconnection

REFUSED = error_from_response(method="GET", url="u", status_code=401, headers=httpx.Headers(), body=b"")
DOWN = CerebrasTransportError("refused")


def test_a_refused_key_has_it_read_ever_more_seldom() -> None:
    reconnection, readings = Reconnection(0), [0]
    for now in range(1, 1_300):
        if reconnection.on_error(REFUSED, now):
            reconnection.on_reading(now)
            readings.append(now)
    assert [later - earlier for earlier, later in itertools.pairwise(readings)] == [
        5, 10, 20, 40, 80, 160, 300, 300, 300,
    ]  # fmt: skip


@pytest.mark.parametrize(("quiet", "is_due"), [(9, False), (10, True), (500, True)])
def test_after_a_while_without_a_reading_the_next_pause_is_short_again(quiet: float, is_due: bool) -> None:
    reconnection = Reconnection(0)
    reconnection.on_reading(quiet)
    assert not reconnection.on_error(REFUSED, quiet + 4.9)
    assert reconnection.on_error(REFUSED, quiet + 5) is is_due


def test_other_errors_have_to_come_three_times_in_a_row() -> None:
    reconnection = Reconnection(0)
    assert [reconnection.on_error(DOWN, now) for now in (100, 200)] == [False, False]
    reconnection.on_response()
    assert [reconnection.on_error(DOWN, now) for now in (300, 400, 500)] == [False, False, True]


def test_a_new_waiter_has_one_that_works_read_again_after_a_minute_and_one_that_fails_after_five_seconds() -> None:
    reconnection = Reconnection(0)
    assert [reconnection.on_new_waiter(now) for now in (5, 59.9, 60)] == [False, False, True]
    reconnection.on_error(DOWN, 0)
    assert [reconnection.on_new_waiter(now) for now in (4.9, 5)] == [False, True]
    reconnection.on_reading(5)
    assert [reconnection.on_new_waiter(now) for now in (9.9, 10)] == [False, True]
    reconnection.on_response()
    assert not reconnection.on_new_waiter(10)
