from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

KEY = {"Authorization": "Bearer emulator-inference-key"}
NAME = "orgs/my-org/models/gpt-oss-120b/versions/1"


async def complete(api: httpx.AsyncClient, **body: Any) -> httpx.Response:
    request = {"model": "my-org-gpt-oss-120b", "messages": [{"role": "user", "content": "hello there"}], **body}
    return await api.post("/v1/chat/completions", json=request, headers=KEY)


@pytest.fixture
async def serving(api: httpx.AsyncClient, advance: Callable[[float], None]) -> httpx.AsyncClient:
    model = {"weight_uri": "s3://bucket/weights", "system_fingerprint_suffix": "run-7"}
    upload = {"model_arch_id": "gpt-oss-120b", "model": model}
    await api.post("/management/v1/orgs/my-org/models:upload", json=upload)
    advance(10)
    await api.post("/management/v1/endpoints/my-org-gpt-oss-120b:deployModel", json={"model": NAME})
    advance(10)
    return api


async def test_the_answer_says_which_version_answers(serving: httpx.AsyncClient) -> None:
    message = (await complete(serving)).json()["choices"][0]["message"]
    assert message == {"role": "assistant", "content": f"{NAME} answers: hello there"}


async def test_the_answer_carries_the_fingerprint_of_the_weights(serving: httpx.AsyncClient) -> None:
    digest = hashlib.sha256(b"s3://bucket/weights").hexdigest()
    assert (await complete(serving)).json()["system_fingerprint"] == f"fp_{digest[:16]}-run-7"


async def test_the_answer_has_the_fields_of_the_inference_api(serving: httpx.AsyncClient) -> None:
    answer = (await complete(serving, temperature=0.2, max_completion_tokens=5, stream=False)).json()
    assert answer["id"].startswith("chatcmpl-")
    assert (answer["object"], answer["model"]) == ("chat.completion", "my-org-gpt-oss-120b")
    assert answer["created"] == 1736700020
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["usage"] == {
        "prompt_tokens": 2,
        "completion_tokens": 4,
        "total_tokens": 6,
        "prompt_tokens_details": {"cached_tokens": 0},
    }
    assert answer["time_info"].keys() == {
        "queue_time",
        "prompt_time",
        "completion_time",
        "total_time",
        "created",
    }


async def test_content_may_come_in_parts(serving: httpx.AsyncClient) -> None:
    parts = [{"type": "text", "text": "hello"}, {"type": "text", "text": "again"}]
    answer = (await complete(serving, messages=[{"role": "user", "content": parts}])).json()
    assert answer["choices"][0]["message"]["content"].endswith("answers: hello again")


def answers(name: str, **told: Any) -> dict[str, Any]:
    return {"model_version": name, **told}


async def answer(api: httpx.AsyncClient, question: str = "hello there") -> str:
    response = await complete(api, messages=[{"role": "user", "content": question}])
    content: str = response.json()["choices"][0]["message"]["content"]
    return content


class TestAnswers:
    async def test_a_version_answers_as_it_was_told(self, serving: httpx.AsyncClient) -> None:
        await serving.put("/_emulator/answers", json=answers(NAME, answers={"hello there": "hello you"}))
        assert await answer(serving) == "hello you"
        assert await answer(serving, "hello") == f"{NAME} answers: hello"
        await serving.put("/_emulator/answers", json=answers(NAME, default=""))
        assert await answer(serving) == ""

    async def test_a_number_comes_before_an_alias(self, serving: httpx.AsyncClient) -> None:
        alias = NAME.replace("/1", "/prod")
        await serving.patch(f"/management/v1/{NAME}", json={"version_aliases": ["prod"]})
        await serving.put("/_emulator/answers", json=answers(alias, default="as prod"))
        assert await answer(serving) == "as prod"
        await serving.put("/_emulator/answers", json=answers(NAME, default="as 1"))
        assert await answer(serving) == "as 1"

    async def test_another_version_was_told_nothing(self, serving: httpx.AsyncClient) -> None:
        for other in (NAME.replace("/1", "/2"), NAME.replace("gpt-oss-120b", "llama3.1-8b")):
            await serving.put("/_emulator/answers", json=answers(other, default="no"))
        assert await answer(serving) == f"{NAME} answers: hello there"

    async def test_what_was_told_is_shown_and_can_be_ended(self, serving: httpx.AsyncClient) -> None:
        told = answers(NAME, answers={"a": "b"}, default=None)
        assert (await serving.put("/_emulator/answers", json=told)).json() == told
        assert (await serving.get("/_emulator/answers")).json() == {"answers": [told]}
        assert (await serving.delete("/_emulator/answers")).json() == {"deleted": 1}
        assert (await serving.get("/_emulator/answers")).json() == {"answers": []}

    async def test_a_reset_goes_back_to_what_the_settings_say(self, start: Any) -> None:
        api = await start(answers=[answers(NAME, default="from the start")])
        await api.put("/_emulator/answers", json=answers(NAME, default="later"))
        await api.put("/_emulator/answers", json=answers(NAME.replace("/1", "/2"), default="later"))
        await api.post("/_emulator/reset")
        shown = (await api.get("/_emulator/answers")).json()["answers"]
        assert [each["default"] for each in shown] == ["from the start"]

    @pytest.mark.parametrize("wrong", [{"model_version": "1"}, {"answer": {}}, {"answers": {"a": 1}}])
    async def test_what_cannot_be_told_is_refused(self, api: httpx.AsyncClient, wrong: dict[str, Any]) -> None:
        assert (await api.put("/_emulator/answers", json={"model_version": NAME, **wrong})).status_code == 422


async def test_an_unknown_model_is_not_found(api: httpx.AsyncClient) -> None:
    answer = await complete(api, model="nowhere")
    assert answer.status_code == 404
    assert answer.json() == {
        "message": "Model nowhere does not exist or you do not have access to it.",
        "type": "not_found_error",
        "param": "model",
        "code": "not_found",
    }


async def test_an_endpoint_on_which_nothing_serves_is_unavailable(api: httpx.AsyncClient) -> None:
    answer = await complete(api)
    assert answer.status_code == 503
    assert "nothing serves" in answer.json()["message"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"stream": True},
        {"messages": []},
        {"messages": [{"content": "hi"}]},
        {"messages": [{"role": "king", "content": "hi"}]},
        {"model": ""},
    ],
)
async def test_an_invalid_completion_is_a_bad_request(serving: httpx.AsyncClient, wrong: dict[str, Any]) -> None:
    answer = await complete(serving, **wrong)
    assert answer.status_code == 400
    assert answer.json()["type"] == "invalid_request_error"
