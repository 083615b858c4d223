"""The listing of the weights in S3: the objects under a prefix, their sizes and their ETags."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from airflow_provider_cerebras.api.names import split_weight_uri

if TYPE_CHECKING:
    from datetime import datetime


class Location(NamedTuple):
    """The location of weights.

    :param bucket: the bucket.
    :param path: the part of the URI after the bucket, without a slash at its end.
    """

    bucket: str
    path: str

    @classmethod
    def parse(cls, weight_uri: object) -> Location:
        """Read a URI of the form ``s3://bucket/prefix``; a slash at its end makes no difference.

        :param weight_uri: the URI.
        :raises ValueError: if it has another form.
        """
        return cls(*split_weight_uri(weight_uri))

    @property
    def prefix(self) -> str:
        """The prefix of the keys of all objects. It ends with a slash, so ``run`` does not include ``run-2``."""
        return f"{self.path}/"

    @property
    def uri(self) -> str:
        """The URI of the prefix, with a slash at its end."""
        return f"s3://{self.bucket}/{self.prefix}"


class StoredObject(NamedTuple):
    """One object, as a listing describes it.

    :param key: its key relative to the prefix, without a slash at its beginning.
    :param size: its size in bytes.
    :param etag: its ETag, without quotes.
    :param storage_class: its storage class, such as ``STANDARD`` or ``GLACIER``.
    :param written: when it was written, if known; no part of the digest.
    """

    key: str
    size: int
    etag: str
    storage_class: str = "STANDARD"
    written: datetime | None = None

    @property
    def in_root(self) -> bool:
        """Whether it is directly under the prefix, not in a folder below it."""
        return "/" not in self.key


@dataclass(frozen=True, slots=True)
class Listing:
    """All objects under a prefix, by one listing.

    :param location: where they are.
    :param objects: the objects, in the order of their keys. Empty objects whose key ends with a slash are left out:
        consoles make them to show a folder, and they hold nothing.
    :param is_object: whether the URI itself, without the slash, is an object.
    :param deleted: keys, relative to the prefix, of objects that a delete marker hides; known only after a look at the
        versions in the bucket, which is done where something is missing.
    """

    location: Location
    objects: tuple[StoredObject, ...]
    is_object: bool = False
    deleted: frozenset[str] = frozenset()

    @property
    def total_bytes(self) -> int:
        """The size of all objects, in bytes."""
        return sum(each.size for each in self.objects)

    def uri_of(self, key: str) -> str:
        """The URI of an object.

        :param key: its key relative to the prefix.
        """
        return f"{self.location.uri}{key}"
