"""The record of a release, and the sentence that a failure ends in, for every way in which the tasks can end."""

from __future__ import annotations

import json
import os
import sys
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_cerebras.assets.record import (
    ApprovalResponse,
    Record,
    ReleaseOutcome,
    Step,
    count_findings,
    describe_evaluation,
    judge,
    shorten_evaluation,
)
from airflow_provider_cerebras.exceptions import RecordExists
from airflow_provider_cerebras.operators import _locations, _release
from airflow_provider_cerebras.operators._release import record_path, store_record

if TYPE_CHECKING:
    from pathlib import Path
    from types import FrameType

KILLED, FAILED = 9, 1
NAMES = ("upload", "wait_for_sync", "approve", "deploy", "wait_for_rollout", "verify", "promote")
OLD, NEW = (f"orgs/my-org/models/gpt-oss-120b/versions/{number}" for number in (1, 2))


def run(failed: str | None = None, *, roll_back: str = "skipped", rest: str = "upstream_failed") -> tuple[Step, ...]:
    """The tasks of a release in which one failed, and those after it did not run."""
    done = NAMES.index(failed) if failed else len(NAMES)
    states = ["success" if index < done else "failed" if index == done else rest for index in range(len(NAMES))]
    steps = [
        Step(name, state, 1.0, "It broke." if state == "failed" else None)
        for name, state in zip(NAMES, states, strict=True)
    ]
    return (*steps, Step("roll_back", roll_back, error="That broke too." if roll_back == "failed" else None))


def record(steps: tuple[Step, ...], outcome: ReleaseOutcome, **fields: Any) -> Record:
    return Record(
        **{
            "outcome": outcome,
            "endpoint_id": "e",
            "dag_id": "dag",
            "run_id": "scheduled__2026-01-01T00:00:00+00:00",
            "group_id": "release",
            "attempt": 0,
            "steps": steps,
            "model_version": NEW,
            "serves_now": NEW,
            "rolls_out": None,
            "alias": "prod",
            **fields,
        }
    )


@pytest.mark.parametrize(
    ("steps", "rejected", "deployment_id", "outcome"),
    [
        (run(), False, "d", "released"),
        (run("upload"), False, None, "not_deployed"),
        (run("wait_for_sync"), False, None, "not_deployed"),
        (run("approve"), False, None, "not_deployed"),
        (run("approve"), True, None, "rejected"),
        (run("deploy"), False, None, "deployment_failed"),
        (run("deploy"), False, "d", "deployment_failed"),
        (run("wait_for_rollout", roll_back="success"), False, "d", "rolled_back"),
        (run("wait_for_rollout"), False, "d", "unverified"),
        (run("verify", roll_back="failed"), False, "d", "not_rolled_back"),
        (run("verify"), False, "d", "unverified"),
        (run("promote"), False, "d", "not_promoted"),
        (tuple(Step(name, "upstream_failed") for name in NAMES), False, None, "not_started"),
        (tuple(Step(name, "skipped") for name in NAMES), False, None, "skipped"),
    ],
)
def test_each_end_is_told_apart(
    steps: tuple[Step, ...], rejected: bool, deployment_id: str | None, outcome: str
) -> None:
    assert judge(steps, rejected=rejected, deployment_id=deployment_id) == outcome


@given(
    states=st.lists(
        st.sampled_from(["success", "failed", "skipped", "upstream_failed", "removed", None]),
        min_size=len(NAMES) + 1,
        max_size=len(NAMES) + 1,
    ),
    rejected=st.booleans(),
    deployment_id=st.sampled_from([None, "d"]),
    serves=st.sampled_from([None, OLD, NEW]),
    unknown=st.sampled_from([None, "It did not answer."]),
)
@settings(max_examples=100)
def test_whatever_the_states_there_is_a_record_and_a_sentence(
    states: list[str | None], rejected: bool, deployment_id: str | None, serves: str | None, unknown: str | None
) -> None:
    steps = tuple(Step(name, state) for name, state in zip((*NAMES, "roll_back"), states, strict=True))
    outcome = judge(steps, rejected=rejected, deployment_id=deployment_id)
    made = record(steps, outcome, serves_now=serves, serving_unknown=unknown)
    if outcome is ReleaseOutcome.RELEASED:
        assert {state for name, state in zip(NAMES, states, strict=False)} == {"success"}
    assert made.serving() in made.sentence()
    assert made.sentence().endswith(".")
    assert Record.from_json(json.loads(json.dumps(made.to_json()))) == made


def test_the_sentence_says_what_failed_what_was_done_what_serves_and_what_to_do() -> None:
    made = record(run("verify", roll_back="failed"), ReleaseOutcome.NOT_ROLLED_BACK, serves_now=OLD)
    assert made.sentence() == (
        f"The release of {NEW} to endpoint e failed in verify: It broke; roll_back failed as well: That broke too; "
        f"now {OLD} serves there; look at the endpoint and deploy what must serve."
    )
    goes_on = replace(made, rolls_out=NEW)
    assert f"; now {OLD} serves there, and {NEW} still rolls out; look at" in goes_on.sentence()
    assert f"| Still rolls out | {NEW} |" in goes_on.to_markdown()
    going_back = replace(made, rolls_out=OLD)
    assert f"and {OLD} still rolls out" in going_back.sentence()
    theirs = replace(made, rolls_out=f"{NEW}1", outcome=ReleaseOutcome.RELEASED)
    assert f"and {NEW}1, which is not of this release, still rolls out" in theirs.sentence()
    silent = replace(made, steps=(Step("upload", "failed"),), outcome=ReleaseOutcome.NOT_DEPLOYED)
    assert "failed in upload: the task ended without telling why" in silent.sentence()
    rejected = replace(made, outcome=ReleaseOutcome.REJECTED, approval=ApprovalResponse("Reject", "Ada", "2026-01-01"))
    assert "was rejected by Ada; nothing was deployed" in rejected.sentence()
    long = replace(made, steps=(Step("upload", "failed", error="x" * 9999),), outcome=ReleaseOutcome.NOT_DEPLOYED)
    assert len(long.sentence()) < 2000


def test_markdown_shows_words_as_they_are() -> None:
    failed = (Step("upload", "failed", 2.0, "a | b\n# c <script>"),)
    text = record(failed, ReleaseOutcome.NOT_DEPLOYED, triggered_by="Ada", run_type="manual").to_markdown()
    assert r"| upload | failed | 2.0 | a \| b \# c \<script\> |" in text
    assert "| Triggered by | Ada (manual) |" in text
    assert "Approval" not in text


def test_what_is_kept_of_checks_names_no_case() -> None:
    assert count_findings({"findings": [{"level": "error"}, {"level": "ok"}, {"level": "warning"}]}) == {
        "error": 1,
        "warning": 1,
    }
    assert count_findings(None) is None
    summary = {
        "passed": False,
        "cases": 4,
        "pass_rate": 0.5,
        "outcomes": "secret",
        "baseline": {"fall": 0.25, "worse_cases": ["secret"]},
    }
    short = shorten_evaluation(summary)
    assert short == {"passed": False, "cases": 4, "pass_rate": 0.5, "baseline": {"fall": 0.25}}
    assert describe_evaluation(short) == "pass rate 0.5 over 4 cases, which is not good enough"
    assert describe_evaluation({"skipped": "Nothing serves."}) == "Nothing serves."
    assert shorten_evaluation("no summary") is None


def test_a_record_is_stored_once_wherever_the_task_is_killed(tmp_path: Path) -> None:
    first = record(run(), ReleaseOutcome.RELEASED, concluded_at="2026-01-01T00:00:00+00:00")
    later = replace(first, concluded_at="2026-01-01T00:05:00+00:00")
    path = record_path(str(tmp_path), first)

    store_record(str(tmp_path), first)
    path.with_suffix(".md").unlink()  # killed between the two
    again, result = store_record(str(tmp_path), later)

    assert again == first
    assert result == json.loads(path.read_text()) == json.loads(json.dumps(first.to_json()))
    assert path.with_suffix(".md").read_text() == first.to_markdown()
    assert len([each for each in tmp_path.rglob("*") if each.is_file()]) == 2

    with pytest.raises(RecordExists, match="is not the record of this release"):
        store_record(str(tmp_path), replace(later, outcome=ReleaseOutcome.UNVERIFIED))
    assert json.loads(path.read_text()) == result

    cleared = replace(later, outcome=ReleaseOutcome.UNVERIFIED, attempt=2)
    store_record(str(tmp_path), cleared)
    assert record_path(str(tmp_path), cleared) != path


def is_killed_at(line: int, folder: str, made: Record) -> bool:
    """Store a record in a process that is killed before a line of ours or of any ``write_text``.

    :param line: the number of the line, counted as they run.
    :return: False if the process had stored the record before that line.
    """
    ours = {_release.__file__, _locations.__file__}
    left = line

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal left
        if frame.f_code.co_filename not in ours and frame.f_code.co_name != "write_text":
            return None
        left -= event == "line"
        if left < 0:
            os._exit(KILLED)
        return trace

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the child needs none of the threads
        child = os.fork()
    if child == 0:
        result = FAILED
        try:
            sys.settrace(trace)
            store_record(folder, made)
            sys.settrace(None)
            result = 0
        finally:
            os._exit(result)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in {0, KILLED}
    return code == KILLED


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_killed_before_any_line_it_leaves_one_whole_record(tmp_path: Path, scheme: str) -> None:
    first = record(run(), ReleaseOutcome.RELEASED, concluded_at="2026-01-01T00:00:00+00:00")
    later = replace(first, concluded_at="2026-01-01T00:05:00+00:00")
    store_record(f"{scheme}{tmp_path}/warm-up", first)  # so that no child runs lines that the next one does not
    line, kept = 0, set()
    while is_killed_at(line, f"{scheme}{tmp_path}/{line}", first):
        again, result = store_record(f"{scheme}{tmp_path}/{line}", later)
        (stored,) = (tmp_path / str(line)).rglob("[!.]*.json")
        (markdown,) = (tmp_path / str(line)).rglob("[!.]*.md")
        assert json.loads(stored.read_text()) == json.loads(json.dumps(result))
        assert markdown.read_text() == again.to_markdown()
        kept.add(again.concluded_at)
        line += 1
    assert line > 20
    assert kept == {first.concluded_at, later.concluded_at}


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"outcome": "released"}', "\xff"])
def test_what_is_stored_already_and_is_no_record_stays(tmp_path: Path, content: str) -> None:
    failed = record(run("verify"), ReleaseOutcome.UNVERIFIED)
    path = record_path(str(tmp_path), failed)
    path.parent.mkdir(parents=True)
    path.write_text(content, encoding="latin-1")

    with pytest.raises(RecordExists, match=r"is not the record of this release.* failed in verify: It broke"):
        store_record(str(tmp_path), failed)

    assert path.read_text(encoding="latin-1") == content
    assert not path.with_suffix(".md").exists()


def test_a_stored_record_that_lacks_its_steps_stays(tmp_path: Path) -> None:
    made = record(run(), ReleaseOutcome.RELEASED)
    path = record_path(str(tmp_path), made)
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({name: value for name, value in made.to_json().items() if name != "steps"}))
    with pytest.raises(RecordExists):
        store_record(str(tmp_path), made)


def test_no_name_leaves_the_folder(tmp_path: Path) -> None:
    made = record(run(), ReleaseOutcome.RELEASED, dag_id="..", run_id="../../a", group_id="")
    path = record_path(str(tmp_path), made).resolve()
    assert path.is_relative_to(tmp_path.resolve())
    assert len(path.relative_to(tmp_path.resolve()).parts) == 4


def test_a_record_of_a_later_version_is_read_without_what_is_not_known() -> None:
    made = record(run("verify"), ReleaseOutcome.ROLLED_BACK, approval=ApprovalResponse("Approve", "Ada", "2026-01-01"))
    later = made.to_json() | {"more": 1, "steps": [{**step, "more": 1} for step in made.to_json()["steps"]]}
    assert made.is_of_same_release(later)
    assert Record.from_json({**later, "approval": {**later["approval"], "more": 1}}) == made
