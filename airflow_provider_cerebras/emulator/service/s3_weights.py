"""Reads weights in S3, checks them and computes their digest. The only module of the emulator that needs boto3."""

from __future__ import annotations

import hashlib
import threading
from concurrent.futures import Future
from contextlib import closing, contextmanager, nullcontext
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from airflow_provider_cerebras.emulator.service.model_checks import check_model, files_of_model
from airflow_provider_cerebras.emulator.service.weights import (
    LENGTH_BYTES,
    MAX_JSON_BYTES,
    Pace,
    WeightsError,
    check_header,
    header_length,
    read_config,
    read_index,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from botocore.response import StreamingBody
    from mypy_boto3_s3 import S3Client

    from airflow_provider_cerebras.emulator.service.weights import Tensor

INDEX = "model.safetensors.index.json"
CHUNK_BYTES = 1 << 20
READERS = 8
"""Uploads whose weights are read at the same time; the others wait for their turn."""

_AT_ONCE = Pace(at_end=False)
_AT_ONCE.reach(1)


class S3WeightReader:
    """Reads weights in the background.

    :param endpoint_url: The S3 service. Credentials and region come from AWS's environment variables.
    """

    def __init__(self, endpoint_url: str) -> None:
        # A session of its own, since boto3's default one keeps the first credentials that it has found.
        self._s3: S3Client = boto3.Session().client(
            "s3",
            endpoint_url=endpoint_url,
            config=Config(
                connect_timeout=5,
                read_timeout=30,
                retries={"total_max_attempts": 3, "mode": "standard"},
                # A bucket as a host name needs a wildcard DNS entry, which a local S3 service rarely has.
                s3={"addressing_style": "path"},
            ),
        )
        self._turns = threading.BoundedSemaphore(READERS)

    def __call__(self, weight_uri: str, model_arch_id: str | None = None, pace: Pace | None = None) -> Future[str]:
        """Start to read the weights at an S3 URI; the result is their digest, or a :class:`WeightsError`.

        :param model_arch_id: The architecture of which they must be a model; None: only the files are checked.
        :param pace: When each object may be read; None: at once.
        """
        future: Future[str] = Future()

        def read() -> None:
            # Reading that waits for time to pass must keep no other one from its turn.
            with self._turns if pace is None else nullcontext():
                try:
                    future.set_result(self._digest(weight_uri, model_arch_id, pace or _AT_ONCE))
                except Exception as error:  # noqa: BLE001  whatever happens, the sync must end
                    future.set_exception(error)

        # A daemon, so that an S3 service that does not answer cannot keep the emulator from stopping.
        threading.Thread(target=read, name=f"weights {weight_uri}", daemon=True).start()
        return future

    def _digest(self, weight_uri: str, model_arch_id: str | None, pace: Pace) -> str:
        pace.wait(0)
        bucket, _, path = weight_uri.removeprefix("s3://").partition("/")
        prefix = path.rstrip("/") + "/"
        keys = self._keys(bucket, prefix)
        weights = sorted(key for key in keys if key.endswith(".safetensors"))
        if not weights:
            raise WeightsError(f"there is no *.safetensors object under s3://{bucket}/{prefix}")
        if f"{prefix}config.json" not in keys:
            raise WeightsError(f"s3://{bucket}/{prefix}config.json is missing")
        with self._object(bucket, f"{prefix}config.json") as (body, size):
            config = read_config(_small(body, size))
        weight_map = None
        if f"{prefix}{INDEX}" in keys:
            with self._object(bucket, f"{prefix}{INDEX}") as (body, size):
                weight_map = read_index(_small(body, size), (shard.removeprefix(prefix) for shard in weights))
        names = [key.removeprefix(prefix) for key in weights]
        of_the_model = files_of_model(names, weight_map)
        digest, headers = hashlib.sha256(), {}
        for number, name in enumerate(names):
            pace.wait((number + 1) / (len(names) + 1))
            with self._object(bucket, f"{prefix}{name}") as (body, size):
                headers[name] = _hash_safetensors(body, size, digest, must_be_sound=name in of_the_model)
        if model_arch_id is not None:
            sound = {name: header for name, header in headers.items() if header is not None}
            try:
                check_model(config, weight_map, sound, model_arch_id)
            except WeightsError as error:
                raise WeightsError(f"s3://{bucket}/{prefix} holds no model of {model_arch_id}: {error}") from error
        return digest.hexdigest()

    def _keys(self, bucket: str, prefix: str) -> list[str]:
        try:
            pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
            return [entry["Key"] for page in pages for entry in page.get("Contents", [])]
        except (BotoCoreError, ClientError) as error:
            raise WeightsError(f"s3://{bucket}/{prefix} cannot be listed: {error}") from error

    @contextmanager
    def _object(self, bucket: str, key: str) -> Iterator[tuple[StreamingBody, int]]:
        try:
            answer = self._s3.get_object(Bucket=bucket, Key=key)
            with closing(answer["Body"]) as body:
                yield body, answer["ContentLength"]
        except (BotoCoreError, ClientError) as error:
            raise WeightsError(f"s3://{bucket}/{key} cannot be read: {error}") from error
        except WeightsError as error:
            raise WeightsError(f"s3://{bucket}/{key} is broken: {error}") from error


def _small(body: StreamingBody, size: int) -> bytes:
    if size > MAX_JSON_BYTES:
        raise WeightsError(f"it has {size} bytes, more than the {MAX_JSON_BYTES} allowed")
    return body.read()


def _hash_safetensors(
    body: StreamingBody, size: int, digest: hashlib._Hash, *, must_be_sound: bool
) -> dict[str, Tensor] | None:
    """Return the tensors of a file that is read into a digest; None if it is broken and no part of the model.

    :param must_be_sound: whether a broken file is an error.
    """
    tensors = None
    start = body.read(LENGTH_BYTES)
    digest.update(start)
    try:
        length = header_length(start, size)
        header = body.read(length)
        digest.update(header)
        tensors = check_header(header, size - LENGTH_BYTES - length)
    except WeightsError:
        if must_be_sound:
            raise
    for chunk in body.iter_chunks(CHUNK_BYTES):
        digest.update(chunk)
    return tensors
