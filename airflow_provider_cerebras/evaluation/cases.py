"""The data set: what is asked, and which answer is expected. Everything is checked before the first question.

The digest tells whether two evaluations asked the same questions. It does not depend on the order of the cases.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, NoReturn, TypeGuard

from airflow_provider_cerebras.api.names import shown

if TYPE_CHECKING:
    from pydantic import JsonValue

_FIELDS = frozenset({"id", "messages", "expected", "tags", "weight"})
# The summary of an evaluation names some of them, and has to fit XCom.
_MAX_ID_LENGTH = 256
_MAX_TAG_LENGTH = 128


class Case(NamedTuple):
    """One question.

    :param id: unique in its data set.
    :param messages: the chat that is sent, each message with ``role`` and ``content``.
    :param expected: what the scorers compare the answer with; its meaning is the scorer's.
    :param tags: groups that the case belongs to, in alphabetical order.
    :param weight: how much the case counts in the pass rates.
    """

    id: str
    messages: tuple[Mapping[str, JsonValue], ...]
    expected: JsonValue = None
    tags: tuple[str, ...] = ()
    weight: float = 1.0


class DataSet(NamedTuple):
    """All cases.

    :param cases: in alphabetical order of their ids.
    :param digest: SHA-256 over all cases, in hexadecimal digits.
    """

    cases: tuple[Case, ...]
    digest: str

    @property
    def tags(self) -> dict[str, int]:
        """The number of cases of each tag."""
        counts: dict[str, int] = {}
        for case in self.cases:
            for tag in case.tags:
                counts[tag] = counts.get(tag, 0) + 1
        return counts


def read_jsonl(text: str) -> DataSet:
    """Read cases from JSON Lines; empty lines are skipped.

    :param text: one JSON object per line.
    :raises ValueError: if a line is not a case; the message has the number of the line.
    """
    lines = enumerate(text.removeprefix("\ufeff").split("\n"), start=1)
    return _data_set((f"line {number}", _parse(line, number)) for number, line in lines if line.strip())


def read_rows(rows: object) -> DataSet:
    """Read cases from a list.

    :param rows: a list of mappings with the fields of a case.
    :raises ValueError: if an item is not a case; the message has its number, counted from 1.
    """
    # A mapped task's XComs are a sequence of their own kind.
    if not isinstance(rows, Sequence) or isinstance(rows, str | bytes):
        raise ValueError(f"dataset: must be a list of cases or the location of a JSONL file, not {shown(rows)}.")  # noqa: TRY004
    return _data_set((f"case {number}", row) for number, row in enumerate(rows, start=1))


def _parse(line: str, number: int) -> object:
    try:
        return json.loads(line, parse_constant=_refuse_constant, object_pairs_hook=_unique)
    except json.JSONDecodeError as error:
        # The parser's message does not repeat the line.
        raise ValueError(f"dataset: line {number}: is not JSON ({error.msg} at column {error.colno}).") from None
    except (ValueError, RecursionError) as error:
        reason = str(error) if isinstance(error, _NotPlain) else "a value is too long or too deep"
        raise ValueError(f"dataset: line {number}: is not JSON ({reason}).") from None


class _NotPlain(ValueError):
    """A value that Python's parser accepts and JSON does not define, or an ambiguous object."""


def _refuse_constant(_: str) -> NoReturn:
    raise _NotPlain("NaN and Infinity are not JSON")


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len(fields := dict(pairs)) < len(pairs):
        raise _NotPlain("an object has a key twice")
    return fields


def _data_set(rows: Iterable[tuple[str, object]]) -> DataSet:
    places: dict[str, str] = {}
    cases: list[tuple[Case, str]] = []
    for place, row in rows:
        try:
            case = _case(row)
            canonical = _canonical(case)
        except ValueError as error:
            raise ValueError(f"dataset: {place}: {error}") from None
        if case.id in places:
            raise ValueError(f"dataset: {place}: the id {shown(case.id)} is used in {places[case.id]} already.")
        places[case.id] = place
        cases.append((case, canonical))
    if not cases:
        raise ValueError("dataset: holds no case.")
    cases.sort(key=lambda each: each[0].id)
    digest = hashlib.sha256()
    for _, canonical in cases:
        digest.update(canonical.encode() + b"\n")
    return DataSet(tuple(case for case, _ in cases), digest.hexdigest())


def _case(row: object) -> Case:
    if not isinstance(row, Mapping):
        raise ValueError("must be an object with id, messages and expected.")  # noqa: TRY004  as all other reasons
    if unknown := sorted(str(name) for name in row.keys() - _FIELDS):
        raise ValueError(f"has no field {shown(unknown[0])}. The fields are id, messages, expected, tags and weight.")
    return Case(
        id=_id(row.get("id")),
        messages=_messages(row.get("messages")),
        expected=row.get("expected"),
        tags=_tags(row.get("tags")),
        weight=_weight(row.get("weight", 1.0)),
    )


def _id(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or not 0 < len(value) <= _MAX_ID_LENGTH or not value.isprintable():
        raise ValueError(
            f"id: must be a number or a printable string of at most {_MAX_ID_LENGTH} characters, not {shown(value)}."
        )
    return value


def _messages(value: object) -> tuple[Mapping[str, JsonValue], ...]:
    if not isinstance(value, list | tuple) or not value or not all(map(_is_message, value)):
        raise ValueError("messages: must be a list of messages with role and content, with at least one message.")
    return tuple(value)


def _is_message(value: object) -> bool:
    return isinstance(value, dict) and isinstance(value.get("role"), str) and "content" in value


def _tags(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    if not _is_tags(value):
        raise ValueError(
            f"tags: must be a list of printable strings of at most {_MAX_TAG_LENGTH} characters, not {shown(value)}."
        )
    return tuple(sorted(set(value)))


def _is_tags(value: object) -> TypeGuard[Sequence[str]]:
    return isinstance(value, list | tuple) and all(
        isinstance(tag, str) and 0 < len(tag) <= _MAX_TAG_LENGTH and tag.isprintable() for tag in value
    )


def _weight(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < math.inf:
        raise ValueError(f"weight: must be a number greater than 0, not {shown(value)}.")
    return float(value)


def _canonical(case: Case) -> str:
    try:
        canonical = json.dumps(case._asdict(), sort_keys=True, ensure_ascii=False, allow_nan=False)
        canonical.encode()
    except (TypeError, ValueError, RecursionError):
        raise ValueError("holds a value that JSON in UTF-8 cannot carry.") from None
    return canonical
