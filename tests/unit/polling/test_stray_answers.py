"""A good service with a few stray answers: a wait never ends otherwise than without them, on a worker or shared."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from airflow_provider_cerebras.polling.blocking import BlockingWait
from airflow_provider_cerebras.polling.deployments import DeploymentPoller
from airflow_provider_cerebras.polling.evidence import MIN_RESPONSES
from airflow_provider_cerebras.polling.outcome import Status
from airflow_provider_cerebras.polling.versions import ModelVersionPoller
from tests.unit.fake_service import ENDPOINT, FakeService, version
from tests.unit.polling.virtual_time import START, Clock, run
from tests.unit.polling.world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from airflow_provider_cerebras.polling.outcome import Outcome

V1, V2 = version(1), version(2)
LOG = logging.getLogger("tests.stray")
WORK_TAKES = 900.0
HTML = {"content-type": "text/html"}
STRAYS: dict[str, Callable[[], httpx.Response | Exception]] = {
    "403 of a gateway": lambda: httpx.Response(403, headers=HTML, content=b"<h1>Attention Required!</h1>"),
    "404 of a gateway": lambda: httpx.Response(404, content=b"default backend - 404"),
    **{str(status): partial(httpx.Response, status, json={"detail": "no"}) for status in (401, 403, 404)},
    "503": lambda: httpx.Response(503),
    "an empty list": lambda: httpx.Response(200, json={"model_versions": [], "deployed_models": []}),
    "about nothing": lambda: httpx.Response(200, json={}),
    "no JSON": lambda: httpx.Response(200, content=b"<html>"),
    "no connection": lambda: httpx.ConnectError("refused"),
}
# Which stray comes in place of which answer; the first poll of a wait is no stray's place.
some = st.dictionaries(st.integers(1, 30), st.sampled_from(sorted(STRAYS)), max_size=MIN_RESPONSES - 1)


class StrayService(FakeService):
    """Does its work in a known time, and says something else at times.

    :param clock: the time.
    :param strays: what it says instead, by the number of the request.
    :param fails: whether the work fails.
    """

    def __init__(self, clock: Clock, strays: Mapping[int, str], *, fails: bool) -> None:
        super().__init__()
        self._clock = clock
        self._strays = strays
        self._fails = fails
        self._requests = -1

    def answer(self, request: httpx.Request, path: str) -> httpx.Response:
        self._requests += 1
        ended = self._clock.elapsed >= WORK_TAKES
        word = ("failed" if self._fails else "done") if ended else "in_progress"
        for name in (V1, V2):
            self.sync(name, word, done=ended)
        state = {"done": "complete"}.get(word, word)
        self.endpoints[ENDPOINT] = [{"id": name, "state": state, "created": int(START)} for name in ("a", "b")]
        if stray := self._strays.get(self._requests):
            answer = STRAYS[stray]()
            if isinstance(answer, Exception):
                raise answer
            return answer
        return super().answer(request, path)


def wait_on_a_worker(kind: str, strays: Mapping[int, str], *, fails: bool) -> list[Outcome]:
    with pytest.MonkeyPatch.context() as patch:
        service = StrayService(Clock.install(patch), strays, fails=fails)
        until: dict[str, Any] = {"deadline": START + 10 * WORK_TAKES, "started": START}
        poller: Any = ModelVersionPoller(V1, **until) if kind == "version" else DeploymentPoller(ENDPOINT, "a", **until)
        with service.client() as client:
            return [BlockingWait(client, service.client, poller, poll_interval=60, log=LOG).run()]


def wait_together(kind: str, strays: Mapping[int, str], *, fails: bool) -> list[Outcome]:
    with pytest.MonkeyPatch.context() as patch:
        clock = Clock.install(patch)
        world = World(clock, StrayService(clock, strays, fails=fails))

        async def main() -> list[Outcome]:
            if kind == "version":
                waits = [world.wait_for_version(name, poll_interval=60, timeout=10 * WORK_TAKES) for name in (V1, V2)]
            else:
                waits = [world.wait_for_deployment(name, poll_interval=60, timeout=10 * WORK_TAKES) for name in "ab"]
            outcomes = [await wait for wait in waits]
            await world.leave()
            return outcomes

        return run(clock, main())


@pytest.mark.parametrize("kind", ["version", "deployment"])
@pytest.mark.parametrize("wait", [wait_on_a_worker, wait_together])
@given(strays=some, fails=st.booleans())
@example(strays={1: "404", 2: "404"}, fails=False)
@example(strays={1: "an empty list", 2: "401"}, fails=True)
@settings(max_examples=10, deadline=None)
def test_fewer_strays_than_count_change_nothing(wait: Any, kind: str, strays: dict[int, str], fails: bool) -> None:
    expected = Status.FAILED if fails else Status.SUCCEEDED
    assert {outcome.status for outcome in wait(kind, strays, fails=fails)} == {expected}


@pytest.mark.parametrize("kind", ["version", "deployment"])
@pytest.mark.parametrize("wait", [wait_on_a_worker, wait_together])
def test_what_is_said_again_and_again_ends_the_wait(wait: Any, kind: str) -> None:
    """Or the test above could not fail."""
    strays = dict.fromkeys(range(1, 100), "403")
    assert {outcome.status for outcome in wait(kind, strays, fails=False)} == {Status.UNREACHABLE}
