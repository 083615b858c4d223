"""What has changed on an endpoint, whatever of a response can be read, and wherever in between a triggerer died."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_cerebras.api.errors import UnexpectedResponse
from airflow_provider_cerebras.api.models import DeploymentRows
from airflow_provider_cerebras.api.status import Progress
from airflow_provider_cerebras.triggers import _endpoint_changes
from airflow_provider_cerebras.triggers._endpoint_changes import EndpointChanges, Entry, find_serving

if TYPE_CHECKING:
    from pydantic import JsonValue

ENDPOINT = "my-org-gpt-oss-120b"
DETECTOR = EndpointChanges(ENDPOINT)
Told = tuple[str, str, str | None]


def version(number: int) -> str:
    return f"orgs/my-org/models/gpt-oss-120b/versions/{number}"


def row(key: object, number: int, created: object, state: object = "complete") -> dict[str, Any]:
    return {"id": key, "model": version(number), "created": created, "state": state}


def rows(*given: object) -> DeploymentRows:
    return DeploymentRows.model_validate({"name": ENDPOINT, "deployed_models": list(given)})


def compare(seen: JsonValue, *given: object, detector: EndpointChanges = DETECTOR) -> tuple[list[Told], JsonValue]:
    """The events, and what is kept, after it was stored and read again."""
    changes, seen = detector.compare(seen, rows(*given), 0.0)
    told: list[Told] = [
        (each.event, f"{each.deployment_id} {each.model_version[-1]}", each.previous) for each in changes
    ]
    return told, json.loads(json.dumps(seen))


def first(*given: object) -> JsonValue:
    told, seen = compare(None, *given)
    assert told == []
    return seen


def test_what_is_there_at_the_first_poll_is_no_change() -> None:
    listed = [row("a", 1, 10), row("b", 2, 20, "failed"), row("c", 3, 30, "queued")]
    seen = first(*listed)
    assert compare(seen, *listed) == ([], seen)


def test_a_deployment_past_airflow_is_each_event_once() -> None:
    seen = first(row("a", 1, 10))
    told, seen = compare(seen, row("a", 1, 10), row("b", 2, 20, "in_progress"))
    assert told == [("rollout_started", "b 2", version(1))]
    told, seen = compare(seen, row("a", 1, 10), row("b", 2, 20))
    assert told == [("serving_changed", "b 2", version(1))]
    assert compare(seen, row("b", 2, 20), row("a", 1, 10)) == ([], seen)


def test_a_rollout_that_fails_is_reported_once_with_what_serves() -> None:
    seen = first(row("a", 1, 10), row("b", 2, 20, "queued"))
    told, seen = compare(seen, row("a", 1, 10), row("b", 2, 20, "failed"))
    assert told == [("rollout_failed", "b 2", version(1))]
    # A replica that lags behind.
    _, seen = compare(seen, row("a", 1, 10), row("b", 2, 20, "queued"))
    assert compare(seen, row("a", 1, 10), row("b", 2, 20, "failed"))[0] == []


def test_one_that_came_and_ended_between_two_polls_is_reported_with_all_it_did() -> None:
    seen = first(row("a", 1, 10))
    told, _ = compare(seen, row("a", 1, 10), row("b", 2, 20, "failed"), row("c", 3, 30))
    assert told == [
        ("rollout_started", "b 2", version(1)),
        ("rollout_failed", "b 2", version(1)),
        ("rollout_started", "c 3", version(1)),
        ("serving_changed", "c 3", version(1)),
    ]


def test_the_same_version_once_more_is_a_rollout_and_no_change_of_what_serves() -> None:
    told, _ = compare(first(row("a", 1, 10)), row("a", 1, 10), row("b", 1, 20))
    assert told == [("rollout_started", "b 1", version(1))]


def test_only_what_was_asked_for_is_found() -> None:
    detector = EndpointChanges(ENDPOINT, ("serving_changed",))
    told, _ = compare(first(row("a", 1, 10)), row("b", 2, 20, "failed"), row("c", 3, 30), detector=detector)
    assert [event for event, *_ in told] == ["serving_changed"]


def test_an_empty_list_is_believed_when_it_has_come_three_times() -> None:
    told, seen = compare(None)
    told, seen = compare(seen)
    assert compare(seen, row("a", 1, 10))[0] == []
    told, seen = compare(seen)
    told, seen = compare(seen, row("a", 1, 10))
    assert told == [("rollout_started", "a 1", None), ("serving_changed", "a 1", None)]


def test_what_serves_goes_back_when_that_is_said_three_times_or_the_newer_one_has_failed() -> None:
    both, stale = [row("a", 1, 10), row("b", 2, 20)], [row("a", 1, 10)]
    seen = first(*both)
    for _ in range(2):
        told, seen = compare(seen, *stale)
        assert told == []
    assert compare(seen, *stale)[0] == [("serving_changed", "a 1", version(2))]
    assert compare(seen, *both)[0] == []
    told, _ = compare(first(*both), row("a", 1, 10), row("b", 2, 20, "failed"))
    assert told == [("rollout_failed", "b 2", version(2)), ("serving_changed", "a 1", version(2))]


@pytest.mark.parametrize("field", ["id", "model", "created", "state"])
@pytest.mark.parametrize("wrong", [None, [], {"x": 1}, "\u200b"])
def test_no_event_comes_of_what_cannot_be_read_until_it_can(field: str, wrong: object) -> None:
    seen = first(row("a", 1, 10))
    told, seen = compare(seen, row("a", 1, 10), {**row("b", 2, 20), field: wrong})
    # How far it is says nothing about its beginning; an unknown word says that it goes on.
    assert [event for event, *_ in told] == (["rollout_started"] if field == "state" else [])
    told, _ = compare(seen, row("a", 1, 10), row("b", 2, 20))
    assert {event for event, *_ in told} == {"serving_changed", *(["rollout_started"] if field != "state" else [])}


@pytest.mark.parametrize("field", ["id", "model", "created", "state"])
def test_what_could_not_be_read_at_the_first_poll_is_no_change_when_it_can(field: str) -> None:
    seen = first(row("a", 1, 10), {**row("b", 2, 20), field: None})
    told, seen = compare(seen, row("a", 1, 10), row("b", 2, 20))
    assert told == []
    assert compare(seen, row("b", 2, 20), row("c", 3, 30))[0] == [
        ("rollout_started", "c 3", version(2)),
        ("serving_changed", "c 3", version(2)),
    ]


def test_a_failure_that_may_have_been_there_at_the_first_poll_is_no_change() -> None:
    seen = first(row("a", 1, 10), row("b", 2, 20, None))
    assert compare(seen, row("a", 1, 10), row("b", 2, 20, "failed"))[0] == []


def test_what_is_not_listed_any_more_is_remembered_in_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_endpoint_changes, "MAX_UNLISTED", 2)
    listed = [row(str(number), 1, number) for number in range(1, 6)]
    seen = first(*listed)
    _, seen = compare(seen, listed[4])
    kept: Any = seen
    assert sorted(kept["rollouts"]) == ["3", "4", "5"]
    assert compare(seen, *listed)[0] == []


@pytest.mark.parametrize("seen", ["", 7, [], {}, {"rollouts": 7}, {"rollouts": None, "serving": None}])
def test_what_was_never_kept_counts_as_a_first_poll(seen: Any) -> None:
    assert compare(seen, row("a", 1, 10))[0] == []


@pytest.mark.parametrize("events", [(), ("deleted",), ("serving_changed", "")])
def test_events_that_there_are_not_are_refused(events: Any) -> None:
    with pytest.raises(ValueError, match=r"^events: "):
        EndpointChanges(ENDPOINT, events)


maybe = st.one_of(st.none(), st.integers(1, 3))
progress = st.sampled_from([Progress.SUCCEEDED, Progress.PENDING, Progress.FAILED])
entry = st.builds(
    lambda key, number, created, far: Entry(key and str(key), number and version(number), created, far),
    maybe,
    maybe,
    maybe,
    st.one_of(st.none(), progress),
)


@given(st.lists(entry, max_size=4), st.data())
def test_what_serves_does_not_depend_on_what_cannot_be_read(entries: list[Entry], data: st.DataObject) -> None:
    try:
        serving = find_serving(entries)
    except UnexpectedResponse:
        return
    filled = [
        Entry(
            each.id or "other",
            each.model or version(data.draw(st.integers(1, 3))),
            data.draw(st.integers(0, 4)) if each.created is None else each.created,
            each.progress or data.draw(progress),
        )
        for each in entries
    ]
    assert (serving and serving.model) == ((now := find_serving(filled)) and now.model)


@settings(max_examples=60)
@given(st.data())
def test_whatever_happens_each_rollout_and_each_failure_is_reported_once(data: st.DataObject) -> None:
    """A triggerer that dies loses what it has not kept, and its events with it; a field that is lost comes back."""
    world = {"0": row("0", 0, 0)}
    kept = first(*world.values())
    told: list[Told] = []
    for _ in range(data.draw(st.integers(1, 8))):
        for each in world.values():
            if each["state"] == "queued":
                each["state"] = data.draw(st.sampled_from(["queued", "complete", "failed"]))
        if data.draw(st.booleans()):
            number = len(world)
            world[str(number)] = row(str(number), number % 3, number, data.draw(st.sampled_from(["queued", "failed"])))
        shown = [
            {**each, data.draw(st.sampled_from(["id", "model", "created", "state"])): None}
            if data.draw(st.integers(0, 4)) == 0
            else each
            for each in world.values()
        ]
        new, seen = compare(kept, *data.draw(st.permutations(shown)))
        unreadable = {key for key, each in zip(world, shown, strict=True) if None in {**each, "state": ""}.values()}
        assert not unreadable & {key.split()[0] for _, key, _ in new}
        if data.draw(st.booleans()):  # it lives to have its events stored, and what was seen kept
            told, kept = told + new, seen
    told += compare(kept, *world.values())[0]
    happened = {event: sorted(key for each, key, _ in told if each == event) for event in _endpoint_changes.EVENTS}
    assert happened["rollout_started"] == sorted(
        f"{key} {each['model'][-1]}" for key, each in world.items() if key != "0"
    )
    assert happened["rollout_failed"] == sorted(
        f"{key} {each['model'][-1]}" for key, each in world.items() if each["state"] == "failed"
    )
    changed = [(key[-1], previous) for event, key, previous in told if event == "serving_changed"]
    for (serves, _), (_, previous) in zip([("0", None), *changed], changed, strict=False):
        assert previous == version(int(serves))
