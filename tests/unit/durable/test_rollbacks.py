"""A rollback goes back to what served before, once for each task run, and over nothing of another client's."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from airflow_provider_cerebras.api.errors import ServerError, UnexpectedResponse
from airflow_provider_cerebras.durable.rollbacks import Rollback, RolledBack, remove_mark
from airflow_provider_cerebras.durable.rollout_steps import Submission
from airflow_provider_cerebras.emulator.api.operations import OperationName
from airflow_provider_cerebras.exceptions import NothingToRollBackTo, RollbackRefused
from tests.unit.durable.world import (
    CLEARED,
    ENDPOINT,
    FIRST,
    RETRY,
    STRANGER,
    URI,
    Attempt,
    Mishap,
    Service,
    Store,
    broken,
    memory_of,
    name,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_cerebras.durable.identity import Identity

ROLLOUT = 200.0
DEPLOY = OperationName.DEPLOY_MODEL
PATCH = OperationName.UPDATE_MODEL_VERSION_ALIASES
LOOK = OperationName.GET_ENDPOINT
GET = OperationName.GET_MODEL_VERSION


def serve(service: Service, number: int, *, fail: bool = False) -> str:
    """Let a version come to serve, or fail to; gives the deployment."""
    while number not in service.aliases():
        service.upload(URI)
    made = service.deploy(name(number), fail=fail)
    service.now += ROLLOUT
    return made


@pytest.fixture
def service(new_service: Callable[..., Service]) -> Service:
    """Two versions have served, the second one does."""
    service = new_service(sync_seconds=0, rollout_seconds=ROLLOUT)
    serve(service, 1)
    serve(service, 2)
    return service


@pytest.fixture(params=[True, False], ids=["3.3 and later", "below 3.3"])
def store(request: pytest.FixtureRequest) -> Store | None:
    return Store() if request.param else None


def roll_back(
    service: Service,
    *mishaps: Mishap,
    identity: Identity = FIRST,
    taken_back: Submission | None = None,
    to: str | None = None,
    store: Store | None = None,
    run_started: float | None = None,
) -> tuple[RolledBack, Attempt]:
    attempt = Attempt(service, list(mishaps), store)
    with closing(attempt.client()) as client:
        rollback = Rollback(
            attempt.rollout(client),
            taken_back=taken_back,
            to=to,
            task_state=memory_of(store, "cerebras_rollback", identity.alias),
            identity=identity,
            run_started=run_started,
        )
        return rollback.run(), attempt


def listed(service: Service) -> list[dict[str, Any]]:
    """What the endpoint lists, oldest first."""
    entries: list[dict[str, Any]] = service.api("GET", f"/endpoints/{ENDPOINT}")["deployed_models"]
    return entries


def listing(*entries: dict[str, Any]) -> Mishap:
    """Let the endpoint list these alone, when it is first asked."""
    return Mishap(LOOK, httpx.Response(200, json={"name": ENDPOINT, "deployed_models": list(entries)}))


def sent(attempt: Attempt) -> list[str]:
    return [operation for operation, _, _ in attempt.network.sent]


def newest(service: Service) -> str:
    return service.deployments()[-1][1]


def unmark(service: Service, *mishaps: Mishap, identity: Identity = FIRST) -> Attempt:
    attempt = Attempt(service, list(mishaps))
    with closing(attempt.client()) as client:
        remove_mark(attempt.rollout(client), identity)
    return attempt


class TestTarget:
    def test_what_served_before_the_newest_deployment(self, service: Service, store: Store | None) -> None:
        made, _ = roll_back(service, store=store)
        assert (made.submission.deployment_id, made.model_version) == service.deployments()[-1]
        assert made.model_version == name(1)
        assert not made.has_served

    def test_before_a_named_deployment(self, service: Service) -> None:
        taken = serve(service, 3, fail=True)
        assert roll_back(service, taken_back=Submission(taken))[0].model_version == name(2)

    def test_to_a_named_version(self, service: Service) -> None:
        serve(service, 3)
        taken = service.deployments()[-1][0]
        assert roll_back(service, taken_back=Submission(taken), to=name(1))[0].model_version == name(1)

    def test_nothing_has_served_before(self, new_service: Callable[..., Service], store: Store | None) -> None:
        service = new_service(sync_seconds=0, rollout_seconds=ROLLOUT)
        with pytest.raises(NothingToRollBackTo):
            roll_back(service, store=store)
        serve(service, 1)
        with pytest.raises(NothingToRollBackTo):
            roll_back(service, store=store)
        assert len(service.deployments()) == 1

    def test_a_version_that_has_served_all_the_time_is_not_gone_back_from(self, service: Service) -> None:
        """2 serves, 3 failed, and 2 fails when it is deployed again: 1 is not what served before."""
        serving = service.deployments()[-1][0]
        serve(service, 3, fail=True)
        taken = serve(service, 2, fail=True)
        before = service.deployments()
        made, _ = roll_back(service, taken_back=Submission(taken))
        assert made == RolledBack(
            Submission(serving, name(2), created=made.submission.created, seen=True), name(2), has_served=True
        )
        assert made.submission.created == 1_000_000 + ROLLOUT
        assert service.deployments() == before

    def test_an_unknown_outcome_is_looked_for(self, service: Service) -> None:
        made, attempt = roll_back(service, Mishap(DEPLOY, broken("timeout")))
        assert (made.submission.deployment_id, made.model_version) == service.deployments()[-1]
        assert attempt.network.count(str(DEPLOY)) == 1


class TestRetry:
    def test_it_does_not_roll_the_rollback_back(self, service: Service, store: Store | None) -> None:
        began = service.now
        first, _ = roll_back(service, store=store)
        service.now += ROLLOUT
        retry, _ = roll_back(service, identity=RETRY, store=store, run_started=began)
        assert retry.submission.deployment_id == first.submission.deployment_id
        assert retry.model_version == first.model_version
        assert len(service.deployments()) == 3

    def test_what_is_noted_is_what_a_retry_goes_by(self, service: Service) -> None:
        store, at = Store(), service.now
        newest_id, newest_version = service.deployments()[-1]
        made, _ = roll_back(service, store=store)
        (notes,) = store.content.values()
        taken_back = Submission.from_json(notes["taken_back"])
        assert taken_back is not None
        assert (taken_back.deployment_id, taken_back.model_version) == (newest_id, newest_version)
        assert notes["target"] == name(1)
        assert notes["deployment_id"] == made.submission.deployment_id
        assert Submission.from_json(notes["submission"]) == made.submission
        service.now += ROLLOUT
        retry, _ = roll_back(service, identity=RETRY, store=store, run_started=at)
        assert retry == RolledBack(made.submission._replace(seen=True), name(1))

    def test_the_note_counts_more_than_when_the_run_began(self, service: Service) -> None:
        """The clock of a scheduler may be slow: by it, all that is listed came since."""
        store = Store()
        with pytest.raises(KeyboardInterrupt):
            roll_back(service, Mishap(DEPLOY, KeyboardInterrupt(), worked=False), store=store)
        made, _ = roll_back(service, identity=RETRY, store=store, run_started=service.now - 10 * ROLLOUT)
        assert (made.submission.deployment_id, made.model_version) == service.deployments()[-1]
        assert made.model_version == name(1)

    def test_another_of_the_same_second_that_was_there_is_no_reason_to_refuse(
        self, new_service: Callable[..., Service]
    ) -> None:
        service, store = new_service(sync_seconds=0, rollout_seconds=ROLLOUT), Store()
        serve(service, 1)
        service.deploy(service.upload(URI))
        serve(service, 2)
        assert len({each["created"] for each in listed(service)[1:]}) == 1
        killed = Mishap(DEPLOY, KeyboardInterrupt(), worked=False)
        with pytest.raises(KeyboardInterrupt):
            roll_back(service, killed, store=store)
        made, _ = roll_back(service, identity=RETRY, store=store, run_started=service.now)
        assert [model for _, model in service.deployments()] == [name(1), name(2), name(2), made.model_version]
        assert made.model_version == name(1)

    def test_what_is_taken_back_is_noted_with_its_time(self, service: Service) -> None:
        """One that came later and was not listed is not replaced, although it came before the run began."""
        service.now += 1
        serve(service, 3)
        first, second, later = listed(service)
        store, began = Store(), service.now
        killed = Mishap(DEPLOY, KeyboardInterrupt(), worked=False)
        with pytest.raises(KeyboardInterrupt):
            roll_back(service, listing(first, second), killed, store=store, run_started=began)
        with pytest.raises(RollbackRefused, match=f"{second['id']} is no longer the newest.*{later['id']}"):
            roll_back(service, listing(first, later), identity=RETRY, store=store, run_started=began)
        assert listed(service) == [first, second, later]

    def test_it_goes_by_its_choice_although_what_served_before_is_no_longer_listed(
        self, service: Service, store: Store | None
    ) -> None:
        with pytest.raises(KeyboardInterrupt):
            roll_back(service, Mishap(DEPLOY, KeyboardInterrupt(), worked=False), store=store)
        _, taken = listed(service)
        made, _ = roll_back(service, listing(taken), identity=RETRY, store=store, run_started=service.now)
        assert newest(service) == made.model_version == name(1)

    def test_without_a_note_and_a_mark_it_goes_by_what_was_there_when_the_run_began(self, service: Service) -> None:
        began = service.now
        first, _ = roll_back(service, Mishap(PATCH, httpx.Response(403), worked=False))
        service.now += ROLLOUT
        retry, _ = roll_back(service, identity=RETRY, run_started=began)
        assert retry.submission.deployment_id == first.submission.deployment_id
        assert len(service.deployments()) == 3

    def test_a_mark_that_cannot_be_read_is_no_reason_to_fail(self, service: Service) -> None:
        with pytest.raises(KeyboardInterrupt):
            roll_back(service, Mishap(DEPLOY, KeyboardInterrupt(), worked=False))
        silent = Mishap(GET, broken("503"), worked=False, times=99)
        made, _ = roll_back(service, silent, identity=RETRY, run_started=service.now)
        assert newest(service) == made.model_version == name(1)

    def test_a_mark_tells_what_is_its_own_where_nothing_is_from_before_the_run(self, service: Service) -> None:
        began = service.now - 10 * ROLLOUT
        first, _ = roll_back(service)
        service.now += ROLLOUT
        retry, _ = roll_back(service, identity=RETRY, run_started=began)
        assert retry.submission.deployment_id == first.submission.deployment_id
        assert len(service.deployments()) == 3

    def test_nothing_is_listed_any_more(self, new_service: Callable[..., Service], store: Store | None) -> None:
        service = new_service()
        taken = Submission("dropped", name(3), created=int(service.now))
        with pytest.raises(NothingToRollBackTo):
            roll_back(service, taken_back=taken, identity=RETRY, store=store, run_started=service.now)

    def test_its_own_that_is_queued_where_it_is_not_listed_is_known_from_the_note(
        self, new_service: Callable[..., Service]
    ) -> None:
        service = new_service(sync_seconds=0, rollout_seconds=ROLLOUT)
        serve(service, 1)
        taken = serve(service, 2)
        store, listed = Store(), service.api("GET", f"/endpoints/{ENDPOINT}")
        made, _ = roll_back(service, store=store, taken_back=Submission(taken))
        unlisted = Mishap(LOOK, httpx.Response(200, json=listed))
        retry, attempt = roll_back(service, unlisted, identity=RETRY, store=store, taken_back=Submission(taken))
        assert retry.submission == made.submission
        assert attempt.network.count(str(DEPLOY)) == 0

    @pytest.mark.parametrize("worked", [True, False], ids=["acted on", "not acted on"])
    def test_killed_in_the_submission(self, service: Service, store: Store | None, worked: bool) -> None:
        began = service.now
        with pytest.raises(KeyboardInterrupt):
            roll_back(service, Mishap(DEPLOY, KeyboardInterrupt(), worked=worked), store=store)
        service.now += 1
        made, _ = roll_back(service, identity=RETRY, store=store, run_started=began)
        assert made.model_version == name(1)
        assert [model for _, model in service.deployments()] == [name(1), name(2), name(1)]

    def test_it_goes_by_its_choice_although_nothing_else_ever_served(
        self, new_service: Callable[..., Service], store: Store | None
    ) -> None:
        service = new_service(sync_seconds=0, rollout_seconds=ROLLOUT)
        serve(service, 1)
        serve(service, 2, fail=True)
        began = service.now
        roll_back(service, store=store)
        service.now += ROLLOUT
        assert roll_back(service, identity=RETRY, store=store, run_started=began)[0].model_version == name(1)

    def test_a_mark_tells_the_target_of_a_run_that_began_in_the_same_second(self, service: Service) -> None:
        began = service.now - ROLLOUT  # so what is taken back is not older than the run
        roll_back(service)
        service.now += ROLLOUT
        assert roll_back(service, identity=RETRY, run_started=began)[0].model_version == name(1)
        unmark(service)
        with pytest.raises(RollbackRefused):
            roll_back(service, identity=RETRY, run_started=began)

    def test_one_that_failed_is_not_tried_again(self, service: Service, store: Store | None) -> None:
        began = service.now
        service.api_control("/faults", {"operation": "deploy_model", "fail_rollout": "out of memory"})
        made, _ = roll_back(service, store=store)
        service.now += ROLLOUT
        retry, _ = roll_back(service, identity=RETRY, store=store, run_started=began)
        assert retry.submission.deployment_id == made.submission.deployment_id

    def test_one_that_was_dropped_is_not_waited_for(self, new_service: Callable[..., Service]) -> None:
        """Its UUID is noted, and no longer listed, because another client has superseded it."""
        service = new_service(sync_seconds=0, rollout_seconds=ROLLOUT, deploy_during_rollout="supersede")
        serve(service, 1)
        serve(service, 2)
        store = Store()
        roll_back(service, store=store)
        service.now += 1
        theirs = service.deploy(service.upload(URI))
        with pytest.raises(RollbackRefused, match=theirs):
            roll_back(service, identity=RETRY, store=store, run_started=service.now)

    def test_clearing_chooses_anew(self, service: Service, store: Store | None) -> None:
        roll_back(service, store=store)
        service.now += ROLLOUT
        assert roll_back(service, identity=CLEARED, store=store)[0].model_version == name(2)

    def test_another_task_run_chooses_for_itself(self, service: Service, store: Store | None) -> None:
        roll_back(service, store=store)
        service.now += ROLLOUT
        assert roll_back(service, identity=STRANGER, store=store)[0].model_version == name(2)


class TestDeploymentsOfOtherClients:
    """A has deployed 2, which failed; B deploys 3."""

    @pytest.fixture
    def taken(self, service: Service) -> str:
        return serve(service, 4, fail=True)

    @pytest.mark.parametrize(
        ("fail", "passed"), [(False, ROLLOUT), (False, 0), (True, ROLLOUT)], ids=["serves", "rolls out", "failed"]
    )
    def test_what_came_since_stays(self, service: Service, taken: str, fail: bool, passed: float) -> None:
        theirs = service.deploy(name(3), fail=fail)
        service.now += passed
        before = service.deployments()
        with pytest.raises(RollbackRefused, match=f"{taken} is no longer the newest.*{theirs}.*serves there"):
            roll_back(service, taken_back=Submission(taken))
        assert service.deployments() == before

    def test_one_that_has_gone_back_already_is_waited_for(self, service: Service, taken: str) -> None:
        theirs = service.deploy(name(2))
        made, attempt = roll_back(service, taken_back=Submission(taken))
        assert (made.submission.deployment_id, made.model_version, made.has_served) == (theirs, name(2), False)
        assert attempt.journal.lines == [f"Deployment {theirs} of model version {name(2)} is there already."]
        assert sent(attempt) == [LOOK]

    def test_what_came_between_the_decision_and_the_submission_of_the_mark_stays(
        self, service: Service, taken: str
    ) -> None:
        meanwhile = Mishap(PATCH, meanwhile=lambda: service.deploy(name(3)))
        with pytest.raises(RollbackRefused):
            roll_back(service, meanwhile, taken_back=Submission(taken))
        assert newest(service) == name(3)

    def test_what_came_before_and_still_rolls_out_stays(self, service: Service) -> None:
        service.upload(URI)
        service.deploy(name(3))
        service.now += 1
        taken = service.deploy(name(2), fail=True)
        before = service.deployments()
        with pytest.raises(UnexpectedResponse, match="has not ended"):
            roll_back(service, taken_back=Submission(taken))
        assert service.deployments() == before

    def test_one_that_is_not_listed_is_gone_back_from_if_nothing_came_since(self, service: Service) -> None:
        submitted = Submission("dropped", name(3), created=int(service.now))
        assert roll_back(service, taken_back=submitted)[0].model_version == name(2)
        assert len(service.deployments()) == 3

    def test_one_that_is_not_listed_is_left_alone_if_something_came_since(self, service: Service) -> None:
        service.now += 1
        submitted = Submission("dropped", name(3), created=int(service.now))
        service.now += 1
        serve(service, 4)
        with pytest.raises(RollbackRefused):
            roll_back(service, taken_back=submitted)
        assert newest(service) == name(4)

    def test_one_that_is_not_listed_and_of_an_unknown_time_is_left_alone(self, service: Service) -> None:
        with pytest.raises(RollbackRefused, match="dropped is not listed"):
            roll_back(service, taken_back=Submission("dropped"))
        assert len(service.deployments()) == 2

    def test_a_list_that_cannot_be_read_changes_nothing(self, service: Service) -> None:
        unreadable = Mishap(LOOK, httpx.Response(200, json={"name": "endpoint"}))
        with pytest.raises(UnexpectedResponse):
            roll_back(service, unreadable)
        with pytest.raises(ServerError):
            roll_back(service, Mishap(LOOK, broken("503"), worked=False, times=99))
        assert len(service.deployments()) == 2


class TestMark:
    @pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 429, 503])
    def test_a_rollback_is_not_refused_because_it_cannot_be_set(self, service: Service, status: int) -> None:
        refused = Mishap(PATCH, httpx.Response(status, json={"detail": "not now"}), worked=False, times=99)
        made, attempt = roll_back(service, refused)
        assert newest(service) == made.model_version == name(1)
        assert attempt.network.count(str(PATCH)) == 1
        assert "not marked" in attempt.journal.text

    def test_the_aliases_of_the_target_stay_and_it_comes_off_in_the_end(self, service: Service) -> None:
        service.set_aliases(name(1), "golden")
        roll_back(service)
        assert service.aliases()[1] == ["golden", FIRST.alias]
        unmark(service)
        assert service.aliases()[1] == ["golden"]

    def test_aliases_that_are_not_known_are_not_written_back(self, service: Service) -> None:
        service.set_aliases(name(1), "golden")
        silent = Mishap(GET, httpx.Response(200, json={"name": name(1), "done": True}))
        roll_back(service, silent)
        assert service.aliases()[1] == ["golden"]

    def test_a_removal_that_fails_is_logged(self, service: Service) -> None:
        roll_back(service)
        attempt = unmark(service, Mishap(PATCH, httpx.Response(403, json={"detail": "no"}), worked=False))
        (line,) = attempt.journal.lines
        assert line.startswith(f"The alias {FIRST.alias} may stay on the target of the rollback: PATCH ")
        assert "403" in line

    def test_its_removal_takes_no_settling_time(self, service: Service) -> None:
        roll_back(service)
        assert sent(unmark(service)) == [LOOK, GET, GET, PATCH, GET]

    def test_that_it_cannot_be_set_is_logged(self, service: Service) -> None:
        _, attempt = roll_back(service, Mishap(PATCH, httpx.Response(403, json={"detail": "no"}), worked=False))
        assert attempt.journal.lines[0].startswith(
            f"Model version {name(1)} is not marked as the target of this rollback: PATCH "
        )
        assert "403" in attempt.journal.lines[0]

    def test_where_notes_are_kept_nothing_is_marked(self, service: Service) -> None:
        _, attempt = roll_back(service, store=Store())
        assert sent(attempt) == [LOOK, DEPLOY]

    def test_only_a_retry_looks_for_it(self, service: Service) -> None:
        _, attempt = roll_back(service)
        assert sent(attempt) == [LOOK, GET, PATCH, LOOK, DEPLOY]

    def test_a_target_that_is_named_is_not_marked(self, service: Service) -> None:
        taken, _ = service.deployments()[-1]
        _, attempt = roll_back(service, taken_back=Submission(taken), to=name(1))
        assert sent(attempt) == [LOOK, DEPLOY]

    def test_without_an_identity_nothing_is_marked(self, service: Service) -> None:
        """As for ``rollback_on_failure``."""
        attempt = Attempt(service)
        with closing(attempt.client()) as client:
            Rollback(attempt.rollout(client), taken_back=None, task_state=memory_of(None, "x", "y")).run()
        assert sent(attempt) == [LOOK, DEPLOY]

    def test_one_that_is_not_there_is_not_removed(self, service: Service) -> None:
        attempt = unmark(service)
        assert sent(attempt) == [LOOK, GET]
        assert attempt.journal.lines == []


def test_of_two_deployments_of_the_same_second_neither_is_taken_for_the_newest(service: Service) -> None:
    rows = [
        {"id": f"deployment-{number}", "model": name(number), "created": created, "state": "complete"}
        for number, created in ((1, 10), (2, 20), (3, 20))
    ]
    listed = httpx.Response(200, json={"name": ENDPOINT, "deployed_models": rows})
    with pytest.raises(RollbackRefused, match=r"it is not known which deployment is the newest"):
        roll_back(service, Mishap(LOOK, listed, times=9))


class TestRefusals:
    """What a rollback says that changes nothing, word for word."""

    END = (
        f"Now {name(2)} serves there. This attempt has deployed nothing. Name the version to go back to: "
        "CerebrasRollbackEndpointOperator(to=...)."
    )

    def said(self, service: Service, **arguments: Any) -> str:
        before = service.deployments()
        with pytest.raises(RollbackRefused) as caught:
            roll_back(service, **arguments)
        assert service.deployments() == before
        return str(caught.value).removeprefix(f"Endpoint {ENDPOINT} was not rolled back: ")

    def test_another_client_has_deployed_since(self, service: Service) -> None:
        taken = serve(service, 3, fail=True)
        theirs = service.deploy(name(1))
        assert self.said(service, taken_back=Submission(taken)) == (
            f"deployment {taken} is no longer the newest, because another client has deployed since: deployment "
            f"{theirs} of model version {name(1)} (state 'not_started'). {self.END}"
        )

    def test_nothing_is_known_of_what_is_taken_back(self, service: Service) -> None:
        assert self.said(service, taken_back=Submission("dropped")) == (
            "deployment dropped is not listed there, so it is not known whether another client has deployed since. "
            f"{self.END}"
        )

    def test_nothing_is_from_before_the_run(self, service: Service) -> None:
        newest_id, _ = service.deployments()[-1]
        assert self.said(service, identity=RETRY, run_started=service.now - 10 * ROLLOUT) == (
            "it is not known which deployment is to be taken back, because none is listed there from before the DAG "
            f"run began; the newest is deployment {newest_id} of model version {name(2)} (state 'complete'). {self.END}"
        )

    def test_two_are_of_the_same_second(self, service: Service) -> None:
        service.upload(URI)
        entries = [
            {"id": version, "model": name(version), "created": 7, "state": "in_progress"} for version in ("1", "2")
        ]
        serving = {"id": "0", "model": name(2), "created": 1, "state": "complete"}
        listed = {"name": ENDPOINT, "deployed_models": [serving, *entries]}
        attempt = Attempt(service, [Mishap(LOOK, httpx.Response(200, json=listed))])
        with closing(attempt.client()) as client, pytest.raises(RollbackRefused) as caught:
            Rollback(attempt.rollout(client), taken_back=None, task_state=memory_of(None, "x", "y")).run()
        first, second = (f"deployment {each} of model version {name(each)} (state 'in_progress')" for each in "12")
        assert str(caught.value) == (
            f"Endpoint {ENDPOINT} was not rolled back: it is not known which deployment is the newest, for {first} and "
            f"{second} are of the same second. {self.END}"
        )
