"""A connection that lies in Airflow's database, which a deferred task reads as one that waits on a worker does."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_cerebras.operators.model_versions import CerebrasUploadModelVersionOperator
from tests.integration.scenario import OPERATOR_MODES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow.providers.common.compat.sdk import DAG

    from airflow_provider_cerebras.emulator.control.client import EmulatorClient
    from tests.integration.dag_run import DagRunner


@pytest.fixture
def in_database(emulator: EmulatorClient, airflow_db: None) -> Iterator[str]:
    """The emulator's connection, in the database only."""
    from airflow.models import Connection
    from airflow.utils.session import create_session

    conn_id = "cerebras_in_database"
    fields = json.loads(emulator.connection())
    extra = json.dumps(fields.pop("extra"))
    with create_session() as session:
        session.add(Connection(conn_id=conn_id, extra=extra, **fields))
    yield conn_id
    with create_session() as session:
        model: Any = Connection
        session.query(model).filter_by(conn_id=conn_id).delete()


def test_it_is_found_in_each_mode(
    in_database: str, emulator: EmulatorClient, new_dag: Callable[..., DAG], run_dag: DagRunner
) -> None:
    with new_dag() as dag:
        for mode, arguments in OPERATOR_MODES.items():
            CerebrasUploadModelVersionOperator(
                task_id=mode,
                model_arch_id=emulator.arch,
                weight_uri=f"s3://my-bucket/{mode}",
                cerebras_conn_id=in_database,
                **arguments,
            )

    result = run_dag(dag)

    assert set(result.states().values()) == {"success"}, result.log
    assert len(emulator.versions()) == len(OPERATOR_MODES)
