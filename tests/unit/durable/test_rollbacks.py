"""What a rollback goes back to: chosen once for each task run."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from airflow_provider_cerebras.durable.rollbacks import choose_target
from airflow_provider_cerebras.emulator.api.operations import OperationName
from tests.unit.durable.world import (
    CLEARED,
    ENDPOINT,
    FIRST,
    RETRY,
    STRANGER,
    Attempt,
    Mishap,
    Service,
    broken,
    name,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_cerebras.durable.identity import Identity


@pytest.fixture
def service() -> Iterator[Service]:
    """Two versions have served, the second one does."""
    with closing(Service()) as service:
        for number in (1, 2):
            version = service.upload(f"s3://weights/{number}")
            service.now += 200
            service.deploy(version)
            service.now += 200
        yield service


def choose(service: Service, identity: Identity, *mishaps: Mishap, deployment_id: str | None = None) -> str | None:
    attempt = Attempt(service, list(mishaps))
    with closing(attempt.client()) as client:
        return choose_target(client, ENDPOINT, identity, deployment_id=deployment_id, log=attempt.journal)


def test_what_served_before_the_newest_deployment(service: Service) -> None:
    assert choose(service, FIRST) == name(1)


def test_a_retry_does_not_roll_the_rollback_back(service: Service) -> None:
    assert choose(service, FIRST) == name(1)
    service.deploy(name(1))
    service.now += 200
    assert choose(service, RETRY) == name(1)
    assert choose(service, STRANGER) == name(2)


def test_a_retry_goes_by_its_choice_although_nothing_else_ever_served() -> None:
    with closing(Service()) as service:
        for number, fail in ((1, False), (2, True)):
            version = service.upload(f"s3://weights/{number}")
            service.now += 200
            service.deploy(version, fail=fail)
            service.now += 200
        assert choose(service, FIRST) == name(1)
        service.deploy(name(1))
        service.now += 200
        assert choose(service, RETRY) == name(1)


def test_clearing_chooses_anew(service: Service) -> None:
    choose(service, FIRST)
    service.deploy(name(1))
    service.now += 200
    assert choose(service, CLEARED) == name(2)


@pytest.mark.parametrize("worked", [False, True], ids=["not processed", "processed"])
def test_a_mark_in_doubt_is_set_again(service: Service, worked: bool) -> None:
    doubt = Mishap(OperationName.UPDATE_MODEL_VERSION_ALIASES, broken("timeout"), worked=worked)
    assert choose(service, FIRST, doubt) == name(1)
    assert service.aliases()[1] == [FIRST.alias]


def test_two_at_once_choose_the_same(service: Service) -> None:
    race = Mishap(
        OperationName.UPDATE_MODEL_VERSION_ALIASES, meanwhile=lambda: service.set_aliases(name(2), FIRST.alias)
    )
    assert choose(service, FIRST, race) == name(2)


def test_before_a_named_deployment(service: Service) -> None:
    third = service.upload("s3://weights/3")
    service.now += 200
    service.deploy(third)
    service.now += 200
    second = service.deployments()[1][0]
    assert choose(service, FIRST, deployment_id=second) == name(1)


def test_nothing_has_served_before() -> None:
    with closing(Service()) as service:
        assert choose(service, FIRST) is None
        version = service.upload("s3://weights/1")
        service.now += 200
        service.deploy(version)
        service.now += 200
        assert choose(service, FIRST) is None
