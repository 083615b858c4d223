"""One poll for all who wait for the same thing.

The waiters of one event loop that follow something of the same *collection* (the versions of an architecture, or an
endpoint) with the same connection share one poll, so requests grow with what is followed and not with how many tasks
follow it. All polls of a connection share one client. What a response means to a waiter is decided in :mod:`.pollers`.

A worker has one waiter only; :mod:`.blocking` waits there.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from airflow_provider_cerebras.api.errors import CerebrasError, Unauthorized
from airflow_provider_cerebras.polling._batching import changes, what_to_ask
from airflow_provider_cerebras.polling.intervals import NEWCOMER_INTERVAL, jitter, pause
from airflow_provider_cerebras.polling.log import tell

if TYPE_CHECKING:
    from collections.abc import Hashable

    from airflow_provider_cerebras.api.client import AsyncCerebrasClient
    from airflow_provider_cerebras.api.operations import Call
    from airflow_provider_cerebras.polling.log import Log
    from airflow_provider_cerebras.polling.outcome import Outcome
    from airflow_provider_cerebras.polling.pollers import Poller

Connect = Callable[[], Awaitable["AsyncCerebrasClient"]]


async def wait_async(conn_id: str, connect: Connect, poller: Poller[Any], *, poll_interval: float, log: Log) -> Outcome:
    """Wait until the end, sharing the poll with all on this event loop that follow something of the same collection.

    :param conn_id: id of the connection; those with the same one share a client.
    :param connect: makes the client; if that fails it is tried again, like a look that got no answer.
    :param poller: what to ask for.
    :param poll_interval: the longest interval between two looks, in seconds.
    :param log: where the progress goes.
    """
    loop = asyncio.get_running_loop()
    services = _services.setdefault(loop, {})
    service = services.setdefault(conn_id, _Service(connect))
    poll = service.polls.setdefault(poller.collection, _Poll(service))
    waiter = _Waiter(poller, poll_interval, log, loop.create_future())
    poll.join(waiter)
    try:
        return await waiter.ended
    finally:
        poll.waiters.remove(waiter)
        if not poll.waiters:
            # All bookkeeping before the first await: whoever comes meanwhile begins afresh.
            del service.polls[poller.collection]
            if not service.polls:
                del services[conn_id]
            # Whoever leaves may be cancelled once more meanwhile.
            await asyncio.shield(poll.close())


class _Service:
    """The client of a connection on an event loop, and the polls that use it."""

    def __init__(self, connect: Connect) -> None:
        self.polls: dict[Hashable, _Poll] = {}
        self._connect = connect
        self._connecting = asyncio.Lock()
        self._clients: list[AsyncCerebrasClient] = []
        self._proven: set[AsyncCerebrasClient] = set()

    async def ask(self, call: Call[Any]) -> tuple[AsyncCerebrasClient, bytes]:
        """Return the body of the answer, and the client that can read it."""
        client = await self._client()
        try:
            body = await client.fetch_once(call)
        except Unauthorized:
            if client not in self._proven:
                raise
            # The key worked until now, so it has been replaced: read the connection again.
            client = await self._client(other_than=client)
            body = await client.fetch_once(call)
        self._proven.add(client)
        return client, body

    async def close(self) -> None:
        for client in self._clients:
            await client.aclose()

    async def _client(self, other_than: AsyncCerebrasClient | None = None) -> AsyncCerebrasClient:
        async with self._connecting:
            if not self._clients or self._clients[-1] is other_than:
                self._clients.append(await self._connect())
            return self._clients[-1]


class _Poll:
    """One request at a time for a collection, for all who wait for something in it."""

    def __init__(self, service: _Service) -> None:
        self.waiters: list[_Waiter] = []
        self._service = service
        self._task: asyncio.Task[None] | None = None
        self._newcomer = asyncio.Event()
        self._last: tuple[Call[Any], bytes] | None = None
        self._answer: object = None
        self._failures = 0
        self._retry_after = 0.0

    def join(self, waiter: _Waiter) -> None:
        self.waiters.append(waiter)
        self._newcomer.set()
        if self._task is None or self._task.done():
            # What the poll itself logs is not the first waiter's.
            self._task = asyncio.create_task(self._run(), context=Context())
            self._task.add_done_callback(self._ended)

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        if not self._service.polls:
            await self._service.close()

    async def _run(self) -> None:
        while True:
            self._newcomer.clear()
            await self._look()
            await self._sleep()

    async def _look(self) -> None:
        asking = list(self.waiters)
        before = self._answer
        poller = asking[0].poller
        poller.metrics.count("polls", poller.belongs_to)
        answer = await self._ask(what_to_ask([waiter.poller for waiter in asking]))
        changed, now = changes(before, answer), time.time()
        for waiter in asking:
            if waiter.poller.is_affected(changed, now):
                waiter.tell(answer, now)

    async def _ask(self, call: Call[Any]) -> object:
        """Return what the call answers, or what it ended in; a body like the last one is not parsed again."""
        try:
            client, body = await self._service.ask(call)
            if (call, body) != self._last:
                self._answer, self._last = await client.read_async(call, body), (call, body)
        except Exception as error:  # noqa: BLE001  reading the connection can fail in any way that Airflow can
            self._failures += 1
            self._retry_after = (isinstance(error, CerebrasError) and error.retry_after) or 0.0
            return error
        self._failures, self._retry_after = 0, 0.0
        return self._answer

    async def _sleep(self) -> None:
        waits = [(waiter.poller, waiter.poll_interval) for waiter in self.waiters if not waiter.ended.done()]
        if not waits:
            await self._newcomer.wait()
            return
        longest = pause(waits, now=time.time(), failures=self._failures, retry_after=self._retry_after, jitter=jitter())
        # A newcomer is owed a look at once, but not more than the service has asked for.
        at_least = min(longest, max(NEWCOMER_INTERVAL, self._retry_after))
        await asyncio.sleep(at_least)
        with suppress(TimeoutError):
            async with asyncio.timeout(longest - at_least):
                await self._newcomer.wait()

    def _ended(self, task: asyncio.Task[None]) -> None:
        # It ends by being stopped. Should it ever end by a mistake of ours, nobody may wait forever.
        if not task.cancelled() and (error := task.exception()):
            for waiter in self.waiters:
                if not waiter.ended.done():
                    waiter.ended.set_exception(error)


@dataclass(eq=False, frozen=True, slots=True)
class _Waiter:
    poller: Poller[Any]
    poll_interval: float
    log: Log
    ended: asyncio.Future[Outcome]
    # Airflow tells by the context whose log a line belongs to.
    context: Context = field(default_factory=copy_context)

    def tell(self, answer: object, now: float) -> None:
        if self.ended.done():
            return
        try:
            if outcome := self.context.run(partial(tell, self.poller, answer, now=now, log=self.log)):
                self.ended.set_result(outcome)
        except Exception as error:  # noqa: BLE001  whatever it is, it is no other waiter's
            self.ended.set_exception(error)


_services: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, _Service]] = WeakKeyDictionary()
