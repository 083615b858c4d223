"""Trigger that starts DAGs: for an ``AssetWatcher`` on a model, whoever changes the model and by whatever means.

Versions are polled by the same shared poll that tasks wait by. On top of it lies Airflow's shared stream, for what
it alone can tell: that an event is stored in the database. Only then is kept what has been seen, in the asset's state
store. A triggerer that dies in between sees the same again and sends the event again, so none is lost.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import time
from functools import partial
from typing import TYPE_CHECKING, Any, cast

try:
    from airflow.triggers.base import BaseEventTrigger, TriggerEvent
except ImportError as error:
    raise ImportError(f"{__name__} needs Airflow 3.0 or later: before, there are no watchers of assets.") from error

from airflow_provider_cerebras.assets.provenance import of_version
from airflow_provider_cerebras.hooks.cerebras import CerebrasHook
from airflow_provider_cerebras.triggers._changes import AliasMoves, ReadyVersions
from airflow_provider_cerebras.triggers._snapshots import acknowledged, follow
from airflow_provider_cerebras.triggers._standstill import Standstill

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Hashable

    from airflow.triggers.shared_stream import SharedStreamProducer
    from pydantic import JsonValue

    from airflow_provider_cerebras.api.models import ModelVersionRows
    from airflow_provider_cerebras.triggers._changes import Change, ChangeDetector, Found


class CerebrasModelVersionEventTrigger(BaseEventTrigger):
    """Send an event for each version that becomes ready, or each time that an alias comes to stand for another one.

    It is for an ``AssetWatcher`` (Airflow 3.0 and later). The event's payload has ``model_version`` (full name, by
    number), ``version_aliases`` and ``weight_uri``; with ``alias`` also ``alias`` and ``previous_model_version``, which
    may be null. What is there at a watcher's first poll is no change.

    From Airflow 3.3.2 on no event is lost when a triggerer dies, and one is sent twice only if it dies in the second or
    two between the storing of the event and the storing of what has been seen. A triggerer that stood still and was
    replaced meanwhile sends nothing again. Before 3.3, Airflow gives a trigger no
    place to keep that, so what happens while no triggerer runs is not seen.

    All who watch or wait for the same architecture by the same connection share one poll. It only ever reads.

    Calls ``GET /orgs/{org_name}/models/{model_arch_id}/versions``.

    :param org_name: customer management organization name.
    :param model_arch_id: id of the architecture.
    :param alias: the alias to watch, which counts as moved once the version that it stands for is ready; default:
        none, and every version is reported when it becomes ready.
    :param poll_interval: the interval between two polls, in seconds; default 60.
    :param cerebras_conn_id: id of the connection; default ``cerebras_default``.
    :raises ValueError: if an argument is against a rule.
    """

    def __init__(
        self,
        *,
        org_name: str,
        model_arch_id: str,
        alias: str | None = None,
        poll_interval: float = 60,
        cerebras_conn_id: str = CerebrasHook.default_conn_name,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        if not (math.isfinite(poll_interval) and poll_interval > 0):
            raise ValueError(f"poll_interval: must be more than 0 seconds, not {poll_interval!r}.")
        self._detector: ChangeDetector = (
            ReadyVersions(org_name, model_arch_id) if alias is None else AliasMoves(org_name, model_arch_id, alias)
        )
        self.org_name = org_name
        self.model_arch_id = model_arch_id
        self.alias = alias
        self.poll_interval = poll_interval
        self.cerebras_conn_id = cerebras_conn_id
        self._kept: JsonValue = None

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the keyword arguments; both are stored, and neither holds a secret."""
        return f"{type(self).__module__}.{type(self).__qualname__}", {
            "org_name": self.org_name,
            "model_arch_id": self.model_arch_id,
            "alias": self.alias,
            "poll_interval": self.poll_interval,
            "cerebras_conn_id": self.cerebras_conn_id,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Send events where Airflow has no shared stream that tells when an event is stored."""
        async for event in self.filter_shared_stream(acknowledged(follow(**self._source()))):
            yield event

    def shared_stream_key(self) -> Hashable | None:
        """Name the stream; watchers of the same architecture share it, whatever each is after."""
        try:
            import airflow_provider_cerebras.triggers._shared_stream  # noqa: F401
        except ImportError:
            return None
        return ("cerebras", *self._source().values())

    @classmethod
    def create_shared_stream_producer(cls, kwargs: dict[str, Any]) -> SharedStreamProducer:
        """Make what polls, and is told what has been stored.

        :param kwargs: those of a trigger of the stream.
        """
        from airflow_provider_cerebras.triggers._shared_stream import SnapshotProducer

        return SnapshotProducer(cls(**kwargs)._source())  # noqa: SLF001

    async def filter_shared_stream(self, shared_stream: AsyncIterator[Any]) -> AsyncIterator[TriggerEvent]:
        """Send what has changed for this watcher, and have kept what it has seen when all of that is stored.

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
                    yield TriggerEvent(self._payload(change))
                if seen != self._kept:
                    snapshot.to_keep.append(partial(self._keep, seen))

    async def _compare_again(self, standstill: Standstill, seen: JsonValue, rows: ModelVersionRows) -> Found:
        """Leave out what another triggerer has sent, which may have this trigger now or have had it meanwhile."""
        await standstill.settle()
        stored = await self._recall()
        if stored is not None and stored != self._kept:
            self._kept = stored
            seen = self._detector.merge(stored, seen)
        return self._detector.compare(seen, rows, time.time())

    def _source(self) -> dict[str, Any]:
        return {
            "conn_id": self.cerebras_conn_id,
            "org_name": self.org_name,
            "model_arch_id": self.model_arch_id,
            "poll_interval": self.poll_interval,
        }

    def _payload(self, change: Change) -> dict[str, JsonValue]:
        payload = of_version(change.version).to_extra()
        if self.alias is not None:
            payload |= {"alias": self.alias, "previous_model_version": change.previous}
        return payload

    @property
    def _key(self) -> str:
        watched = json.dumps([self.org_name, self.model_arch_id, self.alias])
        return f"cerebras_seen_{hashlib.sha256(watched.encode()).hexdigest()[:16]}"

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
