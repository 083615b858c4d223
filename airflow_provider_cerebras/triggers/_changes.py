"""What is new about the versions of an architecture since an earlier look: one has become ready, or an alias has moved.

Pure. What was seen before is plain JSON, so it can be kept anywhere; a look at the same list with it finds nothing new.
The service is looked at now and then, so what is found are differences between states: of an alias that moved twice
between two looks, the first move is not seen.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from airflow_provider_cerebras.api.errors import UnexpectedResponse
from airflow_provider_cerebras.api.names import ModelVersionName, validate_alias, validate_identifier
from airflow_provider_cerebras.api.status import Progress, classify_version

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pydantic import JsonValue

    from airflow_provider_cerebras.api.models import ModelVersion, ModelVersionRows


@dataclass(frozen=True)
class News:
    """Something new.

    :param version: the version that has become ready, or that an alias stands for now.
    :param previous: full name of the version that the alias stood for before, if there was one.
    """

    version: ModelVersion
    previous: str | None = None


Found = tuple["Sequence[News]", "JsonValue"]


class Lookout(Protocol):
    """Compares what is seen with what was seen before."""

    def look(self, seen: JsonValue, rows: ModelVersionRows) -> Found:
        """Return what is new, oldest first, and what is to be kept for the next look.

        :param seen: what the last look returned to be kept; None, or what no look has returned: there was none, so
            nothing is new.
        :param rows: the versions as they are now.
        """


@dataclass(frozen=True)
class ReadyLookout:
    """Looks out for versions that have become ready to be deployed.

    Kept are the highest number seen, and the numbers up to it of those that had not ended their sync then.

    :param org_name: name of the organization.
    :param model_arch_id: id of the architecture.
    """

    org_name: str
    model_arch_id: str

    def __post_init__(self) -> None:
        validate_identifier(self.org_name, "org_name")
        validate_identifier(self.model_arch_id, "model_arch_id")

    def look(self, seen: JsonValue, rows: ModelVersionRows) -> Found:
        """See :class:`Lookout`."""
        numbers = sorted(self._numbers(rows))
        before = _read_ready(seen)
        through, pending = before or (0, set())
        news: list[News] = []
        for number in numbers:
            if number > through or number in pending:
                version = self._find(rows, number)
                progress = Progress.PENDING if version is None else classify_version(version).progress
                if progress is Progress.PENDING:
                    pending.add(number)
                    continue
                pending.discard(number)
                if version is not None and progress is Progress.SUCCEEDED and before is not None:
                    news.append(News(version))
        return news, {"through": max([through, *numbers]), "pending": [*sorted(pending)]}

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
            return None  # it may be readable at the next look

    def _name(self, number: int) -> str:
        return str(ModelVersionName(self.org_name, self.model_arch_id, str(number)))


@dataclass(frozen=True)
class AliasLookout:
    """Looks out for an alias that comes to stand for another version, once that one is ready.

    Kept is the name of the version that it stood for. While nobody has the alias, as in the middle of a move, that
    stays.

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

    def look(self, seen: JsonValue, rows: ModelVersionRows) -> Found:
        """See :class:`Lookout`."""
        known = isinstance(seen, dict) and "holder" in seen
        before = seen["holder"] if isinstance(seen, dict) and isinstance(seen.get("holder"), str) else None
        holder = self._holder(rows)
        if holder is None or holder.name == before:
            return [], {"holder": before}
        return [News(holder, str(before) if before else None)] if known else [], {"holder": holder.name}

    def _holder(self, rows: ModelVersionRows) -> ModelVersion | None:
        name = ModelVersionName(self.org_name, self.model_arch_id, self.alias)
        try:
            version = rows.find(str(name), self.alias)
            number = None if version is None else ModelVersionName.parse(version.name).number
        except (UnexpectedResponse, ValueError):
            return None  # it may be readable at the next look
        if version is None or number is None or version.name != str(name.with_version_id(str(number))):
            return None
        return version if classify_version(version).progress is Progress.SUCCEEDED else None


def _read_ready(seen: JsonValue) -> tuple[int, set[int]] | None:
    if not isinstance(seen, dict):
        return None
    through, pending = seen.get("through"), seen.get("pending")
    if not isinstance(through, int) or not isinstance(pending, list):
        return None
    return through, {number for number in pending if isinstance(number, int)}
