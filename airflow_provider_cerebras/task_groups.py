"""The whole release as one TaskGroup: it checks itself, and goes back by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowSkipException, BaseOperator, TaskGroup

from airflow_provider_cerebras.arguments.kinds import ALIAS, CONN_ID, IDENTIFIER, takes
from airflow_provider_cerebras.durable.rollout_steps import SUBMISSION_KEY, VERDICT_KEY, Submission
from airflow_provider_cerebras.exceptions import InvalidArgument, permanent_errors_fail
from airflow_provider_cerebras.hooks.cerebras import CerebrasHook
from airflow_provider_cerebras.operators.endpoints import (
    CerebrasDeployModelOperator,
    CerebrasRollbackEndpointOperator,
    CerebrasVerifyEndpointOperator,
)
from airflow_provider_cerebras.operators.model_versions import (
    CerebrasPromoteModelVersionOperator,
    CerebrasUploadModelVersionOperator,
)
from airflow_provider_cerebras.sensors.endpoints import CerebrasDeploymentSensor
from airflow_provider_cerebras.sensors.model_versions import CerebrasModelVersionSensor
from airflow_provider_cerebras.version_compat import AIRFLOW_V_3_1_PLUS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.providers.common.compat.sdk import Context, XComArg

    from airflow_provider_cerebras.evaluation.smoke import Chat, Expectation

    Overrides = Mapping[str, Any]


class Release(TaskGroup):
    """What :func:`cerebras_release` makes: a TaskGroup that also knows its results.

    :ivar model_version: full name of the version, for downstream tasks.
    :ivar deployment_id: UUID of the deployment, for downstream tasks.
    """

    model_version: XComArg
    deployment_id: XComArg


def cerebras_release(
    *,
    model_arch_id: str | XComArg,
    weight_uri: str | XComArg,
    endpoint_id: str | XComArg,
    alias: str | None = None,
    messages: Chat | Sequence[Chat] = ({"role": "user", "content": "Say hello."},),
    expect: Expectation | None = None,
    system_fingerprint_suffix: str | XComArg | None = None,
    approval: bool = False,
    group_id: str = "cerebras_release",
    cerebras_conn_id: str = CerebrasHook.default_conn_name,
    upload: Overrides | None = None,
    wait_for_sync: Overrides | None = None,
    approve: Overrides | None = None,
    deploy: Overrides | None = None,
    wait_for_rollout: Overrides | None = None,
    verify: Overrides | None = None,
    promote: Overrides | None = None,
    roll_back: Overrides | None = None,
) -> Release:
    """Upload → wait → (approve) → deploy → wait → verify → promote, and roll back if it comes to the worst.

    The group succeeds if everything did. If the rollout or the verification fails, what served before is deployed
    again, and the group fails with the reason of the task that failed. It is not deployed over what somebody else has
    deployed meanwhile, and not because the verification could not be carried out: then the group fails and says what
    serves. What the tasks need is checked before the upload. Waits are deferred unless told otherwise.

    :param model_arch_id: id of the architecture that the weights belong to.
    :param weight_uri: ``s3://bucket/prefix`` of the weights.
    :param endpoint_id: id of the endpoint.
    :param alias: alias to be moved to the version in the end; default: none is.
    :param messages: one chat or several that verify the endpoint; see
        :class:`~airflow_provider_cerebras.operators.endpoints.CerebrasVerifyEndpointOperator`.
    :param expect: what the answers must be like.
    :param system_fingerprint_suffix: text that the answers shall carry in ``system_fingerprint``, which is verified.
    :param approval: whether a person has to approve the deployment; Airflow 3.1 and later, with the standard provider.
    :param group_id: id of the group.
    :param cerebras_conn_id: id of the connection; default ``cerebras_default``.
    :param upload: keywords for the task of this name, which override what is set here; so do those that follow.
    :param wait_for_sync: keywords for the task of this name.
    :param approve: keywords for the task of this name.
    :param deploy: keywords for the task of this name.
    :param wait_for_rollout: keywords for the task of this name.
    :param verify: keywords for the task of this name.
    :param promote: keywords for the task of this name.
    :param roll_back: keywords for the task of this name.
    :return: the group; its attributes ``model_version`` and ``deployment_id`` are for downstream tasks.
    :raises ValueError: if ``approval`` is asked for below Airflow 3.1.
    """

    def keywords(task_id: str, overrides: Overrides | None, **defaults: Any) -> dict[str, Any]:
        return {"task_id": task_id, "cerebras_conn_id": cerebras_conn_id, **defaults, **(overrides or {})}

    group = Release(group_id=group_id)
    with group:
        uploaded = _Upload(
            **keywords(
                "upload",
                upload,
                endpoint_id=endpoint_id,
                alias=alias,
                verify_conn_id=(verify or {}).get("cerebras_conn_id", cerebras_conn_id),
                model_arch_id=model_arch_id,
                weight_uri=weight_uri,
                system_fingerprint_suffix=system_fingerprint_suffix,
            )
        )
        synced = CerebrasModelVersionSensor(
            **keywords("wait_for_sync", wait_for_sync, model_version=uploaded.output, deferrable=True)
        )
        deployed = CerebrasDeployModelOperator(
            **keywords("deploy", deploy, endpoint_id=endpoint_id, model_version=synced.output)
        )
        rolled_out = CerebrasDeploymentSensor(
            **keywords(
                "wait_for_rollout",
                wait_for_rollout,
                endpoint_id=endpoint_id,
                deployment_id=deployed.output,
                deferrable=True,
            )
        )
        verified = CerebrasVerifyEndpointOperator(
            **keywords(
                "verify",
                verify,
                endpoint_id=endpoint_id,
                messages=messages,
                expect=expect,
                system_fingerprint_suffix=system_fingerprint_suffix,
                model_version=synced.output,
            )
        )
        rolled_back = _RollBack(
            **keywords(
                "roll_back",
                roll_back,
                endpoint_id=endpoint_id,
                deployment_id=deployed.output,
                deploy_task_id=deployed.task_id,
                verdict_task_ids=[deployed.task_id, rolled_out.task_id, verified.task_id],
                trigger_rule="one_failed",
                deferrable=True,
            )
        )
        released = _Released(
            task_id="released",
            model_version=synced.output,
            deployment_id=deployed.output,
            trigger_rule="none_failed_min_one_success",
        )
        if approval:
            synced >> _approval(approve, endpoint_id) >> deployed
        deployed >> rolled_out >> verified
        [rolled_out, verified] >> rolled_back
        if alias is None:
            verified >> released
        else:
            verified_version: Any = verified.output
            promoted = CerebrasPromoteModelVersionOperator(
                **keywords("promote", promote, model_version=verified_version["model_version"], alias=alias)
            )
            verified >> promoted >> released
        rolled_back >> released
    group.model_version = synced.output
    group.deployment_id = deployed.output
    return group


class _Upload(CerebrasUploadModelVersionOperator):
    """Uploads, after it has checked what the tasks that come later need.

    :param endpoint_id: id of the endpoint of the release. (templated)
    :param alias: alias that the version is promoted to in the end. (templated)
    :param verify_conn_id: id of the connection by which the endpoint is verified. (templated)
    """

    arguments = takes(endpoint_id=IDENTIFIER, alias=ALIAS.or_none, verify_conn_id=CONN_ID)

    def __init__(self, *, endpoint_id: str | XComArg, alias: str | None, verify_conn_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.endpoint_id: str = endpoint_id  # type: ignore[assignment]  # rendered before execute
        self.alias = alias
        self.verify_conn_id = verify_conn_id

    def execute(self, context: Context) -> str:
        """Check, and upload."""
        self.hook_class(cerebras_conn_id=self.verify_conn_id).require_inference_key()
        with permanent_errors_fail():
            model_arch_id = self.hook.get_endpoint(self.endpoint_id).model_arch_id
        if model_arch_id not in {None, self.model_arch_id}:
            raise InvalidArgument(
                f"endpoint_id: endpoint {self.endpoint_id} runs model architecture {model_arch_id}, and the weights "
                f"are for {self.model_arch_id}. Nothing was uploaded."
            )
        return super().execute(context)


class _RollBack(CerebrasRollbackEndpointOperator):
    """Takes back what this release has deployed, if it is known to be wrong.

    :param deploy_task_id: id of the task that has deployed.
    :param verdict_task_ids: ids of the tasks that may have found that it is wrong.
    """

    def __init__(self, *, deploy_task_id: str, verdict_task_ids: Sequence[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.deploy_task_id = deploy_task_id
        self.verdict_task_ids = list(verdict_task_ids)

    def execute(self, context: Context) -> str:
        """Go back, or skip and say what serves."""
        if self.deployment_id is None:
            raise AirflowSkipException("No deployment of this release is known, so nothing is rolled back.")
        if not any(self._pull(context, task_id, VERDICT_KEY) for task_id in self.verdict_task_ids):
            raise AirflowSkipException(
                f"Neither the rollout nor a check of what serves has failed; something could not be carried out. So "
                f"nothing is rolled back, and deployment {self.deployment_id} is unverified. {self._what_serves()}"
            )
        return super().execute(context)

    def _taken_back(self, context: Context) -> Submission | None:
        submission = Submission.from_json(self._pull(context, self.deploy_task_id, SUBMISSION_KEY))
        is_its_own = submission is not None and submission.deployment_id == self.deployment_id
        return submission if is_its_own else super()._taken_back(context)

    def _pull(self, context: Context, task_id: str, key: str) -> object:
        ti: Any = context["ti"]
        return ti.xcom_pull(task_ids=task_id, key=key, map_indexes=ti.map_index)


class _Released(BaseOperator):
    """The one end of the group, so that whoever comes after it goes by whether the release succeeded."""

    template_fields: Sequence[str] = ("model_version", "deployment_id")

    def __init__(self, *, model_version: XComArg, deployment_id: XComArg, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.model_version = model_version
        self.deployment_id = deployment_id

    def execute(self, context: Context) -> dict[str, Any]:
        if self.deployment_id is None:
            raise AirflowSkipException("Nothing was deployed, so nothing is released.")
        return {"model_version": self.model_version, "deployment_id": self.deployment_id}


def _approval(overrides: Overrides | None, endpoint_id: object) -> BaseOperator:
    if not AIRFLOW_V_3_1_PLUS:
        raise ValueError("approval: needs Airflow 3.1 or later.")
    from airflow.providers.standard.operators.hitl import ApprovalOperator

    return ApprovalOperator(
        **{"task_id": "approve", "subject": f"Deploy the new model version to {endpoint_id}?", **(overrides or {})}
    )
