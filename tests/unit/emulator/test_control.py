from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

ORG = "/management/v1/orgs/my-org"
VERSIONS = f"{ORG}/models/gpt-oss-120b/versions"
WEIGHTS = {"model_arch_id": "gpt-oss-120b", "model": {"weight_uri": "s3://bucket/weights"}}


async def logged(api: httpx.AsyncClient, **query: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await api.get("/_emulator/requests", params=query)).json()["requests"]
    return found


async def test_a_rule_is_shown_with_its_counts(api: httpx.AsyncClient) -> None:
    answer = await api.post("/_emulator/faults", json={"operation": "get_endpoint", "status": 500})
    assert answer.status_code == 201
    await api.get("/management/v1/endpoints/my-org-gpt-oss-120b")
    [shown] = (await api.get("/_emulator/faults")).json()["faults"]
    assert (shown["id"], shown["fired"], shown["skipped"]) == (answer.json()["id"], 1, 0)
    assert (shown["rule"]["operation"], shown["rule"]["status"]) == ("get_endpoint", 500)


async def test_a_rule_that_makes_no_sense_is_refused(api: httpx.AsyncClient) -> None:
    assert (await api.post("/_emulator/faults", json={"operation": "*"})).status_code == 422


async def test_rules_are_ended_one_by_one_or_all_at_once(api: httpx.AsyncClient) -> None:
    ids = [(await api.post("/_emulator/faults", json={"operation": "*", "drop": True})).json()["id"] for _ in range(3)]
    assert (await api.delete(f"/_emulator/faults/{ids[1]}")).json() == {"deleted": 1}
    assert (await api.delete(f"/_emulator/faults/{ids[1]}")).status_code == 404
    left = (await api.get("/_emulator/faults")).json()["faults"]
    assert [each["id"] for each in left] == [ids[0], ids[2]]
    assert (await api.delete("/_emulator/faults")).json() == {"deleted": 2}


async def test_a_request_is_logged_as_it_came(api: httpx.AsyncClient) -> None:
    answer = await api.post(f"{ORG}/models:upload?try=1", json=WEIGHTS)
    [entry] = await logged(api)
    headers = entry.pop("headers")
    assert entry == {
        "index": 0,
        "time": 1736700000.25,
        "request_id": answer.headers["x-request-id"],
        "method": "POST",
        "path": f"{ORG}/models:upload",
        "operation": "upload_model_version",
        "organization": "my-org",
        "query": "try=1",
        "body": WEIGHTS,
        "stage": "answered",
        "worked": True,
        "status": 200,
    }
    assert headers["content-type"] == "application/json"


async def test_keys_are_not_in_the_log(api: httpx.AsyncClient) -> None:
    await api.get(f"{ORG}/models")
    answer = await api.get("/_emulator/requests")
    assert answer.json()["requests"][0]["headers"]["authorization"] == "***"
    assert "emulator-management-key" not in answer.text


async def test_a_path_is_logged_as_it_was_encoded(api: httpx.AsyncClient) -> None:
    await api.get("/management/v1/orgs/my%2Dorg/models")
    [entry] = await logged(api)
    assert (entry["path"], entry["operation"]) == (
        "/management/v1/orgs/my%2Dorg/models",
        "list_model_architectures",
    )


async def test_a_body_that_is_not_json_is_logged_as_text(api: httpx.AsyncClient) -> None:
    await api.post(f"{ORG}/models:upload", content=b"{\xff")
    assert (await logged(api))[0]["body"] == "{\ufffd"


async def test_what_is_none_of_the_calls_is_logged_without_an_operation(api: httpx.AsyncClient) -> None:
    await api.put(f"{VERSIONS}/1")
    assert [entry["operation"] for entry in await logged(api)] == [None]


@pytest.mark.parametrize("origin", ["https://example.com", "http://emulator:81", "http://[", "null"])
async def test_a_page_of_another_site_does_not_control_the_emulator(api: httpx.AsyncClient, origin: str) -> None:
    await api.post(f"{ORG}/models:upload", json=WEIGHTS)
    refused = await api.post("/_emulator/reset", headers={"Origin": origin})
    assert refused.status_code == 403
    assert len((await api.get("/_emulator/state")).json()["versions"]) == 1
    assert (await api.post("/_emulator/reset", headers={"Origin": "http://emulator"})).status_code == 200


async def test_the_control_plane_is_not_logged_and_not_hit(api: httpx.AsyncClient) -> None:
    await api.post("/_emulator/faults", json={"operation": "*", "drop": True, "times": None})
    assert (await api.get("/_emulator/health")).status_code == 200
    assert await logged(api) == []


async def test_the_log_can_be_narrowed_to_a_call_and_to_a_stage(api: httpx.AsyncClient) -> None:
    await api.get(f"{ORG}/models")
    await api.get(f"{ORG}/endpoints")
    assert [entry["index"] for entry in await logged(api, operation="list_endpoints")] == [1]
    assert [entry["index"] for entry in await logged(api, stage="answered")] == [0, 1]
    assert await logged(api, stage="held") == []
    assert (await api.get("/_emulator/requests", params={"operation": "nothing"})).status_code == 422


@pytest.mark.parametrize(
    ("method", "path", "operation"),
    [
        ("GET", f"{ORG}/models", "list_model_architectures"),
        ("GET", VERSIONS, "list_model_versions"),
        ("POST", f"{ORG}/models:upload", "upload_model_version"),
        ("GET", f"{VERSIONS}/production", "get_model_version"),
        ("PATCH", f"{VERSIONS}/1", "update_model_version_aliases"),
        ("DELETE", f"{VERSIONS}/1", "delete_model_version"),
        ("GET", f"{ORG}/endpoints", "list_endpoints"),
        ("GET", "/management/v1/endpoints/my-org-gpt-oss-120b", "get_endpoint"),
        ("POST", "/management/v1/endpoints/my-org-gpt-oss-120b:deployModel", "deploy_model"),
        ("POST", "/v1/chat/completions", "chat_completion"),
    ],
)
async def test_each_call_has_its_name(api: httpx.AsyncClient, method: str, path: str, operation: str) -> None:
    await api.request(method, path)
    assert [entry["operation"] for entry in await logged(api)] == [operation]


async def test_the_state_shows_what_the_api_does_not_tell(
    api: httpx.AsyncClient, advance: Callable[[float], None]
) -> None:
    await api.post(f"{ORG}/models:upload", json=WEIGHTS)
    state = (await api.get("/_emulator/state")).json()
    assert state["now"] == 1736700000.25
    assert [each["weights_digest"] for each in state["versions"]] == [None]
    advance(10)
    name = "orgs/my-org/models/gpt-oss-120b/versions/1"
    await api.post("/management/v1/endpoints/my-org-gpt-oss-120b:deployModel", json={"model": name})
    advance(10)
    state = (await api.get("/_emulator/state")).json()
    [version] = state["versions"]
    assert version["version"] == (await api.get(f"{VERSIONS}/1")).json()
    assert version["weights_digest"] == hashlib.sha256(b"s3://bucket/weights").hexdigest()
    assert [each["serving"] for each in state["endpoints"]] == [name, None]


async def test_the_state_shows_deployments_that_the_endpoint_does_not_list(
    start: Any, advance: Callable[[float], None]
) -> None:
    api = await start(sync_seconds=0, deployed_models="live")
    await api.post(f"{ORG}/models:upload", json=WEIGHTS)
    endpoint = "/management/v1/endpoints/my-org-gpt-oss-120b"
    for _ in range(2):
        await api.post(f"{endpoint}:deployModel", json={"model": "orgs/my-org/models/gpt-oss-120b/versions/1"})
    advance(5)
    assert len((await api.get(endpoint)).json()["deployed_models"]) == 1
    state = (await api.get("/_emulator/state")).json()
    assert len(state["endpoints"][0]["endpoint"]["deployed_models"]) == 2


async def test_a_reset_goes_back_to_the_start(api: httpx.AsyncClient) -> None:
    await api.post(f"{ORG}/models:upload", json=WEIGHTS)
    await api.post("/_emulator/faults", json={"operation": "*", "drop": True})
    assert (await api.post("/_emulator/reset")).status_code == 200
    assert (await api.get("/_emulator/state")).json()["versions"] == []
    assert (await api.get("/_emulator/faults")).json() == {"faults": []}
    assert await logged(api) == []
    assert (await api.post(f"{ORG}/models:upload", json=WEIGHTS)).json()["name"].endswith("/versions/1")
    assert [entry["index"] for entry in await logged(api)] == [0]
