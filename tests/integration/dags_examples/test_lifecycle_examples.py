"""The other example DAGs, each run as it stands."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_1_PLUS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import RunningEmulator
    from tests.integration.dag_run import DagRunner


@pytest.fixture
def quick(start_emulator: Callable[..., RunningEmulator], monkeypatch: pytest.MonkeyPatch) -> RunningEmulator:
    emulator = start_emulator(sync_seconds=0, rollout_seconds=0)
    monkeypatch.setenv("AIRFLOW_CONN_CEREBRAS_DEFAULT", emulator.connection())
    return emulator


def load(name: str) -> Any:
    """The DAG of a file, made anew."""
    sys.modules.pop(name, None)
    return importlib.import_module(name).dag


def test_scheduled_release(quick: RunningEmulator, run_dag: DagRunner) -> None:
    first = quick.upload("s3://weights/last-week", "latest", "production")
    quick.deploy(first)

    result = run_dag(load("scheduled_release"))

    assert result.state == "success", result.log
    second = quick.version_name(2)
    assert quick.serving() == second
    assert quick.versions()[second]["response"]["version_aliases"][1:] == ["latest", "production"]


def test_prune_weekly(quick: RunningEmulator, run_dag: DagRunner) -> None:
    versions = [quick.upload(f"s3://weights/{number}") for number in range(8)]
    quick.set_aliases(versions[0], "production-2024")
    quick.deploy(versions[1])

    result = run_dag(load("prune_weekly"))

    assert result.state == "success", result.log
    assert result["rehearse"].xcom == result["prune"].xcom
    assert result["prune"].xcom["deleted"] == [versions[2]]
    assert list(quick.versions()) == [version for version in versions if version != versions[2]]


def test_fan_out_endpoints(quick: RunningEmulator, run_dag: DagRunner) -> None:
    endpoints = [quick.endpoint_id, *(f"{quick.endpoint_id}-{region}" for region in ("eu", "us"))]
    for endpoint_id in endpoints[1:]:
        quick.add_endpoint(endpoint_id)
    version = quick.upload("s3://weights/1", "latest")

    result = run_dag(load("fan_out_endpoints"))

    assert result.state == "success", result.log
    assert {quick.serving(endpoint_id) for endpoint_id in endpoints} == {version}


if AIRFLOW_V_3_1_PLUS:

    def test_release_with_approval_asks_before_it_deploys() -> None:
        dag = load("release_with_approval")
        approve = dag.get_task("cerebras_release.approve")
        assert approve.upstream_task_ids == {"cerebras_release.wait_for_sync"}
        assert approve.downstream_task_ids == {"cerebras_release.deploy"}

else:

    def test_release_with_approval_says_what_it_needs() -> None:
        with pytest.raises(ValueError, match=r"^approval: needs Airflow 3\.1"):
            load("release_with_approval")
