"""A server that does not keep to the rules, on a loopback socket and in a thread of its own."""

from __future__ import annotations

import asyncio
import re
import socket
import struct
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable
    from types import TracebackType

    Misdeed = Callable[["Connection"], Awaitable[None]]

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
ENDLESS = 2**40
"""More bytes than any client accepts."""


class Connection:
    """One request, and the socket to answer it on.

    :ivar request: the bytes of its head.
    :ivar body: the bytes of its body.
    :ivar sent: how many bytes of an answer the client's machine has taken.
    """

    def __init__(self, request: bytes, body: bytes, writer: asyncio.StreamWriter) -> None:
        self.request = request
        self.body = body
        self.sent = 0
        self._writer = writer

    async def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self._writer.write(piece)
            await self._writer.drain()
            self.sent += len(piece)

    async def drip(self, piece: bytes, *, times: int = 400, seconds: float = 0.02) -> None:
        """Send a piece over and over, with a pause after each: not for ever, so that a client that waits for its end
        fails the test instead of holding it up.
        """
        for _ in range(times):
            await self.send(piece)
            await asyncio.sleep(seconds)

    async def flood(self, piece: bytes, *, limit: int = 2**28) -> None:
        """Send a piece over and over, as fast as it is taken."""
        while self.sent < limit:
            await self.send(piece)

    def reset(self) -> None:
        """Close with RST instead of FIN."""
        raw: socket.socket = self._writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()


class HostileServer:
    """Answers each request by a misdeed.

    :param misdeed: what to do with a connection once the head of a request has come in; then it is closed.
    :param tls: for HTTPS.
    :ivar connections: the requests that came in.
    """

    def __init__(self, misdeed: Misdeed, *, tls: ssl.SSLContext | None = None) -> None:
        self.connections: list[Connection] = []
        self._misdeed = misdeed
        self._tls = tls
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls), self._loop
        ).result(10)
        scheme = "https" if self._tls else "http"
        self.url = f"{scheme}://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _end(self) -> None:
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"(?i)content-length: *(\d+)", head)
            body = await reader.readexactly(int(length[1]) if length else 0)
            connection = Connection(head, body, writer)
            self.connections.append(connection)
            await self._misdeed(connection)
        writer.close()


def answer(body: bytes, *headers: str, status: str = "200 OK") -> Misdeed:
    """One whole answer."""

    async def misdeed(connection: Connection) -> None:
        fields = "".join(f"{header}\r\n" for header in headers)
        # Said, or a client that sends again at once may do so on the connection that is about to be closed.
        own = f"Content-Length: {len(body)}\r\nConnection: close\r\n"
        await connection.send(f"HTTP/1.1 {status}\r\n{own}{fields}\r\n".encode(), body)

    return misdeed


def raw(*pieces: bytes) -> Misdeed:
    """These bytes and no others."""

    async def misdeed(connection: Connection) -> None:
        await connection.send(*pieces)

    return misdeed
