"""How a drill goes: make the fault ready, start the run, kill at the instant, see what there is in the end."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import psutil

from airflow_provider_cerebras.emulator.control.client import EmulatorClient
from tests.drills.matrix import LOOKS, POSTS, Cell, Event, Mode, Operation, Outcome
from tests.drills.stack import CEREBRAS, kill, wait_for_end

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_cerebras.emulator.faults.request_log import LoggedRequest
    from tests.drills.stack import Lane, Stack

INSTANT_SECONDS = 180
END_SECONDS = 300
ON_KILL_SECONDS = 8
"""What Airflow gives a task to end after a SIGTERM, and some more."""


def emulator_of(lane: Lane) -> EmulatorClient:
    """The control plane of a lane's emulator."""
    return EmulatorClient(lane.emulator_url, CEREBRAS)


@dataclass
class Drill:
    """One run of a task, on an emulator of its own, and what is done to it.

    :param name: unique name of the run.
    :param dag_id: which DAG to run.
    """

    stack: Stack
    lane: Lane
    emulator: EmulatorClient
    name: str
    dag_id: str
    operation: Operation = Operation.UPLOAD
    model_version: str | None = None

    def __post_init__(self) -> None:
        self.emulator.reset()
        if self.operation is Operation.DEPLOY:
            self.model_version = name = self.emulator.upload(f"s3://bucket/{self.name}")
            self.stack.wait_until("the version to deploy", lambda: self.emulator.versions()[name].done, timeout=30)

    def start(self, *, stop: str | None = None, impatient: bool = False) -> None:
        """Start the run.

        :param stop: instant at which it stops, once.
        :param impatient: whether requests time out soon.
        """
        conf = {
            "connection": self.lane.impatient if impatient else self.lane.connection,
            "weight_uri": f"s3://bucket/{self.name}",
            "endpoint_id": self.emulator.endpoint_id,
            "model_version": self.model_version,
            "stop": stop,
        }
        self.stack.trigger(self.dag_id, self.name, conf)

    def wait_until_held(self, request: str, *, count: int = 1) -> None:
        """Wait until the emulator holds requests of a call."""
        self._wait(
            f"a held {request}",
            lambda: len(self.emulator.requests(request, stage="held")) >= count,
            seconds=INSTANT_SECONDS,
        )

    def wait_until_stopped(self, instant: str) -> None:
        """Wait until the task has stopped at an instant."""
        self._wait(instant, lambda: self.stack.has_reached(self.name, instant), seconds=INSTANT_SECONDS)

    def kill_task(self) -> None:
        """SIGKILL for the process that runs the task."""
        kill([self.stack.pid(self.name)])

    def supervisor(self) -> int:
        """Id of the process that supervises the one that runs the task."""
        return psutil.Process(self.stack.pid(self.name)).ppid()

    def wait_for_end(self) -> None:
        """Wait until the run has ended."""
        self._wait(
            "the end of the run",
            lambda: self.stack.look(self.name).run_state in {"success", "failed"},
            seconds=END_SECONDS,
        )

    def conclude(self, *, tries: int, has_orphan: bool = False) -> None:
        """Wait until the run has ended, and see that it did as it must.

        :param tries: how many attempts it must have made at least. On a busy machine Airflow may make one more: it
            calls a task failed whose deferral is over before its executor has told of it.
        :param has_orphan: whether there is a process that Airflow no longer waits for; what it ends with is its own.
        """
        self.wait_for_end()
        task = self.stack.look(self.name)
        failure = self.stack.failure(self.name)
        assert failure is None or has_orphan, f"an attempt has failed by itself:\n{failure}"
        assert task.run_state == "success", f"the run has ended as {task.run_state}"
        assert task.tries >= tries, f"attempts: {task.tries}, must be {tries}"
        self.check_only_result()

    def check_only_result(self, *, number: int = 1) -> None:
        """See that there is one version or deployment, that no other ever was, and that the task names it.

        :param number: the version's number; they count up from 1 and are never given again.
        """
        self._wait("what the task returns", lambda: self.stack.result(self.name) is not None, seconds=10)
        results, named = self.results(), self.stack.result(self.name)
        expected = [self.emulator.version_name(number)] if self.operation is Operation.UPLOAD else [named]
        assert results == expected, f"there are {results}, must be {expected}"
        assert named in results, f"the task names {named}, there are {results}"

    def results(self) -> list[str]:
        """The versions, or the deployments of the version on all endpoints."""
        if self.operation is Operation.UPLOAD:
            return list(self.emulator.versions())
        deployments = self.emulator.deployments()
        assert all(each.model_version == self.model_version for each in deployments)
        return [each.deployment_id for each in deployments]

    def outcome(self, began: float, error: str | None = None) -> Outcome:
        """What has come of it.

        :param began: when it began, by the monotonic clock.
        :param error: what was not as it must be.
        """
        posts = [each for each in self.emulator.requests(POSTS[self.operation]) if self._is_ours(each)]
        return Outcome(
            error=error,
            tries=self.stack.look(self.name).tries,
            posts=len(posts),
            results=len(self.results()),
            seconds=round(time.monotonic() - began, 1),
        )

    def _is_ours(self, request: LoggedRequest) -> bool:
        return "airflow" in request.headers.get("user-agent", "")

    def _wait(self, what: str, is_so: Callable[[], bool], *, seconds: float) -> None:
        self.stack.wait_until(f"{self.name}: {what}", is_so, timeout=seconds)


def perform(cell: Cell, drill: Drill) -> None:
    """Go through one cell of the matrix."""
    fault = drill.emulator.add_fault(**cell.rule) if cell.rule else None
    drill.start(stop=None if fault else cell.instant, impatient=cell.event is Event.TIMEOUT)
    if cell.event is Event.SIGKILL:
        if cell.rule:
            drill.wait_until_held(cell.rule["operation"])
        else:
            drill.wait_until_stopped(cell.instant)
        drill.kill_task()
        if fault:
            drill.emulator.end_fault(fault)
    drill.conclude(tries=cell.tries)
    if cell.event is not Event.SIGKILL:
        assert drill.emulator.faults()[0].fired, "no request was hit"


def perform_on_triggerers(drills: list[Drill]) -> None:
    """Kill triggerers until each of these deferred tasks has lost the one that it was with."""
    stack = drills[0].stack
    for drill in drills:
        drill.emulator.add_fault(LOOKS[drill.operation], skip=1, times=None, hold=True)
        drill.start()
    bereaved: set[str] = set()
    triggerers: dict[str, int] = {}
    polls = dict.fromkeys((drill.name for drill in drills), 1)
    while True:
        for drill in drills:
            drill.wait_until_held(LOOKS[drill.operation], count=polls[drill.name])
            triggerers[drill.name] = cast("int", stack.look(drill.name).triggerer)
        left = [drill.name for drill in drills if drill.name not in bereaved]
        if not left:
            break
        victim = triggerers[left[0]]
        stack.kill_triggerer(victim)
        stack.start_triggerer()
        for name in [name for name, triggerer in triggerers.items() if triggerer == victim]:
            bereaved.add(name)
            polls[name] += 1
    for drill in drills:
        drill.emulator.end_faults()
    for drill in drills:
        drill.conclude(tries=1)


def lose_worker(drill: Drill) -> None:
    """The process that runs the task and the one that supervises it die at once, with the version made."""
    fault = drill.emulator.add_fault("upload_model_version", when="after", hold=True)
    drill.start()
    drill.wait_until_held("upload_model_version")
    kill([drill.supervisor(), drill.stack.pid(drill.name)])
    drill.emulator.end_fault(fault)
    drill.conclude(tries=2)


def leave_orphan(drill: Drill) -> None:
    """The supervisor dies, and the task goes on without it: it submits after its successor has."""
    fault = drill.emulator.add_fault("upload_model_version", hold=True)
    drill.start()
    drill.wait_until_held("upload_model_version")
    orphan = drill.stack.pid(drill.name)
    kill([drill.supervisor()])
    drill.wait_for_end()
    assert psutil.pid_exists(orphan), "the orphan is not alive"
    drill.emulator.end_fault(fault)
    with suppress(psutil.NoSuchProcess, psutil.TimeoutExpired):
        psutil.Process(orphan).wait(60)
    wait_for_end(orphan)
    drill.conclude(tries=2, has_orphan=True)


def release_late(drill: Drill) -> None:
    """The first attempt is killed, and its request comes to be processed after that of its retry."""
    fault = drill.emulator.add_fault("upload_model_version", hold=True)
    drill.start()
    drill.wait_until_held("upload_model_version")
    drill.kill_task()
    drill.wait_for_end()
    drill.emulator.end_fault(fault)
    drill.stack.wait_until(
        "the late answer", lambda: drill.emulator.requests("upload_model_version")[0].stage == "answered", timeout=30
    )
    status = drill.emulator.requests("upload_model_version")[0].status
    assert status == 409, f"the late request was answered {status}"
    drill.conclude(tries=2)


def clear_while_deferred(drill: Drill) -> None:
    """A user clears the deferred task: the old version is deleted, and the new attempt makes another."""
    # One poll is held, so that there is time to clear; the deletion looks at the version and must not be held.
    drill.emulator.add_fault("get_model_version", skip=1, hold=True)
    drill.start()
    drill.wait_until_held("get_model_version")
    drill.stack.clear(drill.dag_id, drill.name)
    drill.stack.wait_until(
        f"{drill.name}: the deletion", lambda: bool(drill.emulator.requests("delete_model_version")), timeout=60
    )
    drill.stack.wait_until(
        f"{drill.name}: the second version",
        lambda: drill.emulator.version_name(2) in drill.emulator.versions(),
        timeout=60,
    )
    drill.wait_for_end()
    assert drill.stack.look(drill.name).run_state == "success"
    drill.check_only_result(number=2)


def evict(drill: Drill) -> None:
    """The supervisor gets a SIGTERM while the task waits, as at a pod's eviction: no user has ended the task.

    Airflow calls on_kill. Whether it ends the attempt then, or lets it go on, differs from run to run.
    """
    fault = drill.emulator.add_fault("get_model_version", skip=1, hold=True)
    drill.start()
    drill.wait_until_held("get_model_version")
    psutil.Process(drill.supervisor()).terminate()
    drill.stack.wait_until(
        f"{drill.name}: the call of on_kill",
        lambda: "is not deleted, although delete_on_kill is set" in drill.stack.log_file(drill.dag_id, drill.name),
        timeout=60,
    )
    time.sleep(ON_KILL_SECONDS)
    drill.emulator.end_fault(fault)
    drill.conclude(tries=1)
    assert not drill.emulator.requests("delete_model_version")


def time_out(drill: Drill) -> None:
    """The task waits for longer than its ``execution_timeout``: Airflow calls on_kill, though no user has ended it."""
    fault = drill.emulator.add_fault("get_model_version", skip=1, hold=True)
    drill.start()
    drill.wait_until_held("get_model_version")
    drill.stack.wait_until(
        f"{drill.name}: the second attempt", lambda: drill.stack.look(drill.name).tries > 1, timeout=90
    )
    drill.emulator.end_fault(fault)
    drill.conclude(tries=2)
    assert not drill.emulator.requests("delete_model_version")


def kill_promotion(drill: Drill, **rule: Any) -> None:
    """The task is killed in the middle of moving an alias; its retry ends in the same place as if it had not been."""
    emulator = drill.emulator
    first, drill.model_version = emulator.upload("s3://bucket/1", "prod", "blue"), emulator.upload("s3://bucket/2")
    # What was not processed until the kill never is.
    fault = emulator.add_fault(**rule, hold=True, drop=rule.get("when") != "after")
    drill.start()
    drill.wait_until_held(rule["operation"])
    drill.kill_task()
    emulator.end_fault(fault)
    drill.wait_for_end()
    task = drill.stack.look(drill.name)
    assert (task.run_state, task.tries >= 2) == ("success", True), f"{task.run_state} after {task.tries} attempts"
    assert drill.stack.failure(drill.name) is None
    drill.stack.wait_until("what the task returns", lambda: drill.stack.result(drill.name) is not None, timeout=10)
    assert drill.stack.result(drill.name) == drill.model_version
    held = {name: version.aliases for name, version in emulator.versions().items()}
    assert held == {first: ["blue"], drill.model_version: ["prod"]}, f"the aliases are {held}"


_PATCH = "update_model_version_aliases"
PROMOTIONS: dict[str, dict[str, Any]] = {
    "promote-before": {"operation": "get_model_version"},
    "promote-free-sent": {"operation": _PATCH},
    "promote-free-processed": {"operation": _PATCH, "when": "after"},
    "promote-set-sent": {"operation": _PATCH, "skip": 1},
    "promote-set-processed": {"operation": _PATCH, "skip": 1, "when": "after"},
}
"""The request that is under way when a promotion is killed, by the name of the drill."""

SCENARIOS: dict[str, Callable[[Drill], None]] = {
    "worker-lost": lose_worker,
    "orphan": leave_orphan,
    "late-zombie": release_late,
    "clear-while-deferred": clear_while_deferred,
    "evicted": evict,
    "execution-timeout": time_out,
    **{name: partial(kill_promotion, **rule) for name, rule in PROMOTIONS.items()},
}
"""What is not a cell of the matrix, by name."""
SCENARIO_DAGS = {
    "clear-while-deferred": "upload_delete_on_kill_deferrable",
    "evicted": "upload_delete_on_kill_blocking",
    "execution-timeout": "upload_execution_timeout",
    **dict.fromkeys(PROMOTIONS, "promote"),
}
TRIGGERER_SCENARIO = "delete-on-kill-triggerer-killed"


def dag_of(scenario: str) -> str:
    """The DAG that a scenario runs."""
    return SCENARIO_DAGS.get(scenario, f"upload_{Mode.BLOCKING}")
