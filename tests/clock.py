"""A clock in which no two events share a second: a service gives whole seconds, which then have no order."""

from __future__ import annotations

import itertools
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def ticking() -> Callable[[], float]:
    """Return a clock for an emulator that is a second later each time that it is read."""
    return partial(next, itertools.count(1_000_000))
