from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from airflow_provider_cerebras.emulator.faults import FaultBook, FaultRule
from airflow_provider_cerebras.emulator.matching import Seen
from airflow_provider_cerebras.emulator.operations import OperationName

UPLOAD, DEPLOY = OperationName.UPLOAD_MODEL_VERSION, OperationName.DEPLOY_MODEL


def rule(**fields: Any) -> FaultRule:
    return FaultRule(**{"operation": "*", "drop": True, **fields})


def test_a_rule_hits_only_its_operation() -> None:
    book = FaultBook()
    book.add(rule(operation=DEPLOY))
    assert book.take(Seen(UPLOAD, "/")) is None
    assert book.take(Seen(DEPLOY, "/")) is not None


def test_a_star_hits_every_request() -> None:
    book = FaultBook()
    book.add(rule(times=None))
    assert book.take(Seen(UPLOAD, "/")) is not None
    assert book.take(Seen(None, "/nowhere")) is not None


def test_a_rule_can_be_for_some_paths_only() -> None:
    book = FaultBook()
    book.add(rule(path_contains="versions/7"))
    assert book.take(Seen(UPLOAD, "/versions/8")) is None
    assert book.take(Seen(UPLOAD, "/versions/7")) is not None


def test_a_rule_fires_once_unless_told_otherwise() -> None:
    book = FaultBook()
    book.add(rule())
    assert [book.take(Seen(UPLOAD, "/")) is not None for _ in range(3)] == [True, False, False]


@given(skip=st.integers(0, 5), times=st.none() | st.integers(1, 5), requests=st.integers(0, 15))
def test_a_rule_skips_and_then_fires_as_often_as_told(skip: int, times: int | None, requests: int) -> None:
    book = FaultBook()
    fault = book.add(rule(skip=skip, times=times))
    hits = [book.take(Seen(UPLOAD, "/")) is not None for _ in range(requests)]
    last = requests if times is None else skip + times
    assert hits == [skip <= index < last for index in range(requests)]
    assert (fault.skipped, fault.fired) == (min(skip, requests), sum(hits))


def test_the_oldest_rule_that_matches_hits() -> None:
    book = FaultBook()
    first, second = book.add(rule()), book.add(rule())
    assert [book.take(Seen(UPLOAD, "/")) for _ in range(3)] == [first, second, None]


def test_a_request_that_one_rule_skips_is_hit_by_the_next() -> None:
    book = FaultBook()
    first, second = book.add(rule(skip=1)), book.add(rule())
    assert [book.take(Seen(UPLOAD, "/")) for _ in range(2)] == [second, first]


def test_a_deleted_rule_hits_nothing() -> None:
    book = FaultBook()
    fault = book.add(rule(times=None))
    assert book.delete(fault.fault_id) is True
    assert book.take(Seen(UPLOAD, "/")) is None
    assert book.delete(fault.fault_id) is False


def test_all_rules_can_be_ended() -> None:
    book = FaultBook()
    book.add(rule())
    book.add(rule())
    assert book.clear() == 2
    assert book.all() == []


async def test_deleting_a_rule_ends_its_delay_and_its_hold() -> None:
    book = FaultBook()
    fault = book.add(rule(drop=False, delay=1e6, hold=True))
    book.clear()
    await fault.wait()


@pytest.mark.parametrize(
    "fields",
    [
        {"operation": "*"},
        {"operation": "get_everything", "drop": True},
        {"operation": "*", "drop": True, "status": 500},
        {"operation": "*", "drop": True, "truncate": True},
        {"operation": "*", "body": {}, "text": ""},
        {"operation": "*", "status": 100},
        {"operation": "*", "drop": True, "times": 0},
        {"operation": "*", "drop": True, "skip": -1},
        {"operation": "*", "delay": -1},
        {"operation": "*", "dropp": True},
        {"operation": "deploy_model", "fail_sync": "reason"},
        {"operation": "get_endpoint", "fail_rollout": "reason"},
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        FaultRule(**fields)
