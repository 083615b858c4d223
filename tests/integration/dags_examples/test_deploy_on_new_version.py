"""One team's DAG uploads, and another team's DAG deploys what the asset's event names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import deploy_on_new_version as example

from tests.clock import ticking
from tests.integration.asset_runs import asset_events, register_unpaused, run_what_assets_start

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from airflow_provider_cerebras.emulator.control.client import EmulatorClient
    from tests.integration.dag_run import DagRunner


def test_the_consumer_deploys_the_version_that_the_event_names(
    start_emulator: Callable[..., EmulatorClient], run_dag: DagRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulator = start_emulator(ticking(), sync_seconds=0, rollout_seconds=0)
    monkeypatch.setenv("AIRFLOW_CONN_CEREBRAS_DEFAULT", emulator.connection())
    register_unpaused(example.producer, example.consumer)
    assert run_what_assets_start(example.consumer, run_dag, monkeypatch) is None

    produced = run_dag(example.producer)
    assert produced.state == "success", produced.log
    emulator.upload("s3://weights/of-somebody-else", "latest")
    consumed = run_what_assets_start(example.consumer, run_dag, monkeypatch)

    assert consumed is not None
    assert consumed.state == "success", consumed.log
    assert consumed["newest"].xcom == emulator.serving() == produced["upload"].xcom == emulator.version_name(1)
    event = asset_events("cerebras://endpoints/my-org-gpt-oss-120b")[-1]
    assert (event["model_version"], event["deployment_id"]) == (
        emulator.version_name(1),
        consumed["release.deploy"].xcom,
    )
    assert event["outcome"] == "released"
    # One event starts one run.
    assert run_what_assets_start(example.consumer, run_dag, monkeypatch) is None
