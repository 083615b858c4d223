"""A real S3 service for tests, which moto's server is."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING

import boto3
import httpx
from moto.server import ThreadedMotoServer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mypy_boto3_s3 import S3Client


@contextmanager
def s3_service() -> Iterator[str]:
    """Run the service, and give its URL."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def empty_bucket(url: str, bucket: str) -> S3Client:
    """Empty the service but for one bucket, which is empty as well, and return a client."""
    httpx.post(f"{url}/moto-api/reset", trust_env=False).raise_for_status()
    session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name="us-east-1")
    client: S3Client = session.client("s3", endpoint_url=url)
    client.create_bucket(Bucket=bucket)
    return client


def aws_connection(url: str) -> str:
    """An AWS connection of Airflow that leads to the service, and does not try again if it is not there."""
    extra = {"endpoint_url": url, "region_name": "us-east-1", "config_kwargs": {"retries": {"max_attempts": 0}}}
    return json.dumps({"conn_type": "aws", "login": "test", "password": "secret-of-aws", "extra": extra})


def put(s3: S3Client, bucket: str, folder: str, files: Mapping[str, bytes]) -> str:
    """Put files into a folder, and return its URI."""
    for key, content in files.items():
        s3.put_object(Bucket=bucket, Key=f"{folder}/{key}", Body=content)
    return f"s3://{bucket}/{folder}"
