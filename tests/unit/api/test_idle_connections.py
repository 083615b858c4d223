"""Between two looks a connection is idle for longer than httpx would keep it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from airflow_provider_cerebras.api import operations
from airflow_provider_cerebras.api.client import AsyncCerebrasClient, ClientSettings
from airflow_provider_cerebras.polling.intervals import next_interval

if TYPE_CHECKING:
    import pytest

ANSWER = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n{"name": "e"}'


async def test_one_is_kept_for_longer_than_the_longest_pause_between_two_looks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connections = requests = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections, requests
        connections += 1
        while await reader.readline():
            await reader.readuntil(b"\r\n\r\n")
            requests += 1
            writer.write(ANSWER)
        writer.close()

    call = operations.get_endpoint("e")
    longest = next_interval(waited=10**6, poll_interval=30, failures=100, jitter=1)
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        settings = ClientSettings(management_key="mgmt-key-5b1e", base_url=f"http://127.0.0.1:{port}")
        async with await AsyncCerebrasClient.create(settings) as client:
            await client.send_once(call)
            monotonic = time.monotonic
            monkeypatch.setattr(time, "monotonic", lambda: monotonic() + longest)
            await client.send_once(call)
    assert (connections, requests) == (1, 2)
