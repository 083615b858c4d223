"""A response about something else than what was asked for is not used, whatever asks."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from airflow_provider_cerebras.api import operations
from airflow_provider_cerebras.api.errors import OutcomeUnknown, UnexpectedResponse
from airflow_provider_cerebras.polling.versions import ModelVersionPoller
from tests.unit.fake_service import FakeService

if TYPE_CHECKING:
    from airflow_provider_cerebras.api.operations import Call
    from tests.unit.api.conftest import Connect

ARCH = "orgs/my-org/models/gpt-oss-120b"
V5 = f"{ARCH}/versions/5"
PROD = f"{ARCH}/versions/prod"
OTHERS = [
    f"{ARCH}/versions/7",
    f"{ARCH}/versions/prod",
    "orgs/other-org/models/gpt-oss-120b/versions/5",
    "orgs/my-org/models/llama-3.3-70b/versions/5",
    "5",
    "",
]
UUID = "550e8400-e29b-41d4-a716-446655440000"


def body(name: str) -> dict[str, Any]:
    return {"name": name, "done": True, "response": {"sync_status": "done", "version_aliases": []}}


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize(
    "call", [operations.get_model_version(V5), operations.update_model_version_aliases(V5, [])], ids=["GET", "PATCH"]
)
def test_another_version(connect: Connect, call: Call[Any], other: str) -> None:
    conversation = connect(httpx.Response(200, json={**body(other), "version_aliases": []}))
    with pytest.raises(UnexpectedResponse, match="versions/5"):
        conversation.send(call)


@pytest.mark.parametrize("other", [f"{ARCH}/versions/stable", *OTHERS[2:]])
def test_another_version_than_an_alias_can_stand_for(connect: Connect, other: str) -> None:
    with pytest.raises(UnexpectedResponse, match="versions/prod"):
        connect(httpx.Response(200, json=body(other))).send(operations.get_model_version(PROD))


@pytest.mark.parametrize(("asked", "said"), [(V5, V5), (PROD, V5), (PROD, PROD)])
def test_the_version_that_was_asked_for(connect: Connect, asked: str, said: str) -> None:
    assert connect(httpx.Response(200, json=body(said))).send(operations.get_model_version(asked)).name == said


@pytest.mark.parametrize("other", OTHERS[1:])
def test_an_upload_of_something_else_leaves_open_what_was_made(connect: Connect, other: str) -> None:
    call = operations.upload_model_version("my-org", "gpt-oss-120b", "s3://weights/1")
    with pytest.raises(OutcomeUnknown, match="a version of orgs/my-org/models/gpt-oss-120b"):
        connect(httpx.Response(200, json=body(other))).send(call)
    assert connect(httpx.Response(200, json=body(V5))).send(call).name == V5


@pytest.mark.parametrize("make", [operations.list_model_versions, operations.find_model_versions])
def test_versions_of_others_are_left_out_of_a_list(connect: Connect, make: Any) -> None:
    listed = {"model_versions": [body(other) for other in OTHERS[2:]] + [body(V5)]}
    answer = connect(httpx.Response(200, json=listed)).send(make("my-org", "gpt-oss-120b"))
    names = (
        list(answer.rows) if make is operations.find_model_versions else [each.name for each in answer.model_versions]
    )
    assert names == [V5]


@pytest.mark.parametrize("make", [operations.get_endpoint, operations.find_deployments])
def test_another_endpoint(connect: Connect, make: Any) -> None:
    answer = httpx.Response(200, json={"name": "other", "deployed_models": []})
    with pytest.raises(UnexpectedResponse, match="about endpoint 'other', not 'mine'"):
        connect(answer).send(make("mine"))
    assert connect(answer).send(make("other")).name == "other"


@pytest.mark.parametrize(
    "details",
    [
        {"endpoint_id": "other"},
        {"org_name": "other-org"},
        {"model_arch_id": "llama-3.3-70b"},
        {"version_id": 7},
    ],
)
def test_a_deployment_of_something_else_leaves_open_what_was_made(connect: Connect, details: dict[str, Any]) -> None:
    documented = {"endpoint_id": "e", "org_name": "my-org", "model_arch_id": "gpt-oss-120b", "version_id": 5}
    with pytest.raises(OutcomeUnknown, match="is about"):
        connect(httpx.Response(200, json={"name": UUID, "response": {**documented, **details}})).send(
            operations.deploy_model("e", V5)
        )


@pytest.mark.parametrize("asked", [V5, PROD])
@pytest.mark.parametrize(
    "details", [None, {}, {"version_id": 5, "org_name": "my-org"}, {"version_id": "5", "endpoint_id": None}]
)
def test_a_deployment_need_not_say_what_it_is_of(connect: Connect, asked: str, details: dict[str, Any] | None) -> None:
    answer = httpx.Response(200, json={"name": UUID, "response": details})
    assert connect(answer).send(operations.deploy_model("e", asked)).name == UUID


@pytest.mark.parametrize("other", OTHERS)
def test_a_wait_for_a_version_goes_on_when_another_one_is_shown(other: str) -> None:
    poller = ModelVersionPoller(V5, deadline=None, started=time.time())
    service = FakeService(httpx.Response(200, json=body(other)))
    with service.client() as client, pytest.raises(UnexpectedResponse) as caught:
        client.send_once(poller.call)
    assert poller.apply(caught.value, time.time()) is None
    assert "cannot" in poller.progress


def test_a_wait_by_an_alias_does_not_take_the_row_of_another_organization_for_its_own() -> None:
    poller = ModelVersionPoller(PROD, deadline=None, started=time.time())
    theirs = body("orgs/other-org/models/gpt-oss-120b/versions/5")
    theirs["response"]["version_aliases"] = ["prod"]
    service = FakeService(httpx.Response(200, json={"model_versions": [theirs]}))
    with service.client() as client:
        assert poller.apply(client.send_once(poller.collective), time.time()) is None
