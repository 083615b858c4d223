"""Changes of the versions of an architecture since an earlier poll: one is ready, or an alias has moved.

Pure. What was seen before is plain JSON, so it can be kept anywhere; comparing the same list with it finds no change.
The service is polled now and then, so the changes are differences between states: of an alias that moved twice
between two polls, the first move is not seen.

One list proves little (see :mod:`airflow_provider_cerebras.polling.evidence`): a list that lacks a version forgets
nothing at once, and one that holds nothing is believed, when there is nothing to compare it with, only if it comes
several times in a row.
"""

from __future__ import annotations

import zlib
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from airflow_provider_cerebras.api.errors import UnexpectedResponse
from airflow_provider_cerebras.api.names import ModelVersionName, validate_alias, validate_identifier
from airflow_provider_cerebras.api.status import Progress, classify_version
from airflow_provider_cerebras.polling.evidence import MIN_RESPONSES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pydantic import JsonValue

    from airflow_provider_cerebras.api.models import ModelVersion, ModelVersionRows

FORGET_AFTER = 3600.0
"""Seconds after which a version that is not listed any more is forgotten."""


@dataclass(frozen=True)
class Change:
    """Something that was not so before.

    :param version: the version that has become ready, or that an alias stands for now.
    :param previous: full name of the version that the alias stood for before, if there was one.
    """

    version: ModelVersion
    previous: str | None = None


Found = tuple["Sequence[Change]", "JsonValue"]
RowsT_contra = TypeVar("RowsT_contra", contravariant=True)
ChangeT_co = TypeVar("ChangeT_co", covariant=True)


class ChangeDetector(Protocol[RowsT_contra, ChangeT_co]):
    """Compares a list with the state that was seen before."""

    def compare(self, seen: JsonValue, rows: RowsT_contra, now: float) -> tuple[Sequence[ChangeT_co], JsonValue]:
        """Return the changes, oldest first, and the state to keep for the next time.

        :param seen: what was returned last time to be kept; None, or what was never returned: there was no last time,
            so nothing is a change.
        :param rows: the versions or the deployments as they are now.
        :param now: in Unix seconds.
        """

    def merge(self, stored: JsonValue, seen: JsonValue) -> JsonValue:
        """Return the state to keep where two triggerers have seen different things.

        :param stored: what the other one has kept.
        :param seen: the state to keep here.
        """


@dataclass(frozen=True)
class ReadyVersions:
    """Finds versions that have become ready to be deployed.

    Kept is which versions have been dealt with: those that were ready or had failed. They are distinguished by their
    number and a checksum of where their weights came from, since numbers may begin anew. One that is no longer listed
    is forgotten after :data:`FORGET_AFTER`.

    :param org_name: name of the organization.
    :param model_arch_id: id of the architecture.
    """

    org_name: str
    model_arch_id: str

    def __post_init__(self) -> None:
        validate_identifier(self.org_name, "org_name")
        validate_identifier(self.model_arch_id, "model_arch_id")

    def compare(self, seen: JsonValue, rows: ModelVersionRows, now: float) -> Found:
        """See :class:`ChangeDetector`."""
        listed = sorted(self._numbers(rows))
        known = _read_known(seen, listed)
        is_first = known is None
        if is_first and not listed and (empty := _count(seen, "empty") + 1) < MIN_RESPONSES:
            return [], {"empty": empty}
        known = known or {}
        changes: list[Change] = []
        for number in listed:
            mark = _mark(rows.rows[self._name(number)])
            before = known.get(number)
            if before is not None and (before == mark or not (before and mark)):
                known[number] = before or mark
                continue
            known.pop(number, None)
            version = self._find(rows, number)
            progress = Progress.PENDING if version is None else classify_version(version).progress
            if progress is Progress.PENDING:
                continue
            known[number] = mark
            if version is not None and progress is Progress.SUCCEEDED and not is_first:
                changes.append(Change(version))
        gone = _absent(seen, known.keys() - set(listed), now)
        for number, since in list(gone.items()):
            if now - since >= FORGET_AFTER:
                del known[number], gone[number]
        return changes, {
            "known": {str(number): known[number] for number in sorted(known)},
            "absent": {str(number): gone[number] for number in sorted(gone)},
        }

    def merge(self, stored: JsonValue, seen: JsonValue) -> JsonValue:
        """See :class:`ChangeDetector`."""
        match stored, seen:
            case {"known": dict(theirs)}, {"known": dict(ours), "absent": absent}:
                return {"known": {**theirs, **ours}, "absent": absent}
        return seen

    def _numbers(self, rows: ModelVersionRows) -> Iterator[int]:
        for key in rows.rows:
            with suppress(ValueError):  # a name of another form belongs to nothing that could be deployed
                name = ModelVersionName.parse(key)
                if name.number is not None and str(name) == self._name(name.number):
                    yield name.number

    def _find(self, rows: ModelVersionRows, number: int) -> ModelVersion | None:
        try:
            return rows.find(self._name(number))
        except UnexpectedResponse:
            return None  # it may be readable next time

    def _name(self, number: int) -> str:
        return str(ModelVersionName(self.org_name, self.model_arch_id, str(number)))


@dataclass(frozen=True)
class AliasMoves:
    """Finds that an alias has come to stand for another version, once that one is ready.

    Kept is the name of the version that it stood for. While no version holds the alias, as in the middle of a move,
    that stays.

    :param org_name: name of the organization.
    :param model_arch_id: id of the architecture.
    :param alias: the alias.
    """

    org_name: str
    model_arch_id: str
    alias: str

    def __post_init__(self) -> None:
        validate_identifier(self.org_name, "org_name")
        validate_identifier(self.model_arch_id, "model_arch_id")
        validate_alias(self.alias, "alias")

    def compare(self, seen: JsonValue, rows: ModelVersionRows, now: float) -> Found:
        """See :class:`ChangeDetector`."""
        is_first = not (isinstance(seen, dict) and "holder" in seen)
        before = seen["holder"] if isinstance(seen, dict) and isinstance(seen.get("holder"), str) else None
        holder = self._holder(rows)
        if is_first and holder is None and (empty := _count(seen, "empty") + 1) < MIN_RESPONSES:
            return [], {"empty": empty}
        if holder is None or holder.name == before:
            return [], {"holder": before}
        return [] if is_first else [Change(holder, str(before) if before else None)], {"holder": holder.name}

    def merge(self, stored: JsonValue, seen: JsonValue) -> JsonValue:
        """See :class:`ChangeDetector`."""
        return seen

    def _holder(self, rows: ModelVersionRows) -> ModelVersion | None:
        name = ModelVersionName(self.org_name, self.model_arch_id, self.alias)
        try:
            version = rows.find(str(name), self.alias)
            number = None if version is None else ModelVersionName.parse(version.name).number
        except (UnexpectedResponse, ValueError):
            return None  # it may be readable next time
        if version is None or number is None or version.name != str(name.with_version_id(str(number))):
            return None
        return version if classify_version(version).progress is Progress.SUCCEEDED else None


def _read_known(seen: JsonValue, listed: Sequence[int]) -> dict[int, str] | None:
    """Return the numbers that have been dealt with, each with its checksum; None: there was no last time."""
    match seen:
        case {"known": dict(known)}:
            return {int(number): str(mark) for number, mark in known.items() if number.isdecimal()}
        case {"through": int(through), "pending": list(pending)}:  # an earlier form
            return {number: "" for number in listed if number <= through and number not in pending}
    return None


def _absent(seen: JsonValue, missing: set[int], now: float) -> dict[int, int]:
    """Return since when each of the missing is missing."""
    before = seen.get("absent") if isinstance(seen, dict) else None
    since = before if isinstance(before, dict) else {}
    return {number: value if isinstance(value := since.get(str(number)), int) else int(now) for number in missing}


def _count(seen: JsonValue, name: str) -> int:
    count = seen.get(name) if isinstance(seen, dict) else None
    return count if isinstance(count, int) else 0


def _mark(row: Any) -> str:
    """A checksum of where the weights of a version came from; empty if that is not known."""
    response = row.get("response") if isinstance(row, dict) else None
    uri = response.get("customer_s3_uri") if isinstance(response, dict) else None
    return f"{zlib.crc32(uri.encode()) & 0xFFFF:04x}" if isinstance(uri, str) and uri else ""
