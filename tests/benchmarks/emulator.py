"""How much the emulator stands: ``python -m tests.benchmarks.emulator`` measures it and writes the table in the docs.

Load and emulator are processes of their own on one machine, over loopback, for some seconds each.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import httpx
import psutil

from airflow_provider_cerebras.emulator.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks" / "emulator.md"
SETTINGS = Settings()
ARCH = "gpt-oss-120b"
VERSIONS = f"/management/v1/orgs/{SETTINGS.org}/models/{ARCH}/versions"
UPLOAD = f"/management/v1/orgs/{SETTINGS.org}/models:upload"
ENDPOINT = f"/management/v1/endpoints/{SETTINGS.org}-{ARCH}"
CONNECTIONS = 8
HEADERS = {"Authorization": f"Bearer {SETTINGS.management_key}"}


class Figure(NamedTuple):
    """What was measured, what it came to, and what of the emulator's CPU it took, in words."""

    what: str
    measured: str
    cpu: str


class Emulator(NamedTuple):
    """An emulator in a process of its own."""

    url: str
    process: psutil.Process

    def cpu(self) -> float:
        """CPU seconds of its process up to now."""
        times = self.process.cpu_times()
        return times.user + times.system


@contextmanager
def running(*options: str) -> Iterator[Emulator]:
    """An emulator while it runs."""
    command = [
        sys.executable,
        "-m",
        "airflow_provider_cerebras.emulator",
        "--port",
        "0",
        "--sync-seconds",
        "0",
        *options,
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            assert process.stdout is not None
            yield Emulator(process.stdout.readline().split()[-1], psutil.Process(process.pid))
        finally:
            os.killpg(process.pid, signal.SIGTERM)


def upload(emulator: Emulator, numbers: range) -> tuple[str, str]:
    """Upload versions one after the other, each with an alias; uploads in a second, and their CPU."""
    with httpx.Client(base_url=emulator.url, headers=HEADERS, timeout=60) as client:
        begun, cpu = time.perf_counter(), emulator.cpu()
        for number in numbers:
            model = {"weight_uri": f"s3://weights/{number}", "version_aliases": [f"run-{number}"]}
            client.post(UPLOAD, json={"model_arch_id": ARCH, "model": model}).raise_for_status()
        seconds = time.perf_counter() - begun
    return f"{len(numbers) / seconds:,.0f} a second", _each(emulator.cpu() - cpu, len(numbers))


def listing(emulator: Emulator, repetitions: int) -> tuple[str, str]:
    """The median of the seconds that a list of all versions takes, and its CPU."""
    with httpx.Client(base_url=emulator.url, headers=HEADERS, timeout=60) as client:
        seconds, cpu = [], emulator.cpu()
        for _ in range(repetitions):
            begun = time.perf_counter()
            client.get(VERSIONS).raise_for_status()
            seconds.append(time.perf_counter() - begun)
    return f"{statistics.median(seconds):.2f} s", _each(emulator.cpu() - cpu, repetitions)


async def rate(emulator: Emulator, path: str, seconds: float) -> tuple[str, str]:
    """Answers in a second to a GET, on connections that are kept, with one request at a time each, and their CPU."""
    address = httpx.URL(emulator.url)
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: {HEADERS['Authorization']}\r\n\r\n".encode()
    begun, cpu = time.perf_counter(), emulator.cpu()

    async def ask() -> int:
        reader, writer = await asyncio.open_connection(address.host, address.port)
        answers = 0
        while time.perf_counter() - begun < seconds:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200 "):
                raise RuntimeError(head.decode())
            length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            await reader.readexactly(int(length))
            answers += 1
        writer.close()
        return answers

    answers = sum(await asyncio.gather(*(ask() for _ in range(CONNECTIONS))))
    measured = answers / (time.perf_counter() - begun)
    return f"{measured:,.0f} a second", _each(emulator.cpu() - cpu, answers)


def measure(versions: int, seconds: float) -> list[Figure]:
    """All figures.

    :param versions: how many to have for the listing.
    :param seconds: how long each load lasts.
    """
    with running() as emulator:
        upload(emulator, range(1))
        few = asyncio.run(rate(emulator, f"{VERSIONS}/run-0", seconds))
        endpoint = asyncio.run(rate(emulator, ENDPOINT, seconds))
        forgotten = upload(emulator, range(1, versions))
        many = asyncio.run(rate(emulator, f"{VERSIONS}/run-{versions - 1}", seconds))
        listed = listing(emulator, 5)
    with tempfile.TemporaryDirectory() as folder, running("--state", f"{folder}/state.db") as emulator:
        kept = upload(emulator, range(max(1, versions // 10)))
    return [
        Figure("status of a version by its alias, the only one there is", *few),
        Figure(f"the same among {versions:,} versions", *many),
        Figure("status of an endpoint", *endpoint),
        Figure(f"list of {versions:,} versions", *listed),
        Figure("uploads, one after the other by one client", *forgotten),
        Figure("the same with a state file", *kept),
    ]


def table(figures: list[Figure]) -> str:
    """The figures as Markdown, with what they were measured on."""
    rows = "\n".join(f"| {' | '.join(each)} |" for each in figures)
    return (
        f"| what | measured | CPU of the emulator for each |\n|---|---|---|\n{rows}\n\n"
        f"One process of the emulator, the load beside it in another; status on {CONNECTIONS} connections. "
        f"{_processor()}, {os.cpu_count()} cores, Python {platform.python_version()}; load average "
        f"{os.getloadavg()[0]:.1f} at the end (what is measured by the clock depends on it, CPU hardly), niceness "
        f"{os.nice(0)}.\n"
    )


def _each(cpu: float, count: int) -> str:
    return f"{cpu / count * 1000:.2f} ms"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--versions", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--out", type=Path, default=PAGE)
    options = parser.parse_args()
    text = table(measure(options.versions, options.seconds))
    options.out.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
