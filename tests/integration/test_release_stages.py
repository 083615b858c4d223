"""One release whose version another one takes over: weights checked, evaluated, recorded, and taken back by a gate."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_cerebras.exceptions import EvaluationFailed, ReleaseFailed
from airflow_provider_cerebras.task_groups import cerebras_release
from tests.clock import ticking
from tests.integration.scenario import POLL
from tests.s3 import aws_connection, empty_bucket, put, s3_service
from tests.unit.weights.layouts import gpt_oss_20b

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from airflow.providers.common.compat.sdk import DAG

    from airflow_provider_cerebras.emulator.control.client import EmulatorClient
    from tests.integration.dag_run import DagRunner

PRODUCTION = "production-endpoint"
CASES: list[dict[str, Any]] = [
    {"id": str(number), "messages": [{"role": "user", "content": f"secret-question {number}"}], "expected": "right"}
    for number in range(20)
]
QUICKLY: dict[str, Any] = {
    "wait_for_sync": {"poke_interval": POLL},
    "wait_for_rollout": {"poke_interval": POLL},
    "verify": {"settle_timeout": POLL},
    "roll_back": {"poll_interval": POLL},
}


@pytest.fixture
def quick(start_emulator: Callable[..., EmulatorClient], monkeypatch: pytest.MonkeyPatch) -> EmulatorClient:
    emulator = start_emulator(ticking(), sync_seconds=0, rollout_seconds=0)
    monkeypatch.setenv("AIRFLOW_CONN_CEREBRAS_DEFAULT", emulator.connection())
    return emulator


def test_what_staging_has_verified_does_not_pass_the_gate_of_production(
    quick: EmulatorClient,
    new_dag: Callable[..., DAG],
    run_dag: DagRunner,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    quick.add_endpoint(PRODUCTION)
    old = quick.upload("s3://weights/old", "prod")
    quick.set_answers(old, default="right")
    quick.deploy(old, PRODUCTION)
    quick.advance_clock(1)
    new = quick.version_name(2)
    quick.set_answers(new, default="wrong")
    with s3_service() as url:
        monkeypatch.setenv("AIRFLOW_CONN_STORE", aws_connection(url))
        weight_uri = put(empty_bucket(url, "models"), "models", "fine", gpt_oss_20b())
        with new_dag() as dag:
            staging = cerebras_release(
                group_id="staging",
                model_arch_id=quick.arch,
                weight_uri=weight_uri,
                endpoint_id=quick.endpoint_id,
                aws_conn_id="store",
                evaluate={"dataset": CASES},
                record_uri=str(tmp_path),
                **QUICKLY,
            )
            production = cerebras_release(
                group_id="production",
                model_version=staging.model_version,
                endpoint_id=PRODUCTION,
                alias="prod",
                evaluate={"dataset": CASES, "require": {"pass_rate": 0.9}},
                record_uri=str(tmp_path),
                **QUICKLY,
            )
            staging >> production

        result = run_dag(dag)

    first = result["staging.conclude"].xcom
    assert first["outcome"] == "released", result.log
    assert first["findings"]["error"] == 0
    assert first["weights_digest"] == result["staging.check_weights"].xcom["digest"]
    assert first["weight_uri"] == weight_uri
    assert first["evaluation"]["cases"] == len(CASES)
    assert "Nothing serves" in result["staging.evaluate_baseline"].xcom["skipped"]

    assert isinstance(result.error("production.evaluate"), EvaluationFailed)
    assert result["production.roll_back"].state == "success", result.log
    assert quick.serving(PRODUCTION) == old
    assert quick.versions()[old].aliases[0] == "prod"
    error = result.error("production.conclude")
    assert isinstance(error, ReleaseFailed)
    assert "failed in evaluate: Endpoint production-endpoint is not good enough: " in str(error)
    second = result["production.conclude"].xcom
    assert (second["outcome"], second["model_version"], second["serves_now"]) == ("rolled_back", new, old)
    assert second["served_before"] == old
    assert (second["evaluation"]["pass_rate"], second["evaluation"]["baseline"]["pass_rate"]) == (0, 1)

    stored = [json.loads(path.read_text()) for path in sorted(tmp_path.rglob("*.json"))]
    assert stored == [second, first]
    everything = "".join(path.read_text() for path in tmp_path.rglob("*.*") if path.is_file())
    assert "secret-question" not in everything
    assert "# Release to production-endpoint: rolled_back" in everything
