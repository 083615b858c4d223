"""The drills take minutes and packages of their own, so they run only if they are named: ``pytest tests/drills``."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

if importlib.util.find_spec("psycopg2"):
    from tests.drills.lanes import airflows, outcomes, results

    __all__ = ["airflows", "outcomes", "results"]


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    return None if any("drills" in argument for argument in config.args) else True
