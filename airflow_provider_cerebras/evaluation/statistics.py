"""Statistics of a comparison of two evaluations of the same cases, and their limits.

Only cases whose result changed say anything. If nothing but chance is at work, each of them is as likely to get better
as to get worse. The one-sided exact sign test gives the probability that chance alone makes as many of them worse.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence


def sign_test(worse: int, better: int) -> float:
    """Return the probability that chance alone makes at least so many of the changed cases worse.

    :param worse: number of cases that got worse.
    :param better: number of cases that got better.
    """
    changed = worse + better
    # From the smaller tail, by exact integers: P(X >= worse) = P(X <= better) for a fair coin.
    term = total = 1
    for k in range(1, better + 1):
        term = term * (changed - k + 1) // k
        total += term
    return total / (1 << changed)


def smallest_change(confidence: float) -> int:
    """Return the fewest cases that must get worse, while none gets better, for a fall to be distinguished from chance.

    :param confidence: between 0 and 1.
    """
    count = 1
    while sign_test(count, 0) >= 1 - confidence:
        count += 1
    return count


def smallest_fall(cases: int, confidence: float) -> float | None:
    """Return the smallest fall of the pass rate that a data set of this size can show at all.

    It is shown only if no other case changes. What a model that samples needs is more; see :func:`detectable_fall`.

    :param cases: number of cases, all of one weight.
    :param confidence: between 0 and 1.
    :return: between 0 and 1; None if not even a fall of all cases can be shown.
    """
    count = smallest_change(confidence)
    return count / cases if count <= cases else None


def smallest_excess(changed: int, confidence: float) -> int | None:
    """Return how many more cases must get worse than get better, if this many change in all.

    :param changed: number of cases that got worse or better.
    :param confidence: between 0 and 1.
    :return: None if so few changes show nothing, whatever their direction.
    """
    if sign_test(changed, 0) >= 1 - confidence:
        return None
    return 2 * _critical_value(changed, confidence) - changed


def power(cases: int, fall: float, churn: float, confidence: float) -> float:
    """Return the probability that a real fall is shown.

    :param cases: number of cases.
    :param fall: by how much the share of cases that pass falls in truth.
    :param churn: share of cases that get better by chance; as many get worse by chance, on top of the fall.
    :param confidence: between 0 and 1.
    """
    changing = fall + 2 * churn
    total = 0.0
    for changed, probability in enumerate(_binomial(cases, changing)):
        if probability > 1e-12 and (excess := smallest_excess(changed, confidence)) is not None:
            worse = _binomial(changed, (fall + churn) / changing)
            total += probability * math.fsum(worse[(changed + excess) // 2 :])
    return total


def detectable_fall(cases: int, churn: float, confidence: float, probability: float = 0.8) -> float | None:
    """Return the smallest real fall, in steps of 0.1 %, that is shown with a given probability.

    :param cases: number of cases.
    :param churn: see :func:`power`.
    :param confidence: between 0 and 1.
    :param probability: with which it must be shown.
    :return: between 0 and 1; None if no fall is.
    """
    low, high = 1, int(1000 * (1 - 2 * churn))
    if power(cases, high / 1000, churn, confidence) < probability:
        return None
    while low < high:
        middle = (low + high) // 2
        if power(cases, middle / 1000, churn, confidence) >= probability:
            high = middle
        else:
            low = middle + 1
    return low / 1000


class Percentiles(NamedTuple):
    """Percentiles of measured values: each is one of them, by nearest rank."""

    p50: float
    p95: float
    p99: float
    max: float


def percentiles(values: Sequence[float]) -> Percentiles:
    """Return the percentiles of values.

    :param values: at least one.
    """
    ordered = sorted(values)
    ranks = (math.ceil(share * len(ordered) / 100) - 1 for share in (50, 95, 99, 100))
    return Percentiles(*(ordered[max(rank, 0)] for rank in ranks))


@cache
def _critical_value(changed: int, confidence: float) -> int:
    """The fewest cases that must get worse, of so many that change, to be distinguished from chance."""
    limit = math.ceil(Fraction(1 - confidence) * (1 << changed))
    better, term, total = 0, 1, 1
    while total < limit:
        better += 1
        term = term * (changed - better + 1) // better
        total += term
    return changed - better + 1


def _binomial(trials: int, probability: float) -> list[float]:
    """The probabilities of 0 to all successes."""
    if probability <= 0:
        return [1.0] + [0.0] * trials
    if probability >= 1:
        return [0.0] * trials + [1.0]
    log_p, log_q = math.log(probability), math.log1p(-probability)
    whole = math.lgamma(trials + 1)
    return [
        math.exp(whole - math.lgamma(k + 1) - math.lgamma(trials - k + 1) + k * log_p + (trials - k) * log_q)
        for k in range(trials + 1)
    ]
