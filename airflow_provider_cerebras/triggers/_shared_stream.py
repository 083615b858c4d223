"""The snapshots as a shared stream of Airflow, which reports the stored events. It needs Airflow 3.3."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.triggers.shared_stream import SharedStreamProducer

from airflow_provider_cerebras.triggers._snapshots import Collection, Snapshot, follow

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from airflow.triggers.shared_stream import AdvanceItem


class NotStored(Exception):
    """An event may not have been stored, so all who share the stream begin again from what they have kept."""


class SnapshotProducer(SharedStreamProducer):
    """Airflow's end of the stream.

    :param conn_id: id of the connection.
    :param collection: what to poll.
    :param poll_interval: the interval between two polls, in seconds.
    """

    def __init__(self, conn_id: str, collection: Collection[Any], poll_interval: float) -> None:
        self._conn_id = conn_id
        self._collection = collection
        self._poll_interval = poll_interval

    async def open_stream(self) -> AsyncIterator[tuple[Snapshot[Any], Snapshot[Any]]]:
        """Poll until cancelled."""
        async for snapshot in follow(
            conn_id=self._conn_id, collection=self._collection, poll_interval=self._poll_interval
        ):
            yield snapshot, snapshot

    async def advance(self, batch: Sequence[AdvanceItem]) -> None:
        """Store what was seen, now that all its events are stored."""
        for item in batch:
            snapshot: Snapshot[Any] = item.broker_payload
            if snapshot.to_keep and item.outcome.failed:
                raise NotStored(
                    f"{self._collection.subject}: an event may not have been stored; it will be sent again."
                )
            await snapshot.acknowledge()
