"""Comparing an evaluation with an earlier one of the same cases, case by case.

A summary carries the result of each case in a few bits, so that it can be the baseline of a later evaluation without
anything else. Only evaluations of the same questions are compared; any other comparison is an error.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from airflow_provider_cerebras.api.names import shown
from airflow_provider_cerebras.evaluation.results import pass_rates
from airflow_provider_cerebras.evaluation.statistics import sign_test, smallest_excess, smallest_fall

if TYPE_CHECKING:
    from pydantic import JsonValue

    from airflow_provider_cerebras.evaluation.cases import Case, DataSet

# Pass rates are sums of floats: 0.90 - 0.89 is more than 0.01.
_ROUNDING = 1e-9


class Subject(NamedTuple):
    """The properties that two evaluations must share to be compared.

    :param dataset_digest: digest of the data set.
    :param scorers: names of the scorers.
    :param repeats: how often each case is asked.
    :param chat_params_digest: digest of the further fields of the requests.
    """

    dataset_digest: str
    scorers: tuple[str, ...]
    repeats: int
    chat_params_digest: str


class Baseline(NamedTuple):
    """An earlier evaluation.

    :param model_version: which version it evaluated, if that was checked.
    :param system_fingerprint: which weights answered.
    :param passes: how often each case passed, in the order of the data set.
    """

    model_version: str | None
    system_fingerprint: str | None
    passes: bytes


class Comparison(NamedTuple):
    """The change of each case against the baseline.

    :param baseline: the earlier evaluation.
    :param pass_rate_before: share of the weight that passed then.
    :param pass_rate: share of the weight that passes now.
    :param worse: indices of the cases that pass less often now.
    :param better: how many pass more often now.
    :param p_value: probability that chance alone makes at least so many of the changed cases worse.
    :param max_regression: by how much the pass rate may fall.
    :param confidence: with which a fall must be distinguished from chance.
    :param smallest_fall: the smallest fall that a data set of this size can show; None if it can show none.
    :param smallest_excess: how many more of the changed cases had to get worse than get better to show a fall.
    """

    baseline: Baseline
    pass_rate_before: float
    pass_rate: float
    worse: tuple[int, ...]
    better: int
    p_value: float
    max_regression: float
    confidence: float
    smallest_fall: float | None
    smallest_excess: int | None

    @property
    def fall(self) -> float:
        """By how much the pass rate fell; negative if it rose."""
        return self.pass_rate_before - self.pass_rate

    @property
    def regressed(self) -> bool:
        """Whether the pass rate fell by more than it may, and by more than chance explains."""
        return self.fall > self.max_regression + _ROUNDING and self.p_value < 1 - self.confidence

    @property
    def is_too_small(self) -> bool:
        """Whether the data set cannot show a fall that is not allowed."""
        return self.smallest_fall is None or self.smallest_fall > self.max_regression + _ROUNDING


def encode_passes(passes: bytes | bytearray) -> str:
    """Return how often each case passed as a string that is as short as possible.

    :param passes: in the order of the data set.
    """
    return base64.b64encode(zlib.compress(bytes(passes), 9)).decode()


def read_baseline(value: object, subject: Subject, cases: int) -> Baseline | None:
    """Read the summary of an earlier evaluation.

    :param value: the summary; None for no baseline.
    :param subject: the thing that is evaluated now.
    :param cases: number of cases.
    :raises ValueError: if it is not the summary of an evaluation, or of another data set, scorers, repeats or
        parameters.
    """
    if value is None:
        return None
    if not isinstance(value, Mapping) or not isinstance(value.get("outcomes"), str):
        raise ValueError(f"baseline: must be what an earlier evaluation returned, or None, not {shown(value)}.")  # noqa: TRY004  as all other reasons
    for name, now in subject._asdict().items():
        before = value.get(name)
        if before != (list(now) if isinstance(now, tuple) else now):
            raise ValueError(
                f"baseline: is of another {name}: {shown(before)}, and this evaluation's is {shown(now)}. "
                "Only evaluations of the same cases by the same rules can be compared."
            )
    passes = _decode_passes(value["outcomes"], cases, subject.repeats)
    if passes is None:
        raise ValueError("baseline: its outcomes cannot be read.")
    return Baseline(
        model_version=_string_or_none(value.get("model_version")),
        system_fingerprint=_string_or_none(value.get("system_fingerprint")),
        passes=passes,
    )


def compare(
    baseline: Baseline,
    dataset: DataSet,
    passes: bytes | bytearray,
    *,
    repeats: int,
    max_regression: float,
    confidence: float,
) -> Comparison:
    """Compare case by case.

    :param baseline: the earlier evaluation.
    :param dataset: the cases of both.
    :param passes: how often each case passes now.
    :param repeats: how often each was asked.
    :param max_regression: by how much the pass rate may fall, between 0 and 1.
    :param confidence: with which a fall must be distinguished from chance, between 0 and 1.
    """
    pairs = list(zip(baseline.passes, passes, strict=True))
    worse = tuple(index for index, (before, now) in enumerate(pairs) if now < before)
    better = sum(now > before for before, now in pairs)
    fall = smallest_fall(len(pairs), confidence)
    return Comparison(
        baseline=baseline,
        pass_rate_before=pass_rates(dataset.cases, baseline.passes, repeats)[None],
        pass_rate=pass_rates(dataset.cases, passes, repeats)[None],
        worse=worse,
        better=better,
        p_value=sign_test(len(worse), better),
        max_regression=max_regression,
        confidence=confidence,
        smallest_fall=None if fall is None else fall / repeats,
        smallest_excess=smallest_excess(len(worse) + better, confidence),
    )


def to_json(comparison: Comparison, cases: Sequence[Case], *, max_ids: int) -> dict[str, JsonValue]:
    """Return the comparison as a part of a summary.

    :param comparison: the comparison.
    :param cases: the cases of the data set.
    :param max_ids: how many ids of cases that got worse it names.
    """
    return {
        "model_version": comparison.baseline.model_version,
        "system_fingerprint": comparison.baseline.system_fingerprint,
        "pass_rate": comparison.pass_rate_before,
        "fall": comparison.fall,
        "worse": len(comparison.worse),
        "better": comparison.better,
        "p_value": comparison.p_value,
        "max_regression": comparison.max_regression,
        "confidence": comparison.confidence,
        "smallest_fall": comparison.smallest_fall,
        "smallest_excess": comparison.smallest_excess,
        "worse_cases": [cases[index].id for index in comparison.worse[:max_ids]],
    }


def _decode_passes(outcomes: str, cases: int, repeats: int) -> bytes | None:
    try:
        compressed = base64.b64decode(outcomes, validate=True)
        inflated = zlib.decompressobj()
        # Not more than it may hold, whatever it holds.
        passes = inflated.decompress(compressed, cases + 1)
    except (binascii.Error, zlib.error, ValueError):
        return None
    return passes if len(passes) == cases and inflated.eof and max(passes) <= repeats else None


def _string_or_none(value: object) -> str | None:
    return value if isinstance(value, str) else None
