"""The looks as a stream of Airflow's that tells which events are stored. It needs Airflow 3.3."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.triggers.shared_stream import SharedStreamProducer

from airflow_provider_cerebras.triggers._snapshots import Look, follow

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from airflow.triggers.shared_stream import AdvanceItem


class NotStored(Exception):
    """An event may not have been stored, so all who share the stream begin again from what they have kept."""


class LookProducer(SharedStreamProducer):
    """Airflow's end of the stream.

    :param source: what to follow; see :func:`~airflow_provider_cerebras.triggers._snapshots.follow`.
    """

    def __init__(self, source: dict[str, Any]) -> None:
        self._source = source

    async def open_stream(self) -> AsyncIterator[tuple[Look, Look]]:
        """Look for ever."""
        async for look in follow(**self._source):
            yield look, look

    async def advance(self, batch: Sequence[AdvanceItem]) -> None:
        """Have kept what was seen, now that all events that came of it are stored."""
        for item in batch:
            look: Look = item.broker_payload
            if look.to_keep and item.outcome.failed:
                raise NotStored(f"An event of {self._source} may not have been stored; it will be sent again.")
            await look.acknowledge()
