"""DAGs that start each other by assets: Airflow's own scheduler makes the run, and `dag.test()` runs it."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

from airflow_provider_cerebras.version_compat import AIRFLOW_V_3_0_PLUS, AIRFLOW_V_3_1_PLUS
from tests.integration.dag_run import database, register

if TYPE_CHECKING:
    import pytest
    from airflow.providers.common.compat.sdk import DAG

    from tests.integration.dag_run import DagResult, DagRunner


def register_unpaused(*dags: DAG) -> None:
    """Tell Airflow of the DAGs, all of one file together, and unpause them."""
    from airflow.models.dag import DagModel
    from airflow.utils.session import create_session

    register(*dags)
    with create_session() as session:
        for model in session.query(DagModel).filter(DagModel.dag_id.in_([dag.dag_id for dag in dags])):
            model.is_paused = False
    if AIRFLOW_V_3_0_PLUS:
        register(*dags)  # the assets of DAGs that are paused are not watched


def asset_events(uri: str) -> list[dict[str, Any]]:
    """The extras of an asset's events, oldest first."""
    table, key = ("asset", "asset_id") if AIRFLOW_V_3_0_PLUS else ("dataset", "dataset_id")
    query = f"SELECT e.extra FROM {table}_event e JOIN {table} a ON a.id = e.{key} WHERE a.uri = ? ORDER BY e.id"
    with closing(sqlite3.connect(database())) as connection:
        return [json.loads(extra) for (extra,) in connection.execute(query, (uri,))]


def run_what_assets_start(dag: DAG, run_dag: DagRunner, monkeypatch: pytest.MonkeyPatch) -> DagResult | None:
    """Let the scheduler look once, and run the run of a DAG that it makes, if it makes one."""
    from airflow.models.dag import DagModel
    from airflow.utils.session import create_session

    runs = _runs(dag.dag_id)
    with monkeypatch.context() as patch, create_session() as session:
        # It takes a few DAGs at a time, and those that other tests have left would take the places.
        patch.setattr(DagModel, "NUM_DAGS_PER_DAGRUN_QUERY", 1000)
        _schedule(session)
    new = _runs(dag.dag_id) - runs
    if not new:
        return None
    (run_id,) = new

    def the_run(*args: Any, session: Any, **kwargs: Any) -> Any:
        from airflow.models.dagrun import DagRun
        from airflow.utils.state import DagRunState

        run = session.query(DagRun).filter_by(dag_id=dag.dag_id, run_id=run_id).one()
        run.dag = kwargs["dag"]
        run.state = DagRunState.RUNNING
        session.flush()
        return run

    # It would make a run of its own, which nothing has triggered.
    name = (
        "airflow.models.dagrun.get_or_create_dagrun"
        if AIRFLOW_V_3_1_PLUS
        else "airflow.models.dag._get_or_create_dagrun"
    )
    with monkeypatch.context() as patch:
        patch.setattr(name, the_run)
        return run_dag(dag)


def _schedule(session: Any) -> None:
    from airflow.jobs.job import Job
    from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
    from airflow.utils.sqlalchemy import prohibit_commit

    scheduler: Any = SchedulerJobRunner(job=Job())
    if not AIRFLOW_V_3_0_PLUS:
        from airflow.models import DagBag

        bag: Any = DagBag
        scheduler.dagbag = bag(dag_folder=os.devnull, read_dags_from_db=True)
    with prohibit_commit(session) as guard:
        scheduler._create_dagruns_for_dags(guard, session)


def _runs(dag_id: str) -> set[str]:
    with closing(sqlite3.connect(database())) as connection:
        return {run_id for (run_id,) in connection.execute("SELECT run_id FROM dag_run WHERE dag_id = ?", (dag_id,))}
