"""Each scorer as a table: what passes, what does not, and which cases it cannot score."""

from __future__ import annotations

import importlib.util
import re
from functools import partial
from typing import Any

import pytest

from airflow_provider_cerebras.evaluation.scorers import NAMED, check_cases, numeric, read_score, resolve_scorers
from tests.unit.evaluation.data_sets import case, completion


def score(scorer: str, expected: Any, answer: str | None) -> bool | float:
    return NAMED[scorer].score(case(expected), completion(answer))


@pytest.mark.parametrize(
    ("scorer", "expected", "passing", "failing"),
    [
        ("exact", " four", ["four", "four\n"], ["Four", "four.", "", None]),
        ("contains", "four", ["It is four.", "four"], ["It is Four.", "", None]),
        ("contains", ["two", "four"], ["two, four", "four two"], ["two", "four"]),
        ("regex", r"^\d+$", ["42"], ["it is 42", "", None]),
        ("regex", "(?i)FOUR", ["It is four."], ["five"]),
        ("json_schema", {"type": "object", "required": ["a"]}, ['{"a": 1}'], ["{}", "[]", "no JSON", "", None]),
        ("json_schema", {"type": "integer"}, ["7"], ["7.5", '"7"', "[" * 100_000]),
        ("json_schema", True, ["{}", "1"], ["{"]),
        (
            "numeric",
            42,
            ["42", "It is 42.", "42.0", "12, no: 42", "4.2e1", "+42"],
            ["-42", "421", "", None, "42 or 43"],
        ),
        ("numeric", 0.3, ["0.3", ".3", "0.30000000000000004"], ["0.31", "3"]),
        ("numeric", 1234567, ["1,234,567", "$1,234,567."], ["1 234 568"]),
        ("numeric", {"value": 10, "tolerance": 0.5}, ["10.5", "9.5"], ["10.6", "9.4"]),
        (
            "refusal",
            None,
            [
                "I'm sorry, but I can't help with that.",
                "I cannot assist with this request.",
                "I won\u2019t provide that.",
                "I am unable to help.",
                "I must decline.",
            ],
            ["Sure, here it is.", "", None, "The answer is four.", "I can help with that.", "You can't divide by 0."],
        ),
        ("refusal", False, ["Sure, here it is."], ["I'm sorry, but I can't help with that."]),
        ("refusal", True, ["I can't help with that."], ["Sure."]),
    ],
)
def test_what_passes_and_what_does_not(scorer: str, expected: Any, passing: list[str], failing: list[Any]) -> None:
    assert [answer for answer in passing if score(scorer, expected, answer) is not True] == []
    assert [answer for answer in failing if score(scorer, expected, answer) is not False] == []


@pytest.mark.parametrize(
    ("scorer", "expected"),
    [
        ("exact", None),
        ("exact", 4),
        ("contains", None),
        ("contains", ""),
        ("contains", []),
        ("contains", ["a", ""]),
        ("regex", None),
        ("regex", "("),
        ("json_schema", None),
        ("json_schema", "object"),
        ("json_schema", {"type": "no type"}),
        ("numeric", None),
        ("numeric", "4"),
        ("numeric", True),
        ("numeric", {"value": 4}),
        ("numeric", {"value": 4, "tolerance": -1}),
        ("numeric", {"value": 4, "tolerance": "1"}),
        ("refusal", "yes"),
    ],
)
def test_a_case_without_what_the_scorer_needs_is_refused(scorer: str, expected: Any) -> None:
    with pytest.raises(ValueError, match=rf"^dataset: case 'case-000001': expected: .*\(scorer '{scorer}'\)$"):
        check_cases([NAMED[scorer]], [case(expected)])


@pytest.mark.parametrize(
    ("scorer", "expected"), [("refusal", None), ("exact", "4"), ("json_schema", False), ("numeric", -1.5)]
)
def test_a_case_with_what_the_scorer_needs_is_accepted(scorer: str, expected: Any) -> None:
    check_cases([NAMED[scorer]], [case(expected)])


def test_a_schema_fetches_nothing() -> None:
    schema = {"$ref": "http://127.0.0.1:9/schema.json"}
    with pytest.raises(Exception, match=r"(?i)unresolvable"):
        score("json_schema", schema, "{}")


def test_a_tolerance_for_all_cases_and_one_of_a_case() -> None:
    scorer = numeric(tolerance=1)
    assert scorer.name == "numeric"
    assert scorer.score(case(10), completion("11")) is True
    assert scorer.score(case(10), completion("11.1")) is False
    assert scorer.score(case({"value": 10, "tolerance": 0}), completion("11")) is False


def test_a_scorer_looks_alike_in_each_process() -> None:
    # It may be stored with the DAG that it is in.
    assert " at 0x" not in repr(numeric(tolerance=1))


@pytest.mark.parametrize("tolerance", [-1, "1", None, True, float("nan")])
def test_a_tolerance_that_is_none_is_refused(tolerance: Any) -> None:
    with pytest.raises(ValueError, match=r"^tolerance: "):
        numeric(tolerance=tolerance)


class Judge:
    def __call__(self, case: object, completion: object) -> bool:
        return True


def polite(case: object, completion: object, *, limit: int = 0) -> float:
    return 0.5


def test_scorers_are_named() -> None:
    found = resolve_scorers(["exact", numeric(tolerance=1), polite, Judge()])
    assert [each.name for each in found] == ["exact", "numeric", "polite", "Judge"]
    assert [each.blocking for each in found] == [False, False, True, True]
    assert resolve_scorers([partial(polite, limit=1)])[0].name == "polite"


@pytest.mark.parametrize(
    ("scorers", "words"),
    [
        ("exact", "must be a list"),
        (None, "must be a list"),
        ([], "at least one"),
        (["exakt"], "there is no 'exakt'"),
        (["exact", "exact"], "two with the name 'exact'"),
        ([lambda case, completion: 1, lambda case, completion: 0], "two with the name '<lambda>'"),
        ([7], "neither a name nor a callable"),
    ],
)
def test_wrong_scorers_are_refused(scorers: Any, words: str) -> None:
    with pytest.raises(ValueError, match=rf"^scorers: .*{re.escape(words)}"):
        resolve_scorers(scorers)


def test_the_package_that_a_scorer_needs_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_provider_cerebras.evaluation.scorers.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'airflow-provider-cerebras\[jsonschema\]'"):
        resolve_scorers(["json_schema"])
    assert importlib.util.find_spec("jsonschema") is not None


@pytest.mark.parametrize(("value", "expected"), [(True, 1.0), (False, 0.0), (0, 0.0), (1, 1.0), (0.25, 0.25)])
def test_what_is_a_score(value: object, expected: float) -> None:
    assert read_score(value) == expected


@pytest.mark.parametrize("value", [None, "1", 1.01, -0.01, float("nan"), float("inf"), [], object(), 2, 1j])
def test_what_is_none(value: object) -> None:
    assert read_score(value) is None


def test_numpy_scores_are_scores() -> None:
    numpy = pytest.importorskip("numpy")
    assert read_score(numpy.bool_(True)) == 1.0
    assert read_score(numpy.float32(0.5)) == 0.5
    assert read_score(numpy.array([1.0, 2.0])) is None
