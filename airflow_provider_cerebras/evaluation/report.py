"""The output of an evaluation: the verdict, a summary that fits XCom whatever the size of the data set, and a report.

The summary names no question and no answer. The report, which lies beside the results, shows those that got worse.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from airflow_provider_cerebras.evaluation.comparison import Comparison, Subject, encode_passes, to_json
from airflow_provider_cerebras.evaluation.statistics import smallest_change

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pydantic import JsonValue

    from airflow_provider_cerebras.evaluation.cases import Case, DataSet
    from airflow_provider_cerebras.evaluation.requirements import Checked
    from airflow_provider_cerebras.evaluation.results import Totals

_MAX_TAGS = 100
_MAX_IDS = 20
_MAX_CASES_SHOWN = 50
_MAX_CHARACTERS_SHOWN = 1000


class Evaluation(NamedTuple):
    """An evaluation that has come to its end.

    :param endpoint_id: id of the endpoint.
    :param model_version: full name of the version, if it was checked that it serves.
    :param dataset: the cases.
    :param subject: identifies the evaluated thing, for comparisons.
    :param totals: the results.
    :param checked: the requirements.
    :param comparison: with the baseline, if there is one.
    :param results_uri: where the single results and the report lie, if they are stored.
    """

    endpoint_id: str
    model_version: str | None
    dataset: DataSet
    subject: Subject
    totals: Totals
    checked: tuple[Checked, ...]
    comparison: Comparison | None
    results_uri: str | None

    @property
    def system_fingerprint(self) -> str | None:
        """The version that answered."""
        return next(iter(self.totals.fingerprints), None)

    def problems(self) -> list[str]:
        """Return why the evaluation does not pass, as sentences without a full stop; empty if it passes."""
        found = [each.describe() for each in self.checked if not each.met]
        if self.comparison is not None and self.comparison.regressed:
            found.append(describe_change(self.comparison))
        return found


def describe_change(comparison: Comparison) -> str:
    """Say how the pass rate changed, as a sentence without a full stop.

    :param comparison: with the baseline.
    """
    direction = "fell" if comparison.fall > 0 else "rose"
    return (
        f"the pass rate {direction} by {_percent(abs(comparison.fall))} from {_percent(comparison.pass_rate_before)} "
        f"to {_percent(comparison.pass_rate)}: {len(comparison.worse)} cases got worse and {comparison.better} better "
        f"(p = {comparison.p_value:.2g}; max_regression = {_percent(comparison.max_regression)}, "
        f"confidence = {comparison.confidence:g})"
    )


def describe_limits(comparison: Comparison, cases: int) -> str:
    """Say which fall a data set of this size can show.

    :param comparison: with the baseline.
    :param cases: number of cases.
    """
    needed = smallest_change(comparison.confidence)
    if comparison.smallest_fall is None:
        return (
            f"A data set of {cases} cases shows no fall at all: at confidence {comparison.confidence:g} at least "
            f"{needed} cases must get worse."
        )
    text = (
        f"At confidence {comparison.confidence:g} a fall differs from chance if at least {needed} cases get worse and "
        f"none gets better: with {cases} cases, a fall of {_percent(comparison.smallest_fall)}."
    )
    changed = len(comparison.worse) + comparison.better
    if comparison.smallest_excess is not None:
        text += f" Of the {changed} cases that changed, {comparison.smallest_excess} more had to get worse than better."
    if comparison.is_too_small:
        text += f" Smaller falls pass unseen, though max_regression is {_percent(comparison.max_regression)}."
    return text


def summarize(evaluation: Evaluation) -> dict[str, JsonValue]:
    """Return the summary, which an operator returns and which can be the baseline of a later evaluation.

    :param evaluation: one that has come to its end.
    """
    totals, dataset = evaluation.totals, evaluation.dataset
    tags = sorted(dataset.tags.items(), key=lambda each: (-each[1], each[0]))
    rates = totals.pass_rates()
    return {
        "passed": not evaluation.problems(),
        "endpoint_id": evaluation.endpoint_id,
        "model_version": evaluation.model_version,
        "system_fingerprint": evaluation.system_fingerprint,
        "cases": len(dataset.cases),
        **evaluation.subject._asdict(),
        "scorers": list(evaluation.subject.scorers),
        "pass_rate": totals.pass_rate,
        "tags": {tag: {"cases": count, "pass_rate": rates[tag]} for tag, count in tags[:_MAX_TAGS]},
        "tags_left_out": max(len(tags) - _MAX_TAGS, 0),
        "scores": {**totals.mean_scores()},
        "missing_scores": totals.missing_scores,
        "latency_seconds": {**totals.latency()._asdict()},
        "tokens_per_second": totals.median_speed(),
        "completion_tokens": totals.completion_tokens,
        "requirements": [
            {"name": each.requirement.name, "limit": each.requirement.limit, "measured": each.measured, "met": each.met}
            for each in evaluation.checked
        ],
        "baseline": None
        if evaluation.comparison is None
        else to_json(evaluation.comparison, dataset.cases, max_ids=_MAX_IDS),
        "results_uri": evaluation.results_uri,
        "outcomes": encode_passes(totals.passes),
    }


def to_markdown(evaluation: Evaluation) -> str:
    """Return the report.

    :param evaluation: one that has come to its end.
    """
    return "\n".join(_lines(evaluation)) + "\n"


def _lines(evaluation: Evaluation) -> Iterator[str]:
    totals, subject, problems = evaluation.totals, evaluation.subject, evaluation.problems()
    yield f"# Evaluation of {_inline(evaluation.endpoint_id)}: {'failed' if problems else 'passed'}"
    yield ""
    for problem in problems:
        yield f"* {_sentence(problem)}"
    yield from _table(
        ("", ""),
        [
            ("Model version", evaluation.model_version or "not checked"),
            ("System fingerprint", evaluation.system_fingerprint or "none"),
            ("Cases", f"{len(evaluation.dataset.cases)}, each asked {subject.repeats} times"),
            ("Digest of the data set", subject.dataset_digest),
            ("Pass rate", _percent(totals.pass_rate)),
            *((f"Mean score, {name}", f"{score:.4g}") for name, score in totals.mean_scores().items()),
            ("Missing scores", str(totals.missing_scores)),
            ("Latency p50 / p95 / p99 / longest", " / ".join(f"{value:.3f}" for value in totals.latency()) + " s"),
            ("Tokens a second, median", _optional(totals.median_speed())),
        ],
    )
    if evaluation.checked:
        yield from ("## Requirements", "")
        rows = [
            (
                each.requirement.name,
                f"{each.requirement.limit:g}",
                _optional(each.measured),
                "yes" if each.met else "NO",
            )
            for each in evaluation.checked
        ]
        yield from _table(("requirement", "limit", "measured", "met"), rows)
    if evaluation.dataset.tags:
        yield from ("## Tags", "")
        tags, rates = sorted(evaluation.dataset.tags.items()), totals.pass_rates()
        yield from _table(
            ("tag", "cases", "pass rate"),
            [(tag, str(count), _percent(rates[tag])) for tag, count in tags[:_MAX_TAGS]],
        )
    yield from _cases(evaluation)


def _cases(evaluation: Evaluation) -> Iterator[str]:
    comparison, cases = evaluation.comparison, evaluation.dataset.cases
    if comparison is None:
        passes, repeats = evaluation.totals.passes, evaluation.subject.repeats
        title, chosen = "Cases that failed", [index for index, count in enumerate(passes) if count < repeats]
    else:
        title, chosen = "Cases that got worse", list(comparison.worse)
        yield from ("## Comparison with the baseline", "")
        yield _sentence(describe_change(comparison))
        yield ""
        yield describe_limits(comparison, len(cases))
        yield ""
    yield from (f"## {title}: {len(chosen)}", "")
    if len(chosen) > _MAX_CASES_SHOWN:
        yield from (f"The first {_MAX_CASES_SHOWN} of them:", "")
    for index in chosen[:_MAX_CASES_SHOWN]:
        yield from _case(cases[index], evaluation.totals.answers.get(index))


def _case(case: Case, answer: str | None) -> Iterator[str]:
    yield from (f"### {_inline(case.id)}", "")
    if case.tags:
        yield from (f"Tags: {_inline(', '.join(case.tags))}", "")
    yield from _quoted("Question", case.messages[-1].get("content"))
    yield from _quoted("Expected", case.expected)
    if answer is not None:
        yield from _quoted("Answer", answer)


def _quoted(title: str, value: object) -> Iterator[str]:
    text = value if isinstance(value, str) else repr(value)
    if len(text) > _MAX_CHARACTERS_SHOWN:
        text = f"{text[:_MAX_CHARACTERS_SHOWN]}…"
    # A fence that is longer than any in the text.
    fence = "`" * max(3, *(len(run) + 1 for run in re.findall("`+", text)), 3)
    yield from (f"{title}:", "", f"{fence}text", *text.splitlines(), fence, "")


def _table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    yield from ("", f"| {' | '.join(header)} |", f"|{'---|' * len(header)}")
    for row in rows:
        yield f"| {' | '.join(map(_inline, row))} |"
    yield ""


def _sentence(words: str) -> str:
    return f"{_inline(words[:1].upper() + words[1:])}."


def _inline(text: str) -> str:
    """A string that is neither markup nor the end of a table's cell."""
    return re.sub(r"([\\|<>*_\[\]#])", r"\\\1", text)


def _optional(value: float | None) -> str:
    return "not known" if value is None else f"{value:.4g}"


def _percent(share: float) -> str:
    return f"{100 * share:.4g} %"
