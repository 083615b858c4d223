"""Looking at the versions of an architecture for ever, by the poll that all share who want to know of them."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from airflow_provider_cerebras.api import operations
from airflow_provider_cerebras.hooks.cerebras import CerebrasHook
from airflow_provider_cerebras.metrics import MODEL_VERSION
from airflow_provider_cerebras.polling.pollers import Poller
from airflow_provider_cerebras.polling.shared import wait_async

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from airflow_provider_cerebras.api.models import ModelVersionRows

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Look:
    """The versions as they are now.

    :param rows: the versions.
    :param to_keep: what to do when all events that came of this look are stored.
    """

    rows: ModelVersionRows
    to_keep: list[Callable[[], Awaitable[None]]] = field(default_factory=list)

    async def acknowledge(self) -> None:
        """All of them are."""
        for keep in self.to_keep:
            await keep()


class _Rows(Poller[Any]):
    """Hears all there is of an architecture, and never comes to an end."""

    metrics = MODEL_VERSION

    def __init__(self, org_name: str, model_arch_id: str, tell: Callable[[ModelVersionRows], object]) -> None:
        # Long ago, so that the interval does not begin short.
        super().__init__(deadline=None, started=0.0)
        self.collection = self.collective = self.call = operations.find_model_versions(org_name, model_arch_id)
        self.subject = f"The versions of model {model_arch_id} of {org_name}"
        self.key = ""
        self.ids = {}
        self.belongs_to = model_arch_id
        self._tell = tell

    def apply(self, answer: object, now: float) -> None:
        """Pass the answer on, or remember that there was none. Nothing is final: a key may be mended, for one."""
        if isinstance(answer, Exception):
            self.failures += 1
            self.progress = f"cannot ask: {answer}"
        else:
            self.failures, self.progress = 0, "watched"
            self._tell(cast("ModelVersionRows", answer))

    def _judge(self, answer: object) -> Any:
        raise NotImplementedError

    def _on_verdict(self, verdict: object) -> None:
        raise NotImplementedError


async def follow(*, conn_id: str, org_name: str, model_arch_id: str, poll_interval: float) -> AsyncIterator[Look]:
    """Look for ever.

    :param conn_id: id of the connection.
    :param org_name: name of the organization.
    :param model_arch_id: id of the architecture.
    :param poll_interval: the interval between two looks, in seconds.
    """
    heard: asyncio.Queue[ModelVersionRows | None] = asyncio.Queue()
    waiting = asyncio.create_task(
        wait_async(
            conn_id,
            CerebrasHook(cerebras_conn_id=conn_id).get_async_conn,
            _Rows(org_name, model_arch_id, heard.put_nowait),
            poll_interval=poll_interval,
            log=_log,
        )
    )
    waiting.add_done_callback(lambda _: heard.put_nowait(None))
    try:
        while (rows := await heard.get()) is not None:
            yield Look(rows)
        waiting.result()  # it ends by a mistake of ours only
    finally:
        waiting.cancel()
        await asyncio.wait([waiting])


async def acknowledged(looks: AsyncIterator[Look]) -> AsyncIterator[Look]:
    """Take the events of a look for stored when it is time for the next one.

    :param looks: the looks.
    """
    before: Look | None = None
    async for look in looks:
        if before is not None:
            await before.acknowledge()
        yield look
        before = look
