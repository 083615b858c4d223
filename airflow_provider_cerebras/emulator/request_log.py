"""Every request that came in, and how far it got."""

# ruff: noqa: TC001  FastAPI and pydantic evaluate annotations at run time

from __future__ import annotations

import asyncio
import json
from collections import deque
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from airflow_provider_cerebras.emulator.operations import OperationName

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_cerebras.emulator.service import Clock

CAPACITY = 100_000
"""Requests that are remembered; beyond it the oldest are forgotten."""

_SECRET_HEADERS = {"authorization", "proxy-authorization", "cookie"}


class Stage(StrEnum):
    """How far a request got."""

    RECEIVED = "received"
    WORKED = "worked"
    HELD = "held"
    ANSWERED = "answered"
    DROPPED = "dropped"


class LoggedRequest(BaseModel):
    """A request as it came in, and what became of it."""

    model_config = ConfigDict(validate_assignment=True)

    index: int = Field(description="Counts up from 0.")
    time: float = Field(description="When it came in, in Unix seconds of the emulator's clock.")
    request_id: str = Field(description="The x-request-id of the answer.")
    method: str
    path: str = Field(description="As it was sent, percent-encoded.")
    operation: OperationName | None = Field(description="Null if it is none of the calls.")
    query: str
    headers: dict[str, str] = Field(description="Lower-case names; credentials are masked.")
    body: Any = Field(description="Parsed if it is JSON, else text; null if there is none.")
    stage: Stage = Stage.RECEIVED
    worked: bool = Field(False, description="Whether the service did the work.")
    status: int | None = Field(None, description="Status that was answered, if any.")


def readable_body(body: bytes) -> Any:
    """A request's body for the log."""
    try:
        return json.loads(body) if body else None
    except (ValueError, RecursionError):
        return body.decode(errors="replace")


def masked_headers(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """A request's headers for the log, without credentials."""
    decoded = ((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in headers)
    return {name: "***" if name in _SECRET_HEADERS else value for name, value in decoded}


class RequestLog:
    """The requests, oldest first.

    :param clock: Gives the time in Unix seconds.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._requests: deque[LoggedRequest] = deque(maxlen=CAPACITY)
        self._count = 0
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

    def select(self, operation: OperationName | None = None, stage: Stage | None = None) -> list[LoggedRequest]:
        """The requests of a call and at a stage; None is any."""
        return [
            entry for entry in self._requests if operation in {None, entry.operation} and stage in {None, entry.stage}
        ]

    async def wait_for(
        self, operation: OperationName | None, stage: Stage | None, seconds: float
    ) -> list[LoggedRequest]:
        """What :meth:`select` gives, as soon as that is anything.

        :param seconds: Real time after which it is given although it is nothing.
        """
        try:
            async with asyncio.timeout(seconds):
                while not (found := self.select(operation, stage)):
                    await self._changed.wait()
        except TimeoutError:
            return []
        return found

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
