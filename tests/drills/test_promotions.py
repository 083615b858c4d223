"""Eight processes promote an alias each onto one version, again and again: nothing is lost. It needs no Airflow."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from airflow_provider_cerebras.emulator.control.client import EmulatorClient
from airflow_provider_cerebras.emulator.server import EmulatorServer
from airflow_provider_cerebras.emulator.settings import Settings
from tests.drills.report import RESULTS, ROOT

PROCESSES, ROUNDS, DELAY = 8, 50, 0.1
SERVICES = 5
"""Most of a round is pauses, so these go on side by side, each with its part of the rounds."""
PROMOTERS = ROOT / "tests" / "unit" / "durable" / "promoters.py"
ALIASES = {f"alias-{number}" for number in range(1, PROCESSES + 1)}


def test_nothing_is_lost_in_fifty_rounds_of_promotions_by_eight_processes() -> None:
    """Each write takes a while, so that others have read the list before it is there."""
    began = time.monotonic()
    with ThreadPoolExecutor(SERVICES) as threads:
        writes = sum(threads.map(race, [ROUNDS // SERVICES] * SERVICES))
    # They did meet: many had to put in again what another one had overwritten.
    needed = 2 * PROCESSES * ROUNDS
    assert writes > needed
    RESULTS.mkdir(exist_ok=True)
    figures = {"processes": PROCESSES, "rounds": ROUNDS, "delay": DELAY, "needed": needed, "writes": writes}
    (RESULTS / "promotions.json").write_text(json.dumps({**figures, "seconds": round(time.monotonic() - began)}))


def race(rounds: int) -> int:
    """Go through some rounds on one service, and return how many lists of aliases were written."""
    settings = Settings(port=0, sync_seconds=0)
    with EmulatorServer(settings) as server, EmulatorClient(server.base_url, settings) as emulator:
        emulator.upload("s3://weights/1", *sorted(ALIASES), "audited")
        for number in range(2, rounds + 2):
            emulator.upload(f"s3://weights/{number}", f"golden-{number}")
        emulator.add_fault("update_model_version_aliases", delay=DELAY, times=None)
        arguments = [server.base_url, settings.management_key, settings.org, str(PROCESSES), str(rounds)]
        finished = subprocess.run(
            [sys.executable, PROMOTERS, *arguments], check=False, capture_output=True, text=True, cwd=ROOT
        )
        held = [set(version.aliases) for version in emulator.versions().values()]
        writes = len(emulator.requests("update_model_version_aliases"))
    assert finished.returncode == 0, finished.stderr
    # A round begins when all processes are through the one before: an alias that was lost could not be moved on.
    assert held[0] == {"audited"}
    assert held[1:-1] == [{f"golden-{number}"} for number in range(2, rounds + 1)]
    assert held[-1] == {f"golden-{rounds + 1}", *ALIASES}
    return writes
