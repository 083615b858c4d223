"""A real S3 service for tests, which moto's server is."""

from __future__ import annotations

import json
from contextlib import contextmanager
from functools import cache, cached_property
from threading import Thread
from typing import TYPE_CHECKING, Any

import boto3
import httpx
from botocore.loaders import JSONFileLoader
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mypy_boto3_s3 import S3Client


# Every session reads the description of S3 again, which takes longer than most tests need for the rest.
_load_file: Any = JSONFileLoader.load_file
_loader: Any = JSONFileLoader()
_loaded = cache(lambda path: _load_file(_loader, path))
JSONFileLoader.load_file = lambda self, file_path: _loaded(file_path)  # type: ignore[method-assign]


class _Application(DomainDispatcherApplication):
    """For each request, moto looks up by the folders of its package what a host stands for."""

    @cached_property
    def _backends(self) -> dict[str | None, Any]:
        return {}

    def get_backend_for_host(self, host: str | None) -> Any:
        if host not in self._backends:
            self._backends[host] = super().get_backend_for_host(host)
        return self._backends[host]


class _Handler(WSGIRequestHandler):
    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Log nothing: a line for each request takes as long as the request."""


@contextmanager
def s3_service() -> Iterator[str]:
    """Run the service, and give its URL."""
    server = make_server("127.0.0.1", 0, _Application(create_backend_app), threaded=True, request_handler=_Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def empty_bucket(url: str, bucket: str) -> S3Client:
    """Empty the service but for one bucket, which is empty as well, and return a client."""
    httpx.post(f"{url}/moto-api/reset", trust_env=False).raise_for_status()
    client = _client(url)
    client.create_bucket(Bucket=bucket)
    return client


@cache
def _client(url: str) -> S3Client:
    session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name="us-east-1")
    return session.client("s3", endpoint_url=url)


def aws_connection(url: str) -> str:
    """An AWS connection of Airflow that leads to the service, and does not try again if it is not there."""
    extra = {"endpoint_url": url, "region_name": "us-east-1", "config_kwargs": {"retries": {"max_attempts": 0}}}
    return json.dumps({"conn_type": "aws", "login": "test", "password": "secret-of-aws", "extra": extra})


def put(s3: S3Client, bucket: str, folder: str, files: Mapping[str, bytes]) -> str:
    """Put files into a folder, and return its URI."""
    for key, content in files.items():
        s3.put_object(Bucket=bucket, Key=f"{folder}/{key}", Body=content)
    return f"s3://{bucket}/{folder}"
