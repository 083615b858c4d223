"""Made-up requests, and sequences of them, after the API's OpenAPI document: the answers must be as it says.

All checks of schemathesis are on. The document is reconstructed, and open where the pages are silent; so that "valid"
and "invalid" mean something, a copy is narrowed to what there is and to the forms that the pages give in words.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
from hypothesis import HealthCheck, seed, settings
from schemathesis.config import SchemathesisConfig

from airflow_provider_cerebras.emulator.api.operations import OperationName
from airflow_provider_cerebras.emulator.control.client import EmulatorClient
from airflow_provider_cerebras.emulator.server import EmulatorServer
from airflow_provider_cerebras.emulator.settings import Settings
from tests.conformance.service import ALIAS
from tests.openapi import REFERENCE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from schemathesis.generation.case import Case

ORG, ARCH = "my-org", "gpt-oss-120b"
KEYED = {"Authorization": "Bearer emulator-management-key"}
# The same ones each time: the gate is to be steady.
STEADY = settings(
    derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck), max_examples=15
)

NUMBER = "#regex:/versions/([0-9]+)"
OF_NEW_VERSION = {
    "org_name": "$request.path.org_name",
    "model_arch_id": "$request.body#/model_arch_id",
    "version_id": f"$response.body#/name{NUMBER}",
}
UPLOAD = "/management/v1/orgs/{org_name}/models:upload"
VERSION = "/management/v1/orgs/{org_name}/models/{model_arch_id}/versions/{version_id}"
VERSIONS = VERSION.removesuffix("/{version_id}")
ENDPOINT = "/management/v1/endpoints/{dedicated_id}"
DEPLOY = f"{ENDPOINT}:deployModel"

LINKED = {
    OperationName.UPLOAD_MODEL_VERSION,
    OperationName.LIST_MODEL_VERSIONS,
    OperationName.GET_MODEL_VERSION,
    OperationName.UPDATE_MODEL_VERSION_ALIASES,
    OperationName.DELETE_MODEL_VERSION,
    OperationName.DEPLOY_MODEL,
    OperationName.GET_ENDPOINT,
}


def document() -> dict[str, Any]:
    """The OpenAPI document, narrowed, and with links from what is made to what may be done with it."""
    narrowed = copy.deepcopy(REFERENCE)
    # Schemathesis guesses by names what a sequence may begin with, and would begin with deploys alone: endpoints are
    # there already, it thinks, and all else has to be made first. The names of parameters are nowhere in a request.
    narrowed["paths"] = {
        path.replace("{endpoint_id}", "{dedicated_id}"): item for path, item in REFERENCE["paths"].items()
    }
    narrowed["components"]["parameters"]["EndpointId"]["name"] = "dedicated_id"
    parameters, schemas = (narrowed["components"][part] for part in ("parameters", "schemas"))
    parameters["OrgName"]["schema"] = {"type": "string", "enum": [ORG]}
    parameters["ModelArchId"]["schema"] = {"type": "string", "enum": [ARCH]}
    parameters["EndpointId"]["schema"] = {"type": "string", "enum": [f"{ORG}-{ARCH}"]}
    parameters["VersionId"]["schema"] = {"type": "string", "pattern": f"^([1-9][0-9]{{0,3}}|{ALIAS.pattern})$"}
    for name in ("ModelVersionUploadRequest", "ModelVersionUploadRequestModel", "ModelVersionAliasesUpdateRequest",
                 "DeployModelRequest"):  # fmt: skip
        schemas[name]["additionalProperties"] = False
    schemas["ModelVersionUploadRequest"]["properties"]["model_arch_id"] = {"type": "string", "enum": [ARCH]}
    schemas["ModelVersionUploadRequestModel"]["properties"]["weight_uri"] = {
        "type": "string",
        "pattern": "^s3://[a-z0-9][a-z0-9.-]{1,20}[a-z0-9]/[a-z0-9/]+$",
    }
    schemas["DeployModelRequest"]["properties"]["model"] = {
        "type": "string",
        "pattern": f"^orgs/{ORG}/models/{ARCH}/versions/[1-9][0-9]?$",
    }
    identity = {name: f"$request.path.{name}" for name in OF_NEW_VERSION}
    links = {
        ("post", UPLOAD): [
            ("get", VERSION, OF_NEW_VERSION),
            ("patch", VERSION, OF_NEW_VERSION),
            ("delete", VERSION, OF_NEW_VERSION),
            ("get", VERSIONS, {name: OF_NEW_VERSION[name] for name in ("org_name", "model_arch_id")}),
            ("post", DEPLOY, {"dedicated_id": f"{ORG}-{ARCH}"}),
        ],
        ("delete", VERSION): [("get", VERSION, identity), ("delete", VERSION, identity)],
        ("post", DEPLOY): [("get", ENDPOINT, {"dedicated_id": "$request.path.dedicated_id"})],
    }
    for (method, path), targets in links.items():
        narrowed["paths"][path][method]["responses"]["200"]["links"] = {
            f"{to_method} {to_path}": {
                "operationId": narrowed["paths"][to_path][to_method]["operationId"],
                "parameters": parameters,
                **({"requestBody": {"model": "$response.body#/name"}} if to_path == DEPLOY else {}),
            }
            for to_method, to_path, parameters in targets
        }
    return narrowed


API = schemathesis.openapi.from_dict(
    document(),
    config=SchemathesisConfig.from_dict(
        {
            "headers": KEYED,
            # That a version cannot be deployed is said with 400; that a request is malformed, with 422.
            "checks": {"positive_data_acceptance": {"expected-statuses": ["2xx", "400", "404", "409"]}},
        }
    ),
)


@pytest.fixture(scope="module")
def emulator() -> Iterator[EmulatorClient]:
    settings = Settings(port=0, sync_seconds=0, rollout_seconds=0)
    with EmulatorServer(settings) as server, EmulatorClient(server.base_url, settings) as client:
        yield client


@API.parametrize()
@STEADY
def test_each_call(case: Case[Any], emulator: EmulatorClient) -> None:
    case.call_and_validate(base_url=emulator.base_url)


def test_sequences(emulator: EmulatorClient) -> None:
    done: set[str | None] = set()
    machine: Any = API.as_state_machine()
    # Schemathesis asks the machine where each request goes; each sequence has a service of its own.
    machine.get_call_kwargs = lambda self, case: {"base_url": emulator.base_url}
    machine.setup = lambda self: emulator.reset()
    machine.teardown = lambda self: done.update(entry.operation for entry in emulator.requests() if entry.status == 200)
    # Hypothesis draws constants from the modules that are loaded, so even steady sequences differ by what else is
    # tested, and one round in six gets to no endpoint that something was deployed to. Rounds add up, and few are run.
    for each in range(6):
        seed(each)(machine)
        machine.run(settings=settings(STEADY, max_examples=15, stateful_step_count=8))
        if done >= LINKED:
            break
    assert done == LINKED, "each of them was got to with something to do"
