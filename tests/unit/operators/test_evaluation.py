"""Evaluating an endpoint that answers as its versions were told to, on a real socket."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fsspec  # type: ignore[import-untyped]
import pytest

from airflow_provider_cerebras.api.errors import CerebrasTransportError, RateLimited, ServerError
from airflow_provider_cerebras.exceptions import EvaluationFailed, RequestRefused, VerificationNotDone
from airflow_provider_cerebras.operators.evaluation import CerebrasEvaluateEndpointOperator
from airflow_provider_cerebras.version_compat import AIRFLOW_V_3_0_PLUS
from tests.conftest import INFERENCE_KEY, MANAGEMENT_KEY
from tests.s3 import aws_connection, empty_bucket, put, s3_service
from tests.task_instance import TaskInstance

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.conftest import Service

CASES = 40
ROWS = [
    {
        "id": f"sum-{number:03}",
        "messages": [{"role": "user", "content": f"What is {number} plus {number}?"}],
        "expected": str(2 * number),
        "tags": ["small" if number < 20 else "large"],
    }
    for number in range(CASES)
]


def answers(wrong: range | tuple[int, ...] = ()) -> dict[str, str]:
    """Answers to all questions, of which some are wrong."""
    right = {str(row["messages"][0]["content"]): str(row["expected"]) for row in ROWS}  # type: ignore[index]
    return {question: "secret-nonsense" if n in wrong else answer for n, (question, answer) in enumerate(right.items())}


@pytest.fixture
def release(service: Service) -> Callable[..., str]:
    """Roll out a new version that answers so many questions wrong: ``release(range(20))``."""

    def release(wrong: range | tuple[int, ...] = ()) -> str:
        service.new_deployment()
        name = service.serving()
        assert name is not None
        service.set_answers(name, answers(wrong))
        return name

    service.clear_answers()
    return release


def evaluate(ti: TaskInstance | None = None, **arguments: Any) -> dict[str, Any]:
    operator = CerebrasEvaluateEndpointOperator(
        task_id="evaluate", **{"endpoint_id": "my-org-gpt-oss-120b", "dataset": ROWS, **arguments}
    )
    context: Any = {"ti": ti or TaskInstance()}
    summary: dict[str, Any] = json.loads(json.dumps(operator.execute(context)))
    return summary


def asked(service: Service) -> Counter[str]:
    """How often each question came in."""
    return Counter(request.body["messages"][-1]["content"] for request in service.requests("chat_completion"))


class TestGate:
    def test_a_better_model_passes_and_a_worse_one_does_not(
        self, service: Service, release: Callable[..., str]
    ) -> None:
        first = release(range(10, 14))
        baseline = evaluate(model_version=first)
        assert baseline["pass_rate"] == pytest.approx(0.9)
        assert baseline["tags"]["small"] == {"cases": 20, "pass_rate": pytest.approx(0.8)}
        assert (baseline["model_version"], baseline["baseline"]) == (first, None)

        release(range(10, 12))
        better = evaluate(baseline=baseline)
        assert better["baseline"]["better"] == 2
        assert better["passed"] is True

        release(range(8, 14))
        chance = evaluate(baseline=baseline, max_regression=0.01)
        assert chance["baseline"]["worse_cases"] == ["sum-008", "sum-009"]
        assert chance["baseline"]["smallest_fall"] == 0.125

        release(range(10, 19))
        ti = TaskInstance()
        with pytest.raises(EvaluationFailed, match=r"fell by 12.5 % from 90 % to 77.5 %: 5 cases got worse") as failed:
            evaluate(ti, baseline=baseline, max_regression=0.01)
        assert ti.xcoms["evaluation"]["baseline"]["worse"] == 5
        assert "secret-nonsense" not in str(failed.value)

    def test_a_requirement_that_is_not_met_fails(self, release: Callable[..., str]) -> None:
        release((7,))
        require = {"pass_rate": 0.97, "tag:large": 1.0, "latency_p95": 60}
        assert [each["met"] for each in evaluate(require=require)["requirements"]] == [True] * 3
        with pytest.raises(EvaluationFailed, match=r"not good enough: tag:small is 0.95, and must be at least 1"):
            evaluate(require={"tag:small": 1.0})

    def test_a_judge_that_fails_fails_its_cases(
        self, release: Callable[..., str], caplog: pytest.LogCaptureFixture
    ) -> None:
        def judge(case: Any, completion: Any) -> Any:
            if case.id == "sum-000":
                raise RuntimeError(completion.choices[0].message.content)
            return {"sum-001": None, "sum-002": "yes", "sum-003": 0.4}.get(case.id, 0.9)

        release((0,))
        summary = evaluate(scorers=["contains", judge], dataset=ROWS[:10])
        assert summary["pass_rate"] == pytest.approx(0.6)
        assert summary["missing_scores"] == 3
        assert summary["scores"]["judge"] == pytest.approx((0.4 + 6 * 0.9) / 10)
        assert "Scorer 'judge' raised RuntimeError for case 'sum-000'" in caplog.text
        assert "secret-nonsense" not in caplog.text

    def test_each_case_is_asked_as_often_as_it_is_repeated(self, service: Service, release: Callable[..., str]) -> None:
        release((0,))
        before = asked(service)
        assert evaluate(dataset=ROWS[:4], repeats=3)["pass_rate"] == pytest.approx(0.75)
        assert sorted((asked(service) - before).values()) == [3] * 4


class TestArguments:
    @pytest.mark.parametrize(
        ("argument", "value"),
        [
            ("endpoint_id", ""),
            ("dataset", []),
            ("dataset", [{"id": "a"}]),
            ("dataset", 7),
            ("scorers", "exact"),
            ("scorers", ("nonsense",)),
            ("require", {"pass_rate": 2}),
            ("require", {"tag:none": 1}),
            ("baseline", "None"),
            ("baseline", {}),
            ("max_regression", -0.1),
            ("max_regression", 1),
            ("max_regression", "little"),
            ("confidence", 0),
            ("confidence", 1),
            ("confidence", 95),
            ("confidence", "high"),
            ("repeats", 0),
            ("repeats", 101),
            ("repeats", 1.5),
            ("concurrency", 0),
            ("concurrency", True),
            ("max_requests", CASES - 1),
            ("max_requests", 0),
            ("chat_params", ["temperature"]),
            ("chat_params", {"messages": []}),
            ("chat_params", {"temperature": object()}),
            ("model_version", "1"),
        ],
    )
    def test_a_wrong_one_asks_nothing(self, service: Service, argument: str, value: Any) -> None:
        with pytest.raises(ValueError, match=rf"^{argument}: "):
            evaluate(**{argument: value})
        assert service.requests() == []

    @pytest.mark.parametrize("argument", ["dataset", "results_uri"])
    def test_a_scheme_that_is_not_known_is_refused(self, service: Service, argument: str) -> None:
        with pytest.raises(ValueError, match=rf"^{argument}: 'nonsense://bucket/key' cannot be opened"):
            evaluate(None, **{argument: "nonsense://bucket/key"})
        assert service.requests() == []

    def test_a_stream_is_refused(self, service: Service) -> None:
        with pytest.raises(ValueError, match=r"^stream: "):
            evaluate(chat_params={"stream": True})

    def test_a_bad_line_is_told_by_its_number_before_anything_is_asked(self, service: Service, tmp_path: Path) -> None:
        lines = [json.dumps(row) for row in ROWS]
        lines[32] = lines[32].replace('"messages"', '"message"')
        (tmp_path / "cases.jsonl").write_text("\n".join(lines))
        for location in (tmp_path / "cases.jsonl", str(tmp_path / "cases.jsonl"), f"file://{tmp_path}/cases.jsonl"):
            with pytest.raises(ValueError, match=r"^dataset: line 33: has no field 'message'"):
                evaluate(dataset=location)
        (tmp_path / "cases.jsonl").write_bytes(b'{"id": "\xff"}')
        with pytest.raises(ValueError, match=r"^dataset: .* is not UTF-8 \(byte 8\)"):
            evaluate(dataset=str(tmp_path / "cases.jsonl"))
        assert service.requests() == []

    def test_a_file_is_the_same_data_set_as_a_list(self, release: Callable[..., str], tmp_path: Path) -> None:
        release()
        (tmp_path / "cases.jsonl").write_text("\n".join(json.dumps(row) for row in reversed(ROWS)))
        baseline = evaluate(dataset=f"file://{tmp_path}/cases.jsonl", max_requests=CASES)
        assert evaluate(baseline=baseline)["passed"] is True

    def test_another_data_set_cannot_be_compared_and_nothing_is_asked(
        self, service: Service, release: Callable[..., str]
    ) -> None:
        release()
        baseline = evaluate(dataset=ROWS[:10])
        before = len(service.requests())
        with pytest.raises(ValueError, match=r"^baseline: is of another dataset_digest"):
            evaluate(baseline=baseline)
        with pytest.raises(ValueError, match=r"^baseline: is of another chat_params_digest"):
            evaluate(dataset=ROWS[:10], baseline=baseline, chat_params={"temperature": 0.5})
        assert len(service.requests()) == before


class TestNotCarriedOut:
    """The model is not to blame, so that nothing is rolled back for it."""

    def test_a_key_that_is_refused(self, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
        service.new_deployment()
        monkeypatch.setenv(
            "AIRFLOW_CONN_CEREBRAS_DEFAULT", service.connection(extra={"inference_api_key": "not-the-one"})
        )
        with pytest.raises(RequestRefused, match="answered 401"):
            evaluate()

    def test_no_inference_key(self, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AIRFLOW_CONN_CEREBRAS_DEFAULT", service.connection(extra={"inference_api_key": None}))
        with pytest.raises(ValueError, match=r"has no inference_api_key"):
            evaluate()

    @pytest.mark.parametrize(
        ("fault", "error"),
        [
            ({"status": 503}, ServerError),
            ({"drop": True}, CerebrasTransportError),
            ({"status": 429, "retry_after": 0}, RateLimited),
            ({"status": 400, "message": "too long"}, RequestRefused),
            ({"status": 403, "text": "<h1>Blocked</h1>"}, VerificationNotDone),
        ],
    )
    def test_a_service_that_does_not_answer(
        self, service: Service, release: Callable[..., str], monkeypatch: pytest.MonkeyPatch, fault: Any, error: Any
    ) -> None:
        monkeypatch.setenv("AIRFLOW_CONN_CEREBRAS_DEFAULT", service.connection(extra={"max_retries": 0}))
        release()
        service.add_fault("chat_completion", skip=15, times=None, **fault)
        with pytest.raises(error):
            evaluate()


def test_a_storm_of_429_is_outlasted(
    service: Service, release: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Which question each 429 is for depends on the order of the requests, so none may run out of retries.
    monkeypatch.setenv("AIRFLOW_CONN_CEREBRAS_DEFAULT", service.connection(extra={"max_retries": 100}))
    release((3,))
    service.add_fault("chat_completion", status=429, retry_after=0, probability=0.4, seed=1)
    assert evaluate()["pass_rate"] == pytest.approx(0.975)


class TestVersion:
    def test_an_alias_is_resolved(self, service: Service, release: Callable[..., str]) -> None:
        name = release()
        service.set_aliases(name, "prod")
        assert evaluate(model_version=service.version_name("prod"))["model_version"] == name

    def test_another_version_that_serves_is_not_evaluated(self, service: Service, release: Callable[..., str]) -> None:
        first, second = release(), release()
        with pytest.raises(
            EvaluationFailed, match=rf"not evaluated\. .* must serve .* {first}, and .* {second} \(.*\) serves"
        ):
            evaluate(model_version=first)
        assert asked(service) == {}

    def test_nothing_that_serves_is_not_evaluated(self, service: Service) -> None:
        with pytest.raises(EvaluationFailed, match="and nothing serves"):
            evaluate(model_version=service.new_version())
        assert asked(service) == {}

    @pytest.mark.parametrize("checked", [True, False])
    def test_an_endpoint_that_changes_in_the_middle_is_void(
        self, service: Service, release: Callable[..., str], checked: bool
    ) -> None:
        name = release()

        def change() -> None:
            body = {"model_arch_id": service.arch, "model": {"weight_uri": "s3://my-bucket/other"}}
            other = service.api("POST", f"/orgs/{service.org}/models:upload", body)["name"]
            service.finish()
            service.api("POST", f"/endpoints/{service.endpoint_id}:deployModel", {"model": other})
            service.finish()

        with (
            service.meanwhile("chat_completion", change, skip=CASES // 4),
            pytest.raises(
                EvaluationFailed, match=r"The evaluation is void: the endpoint changed under it: its answers"
            ),
        ):
            evaluate(model_version=name if checked else None, concurrency=1)
        assert sum(asked(service).values()) == CASES // 4 + 1

    def test_a_change_that_no_answer_shows_is_void_if_the_version_is_checked(
        self, service: Service, release: Callable[..., str]
    ) -> None:
        name = release()
        # The same weights, so the same fingerprint, under another name.
        with (
            service.meanwhile("chat_completion", service.new_deployment, skip=CASES - 1),
            pytest.raises(EvaluationFailed, match=r"changed under it\. Endpoint .* must serve"),
        ):
            evaluate(model_version=name, concurrency=1)


class TestKilled:
    def start(self, service: Service, folder: str, attempt: int) -> subprocess.Popen[str]:
        settings = {
            "management_key": MANAGEMENT_KEY,
            "inference_key": INFERENCE_KEY,
            "base_url": service.base_url,
            # It ends by itself if it stores nothing.
            "timeout": 10,
            "max_retries": 0,
        }
        specification = {"rows": ROWS, "folder": folder, "attempt": attempt, "settings": settings}
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.unit.operators.evaluating"],
            cwd=Path(__file__).parents[3],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdin is not None
        process.stdin.write(json.dumps(specification))
        process.stdin.close()
        return process

    def kill_at_a_third_and_go_on(self, service: Service, folder: str) -> None:
        third = CASES // 3
        service.add_fault("chat_completion", skip=third, times=None, hold=True)
        with self.start(service, folder, 1) as process:
            stored = 0
            while stored < third:
                assert process.stdout is not None
                # Airflow writes its log there, too.
                if (line := process.stdout.readline()).startswith("stored "):
                    stored += int(line.split()[1])
                assert line, "it has ended"
            unanswered = Counter(
                request.body["messages"][-1]["content"]
                for request in service.requests("chat_completion", stage="held", wait=30)
            )
            process.kill()
        service.end_faults()
        with self.start(service, folder, 2) as process:
            assert process.stdout is not None
            assert f"passed {CASES - 1}" in process.stdout.read().splitlines()
        twice = {question for question, times in asked(service).items() if times > 1}
        assert twice <= unanswered.keys()
        assert len(asked(service)) == CASES
        assert sum(asked(service).values()) == CASES + len(twice)

    def test_a_process_that_is_killed_at_a_third_has_stored_what_was_answered(
        self, service: Service, release: Callable[..., str], tmp_path: Path
    ) -> None:
        release((7,))
        self.kill_at_a_third_and_go_on(service, str(tmp_path))

    def test_it_has_stored_it_in_s3(
        self, service: Service, release: Callable[..., str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # No part of the extra "test": it needs an older botocore than the newest boto3. `nox -s s3fs` installs it.
        pytest.importorskip("s3fs")
        release((7,))
        with s3_service() as url:
            monkeypatch.setenv("AIRFLOW_CONN_STORE", aws_connection(url))
            s3 = empty_bucket(url, "models")
            self.kill_at_a_third_and_go_on(service, "s3://store@models/results")
            stored = [each["Key"] for each in s3.list_objects_v2(Bucket="models")["Contents"]]
        assert {"results/results-001-000001.jsonl", "results/results-002-000001.jsonl"} <= set(stored)


class TestResults:
    def folders(self, path: Path) -> list[Path]:
        return sorted(path.iterdir())

    @pytest.mark.parametrize("scheme", ["", "file://"])
    def test_each_case_and_a_report_are_stored(self, release: Callable[..., str], tmp_path: Path, scheme: str) -> None:
        release((7,))
        results = tmp_path / "deep" / "results"
        summary = evaluate(results_uri=f"{scheme}{results}", dataset=ROWS[:20])
        (folder,) = self.folders(results)
        assert summary["results_uri"] == f"{scheme}{folder}"
        stored = [json.loads(line) for part in folder.glob("*.jsonl") for line in part.read_text().splitlines()]
        assert sorted(each["case_id"] for each in stored) == [row["id"] for row in ROWS[:20]]
        assert [each["answer"] for each in stored if not each["passed"]] == ["secret-nonsense"]
        assert json.loads((folder / "summary.json").read_text()) == summary
        assert json.loads((folder / "evaluation.json").read_text())["endpoint_id"] == "my-org-gpt-oss-120b"
        report = (folder / "report.md").read_text()
        assert "### sum-007" in report
        assert "secret-nonsense" in report

    def test_a_retry_asks_only_what_has_no_result(
        self, service: Service, release: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AIRFLOW_CONN_CEREBRAS_DEFAULT", service.connection(extra={"max_retries": 0}))
        release((7,))
        service.add_fault("chat_completion", skip=13, status=503)
        with pytest.raises(ServerError):
            evaluate(TaskInstance(max_tries=2), results_uri=str(tmp_path))
        failed = {
            request.body["messages"][-1]["content"]
            for request in service.requests("chat_completion")
            if request.status == 503
        }
        summary = evaluate(TaskInstance(max_tries=2, try_number=2), results_uri=str(tmp_path))
        assert summary["pass_rate"] == pytest.approx(0.975)
        assert {question for question, times in asked(service).items() if times > 1} == failed
        assert len(asked(service)) == CASES

    def test_only_a_retry_of_the_same_task_run_takes_the_results_over(
        self, service: Service, release: Callable[..., str], tmp_path: Path
    ) -> None:
        name = release()
        few: dict[str, Any] = {"dataset": ROWS[:5], "results_uri": str(tmp_path)}
        evaluate(**few)
        others: list[tuple[TaskInstance, dict[str, Any]]] = [
            (TaskInstance(run_id="another"), {}),
            (TaskInstance(max_tries=1, try_number=2), {}),  # it was cleared
            (TaskInstance(), {"model_version": name}),
            (TaskInstance(), {"scorers": ["contains"]}),
            (TaskInstance(), {"chat_params": {"seed": 1}}),
        ]
        for number, (ti, change) in enumerate(others, start=2):
            evaluate(ti, **{**few, **change})
            assert set(asked(service).values()) == {number}
        evaluate(TaskInstance(try_number=2), **few)
        assert set(asked(service).values()) == {1 + len(others)}
        assert len(self.folders(tmp_path)) == 1 + len(others)

    def test_an_object_store_does_as_well(self, service: Service, release: Callable[..., str]) -> None:
        release((7,))
        store = fsspec.filesystem("memory")
        stores = importlib.import_module("airflow.sdk.io" if AIRFLOW_V_3_0_PLUS else "airflow.io.store")
        stores.attach("memory", fs=store)
        with store.open("/bucket/cases.jsonl", "w") as file:
            file.write("\n".join(json.dumps(row) for row in ROWS[:20]))
        arguments: dict[str, Any] = {"dataset": "memory://bucket/cases.jsonl", "results_uri": "memory://bucket/results"}
        summary = evaluate(**arguments)
        assert sorted(path.rpartition("/")[2] for path in store.find("/bucket/results")) == [
            "evaluation.json",
            "report.md",
            "results-001-000001.jsonl",
            "summary.json",
        ]
        again = evaluate(TaskInstance(try_number=2), **arguments)
        assert again == summary
        assert set(asked(service).values()) == {1}

    def test_s3_does_as_well(
        self, service: Service, release: Callable[..., str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pytest.importorskip("s3fs")
        release((7,))
        with s3_service() as url:
            monkeypatch.setenv("AIRFLOW_CONN_STORE", aws_connection(url))
            s3 = empty_bucket(url, "models")
            put(s3, "models", "data", {"cases.jsonl": "\n".join(json.dumps(row) for row in ROWS).encode()})
            arguments: dict[str, Any] = {
                "dataset": "s3://store@models/data/cases.jsonl",
                "results_uri": "s3://store@models/results",
            }
            summary = evaluate(**arguments)
            assert evaluate(TaskInstance(try_number=2), **arguments) == summary
        assert summary["pass_rate"] == pytest.approx(0.975)
        assert set(asked(service).values()) == {1}

    def test_a_task_that_is_terminated_stores_what_was_answered(
        self, service: Service, release: Callable[..., str], tmp_path: Path
    ) -> None:
        class Terminated(BaseException):
            """As what Airflow raises on SIGTERM."""

        def judge(case: Any, completion: Any) -> bool:
            if attempt == 1 and case.id == "sum-005":
                raise Terminated
            return True

        release()
        attempt = 1
        with pytest.raises(Terminated):
            evaluate(results_uri=str(tmp_path), dataset=ROWS[:10], scorers=[judge], concurrency=1)
        attempt = 2
        evaluate(TaskInstance(try_number=2), results_uri=str(tmp_path), dataset=ROWS[:10], scorers=[judge])
        assert [question for question, times in asked(service).items() if times > 1] == ["What is 5 plus 5?"]

    def test_a_signal_in_the_middle_loses_no_answer(
        self, service: Service, release: Callable[..., str], tmp_path: Path
    ) -> None:
        class Terminated(BaseException):
            """As what Airflow raises on SIGTERM and on `execution_timeout`, wherever the main thread is."""

        def terminate(*_: object) -> None:
            raise Terminated

        release()
        before = signal.signal(signal.SIGUSR1, terminate)
        try:
            kill = partial(os.kill, os.getpid(), signal.SIGUSR1)
            with (
                service.meanwhile("chat_completion", kill, skip=CASES // 3),
                pytest.raises(Terminated),
            ):
                evaluate(results_uri=str(tmp_path), concurrency=4)
        finally:
            signal.signal(signal.SIGUSR1, before)
        (folder,) = self.folders(tmp_path)
        stored = sum(len(part.read_text().splitlines()) for part in folder.glob("*.jsonl"))
        assert stored >= CASES // 3 - 4
        evaluate(TaskInstance(try_number=2), results_uri=str(tmp_path))
        assert len(asked(service)) == CASES
        assert sum(asked(service).values()) <= CASES + 4

    def test_results_of_a_run_that_was_deleted_and_made_again_are_not_taken_over(
        self, service: Service, release: Callable[..., str], tmp_path: Path
    ) -> None:
        release()
        for number in (1, 2):
            evaluate(results_uri=str(tmp_path), dataset=ROWS[:3])
            assert set(asked(service).values()) == {number}
        evaluate(TaskInstance(try_number=2), results_uri=str(tmp_path), dataset=ROWS[:3])
        assert set(asked(service).values()) == {2}

    def test_results_of_another_version_make_a_retry_void(
        self, service: Service, release: Callable[..., str], tmp_path: Path
    ) -> None:
        release()
        evaluate(results_uri=str(tmp_path), dataset=ROWS[:5])
        (part,) = next(iter(tmp_path.iterdir())).glob("*.jsonl")
        lines = part.read_text().splitlines()
        part.write_text("\n".join([*lines[:3], lines[3].replace('"fp_', '"fp_other')]))
        with pytest.raises(EvaluationFailed, match="the endpoint changed under it"):
            evaluate(TaskInstance(try_number=2), results_uri=str(tmp_path), dataset=ROWS[:5])
        assert set(asked(service).values()) == {1}

    def test_a_folder_that_cannot_be_written_fails_before_the_first_question(
        self, service: Service, tmp_path: Path
    ) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(OSError, match="file"):
            evaluate(results_uri=str(tmp_path / "file"))
        assert asked(service) == {}
