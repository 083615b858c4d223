"""The drills on a whole release: what dies or goes wrong in the middle of it, and what must be true all the same."""

from __future__ import annotations

import itertools
import json
import re
import statistics
import time
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from tests.drills.pruning import prune
from tests.drills.release import BUCKET, ENDED, STEP_SECONDS, Field, Release, put_weights
from tests.drills.stack import CEREBRAS, Executor, release_connection
from tests.drills.two_releases import ORDERS, two_releases
from tests.drills.waiting import BLOCKS, WAITS, WOKEN, be_blocked, wake_many_after_success
from tests.drills.watchers import ROUNDS, rotate_at_service_first, take_over

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_cerebras.emulator.control.schemas import Fault
    from tests.drills.release import Service
    from tests.drills.stack import TaskLook

Figures = dict[str, Any]
BOTH = (Executor.LOCAL, Executor.CELERY)
MANY_UPLOADS = 50
MANY_WAITS = 300
OUTAGE_SECONDS = 60
RETRY_AFTER_SECONDS = 5
WATCHED_SECONDS = 30
"""For how long it is measured what many waits cost."""


@dataclass(frozen=True)
class ReleaseDrill:
    """One drill.

    :param number: what it belongs to in the table.
    :param name: unique name.
    :param text: what happens, for the table.
    :param perform: does it, and returns figures; fails if something is not as it must be.
    :param alone: whether it disturbs others, and so has Airflow to itself.
    :param executors: what it runs on.
    :param quick: whether it is short enough for each change of the code.
    :param on_2: whether it runs on Airflow 2, too. Others act by the REST API of Airflow 3, or by what only 3.3 has.
    """

    number: int
    name: str
    text: str
    perform: Callable[[Field, str], Figures]
    alone: bool = True
    executors: tuple[Executor, ...] = (Executor.LOCAL,)
    quick: bool = False
    on_2: bool = False

    def runs_on(self, airflow: str, executor: Executor) -> bool:
        """Whether it runs on a version of Airflow with an executor."""
        release = tuple(map(int, airflow.split(".")[:2]))
        if release < (3, 0):
            return self.on_2 and executor is Executor.LOCAL
        return release >= (3, 3) and executor in self.executors

    def __str__(self) -> str:
        return self.name


def kill_triggerers(field: Field, name: str) -> Figures:
    """The triggerer dies that holds the wait, first that for the sync and then that for the rollout."""
    with field.release(name, "release_short_wait") as release:
        release.start()
        held, seconds = _lose_triggerer(release, "upload")
        # The wait is over at the deadline that was set before the kill, and a new attempt adopts the version.
        release.wait_until("the next attempt", lambda: _tries(release, "upload") > held.tries)
        told = _told_deadline(field.stack.log_of(release.dag_id, name, "release.upload", held.tries))
        assert held.deadline is not None
        assert told == int(held.deadline), f"the deadline was {held.deadline}, and has moved to {told}"
        release.wait_until_deferred("upload", attempt=held.tries + 1)
        release.service.complete()
        _, more = _lose_triggerer(release, "wait_for_rollout")
        return {"seconds until the other asks": [seconds, more], **release.conclude()}


def _lose_triggerer(release: Release, task: str) -> tuple[TaskLook, float]:
    """Kill the triggerer that holds a wait; the wait as it was, and the seconds until another one asks."""
    stack = release.stack
    held = release.wait_until_deferred(task)
    assert held.triggerer is not None
    stack.kill_triggerer(held.triggerer)
    began = time.monotonic()
    release.wait_until_polled(task)
    seconds = round(time.monotonic() - began, 1)
    stack.start_triggerer()
    return held, seconds


def stall_triggerer(field: Field, name: str) -> Figures:
    """The triggerer that holds the wait stands still until another one has it, and then finds that it has lost it."""
    with field.release(name, "release_delete_on_kill") as release:
        release.start()
        stack = release.stack
        held = release.wait_until_deferred("upload")
        assert held.triggerer is not None

        def is_taken_over() -> bool:
            look = release.task("upload")
            return look is not None and look.triggerer not in {None, held.triggerer}

        with stack.stalled_triggerer(held.triggerer):
            release.wait_until("another triggerer", is_taken_over)
            release.wait_until_polled("upload")
        # Airflow calls on_kill, though no user has done anything to the task.
        kept = f"{release.service.version_name(1)} is not deleted, although delete_on_kill is set: its task is"
        release.wait_until(
            "the call of on_kill",
            lambda: kept in stack.log_of(release.dag_id, name, "release.upload", held.tries),
        )
        return release.conclude()


def _told_deadline(log: str) -> int | None:
    found = re.search(r"by the deadline, (\d{4}-[0-9T:-]+)\+00:00", log)
    return int(datetime.fromisoformat(found[1]).replace(tzinfo=UTC).timestamp()) if found else None


def _tries(release: Release, task: str) -> int:
    look = release.task(task)
    return look.tries if look else 0


KILLED_WORKERS = {
    f"{task}-{'answered' if when == 'after' else 'sent'}": (task, operation, when)
    for task, operation in (("upload", "upload_model_version"), ("deploy", "deploy_model"))
    for when in ("before", "after")
}
"""The task that a worker runs when it is killed, its request, and whether the service has acted on that."""


def kill_worker(field: Field, name: str, *, which: str) -> Figures:
    """The worker dies with its task, while the service has the request."""
    task, operation, when = KILLED_WORKERS[which]
    with field.release(name) as release:
        fault = _held(release.service, operation, when)
        release.start()
        _pass_waits(release, task)
        release.wait_until_held(operation)
        _kill_workers([(release, task)])
        release.service.end_fault(fault)
        return release.conclude()


def kill_busy_workers(field: Field, name: str) -> Figures:
    """Workers die that are busy with four releases at once, one at each of the instants."""
    releases: dict[str, Release] = {}
    with field.many_releases([f"{name}-{which}" for which in KILLED_WORKERS]) as started:
        for which, release in zip(KILLED_WORKERS, started, strict=True):
            _, operation, when = KILLED_WORKERS[which]
            _held(release.service, operation, when)
            releases[which] = release.start()
        for which, release in releases.items():
            _pass_waits(release, KILLED_WORKERS[which][0])
            release.wait_until_held(KILLED_WORKERS[which][1])
        _kill_workers([(release, KILLED_WORKERS[which][0]) for which, release in releases.items()])
        for release in started:
            release.service.end_faults()
        figures = [release.conclude() for release in started]
        return {
            "versions": sum(each["versions"] for each in figures),
            "deployments": sum(each["deployments"] for each in figures),
            "attempts": {which: _tries(release, KILLED_WORKERS[which][0]) for which, release in releases.items()},
        }


def _held(service: Service, operation: str, when: str) -> Fault:
    # What was not processed until the kill never is.
    return service.add_fault(operation, when=when, hold=True, drop=when == "before")


def _pass_waits(release: Release, task: str) -> None:
    if task == "deploy":
        release.wait_until_deferred("wait_for_sync")
        release.service.complete()


def _kill_workers(busy: list[tuple[Release, str]]) -> None:
    pids = {release.name: look.pid for release, task in busy if (look := release.task(task)) and look.pid}
    assert len(pids) == len(busy), f"of the tasks only these have a process: {pids}"
    busy[0][0].stack.kill_workers(pids.values())
    for release, task in busy:
        release.wait_until("the next attempt", lambda: _tries(release, task) > 1)  # noqa: B023


def kill_scheduler(field: Field, name: str) -> Figures:
    """The scheduler dies while a wait is deferred, and once more while a task deploys."""
    stack = field.stack
    with field.release(name) as release:
        fault = _held(release.service, "deploy_model", "after")
        release.start()
        release.wait_until_deferred("wait_for_sync")
        stack.kill_scheduler()
        release.service.complete()
        stack.start_scheduler()
        release.wait_until_held("deploy_model")
        stack.kill_scheduler()
        release.service.end_fault(fault)
        stack.start_scheduler()
        return release.conclude()


def be_down(field: Field, name: str) -> Figures:
    """The service is gone for a minute, then has too much to do, then is back."""
    with field.release(name) as release:
        service = release.start().service
        release.wait_until_deferred("wait_for_sync")
        down = service.add_fault("*", times=None, drop=True)
        field.stack.wait_until("the end of the outage", _after(OUTAGE_SECONDS), timeout=2 * OUTAGE_SECONDS)
        dropped = service.faults()[0].fired
        service.add_fault(
            "*", times=2, status=429, headers={"Retry-After": str(RETRY_AFTER_SECONDS)}, body={"detail": "-"}
        )
        service.end_fault(down)
        release.wait_until("the refusals", lambda: service.faults()[0].fired == 2)
        release.wait_until_polled("wait_for_sync")
        times = [each.time for each in service.requests(stage="answered")[-3:]]
        pauses = [round(later - earlier, 1) for earlier, later in itertools.pairwise(times)]
        assert min(pauses) >= RETRY_AFTER_SECONDS, f"asked again after {pauses} s, in spite of Retry-After"
        assert _tries(release, "wait_for_sync") == 1
        return {
            "requests in the outage": dropped,
            "seconds from a 429 to the next request": pauses,
            **release.conclude(),
        }


def _after(seconds: float) -> Callable[[], bool]:
    end = time.monotonic() + seconds
    return lambda: time.monotonic() >= end


def restart_postgres(field: Field, name: str) -> Figures:
    """The metadata database goes away and comes back while a wait is deferred."""
    stack = field.stack
    with field.release(name) as release, stack.supervised() as revived:
        release.start()
        release.wait_until_deferred("wait_for_sync")
        stack.restart_postgres()
        release.wait_until_polled("wait_for_sync")
        release.service.complete()
        figures = release.conclude()
        stack.wait_until("Airflow", stack.rest.is_up, timeout=STEP_SECONDS)
        return {"components that ended and were started again": dict(Counter(revived)), **figures}


def restart_triggerers(field: Field, name: str) -> Figures:
    """Both triggerers are replaced, one after the other, while a release and many uploads wait."""
    stack, run = field.stack, f"{name}-many"
    with field.release(name) as release, field.service() as (service, lane):
        uris = [f"{run}-{number}" for number in range(MANY_UPLOADS)]
        for uri in uris:
            put_weights(stack.s3_url, uri)
        conf = {"connection": lane.connection, "weight_uris": [f"s3://{BUCKET}/{uri}" for uri in uris]}
        stack.trigger("many_uploads", run, conf)
        release.start()
        release.wait_until_deferred("wait_for_sync")
        _wait_for_map(field, run, "upload", "deferred", MANY_UPLOADS, "many uploads to be deferred")
        for old in list(stack.triggerers):
            stack.stop_triggerer(old)
            new = stack.start_triggerer()
            stack.wait_until(
                "every wait to be held",
                partial(_are_held, field, [(run, "upload"), (name, "release.wait_for_sync")], MANY_UPLOADS + 1),
                timeout=STEP_SECONDS,
            )
            assert new in stack.triggerers
        service.complete()
        _wait_for_run(field, run)
        tasks = stack.look_at_task(run, "upload")
        assert [task.state for task in tasks] == ["success"] * MANY_UPLOADS
        assert not service.requests("delete_model_version"), "on_kill was called"
        versions = {each.weight_uri for each in service.versions().values()}
        assert len(service.versions()) == len(versions) == MANY_UPLOADS
        ended = Counter((stack.signals / f"{run}.completed").read_text().split())
        # Airflow may run what follows a wait again, on a busy machine, but then as another attempt.
        tries = {str(task.map_index): task.tries for task in tasks}
        twice = {index: count for index, count in ended.items() if count > tries[index]}
        assert len(ended) == MANY_UPLOADS, f"{MANY_UPLOADS - len(ended)} waits are lost"
        assert not twice, f"waits that have ended twice: {twice}"
        return {
            "waits": MANY_UPLOADS,
            "their versions": len(versions),
            "their ends": sum(ended.values()),
            **release.conclude(),
        }


def _are_held(field: Field, tasks: list[tuple[str, str]], count: int) -> bool:
    live = field.stack.triggerers
    found = [look for task in tasks for look in field.stack.look_at_task(*task)]
    return len(found) == count and all(look.state == "deferred" and look.triggerer in live for look in found)


def _wait_for_map(field: Field, run: str, task: str, state: str, count: int, what: str) -> None:
    field.stack.wait_until(
        what,
        lambda: [look.state for look in field.stack.look_at_task(run, task)] == [state] * count,
        timeout=2 * STEP_SECONDS,
    )


def _wait_for_run(field: Field, run: str) -> None:
    field.stack.wait_until(f"the end of {run}", lambda: field.stack.run_state(run) in ENDED, timeout=2 * STEP_SECONDS)
    assert field.stack.run_state(run) == "success"


def intervene(field: Field, name: str, *, how: str, delete: bool) -> Figures:
    """A user ends or clears a deferred upload."""
    stack, task = field.stack, "release.upload"
    dag_id = "release_delete_on_kill" if delete else "release_keep"
    with field.release(name, dag_id) as release:
        service = release.start().service
        release.wait_until_deferred("upload")
        first = service.version_name(1)
        if how == "cleared":
            stack.clear(dag_id, name, task, downstream=True)
        else:
            stack.mark(dag_id, name, task, how)
        if how == "success":
            figures = release.conclude()
            assert not service.requests("delete_model_version")
            return figures
        if delete:
            stack.wait_until(f"{name}: the deletion", lambda: first not in service.versions(), timeout=STEP_SECONDS)
        if how == "failed":
            stack.wait_until(f"{name}: the failure", lambda: stack.run_state(name) == "failed", timeout=STEP_SECONDS)
            stack.clear(dag_id, name, task, downstream=True)
        # What a user clears is uploaded anew, since the weights may be others; the service cannot cancel the old one.
        figures = release.conclude(versions=(2,) if delete else (1, 2))
        assert bool(service.requests("delete_model_version")) == delete
        return figures


def rotate_key(field: Field, name: str, *, in_connection: bool) -> Figures:
    """The management key is replaced during a wait: at the service, and in Airflow before that or too late."""
    stack, connection, new_key = field.stack, name.replace("-", "_"), "a-management-key-of-a-later-day"
    with field.release(name, connection=connection) as release:
        rest, service = stack.rest, release.service
        fields = json.loads(release_connection(release.lane))
        rest.add_connection(connection, {**fields, "extra": json.dumps(fields["extra"])})

        def replace_in_connection() -> None:
            rest.call(
                "PATCH",
                f"connections/{connection}",
                params={"update_mask": ["password"]},
                json={"connection_id": connection, "conn_type": "cerebras", "password": new_key},
            )

        release.start()
        release.wait_until_deferred("wait_for_sync")
        if in_connection:
            replace_in_connection()
            service.replace_key(new_key)
            refused = service.asked("get_model_version")
            release.wait_until("polls by the new key", lambda: _answered(service, since=refused) >= 2)
            figures = release.conclude()
            assert figures["attempts"] == {}, f"a task has failed: {figures}"
            return figures
        service.replace_key(new_key)
        stack.wait_until(f"{name}: the error", lambda: stack.run_state(name) == "failed", timeout=STEP_SECONDS)
        log = stack.log_of(release.dag_id, name, "release.wait_for_sync", 1)
        assert "RequestRefused" in log, log
        assert "the management API takes the management API key" in log, log
        assert CEREBRAS.management_key not in log
        replace_in_connection()
        stack.clear(release.dag_id, name, "release.wait_for_sync", downstream=True)
        return release.conclude()


def _answered(service: Service, *, since: int) -> int:
    return sum(each.status == 200 for each in service.requests("get_model_version")[since:])


def wait_for_many(field: Field, name: str) -> Figures:
    """A release and very many mapped sensors wait at once."""
    stack, run = field.stack, f"{name}-many"
    put_weights(stack.s3_url, run)
    with field.release(name) as release, field.service() as (service, lane):
        versions = [service.upload(f"s3://{BUCKET}/{run}") for _ in range(MANY_WAITS)]
        stack.trigger("many_waits", run, {"connection": lane.connection, "model_versions": versions})
        release.start()
        _wait_for_map(field, run, "wait", "deferred", MANY_WAITS, "very many waits to be deferred")
        stack.wait_until(
            "every wait to be held", lambda: _are_held(field, [(run, "wait")], MANY_WAITS), timeout=STEP_SECONDS
        )
        before, asked, began = [stack.usage_of_triggerer(job) for job in stack.triggerers], _polls(service), time.time()
        stack.wait_until("what the waits cost", _after(WATCHED_SECONDS), timeout=2 * WATCHED_SECONDS)
        after, seconds = [stack.usage_of_triggerer(job) for job in stack.triggerers], time.time() - began
        requests = _polls(service) - asked
        asked = _polls(service)
        service.complete()
        completed = time.time()
        stack.wait_until("the next poll", lambda: _polls(service) > asked, timeout=STEP_SECONDS)
        noticed = time.time() - completed
        _wait_for_run(field, run)
        ends = [look.ended - completed for look in stack.look_at_task(run, "wait") if look.ended is not None]
        assert len(ends) == MANY_WAITS
        return {
            "waits": MANY_WAITS,
            "triggerers' use of a core": [
                f"{(late.cpu_seconds - early.cpu_seconds) / seconds:.1%}"
                for early, late in zip(before, after, strict=True)
            ],
            "triggerers' memory": [f"{each.memory / 2**20:.0f} MiB" for each in after],
            "requests a minute for all of them": round(requests * 60 / seconds, 1),
            "seconds from completion to the next poll": round(noticed, 1),
            "seconds from completion to success": {
                "first": round(min(ends), 1),
                "median": round(statistics.median(ends), 1),
                "last": round(max(ends), 1),
            },
            **release.conclude(),
        }


def _polls(service: Service) -> int:
    return sum(service.asked(operation) for operation in ("get_model_version", "list_model_versions"))


_KILLED = {
    "upload-sent": "uploads, and the service has not acted (it never will)",
    "upload-answered": "uploads, and the service has acted",
    "deploy-sent": "deploys, and the service has not acted (it never will)",
    "deploy-answered": "deploys, and the service has acted",
}
_INTERVENTIONS = {
    ("failed", False): "marks the deferred upload as failed, and clears it later. The first version stays",
    ("failed", True): "does the same with `delete_on_kill=True`. The first version is deleted",
    ("cleared", False): "clears the deferred upload. The first version stays",
    ("cleared", True): "does the same with `delete_on_kill=True`. The first version is deleted",
    ("success", False): "marks the deferred upload as success. The release goes on with the version",
    ("success", True): "does the same with `delete_on_kill=True`. The version stays, and the release goes on with it",
}

RELEASE_DRILLS = [
    ReleaseDrill(
        1,
        "triggerer-killed",
        "The triggerer that holds the wait for the sync gets a SIGKILL, later the one that holds the wait for the "
        "rollout. The other one takes over, and the wait ends at the deadline that was set at first.",
        kill_triggerers,
        executors=BOTH,
        quick=True,
    ),
    ReleaseDrill(
        1,
        "triggerer-stalled",
        "The triggerer that holds the wait for an upload with `delete_on_kill=True` stands still (SIGSTOP) until the "
        "other one has taken over, and goes on. It is told that its trigger was killed, and deletes nothing.",
        stall_triggerer,
        executors=BOTH,
        quick=True,
    ),
    *(
        ReleaseDrill(
            2,
            f"worker-killed-{which}",
            f"The worker gets a SIGKILL with its task, while that {text}.",
            partial(kill_worker, which=which),
            alone=False,
            quick=True,
            on_2=True,
        )
        for which, text in _KILLED.items()
    ),
    ReleaseDrill(
        2,
        "workers-killed",
        "Four releases are at one of the instants of the LocalExecutor's table each, and the workers that run them get "
        "a SIGKILL with all their tasks.",
        kill_busy_workers,
        executors=(Executor.CELERY,),
    ),
    ReleaseDrill(
        3,
        "scheduler-killed",
        "The scheduler gets a SIGKILL while the wait for the sync is deferred, and once more while a task deploys "
        "(with the LocalExecutor the task dies with it), and is started again.",
        kill_scheduler,
        executors=BOTH,
        on_2=True,
    ),
    ReleaseDrill(
        4,
        "service-down",
        f"The service drops all connections for {OUTAGE_SECONDS} s, answers 429 with `Retry-After`, and is back.",
        be_down,
        alone=False,
        on_2=True,
    ),
    ReleaseDrill(5, "postgres-restarted", "PostgreSQL restarts during the wait for the sync.", restart_postgres),
    ReleaseDrill(
        6,
        "triggerers-restarted",
        f"Both triggerers are replaced, one after the other, while {MANY_UPLOADS} uploads with `delete_on_kill=True` "
        "wait beside the release.",
        restart_triggerers,
        executors=BOTH,
        quick=True,
        on_2=True,
    ),
    *(
        ReleaseDrill(
            7,
            f"{how}-{'deleted' if delete else 'kept'}",
            f"A user {text}.",
            partial(intervene, how=how, delete=delete),
            alone=False,
            quick=True,
        )
        for (how, delete), text in _INTERVENTIONS.items()
    ),
    ReleaseDrill(
        8,
        "key-rotated-in-both",
        "The management key is replaced during the wait for the sync, in the connection and then at the service: the "
        "wait goes on by the new one.",
        partial(rotate_key, in_connection=True),
        alone=False,
    ),
    ReleaseDrill(
        8,
        "key-rotated-at-service",
        "It is replaced at the service only: the wait ends and says so, and once the connection has the new key a "
        "cleared task goes on with the same version.",
        partial(rotate_key, in_connection=False),
        alone=False,
    ),
    ReleaseDrill(9, "many-waits", f"{MANY_WAITS} mapped sensors wait beside the release.", wait_for_many),
    *(
        ReleaseDrill(
            10,
            f"two-releases-{name}",
            f"Release A and then release B on one endpoint, begun before A's rollout is over. {order.text}.",
            partial(two_releases, order=order),
            alone=False,
            on_2=True,
        )
        for name, order in ORDERS.items()
    ),
    ReleaseDrill(
        11,
        "triggerer-woken-after-success-20",
        f"A triggerer holds {WOKEN} waits for uploads with `delete_on_kill=True`, and stands still (SIGSTOP) until the "
        "other one has brought all of them to success. It goes on, is told that each trigger was killed, and deletes "
        "nothing.",
        wake_many_after_success,
    ),
    ReleaseDrill(
        12,
        "prune-against-deploy",
        "Others deploy versions that a prune has chosen to delete, while it deletes other ones. What is deployed stays "
        "(the service would delete it).",
        prune,
        alone=False,
    ),
    ReleaseDrill(
        13,
        "watchers-taken-over",
        f"The triggerer of a watcher of a model and one of an endpoint stands still (SIGSTOP) until the other one has "
        f"taken over, and goes on, {ROUNDS} times, each time some seconds after the last event. Each version "
        "that becomes ready, and each that comes to serve, makes one event.",
        take_over,
    ),
    ReleaseDrill(
        14,
        "key-rotated-at-service-first",
        "The management key is replaced at the service and, after some refusals, in the connection by which watchers "
        "and 20 deferred waits poll. All of them go on.",
        rotate_at_service_first,
    ),
    *(
        ReleaseDrill(
            15,
            f"blocked-{name}",
            f"A CDN answers {BLOCKS} polls with 403 and HTML, in the middle of a wait: {kind}, {mode}.",
            partial(be_blocked, kind=kind, mode=mode),
            alone=False,
        )
        for name, (kind, mode) in WAITS.items()
    ),
]
