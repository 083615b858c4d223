"""The header of a safetensors file: eight bytes with its length, then JSON that says where each tensor lies.

A header can come from any source, so nothing in it is believed before it is checked. The rules are those of the
format's own library; only a dtype that is not known here is tolerated, since the format gains some from time to time.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from airflow_provider_cerebras.weights.json_text import BadJson, json_object

LENGTH_BYTES = 8
MAX_HEADER_BYTES = 100_000_000
"""More than that no reader of the format takes."""
_MAX_SIZE = 1 << 64

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

_OTHER_FILES = {
    b"GGUF": "a GGUF file",
    b"PK\x03\x04": "a ZIP archive, such as a PyTorch checkpoint",
    b"\x80\x02": "a pickle, such as a PyTorch checkpoint",
    b"\x1f\x8b": "a gzip archive",
    b"\x89HDF": "an HDF5 file",
}


class Tensor(NamedTuple):
    """The dtype, shape and place of one tensor.

    :param dtype: the type of its elements, as the format calls it.
    :param shape: its shape.
    :param begin: its first byte, counted from the end of the header.
    :param end: the byte after its last one.
    """

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int

    @property
    def elements(self) -> int:
        """The number of its elements."""
        return math.prod(self.shape)


class Header(NamedTuple):
    """The contents of a header.

    :param tensors: the tensors by name.
    :param data_begin: the byte of the object that the tensors' bytes are counted from.
    """

    tensors: dict[str, Tensor]
    data_begin: int


class BadHeader(ValueError):
    """An object is not a sound safetensors file.

    :ivar code: the kind of finding.
    :ivar tensor: the tensor that is at fault, if it is one.
    """

    def __init__(self, code: str, what: str, tensor: str | None = None) -> None:
        super().__init__(what)
        self.code = code
        self.tensor = tensor


def looks_like(beginning: bytes) -> str | None:
    """The code of the finding if something is in place of a file, a Git LFS pointer or a web page; else None.

    :param beginning: the first bytes of the object.
    """
    if beginning.startswith(b"version https://git-lfs.github.com/spec/"):
        return "git-lfs-pointer"
    start = beginning[:200].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return "web-page" if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<error")) else None


def bytes_wanted(beginning: bytes, size: int) -> int:
    """Return the number of an object's first bytes that its header takes, as far as it is worth reading.

    :param beginning: its first bytes, at least eight if it has so many.
    :param size: its size in bytes.
    """
    try:
        return LENGTH_BYTES + header_length(beginning, size)
    except BadHeader:
        return len(beginning)


def header_length(beginning: bytes, size: int) -> int:
    """The length of a header in bytes.

    :param beginning: the object's first bytes.
    :param size: its size in bytes.
    :raises BadHeader: if the object cannot be a safetensors file.
    """
    if not size:
        raise BadHeader("empty-object", "It has no bytes.")
    if code := looks_like(beginning):
        raise BadHeader(code, f"It begins with {beginning[:40].decode('ascii', 'replace')!r}.")
    if size < LENGTH_BYTES + 2:
        raise BadHeader("not-safetensors", f"It has {size} bytes, which is too little for a safetensors file.")
    length = int.from_bytes(beginning[:LENGTH_BYTES], "little")
    if beginning[LENGTH_BYTES : LENGTH_BYTES + 1] != b"{" or not 2 <= length <= MAX_HEADER_BYTES:
        # Not before: a length of 640 bytes begins like a pickle.
        other = next((name for magic, name in _OTHER_FILES.items() if beginning.startswith(magic)), None)
        what = f"It is {other}." if other else "It does not begin with the header of a safetensors file."
        raise BadHeader("not-safetensors", what)
    if length > size - LENGTH_BYTES:
        raise BadHeader("cut-off", f"Its header alone takes {length} bytes, and it has {size} in all.")
    return length


def parse_header(beginning: bytes, size: int) -> Header:
    """Read a header and check it against the size of the object.

    :param beginning: the object's first bytes, with the whole header.
    :param size: its size in bytes.
    :raises BadHeader: if the object is not a sound safetensors file.
    """
    length = header_length(beginning, size)
    data_begin = LENGTH_BYTES + length
    try:
        # Its library knows nothing but UTF-8. Python's reader of JSON would take bytes of UTF-16 as well.
        entries = json_object(beginning[LENGTH_BYTES:data_begin].decode("utf-8"))
    except UnicodeDecodeError as error:
        raise BadHeader("bad-header", "Its header is not UTF-8.") from error
    except BadJson as error:
        raise BadHeader("bad-header", f"Its header {error}.") from error
    metadata = entries.pop("__metadata__", None)
    if metadata is not None and not (
        isinstance(metadata, dict) and all(isinstance(value, str) for value in metadata.values())
    ):
        raise BadHeader("bad-header", "__metadata__ in its header is not an object of strings.")
    tensors = {name: _tensor(name, entry) for name, entry in entries.items()}
    _check_ranges(tensors, size - data_begin)
    return Header(tensors, data_begin)


def _tensor(name: str, entry: object) -> Tensor:
    def bad(what: str) -> BadHeader:
        return BadHeader("bad-header", what, name)

    if not name.isascii() and _has_surrogates(name):
        raise bad("The name of a tensor in its header is not Unicode.")
    if not isinstance(entry, dict) or not entry.keys() >= {"dtype", "shape", "data_offsets"}:
        raise bad("A tensor in its header does not have dtype, shape and data_offsets.")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str):
        raise bad("The dtype of a tensor in its header is not a string.")
    if not _are_sizes(shape):
        raise bad("The shape of a tensor in its header is not a list of sizes.")
    if not _are_sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise bad("The data_offsets of a tensor in its header are not a range of bytes.")
    tensor = Tensor(dtype, tuple(shape), *offsets)
    taken = (tensor.end - tensor.begin) * 8
    elements = _elements(tensor.shape)
    if elements is None:
        raise bad("The shape of a tensor in its header is larger than any file.")
    if dtype in DTYPE_BITS and taken != elements * DTYPE_BITS[dtype]:
        raise bad(f"A tensor has {taken // 8} bytes in its header, which is not what {dtype} of its shape takes.")
    return tensor


def _has_surrogates(name: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in name)


def _are_sizes(value: object) -> bool:
    # JSON's true would pass for the integer 1.
    return isinstance(value, list) and all(type(each) is int and 0 <= each < _MAX_SIZE for each in value)


def _elements(shape: tuple[int, ...]) -> int | None:
    """The number of elements; None: more than any file can have."""
    count = 1
    for dimension in shape:
        count *= dimension
        if count >= _MAX_SIZE:
            return None
    return count


def _check_ranges(tensors: dict[str, Tensor], data_size: int) -> None:
    reached, before = 0, ""
    for name, tensor in sorted(tensors.items(), key=lambda item: (item[1].begin, item[1].end)):
        if tensor.begin < reached:
            raise BadHeader("bad-header", f"Its header puts a tensor onto bytes of {before[:200]!a}.", name)
        if tensor.begin > reached:
            what = f"In its header, {tensor.begin - reached} bytes before a tensor belong to no tensor."
            raise BadHeader("bad-header", what, name)
        reached, before = tensor.end, name
    if reached > data_size:
        raise BadHeader("cut-off", f"Its tensors take {reached} bytes, and it has {data_size} for them.", before)
    if reached < data_size:
        raise BadHeader("bytes-left-over", f"It has {data_size - reached} bytes that belong to no tensor.")
