"""The task of a release that asks a person, who sees what there is to know. Airflow 3.1 and later."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowException
from airflow.providers.standard.operators.hitl import ApprovalOperator

from airflow_provider_cerebras.api import operations
from airflow_provider_cerebras.assets.record import (
    count_findings,
    describe_evaluation,
    describe_findings,
    shorten_evaluation,
)
from airflow_provider_cerebras.assets.reporting import leave_error, words_of
from airflow_provider_cerebras.durable.rollout_steps import read_deployments, what_serves
from airflow_provider_cerebras.hooks.cerebras import CerebrasHook
from airflow_provider_cerebras.operators._release import ANSWER_KEY, pull

if TYPE_CHECKING:
    from collections.abc import Collection

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_cerebras.arguments.given import Text


class ApproveRelease(ApprovalOperator):
    """Asks a person whether the version may be deployed, and shows what is known of it and of what serves now.

    :param endpoint_id: id of the endpoint of the release. (templated)
    :param model_version: full name of the version. (templated)
    :param weight_uri: where the weights are, if the DAG says it. (templated)
    :param check_task_id: id of the task that has checked the weights.
    :param baseline_task_id: id of the task that has evaluated what serves.
    :param cerebras_conn_id: id of the connection. (templated)
    """

    template_fields: Collection[str] = (
        "subject",
        "body",
        "endpoint_id",
        "model_version",
        "weight_uri",
        "cerebras_conn_id",
    )
    ui_color = "#f4ead5"
    leaves_error = False

    def __init__(
        self,
        *,
        endpoint_id: Text,
        model_version: Text,
        weight_uri: Text | None = None,
        check_task_id: str | None = None,
        baseline_task_id: str | None = None,
        cerebras_conn_id: Text = CerebrasHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.endpoint_id: str = endpoint_id  # type: ignore[assignment]  # read before execute
        self.model_version: str = model_version  # type: ignore[assignment]  # likewise
        self.weight_uri: str | None = weight_uri  # type: ignore[assignment]  # read before execute
        self.check_task_id = check_task_id
        self.baseline_task_id = baseline_task_id
        self.cerebras_conn_id: str = cerebras_conn_id  # type: ignore[assignment]  # read before execute

    def execute(self, context: Context) -> Any:
        """Put the known facts into the body, and ask."""
        lines = [f"* **{name}**: {value}" for name, value in self._known(context).items() if value is not None]
        self.body = "\n\n".join([*([self.body] if self.body else []), "\n".join(lines)])
        return super().execute(context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """Note the answer and its author, for the task that concludes, and go on."""
        with leave_error(self, context):
            if event.get("error_type") == "timeout":
                raise NotAnswered(
                    f"The approval of {self.model_version} for endpoint {self.endpoint_id} was not answered in time. "
                    "Clear the task to ask again."
                )
            answers, person = event.get("chosen_options") or [], event.get("responded_by_user") or {}
            if answers:
                at: Any = event.get("responded_at")
                answer = {
                    "option": str(answers[0]),
                    "by": person.get("name") or person.get("id"),
                    "at": at.isoformat() if hasattr(at, "isoformat") else at,
                }
                # After a rejection this is all that is left of it.
                context["ti"].xcom_push(key=ANSWER_KEY, value=answer)
        return super().execute_complete(context, event)

    def _known(self, context: Context) -> dict[str, str | None]:
        checked = pull(context, self.check_task_id) if self.check_task_id else None
        baseline = pull(context, self.baseline_task_id) if self.baseline_task_id else None
        return {
            "Version": self.model_version,
            "Endpoint": self.endpoint_id,
            "Serves now": self._what_serves(),
            "Weights": self.weight_uri,
            "Digest of the weights": checked.get("digest") if isinstance(checked, dict) else None,
            "Findings of the check": describe_findings(count_findings(checked)),
            "Evaluation of what serves now": describe_evaluation(shorten_evaluation(baseline)),
        }

    def _what_serves(self) -> str:
        try:
            client = CerebrasHook(cerebras_conn_id=self.cerebras_conn_id).get_conn()
            serving = what_serves(read_deployments(client.send(operations.get_endpoint(self.endpoint_id), within=30)))
        except Exception as error:  # noqa: BLE001  the connection is read anew, which can fail in any way that Airflow can
            return f"not known: {words_of(error)}"
        return serving.model if serving else "nothing"


class NotAnswered(AirflowException):
    """The approval was neither given nor refused in time."""
