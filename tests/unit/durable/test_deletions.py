"""How often a deletion is tried, and that each reason to keep a version is asked for anew."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import httpx
import pytest

from airflow_provider_cerebras.api.errors import ServerError, UnexpectedResponse
from airflow_provider_cerebras.durable.deletions import check_absence, delete_version, find_uses
from airflow_provider_cerebras.emulator.api.operations import OperationName
from tests.unit.durable.world import ENDPOINT, ORG, URI, Attempt, Mishap, Service, name

if TYPE_CHECKING:
    from collections.abc import Callable

DELETE, ENDPOINTS = OperationName.DELETE_MODEL_VERSION, OperationName.LIST_ENDPOINTS
DOWN = httpx.Response(503, json={"detail": "be right back"})


@pytest.fixture
def service(new_service: Callable[..., Service]) -> Service:
    service = new_service(sync_seconds=0, rollout_seconds=100)
    service.upload(URI)
    return service


def delete(attempt: Attempt, reason_to_keep: Callable[[], str | None] = lambda: None) -> str | None:
    with closing(attempt.client()) as client:
        return delete_version(client, name(1), reason_to_keep=reason_to_keep, sleep=attempt.pass_time)


def test_a_deletion_that_fails_each_time_is_an_error_in_the_end(service: Service) -> None:
    attempt = Attempt(service, [Mishap(DELETE, DOWN, worked=False, times=1000)])
    asked: list[None] = []
    with pytest.raises(ServerError):
        delete(attempt, lambda: asked.append(None))
    assert attempt.network.count("delete_model_version") == len(asked) == 6
    assert attempt.pauses == [1, 2, 4, 8, 16]
    assert list(service.aliases()) == [1]


def test_the_last_of_six_may_succeed(service: Service) -> None:
    attempt = Attempt(service, [Mishap(DELETE, DOWN, worked=False, times=5)])
    assert delete(attempt) is None
    assert service.aliases() == {}


@pytest.mark.parametrize(("asked", "pause"), [(77, 77), (500, 120)])
def test_a_pause_that_the_service_asks_for_is_made_up_to_two_minutes(
    service: Service, asked: int, pause: float
) -> None:
    busy = httpx.Response(429, headers={"retry-after": str(asked)}, json={"detail": "busy"})
    attempt = Attempt(service, [Mishap(DELETE, busy, worked=False)])
    assert delete(attempt) is None
    assert attempt.pauses == [pause]


def test_a_reason_to_keep_it_is_returned_and_nothing_is_sent(service: Service) -> None:
    attempt = Attempt(service)
    assert delete(attempt, lambda: "it serves") == "it serves"
    assert attempt.network.sent == []


def test_what_is_gone_may_be_listed_for_half_a_minute(service: Service) -> None:
    listed = httpx.Response(200, json=service.api("GET", f"/orgs/{ORG}/models/gpt-oss-120b/versions"))
    service.delete(name(1))
    late = Mishap(OperationName.LIST_MODEL_VERSIONS, listed, times=5)
    attempt = Attempt(service, [late])
    assert delete(attempt) is None
    assert attempt.pauses == [1, 2, 4, 8, 16]
    attempt = Attempt(service, [Mishap(OperationName.LIST_MODEL_VERSIONS, listed, times=1000)])
    with pytest.raises(UnexpectedResponse) as caught:
        delete(attempt)
    assert attempt.pauses == [1, 2, 4, 8, 16]
    assert str(caught.value).startswith(
        f"The service answered 404 to a request for model version {name(1)}, but it lists that version, or one that "
        "does not say which it is. So it is not known to be deleted."
    )


def test_a_404_to_an_alias_is_checked_by_the_aliases_of_the_list(service: Service) -> None:
    service.set_aliases(name(1), "prod")
    with closing(Attempt(service).client()) as client:
        check_absence(client, name("canary"))
        check_absence(client, name(2))
        for there in (name("prod"), name(1)):
            with pytest.raises(UnexpectedResponse):
                check_absence(client, there)


class TestUses:
    def test_each_use_of_a_version_is_named(self, service: Service) -> None:
        service.upload(URI)
        for number in (1, 2):
            service.deploy(name(number))
            service.now += 100
        service.deploy(name(1))
        with closing(Attempt(service).client()) as client:
            uses = find_uses(client, ORG)
        assert uses.in_use == {
            name(2): f"serves on endpoint {ENDPOINT}",
            name(1): f"rolls out on endpoint {ENDPOINT}",
        }
        assert uses.served_before == {name(1): f"served on endpoint {ENDPOINT} before"}

    def test_of_several_endpoints_all_are_named(self, service: Service) -> None:
        entry = {"id": "a", "model": name(1), "created": 1, "state": "complete"}
        answers = [
            Mishap(OperationName.GET_ENDPOINT, httpx.Response(200, json={"name": each, "deployed_models": [entry]}))
            for each in (ENDPOINT, "my-org-llama3.1-8b")
        ]
        with closing(Attempt(service, answers).client()) as client:
            uses = find_uses(client, ORG)
        assert uses.in_use == {name(1): f"serves on endpoint {ENDPOINT} and serves on endpoint my-org-llama3.1-8b"}

    @pytest.mark.parametrize("operation", [ENDPOINTS, OperationName.GET_ENDPOINT])
    def test_a_request_is_sent_again_unless_it_shall_not(self, service: Service, operation: OperationName) -> None:
        with closing(Attempt(service, [Mishap(operation, DOWN)]).client()) as client:
            find_uses(client, ORG)
        attempt = Attempt(service, [Mishap(operation, DOWN)])
        with closing(attempt.client()) as client, pytest.raises(ServerError):
            find_uses(client, ORG, once=True)
        assert attempt.network.count(str(operation)) == 1

    def test_an_endpoint_without_a_name_leaves_it_open(self, service: Service) -> None:
        nameless = Mishap(ENDPOINTS, httpx.Response(200, json={"endpoints": [{"status": "active"}]}))
        with (
            closing(Attempt(service, [nameless]).client()) as client,
            pytest.raises(UnexpectedResponse, match=f"of {ORG} "),
        ):
            find_uses(client, ORG)
