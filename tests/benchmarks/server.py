"""The server that everybody asks: raw HTTP/1.1 over asyncio, so that it is never what is measured.

It answers the status calls of all services in the benchmark from one schedule: of N jobs, job ``i`` is done
``phase + duration * (i + 1) / N`` seconds after the start. Each scenario has a listener of its own, which counts its
requests and TCP connections. Run as ``python -m tests.benchmarks.server``; it prints the port of its control listener
and ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from urllib.parse import parse_qs, urlsplit

COLLECTIONS = 8
"""Job ``i`` belongs to collection ``i % 8``: the first four are architectures, the others endpoints."""
ARCHITECTURES = 4
WARM_UP = "warm-up"
"""Names a job that was done before the start, and the collection that holds it alone."""
_BACKLOG = 8192
_CREATED = 1_750_000_000


def job_name(collection: int, number: int) -> str:
    """Name of a job where a text is wanted: a UUID, like a deployment's."""
    return f"00000000-0000-4000-8000-{collection:04d}{number:08d}"


@dataclass
class World:
    """The jobs of one scenario."""

    jobs: int
    duration: float
    phase: float = 0.0
    start: float = float("inf")
    requests: int = 0
    connections: int = 0
    cpu: float = 0.0
    bodies: dict[tuple[int, int], bytes] = field(default_factory=dict)

    def begin(self) -> None:
        self.requests = self.connections = 0
        self.cpu = time.process_time()
        self.start = time.time()

    def done(self) -> int:
        """How many of the jobs are done, which are the first ones."""
        share = min(1.0, max(0.0, (time.time() - self.start - self.phase) / self.duration))
        return int(share * self.jobs + 1e-9)

    def is_done(self, job: str) -> bool:
        return job == WARM_UP or int(job) < self.done()

    def collection(self, number: int) -> bytes:
        """The list of an architecture's versions, or an endpoint with its deployments."""
        done = self.done()
        # Only a few of the answers in a row differ.
        key = (number, max(0, (done - 1 - number) // COLLECTIONS + 1))
        if key not in self.bodies:
            self.bodies = {other: body for other, body in self.bodies.items() if other[0] != number}
            jobs = range(number, self.jobs, COLLECTIONS)
            if number < ARCHITECTURES:
                answer: object = {"model_versions": [version(number, job, job < done) for job in jobs]}
            else:
                answer = endpoint(number, [deployment(number, job, job < done) for job in jobs])
            self.bodies[key] = json.dumps(answer).encode()
        return self.bodies[key]


def version(collection: int, job: int, done: bool) -> dict[str, object]:
    return {
        "name": f"orgs/bench/models/arch-{collection}/versions/{job}",
        "done": done,
        "response": {
            "customer_s3_uri": f"s3://bench/weights/{job}/",
            "version_aliases": [f"release-{job}"],
            "sync_status": "done" if done else "in_progress",
        },
    }


def deployment(collection: int, job: int, done: bool) -> dict[str, object]:
    return {
        "id": job_name(collection, job),
        "model": f"orgs/bench/models/arch-{collection - ARCHITECTURES}/versions/{job}",
        "created": _CREATED + job,
        "state": "complete" if done else "in_progress",
    }


def endpoint(collection: int, deployments: list[dict[str, object]]) -> dict[str, object]:
    return {
        "name": f"endpoint-{collection}",
        "model_arch_id": f"arch-{collection - ARCHITECTURES}",
        "deployed_models": deployments,
        "created": _CREATED,
        "updated": _CREATED,
        "managing_org_name": "bench",
    }


def answer(world: World, target: str, body: bytes) -> tuple[int, bytes]:
    """Answer what the services answer. The paths are those that the providers ask for."""
    match urlsplit(target).path.strip("/").split("/"):
        case ["management", "v1", "orgs", _, "models", arch, "versions"]:
            return 200, world.collection(int(arch.removeprefix("arch-")))
        case ["management", "v1", "orgs", _, "models", arch, "versions", "0"] if arch == WARM_UP:
            return 200, b'{"name": "orgs/bench/models/warm-up/versions/0", "done": true}'
        case ["management", "v1", "orgs", _, "models", arch, "versions", job]:
            done = world.is_done(job)
            return 200, json.dumps(version(int(arch.removeprefix("arch-")), int(job), done)).encode()
        case ["management", "v1", "endpoints", name]:
            return 200, world.collection(int(name.removeprefix("endpoint-")))
        case ["jobs", job]:
            return (200, b"{}") if world.is_done(job) else (404, b"{}")
        case ["api", "v2", "accounts", _, "runs", run]:
            return 200, json.dumps({"data": {"id": 1, "status": 10 if world.is_done(_job(run)) else 3}}).encode()
        case ["api", _, "jobs", "runs", "get"]:
            run = _job(str(json.loads(body)["run_id"]))
            state = (
                {"life_cycle_state": "TERMINATED", "result_state": "SUCCESS", "state_message": ""}
                if world.is_done(run)
                else {"life_cycle_state": "RUNNING", "result_state": "", "state_message": "In run"}
            )
            return 200, json.dumps({"run_id": 1, "state": state, "tasks": []}).encode()
        case ["v1", "batches", batch]:
            batch_fields = {
                "id": batch,
                "object": "batch",
                "endpoint": "/v1/chat/completions",
                "input_file_id": "file-1",
                "completion_window": "24h",
                "created_at": _CREATED,
                "status": "completed" if world.is_done(batch.removeprefix("batch-")) else "in_progress",
            }
            return 200, json.dumps(batch_fields).encode()
    return 500, b'{"detail": "no such call"}'


def _job(run: str) -> str:
    # Some services take numbers only, and none takes 0.
    return WARM_UP if run == "999999999" else str(int(run) - 1)


class Connection(asyncio.Protocol):
    """One connection; requests come one after another on it."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._world.connections += 1

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            head = self._received[:end]
            end += 4
            marker = head.lower().find(b"content-length:")
            if marker >= 0:
                end += int(head[marker + 15 :].split(b"\r\n", 1)[0])
                if len(self._received) < end:
                    return
            body = self._received[len(head) + 4 : end]
            self._received = self._received[end:]
            self._answer(head.split(b" ", 2)[1].decode(), body)

    def _answer(self, target: str, body: bytes) -> None:
        world = self._world
        if target == "/_begin":
            world.begin()
            status, content = 200, json.dumps(world.start).encode()
        elif target == "/_end":
            counts = {"requests": world.requests, "connections": world.connections - 1}
            status, content = 200, json.dumps({**counts, "server_cpu": time.process_time() - world.cpu}).encode()
        else:
            world.requests += 1
            status, content = answer(world, target, body)
        self._transport.write(
            b"HTTP/1.1 %d -\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (status, len(content))
            + content
        )


async def open_world(query: dict[str, list[str]], tls: ssl.SSLContext | None) -> dict[str, int]:
    """Open the listeners of a scenario; they stay open until the server ends."""
    world = World(int(query["jobs"][0]), float(query["duration"][0]), float(query["phase"][0]))
    loop = asyncio.get_running_loop()
    ports = {}
    for scheme, context in [("http", None), *([("https", tls)] if tls else [])]:
        listener = await loop.create_server(
            partial(Connection, world), "127.0.0.1", 0, backlog=_BACKLOG, ssl=context, start_serving=True
        )
        ports[scheme] = listener.sockets[0].getsockname()[1]
        _listeners.append(listener)
    return ports


_listeners: list[asyncio.Server] = []


async def serve(certificate: str | None) -> None:
    tls = None
    if certificate:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate)

    async def control(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = (await reader.readuntil(b"\r\n\r\n")).split(b" ", 2)[1].decode()
        ports = json.dumps(await open_world(parse_qs(urlsplit(request).query), tls)).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(ports) + ports)
        await writer.drain()
        writer.close()

    listener = await asyncio.start_server(control, "127.0.0.1", 0)
    print(listener.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    listener.close()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(serve(sys.argv[1] if len(sys.argv) > 1 else None))
