"""Watchers of assets, while triggerers stand still and are replaced, and while a key is rotated."""

from __future__ import annotations

import json
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from tests.drills.release import BUCKET, ENDED, STEP_SECONDS, Service, put_weights
from tests.drills.stack import ROTATED, TAKEN_OVER, release_connection

if TYPE_CHECKING:
    from tests.drills.release import Field
    from tests.drills.stack import Stack

ROUNDS = 20
WAITS = 20
POLLS = ("list_model_versions", "get_endpoint")
REFUSED = 2
"""For how many refusals the connection has the old key: fewer than end a wait."""
SETTLED_SECONDS = 20
"""How long it is waited for a second event; a trigger that stood still waits 10 s before it sends one."""


class Watchers:
    """The two watchers of a connection, one of the versions and one of what serves on the endpoint."""

    def __init__(self, stack: Stack, service: Service, connection: str) -> None:
        self.stack = stack
        self.service = service
        self._connection = connection

    def wait_until_polled(self) -> None:
        """Wait until each of them has had two more good responses."""
        before = {poll: self._answered(poll) for poll in POLLS}
        self.stack.wait_until(
            f"the watchers of {self._connection} to poll",
            lambda: all(self._answered(poll) >= before[poll] + 2 for poll in POLLS),
            timeout=STEP_SECONDS,
        )

    def _answered(self, poll: str) -> int:
        return sum(each.status == 200 for each in self.service.requests(poll))

    def events(self, what: str) -> list[str]:
        """The versions that a watcher has sent events of, one for each event."""
        rows = self.stack.query(
            "SELECT event.extra FROM asset_event AS event JOIN asset ON asset.id = event.asset_id"
            " WHERE asset.name = %s ORDER BY event.id",
            f"{what}-{self._connection}",
        )
        extras = [json.loads(extra) if isinstance(extra, str) else extra for (extra,) in rows]
        return [extra["payload"]["model_version"] for extra in extras]

    def wait_for_event(self, what: str, version: str) -> None:
        self.stack.wait_until(
            f"the event of {what} on {version}", lambda: version in self.events(what), timeout=STEP_SECONDS
        )

    def triggerer(self, what: str) -> int | None:
        """Id of the job of the triggerer that has a watcher's trigger, if any has."""
        rows = self.stack.query(
            "SELECT trigger.triggerer_id FROM trigger JOIN asset_watcher ON asset_watcher.trigger_id = trigger.id"
            " JOIN asset ON asset.id = asset_watcher.asset_id WHERE asset.name = %s",
            f"{what}-{self._connection}",
        )
        return rows[0][0] if rows else None


def take_over(field: Field, name: str) -> dict[str, Any]:
    """Stall the triggerer of the watchers, let the other one take over, and wake it, again and again."""
    stack = field.stack
    put_weights(stack.s3_url, name)
    with Service(stack.watched[TAKEN_OVER], stack.s3_url) as service:
        watchers = Watchers(stack, service, TAKEN_OVER)
        (served,) = service.have(stack, f"s3://{BUCKET}/{name}")
        service.deploy(served)
        service.complete()
        watchers.wait_until_polled()
        made: list[str] = []

        def change() -> None:
            (version,) = service.have(stack, f"s3://{BUCKET}/{name}")
            service.deploy(version)
            service.complete()
            made.append(version)

        seconds: list[float] = []
        for number in range(ROUNDS):
            began = time.monotonic()
            held = watchers.triggerer("versions"), watchers.triggerer("endpoint")
            stalled = held[number % 2]
            assert stalled is not None, "the watcher has no triggerer"
            with stack.stalled_triggerer(stalled):
                # What is new before the other one has taken over, after that, or when both run again.
                if number % 3 == 0:
                    change()
                stack.wait_until(
                    "another triggerer",
                    lambda: not {watchers.triggerer(what) for what in ("versions", "endpoint")} & {None, stalled},  # noqa: B023
                    timeout=STEP_SECONDS,
                )
                watchers.wait_until_polled()
                if number % 3 == 1:
                    change()
            if number % 3 == 2:
                change()
            for what in ("versions", "endpoint"):
                watchers.wait_for_event(what, made[-1])
            # What was seen is stored a second or two after the event; a stall in between repeats it, as documented.
            watchers.wait_until_polled()
            seconds.append(round(time.monotonic() - began, 1))
        stack.wait_until("events that come twice", _after(SETTLED_SECONDS), timeout=STEP_SECONDS)
        found = {what: Counter(watchers.events(what)) for what in ("versions", "endpoint")}
        for what, events in found.items():
            events.pop(served, None)  # it may have been there at the first poll, or not
            assert events == Counter(made), f"events of {what}: {events}, must be one of each of {made}"
        return {
            "versions": len(service.versions()),
            "deployments": len(service.deployments()),
            "attempts": {},
            "rounds": ROUNDS,
            "events of the watcher of the model": found["versions"].total(),
            "events of the watcher of the endpoint": found["endpoint"].total(),
        }


def rotate_at_service_first(field: Field, name: str) -> dict[str, Any]:
    """Replace the key at the service and only then in the connection, by which watchers and many waits poll."""
    stack, new_key = field.stack, "a-management-key-of-a-later-day"
    put_weights(stack.s3_url, name)
    lane = stack.watched[ROTATED]
    fields = json.loads(release_connection(lane))
    with Service(lane, stack.s3_url) as service:
        watchers = Watchers(stack, service, ROTATED)
        stack.rest.add_connection(ROTATED, {**fields, "extra": json.dumps(fields["extra"])})
        # While there was no connection, the triggerers have come to read it once in five minutes only.
        for job in list(stack.triggerers):
            stack.stop_triggerer(job)
            stack.start_triggerer()
        watchers.wait_until_polled()
        versions = [service.upload(f"s3://{BUCKET}/{name}") for _ in range(WAITS)]
        stack.trigger("many_waits", name, {"connection": ROTATED, "model_versions": versions})

        def are_held() -> bool:
            found = stack.look_at_task(name, "wait")
            return len(found) == WAITS and all(
                look.state == "deferred" and look.triggerer in stack.triggerers for look in found
            )

        stack.wait_until(f"{name}: every wait to be held", are_held, timeout=2 * STEP_SECONDS)
        watchers.wait_until_polled()
        service.replace_key(new_key)
        stack.wait_until(
            f"{name}: the refusals",
            lambda: all(_refused(service, poll) >= REFUSED for poll in POLLS),
            timeout=STEP_SECONDS,
        )
        stack.rest.call(
            "PATCH",
            f"connections/{ROTATED}",
            params={"update_mask": ["password"]},
            json={"connection_id": ROTATED, "conn_type": "cerebras", "password": new_key},
        )
        watchers.wait_until_polled()
        service.complete()
        stack.wait_until(f"{name}: the end", lambda: stack.run_state(name) in ENDED, timeout=2 * STEP_SECONDS)
        ended = [look.state for look in stack.look_at_task(name, "wait")]
        assert ended == ["success"] * WAITS, f"the waits have ended as {ended}"
        # On a busy machine Airflow may call an attempt failed that is not.
        failures = stack.own_failures("many_waits", name, "wait")
        assert not failures, f"attempts that have failed by themselves: {failures}"
        for version in versions:
            watchers.wait_for_event("versions", version)
        events = Counter(watchers.events("versions"))
        assert events == Counter(versions), f"events: {events}, must be one of each of {versions}"
        return {
            "versions": len(service.versions()),
            "deployments": len(service.deployments()),
            "attempts": {},
            "waits": WAITS,
            "refused polls": sum(_refused(service, poll) for poll in POLLS),
            "events": events.total(),
        }


def _refused(service: Service, poll: str) -> int:
    return sum(each.status == 401 for each in service.requests(poll))


def _after(seconds: float) -> Any:
    end = time.monotonic() + seconds
    return lambda: time.monotonic() >= end
