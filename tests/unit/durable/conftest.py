"""A fresh service for each test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.durable.world import Service

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def new_service() -> Iterator[Callable[..., Service]]:
    """Make a service: ``new_service(alias_clash_status=422)``."""
    made: list[Service] = []

    def make(**settings: Any) -> Service:
        made.append(Service(**settings))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def service(new_service: Callable[..., Service]) -> Service:
    """A service with all the defaults, whose syncs and rollouts take 100 s of its own clock."""
    return new_service()
