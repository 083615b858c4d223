"""Trigger that waits for a rollout."""

from __future__ import annotations

from typing import Any

from airflow_provider_cerebras.polling.deployments import DeploymentPoller
from airflow_provider_cerebras.triggers._base import WaitTrigger


class CerebrasDeploymentTrigger(WaitTrigger):
    """Wait until the rollout of a deployment has ended.

    Sends one event: ``{"status": "succeeded" | "failed" | "lost" | "timeout" | "unreachable", "message": ...,
    "endpoint_id": ..., "deployment_id": ...}``.

    :param cerebras_conn_id: id of the connection.
    :param endpoint_id: id of the endpoint.
    :param deployment_id: UUID of the deployment.
    :param poll_interval: the longest interval between two polls, in seconds.
    :param deadline: when to give up, in Unix seconds; None: never.
    :param hook_class: path of a subclass of the hook that is used in its place, ``module:name``; None: the hook itself.
    :param service: fingerprint of the base URL that the worker's connection has; the wait ends if the triggerer's has
        another one; None: any will do.
    :param cause: for a rollback: what went wrong before. The event repeats it.
    :param seen: whether the endpoint has listed the deployment already; if so, it is lost when it is listed no more.
    :param submitted: when the deployment was submitted by the service's own clock, in Unix seconds; None: unknown. If
        known, it is lost when one that was submitted later is listed and it is not.
    """

    def __init__(
        self,
        *,
        cerebras_conn_id: str,
        endpoint_id: str,
        deployment_id: str,
        poll_interval: float,
        deadline: float | None = None,
        hook_class: str | None = None,
        cause: str | None = None,
        seen: bool = False,
        submitted: float | None = None,
        service: str | None = None,
    ) -> None:
        super().__init__(
            cerebras_conn_id=cerebras_conn_id,
            poll_interval=poll_interval,
            deadline=deadline,
            hook_class=hook_class,
            service=service,
        )
        self.endpoint_id = endpoint_id
        self.deployment_id = deployment_id
        self.cause = cause
        self.seen = seen
        self.submitted = submitted

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the keyword arguments; both are stored, and neither holds a secret."""
        path, kwargs = super().serialize()
        return path, {
            **kwargs,
            "endpoint_id": self.endpoint_id,
            "deployment_id": self.deployment_id,
            "cause": self.cause,
            "seen": self.seen,
            "submitted": self.submitted,
        }

    def _ids(self) -> dict[str, str]:
        ids = {"endpoint_id": self.endpoint_id, "deployment_id": self.deployment_id}
        return ids if self.cause is None else {**ids, "cause": self.cause}

    def _poller(self, started: float) -> DeploymentPoller:
        poller = DeploymentPoller(
            self.endpoint_id,
            self.deployment_id,
            deadline=self.deadline,
            started=started,
            seen=self.seen,
            submitted=self.submitted,
        )
        poller.ids = self._ids()
        return poller
