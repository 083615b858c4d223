"""Child processes that do not outlive the one who started them, whatever ends it short of a SIGKILL."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Self

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from types import FrameType

_PR_SET_CHILD_SUBREAPER = 36  # as in <linux/prctl.h>


class Failure(Exception):
    """Something went wrong, said in words for the user."""


class Interrupted(Exception):
    """The user, or the system, wants an end."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal.Signals(signal_number).name)
        self.exit_code = 128 + signal_number


class Processes:
    """Processes that all end when the ``with`` block does.

    Each is the leader of a session of its own: what it starts in turn stays in that session, even in another process
    group or with another parent, and so is found in the end.

    :param logs: Folder for a log of each process.
    :param environment: The whole environment of the processes.
    """

    def __init__(self, logs: Path, environment: Mapping[str, str]) -> None:
        self._logs = logs
        self._environment = environment
        self._sessions: set[int] = set()
        self._lasting: dict[str, subprocess.Popen[bytes]] = {}
        self._signal: int | None = None

    def __enter__(self) -> Self:
        if sys.platform == "linux":
            # Orphans become our children, so that it is us who bury them: in a container no other process may do it.
            ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
        self._logs.mkdir(parents=True)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        # SIGKILL, for there is nothing to save, and nothing may hang, or start another process, meanwhile.
        while remaining := _members(self._sessions):
            for process in remaining:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            time.sleep(0.05)
            with suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass

    def start(self, name: str, *command: str) -> None:
        """Start a process that is meant to last until the end."""
        self._lasting[name] = self._spawn(name, command)

    def run(self, name: str, *command: str) -> None:
        """Run a process that is meant to end by itself."""
        process = self._spawn(name, command)
        while process.poll() is None:
            self.pause()
        if process.returncode:
            raise self._failure(name, process)

    def wait_until(self, what: str, is_so: Callable[[], bool], *, timeout: float) -> None:
        """Wait for something that the processes bring about, at most ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        while not is_so():
            if time.monotonic() > deadline:
                raise Failure(f"waited {timeout:.0f} s in vain for {what}; the logs are in {self._logs}")
            self.pause()

    def pause(self, seconds: float = 0.3) -> None:
        """Sleep for a moment; every wait is made of these, so here an end is noticed, ours or a process's."""
        if self._signal is not None:
            raise Interrupted(self._signal)
        for name, process in self._lasting.items():
            if process.poll() is not None:
                raise self._failure(name, process)
        time.sleep(seconds)

    def _spawn(self, name: str, command: Sequence[str]) -> subprocess.Popen[bytes]:
        with self._log(name).open("wb") as log:
            process = subprocess.Popen(
                command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._sessions.add(process.pid)
        return process

    def _failure(self, name: str, process: subprocess.Popen[bytes]) -> Failure:
        last_words = self._log(name).read_text(errors="replace").splitlines()[-15:]
        reason = f"{name} ended with exit code {process.returncode}; the end of {self._log(name)}:"
        return Failure("\n    ".join([reason, *last_words]))

    def _log(self, name: str) -> Path:
        return self._logs / f"{name}.log"

    def _note(self, number: int, _: FrameType | None) -> None:
        # Not raised from here: that could hit between the start of a process and the note that it runs.
        self._signal = number


def _members(sessions: set[int]) -> list[psutil.Process]:
    members = []
    for process in psutil.process_iter():
        with suppress(ProcessLookupError):
            if os.getsid(process.pid) in sessions:
                members.append(process)
    return members
