"""The cost of checking weights beside the bare requests by boto3: ``python -m tests.benchmarks.weights`` prints it.

Both read from moto's S3 server in a process of its own, in turns, so that a busy moment of the machine hits both.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from statistics import median
from typing import TYPE_CHECKING

from airflow_provider_cerebras.weights import Level
from airflow_provider_cerebras.weights.description import FIRST_BYTES
from airflow_provider_cerebras.weights.examine import examine
from airflow_provider_cerebras.weights.reader import S3Reader
from tests.benchmarks.beside import cost_of, server_of
from tests.s3 import aws_connection, empty_bucket, put, s3_service
from tests.unit.weights.layouts import config, from_one, llama_tensors, sharded

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from tests.benchmarks.beside import Cost

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


def measure(shards: int, rounds: int) -> CheckCost:
    """Measure in turns.

    :param shards: number of weight files.
    :param rounds: how often.
    """
    files = {
        **sharded(llama_tensors(shards), shards, from_one(shards)),
        "config.json": config("llama", "LlamaForCausalLM", shards),
    }
    costs: list[Cost] = []
    bare: list[Cost] = []
    with server_of("tests.benchmarks.weights") as url:
        os.environ["AIRFLOW_CONN_AWS_DEFAULT"] = aws_connection(url)
        s3 = empty_bucket(url, _BUCKET)
        uri = put(s3, _BUCKET, _FOLDER, files)
        keys = [f"{_FOLDER}/{name}" for name in files]
        # The first one imports boto3 and finds nothing in a cache.
        requests = _check(uri)
        for _ in range(rounds):
            bare.append(cost_of(lambda: _read_bare(s3, keys)))
            costs.append(cost_of(lambda: _check(uri)))
    return CheckCost(
        shards,
        requests,
        median(cost.wall for cost in costs),
        median(cost.cpu for cost in costs),
        median(cost.wall for cost in bare),
        median(cost.cpu for cost in bare),
    )


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
