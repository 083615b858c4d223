"""Behaviour that is not documented: each choice, changed while the emulator runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

ORG = "/management/v1/orgs/my-org"
VERSIONS = f"{ORG}/models/gpt-oss-120b/versions"
ENDPOINT = "/management/v1/endpoints/my-org-gpt-oss-120b"
NAME = "orgs/my-org/models/gpt-oss-120b/versions/{}"


async def change(api: httpx.AsyncClient, **settings: Any) -> None:
    (await api.patch("/_emulator/settings", json=settings)).raise_for_status()


async def upload(api: httpx.AsyncClient, *aliases: str) -> httpx.Response:
    model = {"weight_uri": "s3://bucket/weights", "version_aliases": aliases}
    return await api.post(f"{ORG}/models:upload", json={"model_arch_id": "gpt-oss-120b", "model": model})


async def deploy(api: httpx.AsyncClient, number: int = 1) -> httpx.Response:
    return await api.post(f"{ENDPOINT}:deployModel", json={"model": NAME.format(number)})


async def states(api: httpx.AsyncClient) -> list[str]:
    return [each["state"] for each in (await api.get(ENDPOINT)).json()["deployed_models"]]


@pytest.fixture
async def synced(api: httpx.AsyncClient, advance: Callable[[float], None]) -> httpx.AsyncClient:
    """An emulator with one version, which is synced."""
    await upload(api, "production")
    advance(10)
    return api


async def test_the_settings_are_the_behaviour_and_nothing_else(api: httpx.AsyncClient) -> None:
    assert (await api.get("/_emulator/settings")).json() == {
        "sync_seconds": 10,
        "weights_read": "at-upload",
        "weights_checks": "strict",
        "rollout_seconds": 10,
        "error_style": "fastapi",
        "sync_failure_status": "failed",
        "done_on_failure": True,
        "rollout_failure_state": "failed",
        "alias_clash_status": 409,
        "deploy_during_rollout": "queue",
        "deployed_models": "all",
        "delete_in_use": "refuse",
    }


async def test_a_change_is_answered_with_all_that_is_in_force(api: httpx.AsyncClient) -> None:
    before = (await api.get("/_emulator/settings")).json()
    changed = await api.patch("/_emulator/settings", json={"sync_failure_status": "ERROR"})
    assert changed.json() == {**before, "sync_failure_status": "ERROR"}
    assert (await api.get("/_emulator/settings")).json() == changed.json()


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"management_key": "k"}, "management_key"),
        ({"port": 1}, "port"),
        ({"sync_seconds": -1}, "sync_seconds"),
        ({"alias_clash_status": 500}, "alias_clash_status"),
        ({"deployed_models": "all", "delete_in_use": "perhaps"}, "delete_in_use"),
    ],
)
async def test_a_change_that_cannot_be_is_refused_as_a_whole(
    api: httpx.AsyncClient, changes: dict[str, Any], place: str
) -> None:
    before = (await api.get("/_emulator/settings")).json()
    refused = await api.patch("/_emulator/settings", json=changes)
    assert (refused.status_code, refused.json()["detail"][0]["loc"]) == (422, ["body", place])
    assert (await api.get("/_emulator/settings")).json() == before


async def test_a_reset_goes_back_to_what_was_chosen_at_the_start(start: Any) -> None:
    api = await start(sync_failure_status="error")
    await change(api, sync_failure_status="aborted")
    await api.post("/_emulator/reset")
    assert (await api.get("/_emulator/settings")).json()["sync_failure_status"] == "error"


async def test_durations_are_for_what_begins_from_then_on(
    api: httpx.AsyncClient, advance: Callable[[float], None]
) -> None:
    await upload(api)
    await change(api, sync_seconds=100)
    await upload(api)
    advance(10)
    done = [(await api.get(f"{VERSIONS}/{number}")).json()["done"] for number in (1, 2)]
    assert done == [True, False]


async def test_failure_of_a_sync_is_spelled_as_told(api: httpx.AsyncClient, advance: Callable[[float], None]) -> None:
    await api.post("/_emulator/faults", json={"operation": "upload_model_version", "fail_sync": "bucket policy"})
    await upload(api)
    advance(10)
    await change(api, sync_failure_status="ERRORED", done_on_failure=False)
    version = (await api.get(f"{VERSIONS}/1")).json()
    assert (version["done"], version["response"]["sync_status"]) == (False, "ERRORED")


async def test_failed_deployments_can_be_left_out(synced: httpx.AsyncClient, advance: Callable[[float], None]) -> None:
    await synced.post("/_emulator/faults", json={"operation": "deploy_model", "fail_rollout": "no room"})
    await deploy(synced)
    advance(10)
    await deploy(synced)
    advance(10)
    await deploy(synced)
    await change(synced, rollout_failure_state="aborted")
    assert await states(synced) == ["aborted", "complete", "not_started"]
    await change(synced, deployed_models="not-failed")
    assert await states(synced) == ["complete", "not_started"]
    await change(synced, deployed_models="live")
    assert await states(synced) == ["complete"]


async def test_an_alias_clash_has_the_status_that_was_told(synced: httpx.AsyncClient) -> None:
    assert (await upload(synced, "production")).status_code == 409
    await change(synced, alias_clash_status=422, error_style="inference")
    clash = await upload(synced, "production")
    assert (clash.status_code, clash.json()["param"]) == (422, "version_aliases")


async def test_a_second_deployment_is_queued_or_refused_or_takes_over(synced: httpx.AsyncClient) -> None:
    await deploy(synced)
    assert (await deploy(synced)).status_code == 200
    await change(synced, deploy_during_rollout="refuse")
    assert (await deploy(synced)).status_code == 409
    assert len(await states(synced)) == 2
    await change(synced, deploy_during_rollout="supersede")
    assert (await deploy(synced)).status_code == 200
    assert len(await states(synced)) == 1


@pytest.mark.parametrize("seconds", [0, 10])
async def test_a_version_in_use_can_be_deleted_and_goes_on_serving(
    synced: httpx.AsyncClient, advance: Callable[[float], None], seconds: float
) -> None:
    await deploy(synced)
    advance(seconds)
    assert (await synced.delete(f"{VERSIONS}/1")).status_code == 409
    await change(synced, delete_in_use="allow")
    assert (await synced.delete(f"{VERSIONS}/1")).status_code == 200
    assert (await synced.get(f"{VERSIONS}/1")).status_code == 404
    assert (await deploy(synced)).status_code == 404
    advance(10)
    assert await states(synced) == ["complete"]
    ask = {"model": "my-org-gpt-oss-120b", "messages": [{"role": "user", "content": "hi"}]}
    answer = await synced.post(
        "/v1/chat/completions", json=ask, headers={"Authorization": "Bearer emulator-inference-key"}
    )
    assert answer.json()["choices"][0]["message"]["content"].startswith(NAME.format(1))
    assert (await upload(synced, "production")).json()["name"] == NAME.format(2)
