"""Nothing is left to import when the first request is sent, for that would hold the event loop up."""

from __future__ import annotations

import json
import subprocess
import sys

PROGRAM = """
import asyncio, json, sys
from airflow_provider_cerebras.api import operations
from airflow_provider_cerebras.api.client import AsyncCerebrasClient
from airflow_provider_cerebras.api.settings import ClientSettings

BODY = b'{"architectures": []}'
HEAD = b"HTTP/1.1 200 OK\\r\\ncontent-type: application/json\\r\\ncontent-length: %d\\r\\n\\r\\n" % len(BODY)

async def respond(reader, writer):
    await reader.readuntil(b"\\r\\n\\r\\n")
    writer.write(HEAD + BODY)

async def main():
    server = await asyncio.start_server(respond, "127.0.0.1", 0)
    url = "http://127.0.0.1:%d" % server.sockets[0].getsockname()[1]
    async with await AsyncCerebrasClient.create(ClientSettings(management_key="k", base_url=url)) as client:
        before = set(sys.modules)
        assert await client.fetch_once(operations.list_model_architectures("org")) == BODY
        print(json.dumps(sorted(set(sys.modules) - before)))

asyncio.run(main())
"""


def test_the_first_request_imports_nothing() -> None:
    run = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)

    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout) == []
