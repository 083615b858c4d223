"""Reading weights from S3: a thin shell around the client of the Amazon provider's ``S3Hook``."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow_provider_cerebras.weights.digest import digest_of
from airflow_provider_cerebras.weights.errors import S3ExtraMissing, WeightsNotFound, WeightsUnreadable
from airflow_provider_cerebras.weights.objects import Listing, Location, StoredObject

if TYPE_CHECKING:
    from collections.abc import Iterator

_NO_BUCKET = {"NoSuchBucket", "404"}


class S3Reader:
    """Ask S3 about the weights at one place.

    :param weight_uri: where they are, ``s3://bucket/prefix``.
    :param aws_conn_id: id of the AWS connection; None: AWS's own search for credentials.
    :raises ValueError: if ``weight_uri`` has another form.
    :raises S3ExtraMissing: if the Amazon provider is not installed.
    """

    def __init__(self, weight_uri: str, aws_conn_id: str | None = "aws_default") -> None:
        self.location = Location.parse(weight_uri)
        self.requests = 0
        self._aws_conn_id = aws_conn_id
        self._s3 = _client(aws_conn_id)

    def list(self) -> Listing:
        """List all objects under the prefix, by one listing (1,000 objects a request).

        :raises WeightsNotFound: if the bucket does not exist.
        :raises WeightsUnreadable: if S3 does not answer, or refuses.
        """
        bucket, prefix = self.location.bucket, self.location.prefix
        found = []
        with self._errors(self.location.uri, "s3:ListBucket"):
            for page in self._s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
                self.requests += 1
                found += [_stored(entry, prefix) for entry in page.get("Contents", ())]
        return Listing(self.location, tuple(each for each in found if each.size or not _marks_a_folder(each.key)))

    @contextmanager
    def _errors(self, uri: str, action: str) -> Iterator[None]:
        from botocore.exceptions import BotoCoreError, ClientError

        by = f"The AWS connection {self._aws_conn_id!r}" if self._aws_conn_id else "The AWS credentials found"
        try:
            yield
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            if code in _NO_BUCKET:
                raise WeightsNotFound(f"{uri} cannot be read: there is no bucket {self.location.bucket!r}.") from error
            remedy = f" {by} must be allowed to do {action} there." if code in {"AccessDenied", "403"} else ""
            raise WeightsUnreadable(f"{uri} cannot be read: {error}.{remedy}") from error
        except BotoCoreError as error:
            raise WeightsUnreadable(f"{uri} cannot be read: {error}. {by} is used.") from error


def weights_digest(weight_uri: str, aws_conn_id: str | None = "aws_default") -> str:
    """Return the digest of the weights at a URI, 64 hexadecimal digits.

    A training task calls it when it has written everything, and returns it beside the URI. Whoever compares it later
    notices if an object was added, removed or replaced in between.

    :param weight_uri: where the weights are, ``s3://bucket/prefix``.
    :param aws_conn_id: id of the AWS connection, which needs ``s3:ListBucket``; default: ``aws_default``;
        None: AWS's own search for credentials.
    :raises ValueError: if ``weight_uri`` has another form.
    :raises S3ExtraMissing: if the Amazon provider is not installed.
    :raises WeightsNotFound: if the bucket does not exist, or there is no object under the prefix.
    :raises WeightsUnreadable: if S3 does not answer, or refuses.
    """
    listing = list_weights(weight_uri, aws_conn_id)
    if not listing.objects:
        raise WeightsNotFound(f"There is no object under {listing.location.uri}, so there is nothing to digest.")
    return digest_of(listing.objects)


def list_weights(weight_uri: str, aws_conn_id: str | None = "aws_default") -> Listing:
    """List the objects under a URI; their digest is ``digest_of(listing.objects)``.

    :param weight_uri: where the weights are, ``s3://bucket/prefix``.
    :param aws_conn_id: id of the AWS connection, which needs ``s3:ListBucket``; default: ``aws_default``;
        None: AWS's own search for credentials.
    :raises ValueError: if ``weight_uri`` has another form.
    :raises S3ExtraMissing: if the Amazon provider is not installed.
    :raises WeightsNotFound: if the bucket does not exist. A prefix without objects gives an empty listing.
    :raises WeightsUnreadable: if S3 does not answer, or refuses.
    """
    return S3Reader(weight_uri, aws_conn_id).list()


def _client(aws_conn_id: str | None) -> Any:
    try:
        from airflow.providers.amazon.aws.hooks.s3 import S3Hook
    except ImportError as error:
        raise S3ExtraMissing from error
    return S3Hook(aws_conn_id=aws_conn_id).get_conn()


def _stored(entry: Any, prefix: str) -> StoredObject:
    return StoredObject(
        key=entry["Key"].removeprefix(prefix),
        size=entry["Size"],
        etag=entry["ETag"].strip('"'),
        storage_class=entry.get("StorageClass") or "STANDARD",
    )


def _marks_a_folder(key: str) -> bool:
    return not key or key.endswith("/")
