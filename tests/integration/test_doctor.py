"""What `doctor` says of DAGs that are in Airflow's database, as its own commands have put them there."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Doctor = Callable[[], dict[str, dict[str, str]]]

DAGS = """
from datetime import datetime

from airflow.providers.common.compat.sdk import DAG
from airflow_provider_cerebras.operators.endpoints import CerebrasDeployModelOperator
from airflow_provider_cerebras.task_groups import cerebras_release


class Deploy(CerebrasDeployModelOperator):
    pass


VERSION = "orgs/my-org/models/gpt-oss-120b/versions/1"
RETRIES = {"retries": 2}

for dag_id, endpoint_id, runs in (("one", "first", 1), ("wide", "second", 16), ("again", "third", 1)):
    with DAG(
        dag_id, schedule=None, start_date=datetime(2026, 1, 1), max_active_runs=runs, default_args=RETRIES
    ) as globals()[dag_id]:
        cerebras_release(
            model_arch_id="gpt-oss-120b", weight_uri="s3://my-bucket/run", endpoint_id=endpoint_id, group_id="release"
        )
with DAG("pooled", schedule=None, start_date=datetime(2026, 1, 1), default_args=RETRIES) as pooled:
    Deploy(task_id="deploy", endpoint_id="fourth", model_version=VERSION, pool="serial", wait_for_completion=True)
with DAG("mapped", schedule=None, start_date=datetime(2026, 1, 1), max_active_runs=1) as mapped:
    Deploy.partial(task_id="deploy", endpoint_id="third").expand(model_version=[VERSION])
"""


@pytest.fixture
def airflow(tmp_path: Path) -> Callable[..., str]:
    """Run a module with an Airflow whose database is new."""
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(tmp_path / "dags"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{tmp_path / 'airflow.db'}",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
        "AIRFLOW__CORE__FERNET_KEY": "",
    }
    # Those of the tests' own Airflow.
    for name in ("AIRFLOW__CORE__UNIT_TEST_MODE", "AIRFLOW_CONN_CEREBRAS_DEFAULT", "_AIRFLOW_PROCESS_CONTEXT"):
        environment.pop(name, None)

    def airflow(*command: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", *command], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode in {0, 1}, done.stderr
        return done.stdout

    return airflow


@pytest.fixture
def doctor(airflow: Callable[..., str]) -> Doctor:
    """The lines of `doctor`, by check; no connection is defined."""

    def doctor() -> dict[str, dict[str, str]]:
        lines: list[dict[str, Any]] = json.loads(airflow("airflow_provider_cerebras", "doctor", "-o", "json"))
        return {line["check"]: line for line in lines}

    return doctor


def test_a_connection_in_the_database_is_found(airflow: Callable[..., str], doctor: Doctor) -> None:
    airflow("airflow", "db", "migrate")
    extra = json.dumps({"org_name": "my-org"})
    given = (
        "--conn-type",
        "cerebras",
        "--conn-host",
        "http://127.0.0.1:9",
        "--conn-password",
        "key",
        "--conn-extra",
        extra,
    )
    airflow("airflow", "connections", "add", "cerebras_default", *given)
    assert doctor()["connection"]["found"] == "'cerebras_default' leads to http://127.0.0.1:9."


def test_rollouts_that_may_overlap_are_named(airflow: Callable[..., str], doctor: Doctor, tmp_path: Path) -> None:
    assert "no such table" in doctor()["Airflow"]["found"]

    (tmp_path / "dags").mkdir()
    (tmp_path / "dags" / "all.py").write_text(DAGS, encoding="utf-8")
    airflow("airflow", "db", "migrate")
    airflow("airflow", "pools", "set", "serial", "1", "one at a time", "--include-deferred")
    airflow("airflow", "dags", "reserialize")

    lines = doctor()
    assert "Airflow" not in lines
    assert lines["triggerer"]["found"] == "None has ever run."
    assert lines["retries"]["found"] == "Tasks without retries: mapped.deploy."
    overlap = lines["overlap"]["found"].rpartition(": ")[2].rstrip(".")
    assert sorted(overlap.split(", ")) == ["again.release.deploy", "mapped.deploy", "wide.release.deploy"]

    # A DAG whose file is gone stays in the database.
    with sqlite3.connect(tmp_path / "airflow.db") as database:
        columns = {row[1] for row in database.execute("PRAGMA table_info(dag)")}
        gone = "is_stale = 1" if "is_stale" in columns else "is_active = 0"
        database.execute(f"UPDATE dag SET {gone} WHERE dag_id IN ('again', 'mapped')")
    lines = doctor()
    assert lines["retries"]["level"] == "ok"
    assert "again" not in lines["overlap"]["found"]

    with sqlite3.connect(tmp_path / "airflow.db") as database:
        database.execute("UPDATE serialized_dag SET data = '{\"__version\": 99}' WHERE dag_id = 'wide'")
    lines = doctor()
    assert lines["triggerer"]["found"] == "None has ever run."
    assert lines["Airflow"]["found"].startswith("Its database does not show the DAGs (")
