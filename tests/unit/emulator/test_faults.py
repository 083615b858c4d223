from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from airflow_provider_cerebras.emulator.api.operations import OperationName
from airflow_provider_cerebras.emulator.faults.matching import RequestDetails, contains
from airflow_provider_cerebras.emulator.faults.rules import FaultBook, FaultRule

UPLOAD, DEPLOY = OperationName.UPLOAD_MODEL_VERSION, OperationName.DEPLOY_MODEL


def rule(**fields: Any) -> FaultRule:
    return FaultRule(**{"operation": "*", "drop": True, **fields})


def test_a_rule_hits_only_its_operation() -> None:
    book = FaultBook()
    book.add(rule(operation=DEPLOY))
    assert book.take(RequestDetails(UPLOAD, "/")) is None
    assert book.take(RequestDetails(DEPLOY, "/")) is not None


def test_a_star_hits_every_request() -> None:
    book = FaultBook()
    book.add(rule(times=None))
    assert book.take(RequestDetails(UPLOAD, "/")) is not None
    assert book.take(RequestDetails(None, "/nowhere")) is not None


def test_a_rule_can_be_for_some_paths_only() -> None:
    book = FaultBook()
    book.add(rule(path_contains="versions/7"))
    assert book.take(RequestDetails(UPLOAD, "/versions/8")) is None
    assert book.take(RequestDetails(UPLOAD, "/versions/7")) is not None


def test_a_rule_fires_once_unless_told_otherwise() -> None:
    book = FaultBook()
    book.add(rule())
    assert [book.take(RequestDetails(UPLOAD, "/")) is not None for _ in range(3)] == [True, False, False]


@given(skip=st.integers(0, 5), times=st.none() | st.integers(1, 5), requests=st.integers(0, 15))
def test_a_rule_skips_and_then_fires_as_often_as_told(skip: int, times: int | None, requests: int) -> None:
    book = FaultBook()
    fault = book.add(rule(skip=skip, times=times))
    hits = [book.take(RequestDetails(UPLOAD, "/")) is not None for _ in range(requests)]
    last = requests if times is None else skip + times
    assert hits == [skip <= index < last for index in range(requests)]
    assert (fault.skipped, fault.fired) == (min(skip, requests), sum(hits))


def test_the_oldest_rule_that_matches_hits() -> None:
    book = FaultBook()
    first, second = book.add(rule()), book.add(rule())
    assert [book.take(RequestDetails(UPLOAD, "/")) for _ in range(3)] == [first, second, None]


def test_a_request_that_one_rule_skips_is_hit_by_the_next() -> None:
    book = FaultBook()
    first, second = book.add(rule(skip=1)), book.add(rule())
    assert [book.take(RequestDetails(UPLOAD, "/")) for _ in range(2)] == [second, first]


def test_a_deleted_rule_hits_nothing() -> None:
    book = FaultBook()
    fault = book.add(rule(times=None))
    assert book.delete(fault.fault_id) is True
    assert book.take(RequestDetails(UPLOAD, "/")) is None
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
        {"drop": True, "probability": 0},
        {"drop": True, "probability": 1.5},
        {"drop": True, "seed": 1},
        {"drop": True, "malformed": True},
        {"drop": True, "retry_after": 1},
        {"drop": True, "slow_body": 1},
        {"message": "m"},
        {"message": "m", "status": 200},
        {"message": "m", "status": 500, "text": "t"},
        {"status": 500, "error_style": "inference"},
        {"drop": True, "request_headers": {"Authorization": "Bearer k"}},
        {"retry_after": -1},
        {"delay": float("inf")},
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        FaultRule(**fields)


@pytest.mark.parametrize(
    ("fields", "matching", "other"),
    [
        ({"organization": "acme"}, RequestDetails(UPLOAD, "/", organization="acme"), RequestDetails(UPLOAD, "/")),
        (
            {"request_headers": {"X-Try": "2"}},
            RequestDetails(UPLOAD, "/", headers={"x-try": "2"}),
            RequestDetails(UPLOAD, "/", headers={"x-try": "22"}),
        ),
        (
            {"request_body": {"model": {"version_aliases": ["b"]}}},
            RequestDetails(UPLOAD, "/", body={"model": {"version_aliases": ["a", "b"], "weight_uri": "u"}}),
            RequestDetails(UPLOAD, "/", body={"model": {"version_aliases": ["a"], "weight_uri": "b"}}),
        ),
        ({"request_body": None}, RequestDetails(UPLOAD, "/"), RequestDetails(UPLOAD, "/", body={})),
        (
            {"request_body": {"a": 1}},
            RequestDetails(UPLOAD, "/", body={"a": 1.0}),
            RequestDetails(UPLOAD, "/", body={"a": True}),
        ),
        (
            {"organization": "acme", "path_contains": "x"},
            RequestDetails(UPLOAD, "/x", organization="acme"),
            RequestDetails(UPLOAD, "/y", organization="acme"),
        ),
    ],
)
def test_a_rule_asks_about_a_request(fields: dict[str, Any], matching: RequestDetails, other: RequestDetails) -> None:
    assert rule(**fields).matches(matching)
    assert not rule(**fields).matches(other)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(0, 2) | st.text("ab", max_size=1),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=1), inner, max_size=3),
    max_leaves=8,
)


@given(value=json_values)
def test_a_json_value_has_itself_in_it(value: Any) -> None:
    assert contains(value, value)


@given(whole=st.dictionaries(st.text("abc", max_size=1), json_values), data=st.data())
def test_an_object_has_any_part_of_it_in_it(whole: dict[str, Any], data: st.DataObject) -> None:
    names = data.draw(st.sets(st.sampled_from(sorted(whole)))) if whole else set()
    assert contains(whole, {name: whole[name] for name in names})
    assert not contains(whole, {**whole, "new": None})


def test_by_chance_a_rule_hits_as_many_as_it_says_and_the_same_ones_each_time() -> None:
    sequences = []
    for seed in (7, 7, 8):
        book = FaultBook()
        book.add(rule(probability=0.25, seed=seed))
        sequences.append([book.take(RequestDetails(UPLOAD, "/")) is not None for _ in range(1000)])
    assert sequences[0] == sequences[1] != sequences[2]
    assert all(200 < sum(hits) < 300 for hits in sequences)


def test_by_chance_is_always_unless_told_otherwise() -> None:
    assert rule(probability=0.5).times is None
    assert rule(probability=0.5, times=2).times == 2
    book = FaultBook()
    book.add(rule(probability=0.5, times=2))
    assert sum(book.take(RequestDetails(UPLOAD, "/")) is not None for _ in range(100)) == 2


def test_what_another_request_does_not_match_does_not_change_whom_chance_hits() -> None:
    quiet, busy = FaultBook(), FaultBook()
    for book in (quiet, busy):
        book.add(rule(operation=UPLOAD, probability=0.5))
    hits = [quiet.take(RequestDetails(UPLOAD, "/")) is not None for _ in range(50)]
    among_others = []
    for _ in range(50):
        busy.take(RequestDetails(DEPLOY, "/"))
        among_others.append(busy.take(RequestDetails(UPLOAD, "/")) is not None)
    assert hits == among_others


def test_the_rules_of_a_profile_are_ended_together() -> None:
    book = FaultBook()
    kept = book.add(rule())
    book.add(rule(), "flaky")
    book.add(rule(), "flaky")
    assert (book.end_profile("flaky"), book.end_profile("flaky")) == (2, 0)
    assert book.all() == [kept]
