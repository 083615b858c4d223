"""What an answer may cost us, and what must not be left in it; before anything looks into a body, it comes by here.

A body is bounded in bytes as it comes in, and in JSON values before it is parsed: a value of two bytes becomes one of
hundreds, so 16 MiB of ``{}`` would become gigabytes, and a triggerer would stand still for as long as that takes. That
is also why no compressed bodies are asked for, whose size nobody knows before they are unpacked.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from airflow_provider_cerebras.api.errors import longest_first

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MAX_RESPONSE_BYTES = 16 * 1024 * 1024
"""An answer that is larger than this many bytes is refused."""
MAX_RESPONSE_VALUES = 500_000
"""An answer with more brackets, commas and escapes than this is refused; a model version has about 14."""
_ESCAPE = re.compile(rb"\\(?:u00([0-9a-fA-F]{2})|.)", re.DOTALL)


class BodyRefused(Exception):
    """The body costs more than an answer may; the message completes "the answer ..."."""


class Body:
    """A body as it comes in, up to :data:`MAX_RESPONSE_BYTES`.

    :param headers: the answer's header fields, compared without case.
    :raises BodyRefused: if it is compressed.
    """

    def __init__(self, headers: Mapping[str, str]) -> None:
        encoding = headers.get("content-encoding", "identity").strip().lower()
        if encoding not in {"", "identity"}:
            raise BodyRefused("is compressed, which was not asked for")
        self._content = bytearray()

    def add(self, piece: bytes) -> None:
        """Take one more piece.

        :raises BodyRefused: if it has become too large.
        """
        self._content += piece
        if len(self._content) > MAX_RESPONSE_BYTES:
            raise BodyRefused(f"is larger than {MAX_RESPONSE_BYTES // 1024**2} MiB")

    def complete(self) -> bytes:
        """Return all of it."""
        return bytes(self._content)


def check_values(body: bytes) -> None:
    """Refuse to parse what would take too long or too much memory.

    :param body: a body that may be JSON.
    :raises BodyRefused: if there may be more than :data:`MAX_RESPONSE_VALUES` values in it.
    """
    if sum(map(body.count, (b"[", b"{", b",", b"\\"))) > MAX_RESPONSE_VALUES:
        raise BodyRefused(f"holds more than {MAX_RESPONSE_VALUES} values")


def without_secrets(body: bytes, secrets: Iterable[str]) -> bytes:
    """Take secrets out of a JSON document, whichever of their characters are escaped in it.

    :param body: the document.
    :param secrets: printable ASCII that must not be in it.
    """
    if b"\\" in body:
        body = _ESCAPE.sub(_shortest, body)
    for secret in longest_first(secrets):
        body = body.replace(json.dumps(secret)[1:-1].encode(), b"***")
    return body


def _shortest(escape: re.Match[bytes]) -> bytes:
    """An escape as it has to be: only that of a quotation mark, a backslash or an unprintable character stays."""
    if escape[0] == rb"\/":
        return b"/"
    char = chr(int(escape[1], 16)) if escape[1] else ""
    return json.dumps(char)[1:-1].encode() if char.isascii() and char.isprintable() and char else escape[0]
