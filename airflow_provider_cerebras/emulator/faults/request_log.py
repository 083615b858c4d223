"""Every request that came in, and how far it got."""

# ruff: noqa: TC001  FastAPI and pydantic evaluate annotations at run time

from __future__ import annotations

import asyncio
import itertools
import json
from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from airflow_provider_cerebras.emulator.api.operations import OperationName

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_cerebras.emulator.service.clock import Clock

CAPACITY = 100_000
"""Requests that are remembered; beyond it the oldest are forgotten."""


class Stage(StrEnum):
    """The stage of a request."""

    RECEIVED = "received"
    WORKED = "worked"
    HELD = "held"
    ANSWERED = "answered"
    DROPPED = "dropped"


@dataclass(slots=True)
class LoggedRequest:
    """A request as it came in, and what became of it."""

    index: Annotated[int, Field(description="Counts up from 0.")]
    time: Annotated[float, Field(description="When it came in, in Unix seconds of the emulator's clock.")]
    request_id: Annotated[str, Field(description="The x-request-id of the answer.")]
    method: str
    path: Annotated[str, Field(description="As it was sent, percent-encoded.")]
    operation: Annotated[OperationName | None, Field(description="Null if it is none of the calls.")]
    organization: Annotated[str | None, Field(description="Whose key it carried; null if the key is unknown.")]
    query: str
    headers: Annotated[dict[str, str], Field(description="Lower-case names; credentials are masked.")]
    body: Annotated[Any, Field(description="Parsed if it is JSON, else text; null if there is none.")]
    stage: Stage = Stage.RECEIVED
    worked: Annotated[bool, Field(description="Whether the service did the work.")] = False
    status: Annotated[int | None, Field(description="Status that was answered, if any.")] = None


def readable_body(body: str) -> Any:
    """A request's body for the log."""
    try:
        return json.loads(body) if body else None
    except (ValueError, RecursionError):
        return body


def decoded_headers(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """A request's headers by their lower-case names."""
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in headers}


class RequestLog:
    """The requests, oldest first.

    :param clock: Gives the time in Unix seconds.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._requests: deque[LoggedRequest] = deque(maxlen=CAPACITY)
        self._count = 0
        self._closed = False
        self._changed = asyncio.Event()

    def add(self, **request: Any) -> LoggedRequest:
        """Note a request that came in.

        :param request: The fields of :class:`LoggedRequest` that are known by then.
        """
        entry = LoggedRequest(index=self._count, time=self._clock(), **request)
        self._count += 1
        self._requests.append(entry)
        self._notify()
        return entry

    def update(self, entry: LoggedRequest, stage: Stage, status: int | None = None) -> None:
        """Note how far a request got.

        :param status: The status that was answered, if any.
        """
        entry.stage = stage
        entry.worked = entry.worked or stage is Stage.WORKED
        entry.status = status
        self._notify()

    def clear(self) -> None:
        """Forget all requests, and count from 0 again."""
        self._requests.clear()
        self._count = 0

    def close(self) -> None:
        """Wake all that wait for requests."""
        self._closed = True
        self._notify()

    def select(
        self, operation: OperationName | None = None, stage: Stage | None = None, newest: int | None = None
    ) -> list[LoggedRequest]:
        """The requests of a call and at a stage, oldest first; None is any.

        :param newest: At most so many, the newest ones.
        """
        found = (
            entry
            for entry in reversed(self._requests)
            if operation in {None, entry.operation} and stage in {None, entry.stage}
        )
        return list(itertools.islice(found, newest))[::-1]

    async def wait_for(
        self, operation: OperationName | None, stage: Stage | None, seconds: float, newest: int | None = None
    ) -> list[LoggedRequest]:
        """What :meth:`select` gives, as soon as that is anything.

        :param seconds: Real time after which it is given although it is nothing.
        """
        try:
            async with asyncio.timeout(seconds):
                while not (found := self.select(operation, stage, newest)) and not self._closed:
                    await self._changed.wait()
        except TimeoutError:
            return []
        return found

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
