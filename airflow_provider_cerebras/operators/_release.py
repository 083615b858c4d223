"""The tasks of a release that do more than their operator: they check first, go back for a reason, and conclude."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import AirflowSkipException

from airflow_provider_cerebras._airflow_internals import ask_task_states, bundle_version, task_key, task_seconds
from airflow_provider_cerebras.api import operations
from airflow_provider_cerebras.api.names import ModelVersionName
from airflow_provider_cerebras.arguments.kinds import (
    ALIAS,
    CONN_ID,
    IDENTIFIER,
    LOCATION,
    WEIGHT_URI,
    takes,
)
from airflow_provider_cerebras.assets import endpoint_asset
from airflow_provider_cerebras.assets.events import attach_extra, own_outlets
from airflow_provider_cerebras.assets.record import (
    ApprovalResponse,
    Record,
    ReleaseOutcome,
    Step,
    count_findings,
    judge,
    shorten_evaluation,
)
from airflow_provider_cerebras.assets.reporting import ERROR_KEY, leave_result, words_of
from airflow_provider_cerebras.durable.rollout_steps import (
    SUBMISSION_KEY,
    VERDICT_KEY,
    Submission,
    read_deployments,
    what_rolls_out,
    what_serves,
)
from airflow_provider_cerebras.exceptions import (
    InvalidArgument,
    RecordExists,
    ReleaseFailed,
    permanent_errors_fail,
)
from airflow_provider_cerebras.operators._base import CerebrasOperator
from airflow_provider_cerebras.operators._locations import make_folder, open_location, write_whole
from airflow_provider_cerebras.operators.endpoints import (
    CerebrasDeployModelOperator,
    CerebrasRollbackEndpointOperator,
)
from airflow_provider_cerebras.operators.evaluation import XCOM_KEY as EVALUATION_KEY
from airflow_provider_cerebras.operators.evaluation import CerebrasEvaluateEndpointOperator
from airflow_provider_cerebras.operators.model_versions import CerebrasUploadModelVersionOperator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.common.compat.sdk import Context, XComArg
    from pydantic import JsonValue

    from airflow_provider_cerebras.arguments.given import Text
    from airflow_provider_cerebras.durable.rollout_steps import Deployed

ANSWER_KEY = "cerebras_answer"
"""XCom of the task that asks a person: what was answered, and by whom."""
WEIGHT_URI_KEY = "weight_uri"
"""XCom of the task that uploads: where the weights are."""
MODEL_VERSION_KEY = "model_version"
"""XCom of a task that deploys or verifies: full name of the version, by number."""
_SECONDS = 30.0
"""Seconds for the requests that find out which version serves."""


def pull(context: Context, task_id: str, key: str = "return_value") -> Any:
    """Return the XCom of another task of the same run and map index; None: there is none.

    :param context: the task's context.
    :param task_id: id of the other task.
    :param key: name of the XCom.
    """
    ti: Any = context["ti"]
    return ti.xcom_pull(task_ids=task_id, key=key, map_indexes=ti.map_index)


def list_deployments(operator: CerebrasOperator, endpoint_id: str) -> list[Deployed]:
    """List the deployments of an endpoint, newest first.

    :param operator: by whose connection to ask.
    :param endpoint_id: id of the endpoint.
    """
    call = operations.get_endpoint(endpoint_id)
    return read_deployments(operator.hook.get_conn().send(call, within=_SECONDS))


def _check_before(operator: CerebrasOperator, endpoint_id: str, conn_id: str, model_arch_id: str, done: str) -> None:
    """Check what tasks that come later need, before anything is changed."""
    operator.hook_class(cerebras_conn_id=conn_id).require_inference_key()
    with permanent_errors_fail():
        found = operator.hook.get_endpoint(endpoint_id).model_arch_id
    if found not in {None, model_arch_id}:
        raise InvalidArgument(
            f"endpoint_id: endpoint {endpoint_id} runs model architecture {found}, and the weights are for "
            f"{model_arch_id}. Nothing was {done}."
        )


class UploadForRelease(CerebrasUploadModelVersionOperator):
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
        context["ti"].xcom_push(key=WEIGHT_URI_KEY, value=str(self.weight_uri))
        _check_before(self, self.endpoint_id, self.verify_conn_id, self.model_arch_id, "uploaded")
        return super().execute(context)


class DeployForRelease(CerebrasDeployModelOperator):
    """Deploys a version that is there, after it has checked what the tasks that come later need.

    :param verify_conn_id: id of the connection by which the endpoint is verified. (templated)
    """

    arguments = takes(verify_conn_id=CONN_ID)

    def __init__(self, *, verify_conn_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.verify_conn_id = verify_conn_id

    def execute(self, context: Context) -> str:
        """Check, and deploy. From here on the version goes by its number, wherever an alias moves."""
        model_arch_id = ModelVersionName.parse(self.model_version).model_arch_id
        _check_before(self, self.endpoint_id, self.verify_conn_id, model_arch_id, "deployed")
        with permanent_errors_fail():
            number = self._numbered(self.model_version, self._task_state(context))
        context["ti"].xcom_push(key=MODEL_VERSION_KEY, value=number)
        return super().execute(context)


class EvaluateBaseline(CerebrasEvaluateEndpointOperator):
    """Evaluates what serves before the deployment, so that the new version can be compared with it."""

    def execute(self, context: Context) -> dict[str, JsonValue]:
        """Evaluate. If nothing serves, say so; a task that is skipped would skip the deployment."""
        with permanent_errors_fail():
            serving = what_serves(list_deployments(self, self.endpoint_id))
        if serving is None:
            reason = f"Nothing serves on endpoint {self.endpoint_id}, so the new version is compared with nothing."
            self.log.warning("%s", reason)
            return {"skipped": reason}
        self.model_version = serving.model
        return super().execute(context)


class EvaluateRelease(CerebrasEvaluateEndpointOperator):
    """Evaluates what was deployed, against what served before if that was evaluated.

    :param baseline_task_id: id of the task that has evaluated what served before.
    """

    def __init__(self, *, baseline_task_id: str | None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.baseline_task_id = baseline_task_id

    def execute(self, context: Context) -> dict[str, JsonValue]:
        """Evaluate."""
        if self.baseline_task_id is not None:
            baseline = pull(context, self.baseline_task_id)
            self.baseline = baseline if isinstance(baseline, dict) and "skipped" not in baseline else None
        return super().execute(context)


class TakeBack(CerebrasRollbackEndpointOperator):
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
        if not any(pull(context, task_id, VERDICT_KEY) for task_id in self.verdict_task_ids):
            raise AirflowSkipException(
                f"Neither the rollout nor a check of what serves has failed; something could not be carried out. So "
                f"nothing is rolled back, and deployment {self.deployment_id} is unverified. {self._what_serves()}"
            )
        return super().execute(context)

    def _taken_back(self, context: Context) -> Submission | None:
        submission = Submission.from_json(pull(context, self.deploy_task_id, SUBMISSION_KEY))
        is_its_own = submission is not None and submission.deployment_id == self.deployment_id
        return submission if is_its_own else super()._taken_back(context)


class Conclude(CerebrasOperator):
    """Ends a release: makes its record, and fails with one sentence unless all went well.

    Returns the record. It runs whatever happened, so a task after it depends on whether the release succeeded.

    :param endpoint_id: id of the endpoint of the release. (templated)
    :param step_task_ids: ids of the tasks of the release, by the names of the steps, in their order.
    :param weight_uri: ``s3://bucket/prefix`` of the weights, if the DAG says it. (templated)
    :param alias: alias that the version is promoted to in the end. (templated)
    :param record_uri: folder where the record is stored as JSON and Markdown; None: it is not. (templated)
    :raises ReleaseFailed: if the release failed or was rejected.
    :raises RecordExists: if another record is stored where this one belongs.
    """

    arguments = takes(
        endpoint_id=IDENTIFIER, weight_uri=WEIGHT_URI.or_none, alias=ALIAS.or_none, record_uri=LOCATION.or_none
    )
    ui_color: ClassVar[str] = "#dfe7ef"  # type: ignore[misc]

    def __init__(
        self,
        *,
        endpoint_id: Text,
        step_task_ids: dict[str, str],
        weight_uri: Text | None = None,
        alias: Text | None = None,
        record_uri: Text | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.endpoint_id: str = endpoint_id  # type: ignore[assignment]  # read before execute
        if isinstance(endpoint_id, str) and "{" not in endpoint_id and "outlets" not in kwargs:
            self.outlets = [endpoint_asset(endpoint_id)]
        self.step_task_ids = step_task_ids
        self.weight_uri: str | None = weight_uri  # type: ignore[assignment]  # read before execute
        self.alias: str | None = alias  # type: ignore[assignment]  # read before execute
        self.record_uri: str | None = record_uri  # type: ignore[assignment]  # read before execute

    def execute(self, context: Context) -> dict[str, Any]:
        """Make the record and store it, then succeed or fail by it."""
        record = self._record(context)
        result = record.to_json()
        if self.record_uri is not None:
            record, result = store_record(self.record_uri, record)
            self.log.info("The record is stored as %s.", record_path(self.record_uri, record))
        if self.do_xcom_push:
            leave_result(self, context, result)
        if record.outcome is ReleaseOutcome.SKIPPED:
            raise AirflowSkipException(record.sentence())
        if record.outcome is not ReleaseOutcome.RELEASED:
            raise ReleaseFailed(record.sentence())
        self.log.info("%s", record.sentence())
        if record.rolls_out not in {None, record.model_version}:
            self.log.warning(
                "Model version %s, which is not of this release, rolls out onto endpoint %s and will replace this one.",
                record.rolls_out,
                self.endpoint_id,
            )
        if outlets := own_outlets(self):
            attach_extra(outlets, context, result)
        return result

    def _record(self, context: Context) -> Record:
        ti: Any = context["ti"]
        run: Any = context.get("dag_run")
        key = task_key(ti)
        task_ids = list(self.step_task_ids.values())
        states, seconds = ask_task_states(key, task_ids), task_seconds(key, task_ids)
        steps = tuple(
            Step(
                name,
                states.get(task_id),
                seconds.get(task_id),
                pull(context, task_id, ERROR_KEY) if states.get(task_id) == "failed" else None,
            )
            for name, task_id in self.step_task_ids.items()
        )
        submission = Submission.from_json(self._of(context, "deploy", SUBMISSION_KEY))
        deployment_id = submission.deployment_id if submission else self._of(context, "deploy")
        answer = self._answer(context)
        checked = self._of(context, "check_weights")
        serves_now, rolls_out, serving_unknown = self._serving()
        started = getattr(run, "start_date", None)
        run_type = getattr(run, "run_type", None)
        return Record(
            outcome=judge(
                steps, rejected=answer is not None and answer.option != "Approve", deployment_id=deployment_id
            ),
            endpoint_id=self.endpoint_id,
            dag_id=key.dag_id,
            run_id=key.run_id,
            group_id=ti.task_id.rpartition(".")[0],
            # A clear raises it, a retry does not.
            attempt=max(ti.max_tries - self.retries, 0),
            steps=steps,
            map_index=key.map_index,
            bundle_version=bundle_version(ti),
            run_type=None if run_type is None else str(getattr(run_type, "value", run_type)),
            triggered_by=getattr(run, "triggering_user_name", None),
            approval=answer,
            weight_uri=self._of(context, "upload", WEIGHT_URI_KEY) or self.weight_uri,
            weights_digest=checked.get("digest") if isinstance(checked, dict) else None,
            findings=count_findings(checked),
            served_before=submission.served_before if submission else None,
            model_version=(submission and submission.model_version)
            or self._of(context, "wait_for_sync")
            or self._of(context, "upload")
            or self._of(context, "deploy", MODEL_VERSION_KEY),
            deployment_id=deployment_id,
            rollback_deployment_id=self._of(context, "roll_back"),
            serves_now=serves_now,
            rolls_out=rolls_out,
            serving_unknown=serving_unknown,
            alias=self.alias,
            verification=self._of(context, "verify"),
            evaluation=shorten_evaluation(
                self._of(context, "evaluate") or self._of(context, "evaluate", EVALUATION_KEY)
            ),
            started_at=started.isoformat() if started else None,
            concluded_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )

    def _of(self, context: Context, step: str, key: str = "return_value") -> Any:
        task_id = self.step_task_ids.get(step)
        return None if task_id is None else pull(context, task_id, key)

    def _answer(self, context: Context) -> ApprovalResponse | None:
        answer = self._of(context, "approve", ANSWER_KEY)
        return ApprovalResponse(**answer) if isinstance(answer, dict) else None

    def _serving(self) -> tuple[str | None, str | None, str | None]:
        """What serves, what still rolls out, and why it is not known what serves."""
        pending = None
        try:
            deployments = list_deployments(self, self.endpoint_id)
            pending = what_rolls_out(deployments)
            serving = what_serves(deployments)
        except Exception as error:  # noqa: BLE001  the connection is read anew, which can fail in any way that Airflow can
            return None, pending and pending.model, words_of(error)
        return serving and serving.model, pending and pending.model, None


def record_path(record_uri: object, record: Record) -> Any:
    """Return the path of a record's JSON: one for each release, and for each clear of the task that concludes it.

    :param record_uri: the folder of all records.
    :param record: the record.
    """
    parts = [record.dag_id, record.run_id, record.group_id or "release"]
    folder = open_location(record_uri, "record_uri")
    for part in parts:
        folder = folder / re.sub(r"^\.+|[^A-Za-z0-9_.+-]", "-", part)
    mapped = "" if record.map_index < 0 else f"{record.map_index}-"
    return folder / f"{mapped}{record.attempt}.json"


def store_record(record_uri: object, record: Record) -> tuple[Record, dict[str, Any]]:
    """Store a record once, as JSON and as Markdown.

    :param record_uri: the folder of all records.
    :param record: the record.
    :return: what is stored: of an attempt that was killed, what that attempt has stored.
    :raises RecordExists: if another record is stored there.
    """
    path = record_path(record_uri, record)
    result = record.to_json()
    if path.exists():
        stored = _read_record(path, record)
        if stored is None:
            raise RecordExists(
                f"The file {path} is not the record of this release, so it is not replaced. Move it away and clear "
                f"this task, or give each DAG a folder of its own. {record.sentence()}"
            )
        record, result = stored
    else:
        make_folder(path.parent)
        write_whole(path, json.dumps(result, indent=2))
    markdown = path.with_suffix(".md")
    if not markdown.exists():
        write_whole(markdown, record.to_markdown())
    return record, result


def _read_record(path: Any, record: Record) -> tuple[Record, dict[str, Any]] | None:
    """Read what an earlier attempt has stored; None: it is something else."""
    try:
        result = json.loads(path.read_text("utf-8"))
        return (Record.from_json(result), result) if record.is_of_same_release(result) else None
    except (ValueError, TypeError, KeyError):
        return None
