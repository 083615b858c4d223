"""What an endpoint's list of deployments proves: pure decisions, as tables."""

from __future__ import annotations

import random
from typing import Any

import pytest

from airflow_provider_cerebras.api.errors import UnexpectedResponse
from airflow_provider_cerebras.api.models import Endpoint
from airflow_provider_cerebras.durable.deployments import say_what_rolls_out, say_what_serves
from airflow_provider_cerebras.durable.rollout_steps import (
    Baseline,
    Decision,
    Deployed,
    Submission,
    adopt,
    baseline_of_rollback,
    decide,
    find_target,
    read_deployments,
    served_before,
    what_serves,
)
from tests.unit.durable.world import name

OURS, OTHER, OLD = name(5), name(4), name(3)
COMPLETE, GOING, WAITING, BROKEN = "complete", "in_progress", "not_started", "failed"
NOTHING = Baseline(0)


def entry(id: str | None, model: str | None, created: int | None, state: str | None) -> dict[str, Any]:  # noqa: A002
    return {"id": id, "model": model, "created": created, "state": state}


def read(*entries: dict[str, Any]) -> list[Deployed]:
    # The order of the list means nothing.
    shuffled = random.Random(len(entries)).sample(entries, len(entries))
    return read_deployments(Endpoint.model_validate({"name": "endpoint", "deployed_models": shuffled}))


@pytest.mark.parametrize("missing", ["id", "model", "created", "state"])
def test_an_entry_that_could_be_anybodys_is_no_evidence(missing: str) -> None:
    with pytest.raises(
        UnexpectedResponse, match=rf"\.{missing} .* is absent or cannot be read.*\. Nothing is changed\."
    ):
        read(entry("a", OURS, 1, COMPLETE), {**entry("b", OTHER, 2, COMPLETE), missing: None})


@pytest.mark.parametrize("listed", [{}, {"deployed_models": None}, {"deployed_models": "none"}])
def test_a_list_that_is_absent_is_not_an_empty_one(listed: dict[str, Any]) -> None:
    with pytest.raises(UnexpectedResponse, match="Field deployed_models of endpoint endpoint is absent"):
        read_deployments(Endpoint.model_validate({"name": "endpoint", **listed}))


@pytest.mark.parametrize(
    ("listed", "adopted"),
    [
        pytest.param([], None, id="nothing"),
        pytest.param([entry("a", OURS, 1, COMPLETE)], "a", id="ours serves"),
        pytest.param([entry("a", OURS, 1, GOING)], "a", id="ours rolls out"),
        pytest.param([entry("a", OURS, 1, WAITING)], "a", id="ours is queued"),
        pytest.param([entry("a", OURS, 1, "a new word")], "a", id="an unknown state goes on"),
        pytest.param([entry("a", OURS, 1, BROKEN)], None, id="ours failed"),
        pytest.param([entry("a", OTHER, 1, COMPLETE)], None, id="another one serves"),
        pytest.param([entry("a", OTHER, 1, COMPLETE), entry("b", OURS, 2, GOING)], "b", id="ours replaces another"),
        pytest.param([entry("a", OURS, 1, COMPLETE), entry("b", OTHER, 2, COMPLETE)], None, id="another came after"),
        pytest.param([entry("a", OURS, 1, COMPLETE), entry("b", OURS, 2, BROKEN)], None, id="ours failed since"),
        pytest.param([entry("a", OURS, 1, BROKEN), entry("b", OURS, 2, GOING)], "b", id="ours is tried again"),
        pytest.param([entry("a", OURS, 1, GOING), entry("b", OTHER, 1, GOING)], None, id="which is newer is unknown"),
        pytest.param([entry("a", OURS, 1, GOING), entry("b", OURS, 1, COMPLETE)], "b", id="of two ours, what serves"),
        pytest.param([entry("a", OURS, 1, BROKEN), entry("b", OURS, 1, GOING)], "b", id="of two ours, what goes on"),
    ],
)
def test_a_first_attempt_adopts_what_serves_or_rolls_out_and_replaces_the_rest(
    listed: list[dict[str, Any]], adopted: str | None
) -> None:
    deployments = read(*listed)
    assert decide(deployments, OURS, baseline=Baseline.of(deployments)) == Decision(adopted)


BEFORE = entry("before", OLD, 10, COMPLETE)
SEEN = Baseline(10, frozenset({"before"}))
SUBMITTED = Submission("mine", OURS, 20)


@pytest.mark.parametrize(
    ("listed", "submitted", "adopted", "superseded_by"),
    [
        pytest.param([BEFORE], None, None, None, id="nothing came since"),
        pytest.param([BEFORE, entry("a", OURS, 20, GOING)], None, "a", None, id="ours came since"),
        pytest.param([BEFORE, entry("a", OURS, 20, BROKEN)], None, "a", None, id="ours failed: no second try"),
        pytest.param([BEFORE, entry("a", OURS, 10, GOING)], None, "a", None, id="ours came in the same second"),
        pytest.param([BEFORE, entry("a", OTHER, 20, COMPLETE)], None, None, "a", id="another one came and serves"),
        pytest.param([BEFORE, entry("a", OTHER, 20, GOING)], None, None, "a", id="another one rolls out"),
        pytest.param([BEFORE, entry("a", OTHER, 20, BROKEN)], None, None, "a", id="another one came and failed"),
        pytest.param([BEFORE, entry("a", OTHER, 10, GOING)], None, None, "a", id="another one, in the same second"),
        pytest.param(
            [entry("a", OURS, 20, COMPLETE), entry("b", OTHER, 30, GOING)], None, None, "b", id="another after ours"
        ),
        pytest.param([entry("a", OTHER, 20, GOING), entry("b", OURS, 30, GOING)], None, "b", None, id="ours after it"),
        pytest.param([BEFORE], SUBMITTED, "mine", None, id="ours is queued without being listed"),
        pytest.param([BEFORE, entry("a", OTHER, 15, GOING)], SUBMITTED, "mine", None, id="ours is queued behind it"),
        pytest.param([BEFORE, entry("a", OTHER, 30, GOING)], SUBMITTED, None, "a", id="ours was superseded"),
        pytest.param([BEFORE, entry("a", OTHER, 20, GOING)], SUBMITTED, None, "a", id="ours may have been superseded"),
        pytest.param(
            [BEFORE, entry("mine", OURS, 12, GOING), entry("a", OTHER, 15, GOING)],
            SUBMITTED,
            None,
            "a",
            id="ours is listed, with a time of its own",
        ),
        pytest.param(
            [BEFORE, entry("a", OTHER, 15, GOING)],
            SUBMITTED._replace(created=None),
            None,
            "a",
            id="ours is of an unknown time",
        ),
    ],
)
def test_a_retry_replaces_only_what_was_there_before(
    listed: list[dict[str, Any]], submitted: Submission | None, adopted: str | None, superseded_by: str | None
) -> None:
    decision = decide(read(*listed), OURS, baseline=SEEN, submitted=submitted)
    assert decision.adopted == adopted
    assert (decision.superseded_by and decision.superseded_by.id) == superseded_by


def test_a_retry_that_does_not_know_what_was_there_replaces_nothing() -> None:
    assert decide(read(BEFORE), OURS, baseline=NOTHING).superseded_by is not None


@pytest.mark.parametrize(
    ("listed", "found"),
    [
        pytest.param([], None, id="nothing"),
        pytest.param([entry("a", OTHER, 1, COMPLETE)], OTHER, id="another one"),
        pytest.param([entry("a", OURS, 1, COMPLETE)], OURS, id="ours"),
        pytest.param([entry("a", OTHER, 1, GOING)], None, id="one that never served"),
        pytest.param([entry("a", OTHER, 1, BROKEN)], None, id="one that failed"),
        pytest.param([entry("a", OLD, 1, COMPLETE), entry("b", OTHER, 2, COMPLETE)], OTHER, id="the newest"),
        pytest.param([entry("a", OTHER, 1, COMPLETE), entry("b", OLD, 2, BROKEN)], OTHER, id="not what failed"),
        pytest.param([entry("a", OTHER, 1, COMPLETE), entry("b", OLD, 2, GOING)], None, id="something was about to"),
        pytest.param([entry("a", OTHER, 1, COMPLETE), entry("b", OLD, 1, GOING)], None, id="perhaps something was"),
        pytest.param([entry("a", OTHER, 1, COMPLETE), entry("b", OLD, 1, COMPLETE)], None, id="one of two"),
        pytest.param([entry("a", OTHER, 1, COMPLETE), entry("b", OURS, 9, COMPLETE)], OTHER, id="ours came since"),
    ],
)
def test_served_before(listed: list[dict[str, Any]], found: str | None) -> None:
    assert served_before(read(*listed), Baseline(5)) == found


TAKEN = Submission("taken")


def target(
    *listed: dict[str, Any], taken_back: Submission = TAKEN, resumed: bool = False
) -> tuple[str, str | None] | None:
    deployments = read(*listed)
    baseline = baseline_of_rollback(deployments, taken_back)
    assert baseline is not None
    found = find_target(deployments, taken_back, baseline)
    return found and (found.model_version, found.standing and found.standing.id)


class TestFindTarget:
    def test_what_served_before_what_failed(self) -> None:
        assert target(entry("a", OLD, 1, COMPLETE), entry("taken", OURS, 2, BROKEN)) == (OLD, None)

    def test_what_served_before_what_serves(self) -> None:
        assert target(entry("a", OLD, 1, COMPLETE), entry("taken", OURS, 2, COMPLETE)) == (OLD, None)

    def test_what_failed_in_between_never_served(self) -> None:
        listed = [entry("a", OLD, 1, COMPLETE), entry("b", OTHER, 2, BROKEN), entry("taken", OURS, 3, BROKEN)]
        assert target(*listed) == (OLD, None)

    def test_a_version_that_serves_and_fails_when_it_is_deployed_again_has_served_all_the_time(self) -> None:
        listed = [
            entry("a", OLD, 1, COMPLETE),
            entry("b", OURS, 2, COMPLETE),
            entry("c", OTHER, 3, BROKEN),
            entry("taken", OURS, 4, BROKEN),
        ]
        assert target(*listed) == (OURS, "b")

    @pytest.mark.parametrize("there", [None, Baseline(4), Baseline(2, frozenset({"b"}))])
    def test_it_has_so_for_a_task_run_that_found_it_there(self, there: Baseline | None) -> None:
        listed = [entry("a", OLD, 1, COMPLETE), entry("b", OURS, 2, COMPLETE), entry("taken", OURS, 4, BROKEN)]
        assert target(*listed, taken_back=Submission("taken", OURS, 4, baseline=there)) == (OURS, "b")

    def test_an_earlier_rollout_of_the_version_that_never_ended_does_not_hide_what_served(self) -> None:
        listed = [entry("a", OLD, 1, COMPLETE), entry("b", OURS, 2, GOING), entry("taken", OURS, 3, BROKEN)]
        assert target(*listed) == (OLD, None)

    def test_one_that_serves_and_is_wrong_is_not_gone_back_to(self) -> None:
        listed = [entry("a", OLD, 1, COMPLETE), entry("b", OURS, 2, COMPLETE), entry("taken", OURS, 3, COMPLETE)]
        assert target(*listed) == (OLD, None)

    def test_what_the_same_task_run_has_submitted_in_doubt_did_not_serve_before(self) -> None:
        listed = [entry("a", OLD, 1, COMPLETE), entry("b", OURS, 2, COMPLETE), entry("taken", OURS, 3, BROKEN)]
        ours = Submission("taken", OURS, 3, baseline=Baseline(1, frozenset({"a"})))
        assert target(*listed, taken_back=ours) == (OLD, None)

    def test_a_rollout_of_another_client_that_has_not_ended_may_be_what_serves_next(self) -> None:
        with pytest.raises(UnexpectedResponse, match=r"deployment b .* came before and has not ended"):
            target(entry("a", OLD, 1, COMPLETE), entry("b", OTHER, 2, GOING), entry("taken", OURS, 3, BROKEN))

    def test_one_that_is_older_than_what_served_does_not_matter(self) -> None:
        listed = [entry("a", OTHER, 1, GOING), entry("b", OLD, 2, COMPLETE), entry("taken", OURS, 3, BROKEN)]
        assert target(*listed) == (OLD, None)

    def test_of_two_of_the_same_second_nobody_knows_which_served(self) -> None:
        with pytest.raises(UnexpectedResponse, match="of the same second"):
            target(entry("a", OLD, 1, COMPLETE), entry("b", OTHER, 1, COMPLETE), entry("taken", OURS, 3, BROKEN))

    def test_what_is_no_longer_listed_is_known_from_the_submission(self) -> None:
        ours = Submission("taken", OURS, 3, served_before=OLD)
        assert target(entry("taken", OURS, 3, COMPLETE), taken_back=ours) == (OLD, None)

    def test_nothing_served_before(self) -> None:
        assert target(entry("taken", OURS, 3, COMPLETE)) is None
        assert target(entry("taken", OURS, 3, BROKEN), taken_back=TAKEN._replace(served_before=OURS)) is None


class TestBaselineOfRollback:
    def test_what_is_not_listed_and_of_an_unknown_time_allows_nothing(self) -> None:
        assert baseline_of_rollback(read(BEFORE), TAKEN) is None

    def test_what_is_of_the_same_second_is_not_older_unless_it_was_seen_before(self) -> None:
        listed = read(entry("a", OLD, 3, COMPLETE), entry("taken", OURS, 3, BROKEN))
        unseen = baseline_of_rollback(listed, TAKEN)
        assert unseen is not None
        assert [unseen.covers(each) for each in listed if each.id == "a"] == [False]
        seen = baseline_of_rollback(listed, TAKEN._replace(baseline=Baseline(3, frozenset({"a"}))))
        assert seen is not None
        assert [seen.covers(each) for each in listed] == [True, True]

    def test_what_is_not_listed_replaces_what_is_older(self) -> None:
        baseline = baseline_of_rollback(read(BEFORE), TAKEN._replace(created=11))
        assert baseline is not None
        assert baseline.covers(read(BEFORE)[0])


def test_what_serves() -> None:
    assert what_serves(read()) is None
    assert what_serves(read(entry("a", OLD, 1, GOING))) is None
    complete = entry("a", OLD, 1, COMPLETE), entry("b", OTHER, 2, COMPLETE)
    serving = what_serves(read(*complete, entry("c", OURS, 3, GOING)))
    assert serving is not None
    assert serving.id == "b"
    both = r"deployment [ab] of .* and deployment [ab] of .* are of the same second\."
    with pytest.raises(UnexpectedResponse, match=rf"It is not known which version serves: {both}"):
        what_serves(read(entry("a", OLD, 1, COMPLETE), entry("b", OTHER, 1, COMPLETE)))


@pytest.mark.parametrize(
    "submission",
    [TAKEN, Submission("a", OURS, 3, Baseline(2, frozenset({"x", "y"})), OLD), SUBMITTED],
)
def test_a_submission_survives_as_a_string(submission: Submission) -> None:
    assert Submission.from_json(submission.to_json()) == submission


@pytest.mark.parametrize("text", [None, "", "{", "[]", "{}", "7", '{"deployment_id": "a"}', '{"baseline": 1}', 7])
def test_what_is_no_submission_is_none(text: object) -> None:
    assert Submission.from_json(text) is None


def test_what_was_submitted_is_known_although_the_service_has_set_its_clock_back() -> None:
    deployments = read(entry("a", OLD, 100, COMPLETE), entry("b", OURS, 99, GOING))
    decision = decide(deployments, OURS, baseline=Baseline(100, frozenset({"a"})), submitted=Submission("b", OURS, 99))
    assert decision == Decision(adopted="b")


def test_what_is_known_of_an_adopted_deployment_is_what_the_list_says() -> None:
    noted = Submission("a", OURS, 7, NOTHING, OTHER)
    listed = read(entry("a", OURS, 9, GOING), entry("b", OTHER, 3, COMPLETE))
    assert adopt("a", OURS, listed, noted) == Submission("a", OURS, 9, seen=True)
    assert adopt("a", OURS, listed, None) == Submission("a", OURS, 9, seen=True)


def test_what_is_known_of_an_adopted_deployment_that_is_not_listed_is_what_was_noted() -> None:
    noted = Submission("a", OURS, 7, NOTHING, OTHER)
    assert adopt("a", OURS, read(entry("b", OTHER, 3, COMPLETE)), noted) == noted
    assert adopt("a", OURS, [], None) == Submission("a", OURS)


@pytest.mark.parametrize(
    ("listed", "serves", "rolls_out"),
    [
        ([], "Nothing serves there now.", ""),
        (
            [entry("a", OURS, 1, GOING)],
            "Nothing serves there now.",
            f"Model version {OURS} still rolls out (deployment a).",
        ),
        ([entry("a", OURS, 1, COMPLETE)], f"Now {OURS} serves there.", ""),
        (
            [entry("a", OLD, 1, COMPLETE), entry("b", OTHER, 2, GOING), entry("c", OURS, 3, GOING)],
            f"Now {OLD} serves there.",
            f"Model version {OURS} still rolls out (deployment c).",
        ),
        ([entry("a", OTHER, 1, GOING), entry("b", OURS, 2, COMPLETE)], f"Now {OURS} serves there.", ""),
        ([entry("a", OURS, 1, COMPLETE), entry("b", OTHER, 1, COMPLETE)], "are of the same second.", ""),
    ],
)
def test_the_end_of_a_message_says_what_serves(listed: list[dict[str, Any]], serves: str, rolls_out: str) -> None:
    assert say_what_serves(read(*listed)).endswith(serves)
    assert say_what_rolls_out(read(*listed)) == rolls_out
