"""A kill deletes the version if that is wanted and nobody has adopted it; a restart of the triggerer never does."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_provider_cerebras.operators.model_versions import CerebrasUploadModelVersionOperator
from airflow_provider_cerebras.triggers.model_versions import CerebrasModelVersionTrigger
from airflow_provider_cerebras.version_compat import AIRFLOW_V_3_3_PLUS
from tests.integration.scenario import POLL
from tests.task_instance import TaskInstance

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_cerebras.emulator.control.client import EmulatorClient

pytestmark = pytest.mark.usefixtures("cerebras_connection")


def upload(emulator: EmulatorClient, **arguments: Any) -> CerebrasUploadModelVersionOperator:
    return CerebrasUploadModelVersionOperator(
        task_id="upload",
        model_arch_id=emulator.arch,
        weight_uri="s3://weights/run-1",
        wait_for_completion=True,
        poll_interval=POLL,
        **arguments,
    )


def context(attempt: int, *, max_tries: int = 3) -> Any:
    return {"ti": TaskInstance(task_id="upload", max_tries=max_tries, try_number=attempt)}


def defer(emulator: EmulatorClient, attempt: int, **arguments: Any) -> CerebrasModelVersionTrigger:
    """Run an attempt until it defers, and rebuild its trigger as a triggerer does."""
    with pytest.raises(TaskDeferred) as deferred:
        upload(emulator, deferrable=True, **arguments).execute(context(attempt))
    trigger = deferred.value.trigger
    assert isinstance(trigger, CerebrasModelVersionTrigger)
    _, kwargs = trigger.serialize()
    return CerebrasModelVersionTrigger(**kwargs)


def kill(trigger: CerebrasModelVersionTrigger) -> None:
    asyncio.run(trigger.on_kill())


@pytest.mark.parametrize("durable", [True, False])
@pytest.mark.parametrize("delete_on_kill", [True, False])
def test_a_kill_while_deferred_deletes_the_version_only_if_that_is_wanted(
    delete_on_kill: bool, durable: bool, emulator: EmulatorClient
) -> None:
    kill(defer(emulator, 1, delete_on_kill=delete_on_kill, durable=durable))
    assert list(emulator.versions()) == ([] if delete_on_kill else [emulator.version_name(1)])


def test_a_late_kill_leaves_alone_what_a_newer_attempt_has_adopted(emulator: EmulatorClient) -> None:
    first = defer(emulator, 1, delete_on_kill=True)
    second = defer(emulator, 2, delete_on_kill=True)
    assert first.model_version == second.model_version == emulator.version_name(1)
    kill(first)
    assert list(emulator.versions()) == [emulator.version_name(1)]
    kill(second)
    assert not emulator.versions()


def test_a_kill_that_comes_after_a_clear_hits_the_old_version_alone(emulator: EmulatorClient) -> None:
    first = defer(emulator, 1, delete_on_kill=True)
    with pytest.raises(TaskDeferred):
        upload(emulator, deferrable=True, delete_on_kill=True).execute(context(2, max_tries=4))
    kill(first)
    assert list(emulator.versions()) == [emulator.version_name(2)]


def test_a_kill_is_carried_out_though_airflow_cancels_it_again(emulator: EmulatorClient) -> None:
    trigger = defer(emulator, 1, delete_on_kill=True)
    fault = emulator.add_fault("get_model_version", hold=True, path_contains="/versions/1")

    async def kill_impatiently() -> None:
        killing = asyncio.ensure_future(trigger.on_kill())
        assert await asyncio.to_thread(emulator.requests, "get_model_version", stage="held", wait=60)
        killing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await killing
        emulator.end_fault(fault)
        assert await asyncio.to_thread(emulator.requests, "delete_model_version", stage="answered", wait=60)

    asyncio.run(kill_impatiently())
    assert not emulator.versions()


def test_a_deletion_that_is_refused_says_why(
    emulator: EmulatorClient, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    trigger = defer(emulator, 1, delete_on_kill=True)
    emulator.add_fault("delete_model_version", status=403, body={"detail": "not yours"})
    # Airflow's own loggers keep what they are told to themselves.
    monkeypatch.setattr(trigger, "_log", logging.getLogger("a trigger"))
    kill(trigger)
    (told,) = [record.getMessage() for record in caplog.records if "is not deleted" in record.getMessage()]
    assert emulator.version_name(1) in told
    assert "answered 403" in told
    assert "not yours" in told


if AIRFLOW_V_3_3_PLUS:

    @pytest.fixture
    def task_state(monkeypatch: pytest.MonkeyPatch) -> Callable[[str | None], None]:
        """Say what Airflow's database tells triggers of the task."""
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

        def set_state(state: str | None) -> None:
            states = {} if state is None else {"upload": state}
            monkeypatch.setattr(RuntimeTaskInstance, "get_task_states", lambda **which: {which["run_ids"][0]: states})

        return set_state

    @pytest.mark.parametrize(("state", "deleted"), [("deferred", False), ("failed", True), (None, True)], ids=str)
    def test_what_another_triggerer_has_taken_over_is_left_alone(
        state: str | None, deleted: bool, task_state: Callable[[str | None], None], emulator: EmulatorClient
    ) -> None:
        trigger = defer(emulator, 1, delete_on_kill=True)
        trigger.task_instance = context(1)["ti"]
        task_state(state)
        kill(trigger)
        assert list(emulator.versions()) == ([] if deleted else [emulator.version_name(1)])

    def test_a_clear_is_a_kill_though_the_task_is_deferred_again_by_then(
        task_state: Callable[[str | None], None], emulator: EmulatorClient
    ) -> None:
        trigger = defer(emulator, 1, delete_on_kill=True)
        trigger.task_instance = context(1)["ti"]
        with pytest.raises(TaskDeferred):
            upload(emulator, deferrable=True, delete_on_kill=True).execute(context(2, max_tries=4))
        task_state("deferred")
        kill(trigger)
        assert list(emulator.versions()) == [emulator.version_name(2)]


def test_a_restart_of_the_triggerer_deletes_nothing(emulator: EmulatorClient) -> None:
    trigger = defer(emulator, 1, delete_on_kill=True)
    # Its first look is under way when the triggerer stops.
    emulator.add_fault("get_model_version", hold=True, path_contains="/versions/1")

    async def run_until_cancelled() -> None:
        waiting = asyncio.ensure_future(anext(trigger.run()))
        assert await asyncio.to_thread(emulator.requests, "get_model_version", stage="held", wait=60)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await trigger.cleanup()

    asyncio.run(run_until_cancelled())
    assert not emulator.requests("delete_model_version")
    assert list(emulator.versions()) == [emulator.version_name(1)]


def test_two_triggerers_that_wait_for_the_same_version_change_nothing(emulator: EmulatorClient) -> None:
    trigger = defer(emulator, 1, delete_on_kill=True)
    _, kwargs = trigger.serialize()
    seen = len(emulator.requests())

    async def events(trigger: CerebrasModelVersionTrigger) -> list[Any]:
        return [event.payload async for event in trigger.run()]

    def triggerer(trigger: CerebrasModelVersionTrigger) -> list[Any]:
        return asyncio.run(events(trigger))

    with ThreadPoolExecutor() as triggerers:
        one, other = triggerers.map(triggerer, [trigger, CerebrasModelVersionTrigger(**kwargs)])
    assert one == other
    assert [(event["status"], event["model_version"]) for event in one] == [("succeeded", emulator.version_name(1))]
    assert {request.method for request in emulator.requests()[seen:]} == {"GET"}


@pytest.mark.parametrize(
    ("arguments", "adopted", "left"),
    [
        ({"delete_on_kill": True}, False, False),
        ({"delete_on_kill": True, "durable": False}, False, False),
        ({"delete_on_kill": True}, True, True),
        ({}, False, True),
    ],
    ids=["wanted", "wanted, not durable", "adopted since", "not wanted"],
)
def test_a_kill_on_the_worker(arguments: Any, adopted: bool, left: bool, emulator: EmulatorClient) -> None:
    operator = upload(emulator, deferrable=False, **arguments)

    def kill_the_task() -> None:
        if adopted:  # as a newer attempt does it
            ((name, version),) = emulator.versions().items()
            aliases = version.aliases
            emulator.set_aliases(name, *aliases, f"{aliases[0]}-2")
        operator.on_kill()

    # The worker is in the middle of its first look when the kill comes; what it hears then is of no interest.
    done = {"name": emulator.version_name(1), "done": True, "response": {"sync_status": "done"}}
    with emulator.meanwhile("get_model_version", kill_the_task, path_contains="/versions/1", body=done):
        operator.execute(context(1))

    assert list(emulator.versions()) == ([emulator.version_name(1)] if left else [])


def test_a_kill_before_anything_was_made_does_nothing(emulator: EmulatorClient) -> None:
    upload(emulator, deferrable=False, delete_on_kill=True).on_kill()
    assert not emulator.requests()
