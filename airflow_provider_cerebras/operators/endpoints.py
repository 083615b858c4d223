"""Operators on endpoints."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NoReturn

from airflow_provider_cerebras.api.errors import BadRequest, CerebrasError, Forbidden, Unauthorized
from airflow_provider_cerebras.api.evidence import previous_model
from airflow_provider_cerebras.api.names import ModelVersionName
from airflow_provider_cerebras.api.status import serving_model
from airflow_provider_cerebras.arguments.kinds import (
    BOOLEAN,
    EXPECTATION,
    IDENTIFIER,
    MAPPING,
    MESSAGES,
    MODEL_VERSION,
    POSITIVE,
    SECONDS,
    SECONDS_OR_ZERO,
    SUFFIX,
    takes,
)
from airflow_provider_cerebras.assets.provenance import trace_deployment
from airflow_provider_cerebras.assets.reporting import report
from airflow_provider_cerebras.durable.deployments import Deploy
from airflow_provider_cerebras.durable.identity import identify_rollback
from airflow_provider_cerebras.durable.rollbacks import choose_target
from airflow_provider_cerebras.durable.task_state import TaskState
from airflow_provider_cerebras.evaluation.smoke import find_fault, measure, read_chats, summarize
from airflow_provider_cerebras.exceptions import (
    DEPLOYMENT_ERRORS,
    DeploymentFailed,
    EndpointVerificationFailed,
    InvalidArgument,
    NothingToRollBackTo,
    RequestRefused,
    permanent_errors_fail,
    read_event,
)
from airflow_provider_cerebras.hooks.cerebras import CerebrasHook
from airflow_provider_cerebras.operators._base import CerebrasOperator, WaitingOperator
from airflow_provider_cerebras.polling.blocking import wait
from airflow_provider_cerebras.polling.outcome import Status
from airflow_provider_cerebras.polling.pollers import DeploymentPoller

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.common.compat.sdk import Context, XComArg
    from pydantic import JsonValue

    from airflow_provider_cerebras.assets.provenance import Provenance
    from airflow_provider_cerebras.durable.identity import Identity
    from airflow_provider_cerebras.evaluation.smoke import Chat, Expectation, Measurement
    from airflow_provider_cerebras.polling.outcome import Outcome
    from airflow_provider_cerebras.polling.pollers import Poller
    from airflow_provider_cerebras.triggers.endpoints import CerebrasDeploymentTrigger

_SETTLING_INTERVAL = 2.0


class RolloutOperator(WaitingOperator):
    """Roll a model version out onto an endpoint.

    By default there is one at a time of the same task (``max_active_tis_per_dag=1``), since a second rollout can queue
    behind or supersede the first. Tasks that differ share an endpoint by a pool with one slot.

    :param endpoint_id: id of the endpoint. (templated)
    :param durable: whether to look for a deployment that makes a submission needless. (templated)
    """

    arguments = takes(endpoint_id=IDENTIFIER, durable=BOOLEAN)
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

    def _deploy(self, model_version: str, task_state: TaskState) -> str:
        return Deploy(
            self.hook.get_conn(),
            self.endpoint_id,
            model_version,
            durable=self.durable,
            task_state=task_state,
            log=self.log,
        ).run()

    def _new_poller(self, deployment_id: str) -> DeploymentPoller:
        now = time.time()
        return DeploymentPoller(self.endpoint_id, deployment_id, deadline=now + self.timeout, started=now)

    def _trigger(self, poller: Poller[Any], *, cause: str | None = None) -> CerebrasDeploymentTrigger:
        # What it needs of Airflow takes 5 ms, which not every parse of a DAG shall pay.
        from airflow_provider_cerebras.triggers.endpoints import CerebrasDeploymentTrigger

        return CerebrasDeploymentTrigger(
            cerebras_conn_id=self.cerebras_conn_id,
            endpoint_id=poller.ids["endpoint_id"],
            deployment_id=poller.ids["deployment_id"],
            poll_interval=self.poll_interval,
            deadline=poller.deadline,
            hook_class=self._hook_path(),
            cause=cause,
        )

    def _made(self, result: str) -> Provenance:
        return trace_deployment(self.hook.get_conn(), self.endpoint_id, result, log=self.log)

    def _go_on(self, deployment_id: str, context: Context) -> str:
        if not self.wait_for_completion:
            return self._succeed(deployment_id, context)
        return self._wait(self._new_poller(deployment_id), context)

    def _what_serves(self) -> str:
        """Say what serves on the endpoint now, for the end of a message."""
        try:
            serving = serving_model(self.hook.get_endpoint(self.endpoint_id))
        except CerebrasError as error:
            return f"What serves there now is not known: {error}"
        return f"Now {serving.model} serves there." if serving else "Nothing serves there now."


class CerebrasDeployModelOperator(RolloutOperator):
    """Roll a model version out onto a dedicated endpoint of the same architecture.

    Returns the UUID of the deployment. An alias is resolved once, before the deployment.

    A task run makes one rollout, whatever dies on the way: if the newest deployment of the endpoint is of this version
    and serves or rolls out, it is taken for the task's own.

    Calls ``POST /endpoints/{endpoint_id}:deployModel`` and ``GET /endpoints/{endpoint_id}``.

    :param endpoint_id: id of the endpoint. (templated)
    :param model_version: full name of the version, by number or alias. (templated)
    :param wait_for_completion: wait until the rollout is complete; default False, and a sensor waits. (templated)
    :param deferrable: wait on the triggerer and hold no worker slot; default: ``[operators] default_deferrable``.
        (templated)
    :param poll_interval: the longest interval between two looks, in seconds; default 15. (templated)
    :param timeout: how long to wait, in seconds from the submission; default 7200, two hours. (templated)
    :param rollback_on_failure: whether, if the rollout fails, the version that served before is deployed again and
        waited for; the task fails all the same. Needs ``wait_for_completion``. Default False. (templated)
    :param durable: whether to look for a deployment that makes a submission needless; default True. If False, each
        attempt submits one. (templated)
    :param cerebras_conn_id: id of the connection; default ``cerebras_default``. (templated)
    :raises ValueError: if an argument is against a rule; nothing was sent then.
    :raises RequestRefused: if the service refuses the request, and would again.
    :raises OutcomeUnknown: if the service left it in doubt whether a rollout was begun; a retry finds out.
    :raises DeploymentFailed: if the rollout failed.
    :raises DeploymentLost: if the endpoint no longer lists the deployment.
    :raises WaitTimeout: if the rollout had not ended after ``timeout``.
    """

    arguments = takes(model_version=MODEL_VERSION, rollback_on_failure=BOOLEAN)

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
        if self.rollback_on_failure and not self.wait_for_completion:
            raise InvalidArgument("rollback_on_failure: needs wait_for_completion=True, or nobody sees a failure.")
        self._warn_of_options_without_effect()
        with permanent_errors_fail():
            deployment_id = self._deploy(self._numbered(self.model_version), self._task_state(context))
        return self._go_on(deployment_id, context)

    def rollback_complete(self, context: Context, event: object = None) -> str:
        """Go on when the trigger has sent how a rollback ended."""
        outcome = read_event(event, *self.event_ids, "cause")
        self._fail_after_rollback(outcome, outcome.ids["cause"])

    def _conclude(self, outcome: Outcome, context: Context) -> str:
        if outcome.status is Status.LOST:
            self._task_state(context).update(deployment_id="")  # or a retry would wait for it again
        if outcome.status is Status.FAILED and self.rollback_on_failure:
            self._roll_back(outcome, context)
        return super()._conclude(outcome, context)

    def _roll_back(self, failure: Outcome, context: Context) -> NoReturn:
        previous = self._task_state(context).read().get("served_before") or previous_model(
            self.hook.get_endpoint(self.endpoint_id), failure.ids["deployment_id"]
        )
        cause = f"Model version {self.model_version} was not rolled out. {failure.message}"
        if previous is None:
            raise DeploymentFailed(f"{cause} There is nothing to roll back to: no other version served before.")
        self.log.warning("%s Rolling back to model version %s.", cause, previous)
        cause += f" Model version {previous}, which served before, was deployed again"
        try:
            deployment_id = self._deploy(previous, self._task_state(context, key="cerebras_rollback"))
        except CerebrasError as error:
            raise DeploymentFailed(
                f"{cause}, but the service did not take it: {error} {self._what_serves()}"
            ) from error
        poller = self._new_poller(deployment_id)
        if self.deferrable:
            trigger = self._trigger(poller, cause=cause)
            self.defer(trigger=trigger, method_name="rollback_complete", timeout=trigger.backstop)
        rollback = wait(self.hook.get_conn(), poller, poll_interval=self.poll_interval, log=self.log)
        self._fail_after_rollback(rollback, cause)

    def _fail_after_rollback(self, rollback: Outcome, cause: str) -> NoReturn:
        if rollback.status is Status.SUCCEEDED:
            raise DeploymentFailed(f"{cause} and serves.")
        raise DeploymentFailed(f"{cause}, but that did not succeed either. {rollback.message} {self._what_serves()}")

    def _task_state(self, context: Context, key: str = "cerebras_deployment") -> TaskState:
        ti: Any = context["ti"]
        return TaskState(context, key=key, fingerprint=f"{self.model_version} on {self.endpoint_id}, {ti.max_tries}")


class CerebrasRollbackEndpointOperator(RolloutOperator):
    """Deploy again what served before, and wait until it serves.

    Returns the UUID of the deployment that serves then.

    The target is chosen once for each task run and marked by an alias, so that a retry does not choose anew when the
    rollback itself is the newest deployment. Killed at any instant, a retry goes on from what is there.

    Calls ``GET /endpoints/{endpoint_id}``, ``POST /endpoints/{endpoint_id}:deployModel``, and ``GET`` and ``PATCH
    /orgs/{org_name}/models/{model_arch_id}/versions/{version_id}``.

    :param endpoint_id: id of the endpoint. (templated)
    :param to: full name of the version to go back to, by number or alias; default: the one that served before
        ``deployment_id``. (templated)
    :param deployment_id: UUID of the deployment to take back; default: the newest one of the endpoint. (templated)
    :param wait_for_completion: wait until the rollout is complete; default True. (templated)
    :param deferrable: wait on the triggerer and hold no worker slot; default: ``[operators] default_deferrable``.
        (templated)
    :param poll_interval: the longest interval between two looks, in seconds; default 15. (templated)
    :param timeout: how long to wait, in seconds from the submission; default 7200, two hours. (templated)
    :param cerebras_conn_id: id of the connection; default ``cerebras_default``. (templated)
    :raises ValueError: if an argument is against a rule; nothing was sent then.
    :raises NothingToRollBackTo: if no other version served before.
    :raises RequestRefused: if the service refuses the request, and would again.
    :raises DeploymentFailed: if the rollout failed; the message says what serves.
    :raises DeploymentLost: if the endpoint no longer lists the deployment.
    :raises WaitTimeout: if the rollout had not ended after ``timeout``.
    """

    arguments = takes(to=MODEL_VERSION.or_none, deployment_id=IDENTIFIER.or_none)

    def __init__(
        self,
        *,
        endpoint_id: str | XComArg,
        to: str | XComArg | None = None,
        deployment_id: str | XComArg | None = None,
        wait_for_completion: bool = True,
        deferrable: bool | None = None,
        poll_interval: float = 15,
        timeout: float = 7200,
        cerebras_conn_id: str = CerebrasHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            endpoint_id=endpoint_id,
            cerebras_conn_id=cerebras_conn_id,
            wait_for_completion=wait_for_completion,
            deferrable=deferrable,
            poll_interval=poll_interval,
            timeout=timeout,
            **kwargs,
        )
        self.to: str | None = to  # type: ignore[assignment]  # rendered before execute
        self.deployment_id: str | None = deployment_id  # type: ignore[assignment]  # rendered before execute

    def execute(self, context: Context) -> str:
        """Choose the target, deploy it, and wait if asked to."""
        identity = identify_rollback(context, self.endpoint_id)
        with permanent_errors_fail():
            target = self._numbered(self.to) if self.to is not None else self._choose(identity)
            self.log.info("Rolling endpoint %s back to model version %s.", self.endpoint_id, target)
            task_state = TaskState(context, key="cerebras_rollback", fingerprint=identity.alias)
            deployment_id = self._deploy(target, task_state)
        return self._go_on(deployment_id, context)

    def _choose(self, identity: Identity) -> str:
        target = choose_target(
            self.hook.get_conn(), self.endpoint_id, identity, deployment_id=self.deployment_id, log=self.log
        )
        if target is None:
            raise NothingToRollBackTo(
                f"Endpoint {self.endpoint_id} cannot be rolled back: no other model version served there before."
            )
        return target

    def _conclude(self, outcome: Outcome, context: Context) -> str:
        if outcome.status is Status.FAILED:
            raise DeploymentFailed(f"The rollback failed. {outcome.message} {self._what_serves()}")
        return super()._conclude(outcome, context)


class CerebrasVerifyEndpointOperator(CerebrasOperator):
    """Ask an endpoint something, and fail unless it answers as expected.

    While a rollout settles an endpoint may answer with the old weights or not at all, so a check that fails is repeated
    until ``settle_timeout``. It holds a worker slot until then. It changes nothing, so it can be run at any time.

    Returns ``{"chats": <number>, "system_fingerprint": ..., "max_latency_seconds": ..., "min_tokens_per_second": ...,
    "completion_tokens": ...}``.

    Calls ``POST /v1/chat/completions`` of the inference API, by the connection's inference API key.

    :param endpoint_id: id of the endpoint. (templated)
    :param messages: one chat, as a list of messages with ``role`` and ``content``; or several, as a list of chats.
        (templated)
    :param expect: a text that each answer must contain, a ``re.Pattern`` that must be found in it, or a function that
        takes the answer and must return true. (templated)
    :param system_fingerprint_suffix: what the answers' ``system_fingerprint`` must end with. (templated)
    :param max_latency: seconds that an answer may take. (templated)
    :param min_tokens_per_second: how fast an answer must be. (templated)
    :param settle_timeout: seconds in which a check that fails is repeated; default 60. (templated)
    :param chat_params: further fields of the requests, such as ``temperature``. (templated)
    :param log_content: whether logs and errors may repeat questions and answers; default False. (templated)
    :param cerebras_conn_id: id of the connection; default ``cerebras_default``. (templated)
    :raises ValueError: if an argument is against a rule; nothing was sent then.
    :raises EndpointVerificationFailed: if an answer is not as expected, with the reason.
    :raises RequestRefused: if the inference API key is refused.
    """

    arguments = takes(
        endpoint_id=IDENTIFIER,
        messages=MESSAGES,
        expect=EXPECTATION.or_none,
        system_fingerprint_suffix=SUFFIX.or_none,
        max_latency=SECONDS.or_none,
        min_tokens_per_second=POSITIVE.or_none,
        settle_timeout=SECONDS_OR_ZERO,
        chat_params=MAPPING.or_none,
        log_content=BOOLEAN,
    )

    def __init__(
        self,
        *,
        endpoint_id: str | XComArg,
        messages: Chat | Sequence[Chat],
        expect: Expectation | None = None,
        system_fingerprint_suffix: str | XComArg | None = None,
        max_latency: float | None = None,
        min_tokens_per_second: float | None = None,
        settle_timeout: float = 60,
        chat_params: dict[str, JsonValue] | None = None,
        log_content: bool = False,
        cerebras_conn_id: str = CerebrasHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(cerebras_conn_id=cerebras_conn_id, **kwargs)
        self.endpoint_id: str = endpoint_id  # type: ignore[assignment]  # rendered before execute
        self.messages = messages
        self.expect = expect
        self.system_fingerprint_suffix: str | None = system_fingerprint_suffix  # type: ignore[assignment]  # likewise
        self.max_latency = max_latency
        self.min_tokens_per_second = min_tokens_per_second
        self.settle_timeout = settle_timeout
        self.chat_params = chat_params
        self.log_content = log_content

    def execute(self, context: Context) -> dict[str, JsonValue]:
        """Ask, check, and repeat until it is as expected or the time is up."""
        chats = read_chats(self.messages)
        end = time.monotonic() + self.settle_timeout
        measurements = []
        for chat in chats:
            while True:
                measurement, fault = self._ask(chat)
                if measurement is not None and fault is None:
                    measurements.append(measurement)
                    break
                if time.monotonic() >= end:
                    raise self._failure(chat, measurement, fault)
                self.log.info("Endpoint %s is not as expected: %s. Asking again.", self.endpoint_id, fault)
                time.sleep(min(_SETTLING_INTERVAL, self.settle_timeout))
        metrics = summarize(measurements)
        self.log.info("Endpoint %s answers as expected: %s.", self.endpoint_id, metrics)
        report(self, context, lambda: trace_deployment(self.hook.get_conn(), self.endpoint_id, log=self.log))
        return metrics

    def _ask(self, chat: Chat) -> tuple[Measurement | None, str | None]:
        began = time.monotonic()
        try:
            answer = self.hook.chat_completion(self.endpoint_id, chat, **(self.chat_params or {}))
        except (Unauthorized, Forbidden, BadRequest) as error:
            raise RequestRefused(str(error)) from error
        except CerebrasError as error:
            return None, str(error)
        measurement = measure(answer, time.monotonic() - began)
        return measurement, find_fault(
            measurement,
            expect=self.expect,
            system_fingerprint_suffix=self.system_fingerprint_suffix,
            max_latency=self.max_latency,
            min_tokens_per_second=self.min_tokens_per_second,
        )

    def _failure(self, chat: Chat, measurement: Measurement | None, fault: str | None) -> EndpointVerificationFailed:
        message = f"Endpoint {self.endpoint_id} was not as expected within {self.settle_timeout} s: {fault}."
        if not self.log_content:
            return EndpointVerificationFailed(f"{message} log_content=True shows the question and the answer.")
        answer = measurement.answer if measurement else None
        error = EndpointVerificationFailed(f"{message} Question: {chat!r}. Answer: {answer!r}.")
        error.question, error.answer = chat, answer
        return error
