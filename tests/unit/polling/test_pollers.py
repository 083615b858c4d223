"""What one who waits concludes from each answer, on plain numbers: no clock, no network."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_cerebras.api.errors import (
    PERMANENT,
    CerebrasError,
    CerebrasTransportError,
    UnexpectedResponse,
    error_from_response,
)
from airflow_provider_cerebras.api.models import DeploymentRows, ModelVersion, ModelVersionRows
from airflow_provider_cerebras.polling.deployments import DeploymentPoller
from airflow_provider_cerebras.polling.outcome import Outcome, Status
from airflow_provider_cerebras.polling.reconnection import ConnectionNotFound
from airflow_provider_cerebras.polling.versions import ModelVersionPoller

if TYPE_CHECKING:
    from airflow_provider_cerebras.api.errors import CerebrasAPIError
    from airflow_provider_cerebras.polling.pollers import Poller

V1 = "orgs/my-org/models/gpt-oss-120b/versions/1"
BY_ALIAS = "orgs/my-org/models/gpt-oss-120b/versions/production"
DEPLOYMENT = "550e8400-e29b-41d4-a716-446655440000"
START = 1_736_700_000.0
DEADLINE = START + 1000


def version(sync_status: str | None = None, *, done: bool = False, name: str = V1, **fields: Any) -> ModelVersion:
    return ModelVersion.model_validate({"name": name, "done": done, "response": {"sync_status": sync_status}, **fields})


def endpoint(state: str | None = None, *, listed: bool = True, **entry: Any) -> DeploymentRows:
    others = [
        {"id": "older", "state": "complete", "created": 1},
        {"id": "newer", "state": "failed", "created": 9, "model": V1},
    ]
    ours = [{"id": DEPLOYMENT, "state": state, "created": 5, **entry}] if listed else []
    return DeploymentRows.model_validate({"name": "my-endpoint", "deployed_models": [others[0], *ours, others[1]]})


def answered(status: int, **headers: str) -> CerebrasAPIError:
    return error_from_response(
        method="GET",
        url="https://api.cerebras.ai/x",
        status_code=status,
        headers={name.replace("_", "-"): value for name, value in headers.items()},
        body=b'{"detail": "the server\'s words"}',
    )


def from_gateway(status: int) -> CerebrasAPIError:
    return error_from_response(
        method="GET",
        url="https://api.cerebras.ai/x",
        status_code=status,
        headers={"content-type": "text/html"},
        body=b"<h1>Attention Required!</h1>",
    )


def version_poller(deadline: float | None = DEADLINE, name: str = V1, *, is_first: bool = False) -> ModelVersionPoller:
    return ModelVersionPoller(name, deadline=deadline, started=START, is_first=is_first)


def deployment_poller(deadline: float | None = DEADLINE, **kwargs: Any) -> DeploymentPoller:
    return DeploymentPoller("my-endpoint", DEPLOYMENT, deadline=deadline, started=START, **kwargs)


# Each may pass, or is nothing that says how the work went.
NO_ANSWERS = [
    pytest.param(answered(408), id="408"),
    pytest.param(answered(409), id="409"),
    pytest.param(answered(429), id="429"),
    pytest.param(answered(500), id="500"),
    pytest.param(answered(502), id="502"),
    pytest.param(answered(503), id="503"),
    pytest.param(CerebrasTransportError("connection refused"), id="transport"),
    pytest.param(UnexpectedResponse("not as documented"), id="unexpected"),
    pytest.param(OSError("secrets backend"), id="connection cannot be read"),
    pytest.param(RuntimeError("anything"), id="anything"),
    *(pytest.param(from_gateway(status), id=f"{status} of a gateway") for status in (400, 401, 403, 404, 422)),
]
NEVER_AN_ANSWER = [
    pytest.param(answered(400), id="400"),
    pytest.param(answered(401), id="401"),
    pytest.param(answered(403), id="403"),
    pytest.param(answered(422), id="422"),
    pytest.param(ValueError("Connection 'x': is not defined."), id="connection"),
]
BOTH = [pytest.param(version_poller, id="version"), pytest.param(deployment_poller, id="deployment")]
PENDING = {ModelVersionPoller: version("in_progress"), DeploymentPoller: endpoint("in_progress")}
COMPLETE = {ModelVersionPoller: version("done", done=True), DeploymentPoller: endpoint("complete")}
both = pytest.mark.parametrize("make", BOTH)


@dataclass
class Looks:
    """Looks of one poller, by seconds after its start."""

    poller: Poller[Any]

    def apply(self, answer: Any, after: float) -> Outcome | None:
        return self.poller.apply(answer, START + after)

    def end(self, answer: Any, after: float) -> Outcome:
        outcome = self.apply(answer, after)
        assert outcome is not None
        assert outcome.ids == self.poller.ids
        return outcome


@both
class TestBothKinds:
    def test_what_is_under_way_goes_on(self, make: Any) -> None:
        looks = Looks(make())
        assert [looks.apply(PENDING[type(looks.poller)], after) for after in (0, 10, 500, 999)] == [None] * 4

    def test_what_has_ended_well_is_a_success(self, make: Any) -> None:
        looks = Looks(make())
        assert looks.end(COMPLETE[type(looks.poller)], 10).status is Status.SUCCEEDED

    @pytest.mark.parametrize("error", NO_ANSWERS)
    def test_cannot_ask_is_never_failed(self, make: Any, error: Exception) -> None:
        """Issues 67219 and 70398 of Airflow: a trigger's own trouble was reported as the failure of the job."""
        looks = Looks(make())
        assert [looks.apply(error, after) for after in (0, 100, 999)] == [None] * 3
        assert looks.end(COMPLETE[type(looks.poller)], 999.5).status is Status.SUCCEEDED

    @pytest.mark.parametrize("error", NO_ANSWERS)
    def test_cannot_ask_until_the_deadline_is_a_time_out_that_says_why(self, make: Any, error: Exception) -> None:
        looks = Looks(make())
        assert looks.apply(error, 999) is None
        outcome = looks.end(error, 1000)
        assert outcome.status is Status.TIMEOUT
        words = str(error)
        if isinstance(error, CerebrasError) and not isinstance(error, PERMANENT):
            words = error.without_hint().rstrip(".")
        assert outcome.message.endswith(f" (cannot be polled: {words}).")

    def test_where_there_is_no_connection_it_says_what_to_check(self, make: Any) -> None:
        error = CerebrasTransportError("GET http://localhost:1/x got no response: connection refused.")
        error.hint = "Check field host."
        outcome = Looks(make()).end(error, 1000)
        assert outcome.message.endswith(
            " (cannot be polled: GET http://localhost:1/x got no response: connection refused. Check field host)."
        )

    @pytest.mark.parametrize("error", NEVER_AN_ANSWER)
    def test_a_refusal_of_the_first_poll_ends_a_wait_at_once(self, make: Any, error: Exception) -> None:
        looks = Looks(make(is_first=True))
        outcome = looks.end(error, 0)
        assert outcome.status is Status.UNREACHABLE
        said = f"{looks.poller.subject} cannot be polled, and trying again will not help."
        assert outcome.message == f"{said} {error}"

    @pytest.mark.parametrize("status", [401, 403, 404])
    def test_but_not_one_of_a_gateway(self, make: Any, status: int) -> None:
        assert Looks(make(is_first=True)).apply(from_gateway(status), 0) is None

    @pytest.mark.parametrize("error", NEVER_AN_ANSWER)
    def test_a_refusal_later_on_has_to_come_three_times_over_a_minute(self, make: Any, error: Exception) -> None:
        looks = Looks(make())
        looks.apply(PENDING[type(looks.poller)], 0)
        assert [looks.apply(error, after) for after in (100, 101, 102, 159.9)] == [None] * 4
        outcome = looks.end(error, 160)
        assert outcome.status is Status.UNREACHABLE
        assert "5 polls were refused, and none succeeded in between." in outcome.message
        assert str(error) in outcome.message

    def test_a_key_of_a_connection_that_is_gone_is_not_all_that_is_wrong(self, make: Any) -> None:
        looks = Looks(make())
        looks.apply(PENDING[type(looks.poller)], 0)
        missing = ConnectionNotFound("Connection 'mine' was not found on host worker-1.")
        assert [
            looks.apply(each, after) for each, after in ((answered(401), 1), (missing, 2), (answered(401), 30))
        ] == [None] * 3
        assert looks.end(answered(401), 70).message.endswith(f" {missing}")

        looks = Looks(make(None))
        pending = PENDING[type(looks.poller)]
        assert [looks.apply(each, after) for each, after in ((missing, 0), (pending, 1), (answered(401), 2))] == [
            None
        ] * 3
        assert looks.apply(answered(401), 30) is None
        assert str(missing) not in looks.end(answered(401), 70).message

    @pytest.mark.parametrize("error", NEVER_AN_ANSWER)
    def test_two_refusals_are_none_however_far_apart(self, make: Any, error: Exception) -> None:
        looks = Looks(make(None))
        assert [looks.apply(error, after) for after in (0, 5000)] == [None] * 2
        assert looks.apply(PENDING[type(looks.poller)], 6000) is None
        assert [looks.apply(error, after) for after in (7000, 8000)] == [None] * 2

    @pytest.mark.parametrize("error", NEVER_AN_ANSWER)
    def test_what_says_nothing_neither_counts_nor_interrupts(self, make: Any, error: Exception) -> None:
        looks = Looks(make())
        errors = [error, answered(503), from_gateway(403), error, OSError("secrets backend")]
        assert [looks.apply(each, after) for after, each in enumerate(errors)] == [None] * 5
        assert looks.end(error, 100).status is Status.UNREACHABLE

    @pytest.mark.parametrize("error", NEVER_AN_ANSWER)
    def test_another_poller_of_the_same_wait_goes_on_counting(self, make: Any, error: Exception) -> None:
        first, second = Looks(make()), Looks(make())
        assert [first.apply(error, after) for after in (0, 1)] == [None] * 2
        second.poller.recall(json.loads(json.dumps(first.poller.remember())))
        assert second.end(error, 60).status is Status.UNREACHABLE

    @pytest.mark.parametrize("remembered", [{}, {"refusals": None, "misses": "x", "seen": "yes"}, {"refusals": [9]}])
    def test_what_is_remembered_in_another_form_is_passed_over(self, make: Any, remembered: Any) -> None:
        looks = Looks(make())
        looks.poller.recall(remembered)
        assert looks.poller.remember() == {}

    def test_a_deadline_that_has_passed_still_allows_one_look(self, make: Any) -> None:
        looks = Looks(make())
        assert looks.end(COMPLETE[type(looks.poller)], 5000).status is Status.SUCCEEDED

    def test_what_is_under_way_after_the_deadline_is_a_time_out(self, make: Any) -> None:
        looks = Looks(make())
        outcome = looks.end(PENDING[type(looks.poller)], 1000)
        assert outcome.status is Status.TIMEOUT
        assert "2025-01-12T16:56:40+00:00 (" in outcome.message
        assert "'in_progress'" in outcome.message

    def test_without_a_deadline_there_is_no_time_out(self, make: Any) -> None:
        looks = Looks(make(None))
        assert looks.apply(PENDING[type(looks.poller)], 10.0**9) is None

    def test_looks_without_an_answer_are_counted_until_there_is_one(self, make: Any) -> None:
        looks = Looks(make())
        counts = []
        for answer in (answered(503), answered(500), PENDING[type(looks.poller)], answered(500)):
            looks.apply(answer, 1)
            counts.append(looks.poller.failures)
        assert counts == [1, 2, 0, 1]

    def test_what_the_service_asks_to_wait_is_kept_for_the_next_look_alone(self, make: Any) -> None:
        looks = Looks(make())
        asked = []
        for answer in (answered(429, retry_after="40"), answered(503), answered(503, retry_after="5")):
            looks.apply(answer, 1)
            asked.append(looks.poller.retry_after)
        looks.apply(PENDING[type(looks.poller)], 2)
        assert [*asked, looks.poller.retry_after] == [40, 0, 5, 0]

    def test_an_outcome_travels_as_plain_json(self, make: Any) -> None:
        looks = Looks(make())
        outcome = looks.end(COMPLETE[type(looks.poller)], 1)
        event = json.loads(json.dumps(outcome.to_event()))
        assert event["status"] == "succeeded"
        assert Outcome.from_event(event, *outcome.ids) == outcome


class TestConnectionNotFound:
    """Airflow does not say whether it is not defined or a secrets backend fails."""

    @both
    def test_it_ends_the_wait_after_ten_minutes_on_end(self, make: Any) -> None:
        looks = Looks(make(None))
        missing = ConnectionNotFound("Connection 'mine' was not found on host worker-1")
        assert [looks.apply(missing, after) for after in (0, 300, 599)] == [None] * 3
        outcome = looks.end(missing, 600)
        assert outcome.status is Status.UNREACHABLE
        assert outcome.message == (
            f"{looks.poller.subject} cannot be polled. For 600 s, at 4 polls in a row, Airflow has not found the "
            f"connection in the environment, the secrets backends or its database. {missing}"
        )

    @both
    @pytest.mark.parametrize("between", ["usable", "backend"])
    def test_anything_else_in_between_begins_it_again(self, make: Any, between: str) -> None:
        looks = Looks(make(None))
        missing = ConnectionNotFound("not found")
        other = PENDING[type(looks.poller)] if between == "usable" else OSError("the secrets backend is down")
        assert [looks.apply(missing, after) for after in (0, 300)] == [None] * 2
        assert looks.apply(other, 400) is None
        assert [looks.apply(missing, after) for after in (601, 700, 1200)] == [None] * 3
        assert looks.end(missing, 1201).status is Status.UNREACHABLE


class TestModelVersions:
    @pytest.mark.parametrize(
        ("answer", "words"),
        [
            (version("failed", done=True), "'failed'"),
            (version("FAILED"), "'FAILED'"),
            (version("in_progress", done=True), "'in_progress'"),
            (
                version("in_progress", error={"message": "Access Denied by bucket policy"}),
                "Access Denied by bucket policy",
            ),
            (version(done=True, error="no config.json"), "no config.json"),
        ],
    )
    def test_a_failure_carries_the_server_s_words_and_what_can_be_done(self, answer: ModelVersion, words: str) -> None:
        outcome = Looks(version_poller()).end(answer, 5)
        assert outcome.status is Status.FAILED
        assert words in outcome.message
        assert V1 in outcome.message
        assert "bucket policy" in outcome.message

    def test_an_alias_is_followed_by_its_number_from_the_first_answer_on(self) -> None:
        looks = Looks(version_poller(name=BY_ALIAS))
        paths = [looks.poller.call.path]
        looks.apply(version("queued"), 0)
        paths.append(looks.poller.call.path)
        outcome = looks.end(version("done", done=True), 5)

        assert paths == [f"/management/v1/{BY_ALIAS}", f"/management/v1/{V1}"]
        assert outcome.ids == {"model_version": V1}
        assert V1 in outcome.message

    def test_an_alias_of_what_is_synced_already_stands_for_its_number(self) -> None:
        assert Looks(version_poller(name=BY_ALIAS)).end(version("done", done=True), 0).ids == {"model_version": V1}

    def test_an_alias_goes_on_being_asked_for_while_there_is_no_answer(self) -> None:
        looks = Looks(version_poller(name=BY_ALIAS))
        looks.apply(answered(503), 0)
        assert looks.poller.call.path == f"/management/v1/{BY_ALIAS}"

    @pytest.mark.parametrize("name", ["operations/123", V1.replace("my-org", "other"), V1 + "1"])
    def test_a_response_about_something_else_is_none(self, name: str) -> None:
        looks = Looks(version_poller())
        assert looks.apply(version("failed", done=True, name=name), 0) is None
        assert looks.poller.failures == 1
        assert name in looks.poller.progress
        assert looks.poller.call.path == f"/management/v1/{V1}"
        assert looks.poller.ids == {"model_version": V1}

    @pytest.mark.parametrize("name", ["operations/123", BY_ALIAS.replace("gpt-oss-120b", "other")])
    def test_an_alias_is_not_taken_for_something_else(self, name: str) -> None:
        looks = Looks(version_poller(name=BY_ALIAS))
        assert looks.apply(version("failed", done=True, name=name), 0) is None
        assert looks.poller.ids == {"model_version": BY_ALIAS}

    @pytest.mark.parametrize("misses", [(0, 1, 59.9), (0, 5000), (900,)])
    def test_not_found_may_mean_not_visible_yet_or_no_longer(self, misses: tuple[float, ...]) -> None:
        looks = Looks(version_poller(None, is_first=True))
        assert [looks.apply(answered(404), after) for after in misses] == [None] * len(misses)
        assert looks.end(version("done", done=True), 5001).status is Status.SUCCEEDED

    def test_not_found_three_times_over_a_minute_is_lost(self) -> None:
        looks = Looks(version_poller())
        looks.apply(version("in_progress"), 50)
        assert [looks.apply(answered(404), after) for after in (100, 110)] == [None] * 2
        outcome = looks.end(answered(404), 160)
        assert outcome.status is Status.LOST
        assert "was it deleted?" in outcome.message

    def test_one_that_is_found_in_between_is_not_lost(self) -> None:
        looks = Looks(version_poller())
        missed, found = answered(404), version("in_progress")
        responses = [missed, missed, found, missed, missed, found]
        assert [looks.apply(each, 100 * after) for after, each in enumerate(responses)] == [None] * 6

    @pytest.mark.parametrize(("between", "status"), [(403, None), (503, Status.LOST)])
    def test_a_refusal_in_between_begins_the_count_again(self, between: int, status: Status | None) -> None:
        looks = Looks(version_poller())
        outcomes = [looks.apply(answered(each), 100 * after) for after, each in enumerate((404, 404, between, 404))]
        assert outcomes[:3] == [None] * 3
        assert (outcomes[3] and outcomes[3].status) == status

    def test_another_poller_goes_on_counting_misses(self) -> None:
        first, second = Looks(version_poller()), Looks(version_poller())
        assert [first.apply(answered(404), after) for after in (0, 1)] == [None] * 2
        second.poller.recall(json.loads(json.dumps(first.poller.remember())))
        assert second.end(answered(404), 60).status is Status.LOST

    def test_not_found_past_the_deadline_is_a_time_out(self) -> None:
        assert Looks(version_poller(START + 10)).end(answered(404), 20).status is Status.TIMEOUT

    def test_a_word_of_success_that_is_not_documented_is_in_the_message(self) -> None:
        outcome = Looks(version_poller()).end(version("completed", done=True), 5)
        assert outcome.status is Status.SUCCEEDED
        assert "'completed', a word that this provider does not know" in outcome.message

    @pytest.mark.parametrize("name", ["", "production", "orgs/../models/m/versions/1", "orgs/o/models/m/versions/X"])
    def test_a_name_that_is_none_is_refused_at_once(self, name: str) -> None:
        with pytest.raises(ValueError, match=r"^model_version: "):
            version_poller(name=name)


class TestListedVersions:
    """One who waits together with others is told the whole list, and concludes from its own row as from an answer."""

    @staticmethod
    def listed(*rows: Any) -> ModelVersionRows:
        return ModelVersionRows.model_validate({"model_versions": list(rows)})

    @staticmethod
    def row(number: int, word: str, *aliases: str, done: bool = False) -> dict[str, Any]:
        details = {"sync_status": word, "version_aliases": list(aliases)}
        return {"name": V1.removesuffix("1") + str(number), "done": done, "response": details}

    @pytest.mark.parametrize(("word", "status"), [("done", Status.SUCCEEDED), ("failed", Status.FAILED)])
    def test_its_own_row_says_how_it_ended(self, word: str, status: Status) -> None:
        answer = self.listed(self.row(2, "in_progress"), self.row(1, word, done=True), self.row(11, "queued"))
        assert Looks(version_poller()).end(answer, 5).status is status

    def test_the_ends_of_others_are_not_its_own(self) -> None:
        looks = Looks(version_poller())
        answer = self.listed(
            self.row(2, "failed", done=True), self.row(1, "in_progress"), self.row(11, "done", done=True)
        )
        assert looks.apply(answer, 5) is None
        assert "'in_progress'" in looks.poller.progress

    def test_an_alias_is_found_with_whoever_holds_it(self) -> None:
        looks = Looks(version_poller(name=BY_ALIAS))
        looks.apply(self.listed(self.row(2, "queued", "staging"), self.row(1, "queued", "v1", "production")), 0)
        assert looks.poller.ids == {"model_version": V1}

    def test_an_alias_that_moves_afterwards_changes_nothing(self) -> None:
        looks = Looks(version_poller(name=BY_ALIAS))
        looks.apply(self.listed(self.row(1, "queued", "production"), self.row(2, "queued")), 0)
        moved = self.listed(self.row(1, "done", done=True), self.row(2, "queued", "production"))
        assert looks.end(moved, 5).ids == {"model_version": V1}

    def test_an_alias_is_no_number(self) -> None:
        assert Looks(version_poller()).apply(self.listed(self.row(2, "done", "1", done=True)), 5) is None

    @pytest.mark.parametrize("name", [V1, BY_ALIAS])
    @pytest.mark.parametrize("after", [0, 60, 5000])
    def test_a_list_without_it_is_no_verdict_and_no_time_out(self, name: str, after: float) -> None:
        looks = Looks(version_poller(name=name))
        for _ in range(10):
            assert looks.apply(self.listed(self.row(2, "queued")), after) is None
        assert looks.poller.needs_own_call
        assert looks.poller.failures == 0
        assert looks.end(version("done", done=True), after).status is Status.SUCCEEDED

    @pytest.mark.parametrize(
        "row", [{"done": "who knows"}, {"done": True, "response": {"sync_status": {}}}, {"done": True, "response": 7}]
    )
    def test_its_own_row_that_leaves_open_how_far_it_is_goes_on(self, row: dict[str, Any]) -> None:
        looks = Looks(version_poller())
        assert looks.apply(self.listed({"name": V1, **row}), 500) is None
        assert looks.poller.failures == 0

    def test_a_row_that_is_found_needs_no_own_call(self) -> None:
        looks = Looks(version_poller())
        looks.apply(self.listed(), 0)
        looks.apply(self.listed(self.row(1, "queued")), 1)
        assert not looks.poller.needs_own_call

    def test_a_row_that_is_not_as_documented_is_looked_into_by_nobody_else(self) -> None:
        answer = self.listed({"name": f"{V1}2", "done": "who knows"}, self.row(1, "done", done=True))
        assert Looks(version_poller()).end(answer, 5).status is Status.SUCCEEDED

    @pytest.mark.parametrize("row", [None, 7, {}, {"name": None}, {"name": [V1]}, {"name": {}}], ids=repr)
    def test_a_row_that_names_no_version_may_be_that_of_one_that_is_not_listed_otherwise(self, row: object) -> None:
        looks = Looks(version_poller())
        assert looks.apply(self.listed(row), 500) is None
        assert looks.end(self.listed(row, self.row(1, "done", done=True)), 501).status is Status.SUCCEEDED

    @pytest.mark.parametrize("aliases", [None, 7, "production", {"production": 1}, [["production"]]], ids=repr)
    def test_aliases_of_another_kind_are_held_by_nobody(self, aliases: object) -> None:
        odd = {"name": V1, "done": True, "response": {"sync_status": "done", "version_aliases": aliases}}
        answer = self.listed(odd, self.row(2, "done", "production", done=True))
        assert Looks(version_poller(name=BY_ALIAS)).end(answer, 5).ids == {"model_version": V1.removesuffix("1") + "2"}


class TestDeployments:
    SUBJECT = f"Deployment {DEPLOYMENT} on endpoint my-endpoint"

    def test_an_endpoint_that_is_not_found_is_a_refusal_since_it_is_not_made_here(self) -> None:
        assert Looks(deployment_poller(is_first=True)).end(answered(404), 0).status is Status.UNREACHABLE
        looks = Looks(deployment_poller())
        assert [looks.apply(answered(404), after) for after in (0, 1)] == [None] * 2
        assert looks.end(answered(404), 60).status is Status.UNREACHABLE

    def test_one_that_another_poller_has_seen_is_lost_when_it_is_gone(self) -> None:
        looks = Looks(deployment_poller(seen=True))
        gone = endpoint(listed=False)
        assert [looks.apply(gone, after) for after in (0, 1)] == [None] * 2
        outcome = looks.end(gone, 2)
        assert (outcome.status, outcome.seen) == (Status.LOST, True)
        assert outcome.ids == {"endpoint_id": "my-endpoint", "deployment_id": DEPLOYMENT}

    def test_one_that_was_never_listed_while_a_newer_one_is_is_lost(self) -> None:
        looks = Looks(deployment_poller(submitted=8))
        gone = endpoint(listed=False)
        assert [looks.apply(gone, after) for after in (0, 1)] == [None] * 2
        outcome = looks.end(gone, 2)
        assert outcome.status is Status.LOST
        assert outcome.message == f"{self.SUBJECT} is not listed there; deployment newer of {V1} is newer."

    def test_one_that_leaves_the_list_to_a_newer_one_is_lost(self) -> None:
        looks = Looks(deployment_poller(submitted=8, seen=True))
        gone = endpoint(listed=False)
        assert [looks.apply(gone, after) for after in (0, 0)] == [None] * 2
        outcome = looks.end(gone, 0)
        assert outcome.message == f"{self.SUBJECT} is no longer listed there; deployment newer of {V1} is newer."

    def test_one_that_rolled_out_is_a_success_that_says_so(self) -> None:
        assert Looks(deployment_poller()).end(endpoint("complete"), 5).message == f"{self.SUBJECT} is complete."

    @pytest.mark.parametrize("submitted", [9, 10, None])
    def test_what_is_not_known_to_be_newer_supersedes_nothing(self, submitted: float | None) -> None:
        looks = Looks(deployment_poller(submitted=submitted))
        assert [looks.apply(endpoint(listed=False), after) for after in range(10)] == [None] * 10

    @pytest.mark.parametrize("created", ["2026-01-01", None, [], True, float("nan")])
    def test_a_time_of_another_type_supersedes_nothing(self, created: object) -> None:
        looks = Looks(deployment_poller(submitted=8))
        rows = DeploymentRows.model_validate({"name": "e", "deployed_models": [{"id": "x", "created": created}]})
        assert [looks.apply(rows, after) for after in range(5)] == [None] * 5

    @pytest.mark.parametrize("row", ["newer", 9, None, ["created", 9]])
    def test_a_row_of_another_type_supersedes_nothing(self, row: object) -> None:
        looks = Looks(deployment_poller(submitted=8))
        rows = DeploymentRows.model_validate({"name": "e", "deployed_models": [{"id": "older"}, row]})
        assert [looks.apply(rows, after) for after in range(5)] == [None] * 5

    def test_another_poller_knows_what_this_one_has_seen(self) -> None:
        first, second = Looks(deployment_poller()), Looks(deployment_poller())
        first.apply(endpoint("in_progress"), 0)
        assert [first.apply(endpoint(listed=False), after) for after in (1, 2)] == [None] * 2
        second.poller.recall(json.loads(json.dumps(first.poller.remember())))
        assert second.end(endpoint(listed=False), 3).status is Status.LOST

    def test_another_poller_goes_on_from_a_single_miss_too(self) -> None:
        first, second = Looks(deployment_poller(seen=True)), Looks(deployment_poller(seen=True))
        gone = endpoint(listed=False)
        assert first.apply(gone, 0) is None
        second.poller.recall(first.poller.remember())
        assert second.apply(gone, 1) is None
        assert second.end(gone, 2).status is Status.LOST

    def test_a_time_out_without_any_response_does_not_say_that_it_was_never_listed(self) -> None:
        assert "never listed" not in Looks(deployment_poller()).end(answered(503), 1000).message

    @pytest.mark.parametrize("state", ["failed", "Error", "CANCELLED"])
    def test_a_failure_carries_the_server_s_words(self, state: str) -> None:
        outcome = Looks(deployment_poller()).end(endpoint(state, error={"message": "out of capacity"}), 5)
        assert outcome.status is Status.FAILED
        assert repr(state) in outcome.message
        assert "out of capacity" in outcome.message
        assert DEPLOYMENT in outcome.message
        assert outcome.ids == {"endpoint_id": "my-endpoint", "deployment_id": DEPLOYMENT}

    def test_one_that_was_never_listed_may_be_queued_until_the_deadline(self) -> None:
        looks = Looks(deployment_poller())
        assert [looks.apply(endpoint(listed=False), after) for after in range(0, 1000, 10)] == [None] * 100

    def test_one_that_was_never_listed_is_a_time_out_that_says_so(self) -> None:
        outcome = Looks(deployment_poller()).end(endpoint(listed=False), 1000)
        assert outcome.status is Status.TIMEOUT
        assert "never listed it" in outcome.message
        assert "queued behind another rollout" in outcome.message

    def test_a_time_out_of_one_that_was_listed_does_not_say_that_it_was_not(self) -> None:
        assert "never listed" not in Looks(deployment_poller()).end(endpoint("in_progress"), 1000).message

    def test_one_that_was_never_listed_may_still_succeed(self) -> None:
        looks = Looks(deployment_poller())
        for after in range(10):
            looks.apply(endpoint(listed=False), after)
        assert looks.end(endpoint("complete"), 20).status is Status.SUCCEEDED

    def test_one_that_was_listed_and_is_gone_three_times_in_a_row_is_lost(self) -> None:
        looks = Looks(deployment_poller())
        looks.apply(endpoint("in_progress"), 0)
        assert looks.apply(endpoint(listed=False), 1) is None
        assert looks.apply(endpoint(listed=False), 2) is None
        outcome = looks.end(endpoint(listed=False), 3)
        assert outcome.status is Status.LOST
        assert outcome.message == (
            f"{self.SUBJECT} is no longer listed there; another deployment may have superseded it."
        )

    def test_one_that_is_gone_twice_and_back_is_not_lost(self) -> None:
        looks = Looks(deployment_poller())
        gone, back = endpoint(listed=False), endpoint("in_progress")
        assert [looks.apply(each, 1) for each in (back, gone, gone, back, gone, gone, back)] == [None] * 7

    def test_a_look_without_an_answer_does_not_count_as_gone(self) -> None:
        looks = Looks(deployment_poller())
        gone = endpoint(listed=False)
        answers = [endpoint("in_progress"), gone, answered(503), answered(503), gone, answered(500)]
        assert [looks.apply(each, 1) for each in answers] == [None] * 6
        assert looks.end(gone, 2).status is Status.LOST

    @pytest.mark.parametrize(
        ("endpoint_id", "deployment_id", "argument"),
        [
            ("", DEPLOYMENT, "endpoint_id"),
            ("..", DEPLOYMENT, "endpoint_id"),
            ("e", "", "deployment_id"),
            ("e", "a b", "deployment_id"),
        ],
    )
    def test_ids_that_are_none_are_refused_at_once(self, endpoint_id: str, deployment_id: str, argument: str) -> None:
        with pytest.raises(ValueError, match=rf"^{argument}: "):
            DeploymentPoller(endpoint_id, deployment_id, deadline=None, started=START)


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (None, "has no status, message, model_version"),
        ("succeeded", "has no status"),
        ({}, "has no status, message, model_version"),
        ({"status": "succeeded", "message": "m"}, "has no model_version"),
        ({"status": "succeeded", "message": None, "model_version": V1}, "has no message"),
        ({"status": 1, "message": "m", "model_version": V1}, "has no status"),
        ({"status": "done", "message": "m", "model_version": V1}, "unknown status 'done'"),
    ],
)
def test_an_event_that_is_not_as_agreed_is_refused(event: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Outcome.from_event(event, "model_version")


@given(
    st.builds(
        Outcome,
        st.sampled_from(Status),
        st.text(),
        st.dictionaries(st.sampled_from(["endpoint_id", "deployment_id", "model_version"]), st.text(), min_size=1),
        st.booleans(),
    )
)
def test_an_outcome_is_the_same_after_its_way_as_an_event(outcome: Outcome) -> None:
    assert Outcome.from_event(json.loads(json.dumps(outcome.to_event())), *outcome.ids) == outcome


def test_an_event_may_hold_more_than_was_agreed() -> None:
    event = {"status": "failed", "message": "m", "model_version": V1, "later_addition": [1]}
    assert Outcome.from_event(event, "model_version") == Outcome(Status.FAILED, "m", {"model_version": V1})


@pytest.mark.parametrize(("sent", "read"), [(True, True), (False, False), (None, False), ("yes", False)])
def test_an_event_says_whether_the_service_has_listed_it(sent: object, read: bool) -> None:
    event = {"status": "failed", "message": "m", "model_version": V1, "seen": sent}
    assert Outcome.from_event(event, "model_version").seen is read
