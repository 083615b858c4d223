from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import httpx

MANAGEMENT = ("GET", "/management/v1/orgs/my-org/models")
INFERENCE = ("POST", "/v1/chat/completions")
COMPLETION = {"model": "my-org-gpt-oss-120b", "messages": [{"role": "user", "content": "hi"}]}


@pytest.mark.parametrize("call", [MANAGEMENT, INFERENCE])
@pytest.mark.parametrize("authorization", ["", "Bearer ", "Basic abc", "Bearer nonsense", "emulator-management-key"])
async def test_no_valid_key_is_unauthorized(api: httpx.AsyncClient, call: tuple[str, str], authorization: str) -> None:
    answer = await api.request(*call, headers={"Authorization": authorization}, json=COMPLETION)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_the_management_api_says_that_it_does_not_take_the_inference_key(api: httpx.AsyncClient) -> None:
    answer = await api.request(*MANAGEMENT, headers={"Authorization": "Bearer emulator-inference-key"})
    assert answer.status_code == 401
    assert "the inference API key was sent, the management API key is needed" in answer.json()["detail"]


async def test_the_inference_api_says_that_it_does_not_take_the_management_key(api: httpx.AsyncClient) -> None:
    answer = await api.request(*INFERENCE, json=COMPLETION)
    assert answer.status_code == 401
    assert "the management API key was sent, the inference API key is needed" in answer.json()["message"]


async def test_the_key_is_looked_at_before_the_request(api: httpx.AsyncClient) -> None:
    answer = await api.get("/management/v1/orgs/other-org/models/x/versions/0", headers={"Authorization": ""})
    assert answer.status_code == 401


async def test_the_control_plane_takes_no_key(api: httpx.AsyncClient) -> None:
    assert (await api.get("/_emulator/health", headers={"Authorization": ""})).json() == {"status": "ok"}
