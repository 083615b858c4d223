from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

    class Start(Protocol):
        async def __call__(self, **settings: Any) -> httpx.AsyncClient: ...


ORG = "/management/v1/orgs/my-org"
UPLOAD = f"{ORG}/models:upload"
VERSIONS = f"{ORG}/models/gpt-oss-120b/versions"
ENDPOINT = "/management/v1/endpoints/my-org-gpt-oss-120b"
DEPLOY = f"{ENDPOINT}:deployModel"
NAME = "orgs/my-org/models/gpt-oss-120b/versions/1"


def weights(**more: Any) -> dict[str, Any]:
    return {"model_arch_id": "gpt-oss-120b", "model": {"weight_uri": "s3://my-bucket/model-weights", **more}}


async def test_architectures_are_listed(api: httpx.AsyncClient) -> None:
    answer = await api.get(f"{ORG}/models")
    assert answer.json() == {"model_architectures": ["gpt-oss-120b", "llama3.1-8b"]}


async def test_an_upload_is_answered_with_its_submission(start: Start) -> None:
    api = await start(sync_seconds=0)
    answer = await api.post(UPLOAD, json=weights(version_aliases=["production", "v1-stable"]))
    assert answer.status_code == 200
    assert answer.json() == {
        "name": NAME,
        "done": False,
        "response": {
            "customer_s3_uri": "s3://my-bucket/model-weights",
            "version_aliases": ["production", "v1-stable"],
            "sync_status": "queued",
        },
    }


async def test_a_version_is_followed_to_the_end_of_its_sync(
    api: httpx.AsyncClient, advance: Callable[[float], None]
) -> None:
    await api.post(UPLOAD, json=weights(version_aliases=["production"], system_fingerprint_suffix="run-7"))
    seen = []
    for seconds in (0, 5, 5):
        advance(seconds)
        version = (await api.get(f"{VERSIONS}/production")).json()
        seen.append((version["done"], version["response"]["sync_status"]))
    assert seen == [(False, "queued"), (False, "in_progress"), (True, "done")]
    assert version == {
        "name": NAME,
        "done": True,
        "response": {
            "customer_s3_uri": "s3://my-bucket/model-weights",
            "version_aliases": ["production"],
            "sync_status": "done",
            "system_fingerprint_suffix": "run-7",
        },
    }


async def test_the_list_has_the_same_versions_as_the_single_calls(
    api: httpx.AsyncClient, advance: Callable[[float], None]
) -> None:
    await api.post(UPLOAD, json=weights(version_aliases=["production"]))
    advance(5)
    await api.post(UPLOAD, json=weights())
    listed = (await api.get(VERSIONS)).json()
    assert listed == {"model_versions": [(await api.get(f"{VERSIONS}/{number}")).json() for number in (1, 2)]}


async def test_aliases_are_replaced(api: httpx.AsyncClient) -> None:
    await api.post(UPLOAD, json=weights(version_aliases=["production"]))
    answer = await api.patch(f"{VERSIONS}/production", json={"version_aliases": ["v1-stable", "latest"]})
    assert answer.json() == {"name": NAME, "version_aliases": ["v1-stable", "latest"]}
    assert (await api.get(f"{VERSIONS}/production")).status_code == 404


async def test_a_version_is_deleted(api: httpx.AsyncClient) -> None:
    await api.post(UPLOAD, json=weights(version_aliases=["production"]))
    assert (await api.delete(f"{VERSIONS}/production")).json() == {"name": NAME, "deleted": True}
    assert (await api.delete(f"{VERSIONS}/1")).status_code == 404


async def test_endpoints_are_listed(api: httpx.AsyncClient) -> None:
    answer = (await api.get(f"{ORG}/endpoints")).json()
    assert answer["endpoints"][0] == {
        "endpoint_id": "my-org-gpt-oss-120b",
        "model_arch_id": "gpt-oss-120b",
        "created": 1736700000,
        "updated": 1736700000,
        "org_name": "my-org",
    }


async def test_a_deployment_is_answered_with_its_submission(start: Start) -> None:
    api = await start(sync_seconds=0, rollout_seconds=0)
    await api.post(UPLOAD, json=weights(version_aliases=["production"]))
    answer = (await api.post(DEPLOY, json={"model": NAME.replace("/1", "/production")})).json()
    assert str(uuid.UUID(answer["name"])) == answer["name"]
    assert answer == {
        "name": answer["name"],
        "done": False,
        "response": {
            "deployment_id": answer["name"],
            "endpoint_id": "my-org-gpt-oss-120b",
            "org_name": "my-org",
            "model_arch_id": "gpt-oss-120b",
            "version_id": 1,
            "created": 1736700000,
            "updated": 1736700000,
            "rollout_status": "not_started",
        },
    }


async def test_an_endpoint_shows_how_its_deployments_advance(start: Start, advance: Callable[[float], None]) -> None:
    api = await start(sync_seconds=0)
    await api.post(UPLOAD, json=weights(version_aliases=["production"]))
    deployment_id = (await api.post(DEPLOY, json={"model": NAME})).json()["name"]
    states = []
    for seconds in (0, 5, 5):
        advance(seconds)
        endpoint = (await api.get(ENDPOINT)).json()
        states.append(endpoint["deployed_models"][0]["state"])
    assert states == ["not_started", "in_progress", "complete"]
    assert endpoint == {
        "name": "my-org-gpt-oss-120b",
        "model_arch_id": "gpt-oss-120b",
        "deployed_models": [
            {
                "id": deployment_id,
                "model": NAME,
                "version_alias": "production",
                "created": 1736700000,
                "state": "complete",
            }
        ],
        "managing_org_name": "my-org",
        "created": 1736700000,
        "updated": 1736700010,
    }


@pytest.mark.parametrize(
    "alias",
    ["", "a", "A1", "1a", "a-", "-a", "a_b", "production\n", "ä1", "a" * 129, "has space", 7, None],
)
@pytest.mark.parametrize("call", ["upload", "update"])
async def test_a_malformed_alias_is_refused(api: httpx.AsyncClient, call: str, alias: object) -> None:
    if call == "upload":
        answer = await api.post(UPLOAD, json=weights(version_aliases=[alias]))
    else:
        await api.post(UPLOAD, json=weights())
        answer = await api.patch(f"{VERSIONS}/1", json={"version_aliases": [alias]})
    assert answer.status_code == 422


@pytest.mark.parametrize("alias", ["a1", "ab", "production", "v1-stable", "aB-9", "a" * 128])
async def test_a_well_formed_alias_is_taken(api: httpx.AsyncClient, alias: str) -> None:
    assert (await api.post(UPLOAD, json=weights(version_aliases=[alias]))).status_code == 200
    assert (await api.get(f"{VERSIONS}/{alias}")).json()["response"]["version_aliases"] == [alias]


@pytest.mark.parametrize(
    "weight_uri",
    [
        "",
        "my-bucket/weights",
        "https://my-bucket/weights",
        "s3://",
        "s3://my-bucket",
        "s3://my-bucket/",
        "s3:///a",
        "s3://My_Bucket/weights",
        "s3://my-bucket/a\nb",
        "S3://my-bucket/weights",
        None,
        7,
    ],
)
async def test_a_weight_uri_that_is_not_in_s3_is_refused(api: httpx.AsyncClient, weight_uri: object) -> None:
    answer = await api.post(UPLOAD, json=weights(weight_uri=weight_uri))
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["body", "model", "weight_uri"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"model_arch_id": "gpt-oss-120b"},
        {"model": {"weight_uri": "s3://my-bucket/weights"}},
        {"model_arch_id": "gpt-oss-120b", "model": {}},
        {"model_arch_id": "gpt-oss-120b", "model": {"weight_uri": "s3://my-bucket/a", "aliases": ["production"]}},
        {"model_arch_id": "a/b", "model": {"weight_uri": "s3://my-bucket/weights"}},
        [],
    ],
)
async def test_an_upload_without_what_it_needs_or_with_what_is_unknown_is_refused(
    api: httpx.AsyncClient, body: object
) -> None:
    assert (await api.post(UPLOAD, json=body)).status_code == 422


@pytest.mark.parametrize(
    "model",
    [
        "1",
        "production",
        NAME + "/",
        "/" + NAME,
        NAME + "\n",
        NAME.replace("/1", "/0"),
        NAME.replace("/1", "/01"),
        NAME.replace("/1", "/-1"),
        NAME.replace("/1", "/P"),
        NAME.replace("my-org", "my org"),
        None,
    ],
)
async def test_a_malformed_version_name_is_not_deployed(api: httpx.AsyncClient, model: object) -> None:
    assert (await api.post(DEPLOY, json={"model": model})).status_code == 422


@pytest.mark.parametrize("version_id", ["0", "01", "-1", "1.0", "A", "production%0A", "%20", "a_b"])
async def test_a_malformed_version_id_is_refused(api: httpx.AsyncClient, version_id: str) -> None:
    assert (await api.get(f"{VERSIONS}/{version_id}")).status_code == 422


async def test_a_percent_encoded_segment_is_the_same_as_a_plain_one(api: httpx.AsyncClient) -> None:
    assert (await api.get("/management/v1/orgs/my%2Dorg/models/llama3%2E1-8b/versions")).status_code == 200


async def test_what_another_version_holds_is_a_clash(api: httpx.AsyncClient) -> None:
    await api.post(UPLOAD, json=weights(version_aliases=["production"]))
    answer = await api.post(UPLOAD, json=weights(version_aliases=["production"]))
    assert answer.status_code == 409
    assert answer.json() == {"detail": f"Alias production is in use by model version {NAME}; remove it there first."}


@pytest.mark.parametrize("status", [409, 400, 422])
async def test_the_status_of_a_clash_can_be_chosen(start: Start, status: int) -> None:
    api = await start(alias_clash_status=status)
    await api.post(UPLOAD, json=weights(version_aliases=["production"]))
    await api.post(UPLOAD, json=weights())
    assert (await api.post(UPLOAD, json=weights(version_aliases=["production"]))).status_code == status
    answer = await api.patch(f"{VERSIONS}/2", json={"version_aliases": ["production"]})
    assert answer.status_code == status


async def test_refusals_have_the_statuses_that_say_why(
    api: httpx.AsyncClient, advance: Callable[[float], None]
) -> None:
    assert (await api.get("/management/v1/orgs/other-org/models")).status_code == 403
    assert (await api.get(f"{ORG}/models/gpt-5/versions")).status_code == 404
    assert (await api.get(f"{VERSIONS}/1")).status_code == 404
    assert (await api.get("/management/v1/endpoints/nowhere")).status_code == 404
    assert (await api.post(DEPLOY, json={"model": NAME})).status_code == 404
    await api.post(UPLOAD, json=weights())
    assert (await api.post(DEPLOY, json={"model": NAME})).status_code == 400
    advance(10)
    other_endpoint = "/management/v1/endpoints/my-org-llama3.1-8b:deployModel"
    assert (await api.post(other_endpoint, json={"model": NAME})).status_code == 400
    assert (await api.post(DEPLOY, json={"model": NAME})).status_code == 200
    assert (await api.delete(f"{VERSIONS}/1")).status_code == 409
    advance(10)
    assert (await api.delete(f"{VERSIONS}/1")).status_code == 409


async def test_a_deployment_during_a_rollout_can_be_refused(start: Start) -> None:
    api = await start(sync_seconds=0, deploy_during_rollout="refuse")
    await api.post(UPLOAD, json=weights())
    await api.post(DEPLOY, json={"model": NAME})
    assert (await api.post(DEPLOY, json={"model": NAME})).status_code == 409


async def test_a_failed_sync_is_spelled_as_configured(start: Start, advance: Callable[[float], None]) -> None:
    api = await start(sync_failure_status="ERRORED", done_on_failure=False)
    await api.post("/_emulator/faults", json={"operation": "upload_model_version", "fail_sync": "bucket policy"})
    await api.post(UPLOAD, json=weights())
    advance(10)
    version = (await api.get(f"{VERSIONS}/1")).json()
    assert (version["done"], version["response"]["sync_status"]) == (False, "ERRORED")
    assert version["error"] == {"message": "bucket policy"}


async def test_a_failed_sync_is_done_by_default(api: httpx.AsyncClient, advance: Callable[[float], None]) -> None:
    await api.post("/_emulator/faults", json={"operation": "upload_model_version", "fail_sync": "bucket policy"})
    await api.post(UPLOAD, json=weights())
    advance(10)
    version = (await api.get(VERSIONS)).json()["model_versions"][0]
    assert (version["done"], version["response"]["sync_status"]) == (True, "failed")
    assert version["error"] == {"message": "bucket policy"}


async def test_a_failed_rollout_is_spelled_as_configured(start: Start, advance: Callable[[float], None]) -> None:
    api = await start(sync_seconds=0, rollout_failure_state="aborted")
    await api.post(UPLOAD, json=weights())
    await api.post("/_emulator/faults", json={"operation": "deploy_model", "fail_rollout": "out of capacity"})
    assert (await api.post(DEPLOY, json={"model": NAME})).status_code == 200
    advance(10)
    assert [each["state"] for each in (await api.get(ENDPOINT)).json()["deployed_models"]] == ["aborted"]


async def test_every_answer_carries_a_request_id_of_its_own(api: httpx.AsyncClient) -> None:
    ids = [
        (await api.get(path)).headers["x-request-id"]
        for path in (f"{ORG}/models", f"{VERSIONS}/1", f"{VERSIONS}/0", "/nowhere", "/management/v1/orgs/o/models")
    ]
    assert len(set(ids)) == 5
    assert all(re.fullmatch("[0-9a-f-]{36}", each) for each in ids)


async def test_no_path_is_redirected(api: httpx.AsyncClient) -> None:
    assert (await api.get(f"{ORG}/models/")).status_code == 404
