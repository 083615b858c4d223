"""The DAGs that the documentation shows, each run as it stands."""

from __future__ import annotations

import importlib
import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_cerebras.weights import bucket_policy
from tests.s3 import aws_connection, empty_bucket, put, s3_service
from tests.unit.weights.layouts import gpt_oss_20b

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_cerebras.emulator.control.client import EmulatorClient
    from tests.integration.dag_run import DagResult, DagRunner

ROOT = Path(__file__).parents[3]
SNIPPETS = ROOT / "docs" / "snippets"


@pytest.fixture
def quick(start_emulator: Callable[..., EmulatorClient], monkeypatch: pytest.MonkeyPatch) -> EmulatorClient:
    emulator = start_emulator(sync_seconds=0, rollout_seconds=0)
    monkeypatch.setenv("AIRFLOW_CONN_CEREBRAS_DEFAULT", emulator.connection())
    return emulator


@pytest.fixture
def run(run_dag: DagRunner, quick: EmulatorClient) -> Callable[[str], DagResult]:
    """Run the DAG of a snippet, which must succeed."""

    def run(name: str) -> DagResult:
        sys.modules.pop(name, None)
        module: Any = importlib.import_module(name)
        result = run_dag(module.dag)
        assert result.state == "success", result.log
        return result

    return run


def aliases(emulator: EmulatorClient, model_version: str) -> list[str]:
    held: list[str] = emulator.versions()[model_version].aliases
    return [alias for alias in held if not alias.startswith("airflow-")]


def test_first_release(quick: EmulatorClient, run: Callable[[str], DagResult]) -> None:
    result = run("first_release")

    assert quick.serving() == result["wait_for_sync"].xcom == quick.version_name(1)
    assert result["wait_for_rollout"].xcom == result["deploy"].xcom
    assert result["verify"].xcom["chats"] == 1


def test_two_tasks(quick: EmulatorClient, run: Callable[[str], DagResult]) -> None:
    quick.upload("s3://my-bucket/fine-tunes/last-week", "latest")

    run("two_tasks")

    assert quick.serving() == quick.version_name(2)
    assert [alias.rpartition("-")[0] for alias in aliases(quick, quick.version_name(2))] == ["week"]
    assert aliases(quick, quick.version_name(1)) == ["latest"]


def test_verify_and_promote(quick: EmulatorClient, run: Callable[[str], DagResult]) -> None:
    old = quick.upload("s3://my-bucket/fine-tunes/old", "production")
    new = quick.upload("s3://my-bucket/fine-tunes/new", "latest")
    quick.deploy(new)

    result = run("verify_and_promote")

    assert result["verify"].xcom["chats"] == 2
    assert result["verify"].xcom["model_version"] == result["promote"].xcom == new
    assert aliases(quick, new) == ["latest", "production"]
    assert aliases(quick, old) == []


def test_gate_a_release(quick: EmulatorClient, run: Callable[[str], DagResult]) -> None:
    old = quick.upload("s3://my-bucket/fine-tunes/old")
    new = quick.upload("s3://my-bucket/fine-tunes/new", "latest")
    quick.deploy(old)
    quick.advance_clock(1)  # of two of the same second it is not known which serves
    questions = [json.loads(line) for line in (SNIPPETS / "cases.jsonl").read_text().splitlines()]
    right = {each["messages"][0]["content"]: f"It is {each['expected']}." for each in questions}
    quick.set_answers(old, right, default="")
    quick.set_answers(new, right)

    result = run("gate_a_release")

    assert (result["evaluate"].xcom["model_version"], result["evaluate"].xcom["pass_rate"]) == (new, 1.0)
    assert result["evaluate"].xcom["baseline"]["worse"] == 0


def test_change_aliases(quick: EmulatorClient, run: Callable[[str], DagResult]) -> None:
    version = quick.upload("s3://my-bucket/fine-tunes/1", "latest", "candidate")

    run("change_aliases")

    assert aliases(quick, version) == ["latest", "legal-hold-2026"]


def test_roll_back(quick: EmulatorClient, run: Callable[[str], DagResult]) -> None:
    good, bad = (quick.upload(f"s3://my-bucket/fine-tunes/{name}") for name in ("good", "bad"))
    quick.deploy(good)
    quick.advance_clock(1)  # of two of the same second it is not known which is newer
    quick.deploy(bad)

    run("roll_back")

    assert quick.serving() == good


def test_delete_version(quick: EmulatorClient, run: Callable[[str], DagResult]) -> None:
    quick.upload("s3://my-bucket/fine-tunes/1")

    run("delete_version")

    assert quick.versions() == {}


def test_ask_the_api(quick: EmulatorClient, run: Callable[[str], DagResult]) -> None:
    version = quick.upload("s3://my-bucket/fine-tunes/1", "latest")

    assert run("ask_the_api")["versions"].xcom == [f"{version}: latest"]


def test_check_weights(quick: EmulatorClient, run: Callable[[str], DagResult], monkeypatch: pytest.MonkeyPatch) -> None:
    with s3_service() as url:
        monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", aws_connection(url))
        s3 = empty_bucket(url, "my-bucket")
        for date in (datetime.now(UTC), datetime.now(UTC) - timedelta(days=1)):
            put(s3, "my-bucket", f"fine-tunes/{date:%Y-%m-%d}", gpt_oss_20b())
        policy = bucket_policy("my-bucket", "arn:aws:iam::123456789012:role/cerebras-reader")
        s3.put_bucket_policy(Bucket="my-bucket", Policy=json.dumps(policy))

        result = run("check_weights")

    assert result["check"].xcom["digest"] == result["train"].xcom["digest"]
    assert "bucket" in {each["code"] for each in result["check"].xcom["findings"]}
    assert len(quick.versions()) == 1


def test_every_snippet_is_run() -> None:
    tests = {name for name in globals() if name.startswith("test_")}
    # What is no DAG has a file of tests of its own.
    tests |= {file.stem for file in (ROOT / "tests" / "unit" / "docs").glob("test_*.py")}
    assert {f"test_{file.stem}" for file in SNIPPETS.glob("*.py")} <= tests
