"""Costs of two ways to do the same, and the process of its own in which the server of both runs."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Cost(NamedTuple):
    """What something has taken.

    :param wall: seconds by the clock.
    :param cpu: CPU seconds of this process.
    """

    wall: float
    cpu: float


def cost_of(act: Callable[[], object]) -> Cost:
    """Measure a call.

    :param act: the call.
    """
    wall, cpu = time.perf_counter(), time.process_time()
    act()
    return Cost(time.perf_counter() - wall, time.process_time() - cpu)


@contextmanager
def server_of(module: str) -> Iterator[str]:
    """Run ``python -m MODULE --serve``, which prints one line and serves until its standard input ends; the line.

    :param module: the module.
    """
    command = [sys.executable, "-m", module, "--serve"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.communicate()
