"""Notes of a task run that its next attempt reads, on Airflow 3.3 and later: for people, and as a shortcut.

It may be lost or out of date at any time, so every use of it is checked against the service. Below Airflow 3.3 there
is none.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airflow.providers.common.compat.sdk import Context
    from pydantic import JsonValue


_log = logging.getLogger(__name__)


class _Store(Protocol):
    def get(self, key: str, /) -> JsonValue: ...

    def set(self, key: str, value: JsonValue, /) -> None: ...


class TaskState:
    """Notes of one request.

    :param context: the task's context.
    :param key: name of the notes in Airflow's task state store.
    :param fingerprint: what the notes are of; notes of another request are never given back.
    """

    def __init__(self, context: Context, *, key: str, fingerprint: str) -> None:
        self._store = cast("_Store | None", context.get("task_state_store"))
        self._key = key
        self._fingerprint = fingerprint

    @property
    def is_kept(self) -> bool:
        """Whether there is a place for notes."""
        return self._store is not None

    def read(self) -> Mapping[str, str]:
        """Return the notes; empty where there are none."""
        notes: JsonValue = None
        if self._store is not None:
            with _optional_store("read"):
                notes = self._store.get(self._key)
        if not isinstance(notes, dict) or notes.get("request") != self._fingerprint:
            return {}
        return {name: value for name, value in notes.items() if isinstance(value, str)}

    def update(self, **notes: str) -> None:
        """Add to the notes."""
        if self._store is not None:
            with _optional_store("written"):
                self._store.set(self._key, {**self.read(), **notes, "request": self._fingerprint})


@contextmanager
def _optional_store(done: str) -> Iterator[None]:
    """Go on without the store; a task must not fail for it that has just made a version."""
    try:
        yield
    except Exception as error:  # noqa: BLE001  it is behind another API, which can fail in any way
        _log.warning("The task state store cannot be %s (%s: %s); going on without.", done, type(error).__name__, error)
