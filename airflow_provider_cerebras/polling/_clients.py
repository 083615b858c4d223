"""The client of a connection on an event loop, and when another one takes its place.

A connection that was corrected is used by all who wait, the old ones too. A client that was replaced is closed as soon
as nothing is under way with it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from airflow_provider_cerebras.api.errors import Unauthorized
from airflow_provider_cerebras.polling.reconnection import Reconnection

if TYPE_CHECKING:
    from airflow_provider_cerebras.api.client import AsyncCerebrasClient
    from airflow_provider_cerebras.api.operations import Call

Connect = Callable[[], Awaitable["AsyncCerebrasClient"]]


class _Lease:
    """A client, and the requests that are under way with it."""

    def __init__(self, client: AsyncCerebrasClient) -> None:
        self.client = client
        self.users = 0
        self.replaced = False


class ClientPool:
    """One client for all polls of a connection.

    :param connect: reads the connection and makes a client.
    """

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._connecting = asyncio.Lock()
        self._lease: _Lease | None = None
        self._open: set[_Lease] = set()
        self._reconnection = Reconnection(time.time())
        self._check = False

    def on_new_waiter(self) -> None:
        """Note that another task begins to wait, perhaps because the connection was corrected."""
        if self._lease is not None and self._reconnection.on_new_waiter(time.time()):
            self._check = True

    async def fetch(self, call: Call[Any]) -> tuple[AsyncCerebrasClient, bytes]:
        """Send a call once, and return the response body with the client that can read it.

        The connection is read again where that may help; if it was changed after a 401, the call is sent once more.

        :param call: what to send.
        """
        lease = await self._current()
        try:
            body = await self._send(lease, call)
        except Exception as error:
            now = time.time()
            due = self._reconnection.on_error(error, now)
            is_refused = isinstance(error, Unauthorized)
            if lease is self._lease and not due:
                raise
            current = await self._replace(lease, is_refused=is_refused)
            if not is_refused or current is None:
                raise
            lease = current
            body = await self._send(lease, call)
        return lease.client, body

    def on_response(self) -> None:
        """Note that a response could be read."""
        self._reconnection.on_response()

    def on_unusable(self, error: Exception) -> None:
        """Note that a response could not be read, as from another service behind a wrong base URL.

        :param error: why not.
        """
        self._check = self._reconnection.on_error(error, time.time()) or self._check

    async def close(self) -> None:
        """Close all clients that are still open."""
        for lease in list(self._open):
            await self._close(lease)

    async def _send(self, lease: _Lease, call: Call[Any]) -> bytes:
        lease.users += 1
        try:
            return await lease.client.fetch_once(call)
        finally:
            lease.users -= 1
            if lease.replaced and not lease.users:
                await self._close(lease)

    async def _current(self) -> _Lease:
        if self._lease is None or self._check:
            async with self._connecting:
                if self._lease is None:
                    self._reconnection.on_reading(time.time())
                    self._lease = self._hold(await self._connect())
                elif self._check:
                    self._check = False
                    await self._read_again(self._lease, keep_if_unchanged=True, must_succeed=False)
        return self._lease

    async def _replace(self, lease: _Lease, *, is_refused: bool) -> _Lease | None:
        """Read the connection again; the new client, or None if nothing has changed."""
        async with self._connecting:
            if lease is self._lease:
                self._check = False
                await self._read_again(lease, keep_if_unchanged=is_refused, must_succeed=is_refused)
            return None if lease is self._lease else self._lease

    async def _read_again(self, lease: _Lease, *, keep_if_unchanged: bool, must_succeed: bool) -> None:
        self._reconnection.on_reading(time.time())
        try:
            client = await self._connect()
        except Exception:
            if must_succeed:
                raise
            return  # what there is goes on being used
        new = self._hold(client)
        if keep_if_unchanged and client.settings == lease.client.settings:
            await self._close(new)
            return
        self._lease = new
        lease.replaced = True
        if not lease.users:
            await self._close(lease)

    def _hold(self, client: AsyncCerebrasClient) -> _Lease:
        lease = _Lease(client)
        self._open.add(lease)
        return lease

    async def _close(self, lease: _Lease) -> None:
        if lease in self._open:
            self._open.discard(lease)
            await asyncio.shield(lease.client.aclose())
