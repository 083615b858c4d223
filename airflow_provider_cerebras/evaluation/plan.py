"""The plan of an evaluation: every argument is checked here, before the first question."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_cerebras.api import operations
from airflow_provider_cerebras.api.names import shown, validate_identifier
from airflow_provider_cerebras.evaluation.comparison import Baseline, Subject, compare, read_baseline
from airflow_provider_cerebras.evaluation.report import Evaluation
from airflow_provider_cerebras.evaluation.requirements import Requirement, check_requirements, read_requirements
from airflow_provider_cerebras.evaluation.results import MAX_REPEATS, Totals
from airflow_provider_cerebras.evaluation.scorers import Scorer, check_cases, resolve_scorers

if TYPE_CHECKING:
    from pydantic import JsonValue

    from airflow_provider_cerebras.evaluation.cases import DataSet

_MAX_CONCURRENCY = 1000


class Plan(NamedTuple):
    """The questions, the scorers and the requirements of an evaluation.

    :param endpoint_id: id of the endpoint.
    :param dataset: the cases.
    :param scorers: the scorers of the answers.
    :param requirements: floors and ceilings.
    :param subject: what the evaluation can be compared by.
    :param baseline: the evaluation that it is compared with, if there is one.
    :param max_regression: by how much the pass rate may fall.
    :param confidence: with which a fall must be distinguished from chance.
    :param concurrency: how many requests at once.
    :param chat_params: further fields of the requests.
    """

    endpoint_id: str
    dataset: DataSet
    scorers: tuple[Scorer, ...]
    requirements: tuple[Requirement, ...]
    subject: Subject
    baseline: Baseline | None
    max_regression: float
    confidence: float
    concurrency: int
    chat_params: Mapping[str, JsonValue]

    def new_totals(self) -> Totals:
        """Return totals without a result."""
        passes = None if self.baseline is None else self.baseline.passes
        return Totals(self.dataset.cases, self.subject.scorers, self.subject.repeats, passes)

    def conclude(self, totals: Totals, *, model_version: str | None, results_uri: str | None) -> Evaluation:
        """Return the finished evaluation.

        :param totals: the results of all questions.
        :param model_version: full name of the version, if it was checked that it serves.
        :param results_uri: where the single results lie, if they are stored.
        """
        comparison = None
        if self.baseline is not None:
            comparison = compare(
                self.baseline,
                self.dataset,
                totals.passes,
                repeats=self.subject.repeats,
                max_regression=self.max_regression,
                confidence=self.confidence,
            )
        measured = {each.name: totals.measure(each.name) for each in self.requirements}
        return Evaluation(
            endpoint_id=self.endpoint_id,
            model_version=model_version,
            dataset=self.dataset,
            subject=self.subject,
            totals=totals,
            checked=check_requirements(self.requirements, measured),
            comparison=comparison,
            results_uri=results_uri,
        )


def make_plan(
    dataset: DataSet,
    *,
    endpoint_id: str,
    scorers: object,
    require: object,
    baseline: object,
    max_regression: object,
    confidence: object,
    repeats: object,
    concurrency: object,
    max_requests: object,
    chat_params: object,
) -> Plan:
    """Check all arguments of an evaluation, which are those of the operator.

    :param dataset: the cases.
    :param endpoint_id: id of the endpoint.
    :param scorers: names and callables.
    :param require: limits by name.
    :param baseline: summary of an earlier evaluation, or None.
    :param max_regression: by how much the pass rate may fall, between 0 and 1.
    :param confidence: with which a fall must be distinguished from chance, between 0 and 1.
    :param repeats: how often each case is asked.
    :param concurrency: how many requests at once.
    :param max_requests: how many questions there may be; None for any number.
    :param chat_params: further fields of the requests, or None.
    :raises ValueError: if one of them is against a rule; the message begins with its name.
    """
    validate_identifier(endpoint_id, "endpoint_id")
    times = _integer(repeats, "repeats", at_most=MAX_REPEATS)
    params = _chat_params(chat_params)
    operations.chat_completion(endpoint_id, dataset.cases[0].messages, **params)
    resolved = resolve_scorers(scorers)
    check_cases(resolved, dataset.cases)
    names = tuple(scorer.name for scorer in resolved)
    subject = Subject(dataset.digest, names, times, _digest(params))
    questions = len(dataset.cases) * times
    if max_requests is not None and questions > _integer(max_requests, "max_requests"):
        raise ValueError(
            f"max_requests: {len(dataset.cases)} cases, each asked {times} times, are {questions} requests, more than "
            f"{max_requests}. No question was asked."
        )
    return Plan(
        endpoint_id=endpoint_id,
        dataset=dataset,
        scorers=resolved,
        requirements=read_requirements(require, tags=dataset.tags, scorers=names),
        subject=subject,
        baseline=read_baseline(baseline, subject, len(dataset.cases)),
        max_regression=_share(max_regression, "max_regression", 0 <= _number(max_regression) < 1),
        confidence=_share(confidence, "confidence", 0 < _number(confidence) < 1),
        concurrency=_integer(concurrency, "concurrency", at_most=_MAX_CONCURRENCY),
        chat_params=params,
    )


def _integer(value: object, name: str, *, at_most: int | None = None) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1 or (at_most is not None and value > at_most):
        limit = "" if at_most is None else f" and at most {at_most}"
        raise ValueError(f"{name}: must be a whole number of at least 1{limit}, not {shown(value)}.")
    return value


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else -1.0


def _share(value: object, name: str, valid: bool) -> float:
    if not valid:
        raise ValueError(f"{name}: must be a number between 0 and 1, not {shown(value)}.")
    return _number(value)


def _chat_params(value: object) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise ValueError(f"chat_params: must be a mapping of names to values, not {shown(value)}.")
    if reserved := value.keys() & {"model", "messages", "endpoint_id"}:
        raise ValueError(f"chat_params: must not have {', '.join(sorted(reserved))}.")
    return dict(value)


def _digest(params: Mapping[str, Any]) -> str:
    try:
        text = json.dumps(params, sort_keys=True)
    except (TypeError, ValueError):
        raise ValueError("chat_params: holds a value that JSON cannot carry.") from None
    return hashlib.sha256(text.encode()).hexdigest()[:16]
