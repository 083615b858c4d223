"""A kill deletes the version if that is wanted and no attempt has adopted it; a restart of the triggerer never does."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_provider_cerebras.operators.model_versions import CerebrasUploadModelVersionOperator
from airflow_provider_cerebras.triggers import _on_kill
from airflow_provider_cerebras.triggers.model_versions import CerebrasModelVersionTrigger
from airflow_provider_cerebras.version_compat import AIRFLOW_V_3_0_PLUS
from tests.integration.scenario import POLL
from tests.task_instance import TaskInstance
from tests.unit.durable.world import Journal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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


@pytest.fixture
def set_task_state(monkeypatch: pytest.MonkeyPatch) -> Callable[[str | None], None]:
    """Say which state Airflow's database has for the task; ``"unknown"``: it has no such task."""

    def set_state(state: str | None) -> None:
        if AIRFLOW_V_3_0_PLUS:
            from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

            states = {} if state == "unknown" else {"upload": state}
            monkeypatch.setattr(RuntimeTaskInstance, "get_task_states", lambda **which: {which["run_ids"][0]: states})
        else:
            from airflow.models.taskinstance import TaskInstance as Row

            row = None if state == "unknown" else SimpleNamespace(state=state)
            monkeypatch.setattr(Row, "get_task_instance", lambda **which: row)

    return set_state


def kill(trigger: CerebrasModelVersionTrigger, *, known: bool = True) -> str:
    """Do what a triggerer does, and return what the trigger has said."""
    journal = Journal()
    trigger._log = journal  # type: ignore[assignment]  # Airflow's own loggers keep what they are told
    if known:
        trigger.task_instance = context(1)["ti"]
    with patched_pauses():
        asyncio.run(trigger.on_kill())
    return journal.text


@contextmanager
def patched_pauses() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_on_kill, "_PAUSES", (0.0, 0.0))
        yield


@pytest.mark.parametrize("durable", [True, False])
@pytest.mark.parametrize("delete_on_kill", [True, False])
def test_a_kill_while_deferred_deletes_the_version_only_if_that_is_wanted(
    delete_on_kill: bool, durable: bool, emulator: EmulatorClient, set_task_state: Callable[[str | None], None]
) -> None:
    set_task_state("failed")
    kill(defer(emulator, 1, delete_on_kill=delete_on_kill, durable=durable))
    assert list(emulator.versions()) == ([] if delete_on_kill else [emulator.version_name(1)])


def test_past_its_deadline_a_trigger_deletes_nothing(
    emulator: EmulatorClient, set_task_state: Callable[[str | None], None]
) -> None:
    """Airflow, or the task itself, may have failed the task for that: a triggerer that was stopped cannot tell."""
    set_task_state("failed")
    trigger = defer(emulator, 1, delete_on_kill=True)
    trigger.deadline = 1.0
    assert "is not deleted" in kill(trigger)
    assert list(emulator.versions()) == [emulator.version_name(1)]


STATES = [
    None, "failed", "success", "deferred", "running", "queued", "scheduled", "restarting", "up_for_retry", "skipped",
    "removed", "upstream_failed", "up_for_reschedule", "a new word", "unknown",
]  # fmt: skip


@pytest.mark.parametrize("state", STATES, ids=str)
def test_only_a_state_that_a_user_has_brought_about_lets_a_trigger_delete(
    state: str | None, emulator: EmulatorClient, set_task_state: Callable[[str | None], None]
) -> None:
    trigger = defer(emulator, 1, delete_on_kill=True)
    set_task_state(state)
    told = kill(trigger)
    deleted = state in {None, "failed"}
    assert list(emulator.versions()) == ([] if deleted else [emulator.version_name(1)])
    assert emulator.version_name(1) in told
    assert ("is not deleted" in told) is not deleted


@pytest.mark.parametrize("state", STATES, ids=str)
def test_only_a_state_that_a_user_has_brought_about_lets_an_operator_delete(
    state: str | None, emulator: EmulatorClient, set_task_state: Callable[[str | None], None]
) -> None:
    """Airflow calls on_kill on the SIGTERM of an eviction, too, and on execution_timeout: the task is running then."""
    set_task_state(state)
    killed_at_its_first_look(emulator)
    deleted = state in {"failed", "restarting"}
    assert list(emulator.versions()) == ([] if deleted else [emulator.version_name(1)])


def test_a_trigger_that_does_not_know_its_task_deletes_nothing(
    emulator: EmulatorClient, set_task_state: Callable[[str | None], None]
) -> None:
    trigger = defer(emulator, 1, delete_on_kill=True)
    set_task_state("failed")
    assert "Airflow did not say which task this is" in kill(trigger, known=False)
    assert list(emulator.versions()) == [emulator.version_name(1)]


def test_a_late_kill_leaves_alone_what_a_newer_attempt_has_adopted(
    emulator: EmulatorClient, set_task_state: Callable[[str | None], None]
) -> None:
    first = defer(emulator, 1, delete_on_kill=True)
    second = defer(emulator, 2, delete_on_kill=True)
    set_task_state("failed")
    assert first.model_version == second.model_version == emulator.version_name(1)
    assert "another attempt waits for it" in kill(first)
    assert list(emulator.versions()) == [emulator.version_name(1)]
    kill(second)
    assert not emulator.versions()


@pytest.mark.parametrize("state", ["scheduled", "queued", "running", "deferred"])
def test_a_kill_that_comes_after_a_clear_deletes_the_old_version_alone(
    state: str, emulator: EmulatorClient, set_task_state: Callable[[str | None], None]
) -> None:
    first = defer(emulator, 1, delete_on_kill=True)
    with pytest.raises(TaskDeferred):
        upload(emulator, deferrable=True, delete_on_kill=True).execute(context(2, max_tries=4))
    set_task_state(state)
    kill(first)
    assert list(emulator.versions()) == [emulator.version_name(2)]


@pytest.mark.parametrize("mode", ["blocking", "deferrable"])
def test_once_its_wait_is_over_a_version_is_not_deleted_any_more(
    mode: str, emulator: EmulatorClient, set_task_state: Callable[[str | None], None]
) -> None:
    """A triggerer that was stopped comes back: the task has gone on without it, and has failed since."""
    trigger = defer(emulator, 1, delete_on_kill=True)
    operator = upload(emulator, deferrable=False, delete_on_kill=True)
    if mode == "blocking":
        operator.execute(context(2))
    else:
        event = {"status": "succeeded", "message": "", "model_version": emulator.version_name(1)}
        operator.execute_complete(context(1), event)
    ((_, *others),) = (version.aliases for version in emulator.versions().values())
    assert others == []
    set_task_state("failed")
    operator.on_kill()
    assert "its wait is over" in kill(trigger)
    assert list(emulator.versions()) == [emulator.version_name(1)]


def test_a_claim_that_cannot_be_taken_off_fails_no_task(emulator: EmulatorClient) -> None:
    emulator.add_fault("update_model_version_aliases", status=403, body={"detail": "not yours"}, times=None)
    assert upload(emulator, deferrable=False, delete_on_kill=True).execute(context(1)) == emulator.version_name(1)


@pytest.mark.parametrize("how", ["serves", "rolls out", "unknown use"])
def test_what_is_in_use_is_never_deleted(
    how: str, emulator: EmulatorClient, set_task_state: Callable[[str | None], None]
) -> None:
    trigger = defer(emulator, 1, delete_on_kill=True)
    version = emulator.version_name(1)
    emulator.advance_clock(1000)
    set_task_state("failed")
    if how == "unknown use":
        body = {"name": emulator.endpoint_id, "model_arch_id": emulator.arch, "created": 1, "updated": 1}
        emulator.add_fault("get_endpoint", status=200, body=body, times=None)
    else:
        emulator.deploy(version)
        emulator.advance_clock(1000 if how == "serves" else 0)
    told = kill(trigger)
    assert emulator.endpoint_id in told
    assert not emulator.requests("delete_model_version")


def test_a_kill_is_carried_out_though_airflow_cancels_it_again(
    emulator: EmulatorClient, set_task_state: Callable[[str | None], None]
) -> None:
    trigger = defer(emulator, 1, delete_on_kill=True)
    trigger.task_instance = context(1)["ti"]
    set_task_state("failed")
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
    emulator: EmulatorClient, set_task_state: Callable[[str | None], None]
) -> None:
    trigger = defer(emulator, 1, delete_on_kill=True)
    set_task_state("failed")
    emulator.add_fault("delete_model_version", status=403, body={"detail": "not yours"})
    told = kill(trigger)
    for words in ("is not deleted", emulator.version_name(1), "answered 403", "not yours"):
        assert words in told


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


def killed_at_its_first_look(emulator: EmulatorClient, *, adopted: bool = False, **arguments: Any) -> None:
    """Run an attempt that holds a worker, and kill it as Airflow does."""
    operator = upload(emulator, deferrable=False, **{"delete_on_kill": True, **arguments})

    def kill_the_task() -> None:
        if adopted:  # as a newer attempt does it
            ((name, version),) = emulator.versions().items()
            aliases = version.aliases
            emulator.set_aliases(name, *aliases, f"{aliases[0]}-2")
        operator.on_kill()

    # The worker is in the middle of its first look when the kill comes; what it receives then does not matter.
    done = {"name": emulator.version_name(1), "done": True, "response": {"sync_status": "done"}}
    with emulator.meanwhile("get_model_version", kill_the_task, path_contains="/versions/1", body=done):
        operator.execute(context(1))


@pytest.mark.parametrize(("state", "uploads"), [("restarting", 2), ("running", 1), ("failed", 1), ("unknown", 1)])
def test_a_task_that_is_cleared_while_it_holds_a_worker_uploads_anew(
    state: str, uploads: int, emulator: EmulatorClient, set_task_state: Callable[[str | None], None]
) -> None:
    """Airflow's counts do not tell that from a retry; on_kill does."""
    set_task_state(state)
    killed_at_its_first_look(emulator, delete_on_kill=False, version_aliases=["latest"])
    upload(emulator, deferrable=False, version_aliases=["latest"]).execute(context(2))
    assert list(emulator.versions()) == [emulator.version_name(number + 1) for number in range(uploads)]
    held = {name: version.aliases for name, version in emulator.versions().items()}
    assert [name for name, aliases in held.items() if "latest" in aliases] == [emulator.version_name(uploads)]


@pytest.mark.parametrize(
    ("arguments", "left"),
    [
        ({}, False),
        ({"durable": False}, False),
        ({"adopted": True}, True),
        ({"delete_on_kill": False}, True),
    ],
    ids=["wanted", "wanted, not durable", "adopted since", "not wanted"],
)
def test_a_kill_on_the_worker(
    arguments: Any, left: bool, emulator: EmulatorClient, set_task_state: Callable[[str | None], None]
) -> None:
    set_task_state("failed")
    killed_at_its_first_look(emulator, **arguments)
    assert list(emulator.versions()) == ([emulator.version_name(1)] if left else [])


def test_a_kill_after_the_wait_deletes_nothing_without_a_claim_either(
    emulator: EmulatorClient, set_task_state: Callable[[str | None], None]
) -> None:
    operator = upload(emulator, deferrable=False, delete_on_kill=True, durable=False)
    operator.execute(context(1))
    set_task_state("failed")
    operator.on_kill()
    assert list(emulator.versions()) == [emulator.version_name(1)]


def test_a_kill_before_anything_was_made_does_nothing(emulator: EmulatorClient) -> None:
    upload(emulator, deferrable=False, delete_on_kill=True).on_kill()
    assert not emulator.requests()
