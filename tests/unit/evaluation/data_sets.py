"""Data sets, answers and results for the tests of evaluations."""

from __future__ import annotations

import random
from typing import Any

from airflow_provider_cerebras.api.models import ChatCompletion
from airflow_provider_cerebras.evaluation.cases import Case, DataSet, read_rows
from airflow_provider_cerebras.evaluation.comparison import Comparison, Subject, compare, encode_passes, read_baseline
from airflow_provider_cerebras.evaluation.report import Evaluation
from airflow_provider_cerebras.evaluation.results import Result, Totals


def row(number: int, **changes: Any) -> dict[str, Any]:
    """A case as a user writes it."""
    messages = [{"role": "user", "content": f"What is {number} plus {number}?"}]
    return {"id": f"case-{number:06}", "messages": messages, "expected": str(2 * number), **changes}


def data_set(cases: int, **changes: Any) -> DataSet:
    """So many cases."""
    return read_rows([row(number, **changes) for number in range(cases)])


def case(expected: Any = None, **changes: Any) -> Case:
    """One case."""
    return read_rows([row(1, expected=expected, **changes)]).cases[0]


def completion(answer: str | None) -> ChatCompletion:
    """A response with an answer."""
    return ChatCompletion.model_validate({"choices": [{"message": {"content": answer}}]})


def result(case_id: str = "case-000000", *, passed: bool = True, **changes: Any) -> Result:
    """What became of one question."""
    fields: dict[str, Any] = {
        "case_id": case_id,
        "repeat": 0,
        "answer": "right" if passed else "wrong",
        "scores": {"exact": float(passed)},
        "latency": 0.5,
        "completion_tokens": 10,
        "tokens_per_second": 20.0,
        "system_fingerprint": "fp_1",
    }
    return Result(**{**fields, **changes})


def subject(cases: DataSet, **changes: Any) -> Subject:
    """What an evaluation can be compared by."""
    return Subject(
        **{"dataset_digest": cases.digest, "scorers": ("exact",), "repeats": 1, "chat_params_digest": "none", **changes}
    )


def totals(cases: DataSet, passes: bytes, baseline_passes: bytes | None = None) -> Totals:
    """The results of an evaluation in which each case was asked once."""
    sums = Totals(cases.cases, ("exact",), 1, baseline_passes)
    for each, passed in zip(cases.cases, passes, strict=True):
        sums.add(result(each.id, passed=bool(passed)))
    return sums


def compared(cases: DataSet, before: bytes, now: bytes, max_regression: float = 0.0) -> Comparison:
    """Compare two evaluations in which each case was asked once."""
    summary = {**subject(cases)._asdict(), "scorers": ["exact"], "outcomes": encode_passes(before)}
    baseline = read_baseline(summary, subject(cases), len(cases.cases))
    assert baseline is not None
    return compare(baseline, cases, now, repeats=1, max_regression=max_regression, confidence=0.95)


def evaluation(cases: DataSet, passes: bytes, before: bytes | None = None, **changes: Any) -> Evaluation:
    """An evaluation that has come to its end."""
    comparison = None if before is None else compared(cases, before, passes)
    fields: dict[str, Any] = {
        "endpoint_id": "my-org-gpt-oss-120b",
        "model_version": "orgs/my-org/models/gpt-oss-120b/versions/7",
        "dataset": cases,
        "subject": subject(cases),
        "totals": totals(cases, passes, before),
        "checked": (),
        "comparison": comparison,
        "results_uri": "s3://bucket/results",
    }
    return Evaluation(**{**fields, **changes})


class SimulatedModel:
    """A model that samples: each case passes by a probability of its own, most of them nearly always.

    :param seed: of everything that is random.
    :param cases: number of cases.
    :param churn: share of the cases whose result differs from one evaluation to the next.
    """

    def __init__(self, seed: int, cases: int, churn: float = 0.05) -> None:
        self._random = random.Random(seed)
        # A case that passes by a coin's toss differs every other time.
        tossed = round(2 * churn * cases)
        sure = cases - tossed
        self._chances = [1.0] * (sure - sure // 10) + [0.0] * (sure // 10) + [0.5] * tossed
        self._random.shuffle(self._chances)

    def evaluate(self) -> bytes:
        """Ask each case once."""
        return bytes(self._random.random() < chance for chance in self._chances)

    def change(self, cases: int) -> SimulatedModel:
        """Let so many of the sure cases pass that failed, or fail that passed if the number is negative."""
        before, after = (0.0, 1.0) if cases > 0 else (1.0, 0.0)
        for index in self._random.sample([i for i, each in enumerate(self._chances) if each == before], abs(cases)):
            self._chances[index] = after
        return self
