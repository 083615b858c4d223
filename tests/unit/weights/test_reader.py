"""The reader on a real S3 service, which moto's server is."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from airflow_provider_cerebras.weights import (
    StoredObject,
    WeightsNotFound,
    WeightsUnreadable,
    digest_of,
    list_weights,
    weights_digest,
)

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

RUN = "s3://models/run"


def put(s3: S3Client, **objects: bytes) -> None:
    for key, content in objects.items():
        s3.put_object(Bucket="models", Key=key, Body=content)


@pytest.mark.parametrize("weight_uri", [RUN, f"{RUN}/"])
def test_the_objects_under_the_prefix_are_listed_and_no_others(s3: S3Client, weight_uri: str) -> None:
    put(s3, **{"run/config.json": b"{}", "run/original/a": b"12", "run-2/b": b"3", "run": b"4", "other": b"5"})
    listing = list_weights(weight_uri)
    etag = s3.head_object(Bucket="models", Key="run/config.json")["ETag"].strip('"')
    assert listing.objects[0] == StoredObject("config.json", 2, etag)
    assert [(each.key, each.in_root) for each in listing.objects] == [("config.json", True), ("original/a", False)]
    assert listing.total_bytes == 4
    assert listing.uri_of("config.json") == "s3://models/run/config.json"


def test_markers_of_folders_are_no_objects(s3: S3Client) -> None:
    put(s3, **{"run/": b"", "run/original/": b"", "run/a": b"", "run/odd/": b"not empty"})
    assert [each.key for each in list_weights(RUN).objects] == ["a", "odd/"]


def test_a_listing_of_several_pages_is_read_to_the_end(s3: S3Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "2")
    put(s3, **{f"run/{number}": b"" for number in range(5)})
    assert len(list_weights(RUN).objects) == 5


def test_the_digest_is_that_of_the_listing_and_moves_with_the_bytes(s3: S3Client) -> None:
    put(s3, **{"run/a": b"1", "run/b": b"2"})
    digest = weights_digest(RUN)
    assert digest == digest_of(list_weights(RUN).objects)
    assert len(digest) == 64
    put(s3, **{"run/b": b"3"})
    assert weights_digest(RUN) != digest
    put(s3, **{"run/b": b"2"})
    assert weights_digest(RUN) == digest


def test_the_digest_is_the_same_at_another_place(s3: S3Client) -> None:
    put(s3, **{"run/a": b"1", "elsewhere/deeper/a": b"1"})
    assert weights_digest(RUN) == weights_digest("s3://models/elsewhere/deeper")


def test_nothing_has_no_digest(s3: S3Client) -> None:
    put(s3, **{"run/": b"", "run-2/a": b"1"})
    with pytest.raises(WeightsNotFound, match="There is no object under s3://models/run/"):
        weights_digest(RUN)


def test_a_missing_bucket_is_named(s3: S3Client) -> None:
    with pytest.raises(WeightsNotFound, match="there is no bucket 'nowhere'"):
        weights_digest("s3://nowhere/run")


@pytest.mark.parametrize("weight_uri", ["s3://models", "s3://models/", "gs://models/run", "/run", ""])
def test_what_is_no_uri_is_refused(s3: S3Client, weight_uri: str) -> None:
    with pytest.raises(ValueError, match=r"weight_uri: .* is not of the form s3://bucket/prefix"):
        weights_digest(weight_uri)


def test_a_service_that_is_not_there_is_an_error_that_names_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    extra = {"endpoint_url": "http://127.0.0.1:1", "config_kwargs": {"retries": {"max_attempts": 0}}}
    connection = {"conn_type": "aws", "login": "test", "password": "secret-of-aws", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_NOT_THERE", json.dumps(connection))
    with pytest.raises(WeightsUnreadable, match=r"s3://models/run/ cannot be read: .*'not_there'") as error:
        weights_digest(RUN, aws_conn_id="not_there")
    assert "secret-of-aws" not in str(error.value)


def test_nothing_of_airflow_or_aws_is_imported_before_something_is_read() -> None:
    program = (
        "import importlib, pkgutil, sys\n"
        "import airflow_provider_cerebras.weights as weights\n"
        "names = [module.name for module in pkgutil.walk_packages(weights.__path__, weights.__name__ + '.')]\n"
        "for name in names: importlib.import_module(name)\n"
        "print([name for name in sys.modules if name.split('.')[0] in ('airflow', 'boto3', 'botocore')])\n"
    )
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert finished.stdout.strip() == "[]"


def test_without_the_amazon_provider_the_error_names_the_extra() -> None:
    program = (
        "import sys\n"
        "sys.modules['airflow.providers.amazon'] = None\n"
        "from airflow_provider_cerebras.weights import weights_digest\n"
        "try: weights_digest('s3://models/run')\n"
        "except ImportError as error: print(error)\n"
    )
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "pip install 'airflow-provider-cerebras[s3]'" in finished.stdout
