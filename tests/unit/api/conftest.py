"""A network that answers as the test says, and both clients behind one interface."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import httpx
import pytest

from airflow_provider_cerebras.api.client import AsyncCerebrasClient, CerebrasClient, ClientSettings

if TYPE_CHECKING:
    from airflow_provider_cerebras.api.operations import Call

AnswerT = TypeVar("AnswerT")


class Conversation:
    """A client and the network that it talks to.

    :param answers: what each request in turn ends in; the last one goes for all that follow.
    :ivar requests: what arrived.
    :ivar pauses: the seconds that the client wished to sleep.
    """

    def __init__(self, kind: str, settings: ClientSettings, answers: tuple[httpx.Response | Exception, ...]) -> None:
        self._answers = list(answers)
        self.requests: list[httpx.Request] = []
        self.pauses: list[float] = []
        network = httpx.MockTransport(self._respond)
        self.client: CerebrasClient | AsyncCerebrasClient
        if kind == "sync":
            self.client = CerebrasClient(settings, transport=network, sleep=self.pauses.append)
        else:
            self.client = AsyncCerebrasClient(settings, verify=False, transport=network, sleep=self._sleep)

    def send(self, call: Call[AnswerT]) -> AnswerT:
        if isinstance(self.client, CerebrasClient):
            return self.client.send(call)
        return asyncio.run(self.client.send(call))

    def send_once(self, call: Call[AnswerT]) -> AnswerT:
        if isinstance(self.client, CerebrasClient):
            return self.client.send_once(call)
        return asyncio.run(self.client.send_once(call))

    @property
    def request(self) -> httpx.Request:
        """The only request."""
        (request,) = self.requests
        return request

    def _respond(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        # One that was made with its whole body may be given more than once.
        if answer.is_stream_consumed:
            return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)
        return answer

    async def _sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)


class Connect(Protocol):
    def __call__(self, *answers: httpx.Response | Exception, **settings: Any) -> Conversation: ...


@pytest.fixture(params=["sync", "async"])
def connect(request: pytest.FixtureRequest) -> Connect:
    """Make a client, once the sync one and once the async one: ``connect(*answers, **settings)``."""

    def make(*answers: httpx.Response | Exception, **settings: Any) -> Conversation:
        keys = {"management_key": "mgmt-key-5b1e", "inference_key": "inference-key-a94c"}
        return Conversation(request.param, ClientSettings(**{**keys, **settings}), answers)

    return make
