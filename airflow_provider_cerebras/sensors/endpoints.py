"""Sensor that waits for a rollout."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_cerebras.arguments.kinds import IDENTIFIER, takes
from airflow_provider_cerebras.assets.provenance import trace_deployment
from airflow_provider_cerebras.durable.rollout_steps import VERDICT_KEY
from airflow_provider_cerebras.exceptions import DEPLOYMENT_ERRORS
from airflow_provider_cerebras.hooks.cerebras import CerebrasHook
from airflow_provider_cerebras.polling.deployments import DeploymentPoller
from airflow_provider_cerebras.polling.outcome import Status
from airflow_provider_cerebras.sensors._base import WaitSensor

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_cerebras.arguments.given import Flag, Text
    from airflow_provider_cerebras.assets.provenance import Provenance
    from airflow_provider_cerebras.polling.outcome import Outcome
    from airflow_provider_cerebras.polling.pollers import Poller
    from airflow_provider_cerebras.triggers.endpoints import CerebrasDeploymentTrigger


class CerebrasDeploymentSensor(WaitSensor):
    """Wait until a deployment is complete and serves.

    Returns the UUID of the deployment.

    :param endpoint_id: id of the endpoint. (templated)
    :param deployment_id: UUID of the deployment, as the deploy operator returns it. (templated)
    :param cerebras_conn_id: id of the connection; default ``cerebras_default``. (templated)
    :param deferrable: wait on the triggerer and hold no worker slot; default: ``[operators] default_deferrable``.
        (templated)
    :raises DeploymentFailed: if the rollout failed.
    :raises DeploymentLost: if the endpoint no longer lists the deployment. In reschedule mode below Airflow 3.3, where
        no poke knows what an earlier one saw, such a deployment counts as going on until the timeout.
    :raises RequestRefused: if asking can never succeed, because of the key or the endpoint's id.
    :raises AirflowSensorTimeout: after ``timeout`` seconds.
    """

    arguments = takes(endpoint_id=IDENTIFIER, deployment_id=IDENTIFIER)
    event_ids = ("endpoint_id", "deployment_id")
    errors = DEPLOYMENT_ERRORS

    def __init__(
        self,
        *,
        endpoint_id: Text,
        deployment_id: Text,
        cerebras_conn_id: Text = CerebrasHook.default_conn_name,
        deferrable: Flag | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(cerebras_conn_id=cerebras_conn_id, deferrable=deferrable, **kwargs)
        self.endpoint_id: str = endpoint_id  # type: ignore[assignment]  # read before execute
        self.deployment_id: str = deployment_id  # type: ignore[assignment]  # read before execute

    def _new_poller(self, *, deadline: float | None, started: float, is_first: bool) -> DeploymentPoller:
        return DeploymentPoller(
            self.endpoint_id, self.deployment_id, deadline=deadline, started=started, is_first=is_first
        )

    def _trigger(self, poller: Poller[Any]) -> CerebrasDeploymentTrigger:
        # Imported here: its imports from Airflow take 5 ms, which not every parse of a DAG should pay.
        from airflow_provider_cerebras.triggers.endpoints import CerebrasDeploymentTrigger

        return CerebrasDeploymentTrigger(
            cerebras_conn_id=self.cerebras_conn_id,
            endpoint_id=self.endpoint_id,
            deployment_id=self.deployment_id,
            poll_interval=self.poke_interval,
            deadline=poller.deadline,
            hook_class=self._hook_path(),
            seen=poller.remember().get("seen") is True,
        )

    def _conclude(self, outcome: Outcome, context: Context) -> str:
        if outcome.status in {Status.FAILED, Status.LOST}:
            ti: Any = context["ti"]
            ti.xcom_push(key=VERDICT_KEY, value=outcome.status.value)
        return super()._conclude(outcome, context)

    def _made(self, result: str) -> Provenance:
        return trace_deployment(self.hook.get_conn(), self.endpoint_id, result, log=self.log)
