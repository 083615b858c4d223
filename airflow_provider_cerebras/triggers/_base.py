"""What the triggers share: they wait until something ends, and send one event that says how."""

from __future__ import annotations

import time
from abc import abstractmethod
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_cerebras.hooks.subclasses import load_hook_class
from airflow_provider_cerebras.polling.outcome import Outcome, Status
from airflow_provider_cerebras.polling.shared import wait_async
from airflow_provider_cerebras.traces import set_attributes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from airflow_provider_cerebras.hooks.cerebras import CerebrasHook
    from airflow_provider_cerebras.polling.pollers import Poller

_BACKSTOP = timedelta(minutes=10)


class WaitTrigger(BaseTrigger):
    """Wait until what a subclass watches has ended.

    :param cerebras_conn_id: id of the connection.
    :param poll_interval: the longest interval between two looks, in seconds.
    :param deadline: when to give up, in Unix seconds, so that a restart of the triggerer does not put it off; None:
        never.
    :param hook_class: path of a subclass of the hook that is used in its place, ``module:name``; None: the hook itself.
    """

    def __init__(
        self,
        *,
        cerebras_conn_id: str,
        poll_interval: float,
        deadline: float | None = None,
        hook_class: str | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.cerebras_conn_id = cerebras_conn_id
        self.poll_interval = poll_interval
        self.deadline = deadline
        self.hook_class = hook_class

    @abstractmethod
    def _ids(self) -> dict[str, str]: ...

    def _along(self) -> dict[str, str]:
        """What else the event tells the task, which knows only what its arguments say when it goes on."""
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
        # A triggerer of an older version of this package does not know it.
        own_hook = {} if self.hook_class is None else {"hook_class": self.hook_class}
        return f"{type(self).__module__}.{type(self).__qualname__}", {**kwargs, **own_hook}

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
                # Those with the same connection and the same hook share a client.
                f"{self.cerebras_conn_id} {self.hook_class or ''}".strip(),
                hook.get_async_conn,
                poller,
                poll_interval=self.poll_interval,
                log=self.log,
            )
        set_attributes(**outcome.ids, outcome=outcome.status)
        yield TriggerEvent({**outcome.to_event(), **self._along()})

    def _hook(self) -> CerebrasHook:
        return load_hook_class(self.hook_class)(cerebras_conn_id=self.cerebras_conn_id)
