"""The cost of checking weights beside the bare requests by boto3: ``python -m tests.benchmarks.weights`` prints it.

Both read from moto's S3 server in a process of its own, in turns, so that a busy moment of the machine hits both.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from statistics import median
from typing import TYPE_CHECKING

from airflow_provider_cerebras.weights import Level
from airflow_provider_cerebras.weights.description import FIRST_BYTES
from airflow_provider_cerebras.weights.examine import examine
from airflow_provider_cerebras.weights.reader import S3Reader
from tests.s3 import aws_connection, empty_bucket, put, s3_service
from tests.unit.weights.layouts import config, from_one, llama_tensors, sharded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mypy_boto3_s3 import S3Client

MARK = 5.0
"""Seconds that a check of 300 shards may take."""
_BUCKET, _FOLDER = "models", "run"
# As many as the reader asks at once: the connections of a client of boto3.
_CONCURRENCY = 10


@dataclass(frozen=True)
class CheckCost:
    """The cost of a check, and of the same number of requests by boto3 alone.

    :param shards: number of weight files.
    :param requests: requests of a check.
    :param seconds: seconds of a check by the clock; the median of the rounds.
    :param cpu: CPU seconds of a check, without the server's.
    :param bare_seconds: seconds of the bare requests.
    :param bare_cpu: CPU seconds of the bare requests.
    """

    shards: int
    requests: int
    seconds: float
    cpu: float
    bare_seconds: float
    bare_cpu: float

    def __str__(self) -> str:
        return (
            f"{self.seconds:.2f} s and {self.requests:,} requests ({self.seconds / self.bare_seconds:.2f} x the bare "
            f"requests by boto3 by the clock, {self.cpu / self.bare_cpu:.2f} x their CPU)"
        )


def serve() -> None:
    """Serve until the standard input ends; print the URL."""
    with s3_service() as url:
        print(url, flush=True)
        sys.stdin.read()


@contextmanager
def running() -> Iterator[str]:
    """Run the server in a process of its own; its URL."""
    command = [sys.executable, "-m", "tests.benchmarks.weights", "--serve"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.communicate()


def measure(shards: int, rounds: int) -> CheckCost:
    """Measure in turns.

    :param shards: number of weight files.
    :param rounds: how often.
    """
    files = {
        **sharded(llama_tensors(shards), shards, from_one(shards)),
        "config.json": config("llama", "LlamaForCausalLM", shards),
    }
    costs: list[tuple[float, float]] = []
    bare: list[tuple[float, float]] = []
    requests = 0
    with running() as url:
        os.environ["AIRFLOW_CONN_AWS_DEFAULT"] = aws_connection(url)
        s3 = empty_bucket(url, _BUCKET)
        uri = put(s3, _BUCKET, _FOLDER, files)
        keys = [f"{_FOLDER}/{name}" for name in files]
        for _ in range(rounds):
            bare.append(_cost(lambda: _read_bare(s3, keys)))
            began = _now()
            requests = _check(uri)
            costs.append(_since(began))
    return CheckCost(
        shards,
        requests,
        median(wall for wall, _ in costs),
        median(cpu for _, cpu in costs),
        median(wall for wall, _ in bare),
        median(cpu for _, cpu in bare),
    )


def _now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _since(began: tuple[float, float]) -> tuple[float, float]:
    wall, cpu = _now()
    return wall - began[0], cpu - began[1]


def _cost(act: Callable[[], None]) -> tuple[float, float]:
    began = _now()
    act()
    return _since(began)


def _check(uri: str) -> int:
    reader = S3Reader(uri)
    findings = examine(reader.describe(reader.list_objects()), "llama3.1-8b")[1]
    assert not [each for each in findings if each.level is Level.ERROR]
    return reader.requests


def _read_bare(s3: S3Client, keys: list[str]) -> None:
    def read(key: str) -> bytes:
        return s3.get_object(Bucket=_BUCKET, Key=key, Range=f"bytes=0-{FIRST_BYTES - 1}")["Body"].read()

    s3.list_objects_v2(Bucket=_BUCKET, Prefix=f"{_FOLDER}/")
    with ThreadPoolExecutor(_CONCURRENCY) as threads:
        assert all(threads.map(read, keys))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", action="store_true")
    parser.add_argument("--shards", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if options.serve:
        serve()
    else:
        cost = measure(options.shards, options.rounds)
        print(cost, json.dumps(asdict(cost)))


if __name__ == "__main__":
    main()
