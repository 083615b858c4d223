"""Two releases on one endpoint: whichever fails when, neither ever takes the other's version away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.drills.release import BUCKET, ENDED, HELD_SECONDS, STEP_SECONDS, put_weights

if TYPE_CHECKING:
    from tests.drills.release import Field, Service
    from tests.drills.stack import Stack

OK = 200
STEPS = ("deploy", "wait_for_rollout", "verify", "roll_back", "conclude")


@dataclass(frozen=True)
class Order:
    """How the two go.

    :param text: for the table.
    :param failing: which of them fail to roll out.
    :param ends: how many rollouts have ended when the first release learns that its own has.
    :param behaviour: how the service treats the second one.
    :param serves: number of the version that serves in the end; 1 served before either began.
    :param is_listed_first: whether the wait for A has seen its deployment listed when B begins.
    """

    text: str
    failing: frozenset[str]
    ends: int
    behaviour: dict[str, str]
    serves: int
    is_listed_first: bool = False


ORDERS = {
    "first-fails-second-serves": Order(
        "A fails to roll out, and learns of it when B's version serves already. B's stays",
        frozenset("A"),
        2,
        {},
        3,
    ),
    "both-fail": Order(
        "Both fail to roll out. What served before serves, and neither version is deployed again",
        frozenset("AB"),
        2,
        {},
        1,
    ),
    "first-fails-second-rolls-out": Order(
        "A fails to roll out while B's version still rolls out. B's goes on, and serves",
        frozenset("A"),
        1,
        {},
        3,
    ),
    "first-superseded": Order(
        "B supersedes A's rollout, and the endpoint lists it no more. B's version serves",
        frozenset(),
        1,
        {"deploy_during_rollout": "supersede", "deployed_models": "live"},
        3,
        is_listed_first=True,
    ),
}


@dataclass
class Half:
    """One of the two releases."""

    stack: Stack
    run: str

    def state(self, step: str) -> str | None:
        found = self.stack.look_at_task(self.run, f"release.{step}")
        return found[0].state if found else None

    def states(self) -> dict[str, str | None]:
        return {step: self.state(step) for step in STEPS}

    def wait_for_rollout(self) -> None:
        """Wait until its deployment is submitted and the wait for it is deferred and held."""

        def is_held() -> bool:
            found = self.stack.look_at_task(self.run, "release.wait_for_rollout")
            assert self.stack.run_state(self.run) not in ENDED, f"{self.run} has ended: {self.states()}"
            return bool(found) and found[0].state == "deferred" and found[0].triggerer is not None

        self.stack.wait_until(f"{self.run}: the wait for the rollout", is_held, timeout=STEP_SECONDS)

    def wait_until_polled(self, service: Service) -> None:
        """Wait until the endpoint has been polled twice more: the second poll began after this was called."""
        asked = service.asked("get_endpoint")
        self.stack.wait_until(
            f"{self.run}: a poll", lambda: service.asked("get_endpoint") > asked + 1, timeout=STEP_SECONDS
        )

    def wait_for_end(self, service: Service, *, moves_clock: bool) -> str:
        """Wait until it has ended, and let what rolls out meanwhile be at its end, if that is asked for."""

        def has_ended() -> bool:
            rolls_back = self.state("roll_back") == "deferred"
            if moves_clock and (rolls_back or self.state("wait_for_rollout") == "deferred"):
                service.complete()
            return self.stack.run_state(self.run) in ENDED

        self.stack.wait_until(f"{self.run}: its end, {self.states()}", has_ended, timeout=2 * STEP_SECONDS)
        return str(self.stack.run_state(self.run))


def two_releases(field: Field, name: str, *, order: Order) -> dict[str, Any]:
    """Deploy version 2 (A) and then version 3 (B) to an endpoint on which version 1 serves."""
    stack = field.stack
    with field.service() as (service, lane):
        for number in range(1, 4):
            put_weights(stack.s3_url, f"{name}-{number}")
        service.change_behaviour(**order.behaviour)
        served, *new = service.have(stack, *(f"s3://{BUCKET}/{name}-{number}" for number in range(1, 4)))
        service.deploy(served)
        service.complete()
        versions = dict(zip(("A", "B"), new, strict=True))
        halves = {}
        for each, version in versions.items():
            if each in order.failing:
                service.add_fault("deploy_model", fail_rollout="by the drill", request_body={"model": version})
            halves[each] = half = Half(stack, f"{name}-{each}")
            conf = {"connection": lane.connection, "endpoint_id": service.endpoint_id, "model_version": version}
            stack.trigger("release_version", half.run, conf)
            half.wait_for_rollout()
            if each == "A" and order.is_listed_first:
                # It is no longer pending, so the endpoint lists it.
                service.advance_clock(HELD_SECONDS / 2)
                half.wait_until_polled(service)
        service.advance_clock(order.ends * HELD_SECONDS)
        ended = {"A": halves["A"].wait_for_end(service, moves_clock="B" in order.failing)}
        ended["B"] = halves["B"].wait_for_end(service, moves_clock=True)
        _check(service, order, [served, *versions.values()], ended, halves)
        return {
            "versions": len(service.versions()),
            "deployments": len(service.deployments()),
            "attempts": {},
            "ended": ended,
        }


def _check(service: Service, order: Order, versions: list[str], ended: dict[str, str], halves: dict[str, Half]) -> None:
    states = {each: half.states() for each, half in halves.items()}
    expected = {"A": "failed", "B": "success" if order.serves == 3 else "failed"}
    assert ended == expected, f"the releases have ended as {ended}: {states}"
    assert service.serving() == versions[order.serves - 1], f"{service.serving()} serves: {states}"
    # All that was ever submitted: a deployment that is superseded is not there any more.
    deployed = [each.body["model"] for each in service.requests("deploy_model") if each.status == OK]
    more = deployed[3:]
    assert deployed[:3] == versions, f"deployed were {deployed}"
    # A version that is deployed again is the one that served before, and only where no other version serves.
    assert not more or (order.serves == 1 and set(more) == {versions[0]}), f"deployed were {deployed}: {states}"
