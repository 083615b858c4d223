"""A deployment ends with one rollout, whatever becomes of its requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from airflow_provider_cerebras.api.errors import BadRequest, Conflict, OutcomeUnknown, ServerError
from airflow_provider_cerebras.durable.deployments import MAX_SUBMISSIONS, SETTLING_TIME
from airflow_provider_cerebras.emulator.api.operations import OperationName
from tests.unit.durable.world import URI, Attempt, Mishap, Service, Store, broken, name

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


def test_what_served_before_is_noted_before_anything_is_submitted(service: Service) -> None:
    store = Store()
    crashed = Attempt(service, [Mishap(DEPLOY, KeyboardInterrupt())], store)
    with pytest.raises(KeyboardInterrupt):
        crashed.deploy(NEW)
    assert store.content["cerebras_deployment"] == {"served_before": OLD, "request": "deployment"}


def test_a_retry_still_knows_what_served_before(service: Service) -> None:
    """By the time of the retry the endpoint lists what was rolled out here, and another one that came since."""
    store = Store()
    Attempt(service, store=store).deploy(NEW)
    service.now += ROLLOUT
    service.deploy(service.upload(URI))
    service.now += ROLLOUT
    Attempt(service, store=store).deploy(NEW)
    assert store.content["cerebras_deployment"]["served_before"] == OLD


def test_if_nothing_served_nothing_is_noted(new_service: Callable[..., Service]) -> None:
    service = new_service(sync_seconds=0)
    service.upload(URI)
    store = Store()
    made = Attempt(service, store=store).deploy(OLD)
    assert store.content == {
        "cerebras_deployment": {"model_version": OLD, "deployment_id": made, "request": "deployment"}
    }


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


def test_a_noted_rollout_that_failed_is_not_adopted(service: Service) -> None:
    store = Store()
    failed = service.deploy(NEW, fail=True)
    store.set("cerebras_deployment", {"deployment_id": failed, "model_version": NEW, "request": "deployment"})
    service.now += ROLLOUT
    assert [failed, Attempt(service, store=store).deploy(NEW)] == rollouts(service)
