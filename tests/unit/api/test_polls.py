"""What is polled is sent as a request that was built once, and a body like the last one is not looked into again."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from airflow_provider_cerebras.api import operations
from airflow_provider_cerebras.api.client import AsyncCerebrasClient, ClientSettings
from airflow_provider_cerebras.api.errors import (
    CerebrasAPIError,
    CerebrasTransportError,
    UnexpectedResponse,
)

if TYPE_CHECKING:
    from tests.unit.api.conftest import Connect, Conversation

V1 = "orgs/my-org/models/gpt-oss-120b/versions/1"
CALL = operations.get_model_version(V1)
BODY = json.dumps({"name": V1, "done": False}).encode()


def fetch(talk: Conversation) -> bytes:
    if isinstance(talk.client, AsyncCerebrasClient):
        return asyncio.run(talk.client.fetch_once(CALL))
    return talk.client.fetch_once(CALL)


def test_polls_send_one_and_the_same_request(connect: Connect) -> None:
    talk = connect(httpx.Response(200, content=BODY))
    fetch(talk)
    fetch(talk)
    first, second = talk.requests
    assert first is second
    assert first.headers["Authorization"] == "Bearer mgmt-key-5b1e"


def test_a_body_like_the_last_one_is_the_same_object(connect: Connect) -> None:
    other = BODY.replace(b"false", b"true")
    talk = connect(*(httpx.Response(200, content=bytes(bytearray(body))) for body in (BODY, BODY, other, BODY)))
    first, second, third, fourth = (fetch(talk) for _ in range(4))
    assert first is second
    assert third == other
    assert fourth == BODY


@pytest.mark.parametrize(
    ("response", "error"),
    [
        (httpx.Response(500, content=BODY), CerebrasAPIError),
        (httpx.Response(302, content=BODY, headers={"Location": "http://["}), UnexpectedResponse),
        # As if it had been cut off: neither its length nor its end is said.
        (httpx.Response(200, stream=httpx.ByteStream(BODY[:-1])), CerebrasTransportError),
        (httpx.Response(200, content=BODY, headers={"Content-Encoding": "br"}), UnexpectedResponse),
    ],
    ids=["an error", "a redirect", "cut off", "packed"],
)
def test_a_body_like_the_last_one_counts_by_its_status_and_its_header_fields(
    connect: Connect, response: httpx.Response, error: type[Exception]
) -> None:
    before = BODY[:-1] if isinstance(response.stream, httpx.ByteStream) and not response.headers else BODY
    talk = connect(httpx.Response(200, content=before), response)
    fetch(talk)
    with pytest.raises(error):
        fetch(talk)


def test_what_is_unpacked_counts_and_not_what_came_in(connect: Connect) -> None:
    packed = httpx.Response(
        200, stream=httpx.ByteStream(gzip.compress(BODY)), headers={"Content-Encoding": "gzip", "Content-Length": "1"}
    )
    talk = connect(httpx.Response(200, content=BODY), packed, httpx.Response(200, content=BODY))
    assert [fetch(talk) for _ in range(3)] == [BODY] * 3


def test_a_body_that_repeats_the_key_is_redacted_each_time(connect: Connect) -> None:
    body = json.dumps({"name": V1, "done": False, "words": "mgmt-key-5b1e"}).encode()
    talk = connect(httpx.Response(200, content=body))
    assert [b"mgmt-key-5b1e" in fetch(talk) for _ in range(3)] == [False] * 3


def test_what_changes_something_is_built_and_read_each_time(connect: Connect) -> None:
    call = operations.update_model_version_aliases(V1, ["production"])
    talk = connect(httpx.Response(200, json={"name": V1, "response": {"version_aliases": ["production"]}}))
    talk.send_once(call)
    talk.send_once(call)
    first, second = talk.requests
    assert first is not second


def test_a_client_of_weeks_keeps_few_of_them(connect: Connect) -> None:
    talk = connect(httpx.Response(404))
    for number in range(200):
        call = operations.get_model_version(f"orgs/my-org/models/gpt-oss-120b/versions/{number}")
        with pytest.raises(CerebrasAPIError):
            talk.send_once(call)
    assert len(talk.client._ready) <= 64


def test_a_poll_logs_nothing(connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    talk = connect(httpx.Response(200, content=BODY))
    fetch(talk)
    assert [record for record in caplog.records if record.name.startswith(("httpx", "airflow_provider"))] == []


@pytest.mark.parametrize("polled_before", [True, False])
def test_a_client_that_was_closed_polls_no_more(polled_before: bool) -> None:
    requests: list[Any] = []

    def respond(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(200, content=BODY)

    async def run() -> None:
        settings = ClientSettings(management_key="key", base_url="http://127.0.0.1:1")
        client = AsyncCerebrasClient(settings, verify=False, transport=httpx.MockTransport(respond))
        if polled_before:
            await client.fetch_once(CALL)
        await client.aclose()
        with pytest.raises(RuntimeError, match="closed"):
            await client.fetch_once(CALL)

    asyncio.run(run())
    assert len(requests) == polled_before
