"""Runs scenarios: one server for all of them, each in a process of its own, everything bounded in time."""

from __future__ import annotations

import http.client
import ipaddress
import json
import os
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.benchmarks.waiters import Figures, Specification

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).parents[2]
_GRACE = 90.0
"""Seconds for a process beyond its waiting, for imports and for its end."""


@dataclass(frozen=True)
class Scale:
    """How long things take.

    :param interval: seconds between two polls.
    :param duration: the last job is done this many seconds after the start, and the phase.
    :param limit: seconds after the start when those who still wait are given up.
    :param phase: seconds by which the end of each job is put off, the same for everybody. Without it, jobs may end on
        a multiple of the interval, which flatters those who poll at a fixed one.
    """

    interval: float
    duration: float
    limit: float
    phase: float = 0.0


class Scenario(NamedTuple):
    """What a process runs.

    :param who: who waits; a key of ``CONTENDERS``.
    :param waiters: how many.
    :param profile: whether to measure where the CPU goes instead of how much there is.
    """

    who: str
    waiters: int
    profile: bool = False


class Harness:
    """The server, and what processes need to know to use it.

    :param control: port of the server's control listener.
    :param environment: of the waiters' processes.
    """

    def __init__(self, control: int, environment: dict[str, str]) -> None:
        self._control = control
        self.environment = environment

    def run(self, scenarios: Sequence[Scenario], scale: Scale) -> list[Figures]:
        """Run scenarios, all at the same time.

        :param scenarios: what to run.
        :param scale: how long.
        """
        processes = []
        for scenario in scenarios:
            ports = self._open(scenario.waiters, scale)
            specification = Specification(**scenario._asdict(), **asdict(scale), ports=ports)
            processes.append(
                subprocess.Popen(
                    [
                        sys.executable,
                        "-W",
                        "ignore",
                        "-m",
                        "tests.benchmarks.waiters",
                        json.dumps(asdict(specification)),
                    ],
                    cwd=ROOT,
                    env=self.environment,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
        figures = []
        try:
            for (who, waiters, _), process in zip(scenarios, processes, strict=True):
                output, errors = process.communicate(timeout=scale.limit + _GRACE)
                if process.returncode:
                    raise RuntimeError(f"{who} with {waiters} waiters: {errors[-2000:]}")
                figures.append(Figures(**json.loads(output.splitlines()[-1])))
                if figures[-1].events < waiters:
                    print(
                        f"{who} with {waiters} waiters: {figures[-1].events} events. {errors[-500:]}", file=sys.stderr
                    )
        finally:
            for process in processes:
                if process.poll() is None:
                    process.kill()
                    process.wait()
        return figures

    def _open(self, jobs: int, scale: Scale) -> dict[str, int]:
        connection = http.client.HTTPConnection("127.0.0.1", self._control, timeout=30)
        connection.request("GET", f"/?jobs={jobs}&duration={scale.duration}&phase={scale.phase}")
        ports: dict[str, int] = json.loads(connection.getresponse().read())
        connection.close()
        return ports


@contextmanager
def harness() -> Iterator[Harness]:
    """Start the server, and end it."""
    with tempfile.TemporaryDirectory() as folder:
        certificate = Path(folder, "certificate.pem")
        certificate.write_bytes(self_signed())
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")},
            "AIRFLOW_HOME": folder,
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
            # For those who speak https only.
            "SSL_CERT_FILE": str(certificate),
            "NO_PROXY": "127.0.0.1",
            "PYTHONPATH": str(ROOT),
        }
        server = subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.server", str(certificate)],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert server.stdin
        assert server.stdout
        try:
            yield Harness(int(server.stdout.readline()), environment)
        finally:
            server.stdin.close()
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()
            server.stdout.close()


def self_signed() -> bytes:
    """Make a key and a certificate for 127.0.0.1."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "benchmark")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ) + certificate.public_bytes(serialization.Encoding.PEM)
