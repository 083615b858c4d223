"""A deadline for all network operations of a thread: reads, writes and name resolution.

httpx bounds each read, of which a response may take any number, and no name resolution. Here each operation is given
what is left of the time of its thread. So there is neither a timer nor a second thread for a request, and a request
that is late ends in its own thread and touches no connection of another.
"""

from __future__ import annotations

import ipaddress
import logging
import socket
import threading
import time
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

import httpcore

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable, Iterator

_PIECE = 64 * 1024
_log = logging.getLogger(__name__)


class Deadline:
    """When the present request of each thread has to be at its end."""

    def __init__(self) -> None:
        self._local = threading.local()

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Set it for this thread.

        :param seconds: from now.
        """
        before = getattr(self._local, "end", None)
        self._local.end = time.monotonic() + seconds
        try:
            yield
        finally:
            self._local.end = before

    @property
    def has_passed(self) -> bool:
        """Whether the thread's deadline has passed."""
        end: float | None = getattr(self._local, "end", None)
        return end is not None and time.monotonic() >= end

    def at_most(self, timeout: float | None, late: type[Exception]) -> float | None:
        """Return the seconds that the next operation may take.

        :param timeout: the seconds that it may take by itself.
        :param late: what to raise if nothing is left.
        """
        end: float | None = getattr(self._local, "end", None)
        if end is None:
            return timeout
        left = end - time.monotonic()
        if left <= 0:
            raise late("the deadline of the request has passed")
        return left if timeout is None else min(timeout, left)


def bound(transport: object, deadline: Deadline) -> None:
    """Let a transport of httpx keep the deadline of each thread.

    httpx has no argument for it. Where its private names have changed, each operation keeps its own time-out still; the
    loss is logged.

    :param transport: an ``httpx.HTTPTransport``.
    :param deadline: the deadline.
    """
    pool = getattr(transport, "_pool", None)
    if isinstance(getattr(pool, "_network_backend", None), httpcore.NetworkBackend):
        pool._network_backend = BoundedBackend(deadline)  # type: ignore[union-attr]  # noqa: SLF001
    else:
        _log_unbounded()


@cache
def _log_unbounded() -> None:
    _log.warning(
        "This version of httpx does not let its network be replaced. A look-up of a name that hangs, or a response "
        "that trickles in, can outlast the deadline of a request."
    )


class BoundedBackend(httpcore.NetworkBackend):
    """The network, as long as the thread's deadline allows.

    :param deadline: the deadline.
    """

    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline
        self._backend = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first address of a host that accepts a connection."""
        addresses = _look_up(host, port, self._deadline.at_most(timeout, httpcore.ConnectTimeout))
        for number, address in enumerate(addresses, 1):
            left = self._deadline.at_most(timeout, httpcore.ConnectTimeout)
            try:
                stream = self._backend.connect_tcp(address, port, left, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if number == len(addresses):
                    raise
            else:
                return _BoundedStream(stream, self._deadline)
        raise httpcore.ConnectError("the name has no address")

    def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Not used."""
        raise NotImplementedError

    def sleep(self, seconds: float) -> None:
        """Pause; not used, for requests are repeated elsewhere."""
        self._backend.sleep(seconds)


class _BoundedStream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream, deadline: Deadline) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._deadline.at_most(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for begin in range(0, len(buffer), _PIECE):
            piece = buffer[begin : begin + _PIECE]
            self._stream.write(piece, self._deadline.at_most(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left = self._deadline.at_most(timeout, httpcore.ConnectTimeout)
        return _BoundedStream(self._stream.start_tls(ssl_context, server_hostname, left), self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _look_up(host: str, port: int, timeout: float | None) -> list[str]:
    """Return the addresses of a host. A look-up cannot be ended, so one that hangs is left behind in its thread."""
    try:
        return [str(ipaddress.ip_address(host))]
    except ValueError:
        pass
    found: list[str] = []
    failed: list[OSError] = []

    def look_up() -> None:
        try:
            found.extend(str(each[4][0]) for each in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except OSError as error:
            failed.append(error)

    thread = threading.Thread(target=look_up, name=f"look-up of {host}", daemon=True)
    thread.start()
    thread.join(timeout)
    if thread.is_alive():
        raise httpcore.ConnectTimeout(f"the name {host} was not resolved in {timeout:.3g} s")
    if failed:
        raise httpcore.ConnectError(f"the name {host} cannot be resolved ({failed[0]})")
    return list(dict.fromkeys(found))
