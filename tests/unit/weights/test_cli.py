"""The commands about weights, on a real S3 service, which moto's server is."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_cerebras.cli.definition import main
from airflow_provider_cerebras.weights import weights_digest
from tests.unit.weights.layouts import LAYOUTS

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

ROLE = "arn:aws:iam::123456789012:role/cerebras-reader"


@pytest.fixture(autouse=True)
def _quiet_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """The S3 service lives in this process; its log would stand among what the command prints."""
    monkeypatch.setattr(logging.getLogger("werkzeug"), "disabled", True)


def run(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[object, Any]:
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        main(argv)
    out = capsys.readouterr().out
    return end.value.code, json.loads(out) if out else None


@pytest.fixture
def weights(s3: S3Client) -> S3Client:
    _, make = LAYOUTS["gpt-oss, fine-tuned"]
    for key, content in make().items():
        s3.put_object(Bucket="models", Key=f"run/{key}", Body=content)
    return s3


def test_good_weights(weights: S3Client, capsys: pytest.CaptureFixture[str]) -> None:
    code, report = run(capsys, "check-weights", "s3://models/run", "--arch", "gpt-oss-120b", "-o", "json")
    assert code == 0
    assert report["digest"] == weights_digest("s3://models/run")


def test_broken_weights_end_with_exit_code_1(weights: S3Client, capsys: pytest.CaptureFixture[str]) -> None:
    weights.put_object(Bucket="models", Key="run/config.json", Body=b"[]")
    code, report = run(capsys, "check-weights", "s3://models/run", "--arch", "gpt-oss-120b", "-o", "json")
    assert code == 1
    assert any(each["level"] == "error" and each["object"] == "config.json" for each in report["findings"])


def test_a_bucket_that_is_not_there_is_an_error(s3: S3Client, capsys: pytest.CaptureFixture[str]) -> None:
    code, report = run(capsys, "check-weights", "s3://missing-bucket/run", "--arch", "gpt-oss-120b", "-o", "json")
    assert code == 1
    assert report["findings"][0]["code"] == "bucket-missing"


def test_the_policy_that_is_printed_passes_the_check(weights: S3Client, capsys: pytest.CaptureFixture[str]) -> None:
    code, policy = run(capsys, "bucket-policy", "models", "--role", ROLE)
    assert code == 0
    weights.put_bucket_policy(Bucket="models", Policy=json.dumps(policy))
    code, report = run(
        capsys, "check-weights", "s3://models/run", "--arch", "gpt-oss-120b", "--role", ROLE, "-o", "json"
    )
    assert code == 0
    assert "bucket" in report["checks"]


def test_a_role_that_is_none_is_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    code, printed = run(capsys, "bucket-policy", "models", "--role", "reader")
    assert (code, printed) == (2, None)
