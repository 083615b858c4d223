"""The event trigger as Airflow stores it, and how it gets by where Airflow gives it less than 3.3 does."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_cerebras.version_compat import AIRFLOW_V_3_0_PLUS, AIRFLOW_V_3_3_PLUS

if not AIRFLOW_V_3_0_PLUS:
    pytest.skip("there are no watchers of assets; see tests/integration/test_event_trigger.py", allow_module_level=True)

from airflow_provider_cerebras.api.models import ModelVersionRows
from airflow_provider_cerebras.polling.reconnection import ConnectionNotFound
from airflow_provider_cerebras.triggers._snapshots import Snapshot, _RowsPoller, versions_of
from airflow_provider_cerebras.triggers.events import CerebrasEndpointEventTrigger, CerebrasModelVersionEventTrigger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.unit.conftest import Service


def trigger(**arguments: Any) -> CerebrasModelVersionEventTrigger:
    return CerebrasModelVersionEventTrigger(
        **{"org_name": "my-org", "model_arch_id": "gpt-oss-120b", "poll_interval": 0.01, **arguments}
    )


class Store:
    """A state store of Airflow's; `problem` is what it fails with."""

    def __init__(self, problem: Exception | None = None) -> None:
        self.problem = problem
        self.values: dict[str, Any] = {}
        self.written = asyncio.Event()

    async def aget(self, key: str) -> Any:
        if self.problem:
            raise self.problem
        return self.values.get(key)

    async def aset(self, key: str, value: Any) -> None:
        if self.problem:
            raise self.problem
        self.values[key] = value
        self.written.set()


def endpoint_trigger(**arguments: Any) -> CerebrasEndpointEventTrigger:
    return CerebrasEndpointEventTrigger(**{"endpoint_id": "my-org-gpt-oss-120b", "poll_interval": 0.01, **arguments})


def first_event(
    watcher: CerebrasModelVersionEventTrigger | CerebrasEndpointEventTrigger,
    service: Service,
    happens: Callable[[], object],
    operation: str = "list_model_versions",
) -> dict[str, Any]:
    """What it sends first, of what happens after its first look."""

    def answers() -> int:
        return sum(request.status == 200 for request in service.requests(operation))

    over = threading.Event()

    def meanwhile() -> None:
        while answers() < looked + 4:  # an empty list is believed the third time
            if over.wait(0.01):
                return
        happens()

    looked = answers()

    async def watch() -> Any:
        async with aclosing(watcher.run()) as events, asyncio.timeout(60):  # type: ignore[type-var]
            happening = asyncio.create_task(asyncio.to_thread(meanwhile))
            try:
                event = await anext(events)
            finally:
                # Or a watcher that fails would leave the thread behind, for which the loop waits at its end.
                over.set()
            await happening
            return event.payload

    payload: dict[str, Any] = asyncio.run(watch())
    return payload


def test_it_is_rebuilt_from_plain_json() -> None:
    path, arguments = json.loads(json.dumps(trigger(alias="production").serialize()))
    assert path == "airflow_provider_cerebras.triggers.events.CerebrasModelVersionEventTrigger"
    assert (
        CerebrasModelVersionEventTrigger(**arguments).serialize()[1]
        == arguments
        == {
            "org_name": "my-org",
            "model_arch_id": "gpt-oss-120b",
            "alias": "production",
            "poll_interval": 0.01,
            "cerebras_conn_id": "cerebras_default",
        }
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"org_name": ""}, "org_name"),
        ({"model_arch_id": "a b"}, "model_arch_id"),
        ({"alias": "Not An Alias"}, "alias"),
        ({"alias": "7"}, "alias"),
        ({"poll_interval": 0}, "poll_interval"),
        ({"poll_interval": float("nan")}, "poll_interval"),
    ],
)
def test_bad_input_is_refused_when_the_dag_is_parsed(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=f"^{words}: "):
        trigger(**arguments)


@pytest.mark.parametrize("alias", [None, "production"])
def test_without_a_shared_stream_it_sends_the_same(service: Service, alias: str | None) -> None:
    service.new_version("production")

    def move() -> None:
        service.set_aliases(service.version_name(1))
        service.new_version("production")

    payload = first_event(trigger(alias=alias), service, move)
    assert payload["model_version"] == service.version_name(2)
    assert payload["version_aliases"] == ["production"]
    assert payload.get("previous_model_version") == (service.version_name(1) if alias else None)
    for secret in (service.settings.management_key, service.settings.inference_key):
        assert secret not in json.dumps(payload)


def test_what_was_seen_is_kept_at_the_next_look(service: Service) -> None:
    service.new_version()

    async def watch() -> Any:
        watcher, store = trigger(), Store()
        setattr(watcher, "asset_state_store", store)  # noqa: B010  Airflow does it so
        async with aclosing(watcher.run()) as events, asyncio.timeout(60):  # type: ignore[type-var]
            waiting = asyncio.ensure_future(anext(events))
            await store.written.wait()
            await asyncio.to_thread(service.new_version)
            await waiting
            # It is not kept before the event can be stored.
            assert [[*seen["known"]] for seen in store.values.values()] == [["1"]]
            store.written.clear()
            waiting = asyncio.ensure_future(anext(events))
            await store.written.wait()
            waiting.cancel()
            await asyncio.wait([waiting])
            return [[*seen["known"]] for seen in store.values.values()]

    assert asyncio.run(watch()) == [["1", "2"]]


async def snapshots(*listed: list[dict[str, Any]]) -> AsyncIterator[Snapshot[ModelVersionRows]]:
    for rows in listed:
        snapshot = Snapshot(ModelVersionRows.model_validate({"model_versions": rows}))
        yield snapshot
        await snapshot.acknowledge()


def ready(number: int) -> dict[str, Any]:
    return {"name": f"orgs/my-org/models/gpt-oss-120b/versions/{number}", "done": True}


def test_what_another_triggerer_has_sent_meanwhile_is_not_sent_again() -> None:
    """One that was paused and taken over has seen less than the other, and runs on for a moment."""

    async def watch() -> list[Any]:
        watcher, store = trigger(), Store()
        setattr(watcher, "asset_state_store", store)  # noqa: B010

        async def paused() -> AsyncIterator[Snapshot[ModelVersionRows]]:
            async for snapshot in snapshots([ready(1)]):
                yield snapshot
            other = trigger()
            setattr(other, "asset_state_store", store)  # noqa: B010
            sent = [event async for event in other.filter_shared_stream(snapshots([ready(1), ready(2)]))]
            assert len(sent) == 1
            async for snapshot in snapshots([ready(1), ready(2)], [ready(1), ready(2), ready(3)]):
                yield snapshot

        events = [event.payload async for event in watcher.filter_shared_stream(paused())]
        assert [[*seen["known"]] for seen in store.values.values()] == [["1", "2", "3"]]
        return events

    (event,) = asyncio.run(watch())
    assert event["model_version"] == ready(3)["name"]


def test_what_is_kept_late_takes_nothing_from_what_another_triggerer_has_kept() -> None:
    async def watch() -> Any:
        watcher, store = trigger(), Store()
        setattr(watcher, "asset_state_store", store)  # noqa: B010
        (first,) = [snapshot async for snapshot in snapshots([ready(1)])]
        async for _ in watcher.filter_shared_stream(_iterate(first)):
            pass
        store.values[watcher._key] = {"known": {"1": "", "2": ""}, "absent": {}}
        await first.acknowledge()
        return store.values[watcher._key]

    assert asyncio.run(watch()) == {"known": {"1": "", "2": ""}, "absent": {}}


async def _iterate(*given: Snapshot[ModelVersionRows]) -> AsyncIterator[Snapshot[ModelVersionRows]]:
    for each in given:
        yield each


def test_watchers_of_different_things_keep_what_they_have_seen_apart(service: Service) -> None:
    keys = {trigger(**arguments)._key for arguments in ({}, {"alias": "one"}, {"alias": "two"}, {"org_name": "other"})}
    assert len(keys) == 4


def test_a_store_that_serves_several_assets_is_done_without(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    watcher = trigger()
    setattr(watcher, "asset_state_store", Store(ValueError("Task has 2 concrete inlets")))  # noqa: B010
    assert first_event(watcher, service, service.new_version)["model_version"] == service.version_name(1)


def test_a_service_that_refuses_is_asked_again(service: Service) -> None:
    """A watcher that ended would be started again at once, over and over."""
    service.add_fault("list_model_versions", status=401, times=2)
    assert first_event(trigger(), service, service.new_version)["model_version"] == service.version_name(1)


def test_its_log_says_of_no_refusal_that_it_ends_the_wait() -> None:
    poller = _RowsPoller(versions_of("my-org", "gpt-oss-120b"), print)
    for error in (ValueError("a field"), ConnectionNotFound("mine")):
        assert poller.apply(error, 0.0) is None
        assert poller.ends_after is None


def test_an_endpoint_trigger_is_rebuilt_from_plain_json() -> None:
    path, arguments = json.loads(json.dumps(endpoint_trigger(events=("rollout_failed",)).serialize()))
    assert path == "airflow_provider_cerebras.triggers.events.CerebrasEndpointEventTrigger"
    assert (
        CerebrasEndpointEventTrigger(**arguments).serialize()[1]
        == arguments
        == {
            "endpoint_id": "my-org-gpt-oss-120b",
            "events": ["rollout_failed"],
            "poll_interval": 0.01,
            "cerebras_conn_id": "cerebras_default",
        }
    )
    assert endpoint_trigger().events == ["serving_changed", "rollout_failed", "rollout_started"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"endpoint_id": ""}, "endpoint_id"),
        ({"events": ()}, "events"),
        ({"events": "serving_changed"}, "events"),
        ({"poll_interval": -1}, "poll_interval"),
    ],
)
def test_bad_input_of_an_endpoint_trigger_is_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=f"^{words}: "):
        endpoint_trigger(**arguments)


@pytest.mark.parametrize(
    ("event", "marked"), [("serving_changed", None), ("rollout_started", True), ("rollout_failed", None)]
)
def test_a_deployment_past_airflow_is_an_event(service: Service, event: str, marked: bool | None) -> None:
    own = f"airflow-{'a' * 40}-0"
    before = service.new_version()
    service.deploy(before)
    service.finish()
    after = service.new_version("production", *([own] if marked else []))

    def deploy_by_hand() -> None:
        if event == "rollout_failed":
            service.fail_next_rollout("no capacity")
        service.deploy(after)
        service.finish()

    payload = first_event(endpoint_trigger(events=[event]), service, deploy_by_hand, "get_endpoint")

    newest = max(service.deployments(), key=lambda each: each.created)
    assert payload == {
        "event": event,
        "endpoint_id": service.endpoint_id,
        "deployment_id": newest.deployment_id,
        "model_version": after,
        "previous_model_version": before,
        "version_aliases": ["production"],
        "weight_uri": "s3://my-bucket/weights",
        "marked_by_airflow": marked,
    }


def test_an_event_is_sent_though_its_version_cannot_be_read(service: Service) -> None:
    service.deploy(service.new_version())
    service.finish()
    after = service.new_version()
    service.add_fault("get_model_version", status=400, times=None)
    payload = first_event(endpoint_trigger(), service, lambda: service.deploy(after), "get_endpoint")
    assert (payload["event"], payload["model_version"]) == ("rollout_started", after)
    assert (payload["marked_by_airflow"], "version_aliases" in payload) == (None, False)


if AIRFLOW_V_3_3_PLUS:

    def test_watchers_of_an_endpoint_share_a_stream_whatever_events_they_are_for() -> None:
        key = endpoint_trigger().shared_stream_key()
        assert endpoint_trigger(events=["rollout_failed"]).shared_stream_key() == key
        assert endpoint_trigger(endpoint_id="other").shared_stream_key() != key
        assert endpoint_trigger(events=["rollout_failed"])._key != endpoint_trigger()._key

    def test_an_airflow_without_shared_streams_is_logged_and_each_watcher_polls_by_itself(
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.delitem(sys.modules, "airflow_provider_cerebras.triggers._shared_stream", raising=False)
        monkeypatch.setitem(sys.modules, "airflow.triggers.shared_stream", None)
        watcher = trigger()
        lines: list[str] = []
        monkeypatch.setattr(watcher.log, "warning", lambda message, *args: lines.append(message % args))
        assert watcher.shared_stream_key() is None
        assert ["shared_stream" in line and "polls by itself" in line for line in lines] == [True]

    def test_watchers_of_an_architecture_share_a_stream_and_others_do_not() -> None:
        assert trigger().shared_stream_key() == trigger(alias="one").shared_stream_key()
        for arguments in ({"org_name": "other"}, {"model_arch_id": "other"}, {"cerebras_conn_id": "other"}):
            assert trigger().shared_stream_key() != trigger(**arguments).shared_stream_key()

    @pytest.mark.parametrize("failed", [0, 1])
    def test_nothing_is_kept_of_a_look_whose_events_may_not_be_stored(failed: int) -> None:
        from airflow.triggers.shared_stream import AdvanceItem, AdvanceOutcome

        from airflow_provider_cerebras.triggers._shared_stream import NotStored, SnapshotProducer

        kept: list[str] = []

        async def keep() -> None:
            kept.append("seen")

        snapshot = Snapshot(ModelVersionRows.model_validate({"model_versions": []}), [keep])
        batch = [AdvanceItem(snapshot, AdvanceOutcome(acked=1, failed=failed))]
        producer = SnapshotProducer("cerebras_default", versions_of("my-org", "gpt-oss-120b"), 60)
        if failed:
            with pytest.raises(NotStored):
                asyncio.run(producer.advance(batch))
        else:
            asyncio.run(producer.advance(batch))
        assert kept == ([] if failed else ["seen"])
