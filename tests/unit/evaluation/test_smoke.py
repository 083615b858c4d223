"""Whether an answer is as expected, as a table."""

from __future__ import annotations

import re
from typing import Any

import pytest

from airflow_provider_cerebras.api.models import ChatCompletion
from airflow_provider_cerebras.evaluation.smoke import Measurement, find_fault, measure, read_chats, summarize

QUESTION = {"role": "user", "content": "What is two plus two?"}


def completion(answer: str | None = "four", **fields: Any) -> ChatCompletion:
    return ChatCompletion.model_validate({"choices": [{"message": {"content": answer}}], **fields})


def measurement(**changes: Any) -> Measurement:
    fields = {
        "answer": "It is four.",
        "system_fingerprint": "fp_ab-v7",
        "latency": 2.0,
        "completion_tokens": 10,
        "tokens_per_second": 5.0,
    }
    return Measurement(**{**fields, **changes})


def fault(measured: Measurement | None = None, **expected: Any) -> str | None:
    nothing = dict.fromkeys(("expect", "system_fingerprint_suffix", "max_latency", "min_tokens_per_second"))
    return find_fault(measured or measurement(), **{**nothing, **expected})


def is_polite(answer: str) -> bool:
    return "please" in answer


class TestFault:
    @pytest.mark.parametrize(
        "expected",
        [
            {},
            {"expect": "four"},
            {"expect": re.compile(r"\bfour\b")},
            {"expect": lambda answer: answer.endswith(".")},
            {"system_fingerprint_suffix": "v7"},
            {"max_latency": 2.0},
            {"min_tokens_per_second": 5.0},
        ],
    )
    def test_what_is_as_expected(self, expected: dict[str, Any]) -> None:
        assert fault(**expected) is None

    @pytest.mark.parametrize(
        ("expected", "words"),
        [
            ({"expect": "five"}, "'five'"),
            ({"expect": re.compile("^four")}, "re.compile('^four')"),
            ({"expect": is_polite}, "is_polite"),
            ({"system_fingerprint_suffix": "v8"}, "'fp_ab-v7' does not end with 'v8'"),
            ({"max_latency": 1.9}, "took 2.000 s, more than max_latency=1.9 s"),
            ({"min_tokens_per_second": 5.1}, "is 5.0, less than min_tokens_per_second=5.1"),
        ],
    )
    def test_what_is_not(self, expected: dict[str, Any], words: str) -> None:
        assert words in str(fault(**expected))

    def test_the_answer_is_not_repeated(self) -> None:
        assert "four" not in str(fault(expect="five"))

    def test_a_fingerprint_that_is_missing_has_no_suffix(self) -> None:
        assert fault(measurement(system_fingerprint=None), system_fingerprint_suffix="v7") is not None

    def test_a_speed_that_cannot_be_told_is_not_fast_enough(self) -> None:
        assert "is not known" in str(fault(measurement(tokens_per_second=None), min_tokens_per_second=1))


class TestMeasure:
    def test_the_service_knows_best_how_long_it_wrote(self) -> None:
        answer = completion(usage={"completion_tokens": 10}, time_info={"completion_time": 0.5})
        assert measure(answer, latency=4.0).tokens_per_second == 20
        assert measure(answer, latency=4.0).latency == 4.0

    def test_else_it_is_our_clock_that_counts(self) -> None:
        assert measure(completion(usage={"completion_tokens": 10}), latency=4.0).tokens_per_second == 2.5

    def test_what_is_not_told_is_not_known(self) -> None:
        measured = measure(completion(None), latency=1.0)
        assert (measured.answer, measured.completion_tokens, measured.tokens_per_second) == ("", None, None)

    def test_no_choice_is_an_empty_answer(self) -> None:
        assert measure(ChatCompletion.model_validate({"choices": None}), latency=1.0).answer == ""

    def test_the_slowest_of_several_counts(self) -> None:
        slow = measurement(latency=3.0, tokens_per_second=1.0, completion_tokens=3)
        assert summarize([measurement(), slow, measurement(tokens_per_second=None, completion_tokens=None)]) == {
            "chats": 3,
            "system_fingerprint": "fp_ab-v7",
            "max_latency_seconds": 3.0,
            "min_tokens_per_second": 1.0,
            "completion_tokens": 13,
        }


class TestChats:
    def test_one_chat_or_several(self) -> None:
        assert read_chats([QUESTION, QUESTION]) == [[QUESTION, QUESTION]]
        assert read_chats(({"role": "user"},)) == [({"role": "user"},)]
        assert read_chats([[QUESTION], [QUESTION, QUESTION]]) == [[QUESTION], [QUESTION, QUESTION]]

    @pytest.mark.parametrize("messages", [None, "hello", [], [[]], ["hello"], [[QUESTION], []], [QUESTION, "x"], {}])
    def test_anything_else_is_refused(self, messages: object) -> None:
        with pytest.raises(ValueError, match=r"^messages: "):
            read_chats(messages)
