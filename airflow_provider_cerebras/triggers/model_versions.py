"""Trigger that waits for the weights of a model version."""

from __future__ import annotations

from typing import Any

from airflow_provider_cerebras.triggers._base import WaitTrigger
from airflow_provider_cerebras.waiting import ModelVersionWatch


class CerebrasModelVersionTrigger(WaitTrigger):
    """Wait until the sync of a model version has ended.

    Sends one event: ``{"status": "succeeded" | "failed" | "lost" | "timeout" | "unreachable", "message": ...,
    "model_version": <full name with the number>}``.

    :param cerebras_conn_id: id of the connection.
    :param model_version: full name of the version, by number or alias.
    :param poll_interval: the longest interval between two looks, in seconds.
    :param deadline: when to give up, in Unix seconds; None: never.
    """

    def __init__(
        self, *, cerebras_conn_id: str, model_version: str, poll_interval: float, deadline: float | None = None
    ) -> None:
        super().__init__(cerebras_conn_id=cerebras_conn_id, poll_interval=poll_interval, deadline=deadline)
        self.model_version = model_version

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the keyword arguments; both are stored, and neither holds a secret."""
        path, kwargs = super().serialize()
        return path, {**kwargs, "model_version": self.model_version}

    def _watch(self, started: float) -> ModelVersionWatch:
        return ModelVersionWatch(self.model_version, deadline=self.deadline, started=started)
