"""An S3 service (moto's server) that Airflow's connection ``aws_default`` leads to."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import boto3
import httpx
import pytest
from moto.server import ThreadedMotoServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_s3 import S3Client


@pytest.fixture(scope="module")
def s3_url() -> Iterator[str]:
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Client]:
    """A client of an S3 service with the one bucket `models`, which is empty."""
    names = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}
    connection = {
        "conn_type": "aws",
        "login": "test",
        "password": "test",
        "extra": {
            "endpoint_url": s3_url,
            "region_name": "us-east-1",
            "config_kwargs": {"retries": {"max_attempts": 0}},
        },
    }
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection))
    client = boto3.client("s3", endpoint_url=s3_url, **names)  # type: ignore[call-overload]
    client.create_bucket(Bucket="models")
    yield client
    httpx.post(f"{s3_url}/moto-api/reset").raise_for_status()
