"""Processes that each promote an alias of their own onto one version at the same time; run by ``test_race.py``.

Usage: ``python promoters.py <base URL> <key> <organization> <processes> <rounds>``. In each round the version is the
next one, whose number is that of the round; every alias is on version 1 in the first round, and then moves on.
"""

from __future__ import annotations

import logging
import multiprocessing
import sys
from typing import TYPE_CHECKING

from airflow_provider_cerebras.api.client import CerebrasClient, ClientSettings
from airflow_provider_cerebras.durable.aliases import promote

if TYPE_CHECKING:
    from multiprocessing.synchronize import Barrier


def race(barrier: Barrier, number: int, url: str, key: str, org_name: str, rounds: int) -> None:
    """Promote once in each round."""
    logging.disable()
    try:
        with CerebrasClient(ClientSettings(management_key=key, base_url=url)) as client:
            for version in range(2, rounds + 2):
                barrier.wait()
                promoted = f"orgs/{org_name}/models/gpt-oss-120b/versions/{version}"
                promote(client, promoted, f"alias-{number}", log=logging.getLogger())
    except BaseException:
        barrier.abort()  # or the others would wait for ever
        raise


def main(url: str, key: str, org_name: str, processes: int, rounds: int) -> int:
    """Let the processes race, and give the exit code."""
    # Forked before anything has a thread or a connection, so that none of them has to import all this again.
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(processes)
    racers = [
        context.Process(target=race, args=(barrier, number, url, key, org_name, rounds))
        for number in range(1, processes + 1)
    ]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    return sum(racer.exitcode != 0 for racer in racers)


if __name__ == "__main__":
    _, url, key, org_name, processes, rounds = sys.argv
    sys.exit(main(url, key, org_name, int(processes), int(rounds)))
