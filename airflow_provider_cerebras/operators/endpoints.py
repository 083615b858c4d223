"""Operators on endpoints."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NoReturn

from airflow_provider_cerebras.api.errors import CerebrasError
from airflow_provider_cerebras.api.names import ModelVersionName, validate_identifier
from airflow_provider_cerebras.api.status import serving_model
from airflow_provider_cerebras.blocking import wait
from airflow_provider_cerebras.durability.deployments import Deploy
from airflow_provider_cerebras.durability.memory import Memory
from airflow_provider_cerebras.exceptions import (
    DEPLOYMENT_ERRORS,
    DeploymentFailed,
    permanent_errors_fail,
    read_event,
)
from airflow_provider_cerebras.hooks.cerebras import CerebrasHook
from airflow_provider_cerebras.operators._base import WaitingOperator
from airflow_provider_cerebras.triggers.endpoints import CerebrasDeploymentTrigger
from airflow_provider_cerebras.waiting import DeploymentWatch, Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.common.compat.sdk import Context, XComArg

    from airflow_provider_cerebras.waiting import Outcome, Watch


class RolloutOperator(WaitingOperator):
    """Roll a model version out onto an endpoint.

    By default there is one at a time of the same task (``max_active_tis_per_dag=1``), since a second rollout can queue
    behind or supersede the first. Tasks that differ share an endpoint by a pool with one slot.

    :param endpoint_id: id of the endpoint.
    :param durable: whether to look for a deployment that makes a submission needless.
    """

    event_ids = ("endpoint_id", "deployment_id")
    errors = DEPLOYMENT_ERRORS

    def __init__(self, *, endpoint_id: str | XComArg, durable: bool = True, **kwargs: Any) -> None:
        super().__init__(**{"max_active_tis_per_dag": 1, **kwargs})
        self.endpoint_id: str = endpoint_id  # type: ignore[assignment]  # rendered before execute
        self.durable = durable

    def _numbered(self, model_version: str) -> str:
        name = ModelVersionName.parse(model_version)
        if name.number is not None:
            return str(name)
        resolved = self.hook.get_model_version(str(name)).name
        self.log.info("The alias %s stands for model version %s.", name.version_id, resolved)
        return resolved

    def _deploy(self, model_version: str, memory: Memory) -> str:
        return Deploy(
            self.hook.get_conn(), self.endpoint_id, model_version, durable=self.durable, memory=memory, log=self.log
        ).run()

    def _new_watch(self, deployment_id: str) -> DeploymentWatch:
        now = time.time()
        return DeploymentWatch(self.endpoint_id, deployment_id, deadline=now + self.timeout, started=now)

    def _trigger(self, watch: Watch[Any], *, cause: str | None = None) -> CerebrasDeploymentTrigger:
        return CerebrasDeploymentTrigger(
            cerebras_conn_id=self.cerebras_conn_id,
            endpoint_id=watch.ids["endpoint_id"],
            deployment_id=watch.ids["deployment_id"],
            poll_interval=self.poll_interval,
            deadline=watch.deadline,
            cause=cause,
        )

    def _result(self, outcome: Outcome) -> str:
        return outcome.ids["deployment_id"]


class CerebrasDeployModelOperator(RolloutOperator):
    """Roll a model version out onto a dedicated endpoint of the same architecture.

    Returns the UUID of the deployment. An alias is resolved once, before the deployment.

    A task run makes one rollout, whatever dies on the way: if the newest deployment of the endpoint is of this version
    and serves or rolls out, it is taken for the task's own.

    Calls ``POST /endpoints/{endpoint_id}:deployModel`` and ``GET /endpoints/{endpoint_id}``.

    :param endpoint_id: id of the endpoint. (templated)
    :param model_version: full name of the version, by number or alias. (templated)
    :param wait_for_completion: wait until the rollout is complete; default False, and a sensor waits.
    :param deferrable: wait on the triggerer and hold no worker slot; default: ``[operators] default_deferrable``.
    :param poll_interval: the longest interval between two looks, in seconds; default 15.
    :param timeout: how long to wait, in seconds from the submission; default 7200, two hours.
    :param rollback_on_failure: whether, if the rollout fails, the version that served before is deployed again and
        waited for; the task fails all the same. Needs ``wait_for_completion``. Default False.
    :param durable: whether to look for a deployment that makes a submission needless; default True. If False, each
        attempt submits one.
    :param cerebras_conn_id: id of the connection; default ``cerebras_default``. (templated)
    :raises ValueError: if an argument is against a rule; nothing was sent then.
    :raises RequestRefused: if the service refuses the request, and would again.
    :raises OutcomeUnknown: if the service left it in doubt whether a rollout was begun; a retry finds out.
    :raises DeploymentFailed: if the rollout failed.
    :raises DeploymentLost: if the endpoint no longer lists the deployment.
    :raises WaitTimeout: if the rollout had not ended after ``timeout``.
    """

    template_fields: Sequence[str] = ("endpoint_id", "model_version", "cerebras_conn_id")

    def __init__(
        self,
        *,
        endpoint_id: str | XComArg,
        model_version: str | XComArg,
        wait_for_completion: bool = False,
        deferrable: bool | None = None,
        poll_interval: float = 15,
        timeout: float = 7200,
        rollback_on_failure: bool = False,
        durable: bool = True,
        cerebras_conn_id: str = CerebrasHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            endpoint_id=endpoint_id,
            durable=durable,
            cerebras_conn_id=cerebras_conn_id,
            wait_for_completion=wait_for_completion,
            deferrable=deferrable,
            poll_interval=poll_interval,
            timeout=timeout,
            **kwargs,
        )
        self.model_version: str = model_version  # type: ignore[assignment]  # rendered before execute
        self.rollback_on_failure = rollback_on_failure

    def execute(self, context: Context) -> str:
        """Deploy, or adopt the rollout that an earlier attempt has begun, and wait if asked to."""
        self._check_waiting()
        if self.rollback_on_failure and not self.wait_for_completion:
            raise ValueError("rollback_on_failure: needs wait_for_completion=True, or nobody sees a failure.")
        validate_identifier(self.endpoint_id, "endpoint_id")
        ModelVersionName.parse(self.model_version)
        with permanent_errors_fail():
            deployment_id = self._deploy(self._numbered(self.model_version), self._memory(context))
        return self._wait(self._new_watch(deployment_id), context) if self.wait_for_completion else deployment_id

    def rollback_complete(self, context: Context, event: object = None) -> str:
        """Go on when the trigger has sent how a rollback ended."""
        outcome = read_event(event, *self.event_ids, "cause")
        self._fail_after_rollback(outcome, outcome.ids["cause"])

    def _conclude(self, outcome: Outcome, context: Context) -> str:
        if outcome.status is Status.LOST:
            self._memory(context).note(deployment_id="")  # or a retry would wait for it again
        if outcome.status is Status.FAILED and self.rollback_on_failure:
            self._roll_back(outcome, context)
        return super()._conclude(outcome, context)

    def _roll_back(self, failure: Outcome, context: Context) -> NoReturn:
        previous = self._memory(context).recall().get("served_before")
        if previous is None and (serving := serving_model(self.hook.get_endpoint(self.endpoint_id))):
            previous = serving.model
        cause = f"Model version {self.model_version} was not rolled out. {failure.message}"
        if previous is None:
            raise DeploymentFailed(f"{cause} There is nothing to roll back to: no other version served before.")
        self.log.warning("%s Rolling back to model version %s.", cause, previous)
        cause += f" Model version {previous}, which served before, was deployed again"
        try:
            deployment_id = self._deploy(previous, self._memory(context, key="cerebras_rollback"))
        except CerebrasError as error:
            raise DeploymentFailed(f"{cause}, but the service did not take it: {error}") from error
        watch = self._new_watch(deployment_id)
        if self.deferrable:
            trigger = self._trigger(watch, cause=cause)
            self.defer(trigger=trigger, method_name="rollback_complete", timeout=trigger.backstop)
        rollback = wait(self.hook.get_conn(), watch, poll_interval=self.poll_interval, log=self.log)
        self._fail_after_rollback(rollback, cause)

    def _fail_after_rollback(self, rollback: Outcome, cause: str) -> NoReturn:
        if rollback.status is Status.SUCCEEDED:
            raise DeploymentFailed(f"{cause} and serves.")
        raise DeploymentFailed(f"{cause}, but that did not succeed either. {rollback.message}")

    def _memory(self, context: Context, key: str = "cerebras_deployment") -> Memory:
        ti: Any = context["ti"]
        return Memory(context, key=key, fingerprint=f"{self.model_version} on {self.endpoint_id}, {ti.max_tries}")
