"""JSON of unknown origin: bounded in size, in depth and in the length of its numbers, and without a key twice."""

from __future__ import annotations

import json
from typing import Any


class BadJson(ValueError):
    """A string is not a JSON object; the message says why, as the end of a sentence that begins with "it"."""


def json_object(content: bytes | str, *, unique_keys: bool = True) -> dict[str, Any]:
    """Read a JSON object.

    :param content: the text, whose length the caller has bounded.
    :param unique_keys: whether a key may not come twice in an object; else the last one counts.
    :raises BadJson: if it is something else.
    """
    try:
        value = json.loads(content, object_pairs_hook=_unique if unique_keys else None)
    except BadJson:
        raise
    except RecursionError as error:
        raise BadJson("is nested too deeply") from error
    except UnicodeDecodeError as error:
        raise BadJson("is not UTF-8") from error
    except ValueError as error:
        raise BadJson(f"is not valid JSON ({error})") from error
    if not isinstance(value, dict):
        raise BadJson("is not a JSON object")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        raise BadJson("has a key twice")
    return result
