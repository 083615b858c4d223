"""Triggers that start DAGs: for an ``AssetWatcher`` on a model or an endpoint, whichever client changes it.

See :mod:`._watch` for how they find changes and which state they keep.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

try:
    from airflow.triggers.base import BaseEventTrigger as _  # noqa: F401
except ImportError as error:
    raise ImportError(f"{__name__} needs Airflow 3.0 or later: before, there are no watchers of assets.") from error

from airflow_provider_cerebras.api import operations
from airflow_provider_cerebras.api.models import DeploymentRows, ModelVersionRows
from airflow_provider_cerebras.assets.provenance import Provenance, is_marked_by_airflow, of_version
from airflow_provider_cerebras.hooks.cerebras import CerebrasHook
from airflow_provider_cerebras.triggers._changes import AliasMoves, Change, ReadyVersions
from airflow_provider_cerebras.triggers._endpoint_changes import EVENTS, EndpointChange, EndpointChanges
from airflow_provider_cerebras.triggers._snapshots import deployments_of, versions_of
from airflow_provider_cerebras.triggers._watch import WatchTrigger

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import JsonValue

    from airflow_provider_cerebras.api.models import ModelVersion
    from airflow_provider_cerebras.triggers._endpoint_changes import EndpointEvent
    from airflow_provider_cerebras.triggers._snapshots import Snapshot

_DESCRIPTION_SECONDS = 10.0
"""Seconds to find out about a version, with the making of a client. The event is sent in any case."""


class CerebrasModelVersionEventTrigger(WatchTrigger[ModelVersionRows, Change]):
    """Send an event for each version that becomes ready, or each time that an alias moves to another one.

    It is for an ``AssetWatcher`` (Airflow 3.0 and later). The event's payload has ``model_version`` (full name, by
    number), ``version_aliases`` and ``weight_uri``; with ``alias`` also ``alias`` and ``previous_model_version``, which
    may be null. The state at a watcher's first poll is no change.

    From Airflow 3.3.2 on no event is lost when a triggerer dies, and one is sent twice only if it dies in the second or
    two between storing the event and storing what has been seen. A triggerer that stood still and was
    replaced meanwhile sends nothing again. Before 3.3, Airflow gives a trigger no place to keep that, so what happens
    while no triggerer runs is not seen.

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

    arguments = ("org_name", "model_arch_id", "alias", "poll_interval", "cerebras_conn_id")

    def __init__(
        self,
        *,
        org_name: str,
        model_arch_id: str,
        alias: str | None = None,
        poll_interval: float = 60,
        cerebras_conn_id: str = CerebrasHook.default_conn_name,
    ) -> None:
        super().__init__(
            detector=(
                ReadyVersions(org_name, model_arch_id) if alias is None else AliasMoves(org_name, model_arch_id, alias)
            ),
            collection=versions_of(org_name, model_arch_id),
            watched=[org_name, model_arch_id, alias],
            poll_interval=poll_interval,
            cerebras_conn_id=cerebras_conn_id,
        )
        self.org_name = org_name
        self.model_arch_id = model_arch_id
        self.alias = alias

    async def _payload(self, change: Change, snapshot: Snapshot[ModelVersionRows]) -> dict[str, JsonValue]:
        payload = of_version(change.version).to_extra()
        if self.alias is not None:
            payload |= {"alias": self.alias, "previous_model_version": change.previous}
        return payload


class CerebrasEndpointEventTrigger(WatchTrigger[DeploymentRows, EndpointChange]):
    """Send an event each time that another version serves on an endpoint, or that a rollout begins or fails there.

    It is for an ``AssetWatcher`` (Airflow 3.0 and later). The event's payload has

    * ``event``: ``serving_changed``, ``rollout_started`` or ``rollout_failed``;
    * ``endpoint_id`` and ``deployment_id``;
    * ``model_version``: full name, by number, of the version that serves now, or whose rollout has begun or failed;
    * ``previous_model_version``: the one that served before; null if there was none or it is not known;
    * ``version_aliases`` and ``weight_uri`` of ``model_version``, where the service says them;
    * ``marked_by_airflow``: true if the version has an alias that this provider sets (``airflow-<40 hex digits>-...``
      or ``weights-<40 hex digits>``): a task of some Airflow has uploaded it, or is rolling back to it. Else null: that
      is not known. A deployment carries nothing that says who submitted it.

    The state at a watcher's first poll is no change. A field that cannot be read is unknown, and no event comes of
    it. What it promises when a triggerer dies, stands still or is replaced is told at
    :class:`CerebrasModelVersionEventTrigger`.

    All who watch the same endpoint or wait for its rollouts by the same connection share one poll. It only ever reads.

    Calls ``GET /endpoints/{endpoint_id}``, and for each change ``GET
    /orgs/{org_name}/models/{model_arch_id}/versions/{version_id}``.

    :param endpoint_id: id of the endpoint.
    :param events: what to send events for; default: all three.
    :param poll_interval: the interval between two polls, in seconds; default 60.
    :param cerebras_conn_id: id of the connection; default ``cerebras_default``.
    :raises ValueError: if an argument is against a rule.
    """

    arguments = ("endpoint_id", "events", "poll_interval", "cerebras_conn_id")

    def __init__(
        self,
        *,
        endpoint_id: str,
        events: Iterable[EndpointEvent] = EVENTS,
        poll_interval: float = 60,
        cerebras_conn_id: str = CerebrasHook.default_conn_name,
    ) -> None:
        chosen = tuple(dict.fromkeys(events))
        super().__init__(
            detector=EndpointChanges(endpoint_id, chosen),
            collection=deployments_of(endpoint_id),
            watched=["endpoint", endpoint_id, *sorted(chosen)],
            poll_interval=poll_interval,
            cerebras_conn_id=cerebras_conn_id,
        )
        self.endpoint_id = endpoint_id
        self.events = list(chosen)

    async def _payload(self, change: EndpointChange, snapshot: Snapshot[DeploymentRows]) -> dict[str, JsonValue]:
        # All watchers of a snapshot ask once.
        if (fetching := snapshot.fetched.get(change.model_version)) is None:
            fetching = asyncio.create_task(self._fetch(change.model_version))
            snapshot.fetched[change.model_version] = fetching
        version = await asyncio.shield(fetching)
        made = Provenance(model_version=change.model_version) if version is None else of_version(version)
        return {
            "event": change.event,
            "previous_model_version": change.previous,
            "marked_by_airflow": True if version is not None and is_marked_by_airflow(version) else None,
            **made._replace(endpoint_id=self.endpoint_id, deployment_id=change.deployment_id).to_extra(),
        }

    async def _fetch(self, model_version: str) -> ModelVersion | None:
        try:
            async with asyncio.timeout(_DESCRIPTION_SECONDS):
                client = await CerebrasHook(cerebras_conn_id=self.cerebras_conn_id).get_async_conn()
                try:
                    return await client.send(operations.get_model_version(model_version), within=_DESCRIPTION_SECONDS)
                finally:
                    await client.aclose()
        except Exception as error:  # noqa: BLE001  reading the connection can fail in any way that Airflow can
            self.log.warning("The aliases and weights of %s are not known: %s", model_version, error)
            return None
