"""Reading weights from S3: a thin shell around the client of the Amazon provider's ``S3Hook``.

One listing, and ranges of bytes, read by several threads. No object is read as a whole, but small ones such as
config.json. What is read is of the object that was listed: S3 compares its ETag.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from airflow_provider_cerebras.weights.bucket import BucketFacts
from airflow_provider_cerebras.weights.description import Description, lacks_something, wanted
from airflow_provider_cerebras.weights.digest import digest_of
from airflow_provider_cerebras.weights.errors import S3ExtraMissing, WeightsNotFound, WeightsUnreadable
from airflow_provider_cerebras.weights.findings import KINDS
from airflow_provider_cerebras.weights.objects import Listing, Location, StoredObject

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from airflow_provider_cerebras.weights.policy import Role
    from airflow_provider_cerebras.weights.values import Sample

_NO_BUCKET = {"NoSuchBucket"}
_DENIED = {"AccessDenied", "AllAccessDisabled", "403"}
_OTHER_OBJECT = {"NoSuchKey", "404", "PreconditionFailed", "412", "InvalidRange", "416"}
_ARCHIVED = {"InvalidObjectState"}
_MOST_PAGES_OF_VERSIONS = 20
_NO_ACCOUNT = "000000000000"

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class _Range(NamedTuple):
    stored: StoredObject
    begin: int
    end: int


class _Refused(Exception):
    """S3 answered with an error whose code means something to the caller."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class S3Reader:
    """Ask S3 about the weights at one place.

    :param weight_uri: where they are, ``s3://bucket/prefix``.
    :param aws_conn_id: id of the AWS connection; None: AWS's own search for credentials.
    :ivar requests: how many requests have been sent.
    :raises ValueError: if ``weight_uri`` has another form.
    :raises S3ExtraMissing: if the Amazon provider is not installed.
    """

    def __init__(self, weight_uri: str, aws_conn_id: str | None = "aws_default") -> None:
        self.location = Location.parse(weight_uri)
        self.requests = 0
        self._aws_conn_id = aws_conn_id
        self._s3 = _client(aws_conn_id)
        self._kms_keys: set[str] = set()

    def list_objects(self) -> Listing:
        """List all objects under the prefix, by one listing (1,000 objects a request).

        :raises WeightsNotFound: if the bucket does not exist.
        :raises WeightsUnreadable: if S3 does not respond, or refuses.
        """
        bucket, prefix = self.location.bucket, self.location.prefix
        found = []
        with self._errors(self.location.uri, "s3:ListBucket"):
            for page in self._s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
                self.requests += 1
                found += [self._stored(entry, prefix) for entry in page.get("Contents", ())]
        return Listing(self.location, tuple(each for each in found if each.size or not _marks_a_folder(each.key)))

    def describe(self, listing: Listing) -> Description:
        """Read what the checks need to know of the objects that are listed.

        :param listing: the objects.
        :raises WeightsUnreadable: if S3 does not respond, or refuses.
        """
        if not listing.objects:
            listing = replace(listing, is_object=self._is_object())
        description = Description(listing)
        while needs := wanted(description):
            description = self._read_more(description, needs)
        if lacks_something(description):
            description = replace(description, listing=replace(listing, deleted=self._deleted(listing)))
        return description

    def read(self, listing: Listing, samples: Iterable[Sample]) -> dict[Sample, bytes]:
        """Read samples of tensors; what has been replaced meanwhile is left out.

        :param listing: the objects.
        :param samples: which bytes of them.
        :raises WeightsUnreadable: if S3 does not respond, or refuses.
        """
        objects = {each.key: each for each in listing.objects}

        def one(sample: Sample) -> tuple[Sample, bytes | None]:
            try:
                return sample, self._range(_Range(objects[sample.key], sample.begin, sample.end))
            except _Refused:
                return sample, None

        return {sample: content for sample, content in self._in_threads(one, samples) if content is not None}

    def bucket_facts(self, role: Role) -> BucketFacts:
        """Ask what keeps a role from reading the bucket. What may not be asked stays unknown.

        :param role: the role.
        :raises WeightsUnreadable: if S3 does not respond.
        """
        policy = self._ask("get_bucket_policy")
        encryption = self._ask("get_bucket_encryption").get("ServerSideEncryptionConfiguration", {})
        rules = [rule.get("ApplyServerSideEncryptionByDefault", {}) for rule in encryption.get("Rules", ())]
        kms = [rule for rule in rules if str(rule.get("SSEAlgorithm", "")).startswith("aws:kms")]
        location = self._ask("get_bucket_location")
        problem = policy.get("Refused", "")
        return BucketFacts(
            policy=policy.get("Policy"),
            policy_problem="" if problem == "NoSuchBucketPolicy" else problem,
            region="" if "Refused" in location else location.get("LocationConstraint") or "us-east-1",
            default_kms_key=kms[0].get("KMSMasterKeyID", "") if kms else None,
            kms_keys=frozenset(self._kms_keys),
            requester_pays=self._ask("get_bucket_request_payment").get("Payer") == "Requester",
            in_account_of_role=self._is_owned_by(role.account) and not self._is_owned_by(_NO_ACCOUNT),
        )

    def _stored(self, entry: Any, prefix: str) -> StoredObject:
        etag = str(entry.get("ETag") or "").strip('"')
        if not etag:
            what = "has no ETag in the listing, without which it cannot be known whether it was replaced"
            raise WeightsUnreadable(f"s3://{self.location.bucket}/{entry['Key']} {what}.")
        storage_class = entry.get("StorageClass") or "STANDARD"
        written = entry.get("LastModified")
        return StoredObject(entry["Key"].removeprefix(prefix), entry["Size"], etag, storage_class, written)

    def _is_owned_by(self, account: str) -> bool:
        """Whether S3 says so; a service that is not AWS's own may say it of any account."""
        return "Refused" not in self._ask("head_bucket", ExpectedBucketOwner=account)

    def _read_more(self, description: Description, needs: dict[str, int]) -> Description:
        objects = description.objects
        beginnings = dict(description.beginnings)
        archived, changed = set(description.archived), set(description.changed)

        def one(key: str) -> tuple[str, bytes, str]:
            try:
                return key, self._range(_Range(objects[key], len(beginnings.get(key, b"")), needs[key])), ""
            except _Refused as refused:
                return key, b"", refused.code

        for key, content, refused in self._in_threads(one, list(needs)):
            beginning = beginnings.get(key, b"") + content
            if refused in _ARCHIVED:
                archived.add(key)
            elif len(beginning) < needs[key]:
                changed.add(key)
            else:
                beginnings[key] = beginning
        return replace(description, beginnings=beginnings, archived=frozenset(archived), changed=frozenset(changed))

    def _range(self, part: _Range) -> bytes:
        """Read a range of bytes of the object that was listed."""
        key = f"{self.location.prefix}{part.stored.key}"
        with self._errors(f"s3://{self.location.bucket}/{key}", "s3:GetObject", passing=_OTHER_OBJECT | _ARCHIVED):
            answer = self._s3.get_object(
                Bucket=self.location.bucket,
                Key=key,
                Range=f"bytes={part.begin}-{part.end - 1}",
                IfMatch=f'"{part.stored.etag}"',
            )
            with answer["Body"] as body:
                # A service that knows no ranges sends the whole object, and only the wanted part is read.
                skipped = 0 if answer.get("ContentRange") else part.begin
                content: bytes = body.read(skipped + part.end - part.begin)
        if key_of_kms := answer.get("SSEKMSKeyId"):
            self._kms_keys.add(key_of_kms)
        return content[skipped:]

    def _in_threads(self, function: Callable[[_Item], _Result], items: Iterable[_Item]) -> Sequence[_Result]:
        # As many threads as the client has connections, a number that the AWS connection can change.
        pool = ThreadPoolExecutor(self._s3.meta.config.max_pool_connections, thread_name_prefix="weights")
        try:
            futures = [pool.submit(function, item) for item in items]
            self.requests += len(futures)
            return [future.result() for future in futures]
        finally:
            pool.shutdown(cancel_futures=True)

    def _is_object(self) -> bool:
        """Whether the URI itself is an object."""
        path = self.location.path
        with self._errors(self.location.uri, "s3:ListBucket"):
            self.requests += 1
            answer = self._s3.list_objects_v2(Bucket=self.location.bucket, Prefix=path, MaxKeys=1)
        return any(entry["Key"] == path for entry in answer.get("Contents", ()))

    def _deleted(self, listing: Listing) -> frozenset[str]:
        """Keys that a delete marker hides, as far as the connection may ask."""
        prefix = self.location.prefix
        pages = self._s3.get_paginator("list_object_versions").paginate(
            Bucket=self.location.bucket,
            Prefix=prefix,
            PaginationConfig={"MaxItems": 1000 * _MOST_PAGES_OF_VERSIONS},
        )
        deleted: set[str] = set()
        try:
            with self._errors(self.location.uri, "s3:ListBucketVersions"):
                for page in pages:
                    self.requests += 1
                    markers = page.get("DeleteMarkers", ())
                    deleted.update(marker["Key"].removeprefix(prefix) for marker in markers if marker["IsLatest"])
        except WeightsUnreadable:
            return frozenset()
        return frozenset(deleted - {each.key for each in listing.objects})

    def _ask(self, method: str, **arguments: str) -> dict[str, Any]:
        """Ask about the bucket; an error that S3 answers with is the key ``Refused``."""
        from botocore.exceptions import ClientError

        self.requests += 1
        with self._errors(self.location.uri, method):
            try:
                answer: dict[str, Any] = getattr(self._s3, method)(Bucket=self.location.bucket, **arguments)
            except ClientError as error:
                return {"Refused": _code(error)}
        return answer

    @contextmanager
    def _errors(self, uri: str, action: str, *, passing: set[str] | frozenset[str] = frozenset()) -> Iterator[None]:
        from botocore.exceptions import BotoCoreError, ClientError

        by = f"the AWS connection {self._aws_conn_id!r}" if self._aws_conn_id else "the AWS credentials found"
        try:
            yield
        except ClientError as error:
            code = _code(error)
            if code in passing:
                raise _Refused(code) from error
            if code in _NO_BUCKET:
                raise WeightsNotFound(
                    f"{uri} cannot be read: there is no bucket {self.location.bucket!r}. "
                    f"{KINDS['bucket-missing'].remedy}"
                ) from error
            remedy = f"Allow {action} there to {by}, and kms:Decrypt if it is encrypted."
            if code not in _DENIED:
                remedy = f"Check endpoint, region and credentials of {by}."
            raise WeightsUnreadable(f"{uri} cannot be read: {error}. {remedy}") from error
        except BotoCoreError as error:
            raise WeightsUnreadable(
                f"{uri} cannot be read by {by}: {error}. Check its endpoint, region and credentials."
            ) from error


def weights_digest(weight_uri: str, aws_conn_id: str | None = "aws_default") -> str:
    """Return the digest of the weights at a URI, 64 hexadecimal digits.

    A training task calls it when it has written everything, and returns it beside the URI. The task that compares it
    later notices if an object was added, removed or replaced in between.

    :param weight_uri: where the weights are, ``s3://bucket/prefix``.
    :param aws_conn_id: id of the AWS connection, which needs ``s3:ListBucket``; default: ``aws_default``;
        None: AWS's own search for credentials.
    :raises ValueError: if ``weight_uri`` has another form.
    :raises S3ExtraMissing: if the Amazon provider is not installed.
    :raises WeightsNotFound: if the bucket does not exist, or there is no object under the prefix.
    :raises WeightsUnreadable: if S3 does not respond, or refuses.
    """
    listing = list_weights(weight_uri, aws_conn_id)
    if not listing.objects:
        raise WeightsNotFound(
            f"There is no object under {listing.location.uri}, so there is nothing to digest. "
            f"{KINDS['nothing-there'].remedy}"
        )
    return digest_of(listing.objects)


def list_weights(weight_uri: str, aws_conn_id: str | None = "aws_default") -> Listing:
    """List the objects under a URI; their digest is ``digest_of(listing.objects)``.

    :param weight_uri: where the weights are, ``s3://bucket/prefix``.
    :param aws_conn_id: id of the AWS connection, which needs ``s3:ListBucket``; default: ``aws_default``;
        None: AWS's own search for credentials.
    :raises ValueError: if ``weight_uri`` has another form.
    :raises S3ExtraMissing: if the Amazon provider is not installed.
    :raises WeightsNotFound: if the bucket does not exist. A prefix without objects gives an empty listing.
    :raises WeightsUnreadable: if S3 does not respond, or refuses.
    """
    return S3Reader(weight_uri, aws_conn_id).list_objects()


def _client(aws_conn_id: str | None) -> Any:
    try:
        from airflow.providers.amazon.aws.hooks.s3 import S3Hook
    except ImportError as error:
        raise S3ExtraMissing from error
    return S3Hook(aws_conn_id=aws_conn_id).get_conn()


def _code(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _marks_a_folder(key: str) -> bool:
    return not key or key.endswith("/")
