"""Limits of a response's size, values and time, checked before its body is parsed.

A body is bounded in bytes as it comes in and as it is unpacked, and in JSON values before it is parsed: a value of two
bytes becomes one of hundreds, so 16 MiB of ``{}`` would become gigabytes, and a triggerer would stand still for as long
as that takes. No compressed bodies are asked for; a gateway that sends one all the same is understood.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_RESPONSE_BYTES = 16 * 1024 * 1024
"""A response that is larger than this many bytes, as it comes in or unpacked, is refused."""
MAX_RESPONSE_VALUES = 500_000
"""A response with more brackets, commas and escapes than this is refused; a model version has about 14."""
MAX_ERROR_BYTES = 64 * 1024
"""Bytes of an error's body that are read."""
_WITH_GZIP_HEADER = zlib.MAX_WBITS | 16
_WITHOUT_HEADER = -zlib.MAX_WBITS


class BodyRefused(Exception):
    """The body costs more than a response may; the message completes "the response ..."."""


class Body:
    """A body as it comes in, up to :data:`MAX_RESPONSE_BYTES`.

    :param headers: the response's header fields, compared without case.
    """

    def __init__(self, headers: Mapping[str, str]) -> None:
        codings = (each.strip() for each in headers.get("content-encoding", "").lower().split(","))
        self._encoding = ", ".join(each.removeprefix("x-") for each in codings if each not in {"", "identity"})
        self._content = bytearray()

    @property
    def is_large(self) -> bool:
        """Whether unpacking or reading it would hold an event loop up."""
        return len(self._content) > 64 * 1024 or self.is_packed

    @property
    def is_packed(self) -> bool:
        """Whether it is compressed."""
        return self._encoding != ""

    def is_same(self, content: bytes) -> bool:
        """Whether it came in as these bytes, and uncompressed.

        :param content: the bytes.
        """
        return self._content == content and not self.is_packed

    def add(self, piece: bytes) -> None:
        """Take one more piece.

        :raises BodyRefused: if it has become too large.
        """
        self._content += piece
        if len(self._content) > MAX_RESPONSE_BYTES:
            raise _too_large()

    def complete(self) -> bytes:
        """Return all of it, unpacked.

        :raises BodyRefused: if it is compressed in a way that is not understood, is no such thing, or ends too early,
            or becomes too large.
        """
        return unpack(bytes(self._content), self._encoding) if self.is_packed else bytes(self._content)

    def beginning(self) -> tuple[bytes, bool]:
        """Return the first :data:`MAX_ERROR_BYTES` as far as they can be had, and whether there may be more."""
        content = bytes(self._content)
        cut = False
        if self.is_packed:
            try:
                content, cut = _unpack_beginning(content, self._encoding)
            except BodyRefused:
                return b"", True
        return content[:MAX_ERROR_BYTES], cut or len(content) > MAX_ERROR_BYTES


def unpack(content: bytes, encoding: str) -> bytes:
    """Unpack a body, but no more of it than a response may have.

    :param content: the body.
    :param encoding: its ``Content-Encoding``.
    :raises BodyRefused: see :meth:`Body.complete`.
    """
    unpacked = bytearray()
    rest = content
    try:
        while rest:  # gzip may have several parts
            unpacker = _unpacker(encoding, rest)
            unpacked += unpacker.decompress(rest, MAX_RESPONSE_BYTES + 1 - len(unpacked))
            if len(unpacked) > MAX_RESPONSE_BYTES:
                raise _too_large()
            if not unpacker.eof:
                raise BodyRefused("ends too early")
            rest = unpacker.unused_data
    except zlib.error:
        raise BodyRefused(f"says that it is compressed by {encoding}, and is not") from None
    return bytes(unpacked)


def _unpack_beginning(content: bytes, encoding: str) -> tuple[bytes, bool]:
    unpacker = _unpacker(encoding, content)
    try:
        unpacked = unpacker.decompress(content, MAX_ERROR_BYTES + 1)
    except zlib.error:
        raise BodyRefused("is broken") from None
    return unpacked, not unpacker.eof


def _unpacker(encoding: str, content: bytes) -> zlib._Decompress:
    if encoding == "gzip":
        return zlib.decompressobj(_WITH_GZIP_HEADER)
    if encoding == "deflate":
        # It should have a header, and often has none.
        has_header = len(content) > 1 and content[0] & 15 == 8 and (content[0] << 8 | content[1]) % 31 == 0
        return zlib.decompressobj(zlib.MAX_WBITS if has_header else _WITHOUT_HEADER)
    raise BodyRefused("is compressed in a way that was not asked for")


def check_values(body: bytes) -> None:
    """Refuse to parse what would take too long or too much memory.

    :param body: a body that may be JSON.
    :raises BodyRefused: if there may be more than :data:`MAX_RESPONSE_VALUES` values in it.
    """
    if sum(map(body.count, (b"[", b"{", b",", b"\\"))) > MAX_RESPONSE_VALUES:
        raise BodyRefused(f"holds more than {MAX_RESPONSE_VALUES} values")


def _too_large() -> BodyRefused:
    return BodyRefused(f"is larger than {MAX_RESPONSE_BYTES // 1024**2} MiB")
