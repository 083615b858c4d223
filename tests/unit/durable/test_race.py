"""The real thing: processes and sockets, all at once."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_cerebras.emulator.control.client import EmulatorClient

PROCESSES, ROUNDS = 8, 20
RACERS = Path(__file__).with_name("racers.py")
PROMOTERS = Path(__file__).with_name("promoters.py")


def test_eight_processes_at_the_same_instant_make_one_version(emulator: EmulatorClient) -> None:
    """Twenty times, each a generation of one task run that takes the aliases over from the one before."""
    arguments = [emulator.base_url, emulator.settings.management_key, emulator.org, str(PROCESSES), str(ROUNDS)]
    finished = subprocess.run([sys.executable, RACERS, *arguments], capture_output=True, text=True)

    assert finished.returncode == 0, finished.stderr
    ended = [json.loads(line) for line in finished.stdout.splitlines()]
    assert ended == [[str(number) for number in range(1, ROUNDS + 1)]] * PROCESSES

    versions = list(emulator.versions().values())
    assert len(versions) == ROUNDS
    for generation, version in enumerate(versions):
        aliases = version.aliases
        assert f"airflow-{'0123456789' * 4}-{generation}" in aliases
        assert {"latest", "prod"} <= set(aliases) if generation == ROUNDS - 1 else not {"latest", "prod"} & set(aliases)
    # They did meet: in many rounds more than one had found nothing.
    uploads = Counter(request.status for request in emulator.requests("upload_model_version"))
    assert uploads[200] == ROUNDS
    assert uploads[409] > 0


def test_eight_dags_with_the_same_weights_make_one_version(emulator: EmulatorClient) -> None:
    arguments = [emulator.base_url, emulator.settings.management_key, emulator.org, str(PROCESSES), str(ROUNDS)]
    finished = subprocess.run([sys.executable, RACERS, *arguments, "unchanged"], capture_output=True, text=True)

    assert finished.returncode == 0, finished.stderr
    ended = [json.loads(line) for line in finished.stdout.splitlines()]
    assert ended == [[str(number) for number in range(1, ROUNDS + 1)]] * PROCESSES
    uploads = Counter(request.status for request in emulator.requests("upload_model_version"))
    assert uploads[200] == ROUNDS
    assert uploads[409] > 0


def test_eight_processes_promote_eight_aliases_onto_one_version_and_all_hold(emulator: EmulatorClient) -> None:
    """With writes that take a while, so that all have read the list before the first has written it."""
    rounds = 1
    aliases = [f"alias-{number}" for number in range(1, PROCESSES + 1)]
    emulator.upload("s3://weights/1", *aliases, "audited")
    for number in range(2, rounds + 2):
        emulator.upload(f"s3://weights/{number}", f"golden-{number}")
    emulator.add_fault("update_model_version_aliases", delay=0.2, times=10**6)
    arguments = [emulator.base_url, emulator.settings.management_key, emulator.org, str(PROCESSES), str(rounds)]
    finished = subprocess.run([sys.executable, PROMOTERS, *arguments], capture_output=True, text=True)

    assert finished.returncode == 0, finished.stderr
    held = [set(version.aliases) for version in emulator.versions().values()]
    assert held[0] == {"audited"}
    assert held[1:-1] == [{f"golden-{number}"} for number in range(2, rounds + 1)]
    assert held[-1] == {f"golden-{rounds + 1}", *aliases}
    # They did meet: some had to put in again what another one had overwritten.
    assert len(emulator.requests("update_model_version_aliases")) > 2 * PROCESSES * rounds
