"""The emulator, which judges weights by code of its own, and the check agree about what can certainly not be served."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest

from airflow_provider_cerebras.emulator.service.s3_weights import S3WeightReader
from airflow_provider_cerebras.emulator.service.weights import WeightsError
from airflow_provider_cerebras.weights.examine import examine
from airflow_provider_cerebras.weights.findings import Level
from tests.s3 import put
from tests.unit.weights.damages import DAMAGES, INDEX
from tests.unit.weights.layouts import LAYOUTS, describe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_s3 import S3Client

    from tests.unit.weights.damages import Damage
    from tests.unit.weights.layouts import Files

ONLY_EMULATOR = {
    "a_dtype_is_not_known": "It cannot tell how many bytes it takes; the check warns, since the service may know it.",
    "there_is_an_adapter_only": "It serves whole models; the check warns, since a contract may allow adapters.",
}
"""Damages that only the emulator refuses, and why."""
ONLY_CHECK: dict[str, str] = {}
"""What only the check refuses, by the code of the finding, and why the emulator does not."""


@pytest.fixture
def witness(s3_url: str, s3: S3Client, monkeypatch: pytest.MonkeyPatch) -> S3WeightReader:
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
        monkeypatch.setenv(f"AWS_{name}", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    return S3WeightReader(s3_url)


def refusal(witness: S3WeightReader, weight_uri: str, arch: str | None) -> str | None:
    """Why the emulator does not serve weights; None: it does."""
    try:
        witness(weight_uri, arch).result(timeout=60)
    except WeightsError as error:
        return str(error)
    return None


def errors(files: Files, arch: str) -> set[str]:
    """Codes of what the check refuses."""
    return {each.code for each in examine(describe(files), arch)[1] if each.level is Level.ERROR}


def damaged(damage: Damage) -> Iterator[tuple[str, Files]]:
    """The first and the last layout in which there is something to damage, and all without an index, damaged."""
    found, without_index = [], []
    for seed, (arch, make) in enumerate(LAYOUTS.values()):
        files = make()
        has_index = INDEX in files
        if damage(files, Random(seed)) is not None:
            found.append((arch, files))
            without_index += [] if has_index else [(arch, files)]
    assert found, "it damages no layout"
    yield from (found[0], *without_index, found[-1])


def test_what_passes_the_check_is_served(witness: S3WeightReader, s3: S3Client) -> None:
    refused = {}
    for name, (arch, make) in LAYOUTS.items():
        uri = put(s3, "models", name, make())
        refused[name] = refusal(witness, uri, arch)
    assert refused == dict.fromkeys(LAYOUTS)


def test_what_the_emulator_refuses_the_check_refuses_and_the_differences_are_known(
    witness: S3WeightReader, s3: S3Client
) -> None:
    only_emulator: dict[str, str] = {}
    only_check: set[str] = set()
    for name, damage in DAMAGES.items():
        for number, (arch, files) in enumerate(damaged(damage)):
            why, codes = refusal(witness, put(s3, "models", f"{name}-{number}", files), arch), errors(files, arch)
            if why is not None and not codes:
                only_emulator[name] = why
            if why is None:
                only_check |= codes
    assert set(only_emulator) == set(ONLY_EMULATOR), only_emulator
    assert sorted(only_check) == sorted(ONLY_CHECK), " ".join(sorted(only_check))


def test_only_the_files_count_if_no_architecture_is_asked_for(witness: S3WeightReader, s3: S3Client) -> None:
    arch, files = next(damaged(DAMAGES["the_weights_are_of_another_architecture"]))
    uri = put(s3, "models", "other", files)
    assert refusal(witness, uri, None) is None
    assert "which is not " in (refusal(witness, uri, arch) or "")
