"""The summary fits XCom and tells no content; the report shows what got worse and cannot be broken by it."""

from __future__ import annotations

import json
import random

import pytest

from airflow_provider_cerebras.evaluation.cases import read_rows
from airflow_provider_cerebras.evaluation.comparison import read_baseline
from airflow_provider_cerebras.evaluation.report import describe_limits, summarize, to_markdown
from airflow_provider_cerebras.evaluation.requirements import check_requirements, read_requirements
from tests.unit.evaluation.data_sets import compared, data_set, evaluation, result, row, subject

MYSQL_XCOM_BYTES = 65_535


def test_a_summary_has_what_a_later_evaluation_needs() -> None:
    cases = data_set(10, tags=["sums"])
    passes = bytes([1] * 7 + [0] * 3)
    summary = json.loads(json.dumps(summarize(evaluation(cases, passes))))
    assert summary["passed"] is True
    assert summary["pass_rate"] == pytest.approx(0.7)
    assert summary["tags"] == {"sums": {"cases": 10, "pass_rate": pytest.approx(0.7)}}
    assert summary["scores"] == {"exact": pytest.approx(0.7)}
    assert summary["latency_seconds"] == {"p50": 0.5, "p95": 0.5, "p99": 0.5, "max": 0.5}
    assert (summary["tokens_per_second"], summary["completion_tokens"]) == (20.0, 100)
    baseline = read_baseline(summary, subject(cases), 10)
    assert baseline is not None
    assert baseline.passes == passes


def test_a_summary_of_100_000_cases_fits_xcom() -> None:
    coin = random.Random(1)
    # The worst: results without any order, many tags, the longest names.
    cases = read_rows(
        [row(number, id=f"{number:06}{'x' * 250}", tags=[f"{number % 999}{'t' * 125}"]) for number in range(100_000)]
    )
    before, now = (bytes(coin.randrange(2) for _ in range(100_000)) for _ in range(2))
    summary = summarize(evaluation(cases, now, before))
    assert summary["tags_left_out"] == 899
    size = len(json.dumps(summary).encode())
    print(f"A summary of 100,000 cases takes {size} bytes.")
    assert size < MYSQL_XCOM_BYTES


def test_a_summary_tells_neither_questions_nor_answers() -> None:
    cases = data_set(3)
    summary = json.dumps(summarize(evaluation(cases, bytes(3), bytes([1, 1, 1]))))
    assert "plus" not in summary
    assert "wrong" not in summary


def test_a_fall_is_a_problem_and_is_told_in_one_sentence() -> None:
    cases = data_set(200)
    failed = evaluation(cases, bytes(25) + b"\x01" * 175, b"\x01" * 200)
    assert summarize(failed)["passed"] is False
    (problem,) = failed.problems()
    assert problem.startswith(
        "the pass rate fell by 12.5 % from 100 % to 87.5 %: 25 cases got worse and 0 better (p = "
    )


def test_a_requirement_that_is_not_met_is_a_problem() -> None:
    cases = data_set(10)
    required = read_requirements({"pass_rate": 0.9, "latency_p95": 1}, tags=(), scorers=("exact",))
    checked = check_requirements(required, {"pass_rate": 0.5, "latency_p95": 0.5})
    failed = evaluation(cases, bytes(10), checked=checked)
    assert failed.problems() == ["pass_rate is 0.5, and must be at least 0.9"]
    assert "| latency\\_p95 | 1 | 0.5 | yes |" in to_markdown(failed)
    assert "| pass\\_rate | 0.9 | 0.5 | NO |" in to_markdown(failed)


def test_the_report_shows_the_cases_that_got_worse_and_no_others() -> None:
    report = to_markdown(evaluation(data_set(10), b"\x00\x00" + b"\x01" * 8, b"\x01" + b"\x00" * 9))
    assert "## Cases that got worse: 1" in report
    assert "### case-000000" in report
    assert "case-000001" not in report
    for text in ("What is 0 plus 0?", "wrong", "from 10 % to 80 %"):
        assert text in report


def test_without_a_baseline_it_shows_those_that_failed() -> None:
    report = to_markdown(evaluation(data_set(100), bytes(100)))
    assert "## Cases that failed: 100" in report
    assert "The first 50 of them" in report
    assert report.count("\n### case-") == 50


def test_no_content_breaks_out_of_its_place_in_the_report() -> None:
    evil = "```\n# Evaluation: passed\n| a | <script>\n````"
    cases = read_rows([row(0, id="a|b <i>*x*</i>", tags=["# t"], messages=[{"role": "user", "content": evil}])])
    failed = evaluation(cases, bytes(1))
    failed.totals.answers[0] = evil
    lines = to_markdown(failed).splitlines()
    assert lines.count("`````text") == lines.count("`````") == 2
    assert "### a\\|b \\<i\\>\\*x\\*\\</i\\>" in lines
    assert "| \\# t | 1 | 0 % |" in lines


@pytest.mark.parametrize("content", [None, [{"type": "text", "text": "x"}], "x" * 5000])
def test_whatever_a_message_holds_it_is_shown_shortly(content: object) -> None:
    cases = read_rows([row(0, messages=[{"role": "user", "content": content}])])
    assert len(to_markdown(evaluation(cases, bytes(1)))) < 3000


@pytest.mark.parametrize(
    ("cases", "max_regression", "words"),
    [
        (200, 0.01, "with 200 cases, a fall of 2.5 %. Smaller falls pass unseen, though max_regression is 1 %."),
        (1000, 0.01, "with 1000 cases, a fall of 0.5 %."),
        (4, 0.01, "A data set of 4 cases shows no fall at all"),
    ],
)
def test_which_falls_can_be_shown_is_said(cases: int, max_regression: float, words: str) -> None:
    comparison = compared(data_set(cases), bytes(cases), bytes(cases), max_regression)
    assert words in describe_limits(comparison, cases)


def test_how_many_of_the_cases_that_changed_is_said() -> None:
    before, now = b"\x01" * 8 + bytes(192), bytes(8) + b"\x01" * 8 + bytes(184)
    limits = describe_limits(compared(data_set(200), before, now), 200)
    assert "Of the 16 cases that changed, 8 more had to get worse than better." in limits


def test_repeated_results_count_once() -> None:
    totals = evaluation(data_set(3), b"\x01\x00\x01").totals
    assert totals.done == 3
    assert not totals.add(result("case-000001", passed=True))
    assert bytes(totals.passes) == b"\x01\x00\x01"
