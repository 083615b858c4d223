"""Endless polling of the versions of an architecture, or of an endpoint, by the poll that all its followers share."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from airflow_provider_cerebras.api import operations
from airflow_provider_cerebras.api.status import Progress, Verdict
from airflow_provider_cerebras.hooks.cerebras import CerebrasHook
from airflow_provider_cerebras.metrics import DEPLOYMENT, MODEL_VERSION
from airflow_provider_cerebras.polling.pollers import Poller
from airflow_provider_cerebras.polling.shared import wait_async

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from airflow_provider_cerebras.api.models import DeploymentRows, ModelVersion, ModelVersionRows
    from airflow_provider_cerebras.api.operations import Call
    from airflow_provider_cerebras.metrics import Subject

RowsT = TypeVar("RowsT")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Collection(Generic[RowsT]):
    """The collection that is polled.

    :param call: the request.
    :param subject: name of the collection, for messages.
    :param metrics: how it is counted.
    :param belongs_to: under which tag.
    """

    call: Call[RowsT]
    subject: str
    metrics: Subject
    belongs_to: str


def versions_of(org_name: str, model_arch_id: str) -> Collection[ModelVersionRows]:
    """The versions of an architecture.

    :param org_name: name of the organization.
    :param model_arch_id: id of the architecture.
    """
    call = operations.find_model_versions(org_name, model_arch_id)
    return Collection(
        call, f"The list of versions of model {model_arch_id} of {org_name}", MODEL_VERSION, model_arch_id
    )


def deployments_of(endpoint_id: str) -> Collection[DeploymentRows]:
    """The deployments of an endpoint.

    :param endpoint_id: id of the endpoint.
    """
    return Collection(operations.find_deployments(endpoint_id), f"Endpoint {endpoint_id}", DEPLOYMENT, endpoint_id)


@dataclass(frozen=True)
class Snapshot(Generic[RowsT]):
    """The current state of the collection.

    :param rows: the versions or the deployments.
    :param to_keep: what to do when all events that came of this snapshot are stored.
    :param fetched: the versions that were asked for to describe its changes, by full name.
    """

    rows: RowsT
    to_keep: list[Callable[[], Awaitable[None]]] = field(default_factory=list)
    fetched: dict[str, asyncio.Task[ModelVersion | None]] = field(default_factory=dict)

    async def acknowledge(self) -> None:
        """All of them are."""
        for keep in self.to_keep:
            await keep()


class _RowsPoller(Poller[Any]):
    """Passes on every usable response about a collection, and never ends.

    No error is final here: a key may be replaced, or a host corrected.
    """

    def __init__(self, collection: Collection[RowsT], pass_on: Callable[[RowsT], object]) -> None:
        # Long ago, so that the interval does not begin short.
        super().__init__(deadline=None, started=0.0)
        self.can_give_up = False
        self.collection = self.collective = self.call = collection.call
        self.metrics = collection.metrics
        self.subject = collection.subject
        self.key = ""
        self.ids = {}
        self.belongs_to = collection.belongs_to
        self._pass_on: Callable[[Any], object] = pass_on

    def _judge(self, response: object) -> Verdict:
        self._pass_on(response)
        return Verdict(Progress.PENDING, "it is watched for changes")

    def _on_verdict(self, verdict: Verdict, now: float) -> None:
        """Go on."""

    def _on_refusal(self, error: Exception, now: float) -> None:
        """Go on."""

    _on_absence = _on_refusal


async def follow(
    *, conn_id: str, collection: Collection[RowsT], poll_interval: float
) -> AsyncIterator[Snapshot[RowsT]]:
    """Poll until cancelled.

    :param conn_id: id of the connection.
    :param collection: what to poll.
    :param poll_interval: the interval between two polls, in seconds.
    """
    responses: asyncio.Queue[RowsT | None] = asyncio.Queue()
    waiting = asyncio.create_task(
        wait_async(
            conn_id,
            CerebrasHook(cerebras_conn_id=conn_id).get_async_conn,
            _RowsPoller(collection, responses.put_nowait),
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


async def acknowledged(snapshots: AsyncIterator[Snapshot[RowsT]]) -> AsyncIterator[Snapshot[RowsT]]:
    """Take the events of a snapshot for stored when it is time for the next one.

    :param snapshots: the snapshots.
    """
    before: Snapshot[RowsT] | None = None
    async for snapshot in snapshots:
        if before is not None:
            await before.acknowledge()
        yield snapshot
        before = snapshot
