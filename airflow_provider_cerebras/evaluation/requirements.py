"""Requirements: what an evaluation must reach at least, and how long answers may take at most.

====================  ==========================================================================
name                  what is measured
====================  ==========================================================================
``pass_rate``         share of the weight of all cases that passed; a floor
``tag:<tag>``         the same of the cases with this tag; a floor
``score:<scorer>``    mean score of one scorer, where a missing score counts as 0; a floor
``tokens_per_second`` median speed of the answers; a floor
``latency_p50``       median seconds from the request to the whole answer; a ceiling
``latency_p95``       95th percentile of the same; a ceiling
``latency_p99``       99th percentile of the same; a ceiling
``latency_max``       the longest; a ceiling
====================  ==========================================================================
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import NamedTuple

from airflow_provider_cerebras.api.names import shown

_LATENCIES = ("latency_p50", "latency_p95", "latency_p99", "latency_max")
_NAMES = ("pass_rate", "tag:<tag>", "score:<scorer>", "tokens_per_second", *_LATENCIES)
# Rates are sums of floats.
_ROUNDING = 1e-9


class Requirement(NamedTuple):
    """One requirement.

    :param name: name of the measurement.
    :param limit: the floor, or the ceiling of a latency.
    """

    name: str
    limit: float

    @property
    def is_ceiling(self) -> bool:
        """Whether less is better."""
        return self.name in _LATENCIES


class Checked(NamedTuple):
    """A requirement and whether it is met.

    :param requirement: the requirement.
    :param measured: the measured value; None if it is not known.
    """

    requirement: Requirement
    measured: float | None

    @property
    def met(self) -> bool:
        """Whether the requirement is met; a value that is not known meets none."""
        if self.measured is None:
            return False
        if self.requirement.is_ceiling:
            return self.measured <= self.requirement.limit + _ROUNDING
        return self.measured >= self.requirement.limit - _ROUNDING

    def describe(self) -> str:
        """Return it as a sentence without a full stop."""
        name, limit = self.requirement
        if self.measured is None:
            return f"{name} is not known, and must be {limit:g}"
        relation = "at most" if self.requirement.is_ceiling else "at least"
        return f"{name} is {self.measured:.4g}, and must be {relation} {limit:g}"


def read_requirements(require: object, *, tags: Collection[str], scorers: Collection[str]) -> tuple[Requirement, ...]:
    """Read what the user requires.

    :param require: limits by name; None requires nothing.
    :param tags: the tags of the data set.
    :param scorers: names of the scorers.
    :raises ValueError: if a name is not known, no case has the tag, or a limit cannot be one.
    """
    if require is None:
        return ()
    if not isinstance(require, Mapping):
        raise ValueError(f"require: must be a mapping of names to limits, not {shown(require)}.")  # noqa: TRY004
    return tuple(_read(name, limit, tags, scorers) for name, limit in require.items())


def check_requirements(
    requirements: Collection[Requirement], measured: Mapping[str, float | None]
) -> tuple[Checked, ...]:
    """Check what was measured against the requirements.

    :param requirements: from :func:`read_requirements`.
    :param measured: values by the names that requirements have.
    """
    return tuple(Checked(requirement, measured.get(requirement.name)) for requirement in requirements)


def _read(name: object, limit: object, tags: Collection[str], scorers: Collection[str]) -> Requirement:
    if not isinstance(name, str) or not _is_known(name):
        raise ValueError(f"require: there is no {shown(name)}. The names are {', '.join(_NAMES)}.")
    kind, _, subject = name.partition(":")
    if kind == "tag" and subject not in tags:
        raise ValueError(f"require: {shown(name)}: no case has this tag.")
    if kind == "score" and subject not in scorers:
        raise ValueError(f"require: {shown(name)}: the scorers are {', '.join(scorers)}.")
    number = _number(limit)
    if not 0 <= number < math.inf:
        raise ValueError(f"require: {name}: must be a number of at least 0, not {shown(limit)}.")
    if kind in {"pass_rate", "tag", "score"} and number > 1:
        raise ValueError(f"require: {name}: must be between 0 and 1, not {shown(limit)}.")
    return Requirement(name, number)


def _number(limit: object) -> float:
    """A number, which a template renders as a string; NaN for anything else."""
    try:
        return float(limit) if isinstance(limit, int | float | str) and not isinstance(limit, bool) else math.nan
    except ValueError:
        return math.nan


def _is_known(name: str) -> bool:
    kind, colon, subject = name.partition(":")
    return name in {"pass_rate", "tokens_per_second", *_LATENCIES} or bool(
        colon and subject and kind in {"tag", "score"}
    )
