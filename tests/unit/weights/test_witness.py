"""The emulator, which judges weights by code of its own, and the check agree about what can certainly not be served."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from airflow_provider_cerebras.emulator.service.s3_weights import S3WeightReader
from airflow_provider_cerebras.emulator.service.weights import WeightsError
from airflow_provider_cerebras.weights.examine import examine
from airflow_provider_cerebras.weights.findings import Level
from tests.s3 import empty_folder, put
from tests.unit.weights.damages import DAMAGES, HARMLESS, INDEX
from tests.unit.weights.layouts import LAYOUTS, describe, layouts

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
ONLY_CHECK = {
    "the_output_has_another_hidden_size": "It compares the size of the embedding only.",
    "an_index_of_another_name_lacks_a_tensor": "It reads the index of the usual name only.",
}
"""Damages that only the check refuses, and why the emulator does not."""


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
    only_check: dict[str, set[str]] = {}
    for name, damage in DAMAGES.items():
        for number, (arch, files) in enumerate(damaged(damage)):
            why, codes = refusal(witness, put(s3, "models", f"{name}-{number}", files), arch), errors(files, arch)
            if why is not None and not codes:
                only_emulator[name] = why
            if why is None and codes:
                only_check[name] = codes
    assert set(only_emulator) == set(ONLY_EMULATOR), only_emulator
    assert set(only_check) == set(ONLY_CHECK), only_check


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    layout=layouts(),
    name=st.sampled_from(["", *HARMLESS, *sorted(DAMAGES.keys() - ONLY_EMULATOR.keys() - ONLY_CHECK.keys())]),
    random=st.randoms(use_true_random=False),
)
def test_they_agree_on_generated_layouts(
    witness: S3WeightReader, s3: S3Client, layout: tuple[str, Files], name: str, random: Random
) -> None:
    arch, files = layout
    if name in DAMAGES:
        assume(DAMAGES[name](files, random) is not None)
    elif name:
        HARMLESS[name](files, random)
    empty_folder(s3, "models", "run")
    why, codes = refusal(witness, put(s3, "models", "run", files), arch), errors(files, arch)
    assert (why is None) == (not codes), (why, codes)
    assert why is None or name in DAMAGES


@pytest.mark.parametrize("name", HARMLESS)
def test_what_is_unusual_and_harms_nothing_passes_both(witness: S3WeightReader, s3: S3Client, name: str) -> None:
    found = {}
    for seed, (layout, (arch, make)) in enumerate(LAYOUTS.items()):
        files = make()
        HARMLESS[name](files, Random(seed))
        uri = put(s3, "models", layout, files)
        found[layout] = (refusal(witness, uri, arch), errors(files, arch))
    assert found == dict.fromkeys(LAYOUTS, (None, set()))


def test_only_the_files_count_if_no_architecture_is_asked_for(witness: S3WeightReader, s3: S3Client) -> None:
    arch, files = next(damaged(DAMAGES["the_weights_are_of_another_architecture"]))
    uri = put(s3, "models", "other", files)
    assert refusal(witness, uri, None) is None
    assert "which is not " in (refusal(witness, uri, arch) or "")
