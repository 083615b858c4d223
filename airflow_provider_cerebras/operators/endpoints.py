"""Operators on endpoints."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from airflow_provider_cerebras.api.names import ModelVersionName, validate_identifier
from airflow_provider_cerebras.exceptions import DEPLOYMENT_ERRORS, permanent_errors_fail
from airflow_provider_cerebras.hooks.cerebras import CerebrasHook
from airflow_provider_cerebras.operators._base import WaitingOperator
from airflow_provider_cerebras.triggers.endpoints import CerebrasDeploymentTrigger
from airflow_provider_cerebras.waiting import DeploymentWatch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_cerebras.waiting import Outcome, Watch


class CerebrasDeployModelOperator(WaitingOperator):
    """Roll a model version out onto a dedicated endpoint of the same architecture.

    Returns the UUID of the deployment. An alias is resolved once, before the deployment.

    Calls ``POST /endpoints/{endpoint_id}:deployModel``, and while it waits ``GET /endpoints/{endpoint_id}``.

    :param endpoint_id: id of the endpoint. (templated)
    :param model_version: full name of the version, by number or alias. (templated)
    :param wait_for_completion: wait until the rollout is complete; default False, and a sensor waits.
    :param deferrable: wait on the triggerer and hold no worker slot; default: ``[operators] default_deferrable``.
    :param poll_interval: the longest interval between two looks, in seconds; default 15.
    :param timeout: how long to wait, in seconds from the submission; default 7200, two hours.
    :param cerebras_conn_id: id of the connection; default ``cerebras_default``. (templated)
    :raises ValueError: if an argument is against a rule; nothing was sent then.
    :raises RequestRefused: if the service refuses the request, and would again.
    :raises OutcomeUnknown: if it cannot be told whether a rollout was begun.
    :raises DeploymentFailed: if the rollout failed.
    :raises DeploymentLost: if the endpoint no longer lists the deployment.
    :raises WaitTimeout: if the rollout had not ended after ``timeout``.
    """

    template_fields: Sequence[str] = ("endpoint_id", "model_version", "cerebras_conn_id")
    event_ids = ("endpoint_id", "deployment_id")
    errors = DEPLOYMENT_ERRORS

    def __init__(
        self,
        *,
        endpoint_id: str,
        model_version: str,
        wait_for_completion: bool = False,
        deferrable: bool | None = None,
        poll_interval: float = 15,
        timeout: float = 7200,
        cerebras_conn_id: str = CerebrasHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            cerebras_conn_id=cerebras_conn_id,
            wait_for_completion=wait_for_completion,
            deferrable=deferrable,
            poll_interval=poll_interval,
            timeout=timeout,
            **kwargs,
        )
        self.endpoint_id = endpoint_id
        self.model_version = model_version

    def execute(self, context: Context) -> str:
        """Deploy, and wait if asked to."""
        self._check_waiting()
        validate_identifier(self.endpoint_id, "endpoint_id")
        with permanent_errors_fail():
            model_version = self._numbered(ModelVersionName.parse(self.model_version))
            deployment = self.hook.deploy_model(self.endpoint_id, model_version)
        self.log.info(
            "Deployment %s rolls out model version %s onto endpoint %s.",
            deployment.name,
            model_version,
            self.endpoint_id,
        )
        if not self.wait_for_completion:
            return deployment.name
        now = time.time()
        return self._wait(DeploymentWatch(self.endpoint_id, deployment.name, deadline=now + self.timeout, started=now))

    def _numbered(self, name: ModelVersionName) -> str:
        if name.number is not None:
            return str(name)
        resolved = self.hook.get_model_version(str(name)).name
        self.log.info("The alias %s stands for model version %s.", name.version_id, resolved)
        return resolved

    def _trigger(self, watch: Watch[Any]) -> CerebrasDeploymentTrigger:
        return CerebrasDeploymentTrigger(
            cerebras_conn_id=self.cerebras_conn_id,
            endpoint_id=watch.ids["endpoint_id"],
            deployment_id=watch.ids["deployment_id"],
            poll_interval=self.poll_interval,
            deadline=watch.deadline,
        )

    def _result(self, outcome: Outcome) -> str:
        return outcome.ids["deployment_id"]
