"""The base of the triggers that wait: each sends one event with the outcome."""

from __future__ import annotations

import platform
import time
from abc import abstractmethod
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_cerebras.exceptions import ConnectionUnusable
from airflow_provider_cerebras.hooks.connection import fingerprint
from airflow_provider_cerebras.hooks.subclasses import load_hook_class
from airflow_provider_cerebras.polling.outcome import Outcome, Status
from airflow_provider_cerebras.polling.shared import wait_async
from airflow_provider_cerebras.traces import set_attributes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from airflow_provider_cerebras.api.client import AsyncCerebrasClient
    from airflow_provider_cerebras.hooks.cerebras import CerebrasHook
    from airflow_provider_cerebras.polling.pollers import Poller

_BACKSTOP = timedelta(minutes=10)


class WaitTrigger(BaseTrigger):
    """Wait until what a subclass watches has ended.

    :param cerebras_conn_id: id of the connection.
    :param poll_interval: the longest interval between two polls, in seconds.
    :param deadline: when to give up, in Unix seconds, so that a restart of the triggerer does not put it off; None:
        never.
    :param hook_class: path of a subclass of the hook that is used in its place, ``module:name``; None: the hook itself.
    :param service: fingerprint of the base URL that the worker's connection has; the wait ends if the triggerer's has
        another one; None: any will do.
    """

    def __init__(
        self,
        *,
        cerebras_conn_id: str,
        poll_interval: float,
        deadline: float | None = None,
        hook_class: str | None = None,
        service: str | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.cerebras_conn_id = cerebras_conn_id
        self.poll_interval = poll_interval
        self.deadline = deadline
        self.hook_class = hook_class
        self.service = service

    @abstractmethod
    def _ids(self) -> dict[str, str]: ...

    def _along(self) -> dict[str, str]:
        """Return what else the event carries to the task, which knows only its arguments when it goes on."""
        return {}

    @abstractmethod
    def _poller(self, started: float) -> Poller[Any]: ...

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the keyword arguments; both are stored, and neither holds a secret."""
        kwargs = {
            "cerebras_conn_id": self.cerebras_conn_id,
            "poll_interval": self.poll_interval,
            "deadline": self.deadline,
        }
        # A triggerer of an older version of this package does not know them.
        optional = {"hook_class": self.hook_class, "service": self.service}
        given = {name: value for name, value in optional.items() if value is not None}
        return f"{type(self).__module__}.{type(self).__qualname__}", {**kwargs, **given}

    @property
    def backstop(self) -> timedelta | None:
        """For ``defer(timeout=...)``: past the deadline, so that the trigger itself says what was still going on."""
        if self.deadline is None:
            return None
        return timedelta(seconds=max(0.0, self.deadline - time.time())) + _BACKSTOP

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and send one event: ``status``, ``message`` and the ids of what was waited for."""
        try:
            poller = self._poller(time.time())
            hook = self._hook()
        except (ValueError, TypeError, ImportError) as error:
            # Without an event the worker would begin afresh.
            outcome = Outcome(Status.UNREACHABLE, f"This cannot be waited for. {error}", self._ids())
        else:
            outcome = await wait_async(
                # Those with the same connection, the same hook and the same service share a client.
                " ".join(filter(None, [self.cerebras_conn_id, self.hook_class, self.service])),
                partial(self._connect, hook),
                poller,
                poll_interval=self.poll_interval,
                log=self.log,
            )
        set_attributes(**outcome.ids, outcome=outcome.status)
        yield TriggerEvent({**outcome.to_event(), **self._along()})

    async def _connect(self, hook: CerebrasHook) -> AsyncCerebrasClient:
        """Make the client, unless it would ask another service than the worker has begun to wait at.

        :raises ConnectionUnusable: if it would: what that one says of the ids means nothing.
        """
        client = await hook.get_async_conn()
        if self.service is None or fingerprint(client.settings.base_url) == self.service:
            return client
        base_url = client.settings.base_url
        await client.aclose()
        raise ConnectionUnusable(
            f"Connection {self.cerebras_conn_id!r}: leads the triggerer on host {platform.node()} to {base_url}, "
            "and the worker that began this wait elsewhere. Define the connection alike on both, "
            "in the database or in a secrets backend."
        )

    def _hook(self) -> CerebrasHook:
        return load_hook_class(self.hook_class)(cerebras_conn_id=self.cerebras_conn_id)
