"""Attempts, faults, clears, kills and other people in every order, one request at a time.

Each attempt runs the real upload in a thread of its own, and stops at every request until the machine lets it go on,
so one thread runs at any time and a run can be repeated exactly. What reaches the service, and what of the answer
comes back, is up to the machine: also a request that arrives long after its sender has died.

Left out is a client that takes our identity off a version that is alive: nothing could tell whose that version is.
"""

from __future__ import annotations

import json
import queue
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from airflow_provider_cerebras.api.client import CerebrasClient, ClientSettings
from airflow_provider_cerebras.api.errors import CerebrasError
from airflow_provider_cerebras.durable.identity import OWN_ALIAS, Identity
from airflow_provider_cerebras.durable.upload_steps import UploadRequest
from airflow_provider_cerebras.durable.uploads import Upload
from airflow_provider_cerebras.emulator.api.operations import OperationName, operation_of
from airflow_provider_cerebras.exceptions import AliasesUnsettled, AliasInUse, IdentityInUse
from tests.unit.durable.world import (
    ARCH,
    KEY,
    ORG,
    Journal,
    Service,
    Store,
    broken,
    memory_of,
    name,
)

if TYPE_CHECKING:
    from collections.abc import Callable

USER_ALIASES = ["latest", "prod"]
SYNC = 100.0


class Killed(BaseException):
    """The process of an attempt is gone. No code of ours may hold it up."""


class Turnstile(httpx.BaseTransport):
    """Hands each request to the machine, and waits for what it makes of it."""

    def __init__(self) -> None:
        self.events: queue.SimpleQueue[httpx.Request | None] = queue.SimpleQueue()
        self.answers: queue.SimpleQueue[httpx.Response | BaseException] = queue.SimpleQueue()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.events.put(request)
        answer = self.answers.get()
        if isinstance(answer, BaseException):
            raise answer
        return answer


@dataclass(eq=False)
class Running:
    """An attempt at work.

    :ivar pending: the request that it waits for, or None once it has ended.
    :ivar result: name of the version that it ended with.
    :ivar error: what else it ended in.
    """

    request: UploadRequest
    store: Store | None
    pending: httpx.Request | None = None
    result: str | None = None
    error: BaseException | None = None
    turnstile: Turnstile = field(default_factory=Turnstile)

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._wait()

    def go_on(self, answer: httpx.Response | BaseException) -> None:
        self.turnstile.answers.put(answer)
        self._wait()

    def _wait(self) -> None:
        self.pending = self.turnstile.events.get()
        if self.pending is None:
            self._thread.join()

    def _run(self) -> None:
        try:
            self.result = upload(self.request, self.turnstile, self.store)
        except BaseException as error:  # noqa: BLE001  the machine looks into it
            self.error = error
        self.turnstile.events.put(None)


def upload(request: UploadRequest, transport: httpx.BaseTransport, store: Store | None) -> str:
    assert request.identity is not None
    settings = ClientSettings(management_key=KEY, base_url="http://127.0.0.1", max_retries=1)
    memory = memory_of(store, "cerebras_upload", request.identity.alias)
    with CerebrasClient(settings, transport=transport, sleep=lambda seconds: None) as client:
        return Upload(client, request, task_state=memory, log=Journal(), sleep=lambda seconds: None).run().name


@dataclass
class Task:
    """A task run: what stays the same for all of its attempts."""

    number: int
    aliases: tuple[str, ...]
    move_aliases: bool
    store: Store | None
    generation: int = 0
    tries: int = 0

    @property
    def weight_uri(self) -> str:
        return f"s3://weights/task-{self.number}"

    @property
    def identity(self) -> Identity:
        return Identity(base=f"{self.number}" * 40, generation=self.generation, attempt=self.tries)

    def next_attempt(self) -> UploadRequest:
        self.tries += 1
        return UploadRequest(
            org_name=ORG,
            model_arch_id=ARCH,
            weight_uri=self.weight_uri,
            version_aliases=self.aliases,
            move_aliases=self.move_aliases,
            identity=self.identity,
            claims=self.number == 1,
        )


TASKS = st.lists(
    st.tuples(st.lists(st.sampled_from(USER_ALIASES), unique=True), st.booleans(), st.booleans()),
    min_size=1,
    max_size=2,
)


class Uploads(RuleBasedStateMachine):
    """Whatever happens, a task run has one live version, and all its attempts name that one."""

    def __init__(self) -> None:
        super().__init__()
        self.running: list[Running] = []
        self.ended: list[Running] = []
        self.in_flight: list[httpx.Request] = []
        self.made: dict[str, tuple[str, list[str]]] = {}
        """Weights and aliases of each upload that the service has followed, by the version's name."""
        self.planted: dict[str, str] = {}
        """The identity that each version carries which another client has given it, by the version's name."""

    @initialize(tasks=TASKS, status=st.sampled_from([409, 400, 422]))
    def begin(self, tasks: list[tuple[list[str], bool, bool]], status: int) -> None:
        self.service = Service(sync_seconds=SYNC, alias_clash_status=status)
        self.tasks = [
            Task(number, tuple(aliases), move, Store() if stored else None)
            for number, (aliases, move, stored) in enumerate(tasks, 1)
        ]

    def teardown(self) -> None:
        if not hasattr(self, "service"):
            return
        try:
            self.check_that_all_comes_to_rest()
        finally:
            for attempt in self.running:
                attempt.go_on(Killed())
            self.service.close()

    # What attempts do, and what becomes of it.

    @rule(data=st.data())
    def start(self, data: st.DataObject) -> None:
        """Airflow starts an attempt: the first one, a retry, or one beside another that is not dead after all."""
        task = data.draw(st.sampled_from(self.tasks))
        self.settle(Running(task.next_attempt(), task.store), lambda attempt: attempt.start())

    @precondition(lambda self: self.running)
    @rule(data=st.data(), times=st.just(20))
    def finish(self, data: st.DataObject, times: int) -> None:
        """One attempt is answered until it has ended."""
        self.go_on(data, times)

    @precondition(lambda self: self.running)
    @rule(data=st.data(), times=st.integers(1, 4))
    def go_on(self, data: st.DataObject, times: int) -> None:
        """Some requests of one attempt are answered."""
        attempt = self.an_attempt(data)
        for _ in range(times):
            if attempt.pending is not None:
                answer = self.serve(attempt.pending)
                self.settle(attempt, lambda each, answer=answer: each.go_on(answer))  # type: ignore[misc]

    @precondition(lambda self: self.running)
    @rule(
        data=st.data(),
        kind=st.sampled_from(["dropped", "timeout", "503", "502", "garbage"]),
        fate=st.sampled_from(["lost", "done", "late"]),
    )
    def fail(self, data: st.DataObject, kind: str, fate: str) -> None:
        """A request ends in doubt: it was not followed, it was, or it will be."""
        attempt = self.an_attempt(data)
        self.dispose_of(attempt, fate)
        self.settle(attempt, lambda each: each.go_on(broken(kind)))

    @precondition(lambda self: self.running)
    @rule(data=st.data(), fate=st.sampled_from(["lost", "done", "late"]))
    def kill(self, data: st.DataObject, fate: str) -> None:
        """The process of an attempt is killed in the middle of a request."""
        attempt = self.an_attempt(data)
        self.dispose_of(attempt, fate)
        self.settle(attempt, lambda each: each.go_on(Killed()))

    @precondition(lambda self: self.in_flight)
    @rule(data=st.data())
    def arrive(self, data: st.DataObject) -> None:
        """A request that its sender has long given up reaches the service."""
        self.serve(self.in_flight.pop(data.draw(st.integers(0, len(self.in_flight) - 1))))

    # What others do.

    @rule(data=st.data())
    def clear(self, data: st.DataObject) -> None:
        """A user clears a task; attempts of before may still be at work."""
        data.draw(st.sampled_from(self.tasks)).generation += 1

    @rule(data=st.data())
    def lose_the_store(self, data: st.DataObject) -> None:
        """What a task remembers is gone."""
        task = data.draw(st.sampled_from(self.tasks))
        if task.store is not None:
            task.store.content.clear()

    @rule()
    def finish_syncs(self) -> None:
        """The service has copied all weights."""
        self.service.now += SYNC

    @rule()
    def fail_the_next_sync(self) -> None:
        """The next upload will fail to sync."""
        self.service.api_control("/faults", {"operation": "upload_model_version", "fail_sync": "broken"})

    @precondition(lambda self: self.made)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        """Another client deletes a version."""
        if numbers := sorted(self.service.aliases()):
            self.service.delete(name(data.draw(st.sampled_from(numbers))))

    @rule(alias=st.sampled_from(USER_ALIASES))
    def take_an_alias(self, alias: str) -> None:
        """Another client moves an alias to a version of their own."""
        for number, aliases in self.service.aliases().items():
            if alias in aliases:
                self.service.set_aliases(name(number), *(each for each in aliases if each != alias))
        self.service.upload("s3://weights/other-client", alias)

    @rule(alias=st.sampled_from(USER_ALIASES))
    def free_an_alias(self, alias: str) -> None:
        """Another client takes an alias off whatever holds it."""
        for number, aliases in self.service.aliases().items():
            if alias in aliases:
                self.service.set_aliases(name(number), *(each for each in aliases if each != alias))

    @rule(data=st.data())
    def plant(self, data: st.DataObject) -> None:
        """Another client gives a version of other weights the alias of a task run."""
        task = data.draw(st.sampled_from(self.tasks))
        alias = task.identity.alias
        if not any(alias in aliases for aliases in self.service.aliases().values()):
            self.planted[self.service.upload("s3://elsewhere/other", alias)] = alias

    @rule(lag=st.sampled_from([0.0, 30.0]))
    def lag(self, lag: float) -> None:
        """The service does not show for a while what was made."""
        self.service.read_lag = lag

    # What must be true.

    @invariant()
    def what_others_have_planted_is_not_touched(self) -> None:
        if not hasattr(self, "service"):
            return
        for number, aliases in self.service.aliases().items():
            if alias := self.planted.get(name(number)):
                assert aliases == [alias]

    @invariant()
    def never_two_live_versions_of_one_identity(self) -> None:
        if not hasattr(self, "service"):
            return
        seen: dict[str, str] = {}
        for version in self.live():
            for identity in self.identities(version):
                assert identity not in seen, f"{seen[identity]} and {version} were both made for {identity}"
                seen[identity] = version

    @invariant()
    def nobody_holds_an_identity_that_it_was_not_made_for(self) -> None:
        if not hasattr(self, "service"):
            return
        for number, aliases in self.service.aliases().items():
            for alias in aliases:
                if name(number) not in self.planted and (match := OWN_ALIAS.fullmatch(alias)):
                    assert f"airflow-{match[1]}-{match[2]}" in self.identities(name(number))

    def check_end(self, attempt: Running) -> None:
        """An attempt that has ended has adopted or made what is its own, or says that it does not know."""
        identity = attempt.request.identity
        assert identity is not None
        if attempt.result is None:
            errors = CerebrasError | AliasInUse | AliasesUnsettled | IdentityInUse | Killed
            assert isinstance(attempt.error, errors), repr(attempt.error)
            if isinstance(attempt.error, IdentityInUse):
                assert identity.alias in self.planted.values()
            return
        weight_uri, aliases = self.made[attempt.result]
        assert weight_uri == attempt.request.weight_uri
        assert identity.alias in aliases

    def check_that_all_comes_to_rest(self) -> None:
        """A last retry of each task, left alone, ends with the version that all its attempts have ended with."""
        for late in self.in_flight:
            self.serve(late)
        self.service.answer(httpx.Request("DELETE", "http://127.0.0.1/_emulator/faults"))
        for attempt in list(self.running):
            while attempt.pending is not None:
                answer = self.serve(attempt.pending)
                self.settle(attempt, lambda each, answer=answer: each.go_on(answer))  # type: ignore[misc]
        self.finish_syncs()
        self.service.read_lag = 0.0
        for task in self.tasks:
            request = task.next_attempt()
            assert request.identity is not None
            try:
                last = upload(request, Recorder(self), task.store)
            except AliasInUse:
                assert not task.move_aliases
                assert self.somebody_else_holds(task)
                continue
            except IdentityInUse:
                assert any(
                    request.identity.alias in aliases
                    for number, aliases in self.service.aliases().items()
                    if name(number) in self.planted
                )
                continue
            aliases = self.service.aliases()[int(last.rpartition("/")[2])]
            # The newest attempt has all that was asked for: whatever was in its way is gone or was moved.
            assert {request.identity.alias, *task.aliases} <= set(aliases)
            assert last in self.live()
            live = self.live()
            named = {
                each.result
                for each in self.ended
                if each.request.identity is not None
                and each.request.identity.alias == request.identity.alias
                and each.result in live
            }
            assert named <= {last}
            if task.generation:
                # One of before the clear, which comes to life late, takes nothing from it.
                task.generation -= 1
                with suppress(AliasInUse, IdentityInUse):
                    upload(task.next_attempt(), Recorder(self), None)
                assert self.service.aliases()[int(last.rpartition("/")[2])] == aliases
            self.never_two_live_versions_of_one_identity()

    def somebody_else_holds(self, task: Task) -> bool:
        """Whether a version that the task has not made holds an alias that it wants."""
        return any(
            set(task.aliases) & set(aliases) and self.made.get(name(number), ("", []))[0] != task.weight_uri
            for number, aliases in self.service.aliases().items()
        )

    # How it is done.

    def an_attempt(self, data: st.DataObject) -> Running:
        return self.running[data.draw(st.integers(0, len(self.running) - 1))]

    def settle(self, attempt: Running, act: Callable[[Running], None]) -> None:
        act(attempt)
        if attempt.pending is not None:
            if attempt not in self.running:
                self.running.append(attempt)
            return
        if attempt in self.running:
            self.running.remove(attempt)
        self.ended.append(attempt)
        self.check_end(attempt)

    def dispose_of(self, attempt: Running, fate: str) -> None:
        assert attempt.pending is not None
        if fate == "done":
            self.serve(attempt.pending)
        elif fate == "late":
            self.in_flight.append(attempt.pending)

    def serve(self, request: httpx.Request) -> httpx.Response:
        response = self.service.answer(request)
        if response.is_success and operation_of(request.method, request.url.path) is OperationName.UPLOAD_MODEL_VERSION:
            model = json.loads(request.content)["model"]
            self.made[response.json()["name"]] = (model["weight_uri"], model["version_aliases"])
        return response

    def identities(self, version: str) -> set[str]:
        _, aliases = self.made.get(version, ("", []))
        return {alias for alias in aliases if (match := OWN_ALIAS.fullmatch(alias)) and match[3] is None}

    def live(self) -> list[str]:
        """Versions that have neither failed nor been deleted."""
        versions: list[dict[str, Any]] = self.service.api("GET", f"/orgs/{ORG}/models/{ARCH}/versions")[
            "model_versions"
        ]
        return [each["name"] for each in versions if "error" not in each]


class Recorder(httpx.BaseTransport):
    """The way to the service for an undisturbed attempt."""

    def __init__(self, machine: Uploads) -> None:
        self._machine = machine

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return self._machine.serve(request)


TestUploads = Uploads.TestCase
TestUploads.settings = settings(
    max_examples=80,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
