"""Sends a :class:`~airflow_provider_cerebras.api.operations.Call` and returns its result, sync or async.

Everything that decides is shared by both clients; they differ in how bytes travel and in how they sleep. No other
module imports httpx.

Resending follows one rule. What may be sent twice is sent again on 408, 425, 429, 5xx and transport errors. What must
not be is sent again only where it cannot have been acted on (no connection, 425, 429); any other doubtful end of it is
:class:`~airflow_provider_cerebras.api.errors.OutcomeUnknown`.

The status of a response decides before its body is read: a body that breaks off or cannot be unpacked changes no error.
A service that means harm gets no more of us than :mod:`~airflow_provider_cerebras.api._limits` and a request's time
allow. Redirects are not followed, so a key goes where the connection says and nowhere else.

Requests are handed to a transport of httpx: what its client does beside that (redirects, cookies, authentication,
a line of log for each request) is not wanted here, and costs more than the rest of a poll. A poll is sent as a
request that was built once, and a body like the last one is recognised before it is parsed.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
import weakref
from contextlib import aclosing, closing, contextmanager
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypedDict, TypeVar, cast

import anyio
import httpx
from tenacity import AsyncRetrying, RetryCallState, Retrying

from airflow_provider_cerebras.api._deadline import Deadline, bound
from airflow_provider_cerebras.api._limits import BodyRefused
from airflow_provider_cerebras.api._redaction import RedactingFilter, Secret
from airflow_provider_cerebras.api._resending import MAX_RETRY_AFTER, Attempts, may_be_sent_again
from airflow_provider_cerebras.api._responses import Received, Responses
from airflow_provider_cerebras.api.errors import (
    CerebrasError,
    NotFound,
)
from airflow_provider_cerebras.api.operations import Call, Key
from airflow_provider_cerebras.api.settings import DEFAULT_BASE_URL, ClientSettings

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Iterator, Mapping
    from types import TracebackType
    from typing import Self

__all__ = [
    "DEFAULT_BASE_URL",
    "MAX_RETRY_AFTER",
    "AsyncCerebrasClient",
    "CerebrasClient",
    "ClientSettings",
    "Timed",
    "may_be_sent_again",
]

ResponseT = TypeVar("ResponseT")

_MAX_CONNECT_TIMEOUT = 10.0
# Of an asynchronous client, however much it is asked at the same time: enough to go on beside a slow response.
_CONNECTIONS_FOR_POLLING = 2
# Longer than any pause between two polls, so that each does not open a connection of its own.
_KEEPALIVE_EXPIRY = 300.0
# Polls of one client are of fewer things.
_MAX_READY_REQUESTS = 64
# Below, parsing takes less than handing it to a thread may.
_LARGE = 64 * 1024
# The request had not left when these happened.
_NOT_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
    httpx.LocalProtocolError,
)
_CANNOT_CONNECT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError)
# The errors that a request can end in without a response.
_BROKEN = (httpx.HTTPError, TimeoutError, BodyRefused)

_redaction = RedactingFilter()
for _name in ("connection", "http11", "proxy", "socks"):
    logging.getLogger(f"httpcore.{_name}").addFilter(_redaction)


class Timed(NamedTuple, Generic[ResponseT]):
    """A result, and how long the service took for it.

    :param answer: the result.
    :param seconds: from the request to the end of the response, of the attempt that succeeded; earlier attempts and
        the pauses after them are not in it.
    """

    answer: ResponseT
    seconds: float


class _Ready:
    """A request that is sent again and again, and the last body of its responses, if it held no secret.

    :param request: the request; a transport changes nothing in it.
    """

    __slots__ = ("last", "request")

    def __init__(self, request: httpx.Request) -> None:
        self.request = request
        self.last: bytes | None = None


class _BaseClient:
    """The base of both clients: requests from calls, and errors from what httpx raises.

    :param settings: where the API is and how to talk to it.
    """

    def __init__(self, settings: ClientSettings) -> None:
        self.settings = settings
        self._responses = Responses(settings)
        self._timeout = httpx.Timeout(settings.timeout, connect=min(settings.timeout, _MAX_CONNECT_TIMEOUT)).as_dict()
        self._ready: dict[Call[Any], _Ready] = {}
        self._is_closed = False
        _redaction.secrets |= frozenset(self._responses.secrets)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.settings.base_url!r})"

    def _request(self, call: Call[ResponseT]) -> httpx.Request:
        self._check_open()
        key = self.settings.management_key if call.key is Key.MANAGEMENT else self.settings.inference_key
        if not key:
            raise ValueError(f"{call.method} {call.path} takes the {call.key.value}, and there is none.")
        # Not a local variable of its own, for a traceback may show those.
        headers = {
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "Connection": "keep-alive",
            "User-Agent": self.settings.user_agent,
            "Authorization": Secret("Bearer " + key[:]),
        }
        content = None
        if call.body is not None:
            headers["Content-Type"] = "application/json"
            content = call.body.model_dump_json(exclude_none=True)
        return httpx.Request(
            call.method,
            self._responses.url(call),
            headers=headers,
            content=content,
            extensions={"timeout": self._timeout},
        )

    def _ready_for(self, call: Call[Any]) -> _Ready | None:
        """Return the prepared request of a call that is polled; None for a call that does more than read."""
        if call.method != "GET" or call.body is not None:
            return None
        ready = self._ready.get(call)
        if ready is None:
            if len(self._ready) >= _MAX_READY_REQUESTS:
                self._ready.clear()
            ready = self._ready[call] = _Ready(self._request(call))
        self._check_open()
        return ready

    def _check_open(self) -> None:
        if self._is_closed:
            raise RuntimeError("Cannot send a request, as the client has been closed.")

    def read(self, call: Call[ResponseT], body: bytes) -> ResponseT:
        """Read the body of a successful response.

        :param call: what was sent.
        :param body: what :meth:`fetch_once` returned.
        :raises UnexpectedResponse: if it is not as documented.
        :raises OutcomeUnknown: likewise, for a call that must not be sent twice.
        """
        return self._responses.read(call, body)

    def _conclude(self, call: Call[ResponseT], received: Received, ready: _Ready | None) -> bytes:
        if ready is None:
            return self._responses.conclude(call, received)
        last = ready.last
        if last is None or not received.is_like(last):
            last = self._responses.conclude(call, received)
            ready.last = last if received.is_like(last) else None
        return last

    def _broken(self, call: Call[ResponseT], error: Exception, seconds: float) -> CerebrasError:
        """Make our own error of the end of a request without a response."""
        if isinstance(error, BodyRefused):
            return self._responses.unreadable(call, f"the response {error}")
        if isinstance(error, TimeoutError):
            return self._responses.no_answer(call, f"it was not complete after {seconds:g} s")
        detail = f"{type(error).__name__}: {error}".removesuffix(": ")
        if isinstance(error, _CANNOT_CONNECT):
            return self._responses.not_connected(call, detail, by_proxy=isinstance(error, httpx.ProxyError))
        return self._responses.broken(call, detail, was_sent=not isinstance(error, _NOT_SENT))

    def _attempts(self, call: Call[Any], within: float | None) -> Attempts:
        return Attempts(
            call,
            max_retries=self.settings.max_retries,
            within=within,
            total_timeout=self.settings.total_timeout,
        )


def _close_own(pools: Mapping[int, httpx.BaseTransport]) -> None:
    if pool := pools.get(os.getpid()):
        pool.close()


class CerebrasClient(_BaseClient):
    """Sends calls and waits for the responses.

    Several threads may use one client, and so may a process that was forked: it gets connections of its own.

    :param settings: where the API is and how to talk to it.
    :param transport: takes the place of the network, for tests.
    :param sleep: how to spend the seconds between two attempts.
    :ivar last_date: the field ``Date`` of the last response, if it had one.
    :raises ValueError: if certificates or a proxy cannot be used; the message names the field of the connection, or the
        environment variable.
    """

    last_date: str | None = None

    def __init__(
        self,
        settings: ClientSettings,
        *,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__(settings)
        # To read the certificates takes 40 ms.
        self._verify = settings.ssl_context() if transport is None else False
        self._transport = transport
        self._sleep = sleep
        self._deadline = Deadline()
        # One for each process: if two processes share a connection, either may receive the other's response.
        self._pools = {os.getpid(): self._new_pool()}
        if transport is None:
            # Code that forgets to close it, as a task with a hook does, must leave no open socket behind.
            weakref.finalize(self, _close_own, self._pools)

    def send(self, call: Call[ResponseT], *, within: float | None = None) -> ResponseT:
        """Send a call, again where that is allowed and may help.

        :param call: what to send, from :mod:`~airflow_provider_cerebras.api.operations`.
        :param within: seconds that it may take, with all attempts and pauses; default: as long as it takes.
        :raises CerebrasError: what the last attempt ended in.
        """
        return self.send_timed(call, within=within).answer

    def send_timed(self, call: Call[ResponseT], *, within: float | None = None) -> Timed[ResponseT]:
        """Send a call like :meth:`send`, and return how long the successful attempt took.

        :param call: what to send.
        :param within: see :meth:`send`.
        :raises CerebrasError: what the last attempt ended in.
        """
        attempts = self._attempts(call, within)
        for attempt in Retrying(**attempts.policy(), sleep=self._sleep):
            with attempt, _deleted_by_earlier_attempt(call, attempt.retry_state):
                body, seconds = self._fetch(call, attempts.time_for(attempt.retry_state))
                return Timed(self.read(call, body), seconds)
        return cast("Timed[ResponseT]", Timed(None, 0.0))

    def send_once(self, call: Call[ResponseT]) -> ResponseT:
        """Send a call exactly once, for those who repeat it on their own terms.

        :param call: what to send.
        :raises CerebrasError: the error that it ended in.
        """
        return self.read(call, self.fetch_once(call))

    def fetch_once(self, call: Call[ResponseT]) -> bytes:
        """Send a call exactly once, and return the body of a successful response for :meth:`read`."""
        return self._fetch(call, self.settings.total_timeout, self._ready_for(call))[0]

    def _fetch(self, call: Call[ResponseT], seconds: float, ready: _Ready | None = None) -> tuple[bytes, float]:
        request = self._request(call) if ready is None else ready.request
        transport = self._pool()
        received = Received(call)
        began = time.monotonic()
        try:
            with (
                received.decides(*_BROKEN),
                self._in_time(seconds),
                closing(transport.handle_request(request)) as response,
            ):
                self.last_date = response.headers.get("date")
                received.begin(response.status_code, response.headers)
                _take(response, received)
        except _BROKEN as error:
            broken = self._broken(call, error, seconds)
        else:
            took = time.monotonic() - began
            return self._conclude(call, received, ready), took
        # Outside: neither the cause's message nor its local variables belong in a traceback.
        raise broken

    @contextmanager
    def _in_time(self, seconds: float) -> Iterator[None]:
        with self._deadline.within(seconds):
            try:
                yield
            except httpx.TimeoutException as error:
                if not self._deadline.has_passed or isinstance(error, _NOT_SENT):
                    raise
                raise TimeoutError from None

    def _pool(self) -> httpx.BaseTransport:
        process = os.getpid()
        return self._pools.get(process) or self._pools.setdefault(process, self._new_pool())

    def _new_pool(self) -> httpx.BaseTransport:
        if self._transport is not None:
            return self._transport
        transport = httpx.HTTPTransport(**_transport_options(self._verify, self._responses.proxy))
        bound(transport, self._deadline)
        return transport

    def close(self) -> None:
        """Close the connections."""
        self._is_closed = True
        _close_own(self._pools)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class AsyncCerebrasClient(_BaseClient):
    """Sends calls on an event loop.

    :param settings: where the API is and how to talk to it.
    :param verify: what :meth:`ClientSettings.ssl_context` made, in a thread; see :meth:`create`.
    :param max_connections: how many requests are under way at once, each on a connection of its own; default 2, which
        is enough for polling.
    :param transport: takes the place of the network, for tests.
    :param sleep: how to spend the seconds between two attempts.
    """

    def __init__(
        self,
        settings: ClientSettings,
        *,
        verify: ssl.SSLContext | bool,
        max_connections: int = _CONNECTIONS_FOR_POLLING,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        super().__init__(settings)
        if transport is None:
            transport = httpx.AsyncHTTPTransport(**_transport_options(verify, self._responses.proxy))
        self._transport = transport
        self._sleep = sleep
        # What the pool of httpx costs grows with the square of the requests that wait in it, so they wait here.
        self._turn = asyncio.Semaphore(max_connections)

    @classmethod
    async def create(cls, settings: ClientSettings) -> Self:
        """Make a client without holding the event loop up.

        :param settings: where the API is and how to talk to it.
        :raises ValueError: see :class:`CerebrasClient`.
        """
        return cls(settings, verify=await asyncio.to_thread(_prepare, settings))

    async def send(self, call: Call[ResponseT], *, within: float | None = None) -> ResponseT:
        """Send a call, again where that is allowed and may help; see :meth:`CerebrasClient.send`."""
        return (await self.send_timed(call, within=within)).answer

    async def send_timed(self, call: Call[ResponseT], *, within: float | None = None) -> Timed[ResponseT]:
        """Send a call, and return how long the response took; see :meth:`CerebrasClient.send_timed`."""
        attempts = self._attempts(call, within)
        async for attempt in AsyncRetrying(**attempts.policy(), sleep=self._sleep):
            with attempt, _deleted_by_earlier_attempt(call, attempt.retry_state):
                body, seconds = await self._fetch(call, attempts.time_for(attempt.retry_state))
                return Timed(await self.read_async(call, body), seconds)
        return cast("Timed[ResponseT]", Timed(None, 0.0))

    async def send_once(self, call: Call[ResponseT]) -> ResponseT:
        """Send a call exactly once; see :meth:`CerebrasClient.send_once`."""
        return await self.read_async(call, await self.fetch_once(call))

    async def fetch_once(self, call: Call[ResponseT]) -> bytes:
        """Send a call exactly once, and return the body of a successful response for :meth:`read`."""
        return (await self._fetch(call, self.settings.total_timeout, self._ready_for(call)))[0]

    async def read_async(self, call: Call[ResponseT], body: bytes) -> ResponseT:
        """Read the body of a successful response, in a thread if it is large; see :meth:`read`."""
        if len(body) <= _LARGE:
            return self.read(call, body)
        return await asyncio.to_thread(self.read, call, body)

    async def _fetch(self, call: Call[ResponseT], seconds: float, ready: _Ready | None = None) -> tuple[bytes, float]:
        request = self._request(call) if ready is None else ready.request
        received = Received(call)
        broken: CerebrasError | None = None
        async with self._turn:
            began = time.monotonic()
            try:
                with received.decides(*_BROKEN):
                    async with (
                        asyncio.timeout(seconds),
                        aclosing(await self._transport.handle_async_request(request)) as response,
                    ):
                        received.begin(response.status_code, response.headers)
                        await _take_async(response, received)
            except _BROKEN as error:
                broken = self._broken(call, error, seconds)
            took = time.monotonic() - began
        if broken is not None:
            raise broken
        is_known = ready is not None and ready.last is not None and received.is_like(ready.last)
        if received.body.is_large and not is_known:
            return await asyncio.to_thread(self._conclude, call, received, ready), took
        return self._conclude(call, received, ready), took

    async def aclose(self) -> None:
        """Close the connections."""
        self._is_closed = True
        await self._transport.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()


def _prepare(settings: ClientSettings) -> ssl.SSLContext | bool:
    """Do what takes longest of a first request, and would hold up the loop.

    That is to read the certificates, and to import the parts of anyio, which httpx brings: it imports its half for
    asyncio when something is first run, and each of its functions when it is first looked up.
    """
    anyio.run(anyio.sleep, 0)
    _ = anyio.connect_tcp, anyio.create_memory_object_stream
    return settings.ssl_context()


# Functions of their own, for a traceback of what a response stands for shows no variable of theirs.
def _take(response: httpx.Response, received: Received) -> None:
    for piece in cast("httpx.SyncByteStream", response.stream):
        if not received.add(piece):
            break


async def _take_async(response: httpx.Response, received: Received) -> None:
    async for piece in cast("httpx.AsyncByteStream", response.stream):
        if not received.add(piece):
            break
        await asyncio.sleep(0)  # a body in a million pieces has not the whole loop to itself


@contextmanager
def _deleted_by_earlier_attempt(call: Call[Any], state: RetryCallState) -> Iterator[None]:
    """Pass over "not found" where an earlier attempt of the same deletion may have found and deleted it."""
    try:
        yield
    except NotFound as error:
        if call.method != "DELETE" or state.attempt_number == 1 or not error.is_from_api:
            raise


class _TransportOptions(TypedDict):
    verify: ssl.SSLContext | bool
    limits: httpx.Limits
    proxy: str | None
    trust_env: bool


def _transport_options(verify: ssl.SSLContext | bool, proxy: Secret | None) -> _TransportOptions:
    return {
        "verify": verify,
        "limits": httpx.Limits(keepalive_expiry=_KEEPALIVE_EXPIRY),
        "proxy": None if proxy is None else proxy.reveal(),
        "trust_env": False,
    }
