"""The base of the triggers that start DAGs: they poll until cancelled, and send an event for each change.

The service is polled by the same shared poll that tasks wait by. On top of it lies Airflow's shared stream, for what
it alone can tell: that an event is stored in the database. Only then is kept what has been seen, in the asset's state
store. A triggerer that dies in between sees the same again and sends the event again, so none is lost.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import time
from abc import abstractmethod
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, cast

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from airflow_provider_cerebras.api.names import InvalidValue, shown
from airflow_provider_cerebras.triggers._snapshots import acknowledged, follow
from airflow_provider_cerebras.triggers._standstill import Standstill
from airflow_provider_cerebras.version_compat import AIRFLOW_V_3_3_PLUS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Sequence

    from airflow.triggers.shared_stream import SharedStreamProducer
    from pydantic import JsonValue

    from airflow_provider_cerebras.triggers._changes import ChangeDetector
    from airflow_provider_cerebras.triggers._snapshots import Collection, Snapshot

RowsT = TypeVar("RowsT")
ChangeT = TypeVar("ChangeT")


class WatchTrigger(BaseEventTrigger, Generic[RowsT, ChangeT]):
    """Send an event for each change.

    :param detector: finds the changes.
    :param collection: what to poll.
    :param watched: distinguishes this watcher from others, for the key of its stored state.
    :param poll_interval: the interval between two polls, in seconds.
    :param cerebras_conn_id: id of the connection.
    """

    arguments: ClassVar[tuple[str, ...]]
    """The names of the keyword arguments, which are stored."""

    def __init__(
        self,
        *,
        detector: ChangeDetector[RowsT, ChangeT],
        collection: Collection[RowsT],
        watched: list[JsonValue],
        poll_interval: float,
        cerebras_conn_id: str,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        if not (math.isfinite(poll_interval) and poll_interval > 0):
            raise InvalidValue(f"poll_interval: must be more than 0 seconds, not {shown(poll_interval)}.")
        self.poll_interval = poll_interval
        self.cerebras_conn_id = cerebras_conn_id
        self._detector = detector
        self._collection = collection
        self._key = f"cerebras_seen_{hashlib.sha256(json.dumps(watched).encode()).hexdigest()[:16]}"
        self._kept: JsonValue = None

    @abstractmethod
    async def _payload(self, change: ChangeT, snapshot: Snapshot[RowsT]) -> dict[str, JsonValue]:
        """Describe a change. It is plain JSON without secrets."""

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the keyword arguments; both are stored, and neither holds a secret."""
        path = f"{type(self).__module__}.{type(self).__qualname__}"
        return path, {name: getattr(self, name) for name in self.arguments}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Send events where Airflow has no shared stream that reports stored events."""
        snapshots = follow(conn_id=self.cerebras_conn_id, collection=self._collection, poll_interval=self.poll_interval)
        async for event in self.filter_shared_stream(acknowledged(snapshots)):
            yield event

    def shared_stream_key(self) -> Hashable | None:
        """Name the stream; watchers of the same architecture or endpoint share it, whatever each is after."""
        try:
            import airflow_provider_cerebras.triggers._shared_stream  # noqa: F401
        except ImportError as error:
            if AIRFLOW_V_3_3_PLUS:
                self.log.warning(
                    "This Airflow has no shared streams any more (%s): each watcher polls by itself.", error
                )
            return None
        return ("cerebras", self.cerebras_conn_id, self._collection.call.path, self.poll_interval)

    @classmethod
    def create_shared_stream_producer(cls, kwargs: dict[str, Any]) -> SharedStreamProducer:
        """Make the object that polls and learns which events have been stored.

        :param kwargs: those of a trigger of the stream.
        """
        from airflow_provider_cerebras.triggers._shared_stream import SnapshotProducer

        watcher = cls(**kwargs)
        return SnapshotProducer(watcher.cerebras_conn_id, watcher._collection, watcher.poll_interval)

    async def filter_shared_stream(self, shared_stream: AsyncIterator[Any]) -> AsyncIterator[TriggerEvent]:
        """Send the changes for this watcher, and keep its state once all of them are stored.

        :param shared_stream: the snapshots.
        """
        seen = self._kept = await self._recall()
        with Standstill() as standstill:
            async for snapshot in shared_stream:
                changes, now_seen = self._detector.compare(seen, snapshot.rows, time.time())
                if changes:
                    changes, now_seen = await self._compare_again(standstill, seen, snapshot.rows)
                seen = now_seen
                for change in changes:
                    yield TriggerEvent(await self._payload(change, snapshot))
                if seen != self._kept:
                    snapshot.to_keep.append(partial(self._keep, seen))

    async def _compare_again(
        self, standstill: Standstill, seen: JsonValue, rows: RowsT
    ) -> tuple[Sequence[ChangeT], JsonValue]:
        """Leave out what another triggerer has sent, which may have this trigger now or have had it meanwhile."""
        await standstill.settle()
        stored = await self._recall()
        if stored is not None and stored != self._kept:
            self._kept = stored
            seen = self._detector.merge(stored, seen)
        return self._detector.compare(seen, rows, time.time())

    async def _recall(self) -> JsonValue:
        store: Any = getattr(self, "asset_state_store", None)
        if store is None:
            self.log.info("This Airflow keeps no state of assets: what happens while no triggerer runs is not seen.")
            return None
        try:
            return cast("JsonValue", await _awaitable(store, "get")(self._key))
        except ValueError as error:
            self.log.warning(
                "What has been seen cannot be kept, so what happens while no triggerer runs is not seen. Do several "
                "assets have this same trigger? Give each one with another poll_interval. %s",
                error,
            )
            self.asset_state_store = None
            return None

    async def _keep(self, seen: JsonValue) -> None:
        store: Any = getattr(self, "asset_state_store", None)
        if store is not None:
            try:
                stored = await _awaitable(store, "get")(self._key)
                if stored is not None and stored != self._kept:
                    seen = self._detector.merge(stored, seen)
                await _awaitable(store, "set")(self._key, seen)
            except Exception as error:  # noqa: BLE001  it is behind another API, and the next snapshot tries again
                self.log.warning("What has been seen is not kept yet: %s", error)
                return
        self._kept = seen


def _awaitable(store: Any, verb: str) -> Callable[..., Awaitable[Any]]:
    """A method of the state store; the first of Airflow 3.3 have it in a blocking form only."""
    return getattr(store, f"a{verb}", None) or partial(asyncio.to_thread, getattr(store, verb))
