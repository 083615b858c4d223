"""Files and folders that an operator reads or writes, wherever they are."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

from airflow_provider_cerebras.exceptions import InvalidArgument

_LOCAL = frozenset({"", "file", "local"})


def make_folder(folder: Any) -> None:
    """Make a local folder. An object store knows no folders, and might make a bucket.

    :param folder: what :func:`open_location` has returned, or within it.
    """
    if getattr(folder, "protocol", "") in _LOCAL:
        folder.mkdir(parents=True, exist_ok=True)


def write_whole(path: Any, text: str) -> None:
    """Write a file that is there whole or not at all, whenever the process is killed. An object store does so itself.

    :param path: what :func:`open_location` has returned, or within it.
    :param text: what the file is to contain.
    """
    if getattr(path, "protocol", "") not in _LOCAL:
        path.write_text(text, encoding="utf-8")
        return
    local = Path(getattr(path, "path", path))
    part = local.with_name(f".{local.name}.{uuid.uuid4().hex}")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(local)
    finally:
        part.unlink(missing_ok=True)


def open_location(location: Any, argument: str) -> Any:
    """Return a local path, or one of Airflow's for what has a scheme.

    :param location: a path, its text, or a URI.
    :param argument: name of the argument, for the message.
    :raises InvalidArgument: if there is nothing that reads this scheme.
    """
    if not isinstance(location, str):
        return location
    if "://" not in location:
        return Path(location)
    # It comes with fsspec, which not every parse of a DAG should pay.
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    try:
        path = ObjectStoragePath(location)
        path.fs  # noqa: B018  only here is the scheme looked up
    except (ImportError, ValueError) as error:
        raise InvalidArgument(f"{argument}: {location!r} cannot be opened: {error}.") from error
    return path
