"""One poll for all who wait for the same thing.

The waiters of one event loop that follow something of the same *collection* (the versions of an architecture, or an
endpoint) with the same connection share one poll, so requests grow with the followed things and not with how many tasks
follow it. All polls of a connection share one client. What a response means to a waiter is decided in :mod:`.pollers`.

A worker has one waiter only; :mod:`.blocking` waits there.
"""

from __future__ import annotations

import asyncio
import math
import time
from contextlib import suppress
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from airflow_provider_cerebras.api.errors import CerebrasError, NotFound, UnexpectedResponse
from airflow_provider_cerebras.polling._batching import NOTHING, changes, own_calls, what_to_ask
from airflow_provider_cerebras.polling._clients import ClientPool
from airflow_provider_cerebras.polling.intervals import NEWCOMER_INTERVAL, jitter, pause
from airflow_provider_cerebras.polling.log import WaitLog

if TYPE_CHECKING:
    from collections.abc import Container, Hashable, Sequence

    from airflow_provider_cerebras.api.operations import Call
    from airflow_provider_cerebras.polling._clients import Connect
    from airflow_provider_cerebras.polling.log import Log
    from airflow_provider_cerebras.polling.outcome import Outcome
    from airflow_provider_cerebras.polling.pollers import Poller

MAX_OWN_CALLS = 32
"""Requests for single ones in one round at the most, beside the one for the whole collection."""
MIN_COLLECTIVE_PAUSE = 60.0
"""Seconds in which a collection is not asked for as a whole, after two responses in a row that could not be used."""
MAX_COLLECTIVE_PAUSE = 600.0
"""The same at the most; it doubles each time."""


async def wait_async(conn_id: str, connect: Connect, poller: Poller[Any], *, poll_interval: float, log: Log) -> Outcome:
    """Wait until the end, sharing the poll with all on this event loop that follow something of the same collection.

    :param conn_id: id of the connection; those with the same one share a client.
    :param connect: makes the client; if that fails it is tried again, like a poll that got no response.
    :param poller: what to ask for.
    :param poll_interval: the longest interval between two polls, in seconds.
    :param log: where the progress goes.
    """
    loop = asyncio.get_running_loop()
    services = _services.setdefault(loop, {})
    service = services.get(conn_id)
    if service is None:
        service = services[conn_id] = _Service(connect)
    else:
        service.clients.on_new_waiter()
    poll = service.polls.setdefault(poller.collection, _Poll(service))
    wait_log = WaitLog(log, poller, poll_interval=poll_interval)
    wait_log.begin(time.time())
    waiter = _Waiter(poller, poll_interval, wait_log, loop.create_future())
    poll.join(waiter)
    try:
        return await waiter.ended
    finally:
        poll.waiters.remove(waiter)
        if not poll.waiters:
            # All bookkeeping before the first await: a waiter that comes meanwhile begins afresh.
            del service.polls[poller.collection]
            if not service.polls:
                del services[conn_id]
            # A waiter that leaves may be cancelled once more meanwhile.
            await asyncio.shield(poll.close())


class _Service:
    """The client of a connection on an event loop, and the polls that use it."""

    def __init__(self, connect: Connect) -> None:
        self.polls: dict[Hashable, _Poll] = {}
        self.clients = ClientPool(connect)


class _Poll:
    """One request at a time for a collection, for all who wait for something in it."""

    def __init__(self, service: _Service) -> None:
        self.waiters: list[_Waiter] = []
        self._service = service
        self._task: asyncio.Task[None] | None = None
        self._newcomer = asyncio.Event()
        self._last: tuple[Call[Any], bytes] | None = None
        self._response: object = None
        self._failures = 0
        self._retry_after = 0.0
        # Until then, a response that has changed nothing means nothing to any waiter.
        self._quiet_until = -math.inf
        self._collective_from = -math.inf
        self._collective_pause = 0.0
        self._asked: dict[Call[Any], int] = {}
        self._own_requests = 0

    def join(self, waiter: _Waiter) -> None:
        self.waiters.append(waiter)
        self._quiet_until = -math.inf
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
            await self._service.clients.close()

    async def _run(self) -> None:
        while True:
            self._newcomer.clear()
            await self._poll()
            await self._sleep()

    async def _poll(self) -> None:
        """Poll once for all; then singly, for those that the common response does not settle."""
        waiters = list(self.waiters)
        call = what_to_ask([waiter.poller for waiter in waiters])
        singles = [waiter for waiter in waiters if waiter.poller.call is not waiter.poller.collective]
        is_collective = bool(singles) and call is waiters[0].poller.collective
        if is_collective and time.time() < self._collective_from:
            await self._poll_singly(singles, instead=True)
            return
        before = self._response
        response = await self._fetch(call)
        if is_collective and self._is_unusable(response):
            others = [waiter for waiter in waiters if waiter.poller.call is waiter.poller.collective]
            self._apply(others, response, changes(before, response))
            await self._poll_singly(singles, instead=True)
            return
        self._apply(waiters, response, changes(before, response))
        if is_collective:
            await self._poll_singly([waiter for waiter in singles if waiter.poller.needs_own_call])

    def _is_unusable(self, response: object) -> bool:
        """Whether the response to the common call is one that cannot be read, and not for the first time in a row."""
        if not isinstance(response, UnexpectedResponse):
            if not isinstance(response, Exception):
                self._collective_pause = 0.0
            return False
        is_first = self._collective_pause == 0.0
        # It is doubled before it is used first.
        self._collective_pause = min(max(2 * self._collective_pause, MIN_COLLECTIVE_PAUSE / 2), MAX_COLLECTIVE_PAUSE)
        if is_first:
            return False
        self._collective_from = time.time() + self._collective_pause
        return True

    def _apply(self, waiters: Sequence[_Waiter], response: object, changed: Container[object]) -> None:
        now = time.time()
        if changed is NOTHING and now < self._quiet_until:
            return
        quiet_until = math.inf
        for waiter in waiters:
            poller, log = waiter.poller, waiter.log
            if poller.is_affected(changed, now):
                waiter.apply(response, now)
            elif now >= log.next_report:
                waiter.report(now)
            deadline = math.inf if poller.deadline is None else poller.deadline
            quiet_until = min(quiet_until, log.next_report, deadline) if poller.settled else -math.inf
        # A waiter that came in between was given nothing yet.
        self._quiet_until = quiet_until if len(waiters) == len(self.waiters) else -math.inf

    async def _poll_singly(self, waiters: Sequence[_Waiter], *, instead: bool = False) -> None:
        """Poll single ones: beside the common call, or instead of it."""
        if not waiters:
            self._asked.clear()
            return
        calls = own_calls(
            [waiter.poller for waiter in waiters], now=time.time(), asked=self._asked, limit=MAX_OWN_CALLS
        )
        self._quiet_until = -math.inf
        failures = self._failures
        usable = False
        for call in calls:
            self._own_requests += 1
            self._asked[call] = self._own_requests
            response = await self._fetch(call, keep=False)
            # That one of many is gone is no reason to poll the others more seldom.
            usable = usable or not isinstance(response, Exception) or isinstance(response, NotFound)
            now = time.time()
            for waiter in waiters:
                if waiter.poller.call == call:
                    waiter.apply(response, now)
                    # A common response like the last one still does not settle it.
                    waiter.poller.settled = False
            if self._retry_after:
                break
        if instead:
            self._failures = 0 if usable else failures + 1
        else:
            self._failures = failures

    async def _fetch(self, call: Call[Any], *, keep: bool = True) -> object:
        """Return the response to a call, or its error; a body like the last one is not parsed again."""
        poller = self.waiters[0].poller if self.waiters else None
        if poller is not None:
            poller.metrics.count("polls", poller.belongs_to)
        clients = self._service.clients
        try:
            client, body = await clients.fetch(call)
            if not keep:
                response: object = await client.read_async(call, body)
            else:
                if (call, body) != self._last:
                    self._response, self._last = await client.read_async(call, body), (call, body)
                response = self._response
            clients.on_response()
        except Exception as error:  # noqa: BLE001  reading the connection can fail in any way that Airflow can
            if isinstance(error, UnexpectedResponse):
                clients.on_unusable(error)
            self._failures += 1
            self._retry_after = (isinstance(error, CerebrasError) and error.retry_after) or 0.0
            return error
        self._failures, self._retry_after = 0, 0.0
        return response

    async def _sleep(self) -> None:
        waits = [(waiter.poller, waiter.poll_interval) for waiter in self.waiters if not waiter.ended.done()]
        if not waits:
            await self._newcomer.wait()
            return
        longest = pause(waits, now=time.time(), failures=self._failures, retry_after=self._retry_after, jitter=jitter())
        # A newcomer is owed a poll at once, but not more than the service has asked for.
        at_least = min(longest, max(NEWCOMER_INTERVAL, self._retry_after))
        await asyncio.sleep(at_least)
        with suppress(TimeoutError):
            async with asyncio.timeout(longest - at_least):
                await self._newcomer.wait()

    def _ended(self, task: asyncio.Task[None]) -> None:
        # It ends by being stopped. Should it ever end by a mistake of ours, no task may wait forever.
        if not task.cancelled() and (error := task.exception()):
            for waiter in self.waiters:
                if not waiter.ended.done():
                    waiter.ended.set_exception(error)


@dataclass(eq=False, frozen=True, slots=True)
class _Waiter:
    poller: Poller[Any]
    poll_interval: float
    log: WaitLog
    ended: asyncio.Future[Outcome]
    # Airflow finds the log of a line by the context.
    context: Context = field(default_factory=copy_context)

    def apply(self, response: object, now: float) -> None:
        if self.ended.done():
            return
        try:
            if outcome := self.context.run(partial(self.log.apply, response, now)):
                self.ended.set_result(outcome)
        except Exception as error:  # noqa: BLE001  whatever it is, it is no other waiter's
            self.ended.set_exception(error)

    def report(self, now: float) -> None:
        if not self.ended.done():
            self.context.run(self.log.report, now)


_services: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, _Service]] = WeakKeyDictionary()
