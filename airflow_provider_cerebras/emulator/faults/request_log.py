"""The log of requests and of the stage that each has reached."""

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
    """A request as it was received, and its outcome."""

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
    """Return a request's body for the log."""
    try:
        return json.loads(body) if body else None
    except (ValueError, RecursionError):
        return body


def decoded_headers(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return a request's headers by their lower-case names."""
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
        """Log a request that was received.

        :param request: The fields of :class:`LoggedRequest` that are known so far.
        """
        entry = LoggedRequest(index=self._count, time=self._clock(), **request)
        self._count += 1
        self._requests.append(entry)
        self._notify()
        return entry

    def update(self, entry: LoggedRequest, stage: Stage, status: int | None = None) -> None:
        """Log the stage that a request has reached.

        :param status: The status of the response, if there was one.
        """
        entry.stage = stage
        entry.worked = entry.worked or stage is Stage.WORKED
        entry.status = status
        self._notify()

    def clear(self) -> None:
        """Remove all requests, and count from 0 again."""
        self._requests.clear()
        self._count = 0

    def close(self) -> None:
        """Wake all waiters."""
        self._closed = True
        self._notify()

    def select(
        self, operation: OperationName | None = None, stage: Stage | None = None, newest: int | None = None
    ) -> list[LoggedRequest]:
        """Return the requests of a call and at a stage, oldest first; None is any.

        :param newest: Return at most this number, the newest ones.
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
        """Return what :meth:`select` does, as soon as there is a request.

        :param seconds: Real time to wait before it returns without one.
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
