"""The selection of the model versions that may be deleted. Pure."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, NamedTuple

from airflow_provider_cerebras.api.names import ModelVersionName
from airflow_provider_cerebras.api.status import Progress, classify_version

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from airflow_provider_cerebras.api.models import ModelVersion
    from airflow_provider_cerebras.durable.deletions import Uses


class Selection(NamedTuple):
    """The decision about each version.

    :param delete: full names of those that may go, oldest first.
    :param keep: full names of those that stay, with the reason.
    """

    delete: Sequence[str]
    keep: Mapping[str, str]


def select(versions: Iterable[ModelVersion], *, uses: Uses, keep_last: int, keep_aliases: Sequence[str]) -> Selection:
    """Say which versions of an architecture may be deleted.

    Those stay that an endpoint needs, that have a protected alias, that still sync, that are among the newest
    ``keep_last`` of those that are synced, or that are newer than those; and those whose name or aliases are not known.

    :param versions: all versions of the architecture.
    :param uses: what the endpoints of the organization need.
    :param keep_last: how many synced versions stay, at least 1.
    :param keep_aliases: patterns of protected aliases, as of a shell.
    """
    numbered = sorted(((_number(version), version) for version in versions), key=lambda pair: pair[0])
    synced = sorted(
        {
            number
            for number, version in numbered
            if number != _UNKNOWN and classify_version(version).progress is Progress.SUCCEEDED
        }
    )
    oldest_kept = synced[-keep_last:][0] if synced else 0
    keep: dict[str, str] = {}
    delete: list[str] = []
    for number, version in numbered:
        reason = (
            uses.in_use.get(version.name.casefold())
            or uses.served_before.get(version.name.casefold())
            or _reason(version, number, oldest_kept, keep_aliases)
        )
        if reason:
            keep[version.name] = reason
        else:
            delete.append(version.name)
    # A version that is listed twice stays if one of its entries says so.
    return Selection([name for name in dict.fromkeys(delete) if name not in keep], keep)


def _reason(version: ModelVersion, number: float, oldest_kept: float, keep_aliases: Sequence[str]) -> str | None:
    if number == _UNKNOWN:
        return "is not named by number"
    aliases = version.details.version_aliases
    if aliases is None:
        return "may have a protected alias: its version_aliases are absent or cannot be read"
    protected = [alias for alias in aliases if any(fnmatchcase(alias, pattern) for pattern in keep_aliases)]
    if protected:
        return f"has the protected alias {protected[0]}"
    if classify_version(version).progress is Progress.PENDING:
        return "still syncs"
    return "is among the newest" if number >= oldest_kept else None


_UNKNOWN = float("inf")


def _number(version: ModelVersion) -> float:
    try:
        number = ModelVersionName.parse(version.name).number
    except ValueError:
        number = None
    return _UNKNOWN if number is None else number
