"""The snapshots as a stream of Airflow's that tells which events are stored. It needs Airflow 3.3."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.triggers.shared_stream import SharedStreamProducer

from airflow_provider_cerebras.triggers._snapshots import Snapshot, follow

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from airflow.triggers.shared_stream import AdvanceItem


class NotStored(Exception):
    """An event may not have been stored, so all who share the stream begin again from what they have kept."""


class SnapshotProducer(SharedStreamProducer):
    """Airflow's end of the stream.

    :param source: what to follow; see :func:`~airflow_provider_cerebras.triggers._snapshots.follow`.
    """

    def __init__(self, source: dict[str, Any]) -> None:
        self._source = source

    async def open_stream(self) -> AsyncIterator[tuple[Snapshot, Snapshot]]:
        """Poll for ever."""
        async for snapshot in follow(**self._source):
            yield snapshot, snapshot

    async def advance(self, batch: Sequence[AdvanceItem]) -> None:
        """Have kept what was seen, now that all events that came of it are stored."""
        for item in batch:
            snapshot: Snapshot = item.broker_payload
            if snapshot.to_keep and item.outcome.failed:
                raise NotStored(f"An event of {self._source} may not have been stored; it will be sent again.")
            await snapshot.acknowledge()
