"""Weights are checked by a task: with what another task returns, for several places at once, and when it goes wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, task

from airflow_provider_cerebras.exceptions import InvalidArgument, WeightsChanged, WeightsRejected
from airflow_provider_cerebras.operators.weights import CerebrasCheckWeightsOperator
from airflow_provider_cerebras.weights import WeightsUnreadable, weights_digest
from tests.s3 import aws_connection, empty_bucket, put, s3_service
from tests.unit.weights.layouts import gpt_oss_20b, llama_8b, llama_tied

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow.providers.common.compat.sdk import DAG
    from mypy_boto3_s3 import S3Client

    from tests.integration.dag_run import DagRunner

ROLE = "arn:aws:iam::999999999999:role/cerebras-reader"


@pytest.fixture(scope="module")
def s3_url() -> Iterator[str]:
    with s3_service() as url:
        yield url


@pytest.fixture
def s3(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> S3Client:
    monkeypatch.setenv("AIRFLOW_CONN_STORE", aws_connection(s3_url))
    return empty_bucket(s3_url, "models")


def test_a_check_takes_what_the_training_returns_and_checks_several_places(
    s3: S3Client, new_dag: Callable[..., DAG], run_dag: DagRunner
) -> None:
    places = ["run-0", "run-1"]
    uris = [put(s3, "models", place, make()) for place, make in zip(places, (llama_8b, llama_tied), strict=True)]
    with new_dag(params={"arch": "gpt-oss-120b", "role": ROLE}) as dag:

        @task
        def train() -> dict[str, str]:
            uri = put(s3, "models", "fine-tuned", gpt_oss_20b())
            return {"weight_uri": uri, "digest": weights_digest(uri, "store")}

        @task
        def finished() -> list[str]:
            return uris

        trained: Any = train()
        check = CerebrasCheckWeightsOperator(
            task_id="check",
            weight_uri=trained["weight_uri"],
            model_arch_id="{{ params.arch }}",
            weights_digest="{{ ti.xcom_pull(task_ids='train')['digest'] }}",
            checks=["files", "{{ 'config' }}"],
            sample_values="{{ false }}",
            aws_conn_id="{{ 'store' }}",
        )
        CerebrasCheckWeightsOperator.partial(task_id="each", model_arch_id="llama3.1-8b", aws_conn_id="store").expand(
            weight_uri=finished()
        )
        trained >> check

    result = run_dag(dag)

    assert result.state == "success", result.log
    report = result["check"].xcom
    assert report["digest"] == result["train"].xcom["digest"]
    assert report["checks"] == ["files", "config"]
    assert {(each["level"], each["code"], each["object"]) for each in report["findings"]} == {
        ("warning", "second-copy", "metal/"),
        ("warning", "second-copy", "original/"),
        ("ok", "files", None),
        ("ok", "config", None),
    }
    assert (report["files"], report["tensors"], report["parameters"]) == (13, 60, {"BF16": 1338, "U8": 1632})
    assert "second-copy  original/  " in result.log
    assert [result[f"each[{number}]"].xcom["weight_uri"] for number in range(2)] == [f"{uri}/" for uri in uris]


def test_what_is_wrong_fails_the_task_at_once_with_its_reason(
    s3: S3Client, new_dag: Callable[..., DAG], run_dag: DagRunner
) -> None:
    good = put(s3, "models", "good", llama_8b())
    digest = weights_digest(good, "store")
    put(s3, "models", "good", {"more.txt": b"added after the training"})
    broken = {key: b"" if key.endswith(".safetensors") else content for key, content in llama_8b().items()}
    put(s3, "models", "broken", broken)
    with new_dag(default_args={"retries": 2}) as dag:
        shared: dict[str, Any] = {"model_arch_id": "llama3.1-8b", "aws_conn_id": "store"}
        check = CerebrasCheckWeightsOperator
        check(task_id="broken", weight_uri="s3://models/broken", **shared)
        check(task_id="role", weight_uri=good, reader_role_arn=ROLE, checks=["bucket"], **shared)
        check(task_id="changed", weight_uri=good, weights_digest=digest, **shared)
        check(task_id="gone", weight_uri="s3://models/gone", weights_digest=digest, **shared)
        check(task_id="argument", weight_uri=good, checks=["{{ 'everything' }}"], **shared)

    result = run_dag(dag)

    assert {task.state for task in result.tasks.values()} == {"failed"}
    # None is retried, whatever the task's retries.
    assert [end.hook for end in result.ends] == ["failure"] * 5
    errors = {name: result.error(name) for name in result.tasks}
    assert all(isinstance(error, AirflowFailException) for error in errors.values())
    rejected = str(errors["broken"])
    assert isinstance(errors["broken"], WeightsRejected)
    assert rejected.startswith("The weights at s3://models/broken/ are rejected for 4 errors: (1) model-00001-of-00004")
    assert rejected.endswith("And 1 more: see the table in the log.")
    assert "error    empty-object  model-00004-of-00004.safetensors" in result.log
    assert isinstance(errors["role"], WeightsRejected)
    assert "1 error: (1) no-bucket-policy: The bucket has" not in str(errors["role"])
    assert '"Principal": {"AWS": "arn:aws:iam::999999999999:role/cerebras-reader"}' in str(errors["role"])
    for name in ("changed", "gone"):
        assert isinstance(errors[name], WeightsChanged)
        assert f"not those with the digest {digest}: theirs is" in str(errors[name])
    assert isinstance(errors["argument"], InvalidArgument)
    assert str(errors["argument"]).startswith("checks: 'everything' is none of files, index")


def test_an_s3_that_does_not_answer_is_retried(
    new_dag: Callable[..., DAG], run_dag: DagRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_STORE", aws_connection("http://127.0.0.1:1"))
    with new_dag(default_args={"retries": 1}) as dag:
        CerebrasCheckWeightsOperator(
            task_id="check", weight_uri="s3://models/run", model_arch_id="llama3.1-8b", aws_conn_id="store"
        )

    result = run_dag(dag)

    assert [end.hook for end in result.ends] == ["retry", "failure"]
    assert isinstance(result.error("check"), WeightsUnreadable)
    assert "by the AWS connection 'store'" in str(result.error("check"))
    assert "secret-of-aws" not in result.log
