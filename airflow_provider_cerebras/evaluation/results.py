"""The result of one question, and the running totals of all of them.

A result is one line of JSON, so that a retry of the task can read what an earlier attempt has stored.
"""

from __future__ import annotations

import json
from array import array
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_cerebras.evaluation.scorers import PASSING, read_score
from airflow_provider_cerebras.evaluation.statistics import Percentiles, percentiles

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from airflow_provider_cerebras.evaluation.cases import Case

MAX_REPEATS = 100
_MAX_ANSWERS_KEPT = 200


class Result(NamedTuple):
    """One answer and its scores.

    :param case_id: id of the case.
    :param repeat: which of the repeats, counted from 0.
    :param answer: the result.
    :param scores: by scorer; None is a missing score.
    :param latency: seconds from the request to the whole answer.
    :param completion_tokens: length of the answer in tokens, if the service counted them.
    :param tokens_per_second: speed of the answer, if it is known.
    :param system_fingerprint: which weights answered.
    """

    case_id: str
    repeat: int
    answer: str
    scores: Mapping[str, float | None]
    latency: float
    completion_tokens: int | None
    tokens_per_second: float | None
    system_fingerprint: str | None

    @property
    def passed(self) -> bool:
        """Whether all scores are there and pass."""
        return all(score is not None and score >= PASSING for score in self.scores.values())

    def to_line(self) -> str:
        """Return it as one line of JSON."""
        # Escaped, so that no character of an answer ends the line for a reader that splits at all of Unicode's ends.
        return json.dumps({**self._asdict(), "passed": self.passed})

    @classmethod
    def from_line(cls, line: str) -> Result | None:
        """Read what :meth:`to_line` returned.

        :param line: one line.
        :return: None if it cannot be read, for example since the attempt that wrote it was killed meanwhile.
        """
        try:
            fields = json.loads(line)
            return cls(
                case_id=_of(str, fields["case_id"]),
                repeat=_of(int, fields["repeat"]),
                answer=_of(str, fields["answer"]),
                scores={name: read_score(score) for name, score in _of(dict, fields["scores"]).items()},
                latency=_of((int, float), fields["latency"]),
                completion_tokens=_of((int, type(None)), fields["completion_tokens"]),
                tokens_per_second=_of((int, float, type(None)), fields["tokens_per_second"]),
                system_fingerprint=_of((str, type(None)), fields["system_fingerprint"]),
            )
        except (ValueError, TypeError, KeyError, RecursionError):
            return None


def _of(kind: type | tuple[type, ...], value: Any) -> Any:
    if not isinstance(value, kind):
        raise TypeError
    return value


class Question(NamedTuple):
    """A case to be asked for once.

    :param case: the case.
    :param repeat: which of the repeats, counted from 0.
    """

    case: Case
    repeat: int


class Totals:
    """The running totals of an evaluation.

    :param cases: the cases of the data set, in its order.
    :param scorers: names of the scorers.
    :param repeats: how often each case is asked.
    :param baseline_passes: how often each case passed in the baseline; decides which answers the report shows.
    :ivar passes: how often each case passed, by its index.
    :ivar missing_scores: number of scores that a scorer did not give.
    :ivar fingerprints: the ``system_fingerprint`` of all answers.
    :ivar answers: failed answers by case index, for the report; not more than a few.
    """

    def __init__(
        self, cases: Sequence[Case], scorers: Sequence[str], repeats: int, baseline_passes: bytes | None = None
    ) -> None:
        self._cases = cases
        self._index = {case.id: index for index, case in enumerate(cases)}
        self._scorers = tuple(scorers)
        self._repeats = repeats
        self._baseline_passes = baseline_passes
        self._done = bytearray(len(cases) * repeats)
        self._latencies = array("d")
        self._speeds = array("d")
        self._scores = dict.fromkeys(scorers, 0.0)
        self.passes = bytearray(len(cases))
        self.missing_scores = 0
        self.completion_tokens: int | None = None
        self.fingerprints: set[str | None] = set()
        self.answers: dict[int, str] = {}

    @property
    def done(self) -> int:
        """Number of questions that have a result."""
        return len(self._latencies)

    @property
    def questions(self) -> int:
        """Number of questions in all."""
        return len(self._done)

    def open_questions(self) -> Iterator[Question]:
        """Return the questions that have no result yet, each case once before any is repeated."""
        for repeat in range(self._repeats):
            for index, case in enumerate(self._cases):
                if not self._done[index * self._repeats + repeat]:
                    yield Question(case, repeat)

    def add(self, result: Result) -> bool:
        """Add a result.

        :param result: of one question.
        :return: whether it counts: it is of this data set and these scorers, and the first of its question.
        """
        index = self._index.get(result.case_id)
        if index is None or not 0 <= result.repeat < self._repeats or tuple(result.scores) != self._scorers:
            return False
        place = index * self._repeats + result.repeat
        if self._done[place]:
            return False
        self._done[place] = 1
        self._latencies.append(result.latency)
        if result.tokens_per_second is not None:
            self._speeds.append(result.tokens_per_second)
        if result.completion_tokens is not None:
            self.completion_tokens = (self.completion_tokens or 0) + result.completion_tokens
        for name, score in result.scores.items():
            self._scores[name] += score or 0.0
            self.missing_scores += score is None
        self.fingerprints.add(result.system_fingerprint)
        if result.passed:
            self.passes[index] += 1
        elif self._is_of_interest(index):
            self.answers.setdefault(index, result.answer)
        return True

    def _is_of_interest(self, index: int) -> bool:
        passed_before = self._baseline_passes is None or self._baseline_passes[index] > 0
        return passed_before and len(self.answers) < _MAX_ANSWERS_KEPT

    @property
    def pass_rate(self) -> float:
        """The share of the weight that passed."""
        return pass_rates(self._cases, self.passes, self._repeats)[None]

    def pass_rates(self) -> dict[str, float]:
        """Return the share of the weight that passed, of the cases of each tag."""
        rates = pass_rates(self._cases, self.passes, self._repeats)
        return {tag: rate for tag, rate in rates.items() if tag is not None}

    def mean_scores(self) -> dict[str, float]:
        """Return the mean of each scorer's scores; a missing score counts as 0."""
        return {name: total / max(self.done, 1) for name, total in self._scores.items()}

    def latency(self) -> Percentiles:
        """Return the percentiles of the latency in seconds; there must be a result."""
        return percentiles(self._latencies)

    def median_speed(self) -> float | None:
        """Return the median of the answers' tokens a second, if any is known."""
        return percentiles(self._speeds).p50 if self._speeds else None

    def measure(self, name: str) -> float | None:
        """Return what a requirement is about.

        :param name: see :mod:`.requirements`.
        """
        kind, _, subject = name.partition(":")
        match kind:
            case "pass_rate":
                return self.pass_rate
            case "tag":
                return self.pass_rates().get(subject)
            case "score":
                return self.mean_scores().get(subject)
            case "tokens_per_second":
                return self.median_speed()
        return getattr(self.latency(), name.removeprefix("latency_"), None)


def pass_rates(cases: Sequence[Case], passes: bytes | bytearray, repeats: int) -> dict[str | None, float]:
    """Return the share of the weight that passed, by tag; of all cases, by None.

    :param cases: the cases of the data set.
    :param passes: how often each passed.
    :param repeats: how often each was asked.
    """
    whole: dict[str | None, float] = {}
    passed: dict[str | None, float] = {}
    for case, times in zip(cases, passes, strict=True):
        for tag in (None, *case.tags):
            whole[tag] = whole.get(tag, 0.0) + case.weight * repeats
            passed[tag] = passed.get(tag, 0.0) + case.weight * times
    return {tag: passed[tag] / weight for tag, weight in whole.items()}
