"""The flagship DAG from end to end, against an emulator that really reads the weights from S3."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import finetune_upload_deploy as flagship
import httpx
import pytest

from tests.s3 import s3_service

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_cerebras.emulator.control.client import EmulatorClient
    from tests.integration.dag_run import DagRunner

ENDPOINT = "my-org-llama3.1-8b"
CONF = {"model_arch_id": "llama3.1-8b", "endpoint_id": ENDPOINT, "s3_folder": "s3://weights/weekly"}


@pytest.fixture(scope="module")
def s3_url() -> Iterator[str]:
    with s3_service() as url:
        httpx.put(f"{url}/weights", trust_env=False).raise_for_status()
        yield url


@pytest.fixture
def emulator(
    s3_url: str, start_emulator: Callable[..., EmulatorClient], monkeypatch: pytest.MonkeyPatch
) -> EmulatorClient:
    aws = {"login": "test", "password": "test", "extra": {"endpoint_url": s3_url, "region_name": "us-east-1"}}
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps({"conn_type": "aws", **aws}))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    emulator = start_emulator(s3_endpoint_url=s3_url)
    monkeypatch.setenv("AIRFLOW_CONN_CEREBRAS_DEFAULT", emulator.connection())
    return emulator


@pytest.mark.usefixtures("airflow_db")
def test_the_endpoint_serves_the_weights_that_were_trained(emulator: EmulatorClient, run_dag: DagRunner) -> None:
    result = run_dag(flagship.finetune_upload_deploy(), CONF)

    assert result.state == "success", result.log
    assert emulator.serving(ENDPOINT) == result["wait_for_sync"].xcom == "orgs/my-org/models/llama3.1-8b/versions/1"
    trained = result["fine_tune"].xcom
    digest = trained["sha256"]
    assert result["check"].xcom["digest"] == trained["digest"]
    # The first half is the emulator's own digest of the bytes that it has read from S3.
    assert re.fullmatch(f"fp_{digest}.*-{digest}", result["verify"].xcom["system_fingerprint"])

    with pytest.raises(ValueError, match="not with the version of the suffix 000000000000"):
        flagship.verify.function(ENDPOINT, "000000000000")
