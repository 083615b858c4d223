"""Pure checks of weights, file by file. ``s3_weights`` reads the files."""

from __future__ import annotations

import hashlib
import json
import math
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable


LENGTH_BYTES = 8
MAX_HEADER_BYTES = 100_000_000
MAX_JSON_BYTES = 100_000_000
WHOLE_MODEL = "model.safetensors"

DTYPE_BITS = {
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "BOOL": 8,
    "U8": 8,
    "I8": 8,
    "F8_E4M3": 8,
    "F8_E4M3FNUZ": 8,
    "F8_E5M2": 8,
    "F8_E5M2FNUZ": 8,
    "F8_E8M0": 8,
    "U16": 16,
    "I16": 16,
    "F16": 16,
    "BF16": 16,
    "U32": 32,
    "I32": 32,
    "F32": 32,
    "U64": 64,
    "I64": 64,
    "F64": 64,
    "C64": 64,
}


class Tensor(NamedTuple):
    """The properties of a tensor in a header, without its place."""

    dtype: str
    shape: tuple[int, ...]


class WeightsError(Exception):
    """The weights cannot be used; the message names the object and says why."""


class Pace:
    """Paces the reading of weights by the time that passes in the emulator.

    :param at_end: Whether everything is read at the end of the sync; if not, object by object during it.
    """

    def __init__(self, *, at_end: bool) -> None:
        self._at_end = at_end
        self._share = 0.0
        self._due = -1.0
        self._changed = threading.Condition()

    def reach(self, share: float) -> None:
        """Set the share of the sync that has passed, from 0 to 1; called at each request for the version."""
        with self._changed:
            self._share = max(self._share, share)
            self._changed.notify_all()

    def wait(self, due: float) -> None:
        """Wait until an object may be read.

        :param due: The share of the sync after which it may be read.
        """
        with self._changed:
            self._due = 1.0 if self._at_end else due
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._share >= self._due)

    def settle(self) -> None:
        """Wait until all that may be read by now has been."""
        with self._changed:
            self._changed.wait_for(lambda: self._due > self._share, timeout=30)


def digest_of_uri(weight_uri: str, _model_arch_id: str | None = None, _pace: Pace | None = None) -> Future[str]:
    """Return a stand-in for the digest of weights that are not read from S3."""
    future: Future[str] = Future()
    future.set_result(hashlib.sha256(weight_uri.encode()).hexdigest())
    return future


def header_length(start: bytes, object_size: int) -> int:
    """Return the length of a safetensors header in bytes.

    :param start: The first eight bytes of the object, or fewer if it is shorter.
    :param object_size: Size of the whole object in bytes.
    """
    if len(start) < LENGTH_BYTES:
        raise WeightsError(f"it is not a safetensors file: {object_size} bytes are too few")
    length = int.from_bytes(start, "little")
    if length > MAX_HEADER_BYTES:
        raise WeightsError(f"its header claims {length} bytes, more than the {MAX_HEADER_BYTES} allowed")
    if length > object_size - LENGTH_BYTES:
        raise WeightsError(f"its header claims {length} bytes, but the object has {object_size} in all")
    return length


def check_header(header: bytes, data_size: int) -> dict[str, Tensor]:
    """Return the tensors by name; refuse a header that is malformed or does not describe the data after it.

    :param header: The header's JSON.
    :param data_size: Bytes after the header.
    """
    if not header.startswith(b"{"):
        raise WeightsError("its header is not a JSON object")
    try:
        # Left to itself, the reader of JSON takes UTF-16 as well.
        content = header.decode("utf-8")
    except UnicodeDecodeError as error:
        raise WeightsError("its header is not UTF-8") from error
    tensors = _json_object(content, "its header", unique_keys=True)
    metadata = tensors.pop("__metadata__", None)
    if metadata is not None and not _is_of_strings(metadata):
        raise WeightsError("__metadata__ in its header is not an object of strings")
    _check_contiguous([_data_range(name, tensor) for name, tensor in tensors.items()], data_size)
    return {name: Tensor(tensor["dtype"], tuple(tensor["shape"])) for name, tensor in tensors.items()}


def read_config(content: bytes) -> dict[str, Any]:
    """Return a model configuration; refuse one that is not a JSON object."""
    return _json_object(content, "it")


def read_index(content: bytes, shards: Iterable[str]) -> dict[str, str] | None:
    """Return the shard of each tensor, from the index; refuse an index that names a missing shard.

    :param content: The index, ``model.safetensors.index.json``.
    :param shards: Names of the safetensors objects beside it.
    :returns: None if it does not count: readers take a whole model that lies beside an index of something else.
    """
    present = set(shards)
    try:
        weight_map = _weight_map(content)
    except WeightsError:
        if WHOLE_MODEL in present:
            return None
        raise
    missing = set(weight_map.values()) - present
    if missing and WHOLE_MODEL in present and WHOLE_MODEL not in weight_map.values():
        return None
    if missing:
        raise WeightsError(f"it counts on {', '.join(sorted(missing))}, which is missing")
    return weight_map


def _weight_map(content: bytes) -> dict[str, str]:
    weight_map = _json_object(content, "it").get("weight_map")
    if not _is_of_strings(weight_map):
        raise WeightsError("it has no weight_map from tensors to objects")
    if not weight_map:
        raise WeightsError("its weight_map names no tensor")
    found: dict[str, str] = weight_map
    return found


def _json_object(content: bytes | str, what: str, *, unique_keys: bool = False) -> dict[str, Any]:
    def without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(keys := dict(pairs)) < len(pairs):
            raise WeightsError(f"{what} has a key twice")
        return keys

    try:
        value = json.loads(content, object_pairs_hook=without_duplicates if unique_keys else None)
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{what} is not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise WeightsError(f"{what} is not a JSON object")
    return value


def _data_range(name: str, tensor: object) -> tuple[int, int, str]:
    if not isinstance(tensor, dict) or not tensor.keys() >= {"dtype", "shape", "data_offsets"}:
        raise WeightsError(f"tensor {name!r} does not have dtype, shape and data_offsets")
    dtype, shape, offsets = tensor["dtype"], tensor["shape"], tensor["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPE_BITS:
        raise WeightsError(f"tensor {name!r} has the unknown dtype {dtype!r}")
    if not _is_sizes(shape):
        raise WeightsError(f"tensor {name!r} has the impossible shape {shape!r}")
    if not _is_sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise WeightsError(f"tensor {name!r} has the impossible data_offsets {offsets!r}")
    begin, end = offsets
    if (end - begin) * 8 != math.prod(shape) * DTYPE_BITS[dtype]:
        raise WeightsError(f"tensor {name!r} has {end - begin} bytes, which is not what {dtype} x {shape} takes")
    return begin, end, name


def _is_of_strings(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(each, str) for each in value.values())


def _is_sizes(value: object) -> bool:
    # JSON's true would pass for the integer 1.
    return isinstance(value, list) and all(type(each) is int and each >= 0 for each in value)


def _check_contiguous(ranges: list[tuple[int, int, str]], data_size: int) -> None:
    reached = 0
    for begin, end, name in sorted(ranges):
        if begin != reached:
            raise WeightsError(f"tensor {name!r} begins at byte {begin} of the data instead of {reached}")
        reached = end
    if reached > data_size:
        raise WeightsError(f"it is cut off: its tensors take {reached} bytes, but {data_size} are there")
    if reached < data_size:
        raise WeightsError(f"it has {data_size - reached} bytes that belong to no tensor")
