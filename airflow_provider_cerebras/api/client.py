"""Sends a :class:`~airflow_provider_cerebras.api.operations.Call` and returns what it answers, sync or async.

Everything that decides is shared by both clients; they differ in how bytes travel and in how they sleep. No other
module imports httpx.

Resending follows one rule. What may be sent twice is sent again on 408, 429, 5xx and transport errors. What must not
be is sent again only where it cannot have been acted on (no connection, 429); any other doubtful end of it is
:class:`~airflow_provider_cerebras.api.errors.OutcomeUnknown`.

A service that means harm gets no more of us than :mod:`~airflow_provider_cerebras.api.bodies` and a request's time
allow. Redirects are not followed, so a key goes where the connection says and nowhere else.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import platform
import socket
import ssl
import threading
import time
from contextlib import aclosing, closing, contextmanager, suppress
from dataclasses import dataclass, field
from http.cookiejar import CookieJar, DefaultCookiePolicy
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Generic, TypedDict, TypeVar, cast

import httpx
from pydantic import ValidationError
from tenacity import AsyncRetrying, RetryCallState, Retrying, retry_if_exception, stop_after_attempt
from tenacity.wait import wait_random_exponential

from airflow_provider_cerebras._version import __version__
from airflow_provider_cerebras.api._subjects import AnotherSubject
from airflow_provider_cerebras.api.bodies import Body, BodyRefused, check_values, without_secrets
from airflow_provider_cerebras.api.errors import (
    CerebrasAPIError,
    CerebrasTransportError,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    ServerError,
    UnexpectedResponse,
    error_from_response,
    in_one_line,
    redact,
)
from airflow_provider_cerebras.api.operations import Call, Key

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from types import TracebackType
    from typing import Self

    from tenacity.retry import RetryBaseT
    from tenacity.stop import StopBaseT
    from tenacity.wait import WaitBaseT

AnswerT = TypeVar("AnswerT")
HttpT = TypeVar("HttpT", httpx.Client, httpx.AsyncClient)

DEFAULT_BASE_URL = "https://api.cerebras.ai"
MAX_RETRY_AFTER = 120.0
"""Seconds that a ``Retry-After`` is honoured for at most."""
_MAX_TIMEOUT = 86400.0
# A request connects, writes, and waits for a connection and for an answer; each alone may take the whole timeout.
_TIMEOUTS_PER_REQUEST = 4
_MAX_CONNECT_TIMEOUT = 10.0
_MAX_BACKOFF = 30.0
# Of an asynchronous client, however much it is asked at the same time: enough to go on beside a slow answer.
_CONNECTIONS_FOR_POLLING = 2
# Longer than any pause between two polls, so that each does not open a connection of its own.
_KEEPALIVE_EXPIRY = 300.0
# The request had not left when these happened.
_NOT_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
    httpx.LocalProtocolError,
)


@dataclass(frozen=True, kw_only=True)
class ClientSettings:
    """Where the API is and how to talk to it.

    :param management_key: management API key.
    :param inference_key: inference API key; needed for chat completions only.
    :param base_url: base URL; plain ``http`` is for loopback addresses only.
    :param timeout: seconds to wait for a read, a write or a free connection; connecting is given 10 s at most, and a
        request from its first byte to the last byte of the answer four times as long.
    :param max_retries: how often a request is sent again.
    :param verify: True, or the path of a CA bundle.
    :param proxy: URL of a proxy; default: what the environment says.
    :param user_agent: the ``User-Agent`` field.
    :raises ValueError: if one of them cannot be used; the message names the field of the connection that it comes from.
    """

    management_key: str = field(repr=False)
    inference_key: str | None = field(default=None, repr=False)
    base_url: str = DEFAULT_BASE_URL
    timeout: float = 30.0
    max_retries: int = 5
    verify: bool | str = True
    proxy: str | None = field(default=None, repr=False)
    user_agent: str = f"airflow-provider-cerebras/{__version__} (python/{platform.python_version()})"

    def __post_init__(self) -> None:
        object.__setattr__(self, "base_url", _checked_base_url(self.base_url))
        # Each message begins with the name that the user knows: that of the connection's field.
        _check_key(self.management_key, "password")
        _check_key(self.inference_key, "inference_api_key")
        if not 0 < self.timeout <= _MAX_TIMEOUT:
            raise ValueError(
                f"request_timeout: must be more than 0 and at most {_MAX_TIMEOUT:.0f} seconds, not {self.timeout!r}."
            )
        if self.max_retries < 0:
            raise ValueError(f"max_retries: must be 0 or more, not {self.max_retries!r}.")
        if self.verify is False:
            raise ValueError("verify: certificates are always checked; give the path of a CA bundle instead of false.")
        _check_proxy(self.proxy)

    @property
    def total_timeout(self) -> float:
        """Seconds that a request may take from its first byte to the last byte of the answer."""
        return self.timeout * _TIMEOUTS_PER_REQUEST

    @property
    def secrets(self) -> tuple[str, ...]:
        """Texts that no message may repeat."""
        proxy_password = httpx.URL(self.proxy).password if self.proxy else ""
        return tuple(filter(None, (self.management_key, self.inference_key, proxy_password)))

    def ssl_context(self) -> ssl.SSLContext | bool:
        """Make what httpx takes as ``verify``. It costs tens of milliseconds: not for an event loop.

        :raises ValueError: if the CA bundle cannot be read.
        """
        if self.base_url.startswith("http://"):
            return False  # loopback: there is nothing to verify, so nothing to load
        if self.verify is True:
            return httpx.create_ssl_context()
        try:
            return ssl.create_default_context(cafile=str(self.verify))
        except OSError as error:  # a file without certificates is one, too
            raise ValueError(f"verify: {self.verify!r} cannot be read as a CA bundle ({error}).") from None


class _Redaction(logging.Filter):
    """Takes keys out of what httpcore logs at DEBUG: header fields of answers, whatever a service repeats there."""

    secrets: frozenset[str] = frozenset()

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = redact(record.getMessage(), self.secrets), ()
        return True


_redaction = _Redaction()
for _name in ("connection", "http11", "proxy", "socks"):
    logging.getLogger(f"httpcore.{_name}").addFilter(_redaction)


class _RetryPolicy(TypedDict):
    retry: RetryBaseT
    wait: WaitBaseT
    stop: StopBaseT
    reraise: bool


class _BaseClient(Generic[HttpT]):
    """What the two clients share: requests from calls, answers from responses, and when to send again.

    :param settings: where the API is and how to talk to it.
    :param http: the connection pool, made by the subclass.
    """

    def __init__(self, settings: ClientSettings, http: HttpT) -> None:
        self.settings = settings
        self._http: HttpT = http
        _redaction.secrets |= frozenset(settings.secrets)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.settings.base_url!r})"

    def _request(self, call: Call[AnswerT]) -> httpx.Request:
        key = self.settings.management_key if call.key is Key.MANAGEMENT else self.settings.inference_key
        if not key:
            raise ValueError(f"{call.method} {call.path} takes the {call.key.value}, and there is none.")
        headers = {"Authorization": f"Bearer {key}", "Accept": "application/json", "Accept-Encoding": "identity"}
        content = None
        if call.body is not None:
            headers["Content-Type"] = "application/json"
            content = call.body.model_dump_json(exclude_none=True)
        return self._http.build_request(
            call.method, self._url(call), headers=headers, content=content, extensions=self._extensions()
        )

    def _extensions(self) -> dict[str, Any]:
        return {}

    def _url(self, call: Call[AnswerT]) -> str:
        # It can be shown: neither a base URL nor a path may hold anything secret.
        return f"{self.settings.base_url}{call.path}"

    def _check(self, call: Call[AnswerT], response: httpx.Response, body: bytes) -> None:
        """Raise what an answer other than success stands for."""
        url = self._url(call)
        status = response.status_code
        if status >= 400:
            error = error_from_response(
                method=call.method,
                url=url,
                status_code=status,
                headers=response.headers,
                body=body,
                secrets=self.settings.secrets,
            )
            if not call.may_be_resent and (status >= 500 or status == 408):
                raise _unknown(call, url, str(error)) from error
            raise error
        if status >= 300:
            raise UnexpectedResponse(f"{call.method} {url} answered {status}: redirects are not followed.")

    def read(self, call: Call[AnswerT], body: bytes) -> AnswerT:
        """Read the body of a successful answer.

        :param call: what was sent.
        :param body: what :meth:`fetch_once` returned.
        :raises UnexpectedResponse: if it is not as documented.
        :raises OutcomeUnknown: likewise, for a call that must not be sent twice.
        """
        if call.answer is None:
            return cast("AnswerT", None)
        try:
            check_values(body)
            # The service's words go into errors, logs and events, be it the reason of a failure that repeats a key.
            body = without_secrets(body, self.settings.secrets)
            # The class is a pydantic model; AnswerT is not bound to one, since None is an answer too.
            answer: AnswerT = cast("Any", call.answer).model_validate_json(body)
            return call.check(answer) if call.check else answer
        except (BodyRefused, AnotherSubject, ValidationError) as error:
            url = self._url(call)
            problem = _problems(error) if isinstance(error, ValidationError) else f"it {error}"
            if not call.may_be_resent:
                raise _unknown(call, url, f"the answer cannot be read ({problem})") from None
            raise UnexpectedResponse(
                f"{call.method} {url} answered with a body that is not as documented: {problem}."
            ) from None

    @contextmanager
    def _translated(self, call: Call[AnswerT]) -> Iterator[None]:
        """Turn what httpx raises for a request that it cannot bring to its end into our own errors."""
        url = self._url(call)
        try:
            yield
        except BodyRefused as refusal:
            if not call.may_be_resent:
                raise _unknown(call, url, f"the answer {refusal}") from None
            raise UnexpectedResponse(f"{call.method} {url}: the answer {refusal}.") from None
        except TimeoutError:
            words = f"it was not complete after {self.settings.total_timeout:g} s"
            if not call.may_be_resent:
                raise _unknown(call, url, words) from None
            raise CerebrasTransportError(f"{call.method} {url} got no whole answer: {words}.") from None
        except httpx.HTTPError as error:
            said = f"{type(error).__name__}: {error}".removesuffix(": ")
            words = in_one_line(redact(said, self.settings.secrets))
            # A traceback repeats the words of the cause, too.
            cause = None if any(secret in said for secret in self.settings.secrets) else error
            if not call.may_be_resent and not isinstance(error, _NOT_SENT):
                raise _unknown(call, url, words) from cause
            raise CerebrasTransportError(f"{call.method} {url} got no answer: {words.rstrip('.')}.") from cause

    def _policy(self, call: Call[AnswerT]) -> _RetryPolicy:
        return {
            "retry": retry_if_exception(lambda error: may_be_sent_again(call, error)),
            "wait": _wait,
            "stop": stop_after_attempt(self.settings.max_retries + 1),
            "reraise": True,
        }


class CerebrasClient(_BaseClient[httpx.Client]):
    """Sends calls and waits for the answer.

    :param settings: where the API is and how to talk to it.
    :param transport: takes the place of the network, for tests.
    :param sleep: how to spend the seconds between two attempts.
    """

    def __init__(
        self,
        settings: ClientSettings,
        *,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        verify = settings.ssl_context()
        super().__init__(settings, httpx.Client(transport=transport, verify=verify, **_http_options(settings)))
        self._sleep = sleep
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []

    def send(self, call: Call[AnswerT]) -> AnswerT:
        """Send a call, again where that is allowed and may help.

        :param call: what to send, from :mod:`~airflow_provider_cerebras.api.operations`.
        :raises CerebrasError: what the last attempt ended in.
        """
        for attempt in Retrying(**self._policy(call), sleep=self._sleep):
            with attempt, _deleted_by_earlier_attempt(call, attempt.retry_state):
                return self.send_once(call)
        return cast("AnswerT", None)

    def send_once(self, call: Call[AnswerT]) -> AnswerT:
        """Send a call exactly once, for those who repeat it on their own terms.

        :param call: what to send.
        :raises CerebrasError: what it ended in.
        """
        return self.read(call, self.fetch_once(call))

    def fetch_once(self, call: Call[AnswerT]) -> bytes:
        """Send a call exactly once, and return the body of a successful answer for :meth:`read`."""
        request = self._request(call)
        with self._translated(call), self._in_time(), closing(self._http.send(request, stream=True)) as response:
            incoming = Body(response.headers)
            for piece in response.iter_bytes():
                incoming.add(piece)
        body = incoming.complete()
        self._check(call, response, body)
        return body

    @contextmanager
    def _in_time(self) -> Iterator[None]:
        """End a request at its deadline. httpx bounds each read, of which a body may take any number."""
        late = threading.Event()

        def cut() -> None:
            late.set()
            with self._lock:
                for each in self._sockets:
                    # Not the method of an SSL socket, which would have what is sent from then on sent in the clear.
                    with suppress(OSError):
                        socket.socket.shutdown(each, socket.SHUT_RDWR)

        timer = threading.Timer(self.settings.total_timeout, cut)
        timer.daemon = True
        timer.start()
        try:
            yield
        except httpx.HTTPError:
            if not late.is_set():
                raise
        finally:
            timer.cancel()
        if late.is_set():  # what looks like the end of the body may be the cut
            raise TimeoutError

    def _extensions(self) -> dict[str, Any]:
        return {"trace": self._remember_socket}

    def _remember_socket(self, event: str, info: dict[str, Any]) -> None:
        if event.endswith((".connect_tcp.complete", ".start_tls.complete")):
            opened = info["return_value"].get_extra_info("socket")
            with self._lock:
                self._sockets = [*(each for each in self._sockets if each.fileno() != -1), opened]

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class AsyncCerebrasClient(_BaseClient[httpx.AsyncClient]):
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
        super().__init__(settings, httpx.AsyncClient(transport=transport, verify=verify, **_http_options(settings)))
        self._sleep = sleep
        # What the pool of httpx costs grows with the square of the requests that wait in it, so they wait here.
        self._turn = asyncio.Semaphore(max_connections)

    @classmethod
    async def create(cls, settings: ClientSettings) -> Self:
        """Make a client without holding the event loop up.

        :param settings: where the API is and how to talk to it.
        """
        return cls(settings, verify=await asyncio.to_thread(settings.ssl_context))

    async def send(self, call: Call[AnswerT]) -> AnswerT:
        """Send a call, again where that is allowed and may help; see :meth:`CerebrasClient.send`."""
        async for attempt in AsyncRetrying(**self._policy(call), sleep=self._sleep):
            with attempt, _deleted_by_earlier_attempt(call, attempt.retry_state):
                return await self.send_once(call)
        return cast("AnswerT", None)

    async def send_once(self, call: Call[AnswerT]) -> AnswerT:
        """Send a call exactly once; see :meth:`CerebrasClient.send_once`."""
        return self.read(call, await self.fetch_once(call))

    async def fetch_once(self, call: Call[AnswerT]) -> bytes:
        """Send a call exactly once, and return the body of a successful answer for :meth:`read`."""
        request = self._request(call)
        with self._translated(call):
            async with (
                self._turn,
                asyncio.timeout(self.settings.total_timeout),
                aclosing(await self._http.send(request, stream=True)) as response,
            ):
                incoming = Body(response.headers)
                async for piece in response.aiter_bytes():
                    incoming.add(piece)
                    await asyncio.sleep(0)  # a body in a million pieces has not the whole loop to itself
        body = incoming.complete()
        self._check(call, response, body)
        return body

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()


def may_be_sent_again(call: Call[Any], error: BaseException) -> bool:
    """Tell whether sending a call again is allowed and may help.

    :param call: what was sent.
    :param error: what it ended in.
    """
    # A transport error stands only for what cannot have been acted on or may be again; the rest is OutcomeUnknown.
    if isinstance(error, CerebrasTransportError | RateLimited):
        return True
    passing = isinstance(error, ServerError) or (isinstance(error, CerebrasAPIError) and error.status_code == 408)
    return passing and call.may_be_resent


_backoff = wait_random_exponential(multiplier=1, max=_MAX_BACKOFF)


def _wait(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    asked = (error.retry_after or 0.0) if isinstance(error, CerebrasAPIError) else 0.0
    return max(_backoff(state), min(asked, MAX_RETRY_AFTER))


@contextmanager
def _deleted_by_earlier_attempt(call: Call[Any], state: RetryCallState) -> Iterator[None]:
    """Pass over "not found" where an earlier attempt of the same deletion may have found and deleted it."""
    try:
        yield
    except NotFound as error:
        if call.method != "DELETE" or state.attempt_number == 1 or not error.is_from_api:
            raise


class _HttpOptions(TypedDict):
    timeout: httpx.Timeout
    limits: httpx.Limits
    follow_redirects: bool
    headers: dict[str, str]
    proxy: str | None
    trust_env: bool
    cookies: CookieJar


def _http_options(settings: ClientSettings) -> _HttpOptions:
    return {
        "timeout": httpx.Timeout(settings.timeout, connect=min(settings.timeout, _MAX_CONNECT_TIMEOUT)),
        "limits": httpx.Limits(keepalive_expiry=_KEEPALIVE_EXPIRY),
        "follow_redirects": False,
        "headers": {"User-Agent": settings.user_agent},
        "proxy": settings.proxy,
        # A proxy of the environment is not meant for this machine's own addresses.
        "trust_env": not _is_loopback(httpx.URL(settings.base_url).host),
        # None are kept: a client may live for weeks, and would send back all that it was ever given.
        "cookies": CookieJar(DefaultCookiePolicy(allowed_domains=[])),
    }


def _checked_base_url(base_url: str) -> str:
    try:
        url = httpx.URL(base_url if "://" in base_url else f"https://{base_url}")
    except httpx.InvalidURL as error:
        # What comes before an @ may be a key, which the parser's words would repeat.
        raise ValueError("host: is not a URL" + ("." if "@" in base_url else f" ({error}).")) from None
    if url.userinfo:
        raise ValueError("host: must not hold credentials; the key belongs in the password field.")
    if url.scheme not in {"https", "http"} or not url.host or url.query or url.fragment:
        raise ValueError(f"host: {str(url)!r} is not of the form https://name or https://name:port.")
    if url.scheme == "http" and not _is_loopback(url.host):
        raise ValueError(f"host: {str(url)!r} would send the key unencrypted; http is for loopback addresses only.")
    return str(url).rstrip("/")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check_key(key: str | None, name: str) -> None:
    # The message must not repeat the key.
    if key is not None and not (key.isascii() and key.isprintable() and " " not in key):
        raise ValueError(f"{name}: holds white space or characters that cannot stand in a header.")


def _check_proxy(proxy: str | None) -> None:
    # The message must not repeat the URL, which may hold a password.
    if proxy is None:
        return
    try:
        url = httpx.URL(proxy)
    except httpx.InvalidURL:
        url = httpx.URL()
    if url.scheme not in {"http", "https", "socks5", "socks5h"} or not url.host:
        raise ValueError("proxy: is not of the form http://name:port.")
    if url.scheme.startswith("socks") and find_spec("socksio") is None:
        raise ValueError("proxy: socks5 needs the package socksio: pip install 'httpx[socks]'.")


def _unknown(call: Call[Any], url: str, why: str) -> OutcomeUnknown:
    return OutcomeUnknown(
        f"It is not known whether {call.method} {url} was acted on: {why.rstrip('.')}. "
        "It was not sent again, because that could do the same thing twice."
    )


def _problems(error: ValidationError) -> str:
    # Only places and rules: the values are the service's and could be anything.
    return "; ".join(
        f"{'.'.join(map(str, item['loc'])) or 'body'}: {item['msg']}" for item in error.errors(include_input=False)[:3]
    )
