"""Results survive a kill as lines of files, and what is not of this evaluation does not count."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_cerebras.evaluation.results import Result, Totals
from airflow_provider_cerebras.evaluation.storage import ResultStore
from tests.unit.evaluation.data_sets import data_set, result

if TYPE_CHECKING:
    from pathlib import Path


@given(st.text(max_size=50), st.none() | st.floats(0, 1), st.floats(0, 1e6), st.none() | st.text(max_size=20))
@settings(max_examples=100, deadline=None)
def test_a_line_is_read_as_it_was_written(
    answer: str, score: float | None, latency: float, fingerprint: str | None
) -> None:
    written = result(answer=answer, scores={"judge": score}, latency=latency, system_fingerprint=fingerprint)
    line = written.to_line()
    assert line.splitlines() == [line]
    assert Result.from_line(line) == written


@pytest.mark.parametrize("cut", [0, 1, 20, -1])
def test_half_a_line_is_no_result(cut: int) -> None:
    assert Result.from_line(result().to_line()[:cut]) is None


@pytest.mark.parametrize("line", ["[]", "7", "null", "{}", '{"case_id": 1}', "[" * 100_000, "9" * 5000])
def test_what_is_no_result_is_none(line: str) -> None:
    assert Result.from_line(line) is None


@pytest.mark.parametrize("score", [0.0, 0.49, None])
def test_one_score_that_does_not_pass_fails_the_case(score: float | None) -> None:
    assert not result(scores={"exact": 1.0, "judge": score}).passed
    assert result(scores={"exact": 1.0, "judge": 0.5}).passed


class TestTotals:
    def totals(self, repeats: int = 1) -> Totals:
        return Totals(data_set(3).cases, ("exact",), repeats)

    @pytest.mark.parametrize(
        "change",
        [{"case_id": "unknown"}, {"repeat": 1}, {"repeat": -1}, {"scores": {}}, {"scores": {"other": 1.0}}],
    )
    def test_what_is_of_another_evaluation_does_not_count(self, change: dict[str, Any]) -> None:
        totals = self.totals()
        assert not totals.add(result(**{"case_id": "case-000000", **change}))
        assert totals.done == 0

    def test_what_has_no_result_is_left_to_ask_and_each_case_once_before_it_is_repeated(self) -> None:
        totals = self.totals(repeats=2)
        totals.add(result("case-000001", repeat=0))
        assert totals.questions == 6
        assert [(each.case.id[-1], each.repeat) for each in totals.open_questions()] == [
            ("0", 0),
            ("2", 0),
            ("0", 1),
            ("1", 1),
            ("2", 1),
        ]

    def test_a_missing_score_counts_as_zero_and_is_counted(self) -> None:
        totals = self.totals()
        totals.add(result("case-000000"))
        totals.add(result("case-000001", scores={"exact": None}))
        assert totals.mean_scores() == {"exact": 0.5}
        assert totals.missing_scores == 1
        assert bytes(totals.passes) == b"\x01\x00\x00"

    def test_what_a_requirement_is_about_is_measured(self) -> None:
        totals = Totals(data_set(4, tags=["a"]).cases, ("exact",), 1)
        for number in range(4):
            totals.add(result(f"case-{number:06}", passed=number > 0, latency=float(number), tokens_per_second=None))
        measured = {name: totals.measure(name) for name in ("pass_rate", "tag:a", "score:exact", "latency_max")}
        assert measured == {"pass_rate": 0.75, "tag:a": 0.75, "score:exact": 0.75, "latency_max": 3.0}
        assert totals.measure("tokens_per_second") is None


class TestStore:
    def test_an_attempt_reads_what_earlier_ones_have_written(self, tmp_path: Path) -> None:
        first, second = ResultStore(tmp_path, 1), ResultStore(tmp_path, 2)
        first.begin({"endpoint_id": "e"})
        first.write_part([result("a"), result("b")])
        first.write_part([result("c")])
        second.write_part([result("d")])
        assert [each.case_id for each in ResultStore(tmp_path, 3).read()] == ["a", "b", "c", "d"]

    def test_two_attempts_at_once_overwrite_nothing(self, tmp_path: Path) -> None:
        for attempt in (1, 2):
            ResultStore(tmp_path, attempt).write_part([result(str(attempt))])
        assert sorted(each.case_id for each in ResultStore(tmp_path, 1).read()) == ["1", "2"]

    def test_a_line_that_was_cut_by_a_kill_is_left_out(self, tmp_path: Path) -> None:
        store = ResultStore(tmp_path, 1)
        store.write_part([result("a"), result("b")])
        (part,) = tmp_path.iterdir()
        part.write_bytes(part.read_bytes()[:-30])
        assert [each.case_id for each in store.read()] == ["a"]

    def test_other_files_are_no_parts(self, tmp_path: Path) -> None:
        (tmp_path / "report.md").write_text(result("a").to_line())
        assert list(ResultStore(tmp_path, 1).read()) == []
        assert list(ResultStore(tmp_path / "nowhere", 1).read()) == []
