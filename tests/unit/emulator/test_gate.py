from __future__ import annotations

import asyncio
import importlib.util
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from airflow_provider_cerebras.emulator.server import EmulatorServer
from airflow_provider_cerebras.emulator.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

MANAGEMENT_KEY = {"Authorization": "Bearer emulator-management-key"}
ORG = "/management/v1/orgs/my-org"
UPLOAD = f"{ORG}/models:upload"
VERSIONS = f"{ORG}/models/gpt-oss-120b/versions"
WEIGHTS = {"model_arch_id": "gpt-oss-120b", "model": {"weight_uri": "s3://bucket/weights"}}


@pytest.fixture(scope="module", params=["h11", "httptools"])
def server(request: pytest.FixtureRequest) -> Iterator[EmulatorServer]:
    if importlib.util.find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    with EmulatorServer(Settings(port=0), http=request.param) as server:
        yield server


@pytest.fixture
async def live(server: EmulatorServer) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an emulator behind a real socket, as new."""
    async with httpx.AsyncClient(base_url=server.base_url, headers=MANAGEMENT_KEY, timeout=60) as client:
        await client.post("/_emulator/reset")
        yield client


async def fault(client: httpx.AsyncClient, **rule: Any) -> int:
    answer = await client.post("/_emulator/faults", json={"operation": "*", **rule})
    assert answer.is_success, answer.text
    fault_id: int = answer.json()["id"]
    return fault_id


async def requests(client: httpx.AsyncClient, **query: Any) -> list[dict[str, Any]]:
    answer = await client.get("/_emulator/requests", params=query)
    found: list[dict[str, Any]] = answer.raise_for_status().json()["requests"]
    return found


async def versions(client: httpx.AsyncClient) -> int:
    return len((await client.get("/_emulator/state")).json()["versions"])


async def test_a_connection_can_be_dropped_before_the_work_is_done(live: httpx.AsyncClient) -> None:
    await fault(live, drop=True)
    with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
        await live.post(UPLOAD, json=WEIGHTS)
    assert await versions(live) == 0
    [logged] = await requests(live)
    assert (logged["stage"], logged["worked"], logged["status"]) == ("dropped", False, None)


async def test_a_connection_can_be_dropped_after_the_work_was_done(live: httpx.AsyncClient) -> None:
    await fault(live, drop=True, when="after")
    with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
        await live.post(UPLOAD, json=WEIGHTS)
    assert await versions(live) == 1
    [logged] = await requests(live)
    assert (logged["stage"], logged["worked"], logged["status"]) == ("dropped", True, None)


async def test_a_dropped_connection_leaves_no_complaint_in_the_servers_log(
    live: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    await fault(live, drop=True)
    with pytest.raises(httpx.RemoteProtocolError):
        await live.get(f"{ORG}/models")
    await live.get(f"{ORG}/models")
    assert [record for record in caplog.records if record.name.startswith("uvicorn")] == []


async def test_an_answer_can_be_cut_off(live: httpx.AsyncClient) -> None:
    await fault(live, truncate=True)
    with pytest.raises(httpx.RemoteProtocolError, match=r"incomplete|without sending complete"):
        await live.post(UPLOAD, json=WEIGHTS)
    assert await versions(live) == 1


async def test_a_request_that_is_held_before_the_work_has_not_been_done_until_it_is_released(
    live: httpx.AsyncClient,
) -> None:
    fault_id = await fault(live, operation="upload_model_version", hold=True)
    upload = asyncio.create_task(live.post(UPLOAD, json=WEIGHTS))
    [held] = await requests(live, stage="held", wait=60)
    assert (held["operation"], held["worked"]) == ("upload_model_version", False)
    assert await versions(live) == 0
    await live.delete(f"/_emulator/faults/{fault_id}")
    assert (await upload).status_code == 200
    assert await versions(live) == 1


async def test_a_request_that_is_held_after_the_work_has_been_done_already(live: httpx.AsyncClient) -> None:
    await fault(live, operation="upload_model_version", hold=True, when="after")
    upload = asyncio.create_task(live.post(UPLOAD, json=WEIGHTS))
    [held] = await requests(live, stage="held", wait=60)
    assert held["worked"]
    assert await versions(live) == 1
    await live.delete("/_emulator/faults")
    assert (await upload).status_code == 200
    [logged] = await requests(live, operation="upload_model_version")
    assert (logged["stage"], logged["status"]) == ("answered", 200)


async def test_other_requests_go_on_while_one_is_held(live: httpx.AsyncClient) -> None:
    await fault(live, operation="upload_model_version", hold=True)
    upload = asyncio.create_task(live.post(UPLOAD, json=WEIGHTS))
    await requests(live, stage="held", wait=60)
    assert (await live.post(UPLOAD, json=WEIGHTS)).json()["name"].endswith("/1")
    await live.delete("/_emulator/faults")
    assert (await upload).json()["name"].endswith("/2")


async def test_a_request_that_is_held_does_not_reach_into_the_time_after_a_reset(live: httpx.AsyncClient) -> None:
    await fault(live, operation="upload_model_version", hold=True)
    upload = asyncio.create_task(live.post(UPLOAD, json=WEIGHTS))
    await requests(live, stage="held", wait=60)
    await live.post("/_emulator/reset")
    with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
        await upload
    assert await versions(live) == 0


async def test_a_held_request_is_worked_on_although_the_client_has_gone(live: httpx.AsyncClient) -> None:
    fault_id = await fault(live, operation="upload_model_version", hold=True)
    upload = asyncio.create_task(live.post(UPLOAD, json=WEIGHTS))
    await requests(live, stage="held", wait=60)
    upload.cancel()
    await live.delete(f"/_emulator/faults/{fault_id}")
    await requests(live, stage="answered", wait=60)
    assert await versions(live) == 1


async def test_a_status_before_the_work_takes_its_place(live: httpx.AsyncClient) -> None:
    await fault(live, status=429, body={"detail": "slow down"}, headers={"Retry-After": "7"})
    answer = await live.post(UPLOAD, json=WEIGHTS)
    assert (answer.status_code, answer.json()) == (429, {"detail": "slow down"})
    assert answer.headers["retry-after"] == "7"
    assert "x-request-id" in answer.headers
    assert await versions(live) == 0


async def test_a_status_after_the_work_hides_its_answer(live: httpx.AsyncClient) -> None:
    await fault(live, status=502, text="<html>bad gateway</html>", when="after")
    answer = await live.post(UPLOAD, json=WEIGHTS)
    assert (answer.status_code, answer.text) == (502, "<html>bad gateway</html>")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert await versions(live) == 1


async def test_a_malformed_body_can_come_with_a_good_status(live: httpx.AsyncClient) -> None:
    await fault(live, text='{"name": ', content_type="application/json")
    answer = await live.post(UPLOAD, json=WEIGHTS)
    assert (answer.status_code, answer.text) == (200, '{"name": ')
    assert answer.headers["content-type"] == "application/json"


async def test_an_error_has_the_form_that_the_api_has(live: httpx.AsyncClient) -> None:
    await fault(live, status=429, message="slow down", retry_after=7, times=2)
    answer = await live.get(f"{ORG}/models")
    assert (answer.status_code, answer.json(), answer.headers["retry-after"]) == (429, {"detail": "slow down"}, "7")
    answer = await live.post("/v1/chat/completions", json={})
    assert (answer.json()["message"], answer.json()["type"]) == ("slow down", "too_many_requests_error")


async def test_an_error_can_have_the_other_form(live: httpx.AsyncClient) -> None:
    await fault(live, status=500, message="oh", error_style="inference")
    assert (await live.get(f"{ORG}/models")).json() == {
        "message": "oh",
        "type": "api_error",
        "param": None,
        "code": "error",
    }


async def test_the_services_answer_can_be_json_that_is_none(live: httpx.AsyncClient) -> None:
    await fault(live, malformed=True)
    answer = await live.post(UPLOAD, json=WEIGHTS)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    with pytest.raises(ValueError, match=r"delimiter|Unterminated|Expecting"):
        answer.json()
    assert await versions(live) == 1


async def test_an_answer_can_come_slowly_but_it_comes_whole(live: httpx.AsyncClient) -> None:
    fault_id = await fault(live, slow_body=1e6)
    async with live.stream("GET", f"{ORG}/models") as answer:
        assert answer.status_code == 200
        parts = answer.aiter_raw()
        first = asyncio.ensure_future(anext(parts))
        await requests(live, stage="answered", wait=60)
        assert not first.done()
        await live.delete(f"/_emulator/faults/{fault_id}")
        body = await first + b"".join([part async for part in parts])
    assert body == (await live.get(f"{ORG}/models")).content


async def test_a_rule_can_be_for_one_organizations_requests(live: httpx.AsyncClient) -> None:
    await live.post("/_emulator/organizations", json={"name": "acme"})
    await fault(live, status=500, organization="acme")
    assert (await live.get(f"{ORG}/models")).status_code == 200
    acme = {"Authorization": "Bearer acme-management-key"}
    assert (await live.get("/management/v1/orgs/acme/models", headers=acme)).status_code == 500


async def test_a_rule_can_be_for_some_bodies_only(live: httpx.AsyncClient) -> None:
    await fault(live, status=500, request_body={"model": {"version_aliases": ["production"]}})
    body = {**WEIGHTS, "model": {"weight_uri": "s3://bucket/weights", "version_aliases": ["latest", "production"]}}
    assert (await live.post(UPLOAD, json=WEIGHTS)).status_code == 200
    assert (await live.post(UPLOAD, json=body)).status_code == 500


async def test_null_is_a_body_too(live: httpx.AsyncClient) -> None:
    await fault(live, body=None)
    assert (await live.get(f"{ORG}/models")).text == "null"


async def test_a_status_without_a_body_is_empty(live: httpx.AsyncClient) -> None:
    await fault(live, status=500)
    answer = await live.get(f"{ORG}/models")
    assert (answer.status_code, answer.content) == (500, b"")


async def test_an_answer_of_no_content_is_sent_as_one(live: httpx.AsyncClient) -> None:
    await fault(live, status=204, when="after")
    assert (await live.delete(f"{VERSIONS}/1")).status_code == 204
    assert (await live.get(f"{ORG}/models")).status_code == 200


async def test_headers_alone_go_onto_the_services_answer(live: httpx.AsyncClient) -> None:
    await fault(live, headers={"cf-ray": "8a1", "X-Request-ID": "mine"})
    answer = await live.get(f"{ORG}/models")
    assert answer.json()["model_architectures"]
    assert (answer.headers["cf-ray"], answer.headers["x-request-id"]) == ("8a1", "mine")


async def test_a_delay_comes_before_the_answer(live: httpx.AsyncClient) -> None:
    fault_id = await fault(live, delay=1e6)
    slow = asyncio.create_task(live.get(f"{ORG}/models"))
    await requests(live, stage="received", wait=60)
    assert (await live.get(f"{ORG}/models")).status_code == 200
    assert not slow.done()
    await live.delete(f"/_emulator/faults/{fault_id}")
    assert (await slow).status_code == 200


async def test_times_are_exact_under_concurrent_requests(live: httpx.AsyncClient) -> None:
    await fault(live, status=503, skip=3, times=5)
    answers = await asyncio.gather(*(live.get(f"{ORG}/models") for _ in range(20)))
    assert sorted(answer.status_code for answer in answers) == [200] * 15 + [503] * 5
    [counted] = (await live.get("/_emulator/faults")).json()["faults"]
    assert (counted["skipped"], counted["fired"]) == (3, 5)


async def test_concurrent_uploads_with_the_same_alias_make_one_version(live: httpx.AsyncClient) -> None:
    body = {**WEIGHTS, "model": {"weight_uri": "s3://bucket/weights", "version_aliases": ["production"]}}
    answers = await asyncio.gather(*(live.post(UPLOAD, json=body) for _ in range(20)))
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 19
    assert await versions(live) == 1


async def test_without_uvicorn_a_connection_cannot_be_dropped(api: httpx.AsyncClient) -> None:
    await fault(api, drop=True)
    with pytest.raises(ConnectionAbortedError, match="only works under uvicorn"):
        await api.get(f"{ORG}/models")
