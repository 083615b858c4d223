"""What an endpoint's list of deployments says to one who wants a version to serve: pure decisions, as tables."""

from __future__ import annotations

import random
from typing import Any

import pytest

from airflow_provider_cerebras.api.models import Endpoint
from airflow_provider_cerebras.durable.deployments import find_deployment, find_new_deployment, served_before
from tests.unit.durable.world import name

OURS, OTHER = name(5), name(4)
COMPLETE, GOING, WAITING, BROKEN = "complete", "in_progress", "not_started", "failed"


def entry(id: str | None, model: str | None, created: int | None, state: str | None) -> dict[str, Any]:  # noqa: A002
    return {"id": id, "model": model, "created": created, "state": state}


def endpoint(*entries: dict[str, Any]) -> Endpoint:
    # The order of the list means nothing.
    shuffled = random.Random(len(entries)).sample(entries, len(entries))
    return Endpoint.model_validate({"name": "endpoint", "deployed_models": shuffled})


@pytest.mark.parametrize(
    ("listed", "found"),
    [
        pytest.param([], None, id="nothing"),
        pytest.param([entry("a", OURS, 1, COMPLETE)], "a", id="ours serves"),
        pytest.param([entry("a", OURS, 1, GOING)], "a", id="ours rolls out"),
        pytest.param([entry("a", OURS, 1, WAITING)], "a", id="ours is queued"),
        pytest.param([entry("a", OURS, 1, "a new word")], "a", id="a state that nobody knows goes on"),
        pytest.param([entry("a", OURS, 1, BROKEN)], None, id="ours failed"),
        pytest.param([entry("a", OTHER, 1, COMPLETE)], None, id="another one serves"),
        pytest.param([entry("a", OTHER, 1, COMPLETE), entry("b", OURS, 2, GOING)], "b", id="ours replaces another"),
        pytest.param([entry("a", OURS, 1, COMPLETE), entry("b", OTHER, 2, COMPLETE)], None, id="another came after"),
        pytest.param(
            [entry("a", OURS, 1, COMPLETE), entry("b", OTHER, 2, GOING)], None, id="another is about to serve"
        ),
        pytest.param(
            [entry("a", OURS, 1, COMPLETE), entry("b", OTHER, 2, BROKEN)], None, id="another one failed since"
        ),
        pytest.param([entry("a", OURS, 1, COMPLETE), entry("b", OURS, 2, BROKEN)], None, id="ours failed since"),
        pytest.param([entry("a", OURS, 1, BROKEN), entry("b", OURS, 2, GOING)], "b", id="ours is tried again"),
        pytest.param([entry("a", OURS, 1, GOING), entry("b", OTHER, 1, GOING)], None, id="which is newer is unknown"),
        pytest.param([entry("a", OURS, 1, GOING), entry("b", OURS, 1, COMPLETE)], "b", id="of two ours, what serves"),
        pytest.param([entry("a", OURS, 1, BROKEN), entry("b", OURS, 1, GOING)], "b", id="of two ours, what goes on"),
        pytest.param([entry("a", OURS, None, COMPLETE)], "a", id="without a time"),
        pytest.param([entry(None, OURS, 1, COMPLETE)], None, id="without an id there is nothing to wait for"),
        pytest.param([entry("a", None, 1, COMPLETE)], None, id="of no version that is known"),
    ],
)
def test_find_deployment(listed: list[dict[str, Any]], found: str | None) -> None:
    assert find_deployment(endpoint(*listed), OURS) == found


@pytest.mark.parametrize(
    ("listed", "before", "found"),
    [
        pytest.param([], set(), None, id="nothing"),
        pytest.param([entry("a", OURS, 1, GOING)], {"a"}, None, id="was there before"),
        pytest.param([entry("a", OURS, 1, GOING), entry("b", OURS, 1, WAITING)], {"a"}, "b", id="came since"),
        pytest.param([entry("b", OURS, 1, BROKEN)], set(), "b", id="came and failed: that is what became of it"),
        pytest.param([entry("b", OTHER, 2, GOING)], {"a"}, None, id="somebody else's"),
        pytest.param([entry(None, OURS, 2, GOING)], set(), None, id="without an id"),
    ],
)
def test_find_new_deployment(listed: list[dict[str, Any]], before: set[str], found: str | None) -> None:
    assert find_new_deployment(endpoint(*listed), OURS, before=before) == found


@pytest.mark.parametrize(
    ("listed", "found"),
    [
        pytest.param([], None, id="nothing"),
        pytest.param([entry("a", OTHER, 1, COMPLETE)], OTHER, id="another one"),
        pytest.param([entry("a", OTHER, 1, COMPLETE), entry("b", OURS, 2, COMPLETE)], OTHER, id="before ours"),
        pytest.param([entry("a", OURS, 1, COMPLETE)], None, id="ours only"),
        pytest.param([entry("a", OTHER, 1, GOING)], None, id="one that never served"),
        pytest.param([entry("a", OTHER, 1, BROKEN)], None, id="one that failed"),
        pytest.param([entry("a", name(3), 1, COMPLETE), entry("b", OTHER, 2, COMPLETE)], OTHER, id="the newest"),
        pytest.param([entry("a", OTHER, 1, COMPLETE), entry("b", name(3), 2, BROKEN)], OTHER, id="not what failed"),
    ],
)
def test_served_before(listed: list[dict[str, Any]], found: str | None) -> None:
    assert served_before(endpoint(*listed), OURS) == found
