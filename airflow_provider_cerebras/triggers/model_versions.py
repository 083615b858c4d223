"""Trigger that waits for the weights of a model version."""

from __future__ import annotations

import time
from typing import Any

from airflow_provider_cerebras._airflow_internals import TaskStateUnknown, triggers_task
from airflow_provider_cerebras.api.errors import CerebrasError
from airflow_provider_cerebras.durable.on_kill import DELETED, NOT_CANCELLED, NOT_DELETED
from airflow_provider_cerebras.polling.versions import ModelVersionPoller
from airflow_provider_cerebras.triggers._base import WaitTrigger
from airflow_provider_cerebras.triggers._on_kill import delete_if_killed, see_through


class CerebrasModelVersionTrigger(WaitTrigger):
    """Wait until the sync of a model version has ended.

    Sends one event: ``{"status": "succeeded" | "failed" | "lost" | "timeout" | "unreachable", "message": ...,
    "model_version": <full name with the number>}``, and ``weights_digest`` if it was given.

    :param cerebras_conn_id: id of the connection.
    :param model_version: full name of the version, by number or alias.
    :param poll_interval: the longest interval between two polls, in seconds.
    :param deadline: when to give up, in Unix seconds; None: never.
    :param hook_class: path of a subclass of the hook that is used in its place, ``module:name``; None: the hook itself.
    :param service: fingerprint of the base URL that the worker's connection has; the wait ends if the triggerer's has
        another one; None: any will do.
    :param delete_on_kill: whether the version is deleted when a user fails or clears the task meanwhile (Airflow 3.3
        and later), and Airflow confirms that. Neither a restart of the triggerer nor its replacement by another one
        ever does that.
    :param claim: alias by which the attempt that waits has claimed the version; without it on the version, or with one
        of a newer attempt, the version is not deleted.
    :param weights_digest: digest of the weights from before the upload, which the event returns to the task; None:
        they were not listed.
    """

    def __init__(
        self,
        *,
        cerebras_conn_id: str,
        model_version: str,
        poll_interval: float,
        deadline: float | None = None,
        hook_class: str | None = None,
        delete_on_kill: bool = False,
        claim: str | None = None,
        weights_digest: str | None = None,
        service: str | None = None,
    ) -> None:
        super().__init__(
            cerebras_conn_id=cerebras_conn_id,
            poll_interval=poll_interval,
            deadline=deadline,
            hook_class=hook_class,
            service=service,
        )
        self.model_version = model_version
        self.delete_on_kill = delete_on_kill
        self.claim = claim
        self.weights_digest = weights_digest

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the keyword arguments; both are stored, and neither holds a secret."""
        path, kwargs = super().serialize()
        return path, {
            **kwargs,
            "model_version": self.model_version,
            "delete_on_kill": self.delete_on_kill,
            "claim": self.claim,
            # A triggerer of an older version of this package does not know it.
            **self._along(),
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
            reason = await self._delete()
        except (CerebrasError, TaskStateUnknown, ValueError) as error:
            reason = str(error)
        if reason is None:
            self.log.info(DELETED, self.model_version)
        else:
            self.log.warning(NOT_DELETED, self.model_version, reason)

    async def _delete(self) -> str | None:
        key = triggers_task(self)
        if self.deadline is not None and time.time() >= self.deadline:
            return "the deadline of its wait has passed, for which Airflow or the task may have failed by itself."
        async with await self._hook().get_async_conn() as client:
            return await delete_if_killed(client, key, self.model_version, self.claim)

    def _along(self) -> dict[str, str]:
        return {} if self.weights_digest is None else {"weights_digest": self.weights_digest}

    def _ids(self) -> dict[str, str]:
        return {"model_version": self.model_version}

    def _poller(self, started: float) -> ModelVersionPoller:
        return ModelVersionPoller(self.model_version, deadline=self.deadline, started=started)
