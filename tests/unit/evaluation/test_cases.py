"""A data set is read whole, or refused with the number of the line before anything is asked."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_cerebras.evaluation.cases import read_jsonl, read_rows
from tests.unit.evaluation.data_sets import row


def test_a_case_has_what_its_line_says() -> None:
    line = json.dumps(row(1, id=7, expected={"a": [1]}, tags=["z", "a", "z"], weight=2))
    (case,) = read_jsonl(f"\ufeff{line}\n\n").cases
    assert case.id == "7"
    assert case.messages == ({"role": "user", "content": "What is 1 plus 1?"},)
    assert case.expected == {"a": [1]}
    assert case.tags == ("a", "z")
    assert case.weight == 2.0


def test_expected_tags_and_weight_are_optional() -> None:
    (case,) = read_rows([{"id": "a", "messages": [{"role": "user", "content": "x"}]}]).cases
    assert (case.expected, case.tags, case.weight) == (None, (), 1.0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"id": None}, "id: "),
        ({"id": ""}, "id: "),
        ({"id": True}, "id: "),
        ({"id": "a\nb"}, "id: "),
        ({"id": "x" * 257}, "id: "),
        ({"messages": None}, "messages: "),
        ({"messages": []}, "messages: "),
        ({"messages": "hello"}, "messages: "),
        ({"messages": [{"role": "user"}]}, "messages: "),
        ({"messages": [{"content": "x"}]}, "messages: "),
        ({"tags": "safety"}, "tags: "),
        ({"tags": [1]}, "tags: "),
        ({"weight": 0}, "weight: "),
        ({"weight": -1}, "weight: "),
        ({"weight": True}, "weight: "),
        ({"weight": "1"}, "weight: "),
        ({"expects": "4"}, "has no field 'expects'"),
        ({"expected": "\ud800"}, "JSON in UTF-8"),
    ],
)
def test_a_bad_line_is_refused_with_its_number(change: dict[str, Any], words: str) -> None:
    lines = [json.dumps(row(1)), "", json.dumps({**row(2), **change})]
    with pytest.raises(ValueError, match=f"^dataset: line 3: .*{words}"):
        read_jsonl("\n".join(lines))
    with pytest.raises(ValueError, match=f"^dataset: case 2: .*{words}"):
        read_rows([row(1), {**row(2), **change}])


@pytest.mark.parametrize("line", ["{", "nonsense", '"a string"', "[]", '{"id": NaN}', "9" * 5000, "[" * 100_000])
def test_a_line_that_is_no_object_is_refused_with_its_number_and_not_repeated(line: str) -> None:
    with pytest.raises(ValueError, match=r"^dataset: line 2: ") as refused:
        read_jsonl(f"{json.dumps(row(1))}\n{line}\n")
    assert len(str(refused.value)) < 150


def test_a_key_that_is_there_twice_is_refused() -> None:
    twice = json.dumps(row(1))[:-1] + ', "expected": "something else"}'
    with pytest.raises(ValueError, match=r"^dataset: line 1: is not JSON \(an object has a key twice\)"):
        read_jsonl(twice)


def test_an_id_that_is_used_twice_is_refused_with_both_lines() -> None:
    lines = [json.dumps(row(number)) for number in (1, 2, 1)]
    with pytest.raises(ValueError, match=r"^dataset: line 3: the id 'case-000001' is used in line 1 already"):
        read_jsonl("\n".join(lines))


@pytest.mark.parametrize("text", ["", "\n \n"])
def test_a_file_without_cases_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^dataset: holds no case"):
        read_jsonl(text)


@pytest.mark.parametrize("rows", [None, {}, 7, {"id": "a"}])
def test_what_is_no_list_is_refused(rows: object) -> None:
    with pytest.raises(ValueError, match=r"^dataset: "):
        read_rows(rows)


ROWS = [row(number, tags=["a", "b"]) for number in range(20)]


class TestDigest:
    def test_the_order_of_cases_and_tags_does_not_matter(self) -> None:
        shuffled = random.Random(1).sample(ROWS, len(ROWS))
        lines = "\n".join(json.dumps({**each, "tags": ["b", "a"]}) for each in shuffled)
        assert read_jsonl(lines) == read_rows(ROWS)

    @pytest.mark.parametrize(
        "change",
        [
            {"id": "other"},
            {"expected": "other"},
            {"tags": ["a"]},
            {"weight": 2},
            {"messages": [{"role": "user", "content": ""}]},
        ],
    )
    def test_any_other_change_is_another_data_set(self, change: dict[str, Any]) -> None:
        changed = read_rows([{**ROWS[0], **change}, *ROWS[1:]])
        assert changed.digest != read_rows(ROWS).digest


@settings(max_examples=100, deadline=None)
@given(
    st.text(max_size=200)
    | st.lists(st.sampled_from(['{"id": 1, ', '"messages"', ":", "[{", "}]", "}", "\n", "é"])).map("".join)
)
def test_whatever_the_text_it_is_read_or_refused(text: str) -> None:
    reason = "dataset: "
    try:
        read_jsonl(text)
    except ValueError as error:
        reason = str(error)
    assert reason.startswith("dataset: ")
