"""An evaluation as a task: what it returns, what the next one compares with, what a retry asks, what is logged."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_cerebras.exceptions import EvaluationFailed
from airflow_provider_cerebras.operators.endpoints import CerebrasDeployModelOperator
from airflow_provider_cerebras.operators.evaluation import CerebrasEvaluateEndpointOperator
from tests.clock import ticking
from tests.integration.scenario import output

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from airflow.providers.common.compat.sdk import DAG

    from airflow_provider_cerebras.emulator.control.client import EmulatorClient
    from tests.integration.dag_run import DagRunner

CASES = 200
QUESTIONS = [f"What is {number} plus {number}?" for number in range(CASES)]


@pytest.fixture
def quick(start_emulator: Callable[..., EmulatorClient], monkeypatch: pytest.MonkeyPatch) -> EmulatorClient:
    emulator = start_emulator(ticking(), sync_seconds=0, rollout_seconds=0)
    monkeypatch.setenv("AIRFLOW_CONN_CEREBRAS_DEFAULT", emulator.connection(extra={"max_retries": 0}))
    return emulator


@pytest.fixture
def cases(tmp_path: Path) -> Path:
    rows = [
        {"id": number, "messages": [{"role": "user", "content": question}], "expected": f"it is {2 * number}"}
        for number, question in enumerate(QUESTIONS)
    ]
    path = tmp_path / "cases.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def upload(emulator: EmulatorClient, wrong: range) -> str:
    """A version that answers some questions wrong."""
    name = emulator.upload(f"s3://weights/{wrong}")
    answers = {question: f"it is {2 * number}" for number, question in enumerate(QUESTIONS)}
    emulator.set_answers(name, {**answers, **{QUESTIONS[number]: "secret-nonsense" for number in wrong}})
    return name


def test_a_worse_model_does_not_pass_and_what_was_asked_is_not_asked_again(
    quick: EmulatorClient, new_dag: Callable[..., DAG], run_dag: DagRunner, cases: Path, tmp_path: Path
) -> None:
    good, worse = upload(quick, range(20, 40)), upload(quick, range(20, 65))
    quick.deploy(good)
    # The first attempt ends at a third, with an error that says nothing about the model.
    quick.add_fault("chat_completion", skip=CASES // 3, status=503)
    arguments: dict[str, Any] = {"endpoint_id": quick.endpoint_id, "dataset": "{{ params.cases }}", "concurrency": 4}
    with new_dag(params={"cases": f"file://{cases}", "results": f"file://{tmp_path}/results"}) as dag:
        baseline = CerebrasEvaluateEndpointOperator(
            task_id="baseline", results_uri="{{ params.results }}", retries=1, model_version=good, **arguments
        )
        deploy = CerebrasDeployModelOperator(
            task_id="deploy", endpoint_id=quick.endpoint_id, model_version=worse, wait_for_completion=True
        )
        evaluate = CerebrasEvaluateEndpointOperator(
            task_id="evaluate", baseline=output(baseline), max_regression=0.01, model_version=worse, **arguments
        )
        baseline >> deploy >> evaluate

    result = run_dag(dag)

    assert result.states() == {"baseline": "success", "deploy": "success", "evaluate": "failed"}, result.log
    summary = result["baseline"].xcom
    assert (summary["pass_rate"], summary["model_version"]) == (pytest.approx(0.9), good)
    error = result.error("evaluate")
    assert isinstance(error, EvaluationFailed)
    assert "fell by 12.5 % from 90 % to 77.5 %: 25 cases got worse and 0 better" in str(error)
    asked = Counter(request.body["messages"][-1]["content"] for request in quick.requests("chat_completion"))
    refused = [r.body["messages"][-1]["content"] for r in quick.requests("chat_completion") if r.status == 503]
    assert len(refused) == 1
    assert {question: times for question, times in asked.items() if times != 2} == {refused[0]: 3}
    assert "200 of 200 questions answered" in result.log
    assert "secret-nonsense" not in result.log
    assert "plus" not in result.log
    (folder,) = (tmp_path / "results").iterdir()
    assert summary["results_uri"] == f"file://{folder}"
    assert "## Cases that failed: 20" in (folder / "report.md").read_text()
