"""Eight processes that upload the same thing at the same instant, round after round; run by ``test_race.py``.

Usage: ``python racers.py <base URL> <key> <organization> <processes> <rounds> [unchanged]``. With ``unchanged``, each
process is a DAG of its own that uploads the same weights, which are other ones in each round. Writes one line of JSON
for each process: the numbers of the versions that it ended with.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import sys
from typing import TYPE_CHECKING

from airflow_provider_cerebras.api.client import CerebrasClient, ClientSettings
from airflow_provider_cerebras.durable.identity import Identity, weights_alias
from airflow_provider_cerebras.durable.task_state import TaskState
from airflow_provider_cerebras.durable.upload_steps import UploadRequest
from airflow_provider_cerebras.durable.uploads import Upload

if TYPE_CHECKING:
    from multiprocessing.synchronize import Barrier


def race(barrier: Barrier, number: int, url: str, key: str, org_name: str, rounds: int, unchanged: bool) -> list[str]:
    """Upload once in each round; a round is the next generation of one task run, as if it had been cleared."""
    names = []
    for generation in range(rounds):
        request = UploadRequest(
            org_name=org_name,
            model_arch_id="gpt-oss-120b",
            weight_uri="s3://weights/run-1",
            version_aliases=("latest", "prod"),
            identity=Identity(base="0123456789" * 4, generation=generation, attempt=number),
            claims=True,
        )
        if unchanged:
            request = request._replace(
                version_aliases=(),
                identity=Identity(base=f"{number:040x}", generation=generation, attempt=1),
                weights_alias=weights_alias(f"{generation:064x}", None),
                claims=False,
            )
        task_state = TaskState({}, key="cerebras_upload", fingerprint="")
        with CerebrasClient(ClientSettings(management_key=key, base_url=url)) as client:
            upload = Upload(client, request, task_state=task_state, log=logging.getLogger(), sleep=lambda seconds: None)
            barrier.wait()
            names.append(upload.run().name)
        # No process begins the next round before all have ended this one.
        barrier.wait()
    return names


def main(url: str, key: str, org_name: str, processes: int, rounds: int, unchanged: bool) -> int:
    """Let the processes race, and give the exit code."""
    # Forked before anything has a thread or a connection, so that none of them has to import all this again.
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(processes)
    racers = [
        context.Process(target=report, args=(barrier, number, url, key, org_name, rounds, unchanged))
        for number in range(1, processes + 1)
    ]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    return sum(racer.exitcode != 0 for racer in racers)


def report(barrier: Barrier, number: int, url: str, key: str, org_name: str, rounds: int, unchanged: bool) -> None:
    try:
        names = race(barrier, number, url, key, org_name, rounds, unchanged)
    except BaseException:
        barrier.abort()  # or the others would wait for ever
        raise
    # One write of less than a pipe's atomic size for each line.
    os.write(sys.stdout.fileno(), json.dumps([name.rpartition("/")[2] for name in names]).encode() + b"\n")


if __name__ == "__main__":
    logging.disable()  # Airflow logs to the standard output
    _, url, key, org_name, processes, rounds, *more = sys.argv
    sys.exit(main(url, key, org_name, int(processes), int(rounds), more == ["unchanged"]))
