"""The requests that a fault rule matches."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_cerebras.emulator.api.operations import OperationName


@dataclass(frozen=True)
class RequestDetails:
    """The parts of a request that a rule can match.

    :param operation: The call; None if the request is none of the calls.
    :param path: Decoded path.
    :param organization: The organization of the request's key; None if the key is unknown.
    :param headers: By their lower-case names.
    :param body: Parsed if it is JSON, else text; None if there is none.
    """

    operation: OperationName | None
    path: str
    organization: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None


def contains(whole: Any, part: Any) -> bool:
    """Return whether a JSON value contains another one.

    An object contains an object if it has each of its fields; a list contains a list if each item is contained in one
    of its own; any other value contains only itself.
    """
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(
            name in whole and contains(whole[name], wanted) for name, wanted in part.items()
        )
    if isinstance(part, list):
        return isinstance(whole, list) and all(any(contains(each, wanted) for each in whole) for wanted in part)
    # Python's True is 1, JSON's true is not.
    return bool(whole == part) and isinstance(whole, bool) == isinstance(part, bool)
