"""Whom the emulator answers, and how it does so beyond its own machine."""

from __future__ import annotations

import ssl
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import httpx
import pytest
from pydantic import ValidationError

from airflow_provider_cerebras.api import operations
from airflow_provider_cerebras.api.client import CerebrasClient, ClientSettings
from airflow_provider_cerebras.api.errors import CerebrasTransportError
from airflow_provider_cerebras.emulator.control.client import EmulatorClient
from airflow_provider_cerebras.emulator.hosts import is_beyond_loopback
from airflow_provider_cerebras.emulator.server import EmulatorServer, connection_to
from airflow_provider_cerebras.emulator.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PATHS = ["/", "/_emulator/health", "/_emulator/requests", "/management/v1/orgs/my-org/models"]


@pytest.fixture(scope="module")
def server() -> Iterator[EmulatorServer]:
    with EmulatorServer(Settings(port=0, server_names="emulator, cerebras.test")) as running:
        yield running


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("host", ["evil.example", "evil.example:8900", "127.0.0.1.evil.example", "localhost.evil", ""])
def test_a_name_that_is_not_its_own_is_refused(server: EmulatorServer, host: str, path: str) -> None:
    refusal = httpx.get(f"{server.base_url}{path}", headers={"host": host})
    assert refusal.status_code == 421
    assert "--server-names" in refusal.json()["detail"]


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:1", "127.0.0.1:80", "[::1]:8900", "emulator:8900", "cerebras.test"]
)
def test_its_own_names_and_addresses_are_answered(server: EmulatorServer, host: str) -> None:
    assert httpx.get(f"{server.base_url}/_emulator/health", headers={"host": host}).status_code == 200


def test_a_reset_by_another_name_does_nothing(server: EmulatorServer) -> None:
    with EmulatorClient(server.base_url, server.settings) as emulator:
        emulator.upload("s3://my-bucket/weights")
        httpx.post(f"{server.base_url}/_emulator/reset", headers={"host": "evil.example"})
        assert emulator.versions() != {}


@pytest.mark.parametrize(
    ("host", "is_beyond"),
    [("127.0.0.1", False), ("::1", False), ("localhost", False), ("0.0.0.0", True), ("::", True), ("10.0.0.1", True)],
)
def test_what_others_reach_is_beyond_loopback(host: str, is_beyond: bool) -> None:
    assert is_beyond_loopback(host) is is_beyond


@pytest.mark.parametrize(("host", "warns"), [("0.0.0.0", True), ("127.0.0.1", False)])
def test_the_command_warns_when_it_listens_beyond_this_machine(host: str, warns: bool) -> None:
    command = [sys.executable, "-m", "airflow_provider_cerebras.emulator", "--port", "0", "--host", host]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "ready" in process.stdout.readline()
        process.terminate()
        _, errors = process.communicate(timeout=20)
    assert (f"Warning: the emulator listens on {host}, beyond this machine" in errors) is warns


def test_it_serves_https_with_a_certificate_that_it_signs_itself(tmp_path: Path) -> None:
    certificate, key = tmp_path / "emulator.pem", tmp_path / "emulator.key"
    chosen = Settings(port=0, tls_cert=certificate, tls_key=key, tls_self_signed=True, server_names="emulator")
    with EmulatorServer(chosen) as running, EmulatorClient(running.base_url, chosen) as emulator:
        assert running.base_url.startswith("https://127.0.0.1:")
        connection = connection_to(chosen, running.base_url)
        assert connection["extra"]["verify"] == str(certificate)
        call = operations.list_model_architectures("my-org")
        own = ClientSettings(
            management_key=connection["password"],
            base_url=f"{connection['host']}:{connection['port']}",
            verify=connection["extra"]["verify"],
            max_retries=0,
        )
        with CerebrasClient(own) as client:
            assert emulator.arch in client.send(call).model_architectures
        stranger = ClientSettings(management_key="key", base_url=running.base_url, max_retries=0)
        with (
            CerebrasClient(stranger) as client,
            pytest.raises(CerebrasTransportError, match="To trust another"),
        ):
            client.send(call)
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    names = {value for _, value in ssl._ssl._test_decode_cert(str(certificate))["subjectAltName"]}  # type: ignore[attr-defined]
    assert {"localhost", "emulator", "127.0.0.1"} <= names


def test_a_pair_that_is_there_stays(tmp_path: Path) -> None:
    certificate, key = tmp_path / "emulator.pem", tmp_path / "emulator.key"
    chosen = Settings(port=0, tls_cert=certificate, tls_key=key, tls_self_signed=True)
    with EmulatorServer(chosen):
        first = certificate.read_bytes()
    with EmulatorServer(chosen):
        assert certificate.read_bytes() == first


@pytest.mark.parametrize("given", [{"tls_cert": "a"}, {"tls_key": "a"}, {"tls_self_signed": True}])
def test_half_a_pair_is_refused(given: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match="tls_cert and tls_key go together"):
        Settings.model_validate(given)
