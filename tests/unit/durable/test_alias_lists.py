"""How one alias list is written: how often at the most, what is waited for, and for how long."""

from __future__ import annotations

import itertools
import random
from contextlib import closing
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from airflow_provider_cerebras.api.errors import Conflict, UnexpectedResponse
from airflow_provider_cerebras.durable.alias_lists import AliasEditor
from airflow_provider_cerebras.emulator.api.operations import OperationName
from airflow_provider_cerebras.exceptions import AliasesUnsettled
from tests.unit.durable.world import URI, Attempt, Mishap, Service, name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

GET, PATCH = OperationName.GET_MODEL_VERSION, OperationName.UPDATE_MODEL_VERSION_ALIASES
WITHOUT_ALIASES = httpx.Response(200, json={"name": name(1), "done": True, "response": {"sync_status": "done"}})


@pytest.fixture(autouse=True)
def longest_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the chance out of pauses."""
    monkeypatch.setattr(random, "uniform", lambda low, high: high)


@pytest.fixture
def service(new_service: Callable[..., Service]) -> Service:
    service = new_service()
    service.upload(URI, "green")
    return service


def edit(service: Service, *mishaps: Mishap, attempt: Attempt | None = None, **changes: Any) -> Attempt:
    """Add ``canary`` to version 1, which has ``green``."""
    attempt = attempt or Attempt(service)
    attempt.network.mishaps.extend(mishaps)
    with closing(attempt.client()) as client:
        editor = AliasEditor(client, log=attempt.journal, sleep=attempt.pass_time, clock=lambda: service.now)
        editor.change(name(1), **{"add": ["canary"], **changes})
    return attempt


def others(service: Service) -> Callable[[], None]:
    """Another client that writes something else each time."""
    numbers = itertools.count(1)
    return lambda: service.set_aliases(name(1), f"red{next(numbers)}")


def taking(service: Service, seconds: float) -> Iterator[Mishap]:
    """Requests that take so long."""
    for operation in (GET, PATCH):
        yield Mishap(operation, times=1000, meanwhile=lambda: setattr(service, "now", service.now + seconds))


class TestOverwriting:
    def test_it_is_written_twenty_times_at_the_most(self, service: Service) -> None:
        attempt = Attempt(service)
        with pytest.raises(AliasesUnsettled) as caught:
            edit(service, Mishap(GET, skip=1, times=1000, meanwhile=others(service)), attempt=attempt, remove=["x"])
        assert attempt.network.count("update_model_version_aliases") == len(attempt.journal.lines) == 20
        assert attempt.pauses == [0.5, 1, 2, 4, *[8] * 15]
        assert str(caught.value).startswith(
            f"The service was to add canary and remove x in the aliases of model version {name(1)}, but has ['red"
        )
        assert str(caught.value).endswith(
            "']. Does something else keep writing them? A retry of this task goes on from there."
        )

    def test_a_refusal_while_others_write_is_the_last_word_after_eight(self, service: Service) -> None:
        attempt = Attempt(service)
        refused = httpx.Response(409, json={"detail": "taken"})
        with pytest.raises(Conflict):
            edit(
                service,
                Mishap(GET, times=1000, meanwhile=others(service)),
                Mishap(PATCH, refused, worked=False, times=1000),
                attempt=attempt,
            )
        assert attempt.network.count("update_model_version_aliases") == 8
        assert attempt.pauses == [0.5, 1, 2, 4, 8, 8, 8, 8]

    def test_a_refusal_of_what_stays_is_the_last_word_at_once(self, service: Service) -> None:
        attempt = Attempt(service)
        refused = httpx.Response(409, json={"detail": "taken"})
        with pytest.raises(Conflict):
            edit(service, Mishap(PATCH, refused, worked=False, times=1000), attempt=attempt)
        assert attempt.network.count("update_model_version_aliases") == 1


class TestLag:
    """Reads that show what was there before the write."""

    OLD = httpx.Response(
        200,
        json={"name": name(1), "done": True, "response": {"sync_status": "done", "version_aliases": ["green"]}},
    )

    def test_the_pauses_grow_with_the_time_waited(self, service: Service) -> None:
        attempt = edit(service, Mishap(GET, self.OLD, skip=1, times=9))
        # The last one is that in which the change has to stay.
        assert attempt.pauses == [*(0.5 * 1.5**number for number in range(7)), 8, 8, 60]
        assert attempt.network.count("update_model_version_aliases") == 1

    def test_the_time_waited_counts_in_the_time_in_which_the_change_has_to_stay(self, service: Service) -> None:
        assert edit(service, Mishap(GET, self.OLD, skip=1, times=3)).pauses == [0.5, 0.75, 1.125, 3 * 2.375]

    def test_after_half_a_minute_it_is_written_once_more_and_then_no_more(self, service: Service) -> None:
        attempt = Attempt(service)
        with pytest.raises(AliasesUnsettled, match=r"has \['green'\]"):
            edit(service, Mishap(GET, self.OLD, times=1000), attempt=attempt)
        assert attempt.network.count("update_model_version_aliases") == 2
        assert 60 <= sum(attempt.pauses) < 80

    def test_a_list_without_aliases_is_waited_for_after_a_write(self, service: Service) -> None:
        attempt = edit(service, Mishap(GET, WITHOUT_ALIASES, skip=1, times=10), settle=False)
        assert attempt.pauses == [0.5] * 10
        assert service.aliases() == {1: ["green", "canary"]}

    def test_for_half_a_minute_at_the_most(self, service: Service) -> None:
        attempt = Attempt(service)
        with pytest.raises(UnexpectedResponse):
            edit(service, Mishap(GET, WITHOUT_ALIASES, skip=1, times=1000), attempt=attempt)
        assert attempt.pauses == [0.5] * 60

    def test_and_not_before_one(self, service: Service) -> None:
        attempt = Attempt(service)
        with pytest.raises(UnexpectedResponse):
            edit(service, Mishap(GET, WITHOUT_ALIASES, times=1000), attempt=attempt)
        assert [operation for operation, _, _ in attempt.network.sent] == ["get_model_version"]
        assert attempt.pauses == []


class TestSettling:
    """How long a change has to stay in place."""

    def test_where_requests_take_no_time_it_is_a_second(self, service: Service) -> None:
        attempt = edit(service)
        assert attempt.pauses == [1]
        assert attempt.network.count("get_model_version") == 3

    def test_it_is_three_times_as_long_as_another_client_may_take_to_write(self, service: Service) -> None:
        assert edit(service, *taking(service, 2)).pauses == [18]

    def test_it_is_a_minute_at_the_most(self, service: Service) -> None:
        assert edit(service, *taking(service, 20)).pauses == [60]

    def test_what_is_in_place_already_needs_none(self, service: Service) -> None:
        attempt = edit(service, add=["green"], remove=["red"])
        assert [operation for operation, _, _ in attempt.network.sent] == ["get_model_version"]
        assert attempt.pauses == []
