"""Triggers that earlier releases have stored in Airflow's database go on working.

Each release adds a file to ``stored/``: class path and keyword arguments of every kind of trigger that it stores.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_cerebras.version_compat import AIRFLOW_V_3_0_PLUS

STORED = [
    pytest.param(stored["classpath"], stored["kwargs"], id=f"{file.stem}-{number}")
    for file in sorted((Path(__file__).parent / "stored").glob("*.json"))
    for number, stored in enumerate(json.loads(file.read_text(encoding="utf-8")))
]


@pytest.mark.parametrize(("classpath", "kwargs"), STORED)
def test_it_is_rebuilt_and_stored_again_with_the_same_meaning(classpath: str, kwargs: dict[str, Any]) -> None:
    if "events" in classpath and not AIRFLOW_V_3_0_PLUS:
        pytest.skip("Airflow has event triggers since 3.0")
    module, _, name = classpath.rpartition(".")
    trigger = getattr(importlib.import_module(module), name)(**kwargs)
    path, again = trigger.serialize()
    assert path == classpath
    assert {key: again.get(key) for key in kwargs} == kwargs
    # Optional ones may have come since, but nothing that the old ones lack may be needed.
    type(trigger)(**again)
