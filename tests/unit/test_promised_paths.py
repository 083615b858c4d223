"""Every import path that users or Airflow's database hold goes on working, wherever the code lies now."""

from __future__ import annotations

import importlib

import pytest

from airflow_provider_cerebras.version_compat import AIRFLOW_V_3_0_PLUS, AIRFLOW_V_3_3_PLUS

PROMISED = (
    "hooks.cerebras.CerebrasHook",
    "operators.model_versions.CerebrasUploadModelVersionOperator",
    "operators.model_versions.CerebrasUpdateModelVersionAliasesOperator",
    "operators.model_versions.CerebrasPromoteModelVersionOperator",
    "operators.model_versions.CerebrasDeleteModelVersionOperator",
    "operators.model_versions.CerebrasPruneModelVersionsOperator",
    "operators.weights.CerebrasCheckWeightsOperator",
    "operators.endpoints.CerebrasDeployModelOperator",
    "operators.endpoints.CerebrasRollbackEndpointOperator",
    "operators.endpoints.CerebrasVerifyEndpointOperator",
    "operators.evaluation.CerebrasEvaluateEndpointOperator",
    "sensors.model_versions.CerebrasModelVersionSensor",
    "sensors.endpoints.CerebrasDeploymentSensor",
    "triggers.model_versions.CerebrasModelVersionTrigger",
    "triggers.endpoints.CerebrasDeploymentTrigger",
    "triggers.events.CerebrasModelVersionEventTrigger",
    "triggers.events.CerebrasEndpointEventTrigger",
    "weights.weights_digest",
    "task_groups.cerebras_release",
    "assets.model_asset",
    "assets.endpoint_asset",
    "assets.create_asset",
    "assets.uris.normalize",
    "lineage.to_openlineage",
    "links.weights.CerebrasWeightsLink",
    "links.console.CerebrasConsoleLink",
    "retry_policies.CerebrasRetryPolicy",
    "exceptions.ModelVersionFailed",
    "exceptions.DeploymentFailed",
    "exceptions.DeploymentLost",
    "exceptions.WaitTimeout",
    "exceptions.EndpointVerificationFailed",
    "exceptions.EvaluationFailed",
    "exceptions.AliasInUse",
    "exceptions.VersionInUse",
    "exceptions.WeightsRejected",
    "exceptions.WeightsChanged",
    "exceptions.ReleaseFailed",
    "api.client.CerebrasClient",
    "api.client.AsyncCerebrasClient",
    "api.client.ClientSettings",
    "api.errors.CerebrasError",
    "emulator.cli.main",
    "emulator.pytest_plugin.cerebras_emulator",
    "emulator.control_client.EmulatorClient",
    "cli.definition.get_cerebras_cli_commands",
)


@pytest.mark.parametrize("path", PROMISED)
def test_it_is_there(path: str) -> None:
    module, _, name = path.rpartition(".")
    if (module == "triggers.events" and not AIRFLOW_V_3_0_PLUS) or (
        module == "retry_policies" and not AIRFLOW_V_3_3_PLUS
    ):
        with pytest.raises(ImportError, match="needs Airflow"):
            importlib.import_module(f"airflow_provider_cerebras.{module}")
        return
    assert hasattr(importlib.import_module(f"airflow_provider_cerebras.{module}"), name)
