"""Airflow has a home of its own in the tests, and the emulator's fixtures are there."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import DAG

pytest_plugins = ["airflow_provider_cerebras.emulator.pytest_plugin"]

# Airflow reads these once, when it is imported for the first time: so they are set here, before anything imports it.
AIRFLOW_HOME = tempfile.TemporaryDirectory(prefix="airflow-tests-")
os.environ["AIRFLOW_HOME"] = AIRFLOW_HOME.name
os.environ["AIRFLOW__CORE__DAGS_FOLDER"] = str(Path(__file__).parents[1] / "dags")
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
os.environ["AIRFLOW__DATABASE__LOAD_DEFAULT_CONNECTIONS"] = "False"
# The DAG of the example takes it from here, so that tests need not wait as long as production may.
os.environ["POLL_SECONDS"] = "0.2"


@pytest.fixture(scope="session")
def weekly_release() -> DAG:
    """The DAG, and an empty metadata database for its runs."""
    import weekly_release
    from airflow.utils.db import initdb

    initdb()
    return weekly_release.dag
