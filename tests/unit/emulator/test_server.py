from __future__ import annotations

import asyncio
import json
import shlex
import socket
from typing import TYPE_CHECKING

import httpx
import pytest

from airflow_provider_cerebras.emulator.server import EmulatorServer, airflow_connection, listen
from airflow_provider_cerebras.emulator.service.store import StateError
from airflow_provider_cerebras.emulator.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path


def test_a_server_answers_while_it_is_in_its_context() -> None:
    with EmulatorServer() as server:
        assert httpx.get(f"{server.base_url}/_emulator/health").status_code == 200
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{server.base_url}/_emulator/health")


def test_two_servers_live_side_by_side() -> None:
    with EmulatorServer() as one, EmulatorServer() as other:
        assert one.base_url != other.base_url
        assert httpx.get(f"{other.base_url}/_emulator/health").status_code == 200


def test_a_server_has_the_clock_that_it_is_given() -> None:
    with EmulatorServer(clock=lambda: 1234.5) as server:
        assert httpx.get(f"{server.base_url}/_emulator/state").json()["now"] == 1234.5


def test_a_port_that_is_taken_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        EmulatorServer(Settings(port=taken.getsockname()[1]))


def test_answers_are_not_held_back_to_be_joined() -> None:
    with listen(Settings(port=0)) as listener, socket.create_connection(listener.getsockname()):
        connection, _ = listener.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_a_server_stops_although_a_request_is_held() -> None:
    server = EmulatorServer().start()
    async with httpx.AsyncClient(base_url=server.base_url, timeout=60) as client:
        await client.post("/_emulator/faults", json={"operation": "*", "hold": True})
        held = asyncio.create_task(client.get("/management/v1/orgs/my-org/models"))
        await client.get("/_emulator/requests", params={"stage": "held", "wait": 60})
        await asyncio.to_thread(server.stop)
        assert (await held).status_code == 401


async def test_a_server_stops_although_another_client_waits_for_requests() -> None:
    server = EmulatorServer().start()
    async with httpx.AsyncClient(base_url=server.base_url, timeout=60) as client:
        await client.post("/_emulator/faults", json={"operation": "*", "hold": True})
        waiting = asyncio.create_task(
            client.get("/_emulator/requests", params={"operation": "get_endpoint", "wait": 600})
        )
        held = asyncio.create_task(client.get("/management/v1/orgs/my-org/models"))
        # A request that came after it is held, so the one that waits has come in.
        await client.get("/_emulator/requests", params={"stage": "held", "wait": 60})
        await asyncio.to_thread(server.stop)
        assert (await waiting).json() == {"requests": []}
        assert (await held).status_code == 401


def test_a_server_lets_go_of_its_state_file(tmp_path: Path) -> None:
    settings = Settings(port=0, state=tmp_path / "state.db")
    for _ in range(2):
        with EmulatorServer(settings):
            assert [each.name for each in tmp_path.iterdir()] != ["state.db"]
        assert [each.name for each in tmp_path.iterdir()] == ["state.db"]


def test_a_server_that_cannot_have_its_state_file_lets_go_of_the_port(tmp_path: Path) -> None:
    with EmulatorServer(Settings(port=0, state=tmp_path / "state.db")), socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
        free.close()
        with pytest.raises(StateError, match="in use by another emulator"):
            EmulatorServer(Settings(port=port, state=tmp_path / "state.db"))
        socket.create_server(("127.0.0.1", port)).close()


@pytest.mark.parametrize(
    ("host", "url"), [("127.0.0.1", "http://127.0.0.1:"), ("0.0.0.0", "http://127.0.0.1:"), ("::1", "http://[::1]:")]
)
def test_the_base_url_is_one_that_a_client_on_this_machine_can_use(host: str, url: str) -> None:
    if ":" in host and not socket.has_ipv6:
        pytest.skip("no IPv6")
    with EmulatorServer(Settings(host=host, port=0)) as server:
        assert server.base_url.startswith(url)
        assert httpx.get(f"{server.base_url}/_emulator/health").status_code == 200


def test_the_airflow_connection_is_a_command_for_a_shell() -> None:
    settings = Settings(management_key="it's", inference_key='"quoted"')
    command, assignment = shlex.split(airflow_connection(settings, "http://127.0.0.1:8900"))
    assert command == "export"
    name, _, value = assignment.partition("=")
    assert name == "AIRFLOW_CONN_CEREBRAS_DEFAULT"
    assert json.loads(value) == {
        "conn_type": "cerebras",
        "host": "http://127.0.0.1",
        "port": 8900,
        "password": "it's",
        "extra": {"org_name": "my-org", "inference_api_key": '"quoted"'},
    }
