"""Trigger that waits for the weights of a model version."""

from __future__ import annotations

from typing import Any

from airflow_provider_cerebras.api import operations
from airflow_provider_cerebras.api.errors import CerebrasError
from airflow_provider_cerebras.api.names import ModelVersionName
from airflow_provider_cerebras.durable.on_kill import (
    CLAIMED_SINCE,
    DELETED,
    NOT_CANCELLED,
    NOT_DELETED,
    STILL_AWAITED,
    may_delete,
    was_cleared,
)
from airflow_provider_cerebras.polling.pollers import ModelVersionPoller
from airflow_provider_cerebras.triggers._base import WaitTrigger
from airflow_provider_cerebras.triggers._on_kill import is_deferred, see_through


class CerebrasModelVersionTrigger(WaitTrigger):
    """Wait until the sync of a model version has ended.

    Sends one event: ``{"status": "succeeded" | "failed" | "lost" | "timeout" | "unreachable", "message": ...,
    "model_version": <full name with the number>}``.

    :param cerebras_conn_id: id of the connection.
    :param model_version: full name of the version, by number or alias.
    :param poll_interval: the longest interval between two looks, in seconds.
    :param deadline: when to give up, in Unix seconds; None: never.
    :param delete_on_kill: whether the version is deleted when a user ends or clears the task meanwhile (Airflow 3.3
        and later). Neither a restart of the triggerer nor its replacement by another one ever does that.
    :param claim: alias by which the attempt that waits has claimed the version; if it has been claimed by a newer
        attempt since, a kill leaves it alone.
    """

    def __init__(
        self,
        *,
        cerebras_conn_id: str,
        model_version: str,
        poll_interval: float,
        deadline: float | None = None,
        delete_on_kill: bool = False,
        claim: str | None = None,
    ) -> None:
        super().__init__(cerebras_conn_id=cerebras_conn_id, poll_interval=poll_interval, deadline=deadline)
        self.model_version = model_version
        self.delete_on_kill = delete_on_kill
        self.claim = claim

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the keyword arguments; both are stored, and neither holds a secret."""
        path, kwargs = super().serialize()
        return path, {
            **kwargs,
            "model_version": self.model_version,
            "delete_on_kill": self.delete_on_kill,
            "claim": self.claim,
        }

    async def on_kill(self) -> None:
        """Airflow calls this when a user ends or clears the deferred task, or when another triggerer has taken over."""
        if self.delete_on_kill:
            await see_through(self._try_to_delete())
        else:
            self.log.info(NOT_CANCELLED, self.model_version)

    async def _try_to_delete(self) -> None:
        # Airflow would not say why it failed, and may have given up waiting for it.
        try:
            await self._delete()
        except CerebrasError as error:
            self.log.error(NOT_DELETED, self.model_version, error)

    async def _delete(self) -> None:
        deferred = await is_deferred(getattr(self, "task_instance", None))
        async with await self._hook().get_async_conn() as client:
            version = await client.send(operations.get_model_version(self.model_version))
            if not may_delete(self.claim, version.details.version_aliases):
                self.log.info(CLAIMED_SINCE, version.name)
                return
            if deferred:
                name = ModelVersionName.parse(version.name)
                listed = await client.send(operations.list_model_versions(name.org_name, name.model_arch_id))
                if not was_cleared(self.claim, [other.details.version_aliases for other in listed.model_versions]):
                    self.log.info(STILL_AWAITED, version.name)
                    return
            await client.send(operations.delete_model_version(version.name))
        self.log.info(DELETED, version.name)

    def _ids(self) -> dict[str, str]:
        return {"model_version": self.model_version}

    def _poller(self, started: float) -> ModelVersionPoller:
        return ModelVersionPoller(self.model_version, deadline=self.deadline, started=started)
