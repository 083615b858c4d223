"""An S3 service that Airflow's connection ``aws_default`` leads to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.s3 import aws_connection, empty_bucket, s3_service

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_s3 import S3Client


@pytest.fixture(scope="module")
def s3_url() -> Iterator[str]:
    with s3_service() as url:
        yield url


@pytest.fixture
def s3(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> S3Client:
    """A client of an S3 service with the one bucket `models`, which is empty."""
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", aws_connection(s3_url))
    return empty_bucket(s3_url, "models")
