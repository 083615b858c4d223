"""Waits that meet what is not about them: a CDN's refusal in the middle, or a triggerer that wakes up too late."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.drills.release import BUCKET, ENDED, STEP_SECONDS, put_weights

if TYPE_CHECKING:
    from tests.drills.release import Field

WOKEN = 20
TOLD = "is not deleted, although delete_on_kill is set: its task is success"
BLOCKED = {
    "status": 403,
    "text": "<html><head><title>403 Forbidden</title></head><body>Request blocked.</body></html>",
}
BLOCKS = 2
KINDS = {
    "upload": "get_model_version",
    "version": "get_model_version",
    "deploy": "get_endpoint",
    "deployment": "get_endpoint",
}
"""What is waited by, and its poll."""
OPERATOR_MODES, SENSOR_MODES = ("blocking", "deferred"), ("poke", "reschedule", "deferred")
WAITS = {
    f"{kind}-{mode}": (kind, mode)
    for kind in KINDS
    for mode in (OPERATOR_MODES if kind in {"upload", "deploy"} else SENSOR_MODES)
}


def be_blocked(field: Field, name: str, *, kind: str, mode: str) -> dict[str, Any]:
    """A CDN refuses polls in the middle of a wait."""
    stack, poll = field.stack, KINDS[kind]
    with field.service() as (service, lane):
        put_weights(stack.s3_url, name)
        conf = {"connection": lane.connection, "weight_uri": f"s3://{BUCKET}/{name}"}
        conf["endpoint_id"] = service.endpoint_id
        if kind == "version":
            conf["model_version"] = service.upload(conf["weight_uri"])
        if kind in {"deploy", "deployment"}:
            (conf["model_version"],) = service.have(stack, conf["weight_uri"])
        if kind == "deployment":
            conf["deployment_id"] = service.deploy(conf["model_version"])
        stack.trigger(f"wait_{kind}_{mode}", name, conf)

        def wait_for_polls(more: int) -> None:
            before = _good(service, poll)
            stack.wait_until(
                f"{name}: polls",
                lambda: stack.run_state(name) in ENDED or _good(service, poll) >= before + more,
                timeout=STEP_SECONDS,
            )
            assert stack.run_state(name) not in ENDED, f"the run has ended early: {stack.look_at_task(name, 'task')}"

        wait_for_polls(3)
        blocked = service.add_fault(poll, times=BLOCKS, **BLOCKED)
        stack.wait_until(
            f"{name}: the refusals",
            lambda: stack.run_state(name) in ENDED or service.faults()[0].fired >= BLOCKS,
            timeout=STEP_SECONDS,
        )
        wait_for_polls(1)
        service.end_fault(blocked)
        service.complete()
        stack.wait_until(f"{name}: the end", lambda: stack.run_state(name) in ENDED, timeout=STEP_SECONDS)
        task = stack.look_at_task(name, "task")
        assert stack.run_state(name) == "success", f"{task} has ended otherwise than without it"
        # On a busy machine Airflow may call an attempt failed that is not.
        failures = stack.own_failures(f"wait_{kind}_{mode}", name, "task")
        assert not failures, f"attempts that have failed by themselves: {failures}"
        return {
            "versions": len(service.versions()),
            "deployments": len(service.deployments()),
            "attempts": {},
            "refused polls": BLOCKS,
        }


def _good(service: Any, poll: str) -> int:
    return sum(
        each.status == 200 and "airflow" in each.headers.get("user-agent", "") for each in service.requests(poll)
    )


def wake_many_after_success(field: Field, name: str) -> dict[str, Any]:
    """One triggerer has many waits with ``delete_on_kill=True`` and stands still until all of them have succeeded."""
    stack = field.stack
    with field.service() as (service, lane):
        uris = [f"{name}-{number}" for number in range(WOKEN)]
        for uri in uris:
            put_weights(stack.s3_url, uri)
        first, *others = stack.triggerers
        for job in others:
            stack.stop_triggerer(job)
        conf = {"connection": lane.connection, "weight_uris": [f"s3://{BUCKET}/{uri}" for uri in uris]}
        stack.trigger("many_uploads", name, conf)

        def are_held_by(triggerers: list[int]) -> bool:
            found = stack.look_at_task(name, "upload")
            return len(found) == WOKEN and all(
                look.state == "deferred" and look.triggerer in triggerers for look in found
            )

        stack.wait_until(f"{name}: one triggerer to hold all", lambda: are_held_by([first]), timeout=2 * STEP_SECONDS)
        _wait_for_poll(field, service)
        second = stack.start_triggerer()
        before = stack.triggerer_log(first).count(TOLD)
        with stack.stalled_triggerer(first):
            stack.wait_until(f"{name}: the other to hold all", lambda: are_held_by([second]), timeout=STEP_SECONDS)
            _wait_for_poll(field, service)
            service.complete()
            stack.wait_until(f"{name}: the end", lambda: stack.run_state(name) in ENDED, timeout=2 * STEP_SECONDS)
            # One poll serves all waits. Were it answered, they would end before they are told that they were killed.
            service.add_fault("list_model_versions", hold=True)
        tasks = stack.look_at_task(name, "upload")
        assert [task.state for task in tasks] == ["success"] * WOKEN, f"the tasks have ended as {tasks}"

        def count_told() -> int:
            # What a trigger logs after its end is in the triggerer's own log.
            logs = [
                stack.log_file("many_uploads", name, "upload", attempt, task.map_index)
                for task in tasks
                for attempt in range(1, task.tries + 1)
            ]
            return sum(log.count(TOLD) for log in [*logs, stack.triggerer_log(first)]) - before

        # It may be a request of one of them that is held, instead of the poll.
        stack.wait_until(f"{name}: calls of on_kill", lambda: count_told() >= WOKEN - 1, timeout=STEP_SECONDS)
        service.end_faults()
        stack.wait_until(f"{name}: {WOKEN} calls of on_kill", lambda: count_told() >= WOKEN, timeout=STEP_SECONDS)
        assert not service.requests("delete_model_version"), "a version was deleted after its task had succeeded"
        assert len(service.versions()) == WOKEN
        return {
            "versions": len(service.versions()),
            "deployments": 0,
            "attempts": {},
            "waits woken after success": WOKEN,
            "deletions": 0,
        }


def _wait_for_poll(field: Field, service: Any) -> None:
    polls = ("get_model_version", "list_model_versions")
    asked = sum(service.asked(poll) for poll in polls)
    field.stack.wait_until(
        "another poll", lambda: sum(service.asked(poll) for poll in polls) > asked, timeout=STEP_SECONDS
    )
