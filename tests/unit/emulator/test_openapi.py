"""The emulator's own document says of the Management API what the API's document says, operation by operation."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest

from airflow_provider_cerebras.emulator.app import create_app
from tests.openapi import REFERENCE
from tests.unit.emulator.openapi_comparison import differences, operations

# Where the two may differ, and why. Each is a pattern for the whole of "<method> <path> <place>".
ALLOWED = {
    r".* parameters\.(org_name|model_arch_id|version_id|endpoint_id) in path\.schema\.pattern": (
        "The reference gives the form of a version's id in words, and of the other names none; the emulator refuses "
        "what cannot be a name, so that a client which does not encode a path is noticed."
    ),
    r"POST .*:upload requestBody\..*\.(weight_uri|model_arch_id)\.pattern": (
        "The reference shows an S3 URI and a name; the emulator refuses what is neither."
    ),
    r"POST .*:deployModel requestBody\..*\.model\.pattern": (
        "The reference gives the form of a version's full name in words."
    ),
    r"(POST|PATCH) .* requestBody\.content\.application/json\.(properties\.model\.)?additionalProperties": (
        "What the API does with a field that it does not know is not documented; the emulator refuses it, so that a "
        "misspelt one is noticed."
    ),
    r"(GET|POST) .* responses\.200\..*\.response\.nullable": (
        "The reference tolerates null, since the pages do not mark the field as required; the emulator always has it."
    ),
    r"GET .*/versions\S* responses\.200\..*properties\.error": (
        "How the API tells why a sync has failed is not documented; the emulator tells it here."
    ),
    r"DELETE .* responses\.200\..*properties\.message": (
        "The API's page shows two answers to a delete; the emulator has the one of its example."
    ),
}


@pytest.fixture(scope="module")
def own() -> dict[str, Any]:
    document = create_app().openapi()
    management = {path: item for path, item in document["paths"].items() if path.startswith("/management/")}
    return {**document, "paths": management}


def found(one: dict[str, Any], other: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    return {f"{each.operation} {each.place}".strip(): (each.one, each.other) for each in differences(one, other)}


def test_they_differ_only_where_that_is_explained(own: dict[str, Any]) -> None:
    unexplained = {
        place: values
        for place, values in found(REFERENCE, own).items()
        if not any(re.fullmatch(pattern, place) for pattern in ALLOWED)
    }
    assert unexplained == {}


@pytest.mark.parametrize("pattern", ALLOWED)
def test_no_explanation_has_outlived_its_difference(own: dict[str, Any], pattern: str) -> None:
    assert any(re.fullmatch(pattern, place) for place in found(REFERENCE, own))


def test_all_nine_operations_are_compared(own: dict[str, Any]) -> None:
    assert len(operations(own)) == len(operations(REFERENCE)) == 9


def at(document: dict[str, Any], *places: str) -> dict[str, Any]:
    """What is somewhere in a document, to be changed."""
    found: Any = document
    for place in places:
        found = found[place]
    assert isinstance(found, dict)
    return found


ENDPOINT = ("paths", "/management/v1/endpoints/{endpoint_id}")
DEPLOY = ("paths", "/management/v1/endpoints/{endpoint_id}:deployModel")
SCHEMAS = ("components", "schemas")
DEPLOYED = (*SCHEMAS, "DeployedModel", "properties")
# Each is a place in the document and what is then there.
CHANGES: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "path": (("paths", "/management/v2"), {"get": {"operationId": "get", "responses": {}}}),
    "method": (ENDPOINT, {"delete": {"operationId": "delete", "responses": {}}}),
    "operation id": ((*ENDPOINT, "get"), {"operationId": "read"}),
    "parameter": (("components", "parameters", "EndpointId"), {"schema": {"type": "integer"}}),
    "parameter's place": (("components", "parameters", "EndpointId"), {"in": "query"}),
    "body that may be left out": ((*DEPLOY, "post", "requestBody"), {"required": False}),
    "field that is needed": ((*SCHEMAS, "ModelVersionUploadRequestModel"), {"required": ["version_aliases"]}),
    "field that is promised": ((*SCHEMAS, "ModelVersion"), {"required": ["name"]}),
    "field": (DEPLOYED, {"progress": {"type": "number"}}),
    "type": ((*SCHEMAS, "UnixSeconds"), {"type": "string"}),
    "format": ((*DEPLOYED, "id"), {"format": "uri"}),
    "pattern": ((*SCHEMAS, "VersionAlias"), {"pattern": "^[a-z]+$"}),
    "null": ((*DEPLOYED, "version_alias"), {"type": "string"}),
    "status": ((*ENDPOINT, "get", "responses"), {"404": {}}),
    "error": ((*SCHEMAS, "ValidationError", "properties"), {"input": {"type": "string"}}),
    "security": ((), {"security": []}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_a_client_could_notice_is_compared(own: dict[str, Any], change: str) -> None:
    document = copy.deepcopy(REFERENCE)
    place, there = CHANGES[change]
    if place and place[-1] not in at(document, *place[:-1]):
        at(document, *place[:-1])[place[-1]] = {}
    at(document, *place).update(there)
    assert found(document, own) != found(REFERENCE, own)
