"""The reader on a real S3 service, which moto's server is."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_cerebras.weights import (
    Level,
    StoredObject,
    WeightsNotFound,
    WeightsUnreadable,
    bucket_policy,
    check_weights,
    digest_of,
    list_weights,
    weights_digest,
)
from airflow_provider_cerebras.weights.description import FIRST_BYTES
from airflow_provider_cerebras.weights.examine import examine, report_of
from airflow_provider_cerebras.weights.reader import S3Reader
from airflow_provider_cerebras.weights.values import Sample
from tests.s3 import aws_connection
from tests.s3 import put as put_into
from tests.unit.weights.damages import model_files
from tests.unit.weights.layouts import (
    LAYOUTS,
    Files,
    Tensors,
    config,
    describe,
    from_one,
    llama_tensors,
    safetensors,
    sharded,
)

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from airflow_provider_cerebras.weights import Report

RUN = "s3://models/run"


def put(s3: S3Client, **objects: bytes) -> None:
    for key, content in objects.items():
        s3.put_object(Bucket="models", Key=key, Body=content)


@pytest.mark.parametrize("weight_uri", [RUN, f"{RUN}/"])
def test_the_objects_under_the_prefix_are_listed_and_no_others(s3: S3Client, weight_uri: str) -> None:
    put(s3, **{"run/config.json": b"{}", "run/original/a": b"12", "run-2/b": b"3", "run": b"4", "other": b"5"})
    listing = list_weights(weight_uri)
    head = s3.head_object(Bucket="models", Key="run/config.json")
    etag = head["ETag"].strip('"')
    assert listing.objects[0] == StoredObject("config.json", 2, etag, written=head["LastModified"])
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
    monkeypatch.setenv("AIRFLOW_CONN_NOT_THERE", aws_connection("http://127.0.0.1:1"))
    with pytest.raises(WeightsUnreadable, match=r"models/run/ cannot be read by .*'not_there': Could not") as error:
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


ROLE = "arn:aws:iam::999999999999:role/cerebras-reader"


def put_files(s3: S3Client, files: Files) -> None:
    put_into(s3, "models", "run", files)


def codes(report: Report) -> set[tuple[str, str, str | None]]:
    return {(each.level.value, each.code, each.object) for each in report.findings}


@pytest.mark.parametrize("layout", ["gpt-oss-20b", "llama, FP8, no index"])
def test_what_is_read_is_what_the_checks_get_from_the_bytes_themselves(s3: S3Client, layout: str) -> None:
    arch, make = LAYOUTS[layout]
    files = make()
    put_files(s3, files)
    report = check_weights(RUN, arch)
    description = describe(files)
    model, found = examine(description, arch)
    assert report == report_of(description, model, arch, ("files", "index", "config"), found)
    assert report.errors == ()
    assert report.digest == weights_digest(RUN)


def test_a_large_header_is_read_by_ranges_and_no_more_of_the_file(s3: S3Client) -> None:
    tensors: Tensors = {f"model.layers.0.mlp.experts.{number}.w.weight": ("BF16", (64, 8)) for number in range(1000)}
    put_files(s3, {"model.safetensors": safetensors(tensors), "config.json": b"{}", "tokenizer.json": b"{}"})
    reader = S3Reader(RUN)
    description = reader.describe(reader.list_objects())
    read = description.beginnings["model.safetensors"]
    assert len(read) == 8 + int.from_bytes(read[:8], "little") > FIRST_BYTES
    # The listing, config.json, the tokenizer, and the header in two steps.
    assert reader.requests == 5


def test_an_object_that_is_replaced_after_the_listing_is_told_and_not_mixed_up(s3: S3Client) -> None:
    files = LAYOUTS["llama, tied"][1]()
    put_files(s3, files)
    reader = S3Reader(RUN)
    listing = reader.list_objects()
    put_files(s3, {"model.safetensors": files["model.safetensors"][::-1]})
    s3.delete_object(Bucket="models", Key="run/config.json")
    description = reader.describe(listing)
    assert description.changed == {"model.safetensors", "config.json"}
    sample = Sample("model.safetensors", "a.weight", "BF16", 0, 8)
    assert reader.read(listing, [sample]) == {}


def test_a_delete_marker_is_told(s3: S3Client) -> None:
    s3.put_bucket_versioning(Bucket="models", VersioningConfiguration={"Status": "Enabled"})
    arch, make = LAYOUTS["qwen-3, MoE"]
    put_files(s3, make())
    s3.delete_object(Bucket="models", Key="run/model-00002-of-00005.safetensors")
    (missing,) = check_weights(RUN, arch).errors
    assert (missing.code, missing.object) == ("shard-missing", "model-00002-of-00005.safetensors")
    assert "A delete marker hides it" in missing.message


def test_an_archived_shard_is_told(s3: S3Client) -> None:
    arch, make = LAYOUTS["qwen-3, MoE"]
    files = make()
    put_files(s3, files)
    key = "model-00002-of-00005.safetensors"
    s3.put_object(Bucket="models", Key=f"run/{key}", Body=files[key], StorageClass="GLACIER")
    assert ("error", "archived", key) in codes(check_weights(RUN, arch))


def test_the_uri_of_a_file_is_told(s3: S3Client) -> None:
    put(s3, **{"run/model.safetensors": b"1", "run/model.safetensors.bak": b"2"})
    report = check_weights(f"{RUN}/model.safetensors", "llama3.1-8b")
    assert codes(report) == {("error", "uri-of-a-file", "model.safetensors")}
    assert report.digest is None
    assert codes(check_weights(f"{RUN}/model", "llama3.1-8b")) == {("error", "nothing-there", None)}
    assert codes(check_weights("s3://nowhere/run", "llama3.1-8b")) == {("error", "bucket-missing", None)}


def test_another_digest_ends_the_check(s3: S3Client) -> None:
    arch, make = LAYOUTS["llama, tied"]
    put_files(s3, make())
    digest = weights_digest(RUN)
    assert check_weights(RUN, arch, weights_digest=digest).errors == ()
    report = check_weights(RUN, arch, weights_digest="0" * 64)
    assert [each.code for each in report.findings] == ["digest-differs"]
    assert report.digest == digest
    assert [each.code for each in check_weights(f"{RUN}-2", arch, weights_digest=digest).findings] == ["digest-differs"]


def test_a_run_that_diverged_is_told_if_asked_for(s3: S3Client) -> None:
    arch, make = LAYOUTS["llama-3.1-8b"]
    files = make()
    key = model_files(files)[1]
    header_end = 8 + int.from_bytes(files[key][:8], "little")
    files[key] = files[key][:header_end] + b"\xff" * (len(files[key]) - header_end)
    put_files(s3, files)
    assert check_weights(RUN, arch).errors == ()
    report = check_weights(RUN, arch, sample_values=True)
    assert report.checks == ("files", "index", "config", "values")
    assert {(each.code, each.object) for each in report.errors} == {("not-finite", key)}


def test_the_bucket_is_checked_for_a_role(s3: S3Client) -> None:
    arch, make = LAYOUTS["llama, tied"]
    put_files(s3, make())

    def of_the_bucket() -> set[tuple[str, str]]:
        report = check_weights(RUN, arch, reader_role_arn=ROLE, checks=["bucket"])
        return {(each.level.value, each.code) for each in report.findings}

    assert of_the_bucket() == {("error", "no-bucket-policy")}
    policy = bucket_policy("models", ROLE)
    s3.put_bucket_policy(Bucket="models", Policy=json.dumps(policy))
    assert of_the_bucket() == {("ok", "bucket")}
    other = bucket_policy("models", ROLE.replace("reader", "writer"))
    s3.put_bucket_policy(Bucket="models", Policy=json.dumps(other))
    assert of_the_bucket() == {("error", "access-not-granted")}
    s3.put_bucket_policy(Bucket="models", Policy=json.dumps(policy))
    rule: Any = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "key-of-mine"}}
    s3.put_bucket_encryption(Bucket="models", ServerSideEncryptionConfiguration={"Rules": [rule]})
    assert of_the_bucket() == {("warning", "kms"), ("ok", "bucket")}
    encryption: Any = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "key-of-the-object"}
    s3.put_object(Bucket="models", Key="run/config.json", Body=b"{}", **encryption)
    (found,) = [each for each in check_weights(RUN, arch, reader_role_arn=ROLE).findings if each.code == "kms"]
    assert "key-of-the-object" in found.message
    assert "kms:Decrypt" in found.message


def test_checks_are_chosen(s3: S3Client) -> None:
    arch, make = LAYOUTS["llama, tied"]
    put_files(s3, {**make(), "config.json": b"[]"})
    assert [each.code for each in check_weights(RUN, arch, checks=["files"]).findings] == ["files"]
    assert [each.code for each in check_weights(RUN, arch, checks=["config", "files"]).errors] == ["bad-config"]
    for checks, message in (
        (["all"], "'all' is none of files, index, config, values, bucket"),
        ("files", "must be a list of names, not 'files'"),
        (["values"], "'values' needs sample_values=True"),
        (["bucket"], "'bucket' needs reader_role_arn"),
    ):
        with pytest.raises(ValueError, match=f"^checks: {message}"):
            check_weights(RUN, arch, checks=checks)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model_arch_id": ""}, "model_arch_id: must be"),
        ({"weights_digest": "none"}, "weights_digest: 'none' is not a digest"),
        ({"weights_digest": ""}, "weights_digest: '' is not a digest"),
        ({"reader_role_arn": ""}, "reader_role_arn: '' is not of the form"),
        ({"weight_uri": "run"}, "weight_uri: 'run' is not of the form"),
    ],
)
def test_wrong_arguments_are_refused(s3: S3Client, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_weights(**{"weight_uri": RUN, "model_arch_id": "llama3.1-8b", **arguments})


def test_three_hundred_shards_take_one_request_each(s3: S3Client) -> None:
    tensors = llama_tensors(300)
    files = {**sharded(tensors, 300, from_one(300)), "config.json": config("llama", "LlamaForCausalLM", 300)}
    put_files(s3, files)
    reader = S3Reader(RUN)
    description = reader.describe(reader.list_objects())
    findings = examine(description, "llama3.1-8b")[1]
    assert not [each for each in findings if each.level is Level.ERROR]
    assert reader.requests == 303  # the listing, the configuration, the index, and a range of each shard
