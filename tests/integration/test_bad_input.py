"""Arguments that cannot be right: the error names the argument and the rule, and nothing is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import task

from airflow_provider_cerebras.operators.endpoints import CerebrasDeployModelOperator
from airflow_provider_cerebras.operators.model_versions import (
    CerebrasDeleteModelVersionOperator,
    CerebrasPromoteModelVersionOperator,
    CerebrasPruneModelVersionsOperator,
    CerebrasUpdateModelVersionAliasesOperator,
    CerebrasUploadModelVersionOperator,
)
from airflow_provider_cerebras.sensors.endpoints import CerebrasDeploymentSensor
from airflow_provider_cerebras.sensors.model_versions import CerebrasModelVersionSensor
from tests.integration.scenario import SENSOR_MODES

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.providers.common.compat.sdk import DAG

    from airflow_provider_cerebras.emulator.control.client import EmulatorClient
    from tests.integration.dag_run import DagRunner

VERSION = "orgs/my-org/models/gpt-oss-120b/versions/1"
ALIAS_RULE = "An alias has 2 to 128 characters"
URI_RULE = "is not of the form s3://bucket/prefix"
NAME_RULE = "orgs/<organization>/models/<architecture>/versions/<number or alias>"
NO_SPACE_RULE = "holds white space or a control character"
NOT_EMPTY_RULE = "must be a string that is not empty"
POSITIVE_RULE = "must be more than 0 seconds"

UPLOAD = (
    CerebrasUploadModelVersionOperator,
    {"model_arch_id": "gpt-oss-120b", "weight_uri": "s3://weights/run-1", "wait_for_completion": True},
)
DEPLOY = (
    CerebrasDeployModelOperator,
    {"endpoint_id": "my-org-gpt-oss-120b", "model_version": VERSION, "wait_for_completion": True},
)
UPDATE = (CerebrasUpdateModelVersionAliasesOperator, {"model_version": VERSION, "add": ["prod"]})
PROMOTE = (CerebrasPromoteModelVersionOperator, {"model_version": VERSION, "alias": "prod"})
DELETE = (CerebrasDeleteModelVersionOperator, {"model_version": VERSION})
PRUNE = (CerebrasPruneModelVersionsOperator, {"model_arch_id": "gpt-oss-120b", "keep_last": 3})
VERSION_SENSOR = (CerebrasModelVersionSensor, {"model_version": VERSION})
DEPLOYMENT_SENSOR = (
    CerebrasDeploymentSensor,
    {"endpoint_id": "my-org-gpt-oss-120b", "deployment_id": "00000000-0000-4000-8000-000000000000"},
)

Case = tuple[tuple[type[Any], dict[str, Any]], str, Any, str]

OPERATOR_CASES: list[Case] = [
    (UPLOAD, "weight_uri", "https://weights/run-1", URI_RULE),
    (UPLOAD, "weight_uri", "gs://weights/run-1", URI_RULE),
    (UPLOAD, "weight_uri", "s3://weights", URI_RULE),
    (UPLOAD, "weight_uri", "s3://weights/run\x00-1", URI_RULE),
    (UPLOAD, "weight_uri", "", URI_RULE),
    (UPLOAD, "version_aliases", ["prod", "Prod"], ALIAS_RULE),
    (UPLOAD, "version_aliases", ["7"], ALIAS_RULE),
    (UPLOAD, "version_aliases", ["a" * 129], ALIAS_RULE),
    (UPLOAD, "version_aliases", ["prod_2"], ALIAS_RULE),
    (UPLOAD, "version_aliases", ["prod\n"], ALIAS_RULE),
    (UPLOAD, "version_aliases", "prod", "must be a list of aliases"),
    (UPLOAD, "model_arch_id", "", NOT_EMPTY_RULE),
    (UPLOAD, "model_arch_id", "gpt oss", NO_SPACE_RULE),
    (UPLOAD, "org_name", "my\torg", NO_SPACE_RULE),
    (UPLOAD, "org_name", "..", "is not an id"),
    (UPLOAD, "poll_interval", 0, POSITIVE_RULE),
    (UPLOAD, "timeout", -1, POSITIVE_RULE),
    (DEPLOY, "endpoint_id", "", NOT_EMPTY_RULE),
    (DEPLOY, "endpoint_id", "my-org\x1b[31m", NO_SPACE_RULE),
    (DEPLOY, "endpoint_id", ".", "is not an id"),
    (DEPLOY, "model_version", "7", NAME_RULE),
    (DEPLOY, "model_version", "", NAME_RULE),
    (DEPLOY, "model_version", f"/{VERSION}", NAME_RULE),
    (DEPLOY, "model_version", VERSION.replace("/1", "/latest/1"), NAME_RULE),
    (DEPLOY, "model_version", VERSION.replace("/1", "/01"), ALIAS_RULE),
    (DEPLOY, "model_version", VERSION.replace("/1", "/prod\n"), ALIAS_RULE),
    (DEPLOY, "model_version", VERSION.replace("my-org", "my org"), NO_SPACE_RULE),
    (DEPLOY, "poll_interval", 0, POSITIVE_RULE),
    (DEPLOY, "timeout", 0, POSITIVE_RULE),
]
LIFECYCLE_CASES: list[Case] = [
    (UPDATE, "model_version", "prod", NAME_RULE),
    (UPDATE, "add", ["Prod"], ALIAS_RULE),
    (UPDATE, "add", "prod", "must be a list of aliases"),
    (UPDATE, "remove", ["prod\n"], ALIAS_RULE),
    (PROMOTE, "model_version", f"{VERSION}/", NAME_RULE),
    (PROMOTE, "alias", "p", ALIAS_RULE),
    (PROMOTE, "alias", "7", ALIAS_RULE),
    (DELETE, "model_version", "", NAME_RULE),
    (DELETE, "model_version", VERSION.replace("/1", "/*"), ALIAS_RULE),
    (PRUNE, "model_arch_id", "..", "is not an id"),
    (PRUNE, "model_arch_id", "", NOT_EMPTY_RULE),
    (PRUNE, "org_name", "my\torg", NO_SPACE_RULE),
    (PRUNE, "keep_last", 0, "must be 1 or more"),
    (PRUNE, "keep_aliases", "prod", "must be a list of patterns"),
]
SENSOR_CASES: list[Case] = [
    (VERSION_SENSOR, "model_version", "versions/1", NAME_RULE),
    (VERSION_SENSOR, "model_version", VERSION.replace("/1", "/Prod"), ALIAS_RULE),
    (VERSION_SENSOR, "model_version", f"{VERSION}\n", ALIAS_RULE),
    (VERSION_SENSOR, "model_version", VERSION.replace("gpt-oss-120b", ".."), "is not an id"),
    (DEPLOYMENT_SENSOR, "endpoint_id", "", NOT_EMPTY_RULE),
    (DEPLOYMENT_SENSOR, "endpoint_id", "my org", NO_SPACE_RULE),
    (DEPLOYMENT_SENSOR, "deployment_id", "", NOT_EMPTY_RULE),
    (DEPLOYMENT_SENSOR, "deployment_id", "a b", NO_SPACE_RULE),
]


def run_cases(cases: list[Case], more: dict[str, Any], emulator: EmulatorClient, dag: DAG, run_dag: DagRunner) -> None:
    """Run all cases as tasks of one DAG; the values come from another task, as a template would strip line ends."""
    with dag:

        @task(multiple_outputs=True)
        def values() -> dict[str, Any]:
            return {f"case-{index}": value for index, (_, _, value, _) in enumerate(cases)}

        given: Any = values()
        for index, ((operator, arguments), argument, value, _) in enumerate(cases):
            taken = given[f"case-{index}"] if argument in operator.template_fields else value
            given >> operator(task_id=f"case-{index}", **{**arguments, **more, argument: taken})

    result = run_dag(dag)

    assert result["values"].state == "success", result.log
    for index, (_, argument, value, rule) in enumerate(cases):
        error = result.error(f"case-{index}")
        assert isinstance(error, ValueError | TypeError), (argument, value, error)
        assert str(error).startswith(f"{argument}: "), (argument, value, error)
        assert rule in str(error), (argument, value, error)
    assert emulator.requests() == []


def test_operators_name_the_argument_and_the_rule(
    emulator: EmulatorClient, cerebras_connection: str, new_dag: Callable[..., DAG], run_dag: DagRunner
) -> None:
    run_cases(OPERATOR_CASES, {"deferrable": True}, emulator, new_dag(), run_dag)


@pytest.mark.parametrize("mode", SENSOR_MODES)
def test_sensors_name_the_argument_and_the_rule(
    mode: str,
    emulator: EmulatorClient,
    cerebras_connection: str,
    new_dag: Callable[..., DAG],
    run_dag: DagRunner,
) -> None:
    run_cases(SENSOR_CASES, SENSOR_MODES[mode], emulator, new_dag(), run_dag)


def test_operators_on_versions_name_the_argument_and_the_rule(
    emulator: EmulatorClient, cerebras_connection: str, new_dag: Callable[..., DAG], run_dag: DagRunner
) -> None:
    run_cases(LIFECYCLE_CASES, {}, emulator, new_dag(), run_dag)
