"""A service at the other end of httpx: it answers as scripted or by its state, and logs what it was asked."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import httpx

from airflow_provider_cerebras.api.client import DEFAULT_BASE_URL, AsyncCerebrasClient, CerebrasClient, ClientSettings

if TYPE_CHECKING:
    from airflow_provider_cerebras.api.operations import Call

ARCH = "orgs/my-org/models/gpt-oss-120b"
ENDPOINT = "my-org-gpt-oss-120b"
KEY = "mgmt-key-5b1e"

Answer = httpx.Response | Exception


def version(version_id: int | str, arch: str = ARCH) -> str:
    """Full name of a version."""
    return f"{arch}/versions/{version_id}"


@dataclass(frozen=True)
class Asked:
    """A request.

    :ivar at: when, in Unix seconds.
    :ivar method: the HTTP method.
    :ivar path: of what; without what all paths begin with.
    :ivar client: which client sent it, counted from 1.
    :ivar loop: the event loop that it came from, if any.
    :ivar host: the host that it was sent to.
    """

    at: float
    method: str
    path: str
    client: int
    loop: asyncio.AbstractEventLoop | None
    host: str = ""


class FakeService:
    """Knows versions and endpoints, and what goes wrong.

    :param script: answers to give whatever is asked, the last one for ever; without any, the state is told.
    :ivar rows: the versions by full name, each as the service shows it.
    :ivar endpoints: the deployments by endpoint.
    :ivar trouble: what happens instead of the next answers; the path to whom it happens, or None for anyone.
    :ivar down: what happens instead of every answer.
    :ivar down_hosts: the same, for what is sent to a host.
    :ivar unlisted: versions that a list does not show, as that of a replica that lags behind.
    :ivar too_many: whether lists cannot be read, as those that are larger than a client takes.
    :ivar latency: seconds that an answer takes.
    :ivar slow_paths: seconds that it takes instead, by path; what it says is settled when the request comes in.
    :ivar closing_takes: seconds that the closing of a client takes.
    :ivar key: the management key that is let in.
    :ivar log: the requests.
    :ivar most_at_once: by architecture or endpoint, how many requests were under way at the same time at the most.
    :ivar opened: clients that were made.
    :ivar closed: by client, how often it was closed.
    :ivar cut_off: clients that were closed while a request was under way with them.
    """

    def __init__(self, *script: Answer) -> None:
        self._script = list(script)
        self.rows: dict[str, Any] = {}
        self.endpoints: dict[str, list[dict[str, Any]]] = {}
        self.trouble: list[tuple[str | None, Answer]] = []
        self.down: Answer | None = None
        self.down_hosts: dict[str, Answer] = {}
        self.unlisted: set[str] = set()
        self.too_many = False
        self.latency = 0.0
        self.slow_paths: dict[str, float] = {}
        self.closing_takes = 0.0
        self.key = KEY
        self.log: list[Asked] = []
        self.most_at_once: Counter[str] = Counter()
        self.opened = 0
        self.closed: Counter[int] = Counter()
        self.cut_off: set[int] = set()
        self._at_once: Counter[str] = Counter()

    @property
    def paths(self) -> list[str]:
        """What was asked for, in order."""
        return [asked.path for asked in self.log]

    @property
    def moments(self) -> list[float]:
        """When it was asked, in order."""
        return [asked.at for asked in self.log]

    @property
    def pauses(self) -> list[float]:
        """Seconds between one request and the next."""
        return [round(later - earlier, 3) for earlier, later in itertools.pairwise(self.moments)]

    @property
    def open_clients(self) -> int:
        """How many clients were made and not closed."""
        return self.opened - len(self.closed)

    def sync(self, name: str, word: str = "in_progress", *aliases: str, done: bool = False) -> str:
        """Let the sync of a version be so far."""
        self.rows[name] = {
            "name": name,
            "done": done,
            "response": {"sync_status": word, "version_aliases": list(aliases)},
        }
        return name

    def finish(self, name: str, *aliases: str) -> None:
        """Let the sync of a version be at its end."""
        self.sync(name, "done", *aliases, done=True)

    def roll_out(self, deployment_id: str, state: str = "in_progress", endpoint_id: str = ENDPOINT) -> str:
        """Let a deployment be so far."""
        entries = [entry for entry in self.endpoints.get(endpoint_id, []) if entry["id"] != deployment_id]
        self.endpoints[endpoint_id] = [*entries, {"id": deployment_id, "state": state}]
        return deployment_id

    def client(self) -> CerebrasClient:
        """Make a client for a thread."""
        return CerebrasClient(ClientSettings(management_key=self.key), transport=_Line(self))

    async def connect(
        self,
        kind: type[AsyncCerebrasClient] = AsyncCerebrasClient,
        *,
        key: str | None = None,
        base_url: str = DEFAULT_BASE_URL,
    ) -> AsyncCerebrasClient:
        """Make a client for an event loop, by the key that is let in now unless another one is given."""
        settings = ClientSettings(management_key=key or self.key, base_url=base_url)
        return kind(settings, verify=False, transport=_Line(self))

    def answer(self, request: httpx.Request, path: str) -> httpx.Response:
        """Say what it says to a request."""
        if self._script:
            return _given(self._script.pop(0) if len(self._script) > 1 else self._script[0])
        if self.down is not None:
            return _given(self.down)
        if request.url.host in self.down_hosts:
            return _given(self.down_hosts[request.url.host])
        if self.trouble and self.trouble[0][0] in (None, path):
            return _given(self.trouble.pop(0)[1])
        if request.headers["authorization"] != f"Bearer {self.key}":
            return httpx.Response(401, json={"detail": "who are you?"})
        return self._state(path)

    def _state(self, path: str) -> httpx.Response:
        if path.endswith("/versions"):
            if self.too_many:
                # As little use as one that is too large, and not read on a thread, of which virtual time knows none.
                return httpx.Response(200, content=b'{"model_versions": 7}')
            listed = [
                row for name, row in self.rows.items() if name.startswith(f"{path}/") and name not in self.unlisted
            ]
            return httpx.Response(200, json={"model_versions": listed})
        if path.startswith("endpoints/"):
            endpoint_id = path.removeprefix("endpoints/")
            entries = self.endpoints.get(endpoint_id)
            body = {"name": endpoint_id, "deployed_models": entries}
            return httpx.Response(404) if entries is None else httpx.Response(200, json=body)
        for name, row in self.rows.items():
            aliases = row["response"]["version_aliases"]
            if path in (name, *(f"{name.rpartition('/')[0]}/{alias}" for alias in aliases)):
                return httpx.Response(200, json=row)
        return httpx.Response(404, json={"detail": "no such version"})

    def begin(self, asked: Asked) -> None:
        """Note that a request has come."""
        self.log.append(asked)
        collection = asked.path.partition("/versions")[0]
        self._at_once[collection] += 1
        self.most_at_once[collection] = max(self.most_at_once[collection], self._at_once[collection])

    def end(self, asked: Asked) -> None:
        """Note that a request has been answered, or given up."""
        self._at_once[asked.path.partition("/versions")[0]] -= 1


class _Line(httpx.AsyncBaseTransport, httpx.BaseTransport):
    """One client's connection to the service."""

    def __init__(self, service: FakeService) -> None:
        self._service = service
        service.opened += 1
        self._number = service.opened
        self._under_way = 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        asked = Asked(time.time(), request.method, path_of(request), self._number, None, request.url.host)
        self._service.begin(asked)
        self._service.end(asked)
        return self._service.answer(request, asked.path)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        assert self._number not in self._service.closed, "a client was used after it was closed"
        loop = asyncio.get_running_loop()
        asked = Asked(time.time(), request.method, path_of(request), self._number, loop, request.url.host)
        self._service.begin(asked)
        self._under_way += 1
        try:
            if slow := self._service.slow_paths.get(asked.path):
                answer = self._service.answer(request, asked.path)
                await asyncio.sleep(slow)
                return answer
            await asyncio.sleep(self._service.latency)
            return self._service.answer(request, asked.path)
        finally:
            self._under_way -= 1
            self._service.end(asked)

    def close(self) -> None:
        self._service.closed[self._number] += 1

    async def aclose(self) -> None:
        if self._under_way:
            self._service.cut_off.add(self._number)
        await asyncio.sleep(self._service.closing_takes)
        self._service.closed[self._number] += 1


def path_of(asked: httpx.Request | Call[Any]) -> str:
    """What is asked for, without what all paths begin with."""
    path = asked.url.path if isinstance(asked, httpx.Request) else asked.path
    return unquote(path).removeprefix("/management/v1/")


def _given(answer: Answer) -> httpx.Response:
    if isinstance(answer, Exception):
        raise answer
    return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)
