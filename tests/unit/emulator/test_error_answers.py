from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    import httpx

    class Start(Protocol):
        async def __call__(self, **settings: Any) -> httpx.AsyncClient: ...


VERSIONS = "/management/v1/orgs/my-org/models/gpt-oss-120b/versions"


async def test_a_refusal_in_the_style_of_fastapi_has_a_detail(api: httpx.AsyncClient) -> None:
    answer = await api.get(f"{VERSIONS}/7")
    assert answer.json() == {"detail": "Model version orgs/my-org/models/gpt-oss-120b/versions/7 does not exist."}


async def test_a_validation_error_in_the_style_of_fastapi_lists_what_is_wrong(api: httpx.AsyncClient) -> None:
    answer = await api.patch(f"{VERSIONS}/7", json={})
    assert answer.status_code == 422
    assert answer.json() == {
        "detail": [{"loc": ["body", "version_aliases"], "msg": "Field required", "type": "missing"}]
    }


async def test_a_refusal_in_the_style_of_inference_has_a_message(start: Start) -> None:
    api = await start(error_style="inference")
    answer = await api.get(f"{VERSIONS}/7")
    assert answer.status_code == 404
    assert answer.json() == {
        "message": "Model version orgs/my-org/models/gpt-oss-120b/versions/7 does not exist.",
        "type": "not_found_error",
        "param": "version_id",
        "code": "not_found",
    }


async def test_a_validation_error_in_the_style_of_inference_is_a_bad_request(start: Start) -> None:
    api = await start(error_style="inference")
    answer = await api.patch(f"{VERSIONS}/7", json={})
    assert answer.status_code == 400
    assert answer.json() == {
        "message": "body.version_aliases: Field required",
        "type": "invalid_request_error",
        "param": "version_aliases",
        "code": "wrong_api_format",
    }


async def test_what_is_not_json_is_a_validation_error(api: httpx.AsyncClient) -> None:
    answer = await api.patch(f"{VERSIONS}/7", content="{", headers={"Content-Type": "application/json"})
    assert answer.status_code == 422


async def test_unknown_paths_and_methods_are_in_the_style_too(start: Start) -> None:
    api = await start(error_style="inference")
    assert (await api.get("/management/v1/nowhere")).json()["type"] == "not_found_error"
    answer = await api.put(f"{VERSIONS}/7")
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", f"{VERSIONS}/1", "DELETE, GET, PATCH"),
        ("GET", "/management/v1/endpoints/my-org-gpt-oss-120b:deployModel", "POST"),
        ("GET", "/management/v1/orgs/my-org/models:upload", "POST"),
    ],
)
async def test_a_method_that_is_none_of_the_path_s_is_told_those_that_are(
    api: httpx.AsyncClient, method: str, path: str, allowed: str
) -> None:
    answer = await api.request(method, path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
