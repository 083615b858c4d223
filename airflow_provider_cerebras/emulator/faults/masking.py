"""Keeps keys out of the log of requests and out of every view of it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MASK = "***"

SHORTEST = 8
"""Least length of a key that is masked everywhere; a shorter one would mask strings that are no keys."""

_CREDENTIALS = {"authorization", "proxy-authorization", "cookie"}


class Masker:
    """Masks keys wherever they occur.

    :param keys: All keys, present and past.
    """

    def __init__(self, keys: Iterable[str] = ()) -> None:
        self.keys = frozenset(keys)
        forms = {form for key in self.keys if len(key) >= SHORTEST for form in _forms(key)}
        # The longest first: one key may begin as another does.
        ordered = sorted(forms, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, ordered))) if ordered else None

    def text(self, text: str) -> str:
        """Mask the keys in a string."""
        return self._pattern.sub(MASK, text) if self._pattern else text

    def headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        """Mask the credentials in headers, and return them by their lower-case names."""
        return {name: MASK if name in _CREDENTIALS else self.text(value) for name, value in headers.items()}


def _forms(key: str) -> set[str]:
    """Return the forms of a key in a string, in JSON, in a path and in a query."""
    return {key, json.dumps(key)[1:-1], quote(key, safe=""), quote_plus(key)}
