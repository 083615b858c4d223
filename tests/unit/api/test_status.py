"""The two tables of rules: did the upload succeed, did the deployment succeed; and what serves now."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_cerebras.api.models import Endpoint, ModelVersion
from airflow_provider_cerebras.api.status import Progress, classify_deployment, classify_version, serving_model

# Written out, not imported: the list is the rule.
WORDS_OF_FAILURE = [
    "failed",
    "failure",
    "error",
    "errored",
    "cancelled",
    "canceled",
    "rejected",
    "expired",
    "aborted",
]
SPELLINGS = [spell(word) for word in WORDS_OF_FAILURE for spell in (str.lower, str.upper, str.capitalize)]
UNKNOWN_WORDS = ["warming_up", "validating", "failing_over", "not_failed", "", "complete", "0"]


def version(**fields: Any) -> ModelVersion:
    return ModelVersion.model_validate({"name": "orgs/o/models/m/versions/1", **fields})


def endpoint(*entries: dict[str, Any]) -> Endpoint:
    return Endpoint.model_validate({"name": "e", "deployed_models": entries})


@pytest.mark.parametrize(
    ("fields", "progress"),
    [
        pytest.param({"done": True, "response": {"sync_status": "done"}}, Progress.SUCCEEDED, id="done, done"),
        pytest.param({"done": True, "response": {"sync_status": "DONE"}}, Progress.SUCCEEDED, id="done, DONE"),
        pytest.param({"done": True, "response": {"sync_status": None}}, Progress.SUCCEEDED, id="done, null"),
        pytest.param({"done": True, "response": {}}, Progress.SUCCEEDED, id="done, no word"),
        pytest.param({"done": True, "response": None}, Progress.SUCCEEDED, id="done, no response"),
        pytest.param({"done": True}, Progress.SUCCEEDED, id="done alone"),
        pytest.param({"done": True, "response": {"sync_status": "in_progress"}}, Progress.FAILED, id="done, going"),
        pytest.param({"done": True, "response": {"sync_status": "queued"}}, Progress.FAILED, id="done, queued"),
        pytest.param({"done": True, "response": {"sync_status": "weird"}}, Progress.FAILED, id="done, unknown word"),
        pytest.param({"done": False, "response": {"sync_status": "queued"}}, Progress.PENDING, id="queued"),
        pytest.param({"done": False, "response": {"sync_status": "in_progress"}}, Progress.PENDING, id="in_progress"),
        pytest.param({"done": False, "response": {"sync_status": "done"}}, Progress.PENDING, id="not done, done"),
        pytest.param({"done": False, "response": {"sync_status": None}}, Progress.PENDING, id="not done, null"),
        pytest.param({"done": False}, Progress.PENDING, id="not done alone"),
        pytest.param({}, Progress.PENDING, id="nothing"),
        pytest.param({"done": True, "error": {"message": "no access"}}, Progress.FAILED, id="done, error"),
        pytest.param({"done": False, "error": {"message": "no access"}}, Progress.FAILED, id="not done, error"),
        pytest.param({"done": False, "error": "no access"}, Progress.FAILED, id="error as text"),
        pytest.param({"done": False, "error": {"code": 7}}, Progress.FAILED, id="error without message"),
        pytest.param(
            {"done": True, "response": {"sync_status": "done"}, "error": {"message": "x"}},
            Progress.FAILED,
            id="error beats done",
        ),
        pytest.param(
            {"done": True, "response": {"sync_status": "done"}, "error": None}, Progress.SUCCEEDED, id="error null"
        ),
    ],
)
def test_did_the_upload_succeed(fields: dict[str, Any], progress: Progress) -> None:
    assert classify_version(version(**fields)).progress is progress


@pytest.mark.parametrize("done", [True, False])
@pytest.mark.parametrize("word", SPELLINGS)
def test_a_sync_with_a_word_of_failure_has_failed_whether_done_or_not(word: str, done: bool) -> None:
    assert classify_version(version(done=done, response={"sync_status": word})).progress is Progress.FAILED


@pytest.mark.parametrize("word", UNKNOWN_WORDS)
def test_a_sync_with_an_unknown_word_goes_on_and_the_word_is_told(word: str) -> None:
    verdict = classify_version(version(done=False, response={"sync_status": word}))
    assert verdict.progress is Progress.PENDING
    assert repr(word) in verdict.status_text


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ({"message": "bucket policy", "code": 3}, "bucket policy"),
        ("bucket policy", "bucket policy"),
        ({"reason": "bucket policy"}, "bucket policy"),
        (["bucket policy"], "bucket policy"),
    ],
)
def test_the_words_of_a_failed_sync_are_the_server_s(error: object, words: str) -> None:
    assert words in classify_version(version(done=True, error=error)).status_text


@pytest.mark.parametrize(
    ("state", "progress"),
    [
        ("complete", Progress.SUCCEEDED),
        ("COMPLETE", Progress.SUCCEEDED),
        *((word, Progress.FAILED) for word in SPELLINGS),
        ("not_started", Progress.PENDING),
        ("in_progress", Progress.PENDING),
        ("done", Progress.PENDING),
        ("completing", Progress.PENDING),
        ("warming_up", Progress.PENDING),
        ("", Progress.PENDING),
        (None, Progress.PENDING),
    ],
)
def test_did_the_deployment_succeed(state: str | None, progress: Progress) -> None:
    assert classify_deployment(endpoint({"id": "ours", "state": state}), "ours").progress is progress


def test_an_entry_without_a_state_is_still_going() -> None:
    assert classify_deployment(endpoint({"id": "ours"}), "ours").progress is Progress.PENDING


@pytest.mark.parametrize("entries", [[], [{"id": "other", "state": "complete"}], [{"state": "complete"}]])
def test_a_deployment_that_is_not_listed_is_lost_as_far_as_one_answer_can_tell(entries: list[dict[str, Any]]) -> None:
    assert classify_deployment(endpoint(*entries), "ours").progress is Progress.LOST


@pytest.mark.parametrize(
    "entries",
    list(
        itertools.permutations(
            [
                {"id": "old", "state": "complete", "created": 100},
                {"id": "ours", "state": "in_progress", "created": 200},
                {"id": "newer", "state": "failed", "created": 300},
            ]
        )
    ),
    ids=lambda entries: " ".join(entry["id"] for entry in entries),
)
def test_only_our_own_entry_counts_wherever_it_stands(entries: tuple[dict[str, Any], ...]) -> None:
    listed = endpoint(*entries)
    assert classify_deployment(listed, "ours").progress is Progress.PENDING
    assert classify_deployment(listed, "old").progress is Progress.SUCCEEDED
    assert classify_deployment(listed, "newer").progress is Progress.FAILED


def test_the_words_of_a_failed_deployment_are_the_server_s() -> None:
    listed = endpoint({"id": "ours", "state": "failed", "error": {"message": "out of capacity"}})
    assert "out of capacity" in classify_deployment(listed, "ours").status_text


ENTRIES = [
    {"id": "first", "state": "complete", "created": 100},
    {"id": "serves", "state": "COMPLETE", "created": 300},
    {"id": "under way", "state": "in_progress", "created": 400},
    {"id": "failed", "state": "failed", "created": 500},
    {"id": "stateless", "created": 600},
]


@given(st.permutations(ENTRIES))
def test_what_serves_is_the_newest_complete_entry_in_whatever_order(entries: list[dict[str, Any]]) -> None:
    serving = serving_model(endpoint(*entries))
    assert serving is not None
    assert serving.id == "serves"


def test_an_entry_without_a_time_is_older_than_any_other() -> None:
    serving = serving_model(endpoint({"id": "timeless", "state": "complete"}, {**ENTRIES[0]}))
    assert serving is not None
    assert serving.id == "first"


@pytest.mark.parametrize("entries", [[], [{"id": "d", "state": "in_progress"}], [{"id": "d"}]])
def test_nothing_serves_where_nothing_is_complete(entries: list[dict[str, Any]]) -> None:
    assert serving_model(endpoint(*entries)) is None
