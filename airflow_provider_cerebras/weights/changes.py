"""Describes the changes under a prefix between two listings, or the latest ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from airflow_provider_cerebras.weights.objects import StoredObject

_MOST_NAMES = 5


def describe_changes(before: Iterable[StoredObject], after: Iterable[StoredObject]) -> str:
    """Name the objects that were replaced, added and removed; the empty string if none was.

    :param before: all objects, by the first listing.
    :param after: all objects, by the second one.
    """
    old, new = ({each.key: (each.size, each.etag) for each in objects} for objects in (before, after))
    replaced = [key for key in sorted(old.keys() & new.keys()) if old[key] != new[key]]
    changes = {
        "replaced": replaced,
        "added": sorted(new.keys() - old.keys()),
        "removed": sorted(old.keys() - new.keys()),
    }
    return "; ".join(f"{what}: {_names(keys)}" for what, keys in changes.items() if keys)


def describe_last_written(objects: Iterable[StoredObject]) -> str:
    """Name the objects that were written last, each with the time; the empty string if no time is known.

    :param objects: what a listing shows.
    """
    dated = sorted((each.written, each.key) for each in objects if each.written is not None)
    return _names([f"{key} ({written.isoformat(timespec='seconds')})" for written, key in reversed(dated)])


def _names(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
