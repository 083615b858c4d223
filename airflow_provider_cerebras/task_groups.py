"""The whole release as one TaskGroup: it checks itself, goes back by itself, and reports its outcome."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import TaskGroup

from airflow_provider_cerebras.hooks.cerebras import CerebrasHook
from airflow_provider_cerebras.operators._release import (
    MODEL_VERSION_KEY,
    Conclude,
    DeployForRelease,
    EvaluateBaseline,
    EvaluateRelease,
    TakeBack,
    UploadForRelease,
)
from airflow_provider_cerebras.operators.endpoints import (
    CerebrasDeployModelOperator,
    CerebrasVerifyEndpointOperator,
)
from airflow_provider_cerebras.operators.model_versions import CerebrasPromoteModelVersionOperator
from airflow_provider_cerebras.operators.weights import CerebrasCheckWeightsOperator
from airflow_provider_cerebras.sensors.endpoints import CerebrasDeploymentSensor
from airflow_provider_cerebras.sensors.model_versions import CerebrasModelVersionSensor
from airflow_provider_cerebras.version_compat import AIRFLOW_V_3_1_PLUS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.providers.common.compat.sdk import XComArg

    from airflow_provider_cerebras.arguments.given import Flag, Text
    from airflow_provider_cerebras.evaluation.smoke import Chat, Expectation

    Overrides = Mapping[str, Any]

# What makes a gate of an evaluation, and has no meaning for what serves already.
_GATE = frozenset({"require", "baseline", "max_regression", "confidence", "model_version"})
# Seconds, as of the operators that wait. Airflow's own default for sensors, a week, would hide what hangs.
_SYNC_TIMEOUT = 86400
_ROLLOUT_TIMEOUT = 7200
_NOT_TAKEN = {
    "check_weights": {"cerebras_conn_id", "endpoint_id"},
    "wait_for_sync": {"endpoint_id"},
    "promote": {"endpoint_id"},
}
_DOCS = {
    "check_weights": "Checks the weights in S3, in seconds, before anything is uploaded.",
    "upload": "Checks what the tasks after it need, and registers the weights as a new version.",
    "wait_for_sync": "Waits until the service has copied the weights.",
    "evaluate_baseline": "Evaluates what serves now. Skipped if nothing serves.",
    "approve": "Asks a person whether the version may be deployed.",
    "deploy": "Begins the rollout onto the endpoint, once.",
    "wait_for_rollout": "Waits until the version serves.",
    "verify": "Asks the endpoint something, and checks that this version answers as expected.",
    "evaluate": "Evaluates the version with a data set, and compares it with what served before.",
    "promote": "Moves the alias to the version that was verified.",
    "roll_back": "Deploys again what served before, if the rollout or a check has failed. Skipped otherwise.",
    "conclude": "Returns the record of the release, and fails with one sentence unless all went well.",
}


class Release(TaskGroup):
    """The TaskGroup that :func:`cerebras_release` returns, with its results as attributes.

    :ivar model_version: full name of the version, for downstream tasks.
    :ivar deployment_id: UUID of the deployment, for downstream tasks.
    """

    model_version: XComArg
    deployment_id: XComArg


def cerebras_release(
    *,
    endpoint_id: Text,
    model_arch_id: Text | None = None,
    weight_uri: Text | None = None,
    model_version: Text | None = None,
    alias: Text | None = None,
    messages: Chat | Sequence[Chat] = ({"role": "user", "content": "Say hello."},),
    expect: Expectation | None = None,
    system_fingerprint_suffix: Text | None = None,
    aws_conn_id: Text | None = None,
    weights_digest: Text | None = None,
    evaluate: Overrides | None = None,
    approval: Flag = False,
    record_uri: Text | None = None,
    group_id: str = "cerebras_release",
    cerebras_conn_id: Text = CerebrasHook.default_conn_name,
    check_weights: Overrides | None = None,
    upload: Overrides | None = None,
    wait_for_sync: Overrides | None = None,
    evaluate_baseline: Overrides | None = None,
    approve: Overrides | None = None,
    deploy: Overrides | None = None,
    wait_for_rollout: Overrides | None = None,
    verify: Overrides | None = None,
    promote: Overrides | None = None,
    roll_back: Overrides | None = None,
    conclude: Overrides | None = None,
) -> Release:
    """Check the weights → upload → wait → (approve) → deploy → wait → verify → (evaluate) → (promote) → conclude.

    The group succeeds if everything did. If the rollout, the verification or the evaluation fails, what served before
    is deployed again. It is not deployed over what another client has deployed meanwhile, and not because a check could
    not be carried out. ``conclude`` runs whatever happened: it returns the record of the release and fails with one
    sentence that says what failed, what serves and what to do. What the tasks need is checked before the first change.
    Waits are deferred unless told otherwise.

    :param endpoint_id: id of the endpoint.
    :param model_arch_id: id of the architecture that the weights belong to; needed with ``weight_uri``.
    :param weight_uri: ``s3://bucket/prefix`` of the weights.
    :param model_version: in place of ``weight_uri``: full name of a version that is there, by number or alias, as
        another release returns it. The release begins at the deployment then.
    :param alias: alias to be moved to the version in the end; default: none is.
    :param messages: one chat or several that verify the endpoint; see
        :class:`~airflow_provider_cerebras.operators.endpoints.CerebrasVerifyEndpointOperator`.
    :param expect: what the answers must be like.
    :param system_fingerprint_suffix: text that the answers must carry in ``system_fingerprint``, which is verified.
    :param aws_conn_id: id of the AWS connection by which the weights are checked before the upload, and listed again
        before the request and after the sync, so that other weights are not deployed; default None: none of it.
    :param weights_digest: digest that the weights must have, as ``weights_digest()`` gives it to the training task;
        needs ``aws_conn_id``. Default: any.
    :param evaluate: keywords for
        :class:`~airflow_provider_cerebras.operators.evaluation.CerebrasEvaluateEndpointOperator`, ``dataset`` among
        them, which evaluates what was deployed. What serves is evaluated before the deployment, and the version is
        compared with it, unless a ``baseline`` is given or nothing serves. Default None: nothing is evaluated.
    :param approval: whether a person has to approve the deployment; Airflow 3.1 and later, with the standard provider.
    :param record_uri: folder, local or a URI, where the record of each release is stored as JSON and Markdown; default
        None: it is an XCom only.
    :param group_id: id of the group.
    :param cerebras_conn_id: id of the connection; default ``cerebras_default``.
    :param check_weights: keywords for the task of this name, which override what is set here; so do those that follow.
    :param upload: keywords for the task of this name.
    :param wait_for_sync: keywords for the task of this name; its ``timeout`` is 86400 seconds, a day.
    :param evaluate_baseline: keywords for the task of this name.
    :param approve: keywords for the task of this name.
    :param deploy: keywords for the task of this name.
    :param wait_for_rollout: keywords for the task of this name; its ``timeout`` is 7200 seconds, two hours.
    :param verify: keywords for the task of this name.
    :param promote: keywords for the task of this name.
    :param roll_back: keywords for the task of this name.
    :param conclude: keywords for the task of this name.
    :return: the group; its attributes ``model_version`` and ``deployment_id`` are for downstream tasks.
    :raises ValueError: if both or neither of ``weight_uri`` and ``model_version`` are given, if an argument needs
        another one, or if ``approval`` is asked for below Airflow 3.1.
    """
    _check_arguments(weight_uri, model_version, model_arch_id, aws_conn_id, weights_digest)
    verify_conn_id = (verify or {}).get("cerebras_conn_id", cerebras_conn_id)
    said_uri = weight_uri if isinstance(weight_uri, str) else None
    version: Any = model_version
    group = Release(group_id=group_id)
    steps = _Steps(cerebras_conn_id, endpoint_id)
    seal: dict[str, Any] = {}
    with group:
        if aws_conn_id is not None:
            checked = steps.add(
                "check_weights",
                CerebrasCheckWeightsOperator,
                check_weights,
                weight_uri=weight_uri,
                model_arch_id=model_arch_id,
                weights_digest=weights_digest,
                aws_conn_id=aws_conn_id,
            )
            seal = {"aws_conn_id": aws_conn_id, "weights_digest": checked.output["digest"]}
        if model_version is None:
            uploaded = steps.add(
                "upload",
                UploadForRelease,
                upload,
                alias=alias,
                verify_conn_id=verify_conn_id,
                model_arch_id=model_arch_id,
                weight_uri=weight_uri,
                system_fingerprint_suffix=system_fingerprint_suffix,
                **seal,
            )
            version = steps.add(
                "wait_for_sync",
                CerebrasModelVersionSensor,
                wait_for_sync,
                model_version=uploaded.output,
                deferrable=True,
                timeout=_SYNC_TIMEOUT,
                **seal,
            ).output
        if evaluate is not None and "baseline" not in evaluate:
            steps.add("evaluate_baseline", EvaluateBaseline, _without_gate(evaluate, evaluate_baseline))
        if approval:
            steps.add(
                "approve",
                _approval_class(),
                approve,
                subject=f"Deploy to {endpoint_id}?" if isinstance(endpoint_id, str) else "Deploy?",
                model_version=version,
                weight_uri=said_uri,
                check_task_id=steps.task_id("check_weights"),
                baseline_task_id=steps.task_id("evaluate_baseline"),
            )
        if model_version is None:
            deployed = steps.add("deploy", CerebrasDeployModelOperator, deploy, model_version=version)
        else:
            deployed = steps.add(
                "deploy", DeployForRelease, deploy, model_version=version, verify_conn_id=verify_conn_id
            )
            version = deployed.output[MODEL_VERSION_KEY]
        steps.add(
            "wait_for_rollout",
            CerebrasDeploymentSensor,
            wait_for_rollout,
            deployment_id=deployed.output,
            deferrable=True,
            timeout=_ROLLOUT_TIMEOUT,
        )
        verified = steps.add(
            "verify",
            CerebrasVerifyEndpointOperator,
            verify,
            messages=messages,
            expect=expect,
            system_fingerprint_suffix=system_fingerprint_suffix,
            model_version=version,
        )
        if evaluate is not None:
            steps.add(
                "evaluate",
                EvaluateRelease,
                evaluate,
                model_version=version,
                baseline_task_id=steps.task_id("evaluate_baseline"),
            )
        if alias is not None:
            steps.add(
                "promote",
                CerebrasPromoteModelVersionOperator,
                promote,
                model_version=verified.output[MODEL_VERSION_KEY],
                alias=alias,
            )
        _end(steps, roll_back, conclude, weight_uri=said_uri, alias=alias, record_uri=record_uri)
    group.model_version = version
    group.deployment_id = deployed.output
    return group


class _Steps:
    """The tasks of a release in their order, each with what all of them are given.

    :param cerebras_conn_id: id of the connection.
    :param endpoint_id: id of the endpoint.
    """

    def __init__(self, cerebras_conn_id: Text, endpoint_id: Text) -> None:
        self.tasks: dict[str, Any] = {}
        self._given = {"cerebras_conn_id": cerebras_conn_id, "endpoint_id": endpoint_id}

    def add(self, name: str, operator: Any, overrides: Overrides | None, **defaults: Any) -> Any:
        """Make a task that comes after the last one.

        :param name: its id within the group.
        :param operator: its class.
        :param overrides: keywords of the user, which go before all others.
        :param defaults: keywords.
        """
        task = self.make(name, operator, overrides, **defaults)
        if self.tasks:
            self.last >> task
        self.tasks[name] = task
        return task

    def make(self, name: str, operator: Any, overrides: Overrides | None, **defaults: Any) -> Any:
        """Make a task that comes after none; see :meth:`add`."""
        given = {each: value for each, value in self._given.items() if each not in _NOT_TAKEN.get(name, ())}
        shown = {"task_display_name": name.replace("_", " "), "doc_md": _DOCS[name]}
        # A trigger rule of the DAG's default_args would deploy what was rejected.
        fixed = {"task_id": name, "trigger_rule": "all_success"}
        task = operator(**{**fixed, **given, **shown, **defaults, **(overrides or {})})
        task.leaves_error = True
        return task

    @property
    def last(self) -> Any:
        """The task that was added last."""
        return list(self.tasks.values())[-1]

    def task_id(self, name: str) -> str | None:
        """Id of a task within the DAG; None: there is none of this name."""
        return self.tasks[name].task_id if name in self.tasks else None


def _end(steps: _Steps, roll_back: Overrides | None, conclude: Overrides | None, **of_record: Any) -> None:
    """Add what goes back, and what concludes."""
    last, deployed = steps.last, steps.tasks["deploy"]
    judging = [steps.tasks[name] for name in ("wait_for_rollout", "verify", "evaluate") if name in steps.tasks]
    taken_back = steps.make(
        "roll_back",
        TakeBack,
        roll_back,
        deployment_id=deployed.output,
        deploy_task_id=deployed.task_id,
        verdict_task_ids=[task.task_id for task in (deployed, *judging)],
        trigger_rule="one_failed",
        deferrable=True,
    )
    steps.tasks["roll_back"] = taken_back
    concluded = steps.make(
        "conclude",
        Conclude,
        conclude,
        step_task_ids={name: task.task_id for name, task in steps.tasks.items()},
        trigger_rule="all_done",
        **of_record,
    )
    judging >> taken_back
    [last, taken_back] >> concluded


def _without_gate(evaluate: Overrides, overrides: Overrides | None) -> Overrides:
    return {**{name: value for name, value in evaluate.items() if name not in _GATE}, **(overrides or {})}


def _check_arguments(
    weight_uri: object, model_version: object, model_arch_id: object, aws_conn_id: object, weights_digest: object
) -> None:
    if (weight_uri is None) == (model_version is None):
        raise ValueError("weight_uri: give either weight_uri or model_version.")
    if weight_uri is not None and model_arch_id is None:
        raise ValueError("model_arch_id: is needed with weight_uri.")
    if weight_uri is None and aws_conn_id is not None:
        raise ValueError("aws_conn_id: needs weight_uri, for there are no weights to check.")
    if weights_digest is not None and aws_conn_id is None:
        raise ValueError("weights_digest: needs aws_conn_id, by which the weights are read.")


def _approval_class() -> Any:
    if not AIRFLOW_V_3_1_PLUS:
        raise ValueError("approval: needs Airflow 3.1 or later.")
    from airflow_provider_cerebras.operators._approval import ApproveRelease

    return ApproveRelease
