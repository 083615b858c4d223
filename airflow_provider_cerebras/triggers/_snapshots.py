"""Polling the versions of an architecture for ever, by the poll that all share who follow something of it."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from airflow_provider_cerebras.api import operations
from airflow_provider_cerebras.api.status import Progress, Verdict
from airflow_provider_cerebras.hooks.cerebras import CerebrasHook
from airflow_provider_cerebras.metrics import MODEL_VERSION
from airflow_provider_cerebras.polling.pollers import Poller
from airflow_provider_cerebras.polling.shared import wait_async

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from airflow_provider_cerebras.api.models import ModelVersionRows

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Snapshot:
    """The versions as they are now.

    :param rows: the versions.
    :param to_keep: what to do when all events that came of this snapshot are stored.
    """

    rows: ModelVersionRows
    to_keep: list[Callable[[], Awaitable[None]]] = field(default_factory=list)

    async def acknowledge(self) -> None:
        """All of them are."""
        for keep in self.to_keep:
            await keep()


class _RowsPoller(Poller[Any]):
    """Passes on every usable response about an architecture, and never comes to an end.

    No error is final here: a key may be replaced, or a host corrected.
    """

    metrics = MODEL_VERSION

    def __init__(self, org_name: str, model_arch_id: str, pass_on: Callable[[ModelVersionRows], object]) -> None:
        # Long ago, so that the interval does not begin short.
        super().__init__(deadline=None, started=0.0)
        self.collection = self.collective = self.call = operations.find_model_versions(org_name, model_arch_id)
        self.subject = f"The list of versions of model {model_arch_id} of {org_name}"
        self.key = ""
        self.ids = {}
        self.belongs_to = model_arch_id
        self._pass_on = pass_on

    def _judge(self, response: object) -> Verdict:
        self._pass_on(cast("ModelVersionRows", response))
        return Verdict(Progress.PENDING, "it is watched for changes")

    def _on_verdict(self, verdict: Verdict, now: float) -> None:
        """Go on."""

    def _on_refusal(self, error: Exception, now: float) -> None:
        """Go on."""


async def follow(*, conn_id: str, org_name: str, model_arch_id: str, poll_interval: float) -> AsyncIterator[Snapshot]:
    """Poll for ever.

    :param conn_id: id of the connection.
    :param org_name: name of the organization.
    :param model_arch_id: id of the architecture.
    :param poll_interval: the interval between two polls, in seconds.
    """
    responses: asyncio.Queue[ModelVersionRows | None] = asyncio.Queue()
    waiting = asyncio.create_task(
        wait_async(
            conn_id,
            CerebrasHook(cerebras_conn_id=conn_id).get_async_conn,
            _RowsPoller(org_name, model_arch_id, responses.put_nowait),
            poll_interval=poll_interval,
            log=_log,
        )
    )
    waiting.add_done_callback(lambda _: responses.put_nowait(None))
    try:
        while (rows := await responses.get()) is not None:
            yield Snapshot(rows)
        waiting.result()  # it ends by a mistake of ours only
    finally:
        waiting.cancel()
        await asyncio.wait([waiting])


async def acknowledged(snapshots: AsyncIterator[Snapshot]) -> AsyncIterator[Snapshot]:
    """Take the events of a snapshot for stored when it is time for the next one.

    :param snapshots: the snapshots.
    """
    before: Snapshot | None = None
    async for snapshot in snapshots:
        if before is not None:
            await before.acknowledge()
        yield snapshot
        before = snapshot
