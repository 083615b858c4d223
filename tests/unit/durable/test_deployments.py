"""A deployment ends with one rollout, whatever becomes of its requests."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import httpx
import pytest

from airflow_provider_cerebras.api.errors import (
    BadRequest,
    Conflict,
    OutcomeUnknown,
    ServerError,
    UnexpectedResponse,
)
from airflow_provider_cerebras.durable.deployments import MAX_SUBMISSIONS, SETTLING_TIME
from airflow_provider_cerebras.durable.rollout_steps import Submission
from airflow_provider_cerebras.emulator.api.operations import OperationName
from airflow_provider_cerebras.exceptions import DeploymentLost
from tests.unit.durable.world import ENDPOINT, URI, Attempt, Mishap, Service, Store, broken, name

if TYPE_CHECKING:
    from collections.abc import Callable

DEPLOY = OperationName.DEPLOY_MODEL
LOOK = OperationName.GET_ENDPOINT
OLD, NEW = name(1), name(2)
ROLLOUT = 1000.0

IN_DOUBT = ["dropped", "reset", "timeout", "500", "502", "503", "408", "garbage", "other"]


@pytest.fixture
def service(new_service: Callable[..., Service]) -> Service:
    """A service on which the old version serves, and with a new one that is ready."""
    service = new_service(sync_seconds=0, rollout_seconds=ROLLOUT)
    service.upload(URI)
    service.upload(URI)
    service.deploy(OLD)
    service.now += ROLLOUT
    return service


def rollouts(service: Service, model_version: str = NEW) -> list[str]:
    return [deployment_id for deployment_id, model in service.deployments() if model == model_version]


def test_what_is_not_there_is_submitted(service: Service) -> None:
    attempt = Attempt(service)
    assert [attempt.deploy(NEW)] == rollouts(service)
    assert [operation for operation, _, _ in attempt.network.sent] == ["get_endpoint", "deploy_model"]


@pytest.mark.parametrize("passed", [0, ROLLOUT], ids=["under way", "complete"])
def test_what_is_there_is_adopted_and_said(passed: float, service: Service) -> None:
    made = Attempt(service).deploy(NEW)
    service.now += passed
    retry = Attempt(service)
    assert retry.deploy(NEW) == made
    assert rollouts(service) == [made]
    assert retry.network.count("deploy_model") == 0
    for words in (made, NEW, "complete" if passed else "not_started", "nothing is submitted"):
        assert words in retry.journal.text


def test_a_rollout_that_failed_is_tried_again(service: Service) -> None:
    failed = service.deploy(NEW, fail=True)
    service.now += ROLLOUT
    assert [failed, Attempt(service).deploy(NEW)] == rollouts(service)


def test_what_served_and_was_replaced_since_is_rolled_out_again(service: Service) -> None:
    service.deploy(NEW)
    service.deploy(OLD)
    assert Attempt(service).deploy(NEW) == rollouts(service)[1]


def test_not_durable_submits_whatever_is_there(service: Service) -> None:
    Attempt(service).deploy(NEW)
    assert Attempt(service).deploy(NEW, durable=False) == rollouts(service)[1]


def test_not_durable_does_not_guess_what_became_of_it(service: Service) -> None:
    attempt = Attempt(service, [Mishap(DEPLOY, broken("dropped"))])
    with pytest.raises(OutcomeUnknown):
        attempt.deploy(NEW, durable=False)
    assert attempt.network.count("deploy_model") == 1


@pytest.mark.parametrize("kind", IN_DOUBT)
def test_a_submission_in_doubt_that_was_acted_on_is_found(kind: str, service: Service) -> None:
    attempt = Attempt(service, [Mishap(DEPLOY, broken(kind))])
    assert [attempt.deploy(NEW)] == rollouts(service)
    assert attempt.pauses == []


@pytest.mark.parametrize("kind", IN_DOUBT)
def test_a_submission_in_doubt_is_sent_again_only_after_the_settling_time(kind: str, service: Service) -> None:
    attempt = Attempt(service, [Mishap(DEPLOY, broken(kind), worked=False)])
    assert [attempt.deploy(NEW)] == rollouts(service)
    assert attempt.network.count("deploy_model") == 2
    assert sum(attempt.pauses) == SETTLING_TIME


def test_a_submission_that_comes_to_be_listed_late_is_found(service: Service) -> None:
    late = Mishap(LOOK, meanwhile=lambda: service.deploy(NEW), skip=8)
    attempt = Attempt(service, [Mishap(DEPLOY, broken("timeout"), worked=False), late])
    assert [attempt.deploy(NEW)] == rollouts(service)
    assert attempt.network.count("deploy_model") == 1
    assert 0 < sum(attempt.pauses) < SETTLING_TIME


def test_an_earlier_rollout_of_the_version_is_not_taken_for_the_one_in_doubt(service: Service) -> None:
    failed = service.deploy(NEW, fail=True)
    service.now += ROLLOUT
    attempt = Attempt(service, [Mishap(DEPLOY, broken("timeout"), worked=False)])
    assert [failed, attempt.deploy(NEW)] == rollouts(service)


def test_a_rollout_in_doubt_that_fails_meanwhile_is_what_became_of_it(new_service: Callable[..., Service]) -> None:
    service = new_service(sync_seconds=0, rollout_seconds=0)
    service.upload(URI)
    service.api_control("/faults", {"operation": "deploy_model", "fail_rollout": "out of memory"})
    attempt = Attempt(service, [Mishap(DEPLOY, broken("dropped"))])
    assert [attempt.deploy(OLD)] == rollouts(service, OLD)
    assert attempt.network.count("deploy_model") == 1


def test_doubt_is_bounded(service: Service) -> None:
    attempt = Attempt(service, [Mishap(DEPLOY, broken("503"), worked=False, times=99)])
    with pytest.raises(OutcomeUnknown):
        attempt.deploy(NEW)
    assert attempt.network.count("deploy_model") == MAX_SUBMISSIONS
    assert rollouts(service) == []


def test_a_pause_that_the_service_asks_for_is_made_before_the_next_submission(service: Service) -> None:
    later = httpx.Response(503, headers={"retry-after": "100"})
    attempt = Attempt(service, [Mishap(DEPLOY, later, worked=False)])
    assert [attempt.deploy(NEW)] == rollouts(service, NEW)
    assert sum(attempt.pauses) >= 100


def test_an_error_with_the_status_of_a_success_is_looked_for_and_not_sent_again(service: Service) -> None:
    said = httpx.Response(200, json={"error": {"message": "Quota is exceeded."}})
    attempt = Attempt(service, [Mishap(DEPLOY, said, worked=False, times=99)])
    with pytest.raises(OutcomeUnknown, match="Quota is exceeded"):
        attempt.deploy(NEW)
    assert attempt.network.count("deploy_model") == 1


def test_an_attempt_that_cannot_look_submits_nothing(service: Service) -> None:
    attempt = Attempt(service, [Mishap(LOOK, broken("503"), worked=False, times=99)])
    with pytest.raises(ServerError):
        attempt.deploy(NEW)
    assert attempt.network.count("deploy_model") == 0


@pytest.mark.parametrize(("status", "kind"), [(400, BadRequest), (422, BadRequest), (409, Conflict)])
def test_a_refusal_is_raised_at_once(status: int, kind: type[Exception], service: Service) -> None:
    refusal = httpx.Response(status, json={"detail": "not here"})
    attempt = Attempt(service, [Mishap(DEPLOY, refusal, worked=False)])
    with pytest.raises(kind, match="not here"):
        attempt.deploy(NEW)
    assert attempt.network.count("deploy_model") == 1


# The task state store.


def test_what_was_there_is_noted_before_anything_is_submitted(service: Service) -> None:
    store = Store()
    crashed = Attempt(service, [Mishap(DEPLOY, KeyboardInterrupt())], store)
    with pytest.raises(KeyboardInterrupt):
        crashed.deploy(NEW)
    ((old, _),) = service.deployments()[:1]
    baseline = json.dumps([int(service.now - ROLLOUT), [old]])
    assert store.content["cerebras_deployment"] == {
        "baseline": baseline,
        "served_before": OLD,
        "request": "deployment",
    }


def test_a_retry_still_knows_what_served_before(service: Service) -> None:
    """By the time of the retry, what was rolled out here serves."""
    store = Store()
    Attempt(service, store=store).deploy(NEW)
    service.now += ROLLOUT
    Attempt(service, store=store).deploy(NEW, run_started=0)
    noted = Submission.from_json(store.content["cerebras_deployment"]["submission"])
    assert noted is not None
    assert noted.served_before == OLD


def test_a_retry_knows_what_served_before_although_it_is_listed_no_more(service: Service) -> None:
    store = Store()
    Attempt(service, store=store).deploy(NEW)
    endpoint = service.api("GET", f"/endpoints/{ENDPOINT}")
    own = [each for each in endpoint["deployed_models"] if each["model"] == NEW]
    listed = httpx.Response(200, json={**endpoint, "deployed_models": own})
    Attempt(service, [Mishap(LOOK, listed)], store).deploy(NEW, run_started=0)
    noted = Submission.from_json(store.content["cerebras_deployment"]["submission"])
    assert noted is not None
    assert noted.served_before == OLD


def test_the_note_of_another_version_is_not_adopted(service: Service) -> None:
    store = Store()
    Attempt(service, store=store).deploy(OLD)
    other = Submission("queued-somewhere", name(7))
    store.content["cerebras_deployment"] = {"request": "deployment", "submission": other.to_json()}
    Attempt(service, store=store).deploy(NEW)
    assert [model for _, model in service.deployments()][-1] == NEW


def test_if_nothing_served_nothing_is_noted(new_service: Callable[..., Service]) -> None:
    service = new_service(sync_seconds=0)
    service.upload(URI)
    store = Store()
    Attempt(service, store=store).deploy(OLD)
    assert "served_before" not in store.content["cerebras_deployment"]


def test_a_rollout_that_waits_where_nobody_sees_it_is_adopted_by_its_note(new_service: Callable[..., Service]) -> None:
    service = new_service(sync_seconds=0, rollout_seconds=ROLLOUT, deployed_models="live")
    service.upload(URI)
    service.upload(URI)
    service.deploy(OLD)
    store = Store()
    made = Attempt(service, store=store).deploy(NEW)
    assert rollouts(service) == []  # queued
    assert Attempt(service, store=store).deploy(NEW) == made


@pytest.mark.parametrize(
    "note",
    [
        {"deployment_id": "7c0f", "model_version": NEW, "request": "another"},
        {"deployment_id": "7c0f", "model_version": OLD, "request": "deployment"},
        {"deployment_id": "7c0f", "request": "deployment"},
        {"deployment_id": "", "model_version": NEW, "request": "deployment"},
        {"deployment_id": 7, "model_version": NEW, "request": "deployment"},
        "nonsense",
        None,
    ],
    ids=str,
)
def test_a_note_of_something_else_is_passed_over(note: object, service: Service) -> None:
    store = Store()
    store.set("cerebras_deployment", note)
    assert [Attempt(service, store=store).deploy(NEW)] == rollouts(service)


# Deployments of other clients.


@pytest.fixture(params=[True, False], ids=["3.3 and later", "below 3.3"])
def store(request: pytest.FixtureRequest) -> Store | None:
    return Store() if request.param else None


def test_a_rollout_that_failed_is_not_tried_again_by_a_retry(service: Service, store: Store | None) -> None:
    began = service.now + 1
    service.now = began
    service.api_control("/faults", {"operation": "deploy_model", "fail_rollout": "out of memory"})
    made = Attempt(service, store=store).deploy(NEW)
    service.now += ROLLOUT
    assert Attempt(service, store=store).deploy(NEW, run_started=began) == made
    assert rollouts(service) == [made]


@pytest.mark.parametrize("passed", [0, ROLLOUT], ids=["rolls out", "serves"])
@pytest.mark.parametrize("crash", [True, False], ids=["the answer was lost", "answered"])
def test_a_retry_leaves_the_endpoint_to_who_has_deployed_since(
    service: Service, store: Store | None, crash: bool, passed: float
) -> None:
    service.now = began = service.now + 1
    first = Attempt(service, [Mishap(DEPLOY, KeyboardInterrupt())] if crash else [], store)
    if crash:
        with pytest.raises(KeyboardInterrupt):
            first.deploy(NEW)
    else:
        first.deploy(NEW)
    service.now += 1
    theirs = service.deploy(service.upload(URI))
    service.now += passed
    before = service.deployments()
    retry = Attempt(service, store=store)
    with pytest.raises(DeploymentLost, match=f"{theirs}.* serves there"):
        retry.deploy(NEW, run_started=began)
    assert service.deployments() == before
    assert retry.network.count("deploy_model") == 0


def test_a_retry_of_what_was_superseded_deploys_nothing(
    new_service: Callable[..., Service], store: Store | None
) -> None:
    """The service drops what it supersedes from its list."""
    service = new_service(sync_seconds=0, rollout_seconds=ROLLOUT, deploy_during_rollout="supersede")
    service.upload(URI)
    service.upload(URI)
    began = service.now
    Attempt(service, store=store).deploy(OLD)
    service.now += 1
    theirs = service.deploy(NEW)
    with pytest.raises(DeploymentLost, match=theirs):
        Attempt(service, store=store).deploy(OLD, run_started=began)
    assert service.deployments() == [(theirs, NEW)]


def test_a_retry_after_an_attempt_that_sent_nothing_replaces_what_was_there(
    service: Service, store: Store | None
) -> None:
    service.now = began = service.now + 1
    with pytest.raises(ServerError):
        Attempt(service, [Mishap(LOOK, broken("503"), worked=False, times=99)], store).deploy(NEW)
    assert [Attempt(service, store=store).deploy(NEW, run_started=began)] == rollouts(service)


def test_a_retry_knows_from_its_notes_what_was_there(service: Service) -> None:
    """Whatever the clock of Airflow says of the begin of the run."""
    store = Store()
    with pytest.raises(KeyboardInterrupt):
        Attempt(service, [Mishap(DEPLOY, KeyboardInterrupt(), worked=False)], store).deploy(NEW)
    assert [Attempt(service, store=store).deploy(NEW, run_started=0)] == rollouts(service)


def test_an_alias_that_has_moved_does_not_make_a_second_rollout(service: Service) -> None:
    """Below 3.3 nothing says what the alias stood for; what the first attempt rolls out is left as it is."""
    service.now = began = service.now + 1
    made = Attempt(service).deploy(NEW)
    moved_to = service.upload(URI)
    with pytest.raises(DeploymentLost, match=made):
        Attempt(service).deploy(moved_to, run_started=began)
    assert rollouts(service, moved_to) == []


def test_a_submission_in_doubt_is_not_sent_again_over_another_client(service: Service) -> None:
    theirs = service.upload(URI)
    late = Mishap(LOOK, meanwhile=lambda: service.deploy(theirs), skip=3)
    attempt = Attempt(service, [Mishap(DEPLOY, broken("timeout"), worked=False), late])
    with pytest.raises(DeploymentLost, match=theirs):
        attempt.deploy(NEW)
    assert attempt.network.count("deploy_model") == 1
    assert sum(attempt.pauses) == SETTLING_TIME


@pytest.mark.parametrize("missing", ["id", "model", "created"])
def test_nothing_is_submitted_over_an_entry_that_cannot_be_read(service: Service, missing: str) -> None:
    listed = service.api("GET", f"/endpoints/{ENDPOINT}")
    del listed["deployed_models"][0][missing]
    attempt = Attempt(service, [Mishap(LOOK, httpx.Response(200, json=listed))])
    with pytest.raises(UnexpectedResponse, match=missing):
        attempt.deploy(NEW)
    assert attempt.network.count("deploy_model") == 0
