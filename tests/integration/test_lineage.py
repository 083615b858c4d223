"""Lineage by the real OpenLineage provider, and by Airflow's collector of what hooks do."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_cerebras.hooks.cerebras import CerebrasHook
from airflow_provider_cerebras.operators.endpoints import CerebrasDeployModelOperator, CerebrasRollbackEndpointOperator
from airflow_provider_cerebras.operators.model_versions import CerebrasUploadModelVersionOperator
from airflow_provider_cerebras.version_compat import AIRFLOW_V_3_2_PLUS
from tests.integration.scenario import OPERATOR_MODES

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.providers.common.compat.sdk import DAG

    from airflow_provider_cerebras.emulator.control.client import EmulatorClient
    from tests.integration.dag_run import DagRunner

V1 = ("cerebras", "orgs/my-org/models/gpt-oss-120b/versions/1")
ENDPOINT = ("cerebras", "endpoints/my-org-gpt-oss-120b")
WEIGHTS = ("s3://my-bucket", "weights/run-1")


@pytest.fixture
def openlineage(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenLineage is switched on, but for its listener, which would send events from processes of its own."""
    from airflow.providers.openlineage.plugins import openlineage as loaded_while_it_is_off  # noqa: F401

    monkeypatch.setenv("AIRFLOW__OPENLINEAGE__TRANSPORT", '{"type": "console"}')


@pytest.fixture
def quick(start_emulator: Callable[..., EmulatorClient], monkeypatch: pytest.MonkeyPatch) -> EmulatorClient:
    emulator = start_emulator(sync_seconds=0.2, rollout_seconds=0.2)
    monkeypatch.setenv("AIRFLOW_CONN_CEREBRAS_DEFAULT", emulator.connection())
    return emulator


def tell_lineage(task: Any, told: dict[str, Any]) -> None:
    """Let a task tell what OpenLineage's own extractor makes of it when it has ended, well or not."""

    def tell(context: Any) -> None:
        from airflow.providers.openlineage.extractors.base import DefaultExtractor

        ti = context["ti"]
        lineage: Any = DefaultExtractor(ti.task).extract_on_complete(ti)
        told[ti.task_id] = tuple(
            [(dataset.namespace, dataset.name) for dataset in side] for side in (lineage.inputs, lineage.outputs)
        )

    task.on_success_callback = [tell]


@pytest.mark.usefixtures("openlineage")
@pytest.mark.parametrize("mode", OPERATOR_MODES)
def test_openlineage_is_told_what_was_made_of_what(
    mode: str, quick: EmulatorClient, new_dag: Callable[..., DAG], run_dag: DagRunner
) -> None:
    told: dict[str, Any] = {}
    with new_dag() as dag:
        upload = CerebrasUploadModelVersionOperator(
            task_id="upload",
            model_arch_id=quick.arch,
            weight_uri="s3://my-bucket/weights/run-1/",
            version_aliases=["latest"],
            **OPERATOR_MODES[mode],
        )
        deploy = CerebrasDeployModelOperator(
            task_id="deploy",
            endpoint_id=quick.endpoint_id,
            model_version=quick.version_name("latest"),
            **OPERATOR_MODES[mode],
        )
        roll_back = CerebrasRollbackEndpointOperator(
            task_id="roll_back", endpoint_id=quick.endpoint_id, to=quick.version_name("latest"), **OPERATOR_MODES[mode]
        )
        upload >> deploy >> roll_back
    for task in (upload, deploy, roll_back):
        tell_lineage(task, told)

    result = run_dag(dag)

    assert result.state == "success", result.log
    assert told == {
        "upload": ([WEIGHTS], [V1]),
        "deploy": ([V1], [ENDPOINT]),
        "roll_back": ([V1], [ENDPOINT]),
    }


def test_a_task_that_made_nothing_has_no_lineage() -> None:
    from airflow.providers.openlineage.extractors.base import DefaultExtractor

    task = CerebrasUploadModelVersionOperator(task_id="task", model_arch_id="arch", weight_uri="s3://my-bucket/weights")
    lineage: Any = DefaultExtractor(task).extract_on_failure(None)
    assert (lineage.inputs, lineage.outputs) == ([], [])


def test_the_collector_is_told_what_a_hook_does(quick: EmulatorClient, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.providers.common.compat.sdk import HookLineageCollector
    from airflow.providers_manager import ProvidersManager

    sdk = "airflow.sdk.lineage" if AIRFLOW_V_3_2_PLUS else "airflow.lineage.hook"
    collector: Any = HookLineageCollector()
    monkeypatch.setattr(f"{sdk}.get_hook_lineage_collector", lambda: collector)
    monkeypatch.setattr("airflow.providers.common.compat.sdk.get_hook_lineage_collector", lambda: collector)
    hook = CerebrasHook()

    hook.upload_model_version(quick.arch, "s3://my-bucket/weights/run-1", ["latest"])
    while not quick.versions()[quick.version_name(1)].done:
        threading.Event().wait(0.02)
    hook.deploy_model(quick.endpoint_id, quick.version_name("latest"))

    lineage = collector.collected_assets
    assert [info.asset.uri for info in lineage.inputs] == [
        "s3://my-bucket/weights/run-1",
        "cerebras://orgs/my-org/models/gpt-oss-120b/versions/1",
    ]
    uris = [info.asset.uri for info in lineage.outputs]
    assert uris == [
        "cerebras://orgs/my-org/models/gpt-oss-120b/versions/1",
        "cerebras://endpoints/my-org-gpt-oss-120b",
    ]
    manager: Any = ProvidersManager()
    convert = getattr(manager, "asset_to_openlineage_converters", None) or manager.dataset_to_openlineage_converters
    datasets = [convert["cerebras"](info.asset, lineage_context=hook) for info in lineage.outputs]
    assert [(dataset.namespace, dataset.name) for dataset in datasets] == [V1, ENDPOINT]


def test_a_collector_that_fails_does_no_harm(quick: EmulatorClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise RuntimeError("a reader is broken")

    monkeypatch.setattr("airflow.providers.common.compat.lineage.hook.get_hook_lineage_collector", fail)
    assert CerebrasHook().upload_model_version(quick.arch, "s3://my-bucket/weights").name == V1[1]


PROGRAM = """
import sys
for name in ("airflow.providers.openlineage.conf", "airflow.providers.openlineage.extractors", "openlineage"):
    sys.modules[name] = None  # to import it fails
from airflow_provider_cerebras.hooks.cerebras import CerebrasHook
from airflow_provider_cerebras.assets.openlineage import openlineage_listens
from airflow_provider_cerebras.operators.model_versions import CerebrasUploadModelVersionOperator
from tests.task_instance import TaskInstance
task = CerebrasUploadModelVersionOperator(task_id="task", model_arch_id="gpt-oss-120b", weight_uri="s3://bucket/weights")
print([openlineage_listens(), task.execute({"ti": TaskInstance()}), CerebrasHook().list_model_architectures()[0]])
"""


def test_nothing_breaks_where_openlineage_is_not_installed(quick: EmulatorClient) -> None:
    run = subprocess.run([sys.executable, "-W", "ignore", "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout.splitlines()[-1].replace("'", '"').replace("False", "false"))[:2] == [False, V1[1]]
