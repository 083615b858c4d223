"""The emulator in a process of its own, held against the API's reference document."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from jsonschema import Draft202012Validator

from tests.openapi import REFERENCE

if TYPE_CHECKING:
    from collections.abc import Iterator

METHODS = ("get", "post", "patch", "delete")
OPERATIONS = {
    (method, path): operation
    for path, item in REFERENCE["paths"].items()
    for method, operation in item.items()
    if method in METHODS
}
# The document's examples are about several architectures; the emulator's organization has one of them.
PARAMETERS = {
    "org_name": "my-org",
    "model_arch_id": "gpt-oss-120b",
    "version_id": "production",
    "endpoint_id": "my-org-gpt-oss-120b",
}


def documented_request(operation: dict[str, Any]) -> Any:
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    return content["examples"]["documented"]["value"] if content else None


def documented_answer(operation: dict[str, Any]) -> dict[str, Any]:
    content: dict[str, Any] = operation["responses"]["200"]["content"]["application/json"]
    return content


def assert_follows(schema: dict[str, Any], instance: object) -> None:
    # The schemas refer to each other by their place in the document.
    validator = Draft202012Validator(
        {"components": REFERENCE["components"], **schema}, format_checker=Draft202012Validator.FORMAT_CHECKER
    )
    assert [error.message for error in validator.iter_errors(instance)] == []


def missing_keys(example: object, instance: object) -> list[str]:
    """Keys that an example has at some depth and an instance has not; a list's first item stands for all."""
    if isinstance(example, dict) and isinstance(instance, dict):
        deeper = [missing_keys(value, instance[key]) for key, value in example.items() if key in instance]
        return [*(example.keys() - instance.keys()), *(key for keys in deeper for key in keys)]
    if isinstance(example, list) and isinstance(instance, list) and example:
        return missing_keys(example[0], instance[0])
    return []


@pytest.fixture(scope="module")
def emulator() -> Iterator[httpx.Client]:
    command = [sys.executable, "-m", "airflow_provider_cerebras.emulator", "--port", "0"]
    command += ["--sync-seconds", "0", "--rollout-seconds", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[-1]
        connection = json.loads(process.stdout.readline().partition("=")[2].strip().strip("'"))
        assert f"{connection['host']}:{connection['port']}" == url
        with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {connection['password']}"}) as client:
            yield client
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 0


def call(emulator: httpx.Client, method: str, path: str) -> httpx.Response:
    return emulator.request(method, path.format(**PARAMETERS), json=documented_request(OPERATIONS[method, path]))


@pytest.fixture
def as_documented(emulator: httpx.Client) -> httpx.Client:
    """An emulator in the state that the document's examples speak of: a version, and it serves."""
    emulator.post("/_emulator/reset")
    for path in (
        "/management/v1/orgs/{org_name}/models:upload",
        "/management/v1/endpoints/{endpoint_id}:deployModel",
    ):
        assert call(emulator, "post", path).status_code == 200
    return emulator


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_each_documented_request_is_answered_as_documented(as_documented: httpx.Client, method: str, path: str) -> None:
    if path.endswith("models:upload"):
        # The version has the aliases that the example wants to set.
        as_documented.post("/_emulator/reset")
    if method == "delete":
        # The version serves.
        as_documented.post("/_emulator/reset")
        call(as_documented, "post", "/management/v1/orgs/{org_name}/models:upload")
    answer = call(as_documented, method, path)
    assert answer.status_code == 200, answer.text
    documented = documented_answer(OPERATIONS[method, path])
    assert_follows(documented["schema"], answer.json())
    assert missing_keys(documented["examples"]["documented"]["value"], answer.json()) == []


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_each_refusal_follows_the_schema_of_errors(emulator: httpx.Client, method: str, path: str) -> None:
    emulator.post("/_emulator/reset")
    nowhere = {**PARAMETERS, "org_name": "other-org", "endpoint_id": "nowhere"}
    body = documented_request(OPERATIONS[method, path])
    refusals = [emulator.request(method, path.format(**nowhere), json=body)]
    if body is not None:
        refusals.append(emulator.request(method, path.format(**PARAMETERS), json={}))
    for answer in refusals:
        assert 400 <= answer.status_code < 500
        assert_follows({"$ref": "#/components/schemas/Error"}, answer.json())
        assert "detail" in answer.json()
