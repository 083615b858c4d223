"""The site as it was built: the reference holds every name that users type. `make docs` runs this after the build."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest

from tests.unit.docs.public import modules, names

SITE = Path(__file__).parents[2] / "docs" / "_build" / "html"
PACKAGE = "airflow_provider_cerebras"

CONTRACT: dict[str, list[str]] = {
    "hooks.cerebras": [
        "CerebrasHook",
        "CerebrasHook.list_model_architectures",
        "CerebrasHook.list_model_versions",
        "CerebrasHook.upload_model_version",
        "CerebrasHook.get_model_version",
        "CerebrasHook.update_model_version_aliases",
        "CerebrasHook.delete_model_version",
        "CerebrasHook.list_endpoints",
        "CerebrasHook.get_endpoint",
        "CerebrasHook.deploy_model",
        "CerebrasHook.chat_completion",
        "CerebrasHook.get_conn",
        "CerebrasHook.get_async_conn",
        "CerebrasHook.test_connection",
    ],
    "operators.model_versions": [
        "CerebrasUploadModelVersionOperator",
        "CerebrasUpdateModelVersionAliasesOperator",
        "CerebrasPromoteModelVersionOperator",
        "CerebrasDeleteModelVersionOperator",
        "CerebrasPruneModelVersionsOperator",
    ],
    "operators.endpoints": [
        "CerebrasDeployModelOperator",
        "CerebrasRollbackEndpointOperator",
        "CerebrasVerifyEndpointOperator",
    ],
    "sensors.model_versions": [
        "CerebrasModelVersionSensor",
    ],
    "sensors.endpoints": [
        "CerebrasDeploymentSensor",
    ],
    "triggers.model_versions": [
        "CerebrasModelVersionTrigger",
    ],
    "triggers.endpoints": [
        "CerebrasDeploymentTrigger",
    ],
    "assets": [
        "model_asset",
        "endpoint_asset",
    ],
    "links": [
        "CerebrasConsoleLink",
        "CerebrasWeightsLink",
    ],
    "retry_policies": [
        "CerebrasRetryPolicy",
    ],
    "triggers.events": [
        "CerebrasModelVersionEventTrigger",
    ],
    "task_groups": [
        "cerebras_release",
    ],
    "exceptions": [
        "ModelVersionFailed",
        "DeploymentFailed",
        "DeploymentLost",
        "WaitTimeout",
        "EndpointVerificationFailed",
        "AliasInUse",
        "VersionInUse",
    ],
    "api.errors": [
        "CerebrasError",
        "CerebrasAPIError",
        "BadRequest",
        "Unauthorized",
        "Forbidden",
        "NotFound",
        "Conflict",
        "RateLimited",
        "ServerError",
        "CerebrasTransportError",
        "OutcomeUnknown",
        "UnexpectedResponse",
    ],
}
"""Names that users type: promises, so they are written down here once more."""


@pytest.fixture(scope="module")
def reference() -> set[str]:
    """The names of the package that the site explains, as other sites find them."""
    assert SITE.exists(), "the site is built by: make docs"
    inventory = (SITE / "objects.inv").read_bytes()
    body = inventory.split(b"\n", 4)[4]
    lines = zlib.decompress(body).decode().splitlines()
    return {line.split()[0].removeprefix(f"{PACKAGE}.") for line in lines if line.startswith(f"{PACKAGE}.")}


@pytest.mark.parametrize("name", [f"{module}.{name}" for module, names in CONTRACT.items() for name in names])
def test_the_reference_holds_every_promised_name(reference: set[str], name: str) -> None:
    assert name in reference


# The parts of `weights` are listed where they are imported from.
@pytest.mark.parametrize("module", [name for name in modules() if not name.startswith(f"{PACKAGE}.weights.")])
def test_the_reference_holds_every_public_name(reference: set[str], module: str) -> None:
    short = module.removeprefix(f"{PACKAGE}.")
    assert {f"{short}.{name}" for name in names(module)} <= reference


def test_every_argument_of_an_operator_is_on_its_page() -> None:
    page = (SITE / "reference.html").read_text(encoding="utf-8")
    assert page.count("<strong>cerebras_conn_id</strong>") >= 10


def test_the_drawing_is_on_the_site() -> None:
    page = (SITE / "architecture.html").read_text(encoding="utf-8")
    assert "operators, sensors" in page
    assert page.count("--&gt;") >= 10
