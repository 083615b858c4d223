"""Operators on endpoints."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from airflow_provider_cerebras.api.errors import CerebrasError
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
from airflow_provider_cerebras.durable.identity import identify_deployment, identify_rollback
from airflow_provider_cerebras.durable.rollbacks import Rollback, remove_mark
from airflow_provider_cerebras.durable.rollout_steps import SUBMISSION_KEY, VERDICT_KEY, Baseline, Submission
from airflow_provider_cerebras.durable.task_state import TaskState
from airflow_provider_cerebras.evaluation.smoke import find_fault, read_chats
from airflow_provider_cerebras.exceptions import (
    DeploymentFailed,
    DeploymentLost,
    EndpointVerificationFailed,
    InvalidArgument,
    NothingToRollBackTo,
    RollbackRefused,
    permanent_errors_fail,
    read_event,
)
from airflow_provider_cerebras.hooks.cerebras import CerebrasHook
from airflow_provider_cerebras.operators._base import CerebrasOperator
from airflow_provider_cerebras.operators._rollouts import RolloutOperator
from airflow_provider_cerebras.operators._verification import Verification
from airflow_provider_cerebras.polling.outcome import Status
from airflow_provider_cerebras.traces import set_attributes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.common.compat.sdk import Context
    from pydantic import JsonValue

    from airflow_provider_cerebras.arguments.given import Flag, Number, Seconds, Text
    from airflow_provider_cerebras.durable.identity import Identity
    from airflow_provider_cerebras.evaluation.smoke import Chat, Expectation
    from airflow_provider_cerebras.polling.outcome import Outcome


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
    :param poll_interval: the longest interval between two polls, in seconds; default 15. (templated)
    :param timeout: how long to wait, in seconds from the submission; default 7200, two hours. (templated)
    :param rollback_on_failure: whether, if the rollout fails, the version that served before is deployed again and
        waited for; the task fails all the same. Needs ``wait_for_completion``. Default False. (templated)
    :param durable: whether to check for a deployment that makes a submission needless; default True. If False, each
        attempt submits one. (templated)
    :param cerebras_conn_id: id of the connection; default ``cerebras_default``. (templated)
    :raises InvalidArgument: if an argument is against a rule; nothing was sent then.
    :raises RequestRefused: if the service refuses the request, and would again.
    :raises OutcomeUnknown: if it is unknown whether a rollout was begun; a retry finds out.
    :raises DeploymentFailed: if the rollout failed.
    :raises DeploymentLost: if the endpoint no longer lists the deployment.
    :raises WaitTimeout: if the rollout had not ended after ``timeout``.
    """

    arguments = takes(model_version=MODEL_VERSION, rollback_on_failure=BOOLEAN)

    def __init__(
        self,
        *,
        endpoint_id: Text,
        model_version: Text,
        wait_for_completion: Flag = False,
        deferrable: Flag | None = None,
        poll_interval: Seconds = 15,
        timeout: Seconds = 7200,
        rollback_on_failure: Flag = False,
        durable: Flag = True,
        cerebras_conn_id: Text = CerebrasHook.default_conn_name,
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
        self.model_version: str = model_version  # type: ignore[assignment]  # read before execute
        self.rollback_on_failure: bool = rollback_on_failure  # type: ignore[assignment]  # read before execute

    def execute(self, context: Context) -> str:
        """Deploy, or adopt the rollout that an earlier attempt has begun, and wait if asked to."""
        if self.rollback_on_failure and not self.wait_for_completion:
            raise InvalidArgument(
                "rollback_on_failure: needs wait_for_completion=True; otherwise the task ends before any failure."
            )
        self._warn_of_options_without_effect()
        self._begin(context)
        begun = self._task_state(context, key="cerebras_rollback").read()
        if (cause := begun.get("cause")) and (failed := Submission.from_json(begun.get("failed"))):
            self._roll_back(failed, cause, context)
        task_state = self._task_state(context)
        with permanent_errors_fail():
            made = Deploy(
                self._rollout(),
                self._numbered(self.model_version, task_state),
                durable=self.durable,
                task_state=task_state,
                run_started=self._run_started(context),
            ).run()
        context["ti"].xcom_push(key=SUBMISSION_KEY, value=made.to_json())
        set_attributes(model_version=made.model_version)
        return self._go_on(made, context)

    def rollback_complete(self, context: Context, event: object = None) -> str:
        """Go on when the trigger has sent how a rollback ended."""
        outcome = read_event(event, *self.event_ids, "cause")
        self._fail_after_rollback(outcome, outcome.ids["cause"], context)

    def _conclude(self, outcome: Outcome, context: Context) -> str:
        if outcome.status in {Status.FAILED, Status.LOST}:
            context["ti"].xcom_push(key=VERDICT_KEY, value=outcome.status.value)
        if outcome.status is Status.LOST:
            self._task_state(context).update(deployment_id="", submission="")
        if outcome.status is Status.FAILED:
            cause = f"Model version {self.model_version} was not rolled out. {outcome.message}"
            if self.rollback_on_failure:
                self._roll_back(self._failed(outcome.ids["deployment_id"], context), cause, context)
            self._fail(f"{cause} {self._what_serves()}", context)
        return super()._conclude(outcome, context)

    def _failed(self, deployment_id: str, context: Context) -> Submission:
        noted = Submission.from_json(self._task_state(context).read().get("submission"))
        if noted is not None and noted.deployment_id == deployment_id:
            return noted
        # What was there before the run began was there before its deployment.
        started = getattr(context.get("dag_run"), "start_date", None)
        return Submission(deployment_id, baseline=Baseline.before(started.timestamp()) if started else None)

    def _roll_back(self, failed: Submission, cause: str, context: Context) -> NoReturn:
        task_state = self._task_state(context, key="cerebras_rollback")
        # A retry must not deploy again what has failed.
        task_state.update(cause=cause, failed=failed.to_json())
        self.log.warning("%s Rolling back.", cause)
        try:
            rolled_back = Rollback(self._rollout(), taken_back=failed, task_state=task_state).run()
        except NothingToRollBackTo:
            self._fail(f"{cause} There is nothing to roll back to: no other version served before.", context)
        except (RollbackRefused, DeploymentLost) as error:
            self._fail(f"{cause} {error}", context, error)
        except CerebrasError as error:
            self._fail(f"{cause} It could not be rolled back: {error} {self._what_serves()}", context, error)
        previous = f"Model version {rolled_back.model_version}, which served before,"
        if rolled_back.has_served:
            self._fail(f"{cause} {previous} has served all the time, so nothing was rolled back.", context)
        cause += f" {previous} was deployed again"
        poller = self._new_poller(rolled_back.submission)
        if self.deferrable:
            trigger = self._trigger(poller, cause=cause)
            trigger.service = self.hook.service_fingerprint()
            self.defer(trigger=trigger, method_name="rollback_complete", timeout=trigger.backstop)
        rollback = self._poll_until_end(poller)
        self._fail_after_rollback(rollback, cause, context)

    def _fail_after_rollback(self, rollback: Outcome, cause: str, context: Context) -> NoReturn:
        if rollback.status is Status.SUCCEEDED:
            self._fail(f"{cause} and serves.", context)
        self._fail(f"{cause}, but that did not succeed either. {rollback.message} {self._what_serves()}", context)

    def _fail(self, message: str, context: Context, error: Exception | None = None) -> NoReturn:
        self._task_state(context, key="cerebras_rollback").update(cause="")
        raise DeploymentFailed(f"{message} Fix the cause before you clear this task.") from error

    def _identify(self, context: Context) -> Identity:
        return identify_deployment(context, self.endpoint_id, self.model_version)

    def _task_state(self, context: Context, key: str = "cerebras_deployment") -> TaskState:
        generation = self._identity(context).generation
        return TaskState(context, key=key, fingerprint=f"{self.model_version} on {self.endpoint_id}, {generation}")


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
    :param poll_interval: the longest interval between two polls, in seconds; default 15. (templated)
    :param timeout: how long to wait, in seconds from the submission; default 7200, two hours. (templated)
    :param cerebras_conn_id: id of the connection; default ``cerebras_default``. (templated)
    :raises InvalidArgument: if an argument is against a rule; nothing was sent then.
    :raises NothingToRollBackTo: if no other version served before.
    :raises RequestRefused: if the service refuses the request, and would again.
    :raises DeploymentFailed: if the rollout failed; the message says what serves.
    :raises DeploymentLost: if the endpoint no longer lists the deployment.
    :raises WaitTimeout: if the rollout had not ended after ``timeout``.
    """

    arguments = takes(to=MODEL_VERSION.or_none, deployment_id=IDENTIFIER.or_none)
    _must_have_value = frozenset({"to", "deployment_id"})

    def __init__(
        self,
        *,
        endpoint_id: Text,
        to: Text | None = None,
        deployment_id: Text | None = None,
        wait_for_completion: Flag = True,
        deferrable: Flag | None = None,
        poll_interval: Seconds = 15,
        timeout: Seconds = 7200,
        cerebras_conn_id: Text = CerebrasHook.default_conn_name,
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
        self.to: str | None = to  # type: ignore[assignment]  # read before execute
        self.deployment_id: str | None = deployment_id  # type: ignore[assignment]  # read before execute
        self._given = [name for name, value in {"to": to, "deployment_id": deployment_id}.items() if value is not None]

    def execute(self, context: Context) -> str:
        """Choose the target, deploy it, and wait if asked to."""
        self._refuse_lost(self._given, context)
        identity = self._begin(context)
        task_state = self._task_state(context)
        with permanent_errors_fail():
            to = None if self.to is None else self._numbered(self.to, task_state)
            taken_back = self._taken_back(context)
            if to is not None and taken_back is None:
                self.log.info("Rolling endpoint %s back to model version %s.", self.endpoint_id, to)
                deploy = Deploy(
                    self._rollout(), to, durable=True, task_state=task_state, run_started=self._run_started(context)
                )
                return self._go_on(deploy.run(), context)
            rolled_back = Rollback(
                self._rollout(),
                taken_back=taken_back,
                to=to,
                task_state=task_state,
                identity=identity,
                run_started=self._run_started(context),
            ).run()
        set_attributes(model_version=rolled_back.model_version)
        if rolled_back.has_served:
            self.log.info(
                "Model version %s has served all the time; nothing is rolled back.", rolled_back.model_version
            )
        else:
            self.log.info("Rolling endpoint %s back to model version %s.", self.endpoint_id, rolled_back.model_version)
        return self._go_on(rolled_back.submission, context)

    def _taken_back(self, context: Context) -> Submission | None:
        """The deployment to take back; None: the newest one."""
        return None if self.deployment_id is None else Submission(self.deployment_id)

    def _conclude(self, outcome: Outcome, context: Context) -> str:
        if outcome.status is Status.LOST:
            self._task_state(context).update(deployment_id="", submission="")
        if outcome.status in {Status.FAILED, Status.LOST}:
            self._remove_mark(context)
        if outcome.status is Status.FAILED:
            raise DeploymentFailed(
                f"The rollback failed. {outcome.message} {self._what_serves()} Deploy what must serve there."
            )
        return super()._conclude(outcome, context)

    def _succeed(self, result: str, context: Context) -> str:
        self._remove_mark(context)
        return super()._succeed(result, context)

    def _remove_mark(self, context: Context) -> None:
        if not self._task_state(context).is_kept:
            remove_mark(self._rollout(), self._identity(context))

    def _identify(self, context: Context) -> Identity:
        return identify_rollback(context, self.endpoint_id)

    def _task_state(self, context: Context) -> TaskState:
        identity = self._identity(context)
        return TaskState(context, key="cerebras_rollback", fingerprint=identity.alias)


class CerebrasVerifyEndpointOperator(CerebrasOperator):
    """Ask an endpoint something, and fail unless it answers as expected.

    While a rollout settles an endpoint may answer with the old weights or not at all, so a check that fails is repeated
    until ``settle_timeout``. It holds a worker slot until then. It changes nothing, so it can be run at any time.

    With ``model_version`` it also checks, before and after its questions, that this version serves.

    Returns ``{"chats": <number>, "system_fingerprint": ..., "max_latency_seconds": ..., "min_tokens_per_second": ...,
    "completion_tokens": ..., "model_version": <full name by number, or None>}``. A task that promotes takes
    ``verify.output["model_version"]``, so that what is promoted is what was verified.

    Calls ``POST /v1/chat/completions`` of the inference API, with the connection's inference API key; with
    ``model_version`` also ``GET /endpoints/{endpoint_id}``.

    :param endpoint_id: id of the endpoint. (templated)
    :param messages: one chat, as a list of messages with ``role`` and ``content``; or several, as a list of chats.
        (templated)
    :param expect: a string that each answer must contain, a ``re.Pattern`` that must be found in it, or a function that
        takes the answer and must return true. (templated)
    :param system_fingerprint_suffix: what the answers' ``system_fingerprint`` must end with. (templated)
    :param max_latency: seconds that an answer may take; repetitions of a request are not in it. (templated)
    :param min_tokens_per_second: how fast an answer must be. (templated)
    :param settle_timeout: seconds in which a check that fails is repeated; default 60. (templated)
    :param chat_params: further fields of the requests, such as ``temperature``. (templated)
    :param log_content: whether logs and errors may repeat questions and answers; default False. (templated)
    :param model_version: full name of the version that must serve, by number or alias; default: any. (templated)
    :param cerebras_conn_id: id of the connection; default ``cerebras_default``. (templated)
    :raises InvalidArgument: if an argument is against a rule; nothing was sent then.
    :raises EndpointVerificationFailed: if an answer is not as expected or another version serves, with the reason.
    :raises VerificationNotDone: if the endpoint could not be asked, because of the network, a limit or a gateway. It
        says nothing about the version that serves.
    :raises RequestRefused: if the inference API key or the question is refused. Likewise.
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
        model_version=MODEL_VERSION.or_none,
    )

    def __init__(
        self,
        *,
        endpoint_id: Text,
        messages: Chat | Sequence[Chat],
        expect: Expectation | None = None,
        system_fingerprint_suffix: Text | None = None,
        max_latency: Seconds | None = None,
        min_tokens_per_second: Number | None = None,
        settle_timeout: Seconds = 60,
        chat_params: dict[str, JsonValue] | None = None,
        log_content: Flag = False,
        model_version: Text | None = None,
        cerebras_conn_id: Text = CerebrasHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(cerebras_conn_id=cerebras_conn_id, **kwargs)
        self.endpoint_id: str = endpoint_id  # type: ignore[assignment]  # read before execute
        self.messages = messages
        self.expect = expect
        self.system_fingerprint_suffix: str | None = system_fingerprint_suffix  # type: ignore[assignment]  # likewise
        self.max_latency: float | None = max_latency  # type: ignore[assignment]  # read before execute
        self.min_tokens_per_second: float | None = min_tokens_per_second  # type: ignore[assignment]  # read before execute
        self.settle_timeout: float = settle_timeout  # type: ignore[assignment]  # read before execute
        self.chat_params = chat_params
        self.log_content: bool = log_content  # type: ignore[assignment]  # read before execute
        self.model_version: str | None = model_version  # type: ignore[assignment]  # likewise

    def execute(self, context: Context) -> dict[str, JsonValue]:
        """Ask, check, and repeat until it is as expected or the time is up."""
        chats = read_chats(self.messages)
        verification = Verification(
            self.hook,
            self.endpoint_id,
            partial(
                find_fault,
                expect=self.expect,
                system_fingerprint_suffix=self.system_fingerprint_suffix,
                max_latency=self.max_latency,
                min_tokens_per_second=self.min_tokens_per_second,
            ),
            model_version=self.model_version,
            settle_timeout=self.settle_timeout,
            chat_params=self.chat_params or {},
            log_content=self.log_content,
            log=self.log,
        )
        try:
            metrics = verification.run(chats)
        except EndpointVerificationFailed:
            context["ti"].xcom_push(key=VERDICT_KEY, value="failed")
            set_attributes(outcome="failed")
            raise
        set_attributes(model_version=metrics["model_version"], outcome="succeeded")
        self.log.info("Endpoint %s answers as expected: %s.", self.endpoint_id, metrics)
        if self.do_xcom_push and metrics["model_version"] is not None:
            context["ti"].xcom_push(key="model_version", value=metrics["model_version"])
        report(self, context, lambda: trace_deployment(self.hook.get_conn(), self.endpoint_id, log=self.log))
        return metrics
