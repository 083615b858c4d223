"""Keeps keys and passwords out of what people read: a string that does not show itself, and its removal from texts.

A service, a proxy or a library may repeat a key in another form than it was sent: escaped as in JSON or HTML,
percent-encoded, or in base64. A string that was cut may end in the middle of one. So redaction comes
before anything is cut, and a key that is cut already is taken out up to the end.
"""

from __future__ import annotations

import html
import json
import logging
import re
from base64 import b64encode
from functools import lru_cache
from typing import TYPE_CHECKING, Self
from urllib.parse import quote, quote_plus

if TYPE_CHECKING:
    from collections.abc import Iterable

HIDDEN = "***"
_LEAST_PART = 4
"""Number of characters of a key with which a string may end by chance."""
_LEAST_CORE = 8
# What text has of these as a rule, such as the escape of a quotation mark or of a letter with an accent, is not meant.
_ESCAPES = re.compile(rb"\\(?:[uU](?:0000)?00[2-7]|x[2-7]|/|\\)|%[2-7]|&")
_WINDOW = 256 * 1024
_BASE64_CHARACTERS = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_=")


class Secret(str):
    """A string that neither prints nor formats itself, so that no traceback with local variables shows it.

    It is equal to the string that it holds, and every method of a string works on what it holds.
    """

    __slots__ = ()

    def __new__(cls, value: str) -> Self:
        # If the value is hidden already, take its string, not its masked form.
        return super().__new__(cls, value[:])

    def __repr__(self) -> str:
        return repr(HIDDEN)

    def __str__(self) -> str:
        return HIDDEN

    def __format__(self, spec: str) -> str:
        return format(HIDDEN, spec)

    @classmethod
    def of(cls, value: str | None) -> Self | None:
        """Hide a string; return None for an empty string or None.

        :param value: the string.
        """
        return cls(value) if value else None

    def reveal(self) -> str:
        """Return the string itself."""
        return self[:]


class Redactor:
    """Takes secrets out of texts, in whatever form they stand there.

    :param secrets: what must not be in them; empty ones are passed over.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        # Of a secret that holds another, nothing may be left.
        revealed = sorted({secret[:].encode() for secret in secrets if secret}, key=len, reverse=True)
        self._forms = sorted({form for secret in revealed for form in _forms(secret)}, key=len, reverse=True)
        self._cores = sorted({core for secret in revealed for core in _base64_cores(secret)}, key=len, reverse=True)
        self._characters = [[re.compile(_any_form(char)) for char in secret] for secret in revealed]
        # Apart, because a search is much faster if the pattern begins with a fixed character.
        self._escaped = [
            re.compile(first + b"".join(map(_any_form, secret[1:])))
            for secret in revealed
            for first in _each_form(secret[0])
        ]
        self._longest = max((14 * len(secret) for secret in revealed), default=0)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def text(self, text: str, *, cut_off: bool = False) -> str:
        """Take the secrets out of a string.

        :param text: the text.
        :param cut_off: whether it may end in the middle of a secret.
        """
        return self.body(text.encode("utf-8", "surrogatepass"), cut_off=cut_off).decode("utf-8", "surrogatepass")

    def body(self, body: bytes, *, cut_off: bool = False) -> bytes:
        """Take the secrets out of a body. A JSON document stays one, and nothing else in it changes.

        :param body: the body.
        :param cut_off: see :meth:`text`.
        """
        hidden = HIDDEN.encode()
        for form in self._forms:
            body = body.replace(form, hidden)
        for core in self._cores:
            body = _without_base64(body, core)
        if any(_ESCAPES.search(body, begin, begin + _WINDOW + 10) for begin in range(0, len(body), _WINDOW)):
            for pattern in self._escaped:
                body = self._substitute(pattern, body)
        return self._without_part(body) if cut_off else body

    def _substitute(self, pattern: re.Pattern[bytes], body: bytes) -> bytes:
        # In windows, because no other thread runs during a search for a pattern.
        kept, begin = [], 0
        while begin < len(body):
            end = begin + _WINDOW
            if match := pattern.search(body, begin, end + self._longest):
                kept += [body[begin : match.start()], HIDDEN.encode()]
                begin = match.end()
            else:
                kept.append(body[begin:end])
                begin = end
        return b"".join(kept)

    def _without_part(self, body: bytes) -> bytes:
        """Remove a part of a secret at the end of a body, even if it is escaped."""
        start = len(body)
        for characters in self._characters:
            for position in range(max(0, len(body) - 14 * len(characters)), len(body)):
                if _is_part(characters, body, position):
                    start = min(start, position)
                    break
        for core in self._cores:
            part = next((n for n in range(len(core) - 1, _LEAST_CORE - 1, -1) if body.endswith(core[:n])), 0)
            start = min(start, len(body) - part)
        return body[:start]


@lru_cache(maxsize=64)
def redactor_of(secrets: tuple[str, ...]) -> Redactor:
    """Return a redactor; making one costs more than using it.

    :param secrets: see :class:`Redactor`.
    """
    return Redactor(secrets)


def redact(text: str, secrets: Iterable[str]) -> str:
    """Take secrets out of a string.

    :param text: the text.
    :param secrets: what must not be in it; empty ones are passed over.
    """
    return redactor_of(tuple(secrets)).text(text)


class RedactingFilter(logging.Filter):
    """Takes keys out of what httpcore logs at DEBUG: header fields of responses, whatever a service repeats there."""

    secrets: frozenset[str] = frozenset()

    def filter(self, record: logging.LogRecord) -> bool:
        """Redact the record, and let it pass."""
        record.msg, record.args = redact(record.getMessage(), sorted(self.secrets)), ()
        return True


def _forms(secret: bytes) -> set[bytes]:
    """The usual forms of a secret, but for base64."""
    text = secret.decode()
    percent = "".join(f"%{byte:02x}" for byte in secret)
    spelled = json.dumps(text)[1:-1]
    forms = {text, spelled, spelled.replace("/", r"\/"), json.dumps(text, ensure_ascii=False)[1:-1], percent}
    forms |= {quote(text, safe=""), quote(text), quote_plus(text), html.escape(text), percent.upper()}
    forms |= {re.sub("%[0-9A-F]{2}", lambda code: code[0].lower(), form) for form in forms}
    return {form.encode() for form in forms}


def _base64_cores(secret: bytes) -> set[bytes]:
    """Return the base64 forms of a secret within longer strings, without the characters that its neighbours change."""
    cores = set()
    for before in range(3):
        encoded = b64encode(b"\0" * before + secret)
        begin = (before * 8 + 5) // 6
        core = encoded[begin : (len(secret) + before) * 8 // 6]
        if len(core) >= _LEAST_CORE:
            cores |= {core, core.translate(bytes.maketrans(b"+/", b"-_"))}
    return cores


def _without_base64(body: bytes, core: bytes) -> bytes:
    """Take out the whole run of base64 around a core: its neighbours hold the rest of the secret."""
    begin = 0
    while (found := body.find(core, begin)) != -1:
        first, last = found, found + len(core)
        while first > begin and body[first - 1] in _BASE64_CHARACTERS:
            first -= 1
        while last < len(body) and body[last] in _BASE64_CHARACTERS:
            last += 1
        body = body[:first] + HIDDEN.encode() + body[last:]
        begin = first + len(HIDDEN)
    return body


def _each_form(byte: int) -> list[bytes]:
    """Patterns for one character of a secret: itself, or escaped as in JSON, Python, URLs or HTML, even twice.

    Each begins with a character that is always the same.
    """
    char = chr(byte)
    code = "".join(f"[{digit}{digit.upper()}]" if digit.isalpha() else digit for digit in f"{byte:02x}")
    # Most characters are not themselves behind a backslash.
    itself = "" if char.isalnum() else "|" + re.escape(char)
    forms = [
        re.escape(char),
        rf"\\\\{{0,7}}(?:[uU](?:0000)?00{code}|x{code}{itself})",
        rf"%(?:25){{0,2}}{code}",
        rf"&(?:amp;)?#(?:0{{0,4}}{byte}|[xX]0{{0,4}}{code});",
        re.escape(html.escape(char)),
    ]
    return [form.encode("latin-1") for form in dict.fromkeys(forms)]


def _any_form(byte: int) -> bytes:
    return b"(?:" + b"|".join(_each_form(byte)) + b")"


def _is_part(characters: list[re.Pattern[bytes]], body: bytes, position: int) -> bool:
    """Return whether a body shows from a position to its end the beginning of a secret."""
    for number, character in enumerate(characters):
        if position == len(body):
            return number >= _LEAST_PART
        if match := character.match(body, position):
            position = match.end()
        else:
            # An escape that was cut itself.
            return number >= _LEAST_PART and len(body) - position < 10 and body[position] in b"\\%&"
    return position == len(body)
