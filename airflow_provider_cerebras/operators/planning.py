"""Operator that compares what endpoints serve with what they are to serve."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_cerebras.api import operations
from airflow_provider_cerebras.api.errors import NotFound, UnexpectedResponse
from airflow_provider_cerebras.api.evidence import numbered_name
from airflow_provider_cerebras.arguments.desired import DESIRED
from airflow_provider_cerebras.arguments.kinds import takes
from airflow_provider_cerebras.durable.rollout_steps import read_deployments
from airflow_provider_cerebras.exceptions import permanent_errors_fail
from airflow_provider_cerebras.hooks.cerebras import CerebrasHook
from airflow_provider_cerebras.operators._base import CerebrasOperator
from airflow_provider_cerebras.operators._plan import Line, as_table, find_fault, plan_endpoint

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.providers.common.compat.sdk import Context, XComArg

    from airflow_provider_cerebras.api.models import ModelVersion
    from airflow_provider_cerebras.arguments.given import Text


class CerebrasPlanEndpointsOperator(CerebrasOperator):
    """Compare what endpoints serve with what they are to serve, and say what would have to be deployed.

    Returns a list of ``{"endpoint_id": ..., "model_version": <full name by number>}`` for ``.expand_kwargs()`` of
    :class:`~airflow_provider_cerebras.operators.endpoints.CerebrasDeployModelOperator`; it is empty where nothing
    is to be done. It changes nothing, so it can be run at any time.

    An endpoint is held back, so reported and not planned, if another rollout is under way there, if the last rollout of
    the version has failed, if the version is not synced, does not exist or is of another architecture, or if the
    response leaves open what serves. The log has the whole report as a table, and the XCom ``report`` as a list of
    ``{"endpoint_id", "model_version", "serves", "action": "deploy" | "none" | "hold", "reason"}``.

    Calls ``GET /endpoints/{endpoint_id}`` and ``GET
    /orgs/{org_name}/models/{model_arch_id}/versions/{version_id}``.

    :param desired: the version that each endpoint is to serve: a mapping of endpoint ids to full names, by number or
        alias. (templated)
    :param cerebras_conn_id: id of the connection; default ``cerebras_default``. (templated)
    :raises ValueError: if an argument is against a rule; nothing was sent then.
    :raises RequestRefused: if the service refuses a request, and would again.
    """

    arguments = takes(desired=DESIRED)

    def __init__(
        self,
        *,
        desired: Mapping[str, str | XComArg] | XComArg | str,
        cerebras_conn_id: Text = CerebrasHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(cerebras_conn_id=cerebras_conn_id, **kwargs)
        self.desired: dict[str, str] = desired  # type: ignore[assignment]  # rendered before execute

    def execute(self, context: Context) -> list[dict[str, str]]:
        """Read all endpoints and the versions that they are to serve, and compare."""
        versions: dict[str, ModelVersion | str] = {}
        with permanent_errors_fail():
            # An alias is resolved once, so that it stands for the same version on all endpoints.
            for model_version in dict.fromkeys(self.desired.values()):
                versions[model_version] = self._version(model_version)
            report = [self._line(endpoint_id, wanted, versions[wanted]) for endpoint_id, wanted in self.desired.items()]
        rows = [line._asdict() for line in report]
        self.log.info("What endpoints serve, and what they are to serve:\n%s", as_table(rows))
        for line in report:
            if line.action == "hold":
                self.log.warning("Nothing is planned for endpoint %s: %s", line.endpoint_id, line.reason)
        if self.do_xcom_push:
            context["ti"].xcom_push(key="report", value=rows)
        return [
            {"endpoint_id": line.endpoint_id, "model_version": line.model_version}
            for line in report
            if line.action == "deploy"
        ]

    def _version(self, model_version: str) -> ModelVersion | str:
        """The version, or why it is not known which one it is."""
        try:
            version = self.hook.get_conn().send(operations.get_model_version(model_version))
            numbered_name(version)
        except (NotFound, UnexpectedResponse) as error:
            return str(error)
        return version

    def _line(self, endpoint_id: str, wanted: str, version: ModelVersion | str) -> Line:
        if isinstance(version, str):
            return Line(endpoint_id, wanted, None, "hold", version)
        try:
            endpoint = self.hook.get_conn().send(operations.get_endpoint(endpoint_id))
            line = plan_endpoint(endpoint_id, version.name, read_deployments(endpoint))
        except (NotFound, UnexpectedResponse) as error:
            return Line(endpoint_id, version.name, None, "hold", str(error))
        fault = find_fault(version, endpoint.model_arch_id)
        return line._replace(action="hold", reason=fault) if fault and line.action == "deploy" else line
