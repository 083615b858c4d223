"""The input of the checks: a listing and the first bytes of some objects, and which bytes those are.

The reader asks :func:`wanted` what to read, reads it, and asks again, until nothing is wanted any more. All decisions
are here and in the checks, so they can be tested without S3.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow_provider_cerebras.weights.json_text import BadJson, json_object
from airflow_provider_cerebras.weights.safetensors import bytes_wanted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airflow_provider_cerebras.weights.objects import Listing, StoredObject

CONFIG = "config.json"
ADAPTER_CONFIG = "adapter_config.json"
SAFETENSORS = ".safetensors"
WHOLE_MODEL = "model.safetensors"
INDEX = ".safetensors.index.json"
MODEL_INDEX = f"model{INDEX}"
"""The index that readers look for; what other indexes say is of no consequence to them."""
FIRST_BYTES = 32 * 1024
"""Bytes of a safetensors file that are read at first; they hold most headers as a whole."""
SMALL_BYTES = 1024
"""The size up to which an object may be a Git LFS pointer or an error in place of a file."""
MAX_CONFIG_BYTES = 4 << 20
MAX_INDEX_BYTES = 64 << 20
MAX_READ_HEADER_BYTES = 32 << 20
MAX_BYTES_IN_ALL = 512 << 20
"""Bytes that are kept of all objects together. Headers beyond it are not checked."""

TOKENIZER = re.compile(
    r"tokenizer\.(json|model)|vocab\.(json|txt)|tekken\.json|spiece\.model|sentencepiece\.bpe\.model|.*\.tiktoken"
)


@dataclass(frozen=True, slots=True)
class Description:
    """The listing of the weights, and the first bytes of some objects.

    :param listing: the objects.
    :param beginnings: the first bytes of objects, by key.
    :param archived: keys of objects that were to be read and are archived.
    :param changed: keys of objects that were to be read and were not as listed any more.
    """

    listing: Listing
    beginnings: Mapping[str, bytes] = field(default_factory=dict)
    archived: frozenset[str] = frozenset()
    changed: frozenset[str] = frozenset()

    @property
    def objects(self) -> dict[str, StoredObject]:
        """The objects by key."""
        return {each.key: each for each in self.listing.objects}

    def unreadable(self, key: str) -> bool:
        """Whether an object was to be read and could not be.

        :param key: its key.
        """
        return key in self.archived or key in self.changed


def index_keys(listing: Listing) -> list[str]:
    """Keys of the indexes of shards in the root, that of the model first.

    :param listing: the objects.
    """
    keys = [each.key for each in listing.objects if each.in_root and each.key.endswith(INDEX)]
    return sorted(keys, key=lambda key: (key != MODEL_INDEX, key))


def weight_map_of(content: bytes) -> dict[str, str]:
    """The ``weight_map`` of an index, from tensors to shards.

    :param content: the index.
    :raises BadJson: if it has none.
    """
    weight_map = json_object(content, unique_keys=False).get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(shard, str) and shard for shard in weight_map.values()):
        raise BadJson("has no weight_map from tensors to shards")
    if not weight_map:
        raise BadJson("has a weight_map that names no tensor")
    return weight_map


def wanted(description: Description) -> dict[str, int]:
    """Return the number of first bytes to read of each object that are not there yet; empty: all are there.

    :param description: the facts known so far.
    """
    budget = MAX_BYTES_IN_ALL - sum(map(len, description.beginnings.values()))
    result = {}
    for each, count in _needs(description):
        have = len(description.beginnings.get(each.key, b""))
        if have < count and not description.unreadable(each.key) and count - have <= budget:
            result[each.key] = count
            budget -= count - have
    return result


def lacks_something(description: Description) -> bool:
    """Whether something is not there that a model has, so that it is worth asking if a delete marker hides it.

    :param description: the facts known of the weights.
    """
    keys = {each.key for each in description.listing.objects}
    has_weights = any("/" not in key and key.endswith(SAFETENSORS) for key in keys)
    return not has_weights or CONFIG not in keys or not _named_by_the_index(description) <= keys


def _needs(description: Description) -> Iterator[tuple[StoredObject, int]]:
    """Return the bytes to read of each object, in the order of importance."""
    for each in description.listing.objects:
        if each.in_root and each.size and (limit := _whole_up_to(each.key)) and each.size <= limit:
            yield each, each.size
    named = _named_by_the_index(description)
    for each in description.listing.objects:
        if each.size and (each.key in named or (each.in_root and each.key.endswith(SAFETENSORS))):
            beginning = description.beginnings.get(each.key)
            count = FIRST_BYTES if beginning is None else bytes_wanted(beginning, each.size)
            yield each, min(each.size, count if count <= MAX_READ_HEADER_BYTES else FIRST_BYTES)


def _whole_up_to(key: str) -> int:
    if key.endswith(INDEX):
        return MAX_INDEX_BYTES
    if key in {CONFIG, ADAPTER_CONFIG}:
        return MAX_CONFIG_BYTES
    return SMALL_BYTES if TOKENIZER.fullmatch(key) else 0


def _named_by_the_index(description: Description) -> set[str]:
    try:
        return set(weight_map_of(description.beginnings.get(MODEL_INDEX, b"")).values())
    except BadJson:
        return set()
