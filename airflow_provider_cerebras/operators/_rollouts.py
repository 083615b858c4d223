"""The base of the operators that roll out: the endpoint, the notes of earlier attempts, and the wait."""

from __future__ import annotations

import time
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, cast

from airflow_provider_cerebras.api.errors import CerebrasError
from airflow_provider_cerebras.api.evidence import numbered_name
from airflow_provider_cerebras.api.names import ModelVersionName
from airflow_provider_cerebras.arguments.kinds import BOOLEAN, IDENTIFIER, takes
from airflow_provider_cerebras.assets.provenance import trace_deployment
from airflow_provider_cerebras.assets.reporting import words_of
from airflow_provider_cerebras.durable.deployments import Rollout, say_what_rolls_out, say_what_serves
from airflow_provider_cerebras.durable.generations import Ledger
from airflow_provider_cerebras.durable.rollout_steps import Submission
from airflow_provider_cerebras.exceptions import DEPLOYMENT_ERRORS
from airflow_provider_cerebras.operators._base import WaitingOperator
from airflow_provider_cerebras.polling.deployments import DeploymentPoller
from airflow_provider_cerebras.polling.outcome import Status

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_cerebras.arguments.given import Flag, Text
    from airflow_provider_cerebras.assets.provenance import Provenance
    from airflow_provider_cerebras.durable.identity import Identity
    from airflow_provider_cerebras.durable.task_state import TaskState
    from airflow_provider_cerebras.polling.outcome import Outcome
    from airflow_provider_cerebras.polling.pollers import Poller
    from airflow_provider_cerebras.triggers.endpoints import CerebrasDeploymentTrigger


_SECONDS = 10.0
"""To add to an error what serves, however many attempts that is."""


class RolloutOperator(WaitingOperator):
    """Roll a model version out onto an endpoint.

    :param endpoint_id: id of the endpoint. (templated)
    :param durable: whether to check for a deployment that makes a submission needless. (templated)
    """

    arguments = takes(endpoint_id=IDENTIFIER, durable=BOOLEAN)
    event_ids = ("endpoint_id", "deployment_id")
    errors = DEPLOYMENT_ERRORS

    def __init__(self, *, endpoint_id: Text, durable: Flag = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.endpoint_id: str = endpoint_id  # type: ignore[assignment]  # rendered before execute
        self.durable: bool = durable  # type: ignore[assignment]  # read before execute

    def _numbered(self, model_version: str, task_state: TaskState) -> str:
        """Full name by number. An alias is resolved once, for it may have moved when a retry comes."""
        name = ModelVersionName.parse(model_version)
        if name.number is not None:
            return str(name)
        if resolved := task_state.read().get("resolved"):
            self.log.info("An earlier attempt has found that the alias %s stands for %s.", name.version_id, resolved)
            return resolved
        resolved = str(numbered_name(self.hook.get_model_version(str(name))))
        self.log.info("The alias %s stands for model version %s.", name.version_id, resolved)
        task_state.update(resolved=resolved)
        return resolved

    @abstractmethod
    def _identify(self, context: Context) -> Identity:
        """Return the identity of the task run, whatever its generation."""

    def _begin(self, context: Context) -> Identity:
        """Return the identity of the task run, and note that an attempt of it goes to work."""
        ledger = self._ledger(context)
        identity, _ = ledger.identify(_no_generation)
        ledger.begin()
        return identity

    def _identity(self, context: Context) -> Identity:
        """Return the identity of the task run."""
        return self._ledger(context).identify(_no_generation)[0]

    def _ledger(self, context: Context) -> Ledger:
        return Ledger(context, self._identify(context), self.retries)

    def _succeed(self, result: str, context: Context) -> str:
        self._ledger(context).end()
        return super()._succeed(result, context)

    def _run_started(self, context: Context) -> float | None:
        """When the DAG run began, in Unix seconds, if this is a retry; 0 if that is not known.

        A clear is a person's decision to do it now, so the first attempt after it is no retry.
        """
        ti: Any = context["ti"]
        if ti.try_number in (1, ti.max_tries - self.retries + 1):
            return None
        started = getattr(context.get("dag_run"), "start_date", None)
        return float(started.timestamp()) if started else 0.0

    def _rollout(self) -> Rollout:
        return Rollout(self.hook.get_conn(), self.endpoint_id, log=self.log)

    @abstractmethod
    def _task_state(self, context: Context) -> TaskState:
        """Notes of earlier attempts; ``submission`` is the deployment."""

    def _new_poller(self, made: Submission) -> DeploymentPoller:
        now = time.time()
        return DeploymentPoller(
            self.endpoint_id,
            made.deployment_id,
            deadline=now + self.timeout,
            started=now,
            seen=made.seen,
            submitted=made.created,
        )

    def _trigger(self, poller: Poller[Any], *, cause: str | None = None) -> CerebrasDeploymentTrigger:
        # Imported here: its imports from Airflow take 5 ms, which not every parse of a DAG should pay.
        from airflow_provider_cerebras.triggers.endpoints import CerebrasDeploymentTrigger

        following = cast("DeploymentPoller", poller)
        return CerebrasDeploymentTrigger(
            cerebras_conn_id=self.cerebras_conn_id,
            endpoint_id=poller.ids["endpoint_id"],
            deployment_id=poller.ids["deployment_id"],
            poll_interval=self.poll_interval,
            deadline=poller.deadline,
            hook_class=self._hook_path(),
            cause=cause,
            seen=following.seen,
            submitted=following.submitted,
        )

    def _made(self, result: str) -> Provenance:
        return trace_deployment(self.hook.get_conn(), self.endpoint_id, result, log=self.log)

    def _go_on(self, made: Submission, context: Context) -> str:
        if not self.wait_for_completion:
            return self._succeed(made.deployment_id, context)
        return self._wait(self._new_poller(made), context)

    def _conclude(self, outcome: Outcome, context: Context) -> str:
        if outcome.seen and outcome.status in {Status.TIMEOUT, Status.UNREACHABLE}:
            # A retry that waits for it again must know that it is lost if it is listed no more.
            task_state = self._task_state(context)
            noted = Submission.from_json(task_state.read().get("submission"))
            if noted is not None and noted.deployment_id == outcome.ids["deployment_id"]:
                task_state.update(submission=noted._replace(seen=True).to_json())
        return super()._conclude(outcome, context)

    def _what_serves(self) -> str:
        """Say what serves and what still rolls out on the endpoint now, for the end of a message."""
        try:
            # The task has failed already: killed here, it would be tried again in place of that.
            deployments = self._rollout().fetch(within=_SECONDS)
        except Exception as error:  # noqa: BLE001  the connection is read anew, which can fail in any way that Airflow can
            words = error.without_hint() if isinstance(error, CerebrasError) else words_of(error)
            return f"What serves there now is not known: {words}"
        return f"{say_what_serves(deployments)} {say_what_rolls_out(deployments)}".rstrip()


def _no_generation() -> int:
    """A deployment carries nothing of ours, so the service cannot say which generations there were."""
    return -1
