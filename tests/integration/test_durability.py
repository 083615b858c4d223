"""Exactly one version for each task run, under a real Airflow: retries, default_args, every week, and clears."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_cerebras.durable.identity import OWN_ALIAS
from airflow_provider_cerebras.exceptions import AliasInUse
from airflow_provider_cerebras.operators.endpoints import CerebrasDeployModelOperator
from airflow_provider_cerebras.operators.model_versions import CerebrasUploadModelVersionOperator
from airflow_provider_cerebras.version_compat import AIRFLOW_V_3_0_PLUS, AIRFLOW_V_3_3_PLUS
from tests.integration.dag_run import database
from tests.integration.scenario import OPERATOR_MODES, output
from tests.task_instance import TaskInstance

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.providers.common.compat.sdk import DAG, Context

    from airflow_provider_cerebras.emulator.control.client import EmulatorClient
    from tests.integration.dag_run import DagRunner

MODES: dict[str, dict[str, Any]] = {"alone": {}, **OPERATOR_MODES}
WEEKLY: dict[str, dict[str, Any]] = {"moves": {"move_aliases": True}, "stays": {}}

pytestmark = pytest.mark.usefixtures("cerebras_connection")


def aliases(emulator: EmulatorClient) -> dict[str, list[str]]:
    """The aliases of each version."""
    return {name: version.aliases for name, version in emulator.versions().items()}


def fail_the_first_attempts(emulator: EmulatorClient, tasks: int) -> None:
    """Let each upload be followed but not answered, and the look that follows it be in vain."""
    emulator.add_fault("upload_model_version", when="after", drop=True, times=tasks)
    for task in range(1, tasks + 1):
        # Each looks once before its upload and once after it; a rule does not see what an earlier one has hit.
        emulator.add_fault("get_model_version", path_contains="/airflow-", skip=task, text="{")


def task_state(dag_id: str, run_id: str) -> dict[str, Any]:
    """What Airflow keeps for the tasks of a run, by task and key."""
    with closing(sqlite3.connect(database())) as connection:
        rows = connection.execute(
            "SELECT task_id, key, value FROM task_state_store WHERE dag_id = ? AND run_id = ?", (dag_id, run_id)
        )
        return {f"{task_id}.{key}": json.loads(value) for task_id, key, value in rows}


def test_a_retry_adopts_in_every_way_to_wait(
    emulator: EmulatorClient, new_dag: Callable[..., DAG], run_dag: DagRunner
) -> None:
    fail_the_first_attempts(emulator, len(MODES))
    with new_dag(default_args={"retries": 1}) as dag:
        for mode, arguments in MODES.items():
            CerebrasUploadModelVersionOperator(
                task_id=mode,
                model_arch_id=emulator.arch,
                weight_uri=f"s3://weights/{mode}",
                version_aliases=[f"of-{mode}"],
                **arguments,
            )

    result = run_dag(dag)

    assert result.state == "success", result.log
    assert len(emulator.requests("upload_model_version")) == len(emulator.versions()) == len(MODES)
    assert [end.hook for end in result.ends] == ["retry"] * len(MODES)
    for mode in MODES:
        version = emulator.versions()[result[mode].xcom]
        assert version.weight_uri == f"s3://weights/{mode}"
        identity, of_the_user = version.aliases
        assert OWN_ALIAS.fullmatch(identity)
        assert of_the_user == f"of-{mode}"
        assert result[mode].try_number == 2
        assert f"{result[mode].xcom} belongs to this task run: it carries the alias {identity}" in result.log
        assert f"Adopted model version {result[mode].xcom}; nothing was uploaded again" in result.log
        if AIRFLOW_V_3_3_PLUS:
            note = task_state(result.dag_id, result.run_id)[f"{mode}.cerebras_upload"]
            assert note == {"model_version": result[mode].xcom, "request": identity}


def test_default_args_reach_durable(emulator: EmulatorClient, new_dag: Callable[..., DAG], run_dag: DagRunner) -> None:
    """Neither task looks for what an earlier attempt has made, so each does everything twice."""
    emulator.add_fault("upload_model_version", when="after", drop=True)
    emulator.add_fault("deploy_model", when="after", drop=True)
    waiting = OPERATOR_MODES["blocking"]
    with new_dag(default_args={"retries": 1, "durable": False}) as dag:
        upload = CerebrasUploadModelVersionOperator(
            task_id="upload", model_arch_id=emulator.arch, weight_uri="s3://weights/run-1", **waiting
        )
        CerebrasDeployModelOperator(task_id="deploy", endpoint_id=emulator.endpoint_id, model_version=output(upload))

    result = run_dag(dag)

    assert result.state == "success", result.log
    assert aliases(emulator) == {emulator.version_name(1): [], emulator.version_name(2): []}
    assert result["upload"].xcom == emulator.version_name(2)
    assert [entry.model_version for entry in emulator.deployments()] == [emulator.version_name(2)] * 2
    assert result["deploy"].xcom == emulator.deployments()[1].deployment_id


def test_a_weekly_dag_moves_its_alias_every_week_or_is_told_what_to_do(
    emulator: EmulatorClient, new_dag: Callable[..., DAG], run_dag: DagRunner
) -> None:
    with new_dag() as dag:
        for task_id, arguments in WEEKLY.items():
            CerebrasUploadModelVersionOperator(
                task_id=task_id,
                model_arch_id=emulator.arch,
                weight_uri="s3://weights/weekly",
                version_aliases=[f"latest-{task_id}"],
                **arguments,
            )

    first, second = run_dag(dag), run_dag(dag)

    assert first.state == "success", first.log
    holders = {alias: name for name, held in aliases(emulator).items() for alias in held}
    assert second["moves"].xcom == holders["latest-moves"] != first["moves"].xcom
    assert first["stays"].xcom == holders["latest-stays"]
    error = second.error("stays")
    assert isinstance(error, AliasInUse)
    for words in ("'latest-stays'", first["stays"].xcom, "Nothing was uploaded", "move_aliases=True", "Promote"):
        assert words in str(error)
    assert len(emulator.versions()) == 3


class Clear(BaseOperator):
    """Does once what a user does who clears a task, perhaps after an edit of its retries."""

    def __init__(self, *, cleared: str, edited: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.cleared = cleared
        self.edited = edited

    def execute(self, context: Context) -> None:
        from airflow import settings
        from airflow.models.taskinstance import TaskInstance, clear_task_instances

        ti: Any = context["ti"]
        session_class: Any = settings.Session
        with closing(session_class.session_factory()) as session:
            of_the_run = session.query(TaskInstance).filter_by(dag_id=ti.dag_id, run_id=ti.run_id, task_id=self.cleared)
            # Airflow 2 would look for the DAG in a file, and does not count the clear if it finds none.
            dag: dict[str, Any] = {} if AIRFLOW_V_3_0_PLUS else {"dag": self.get_dag()}
            clear_task_instances(of_the_run.all(), session, dag_run_state=False, **dag)
            if self.edited is not None:
                (row,) = of_the_run.all()
                row.max_tries = row.try_number + self.edited
                self.get_dag().get_task(self.cleared).retries = self.edited  # type: ignore[union-attr]
            session.commit()


def test_clearing_a_task_uploads_anew_and_takes_its_aliases_over(
    emulator: EmulatorClient, new_dag: Callable[..., DAG], run_dag: DagRunner
) -> None:
    with new_dag(default_args={"retries": 2}) as dag:
        upload = CerebrasUploadModelVersionOperator(
            task_id="upload", model_arch_id=emulator.arch, weight_uri="s3://weights/run-1", version_aliases=["latest"]
        )
        upload >> Clear(task_id="clear", cleared="upload")

    result = run_dag(dag)

    assert result.state == "success", result.log
    assert result["upload"].try_number == 2
    assert result["upload"].xcom == emulator.version_name(2)
    (before,), (after, latest) = aliases(emulator).values()
    assert latest == "latest"
    # One base, two generations: without a clear, they differ by nothing.
    assert before.rpartition("-")[0] == after.rpartition("-")[0]
    assert before != after


@pytest.mark.parametrize(
    ("first", "edits"), [(3, [0, 1]), (3, [2, 1, 0]), (0, [3, 0]), (2, [2, 2])], ids=lambda value: str(value)
)
def test_each_clear_uploads_anew_whatever_the_retries_were_when(
    first: int, edits: list[int], emulator: EmulatorClient, new_dag: Callable[..., DAG], run_dag: DagRunner
) -> None:
    """Airflow's max_tries repeats itself when retries are edited between clears."""
    with new_dag() as dag:
        upload = CerebrasUploadModelVersionOperator(
            task_id="upload",
            model_arch_id=emulator.arch,
            weight_uri="s3://weights/run-1",
            version_aliases=["latest"],
            retries=first,
        )
        before: list[Any] = []
        for number, edited in enumerate(edits):
            clear = Clear(task_id=f"clear-{number}", cleared="upload", edited=edited)
            [upload, *before] >> clear
            before.append(clear)

    result = run_dag(dag)

    assert result.state == "success", result.log
    last = emulator.version_name(len(edits) + 1)
    assert result["upload"].xcom == last
    assert len(emulator.versions()) == len(emulator.requests("upload_model_version")) == len(edits) + 1
    assert [name for name, held in aliases(emulator).items() if "latest" in held] == [last]


def test_a_run_that_was_deleted_and_made_again_uploads_anew(
    emulator: EmulatorClient, new_dag: Callable[..., DAG], run_dag: DagRunner
) -> None:
    with new_dag(default_args={"retries": 1}) as dag:
        upload = CerebrasUploadModelVersionOperator(
            task_id="upload", model_arch_id=emulator.arch, weight_uri="s3://weights/run-1", version_aliases=["latest"]
        )
    run_id = run_dag(dag).run_id
    # The identity that the same run id leads to, on a version of the deleted run.
    ti = TaskInstance(dag_id=dag.dag_id, run_id=run_id, task_id="upload", max_tries=1, try_number=1)
    assert upload.execute({"ti": ti}) == emulator.version_name(2)  # type: ignore[typeddict-item,unused-ignore]
    assert [name for name, held in aliases(emulator).items() if "latest" in held] == [emulator.version_name(2)]
    retried = TaskInstance(dag_id=dag.dag_id, run_id=run_id, task_id="upload", max_tries=1, try_number=2)
    assert upload.execute({"ti": retried}) == emulator.version_name(2)  # type: ignore[typeddict-item,unused-ignore]
