"""A service without sockets: the emulator's application, called in the test's own thread, and what can go wrong."""

from __future__ import annotations

import asyncio
import json
from contextlib import closing
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

import httpx

from airflow_provider_cerebras.api.client import CerebrasClient, ClientSettings
from airflow_provider_cerebras.durable.deployments import Deploy, Rollout
from airflow_provider_cerebras.durable.identity import Identity
from airflow_provider_cerebras.durable.task_state import TaskState
from airflow_provider_cerebras.durable.upload_steps import UploadRequest
from airflow_provider_cerebras.durable.uploads import Upload
from airflow_provider_cerebras.emulator.api.operations import OperationName, operation_of
from airflow_provider_cerebras.emulator.app import create_app
from airflow_provider_cerebras.emulator.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_cerebras.emulator.app import EmulatorApp

ORG, ARCH, ENDPOINT = "my-org", "gpt-oss-120b", "my-org-gpt-oss-120b"
URI = "s3://weights/run-1"
KEY = "emulator-management-key"
BASE = "0123456789" * 4
FIRST = Identity(base=BASE, generation=0, attempt=1)
RETRY = Identity(base=BASE, generation=0, attempt=2)
CLEARED = Identity(base=BASE, generation=1, attempt=2)
STRANGER = Identity(base="f" * 40, generation=0, attempt=1)


def name(version_id: int | str) -> str:
    return f"orgs/{ORG}/models/{ARCH}/versions/{version_id}"


def request(identity: Identity | None = FIRST, *aliases: str, **changes: Any) -> UploadRequest:
    """What an attempt wants uploaded."""
    fields = {"org_name": ORG, "model_arch_id": ARCH, "weight_uri": URI, "version_aliases": aliases}
    return UploadRequest(**{**fields, "identity": identity, **changes})


@dataclass
class _Clock:
    now: float = 0

    def __call__(self) -> float:
        return self.now


@cache
def _application(settings: Settings) -> tuple[EmulatorApp, _Clock]:
    # To make one takes longer than most tests.
    clock = _Clock()
    return create_app(settings, clock), clock


class Service:
    """The emulator with a clock that stands still, and the service's state for the test to look at and to change."""

    def __init__(self, **settings: Any) -> None:
        self.settings = Settings(**{"sync_seconds": 100, "rollout_seconds": 100, **settings})
        self._app, self._clock = _application(self.settings)
        self.now = 1_000_000.0
        self._app.emulator.reset()
        self._transport = httpx.ASGITransport(self._app)
        self._loop = asyncio.new_event_loop()
        self.read_lag = 0.0
        """Seconds for which a new version is not found."""
        self._made_at: dict[str, float] = {}

    @property
    def now(self) -> float:
        return self._clock.now

    @now.setter
    def now(self, now: float) -> None:
        self._clock.now = now

    def close(self) -> None:
        self._loop.close()

    def answer(self, request: httpx.Request) -> httpx.Response:
        """Do what a request asks for."""

        async def call() -> httpx.Response:
            response = await self._transport.handle_async_request(
                httpx.Request(request.method, request.url, headers=request.headers, content=request.content)
            )
            return httpx.Response(response.status_code, headers=response.headers, content=await response.aread())

        response = self._loop.run_until_complete(call())
        return self._lagging(request, response) if self.read_lag else response

    def _lagging(self, request: httpx.Request, response: httpx.Response) -> httpx.Response:
        operation = operation_of(request.method, request.url.path)
        if not response.is_success or operation not in (
            OperationName.UPLOAD_MODEL_VERSION,
            OperationName.GET_MODEL_VERSION,
        ):
            return response
        made = response.json()["name"]
        if operation is OperationName.UPLOAD_MODEL_VERSION:
            self._made_at[made] = self.now
        elif self.now < self._made_at.get(made, 0) + self.read_lag:
            return httpx.Response(404, json={"detail": "Model version not found"})
        return response

    def api(self, method: str, path: str, body: object = None) -> Any:
        """Send a request as another client would."""
        request = httpx.Request(
            method, f"http://127.0.0.1/management/v1{path}", headers={"Authorization": f"Bearer {KEY}"}, json=body
        )
        response = self.answer(request)
        assert response.is_success, response.text
        return response.json()

    def upload(self, weight_uri: str, *aliases: str, fail: bool = False) -> str:
        """Upload as another client would."""
        if fail:
            self.api_control("/faults", {"operation": "upload_model_version", "fail_sync": "weights are broken"})
        model = {"weight_uri": weight_uri, "version_aliases": aliases}
        made: str = self.api("POST", f"/orgs/{ORG}/models:upload", {"model_arch_id": ARCH, "model": model})["name"]
        if fail:
            self.now += self.settings.sync_seconds
        return made

    def deploy(self, model_version: str, *, fail: bool = False) -> str:
        """Deploy as another client would."""
        if fail:
            self.api_control("/faults", {"operation": "deploy_model", "fail_rollout": "out of memory"})
        made: str = self.api("POST", f"/endpoints/{ENDPOINT}:deployModel", {"model": model_version})["name"]
        return made

    def all_deployments(self) -> list[str]:
        """UUID of each deployment, listed or not, oldest first; but for those that were superseded."""
        return [each.deployment_id for each in self._app.emulator.service.endpoint(ENDPOINT).deployments]

    def api_control(self, path: str, body: object) -> None:
        response = self.answer(httpx.Request("POST", f"http://127.0.0.1/_emulator{path}", json=body))
        assert response.is_success, response.text

    def set_aliases(self, model_version: str, *aliases: str) -> None:
        self.api("PATCH", f"/{model_version}", {"version_aliases": aliases})

    def delete(self, model_version: str) -> None:
        self.api("DELETE", f"/{model_version}")

    def aliases(self) -> dict[int, list[str]]:
        """The aliases of each version, by its number."""
        versions = self.api("GET", f"/orgs/{ORG}/models/{ARCH}/versions")["model_versions"]
        return {int(each["name"].rpartition("/")[2]): each["response"]["version_aliases"] for each in versions}

    def deployments(self) -> list[tuple[str, str]]:
        """UUID and version of each deployment, oldest first."""
        listed = self.api("GET", f"/endpoints/{ENDPOINT}")["deployed_models"]
        return [(each["id"], each["model"]) for each in listed]


def broken(kind: str) -> httpx.Response | BaseException:
    """What the client gets to see instead of the answer."""
    ends: dict[str, httpx.Response | BaseException] = {
        "dropped": httpx.RemoteProtocolError("Server disconnected without sending a response."),
        "reset": httpx.ReadError("Connection reset by peer"),
        "timeout": httpx.ReadTimeout("timed out"),
        "500": httpx.Response(500, json={"detail": "internal error"}),
        "503": httpx.Response(503, text="upstream"),
        "502": httpx.Response(502, text="<html><body>Bad Gateway</body></html>"),
        "408": httpx.Response(408),
        "garbage": httpx.Response(200, content=b'{"name": "or'),
        "other": httpx.Response(200, json={"hello": "world"}),
    }
    return ends[kind]


@dataclass
class Mishap:
    """One thing that happens to one request.

    :param operation: the call that it happens to.
    :param end: what the client gets to see, or None for the service's own answer.
    :param worked: whether the service acts on the request.
    :param meanwhile: what another client does just before the request arrives.
    :param skip: how many requests of that kind pass first.
    :param times: to how many requests it happens.
    """

    operation: OperationName
    end: httpx.Response | BaseException | None = None
    worked: bool = True
    meanwhile: Callable[[], object] | None = None
    skip: int = 0
    times: int = 1

    def hits(self, operation: OperationName | None) -> bool:
        if operation is not self.operation or not self.times:
            return False
        if self.skip:
            self.skip -= 1
            return False
        self.times -= 1
        return True


@dataclass
class Network(httpx.BaseTransport):
    """The way from one client to the service.

    :ivar sent: operation, last part of the path and body of each request.
    """

    service: Service
    mishaps: list[Mishap] = field(default_factory=list)
    sent: list[tuple[str, str, Any]] = field(default_factory=list)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        operation = operation_of(request.method, request.url.path)
        body = json.loads(request.content) if request.content else None
        self.sent.append((str(operation), request.url.path.rpartition("/")[2], body))
        mishap = next((each for each in self.mishaps if each.hits(operation)), None)
        if mishap is None:
            return self.service.answer(request)
        if mishap.meanwhile:
            mishap.meanwhile()
        answer = self.service.answer(request) if mishap.worked else None
        if isinstance(mishap.end, BaseException):
            raise mishap.end
        if mishap.end is not None:
            return httpx.Response(mishap.end.status_code, headers=mishap.end.headers, content=mishap.end.content)
        assert answer is not None
        return answer

    def count(self, operation: str) -> int:
        return [each for each, _, _ in self.sent].count(operation)


class Store:
    """As much of Airflow's task state store as is used; it lives as long as the task run."""

    def __init__(self) -> None:
        self.content: dict[str, Any] = {}

    def get(self, key: str) -> Any:
        return self.content.get(key)

    def set(self, key: str, value: Any) -> None:
        self.content[key] = json.loads(json.dumps(value))


class Journal:
    """A log to read."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, message: str, /, *args: object) -> None:
        self.lines.append(message % args)

    warning = info

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


def memory_of(store: Store | None, key: str, fingerprint: str) -> TaskState:
    context: Any = {} if store is None else {"task_state_store": store}
    return TaskState(context, key=key, fingerprint=fingerprint)


@dataclass
class Attempt:
    """One attempt of a task, and what is left of it to look at."""

    service: Service
    mishaps: list[Mishap] = field(default_factory=list)
    store: Store | None = None
    journal: Journal = field(default_factory=Journal)
    pauses: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.network = Network(self.service, self.mishaps)

    def client(self) -> CerebrasClient:
        settings = ClientSettings(management_key=KEY, base_url="http://127.0.0.1")
        return CerebrasClient(settings, transport=self.network, sleep=lambda seconds: None)

    def deploy(self, model_version: str, *, durable: bool = True, run_started: float | None = None) -> str:
        """Run a deployment, and give its UUID; the seconds that it spends pass for the service as well.

        :param run_started: for a retry: when the DAG run began.
        """
        with closing(self.client()) as client:
            deploy = Deploy(
                self.rollout(client),
                model_version,
                durable=durable,
                task_state=memory_of(self.store, "cerebras_deployment", "deployment"),
                run_started=run_started,
            )
            return deploy.run().deployment_id

    def rollout(self, client: CerebrasClient) -> Rollout:
        """The endpoint, as this attempt sees it."""
        return Rollout(client, ENDPOINT, log=self.journal, sleep=self.pass_time, clock=lambda: self.service.now)

    def pass_time(self, seconds: float) -> None:
        """Spend seconds that pass for the service as well."""
        self.pauses.append(seconds)
        self.service.now += seconds

    def upload(self, request: UploadRequest) -> str:
        """Run an upload, and give the name of the version."""
        fingerprint = request.identity.alias if request.identity else ""
        with closing(self.client()) as client:
            upload = Upload(
                client,
                request,
                task_state=memory_of(self.store, "cerebras_upload", fingerprint),
                log=self.journal,
                sleep=self.pass_time,
            )
            return upload.run().name
