"""The outermost middleware: logs each request, and applies the fault rule that hits it."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.datastructures import MutableHeaders
from starlette.responses import JSONResponse, Response

from airflow_provider_cerebras.emulator.api.error_bodies import error_body
from airflow_provider_cerebras.emulator.api.operations import OperationName, operation_of
from airflow_provider_cerebras.emulator.api.planned_failures import SCOPE_KEY, PlannedFailures
from airflow_provider_cerebras.emulator.faults.matching import RequestDetails
from airflow_provider_cerebras.emulator.faults.request_log import Stage, decoded_headers, readable_body

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from airflow_provider_cerebras.emulator.api.error_bodies import ErrorStyle
    from airflow_provider_cerebras.emulator.core import Emulator
    from airflow_provider_cerebras.emulator.faults.rules import ArmedFault, FaultRule

CONTROL_PREFIX = "/_emulator/"
PAGES = {"/", "/favicon.ico", "/openapi.json"}
"""Paths outside the prefix that are not part of the emulated API either."""

PIECES = 10
"""In so many pieces a slow body is sent."""


_REFUSAL = JSONResponse({"detail": "A page of another site does not control the emulator."}, 403)


class _Dropped(Exception):
    """The request gets no response."""


@dataclass
class _Answer:
    status: int
    headers: MutableHeaders
    body: bytes


class FaultMiddleware:
    """The outermost ASGI application. Requests to the control plane and for the page are neither logged nor hit."""

    def __init__(self, app: ASGIApp, emulator: Emulator) -> None:
        self._app = app
        self._emulator = emulator

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or scope["path"].startswith(CONTROL_PREFIX) or scope["path"] in PAGES:
            refused = scope["type"] == "http" and _from_another_site(scope)
            await (_REFUSAL if refused else self._app)(scope, receive, send)
            return
        body = await _read(receive)
        if body is not None:
            await self._exchange(scope, body, receive, send)

    async def _exchange(self, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
        log, service, masker = self._emulator.log, self._emulator.service, self._emulator.masker()
        headers = decoded_headers(scope["headers"])
        key = service.key(headers.get("authorization", "").removeprefix("Bearer "))
        seen = RequestDetails(
            operation=operation_of(scope["method"], scope["path"]),
            path=scope["path"],
            organization=key and key.org_name,
            headers=headers,
            body=readable_body(masker.text(body.decode(errors="replace"))),
        )
        entry = log.add(
            request_id=str(uuid.uuid4()),
            method=scope["method"],
            path=masker.text(scope.get("raw_path", scope["path"].encode()).decode("latin-1")),
            operation=seen.operation,
            organization=seen.organization,
            query=masker.text(scope["query_string"].decode("latin-1")),
            headers=masker.headers(headers),
            body=seen.body,
        )
        fault = self._emulator.faults.take(seen)

        planned = PlannedFailures(fault.rule.fail_sync, fault.rule.fail_rollout) if fault else PlannedFailures()

        async def work() -> _Answer:
            answer = await _call(self._app, {**scope, SCOPE_KEY: planned}, body, receive)
            log.update(entry, Stage.WORKED)
            return answer

        async def interfere(fault: ArmedFault) -> None:
            if fault.rule.hold:
                log.update(entry, Stage.HELD)
            await fault.wait()
            if fault.rule.drop or fault.abandoned:
                raise _Dropped

        try:
            answer = await _answer(fault, self._style(seen.operation), work, interfere)
        except _Dropped:
            log.update(entry, Stage.DROPPED)
            await _close_connection(receive, send)
            return
        answer.headers.setdefault("x-request-id", entry.request_id)
        log.update(entry, Stage.ANSWERED, answer.status)
        await _send(answer, send, fault)
        if fault is not None and fault.rule.truncate:
            await _close_connection(receive, send)

    def _style(self, operation: OperationName | None) -> ErrorStyle:
        inference = operation is OperationName.CHAT_COMPLETION
        return "inference" if inference else self._emulator.service.behaviour.error_style


def _from_another_site(scope: Scope) -> bool:
    """Return whether a browser sends the request for a page that is not the emulator's.

    The control plane takes no key, and a page from any site can send requests to this machine.
    """
    headers = decoded_headers(scope["headers"])
    origin = headers.get("origin")
    return origin is not None and origin.partition("://")[2] != headers.get("host")


async def _answer(
    fault: ArmedFault | None,
    style: ErrorStyle,
    work: Callable[[], Awaitable[_Answer]],
    interfere: Callable[[ArmedFault], Awaitable[None]],
) -> _Answer:
    if fault is None:
        return await work()
    rule = fault.rule
    if rule.when == "before":
        await interfere(fault)
        answer = _canned(rule, style) or await work()
    else:
        answer = await work()
        await interfere(fault)
        answer = _canned(rule, style) or answer
    answer.headers.update(rule.headers)
    if rule.retry_after is not None:
        answer.headers["retry-after"] = str(rule.retry_after)
    if rule.malformed:
        answer.body = answer.body[: len(answer.body) // 2]
        answer.headers["content-length"] = str(len(answer.body))
    return answer


def _canned(rule: FaultRule, style: ErrorStyle) -> _Answer | None:
    if not rule.answers:
        return None
    status = rule.status or 200
    if rule.message is not None:
        response: Response = JSONResponse(error_body(rule.error_style or style, status, rule.message), status)
    elif "body" in rule.model_fields_set:
        response = JSONResponse(rule.body, status)
    elif rule.text is not None:
        response = Response(rule.text, status, media_type=rule.content_type)
    else:
        response = Response(status_code=status)
    return _Answer(status, response.headers, bytes(response.body))


async def _read(receive: Receive) -> bytes | None:
    """Return the whole body of a request; None if the client disconnected before its end."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        if not message.get("more_body", False):
            return bytes(body)


async def _call(app: ASGIApp, scope: Scope, body: bytes, receive: Receive) -> _Answer:
    """Return the response of the application to a request whose body has been read."""
    requests = iter([{"type": "http.request", "body": body, "more_body": False}])
    answer = _Answer(500, MutableHeaders(), b"")

    async def replay() -> Message:
        return next(requests, None) or await receive()

    async def collect(message: Message) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = MutableHeaders(raw=list(message.get("headers", [])))
        else:
            answer.body += message.get("body", b"")

    await app(scope, replay, collect)
    return answer


async def _send(answer: _Answer, send: Send, fault: ArmedFault | None) -> None:
    # The length that the headers announce is that of the whole body, truncated or not.
    await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers.raw})
    truncate = fault is not None and fault.rule.truncate
    body = answer.body[: len(answer.body) // 2] if truncate else answer.body
    if fault is not None and fault.rule.slow_body:
        step = max(1, -(-len(body) // PIECES))
        for start in range(0, len(body), step):
            await fault.pause(fault.rule.slow_body / PIECES)
            await send({"type": "http.response.body", "body": body[start : start + step], "more_body": True})
        body = b""
    await send({"type": "http.response.body", "body": body, "more_body": truncate})


async def _close_connection(receive: Receive, send: Send) -> None:
    """Close the TCP connection without sending the rest of the response.

    ASGI has no message for this. Under uvicorn, with h11 as with httptools, the outermost `send` is a method of the
    object that has the connection's transport. Once the transport has notified uvicorn of the end, which `receive`
    waits for, uvicorn neither misses a response nor sends a 500 in its place.
    """
    transport = getattr(getattr(send, "__self__", None), "transport", None)
    if transport is None:
        raise ConnectionAbortedError("the fault rule closes the connection, which only works under uvicorn")
    transport.close()
    while (await receive())["type"] != "http.disconnect":
        pass
