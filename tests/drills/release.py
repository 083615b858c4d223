"""One release under way: a run of the release DAG, the service that it talks to, and what must be true in the end."""

from __future__ import annotations

import hashlib
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import httpx
import numpy as np
from safetensors.numpy import save

from airflow_provider_cerebras.emulator.control.client import EmulatorClient
from airflow_provider_cerebras.emulator.server import EmulatorServer
from airflow_provider_cerebras.emulator.settings import Settings

if TYPE_CHECKING:
    import queue
    from collections.abc import Callable, Iterator, Sequence

    from tests.drills.stack import ReleaseLane, Stack, TaskLook

BUCKET = "weights"
HELD_SECONDS = 1e6
"""How long a sync and a rollout take; so they last until a drill has seen enough of the wait."""
NOTICED_SECONDS = 3
"""How long a deferral lasts at least: Airflow calls the task failed if it is over before the executor tells of it."""
STEP_SECONDS = 300
"""What a step of a run may take, on however busy a machine."""
ENDED = {"success", "failed"}
TASKS = ("upload", "wait_for_sync", "deploy", "wait_for_rollout", "verify", "promote", "conclude")


class Service(EmulatorClient):
    """An emulator whose time a drill moves on, so that what is under way is at its end at once.

    :param lane: where it listens.
    :param s3_url: S3 from which it reads the weights.
    """

    def __init__(self, lane: ReleaseLane, s3_url: str) -> None:
        self._server = EmulatorServer(
            Settings(port=lane.port, s3_endpoint_url=s3_url, sync_seconds=HELD_SECONDS, rollout_seconds=HELD_SECONDS)
        ).start()
        super().__init__(self._server.base_url, self._server.settings)

    def close(self) -> None:
        super().close()
        self._server.stop()

    def complete(self) -> None:
        """Let what is under way be at its end."""
        self._control("POST", "/clock", {"advance": HELD_SECONDS})

    def have(self, stack: Stack, *uris: str) -> list[str]:
        """Upload as another client would, and return the versions when all of them are synced.

        :param stack: by which to wait.
        :param uris: the weights of each; really read.
        """
        versions = [self.upload(uri) for uri in uris]

        def are_done() -> bool:
            self.complete()
            there = self.versions()
            return all(there[version].done for version in versions)

        stack.wait_until("versions to be synced", are_done, timeout=STEP_SECONDS)
        return versions

    def replace_key(self, management_key: str) -> None:
        """Take another management key from now on, and no more the one that was."""
        self._control("PUT", f"/organizations/{self.org}/keys", {"management_keys": [management_key]})

    def asked(self, operation: str) -> int:
        """How many requests of a call have come in."""
        return len(self.requests(operation))


class Field:
    """Where releases take place: an Airflow, and as many services at a time as it has connections to.

    :param lanes: those that are free.
    """

    def __init__(self, stack: Stack, lanes: queue.SimpleQueue[ReleaseLane]) -> None:
        self.stack = stack
        self._lanes = lanes

    @contextmanager
    def service(self) -> Iterator[tuple[Service, ReleaseLane]]:
        """Start a service."""
        lane = self._lanes.get()
        try:
            with Service(lane, self.stack.s3_url) as service:
                yield service, lane
        finally:
            self._lanes.put(lane)

    @contextmanager
    def release(self, name: str, dag_id: str = "release", *, connection: str | None = None) -> Iterator[Release]:
        """Have everything ready for a release.

        :param name: unique name of the run.
        :param dag_id: which DAG to run.
        :param connection: id of the connection by which it finds the service, if not the usual one.
        """
        with self.service() as (service, lane):
            release = Release(self.stack, service, lane, name, dag_id, connection or lane.connection)
            release.digest = put_weights(self.stack.s3_url, name)
            yield release

    @contextmanager
    def many_releases(self, names: Sequence[str]) -> Iterator[list[Release]]:
        """Have everything ready for a release of each of these names."""
        with ExitStack() as releases:
            yield [releases.enter_context(self.release(name)) for name in names]


@dataclass
class Release:
    """A run of the release DAG.

    :param name: unique name of the run.
    :param dag_id: which DAG it is a run of.
    :param connection: id of the connection by which it finds the service.
    :ivar digest: SHA-256 of the weights that it releases.
    """

    stack: Stack
    service: Service
    lane: ReleaseLane
    name: str
    dag_id: str
    connection: str
    digest: str = ""
    began: float = field(default_factory=time.monotonic)

    def start(self) -> Self:
        """Start the run."""
        conf = {
            "connection": self.connection,
            "endpoint_id": self.service.endpoint_id,
            "weight_uri": f"s3://{BUCKET}/{self.name}",
        }
        self.stack.trigger(self.dag_id, self.name, conf)
        return self

    def task(self, task: str) -> TaskLook | None:
        """Read how far a task of the group has come; None as long as there is none."""
        found = self.stack.look_at_task(self.name, f"release.{task}")
        return found[0] if found else None

    def wait_until(self, what: str, is_so: Callable[[], bool], *, seconds: float = STEP_SECONDS) -> None:
        """Wait for something that must come; a run that has ended instead is told at once."""

        def is_so_or_ended() -> bool:
            if is_so():
                return True
            if (state := self.stack.run_state(self.name)) in ENDED:
                assert is_so(), f"{self.name}: the run has ended ({state}) before {what}: {self.states()}"
            return False

        self.stack.wait_until(f"{self.name}: {what}", is_so_or_ended, timeout=seconds)

    def wait_until_held(self, operation: str) -> None:
        """Wait until the service holds a request of a call."""
        self.wait_until(f"a held {operation}", lambda: bool(self.service.requests(operation, stage="held")))

    def wait_until_deferred(self, task: str, *, attempt: int = 1) -> TaskLook:
        """Wait until a triggerer holds a task's wait, and has asked for it.

        :param attempt: number of the attempt, or a later one.
        """
        held: TaskLook | None = None
        before: int | None = None

        def is_held() -> bool:
            nonlocal before, held
            held = self.task(task)
            if held is None or held.state != "deferred" or held.triggerer is None or held.tries < attempt:
                before = None
                return False
            asked = self.service.asked(LOOKS[task])
            before = asked if before is None else before
            return asked > before

        self.wait_until(f"{task} to be deferred", is_held)
        assert held is not None
        return held

    def wait_until_polled(self, task: str) -> None:
        """Wait until the service is asked once more about what a task waits for."""
        asked = self.service.asked(LOOKS[task])
        self.wait_until(f"another poll of {task}", lambda: self.service.asked(LOOKS[task]) > asked)

    def wait_for_end(self) -> str:
        """Let every wait come to its end until the run has, and return its state."""
        waiting: str | None = None
        since = time.monotonic()

        def has_ended() -> bool:
            nonlocal waiting, since
            if self.stack.run_state(self.name) in ENDED:
                return True
            deferred = next((name for name in LOOKS if (task := self.task(name)) and task.state == "deferred"), None)
            if deferred != waiting:
                waiting, since = deferred, time.monotonic()
            elif waiting is not None and time.monotonic() - since >= NOTICED_SECONDS:
                self.service.complete()
            return False

        self.stack.wait_until(f"{self.name}: the end of the run", has_ended, timeout=2 * STEP_SECONDS)
        return str(self.stack.run_state(self.name))

    def conclude(self, *, versions: tuple[int, ...] = (1,)) -> dict[str, Any]:
        """Wait for the end of the run, and see that nothing was done twice or lost.

        :param versions: the numbers of all versions that there must be in the end; the last one must serve. They count
            up from 1 and are never given again.
        :return: figures for the report.
        """
        state = self.wait_for_end()
        assert state == "success", f"the run has ended as {state}: {self.states()}"
        names = [self.service.version_name(number) for number in versions]
        there = self.service.versions()
        assert list(there) == names, f"there are the versions {list(there)}, must be {names}"
        deployments = self.service.deployments()
        assert [each.model_version for each in deployments] == names[-1:], f"the deployments are {deployments}"
        assert self.service.serving() == names[-1]
        assert [name for name, each in there.items() if "prod" in each.aliases] == names[-1:]
        assert there[names[-1]].weights_digest == self.digest, "other weights serve than those that were released"
        self.stack.wait_until(
            f"{self.name}: what the group returns", lambda: self._released() is not None, timeout=STEP_SECONDS
        )
        record = self._released()
        assert record["outcome"] == "released"
        assert record["model_version"] == record["serves_now"] == names[-1]
        assert record["deployment_id"] == deployments[0].deployment_id
        return {
            "versions": len(there),
            "deployments": len(deployments),
            "attempts": {name: task.tries for name in TASKS if (task := self.task(name)) and task.tries > 1},
        }

    def states(self) -> dict[str, str | None]:
        """The states of the group's tasks, for people."""
        return {name: task.state for name in TASKS if (task := self.task(name))}

    def _released(self) -> Any:
        return self.stack.xcom(self.name, "release.conclude")


LOOKS = {"upload": "get_model_version", "wait_for_sync": "get_model_version", "wait_for_rollout": "get_endpoint"}
"""The tasks that may be deferred, each with the request by which its wait goes on."""


def put_weights(s3_url: str, name: str) -> str:
    """Put weights of their own for a name into the bucket, and return their SHA-256."""
    # Told apart by what is in them, since a release must serve its own.
    weights = save({"weight": np.frombuffer(hashlib.sha256(name.encode()).digest(), dtype=np.uint8)})
    with httpx.Client(base_url=s3_url, trust_env=False) as s3:
        s3.put(f"/{BUCKET}").raise_for_status()
        s3.put(f"/{BUCKET}/{name}/model.safetensors", content=weights).raise_for_status()
        s3.put(f"/{BUCKET}/{name}/config.json", content=b'{"model_type": "drill"}').raise_for_status()
    return hashlib.sha256(weights).hexdigest()
