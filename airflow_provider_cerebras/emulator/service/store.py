"""Stores of the service's state: none, or an SQLite file that survives a restart.

A change is in the file before the response to its request is sent: an emulator that is killed between two responses
has lost neither. After a power failure the file is intact, but may lack the last changes.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

APPLICATION_ID = 0x43455245
"""Marks the file as the emulator's in SQLite's header ("CERE")."""

SCHEMA_VERSION = 1
"""The version of the file's format; a file of another one is refused."""


class StateError(Exception):
    """The state file cannot be used; the message names it and says why."""


@dataclass(frozen=True)
class Record:
    """A stored part of the state.

    :param kind: Its kind.
    :param key: Its key among its kind.
    :param body: Its fields, as JSON values; None deletes it.
    """

    kind: str
    key: str
    body: dict[str, Any] | None


class Store(Protocol):
    """Stores records."""

    def read(self, kind: str) -> Iterator[Record]:
        """Return all records of a kind, in the order in which they were first written."""

    def write(self, *records: Record) -> None:
        """Store records, all of them or none."""

    def clear(self) -> None:
        """Delete all records."""

    def close(self) -> None:
        """Close the store."""


class Nowhere:
    """Stores nothing."""

    def read(self, kind: str) -> Iterator[Record]:
        """Return nothing."""
        return iter(())

    def write(self, *records: Record) -> None:
        """Do nothing."""

    def clear(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class StateFile:
    """Stores records in an SQLite file, which no other process can open meanwhile.

    Its methods may be called on any thread.

    :param path: The file; if it is missing or empty, it is made, readable by its owner only.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._open = True
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        except OSError as error:
            raise StateError(f"The state file {path} cannot be opened: {error.strerror}") from error
        self._database = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
        try:
            self._prepare()
        except sqlite3.Error as error:
            self._database.close()
            raise StateError(_reason(path, error)) from error
        except StateError:
            self._database.close()
            raise

    def _prepare(self) -> None:
        run = self._database.execute
        # The lock is taken with the first write and let go by the system, whatever becomes of this process.
        run("PRAGMA locking_mode = EXCLUSIVE")
        run("BEGIN EXCLUSIVE")
        if not self._number("SELECT count(*) FROM sqlite_schema") and not self._number("PRAGMA application_id"):
            run("CREATE TABLE documents (kind TEXT, key TEXT, body TEXT NOT NULL, UNIQUE (kind, key))")
            run(f"PRAGMA application_id = {APPLICATION_ID}")
            run(f"PRAGMA user_version = {SCHEMA_VERSION}")
        elif self._number("PRAGMA application_id") != APPLICATION_ID:
            raise StateError(f"{self._path} is a database of something else, not a state file of the emulator.")
        elif (version := self._number("PRAGMA user_version")) != SCHEMA_VERSION:
            raise StateError(
                f"The state file {self._path} is of format {version}, and this emulator reads format {SCHEMA_VERSION}: "
                f"use the emulator that made it, or another file."
            )
        run("COMMIT")
        run("PRAGMA journal_mode = WAL")
        run("PRAGMA synchronous = NORMAL")

    def _number(self, sql: str) -> int:
        return int(self._database.execute(sql).fetchone()[0])

    def read(self, kind: str) -> Iterator[Record]:
        """Return all records of a kind, in the order in which they were first written."""
        try:
            with self._lock:
                rows = self._database.execute(
                    "SELECT key, body FROM documents WHERE kind = ? ORDER BY rowid", (kind,)
                ).fetchall()
        except sqlite3.Error as error:
            raise StateError(_reason(self._path, error)) from error
        return (Record(kind, key, json.loads(body)) for key, body in rows)

    def write(self, *records: Record) -> None:
        """Store records, all of them or none; after the file is closed, store nothing.

        Reading weights may end only after that; they are read again at the next start.
        """
        with self._lock:
            if self._open:
                self._write(records)

    def _write(self, records: Sequence[Record]) -> None:
        with self._transaction():
            for each in records:
                if each.body is None:
                    self._database.execute("DELETE FROM documents WHERE kind = ? AND key = ?", (each.kind, each.key))
                else:
                    self._database.execute(
                        "INSERT INTO documents (kind, key, body) VALUES (?, ?, ?)"
                        " ON CONFLICT (kind, key) DO UPDATE SET body = excluded.body",
                        (each.kind, each.key, json.dumps(each.body)),
                    )

    def clear(self) -> None:
        """Delete all records."""
        with self._lock:
            self._database.execute("DELETE FROM documents")

    def close(self) -> None:
        """Close the file, and leave no other file beside it."""
        with self._lock:
            self._open = False
            self._database.close()

    def _transaction(self) -> sqlite3.Connection:
        self._database.execute("BEGIN")
        # As a context manager it commits, or rolls back on an exception.
        return self._database


def open_store(path: Path | None) -> Store:
    """Open the store of the state.

    :param path: The state file; None for nowhere.
    """
    return Nowhere() if path is None else StateFile(path)


def _reason(path: Path, error: sqlite3.Error) -> str:
    match error.sqlite_errorname:
        case "SQLITE_BUSY" | "SQLITE_LOCKED":
            return f"The state file {path} is in use by another emulator."
        case "SQLITE_NOTADB":
            return f"{path} is not a state file of the emulator."
        case _:
            return f"The state file {path} cannot be used: {error}"
