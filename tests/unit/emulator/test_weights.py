from __future__ import annotations

import hashlib
import json
import socket
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save

from airflow_provider_cerebras.emulator.app import create_app
from airflow_provider_cerebras.emulator.service.s3_weights import S3WeightReader
from airflow_provider_cerebras.emulator.service.weights import (
    DTYPE_BITS,
    WeightsError,
    check_header,
    digest_of_uri,
    header_length,
    read_config,
    read_index,
)
from airflow_provider_cerebras.emulator.settings import Settings
from tests.s3 import empty_bucket, s3_service

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_s3 import S3Client

    from airflow_provider_cerebras.emulator.app import EmulatorApp

WEIGHTS = save({"w": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.zeros(2, dtype=np.float16)})
OTHER_WEIGHTS = save({"w": np.ones(4, dtype=np.int64)})


def header(**tensors: Any) -> bytes:
    return json.dumps(tensors).encode()


RUN = "s3://models/run"
VERSION = "orgs/my-org/models/gpt-oss-120b/versions/1"
MANAGEMENT_KEY = {"Authorization": "Bearer emulator-management-key"}
INFERENCE_KEY = {"Authorization": "Bearer emulator-inference-key"}


def tensor(dtype: Any = "F32", shape: Any = (2, 3), offsets: Any = (0, 24)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def split(weights: bytes) -> tuple[bytes, int]:
    length = header_length(weights[:8], len(weights))
    return weights[8 : 8 + length], len(weights) - 8 - length


@given(st.dictionaries(st.text(min_size=1), st.lists(st.integers(0, 3), max_size=3), max_size=5))
def test_what_safetensors_writes_is_accepted(shapes: dict[str, list[int]]) -> None:
    check_header(*split(save({name: np.zeros(shape, np.float32) for name, shape in shapes.items()})))


@given(st.integers(0, len(WEIGHTS) - 1))
def test_weights_that_are_cut_off_anywhere_are_refused(length: int) -> None:
    with pytest.raises(WeightsError):
        check_header(*split(WEIGHTS[:length]))


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_refused_or_accepted_but_never_an_accident(content: bytes) -> None:
    try:
        check_header(*split(content))
    except WeightsError:
        return
    assert content[8:9] == b"{"


@given(st.sampled_from(sorted(DTYPE_BITS)), st.integers(0, 9))
def test_each_dtype_has_its_size(dtype: str, eights: int) -> None:
    size = eights * DTYPE_BITS[dtype]
    check_header(header(t=tensor(dtype, [8 * eights], [0, size])), size)


def test_metadata_padding_and_tensors_in_any_order_are_fine() -> None:
    tensors = {"b": tensor("U8", [2], [3, 5]), "a": tensor("U8", [3], [0, 3]), "scalar": tensor("U8", [], [5, 6])}
    check_header(header(__metadata__={"format": "pt"}, **tensors) + b"   ", 6)


@pytest.mark.parametrize(
    ("start", "size", "reason"),
    [
        (b"", 0, "0 bytes are too few"),
        (b"1234567", 7, "7 bytes are too few"),
        ((100).to_bytes(8, "little"), 107, "claims 100 bytes, but the object has 107 in all"),
        (b"\xff" * 8, 1000, "more than the 100000000 allowed"),
        ((100_000_001).to_bytes(8, "little"), 1 << 40, "more than the 100000000 allowed"),
    ],
)
def test_a_header_of_an_impossible_length_is_refused(start: bytes, size: int, reason: str) -> None:
    with pytest.raises(WeightsError, match=reason):
        header_length(start, size)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"[]", "not a JSON object"),
        (b" {}", "not a JSON object"),
        (b"{", "not valid JSON"),
        (b'{"\xff": 1}', "not UTF-8"),
        ('{"a": 1}'.encode("utf-16-le"), "not valid JSON"),
        (b'{"a":' * 100_000, "not valid JSON"),
        (b'{"a": 1, "a": 1}', "a key twice"),
        (header(__metadata__={"n": 1}), "__metadata__"),
        (header(__metadata__=[]), "__metadata__"),
        (header(t=[]), "does not have dtype, shape and data_offsets"),
        (header(t={"dtype": "F32", "shape": [6]}), "does not have dtype, shape and data_offsets"),
        (header(t=tensor("F31")), "unknown dtype 'F31'"),
        (header(t=tensor(["F32"])), "unknown dtype"),
        (header(t=tensor(shape=6)), "impossible shape"),
        (header(t=tensor(shape=[-2, -3])), "impossible shape"),
        (header(t=tensor(shape=[True, 6])), "impossible shape"),
        (header(t=tensor(shape=[2.0, 3])), "impossible shape"),
        (header(t=tensor(offsets=[0])), "impossible data_offsets"),
        (header(t=tensor(offsets=[24, 0])), "impossible data_offsets"),
        (header(t=tensor(offsets=[-24, 0])), "impossible data_offsets"),
        (header(t=tensor(offsets=[0, 23])), "23 bytes, which is not what F32 x \\[2, 3\\] takes"),
        (header(t=tensor("F4", [3], [0, 1])), "1 bytes, which is not what F4"),
        (header(t=tensor(offsets=[1, 25])), "begins at byte 1 of the data instead of 0"),
        (header(a=tensor("U8", [24], [0, 24]), b=tensor("U8", [1], [23, 24])), "begins at byte 23"),
        (header(t=tensor("U8", [23], [0, 23])), "1 bytes that belong to no tensor"),
        (header(t=tensor("U8", [25], [0, 25])), "cut off: its tensors take 25 bytes, but 24 are there"),
    ],
)
def test_a_header_that_does_not_describe_the_data_is_refused(content: bytes, reason: str) -> None:
    with pytest.raises(WeightsError, match=reason):
        check_header(content, 24)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"null", b'"{}"'])
def test_a_config_that_is_not_a_json_object_is_refused(content: bytes) -> None:
    with pytest.raises(WeightsError):
        read_config(content)


@pytest.mark.parametrize(
    "content", [b"{}", b'{"weight_map": []}', b'{"weight_map": {}}', b'{"weight_map": {"w": 1}}', b"["]
)
def test_an_index_without_a_weight_map_is_refused_unless_a_whole_model_is_there(content: bytes) -> None:
    with pytest.raises(WeightsError):
        read_index(content, ["1.safetensors"])
    assert read_index(content, ["1.safetensors", "model.safetensors"]) is None


def test_an_index_may_count_on_what_is_there_only() -> None:
    index = b'{"weight_map": {"w": "1.safetensors", "b": "2.safetensors"}}'
    read_index(index, ["1.safetensors", "2.safetensors", "3.safetensors"])
    with pytest.raises(WeightsError, match=r"counts on 2.safetensors, which is missing"):
        read_index(index, ["1.safetensors"])


def test_the_index_of_an_earlier_save_does_not_count_beside_a_whole_model() -> None:
    earlier = b'{"weight_map": {"w": "1.safetensors", "b": "2.safetensors"}}'
    assert read_index(earlier, ["1.safetensors", "model.safetensors"]) is None
    incomplete = b'{"weight_map": {"w": "model.safetensors", "b": "2.safetensors"}}'
    with pytest.raises(WeightsError, match=r"counts on 2.safetensors, which is missing"):
        read_index(incomplete, ["model.safetensors"])


def test_without_s3_the_digest_is_that_of_the_uri() -> None:
    assert digest_of_uri("s3://b/w").result() == hashlib.sha256(b"s3://b/w").hexdigest()


@pytest.fixture(scope="module")
def s3_url() -> Iterator[str]:
    names = {"ACCESS_KEY_ID": "test", "SECRET_ACCESS_KEY": "test", "DEFAULT_REGION": "us-east-1"}
    with s3_service() as url, pytest.MonkeyPatch.context() as environment:
        for name, value in names.items():
            environment.setenv(f"AWS_{name}", value)
        yield url


@pytest.fixture(scope="module")
def reader(s3_url: str) -> S3WeightReader:
    return S3WeightReader(s3_url)


@pytest.fixture
def s3(s3_url: str) -> S3Client:
    """A client of an S3 service with the one bucket `models`, which is empty."""
    return empty_bucket(s3_url, "models")


def put(s3: S3Client, **objects: bytes) -> None:
    for name, content in objects.items():
        s3.put_object(Bucket="models", Key=f"run/{name.replace('_', '.')}", Body=content)


@pytest.mark.parametrize("weight_uri", ["s3://models/run", "s3://models/run/"])
def test_the_digest_of_one_file_is_the_sha256_of_it(s3: S3Client, reader: S3WeightReader, weight_uri: str) -> None:
    put(s3, model_safetensors=WEIGHTS, config_json=b"{}")
    assert reader(weight_uri).result() == hashlib.sha256(WEIGHTS).hexdigest()


def test_the_digest_of_several_files_is_that_of_all_in_the_order_of_their_keys(
    s3: S3Client, reader: S3WeightReader
) -> None:
    index = b'{"weight_map": {"w": "1.safetensors", "b": "2.safetensors"}}'
    put(s3, **{"2.safetensors": OTHER_WEIGHTS, "1.safetensors": WEIGHTS, "config.json": b"{}"})
    put(s3, **{"model.safetensors.index.json": index})
    assert reader(RUN).result() == hashlib.sha256(WEIGHTS + OTHER_WEIGHTS).hexdigest()


def test_what_is_beside_the_weights_or_in_a_sibling_folder_does_not_matter(
    s3: S3Client, reader: S3WeightReader
) -> None:
    put(s3, model_safetensors=WEIGHTS, config_json=b"{}", tokenizer_json=b"not looked at")
    s3.put_object(Bucket="models", Key="run-2/model.safetensors", Body=b"broken")
    assert reader(RUN).result() == hashlib.sha256(WEIGHTS).hexdigest()


@pytest.mark.parametrize("broken", [b"", b"half", WEIGHTS[:-1], b"\xff" * 100])
def test_the_digest_covers_a_broken_file_that_is_no_part_of_the_model(
    s3: S3Client, reader: S3WeightReader, broken: bytes
) -> None:
    put(s3, model_safetensors=WEIGHTS, config_json=b"{}", **{"sub/x.safetensors": broken})
    assert reader(RUN).result() == hashlib.sha256(WEIGHTS + broken).hexdigest()


def test_a_listing_of_several_pages_is_read_to_the_end(
    s3: S3Client, reader: S3WeightReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "2")
    put(s3, **{f"0-{number}": b"" for number in range(5)})
    put(s3, model_safetensors=WEIGHTS, config_json=b"{}")
    assert reader(RUN).result() == hashlib.sha256(WEIGHTS).hexdigest()


def test_a_missing_bucket_is_an_error_that_names_it(s3: S3Client, reader: S3WeightReader) -> None:
    with pytest.raises(WeightsError, match=r"s3://nowhere/run/ cannot be listed: .*NoSuchBucket"):
        reader("s3://nowhere/run").result()


def test_missing_weights_are_an_error_that_names_the_prefix(s3: S3Client, reader: S3WeightReader) -> None:
    put(s3, config_json=b"{}")
    with pytest.raises(WeightsError, match=r"no \*.safetensors object under s3://models/run/"):
        reader(RUN).result()


def test_a_missing_config_is_an_error_that_names_it(s3: S3Client, reader: S3WeightReader) -> None:
    put(s3, model_safetensors=WEIGHTS)
    with pytest.raises(WeightsError, match=r"s3://models/run/config.json is missing"):
        reader(RUN).result()


def test_a_broken_config_is_an_error_that_names_it(s3: S3Client, reader: S3WeightReader) -> None:
    put(s3, model_safetensors=WEIGHTS, config_json=b"[]")
    with pytest.raises(WeightsError, match=r"s3://models/run/config.json is broken: it is not a JSON object"):
        reader(RUN).result()


def test_a_missing_shard_is_an_error_that_names_it(s3: S3Client, reader: S3WeightReader) -> None:
    put(s3, **{"1.safetensors": WEIGHTS, "config.json": b"{}"})
    put(s3, **{"model.safetensors.index.json": b'{"weight_map": {"w": "2.safetensors"}}'})
    with pytest.raises(WeightsError, match=r"index.json is broken: it counts on 2.safetensors, which is missing"):
        reader(RUN).result()


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (b"", "too few"),
        (b"PK\x03\x04 this is not safetensors", "its header claims"),
        ((2).to_bytes(8, "little") + b"[]", "not a JSON object"),
        (WEIGHTS[:-1], "cut off"),
        (WEIGHTS + b"\0", "1 bytes that belong to no tensor"),
    ],
)
def test_a_broken_file_is_an_error_that_names_it(
    s3: S3Client, reader: S3WeightReader, broken: bytes, reason: str
) -> None:
    put(s3, **{"1.safetensors": WEIGHTS, "2.safetensors": broken, "config.json": b"{}"})
    with pytest.raises(WeightsError, match=rf"s3://models/run/2.safetensors is broken: .*{reason}"):
        reader(RUN).result()


def test_no_credentials_are_an_error_that_says_so(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    with pytest.raises(WeightsError, match="cannot be listed: Unable to locate credentials"):
        S3WeightReader(s3_url)(RUN).result()


def test_an_s3_service_that_is_not_there_is_an_error_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    with pytest.raises(WeightsError, match="cannot be listed: Could not connect"):
        S3WeightReader("http://127.0.0.1:1")(RUN).result()


def test_reading_does_not_keep_the_caller_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        future = S3WeightReader(f"http://127.0.0.1:{silent.getsockname()[1]}")(RUN)
        assert not future.done()


async def test_an_emulator_with_s3_serves_the_weights_that_are_there(s3: S3Client, s3_url: str) -> None:
    put(s3, model_safetensors=WEIGHTS, config_json=b"{}")
    app = create_app(Settings(s3_endpoint_url=s3_url, sync_seconds=0, rollout_seconds=0))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://emulator") as client:
        assert await upload_and_read(client, app) == {"done": True, "error": None}
        deploy = "/management/v1/endpoints/my-org-gpt-oss-120b:deployModel"
        await client.post(deploy, json={"model": VERSION}, headers=MANAGEMENT_KEY)
        message = {"role": "user", "content": "hi"}
        completion = {"model": "my-org-gpt-oss-120b", "messages": [message]}
        answer = await client.post("/v1/chat/completions", json=completion, headers=INFERENCE_KEY)
    assert answer.json()["system_fingerprint"] == f"fp_{hashlib.sha256(WEIGHTS).hexdigest()[:16]}"


async def test_an_emulator_with_s3_fails_the_sync_of_weights_that_are_broken(s3: S3Client, s3_url: str) -> None:
    put(s3, model_safetensors=WEIGHTS[:-1], config_json=b"{}")
    app = create_app(Settings(s3_endpoint_url=s3_url, sync_seconds=0))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://emulator") as client:
        synced = await upload_and_read(client, app)
    reason = "it is cut off: its tensors take 28 bytes, but 27 are there"
    assert synced == {
        "done": True,
        "error": {"message": f"s3://models/run/model.safetensors is broken: {reason}"},
    }


OLD, NEW = WEIGHTS, OTHER_WEIGHTS


@pytest.mark.parametrize(
    ("when", "moment", "served"),
    [
        ("at-upload", 0.5, OLD + OLD),
        ("during-sync", 0.0, NEW + NEW),
        ("during-sync", 0.5, OLD + NEW),  # a mixture
        ("during-sync", 0.9, OLD + OLD),
        ("at-end", 0.9, NEW + NEW),
    ],
)
async def test_what_is_overwritten_before_it_is_read_is_what_is_served(
    s3: S3Client, s3_url: str, when: Any, moment: float, served: bytes
) -> None:
    put(s3, **{"1.safetensors": OLD, "2.safetensors": OLD, "config.json": b"{}"})
    now = [0.0]
    app = create_app(Settings(s3_endpoint_url=s3_url, sync_seconds=100, weights_read=when), lambda: now[0])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://emulator") as client:
        body = {"model_arch_id": "gpt-oss-120b", "model": {"weight_uri": RUN}}
        await client.post("/management/v1/orgs/my-org/models:upload", json=body, headers=MANAGEMENT_KEY)
        version = app.emulator.service.model_version("my-org", "gpt-oss-120b", "1")
        now[0] = version.sync.begins + moment * (version.sync.ends - version.sync.begins)
        assert (await client.get(f"/management/v1/{VERSION}", headers=MANAGEMENT_KEY)).json()["done"] is False
        # What is due by now has been read.
        if version.pace is None or (when, moment) == ("during-sync", 0.9):
            version.weights.result(timeout=30)
        else:
            version.pace.settle()
        put(s3, **{"1.safetensors": NEW, "2.safetensors": NEW})
        now[0] = version.sync.ends
        await client.get(f"/management/v1/{VERSION}", headers=MANAGEMENT_KEY)
        version.weights.result(timeout=30)
        assert (await client.get(f"/management/v1/{VERSION}", headers=MANAGEMENT_KEY)).json()["done"] is True
    assert version.system_fingerprint() == f"fp_{hashlib.sha256(served).hexdigest()[:16]}"


async def upload_and_read(client: httpx.AsyncClient, app: EmulatorApp) -> dict[str, Any]:
    """The version that is uploaded from the bucket, once its weights have been read."""
    body = {"model_arch_id": "gpt-oss-120b", "model": {"weight_uri": RUN}}
    await client.post("/management/v1/orgs/my-org/models:upload", json=body, headers=MANAGEMENT_KEY)
    app.emulator.service.model_version("my-org", "gpt-oss-120b", "1").weights.exception()
    version = (await client.get(f"/management/v1/{VERSION}", headers=MANAGEMENT_KEY)).json()
    return {"done": version["done"], "error": version.get("error")}
