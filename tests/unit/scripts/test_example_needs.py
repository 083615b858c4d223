"""What `make standalone` has ready: all that the example DAGs name, in a real S3 service and a real emulator."""

from __future__ import annotations

import re
from datetime import date
from typing import TYPE_CHECKING

import demo
from example_needs import SEEDED, prepare_service, put_weights, read_needs
from local_stack import AWS, BUCKET, DAGS, LocalStack

from airflow_provider_cerebras.emulator.control.client import EmulatorClient
from airflow_provider_cerebras.emulator.server import EmulatorServer
from airflow_provider_cerebras.emulator.service.s3_weights import S3WeightReader
from airflow_provider_cerebras.emulator.settings import Settings
from tests.s3 import s3_service

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

NEEDS = read_needs(DAGS, BUCKET, date(2026, 3, 4))


def test_what_the_examples_name_is_found() -> None:
    text = "\n".join(file.read_text(encoding="utf-8") for file in DAGS.glob("*.py"))
    assert "my-org-gpt-oss-120b-eu" in NEEDS.endpoints
    assert {"fine-tunes/2026-02-25", "fine-tunes/2026-03-04", "fine-tunes/2026-03-11"} <= NEEDS.folders
    assert not [folder for folder in NEEDS.folders if "{{" in folder and "ds" in folder]
    assert "latest" in NEEDS.aliases
    assert len(re.findall(r"\bpool=", text)) == 0 or NEEDS.pools


def test_the_service_can_sync_from_each_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in AWS.items():
        monkeypatch.setenv(name, value)
    with s3_service() as s3_url:
        put_weights(s3_url, BUCKET, NEEDS.folders | {SEEDED})
        settings = Settings(port=0)
        with EmulatorServer(settings) as server, EmulatorClient(server.base_url, settings) as emulator:
            prepare_service(server.base_url, BUCKET, NEEDS)
            assert emulator.endpoints().keys() >= NEEDS.endpoints
            [version] = emulator.versions().values()
            assert (version.weight_uri, frozenset(version.aliases)) == (f"s3://{BUCKET}/{SEEDED}", NEEDS.aliases)
        reader = S3WeightReader(s3_url)
        digests = {reader(f"s3://{BUCKET}/{folder}", "gpt-oss-120b").result(60) for folder in NEEDS.folders | {SEEDED}}
        assert len(digests) == len(NEEDS.folders | {SEEDED})


def test_the_pages_that_are_printed_lead_somewhere(tmp_path: Path) -> None:
    stack = LocalStack(tmp_path / "home", to_look_around=True)
    shown = dict(demo.pages(stack, tmp_path))
    with EmulatorServer() as server, EmulatorClient(server.base_url) as emulator:
        page = shown["Cerebras emulator"].replace(stack.emulator_url, server.base_url)
        assert emulator._http.get(page).headers["content-type"].startswith("text/html")


def test_what_is_tried_in_the_ui_starts_dags_and_tests_connections(tmp_path: Path) -> None:
    stack = LocalStack(tmp_path / "home", to_look_around=True)
    assert stack._environment["AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE"] == "True"
    assert stack._environment["AIRFLOW__CORE__TEST_CONNECTION"] == "Enabled"
    connection = stack._to_add["cerebras_default"]
    assert (connection["host"], f"http://127.0.0.1:{connection['port']}") == ("http://127.0.0.1", stack.emulator_url)
