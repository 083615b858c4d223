"""One poll for all who wait for the same thing, on a clock that only waiting moves."""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import logging
import random
from collections import Counter
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from airflow_provider_cerebras.api.client import AsyncCerebrasClient
from airflow_provider_cerebras.polling import shared as polling
from airflow_provider_cerebras.polling.intervals import NEWCOMER_INTERVAL
from airflow_provider_cerebras.polling.outcome import Status
from airflow_provider_cerebras.polling.versions import ModelVersionPoller
from tests.unit.fake_service import ARCH, ENDPOINT, FakeService, version
from tests.unit.polling.virtual_time import START, Clock, VirtualTimeLoop
from tests.unit.polling.world import V1, V2, V3, World, cancel, in_virtual_time

if TYPE_CHECKING:
    from airflow_provider_cerebras.api.operations import Call
    from airflow_provider_cerebras.polling._clients import Connect
    from airflow_provider_cerebras.polling.outcome import Outcome
    from tests.unit.polling.world import Wait

LIST = f"{ARCH}/versions"
STATUS = f"endpoints/{ENDPOINT}"
BY_ALIAS = version("production")
UNAVAILABLE = httpx.Response(503, json={"detail": "be right back"})


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock.install(monkeypatch)


@pytest.fixture
def world(clock: Clock) -> World:
    """A service with three versions that are syncing, and a rollout that is going on."""
    service = FakeService()
    for name in (V1, V2, V3):
        service.sync(name)
    service.roll_out("a")
    return World(clock, service)


@in_virtual_time
class TestWhatIsAsked:
    async def test_one_waiter_of_an_architecture_polls_its_version_alone(self, world: World) -> None:
        world.wait_for_version(V1)
        assert set(await world.asked_within(100)) == {V1}

    async def test_two_waiters_of_an_architecture_share_the_list(self, world: World) -> None:
        world.wait_for_version(V1)
        world.wait_for_version(V2)
        assert set(await world.asked_within(100)) == {LIST}

    async def test_two_waiters_of_the_very_same_version_poll_that_version(self, world: World) -> None:
        world.wait_for_version(V1)
        world.wait_for_version(V1)
        assert set(await world.asked_within(100)) == {V1}

    async def test_who_is_alone_again_polls_its_version_again(self, world: World) -> None:
        world.wait_for_version(V1)
        other = world.wait_for_version(V2)
        await asyncio.sleep(10)
        await cancel(other)
        assert set(await world.asked_within(10)) == {V1}

    async def test_all_waiters_of_an_endpoint_share_its_call(self, world: World) -> None:
        for deployment in ("a", "b", "c"):
            world.wait_for_deployment(deployment)
        assert set(await world.asked_within(100)) == {STATUS}

    async def test_a_hundred_who_wait_ask_no_more_often_than_two(self, world: World) -> None:
        both = [world.wait_for_version(name) for name in (V1, V2)]
        asked_by_two = await world.asked_within(3600)
        await asyncio.gather(*map(cancel, both))
        for each in range(100):
            world.wait_for_version(world.service.sync(version(each)))
        assert await world.asked_within(3600) == asked_by_two

    async def test_architectures_and_endpoints_have_polls_of_their_own(self, world: World) -> None:
        other_version = world.service.sync(version(1, arch="orgs/my-org/models/llama-3.3-70b"))
        world.service.roll_out("b", endpoint_id="other")
        world.wait_for_version(V1)
        world.wait_for_version(other_version)
        world.wait_for_deployment("a")
        world.wait_for_deployment("b", "other")
        assert sorted(await world.asked_within(1)) == sorted([V1, other_version, STATUS, "endpoints/other"])

    async def test_each_is_told_what_became_of_its_own(self, world: World) -> None:
        names = [V1, V2, V3, world.service.sync(version(4))]
        waits = [world.wait_for_version(name) for name in names]
        world.service.finish(V1)
        world.service.sync(V2, "failed", done=True)
        await asyncio.sleep(10)
        world.service.finish(V3)
        await asyncio.sleep(10)
        outcomes = [wait.result() for wait in waits if wait.done()]
        assert [outcome.status for outcome in outcomes] == [Status.SUCCEEDED, Status.FAILED, Status.SUCCEEDED]
        assert [outcome.ids["model_version"] for outcome in outcomes] == [V1, V2, V3]

    async def test_an_alias_that_is_watched_with_others_is_found_in_the_list(self, world: World) -> None:
        world.service.sync(V1, "in_progress", "production")
        by_alias = world.wait_for_version(BY_ALIAS)
        world.wait_for_version(V2)
        await asyncio.sleep(10)
        world.service.sync(V1, "done", done=True)
        world.service.sync(V3, "in_progress", "production")  # the alias has moved
        assert (await by_alias).ids == {"model_version": V1}
        assert set(world.service.paths) == {LIST}

    async def test_an_alias_and_its_number_are_the_same_version_once_it_is_known(self, world: World) -> None:
        world.service.sync(V1, "in_progress", "production")
        world.wait_for_version(BY_ALIAS)
        world.wait_for_version(V1)
        assert (await world.asked_within(10))[:3] == [LIST, V1, V1]

    async def test_versions_that_nobody_waits_for_are_not_looked_into(self, world: World) -> None:
        world.service.rows[version(9)] = {"name": version(9), "done": "who knows", "response": {"sync_status": 7}}
        first, second = world.wait_for_version(V1), world.wait_for_version(V2)
        world.service.finish(V1)
        world.service.finish(V2)
        assert [(await first).status, (await second).status] == [Status.SUCCEEDED] * 2
        assert len(world.service.log) == 1


class RecordingPoller(ModelVersionPoller):
    """Keeps the moments at which it receives a response."""

    def __init__(self, name: str, clock: Clock) -> None:
        super().__init__(name, deadline=None, started=clock.time())
        self.moments: list[float] = []

    def apply(self, answer: object, now: float) -> Outcome | None:
        self.moments.append(now - START)
        return super().apply(answer, now)


@in_virtual_time
class TestTelling:
    """That it comes to the same as telling everyone is tested in test_sharing."""

    async def test_whose_row_has_not_changed_hears_of_the_first_look_alone(self, world: World) -> None:
        pollers = [RecordingPoller(name, world.clock) for name in (V1, V2)]
        for poller in pollers:
            world.wait(poller)
        world.wait_for_version(V3)
        await asyncio.sleep(5)
        world.service.finish(V2)
        await asyncio.sleep(100)
        assert [poller.moments for poller in pollers] == [[0], [0, 6]]

    async def test_who_comes_later_hears_of_what_all_others_know(self, world: World) -> None:
        world.wait_for_version(V1)
        world.wait_for_version(V2)
        await asyncio.sleep(5)
        poller = RecordingPoller(V2, world.clock)
        world.wait(poller)
        await asyncio.sleep(100)
        assert poller.moments == [5]


class ReadingClient(AsyncCerebrasClient):
    """Keeps the bodies that are parsed."""

    bodies: list[bytes]

    def read(self, call: Call[Any], body: bytes) -> Any:
        self.bodies.append(body)
        return super().read(call, body)


@in_virtual_time
class TestParsing:
    @staticmethod
    def connect(world: World, bodies: list[bytes]) -> Connect:
        async def connect() -> AsyncCerebrasClient:
            client = await world.service.connect(ReadingClient)
            assert isinstance(client, ReadingClient)
            client.bodies = bodies
            return client

        return connect

    async def test_a_body_that_has_not_changed_is_not_parsed_again(self, world: World) -> None:
        bodies: list[bytes] = []
        connect = self.connect(world, bodies)
        world.wait_for_version(V1, connect=connect)
        world.wait_for_version(V2, connect=connect)
        assert len(await world.asked_within(100)) > 10
        assert len(bodies) == 1

    async def test_a_body_that_has_changed_is(self, world: World) -> None:
        bodies: list[bytes] = []
        wait = world.wait_for_version(V1, connect=self.connect(world, bodies))
        await asyncio.sleep(10)
        world.service.finish(V1)
        await wait
        assert len(bodies) == 2

    async def test_an_unchanged_body_after_trouble_is_not(self, world: World) -> None:
        bodies: list[bytes] = []
        world.wait_for_version(V1, connect=self.connect(world, bodies))
        await asyncio.sleep(3)
        world.service.trouble = [(None, UNAVAILABLE)]
        await asyncio.sleep(30)
        assert world.service.trouble == []
        assert len(bodies) == 1

    async def test_the_same_body_as_the_answer_to_another_question_is(self, world: World) -> None:
        """A body says nothing without what was asked: this one can be read as a version and as a list of versions."""
        rows = [{"name": V1, "done": False}, {"name": V2, "done": False}]
        world.service.down = httpx.Response(200, json={**rows[0], "model_versions": rows})
        bodies: list[bytes] = []
        connect = self.connect(world, bodies)
        world.wait_for_version(V1, connect=connect)
        await asyncio.sleep(1)
        world.wait_for_version(V2, connect=connect)
        await asyncio.sleep(1)
        assert len(bodies) == 2

    async def test_an_answer_that_has_not_changed_still_counts_as_one(self, world: World) -> None:
        """A deployment is lost if three answers in a row are without it, be they ever so alike."""
        wait = world.wait_for_deployment("a")
        await asyncio.sleep(1)
        world.service.roll_out("b")
        world.service.endpoints[ENDPOINT] = world.service.endpoints[ENDPOINT][1:]
        assert (await wait).status is Status.LOST
        assert world.service.moments == [START, START + 2, START + 4, START + 6]


@in_virtual_time
class TestNewcomers:
    async def test_a_newcomer_is_answered_at_once(self, world: World) -> None:
        world.wait_for_version(V1)
        await asyncio.sleep(3600.5)
        world.service.finish(V2)
        newcomer = world.wait_for_version(V2)
        await newcomer
        assert world.clock.elapsed == 3600.5

    async def test_one_who_comes_during_a_request_is_answered_by_the_next_which_comes_soon(self, world: World) -> None:
        world.service.latency = 1
        world.wait_for_version(V1)
        await asyncio.sleep(0.5)
        world.wait_for_version(V2)
        await asyncio.sleep(1)
        assert world.service.paths == [V1, LIST]
        assert world.service.moments == [START, pytest.approx(START + 1 + NEWCOMER_INTERVAL)]

    async def test_many_who_come_in_a_row_cause_few_requests(self, world: World) -> None:
        world.wait_for_version(V1)
        for _ in range(1000):
            world.wait_for_version(V2)
            await asyncio.sleep(0.01)
        assert min(world.service.pauses) >= NEWCOMER_INTERVAL
        assert len(world.service.log) == pytest.approx(10 / NEWCOMER_INTERVAL, abs=2)

    async def test_many_who_come_in_a_row_are_all_answered_soon(self, world: World) -> None:
        world.wait_for_version(V1)
        world.service.finish(V2)
        waits: list[Wait] = []
        for _ in range(100):
            waits.append(world.wait_for_version(V2))
            await asyncio.sleep(0.01)
        await asyncio.sleep(NEWCOMER_INTERVAL)
        assert all(wait.done() for wait in waits)
        assert min(world.service.pauses) >= NEWCOMER_INTERVAL

    @pytest.mark.parametrize("ticks", range(16))
    async def test_one_who_comes_as_the_others_end_is_answered_soon(self, world: World, ticks: int) -> None:
        """In one of these instants the poll has told all others their end, and none of them has left yet."""
        world.service.finish(V1)
        world.wait_for_version(V1)
        for _ in range(ticks):
            await asyncio.sleep(0)
        newcomer = world.wait_for_version(V1)
        await asyncio.sleep(1)
        assert newcomer.done()


@in_virtual_time
class TestInterval:
    async def test_it_grows_with_the_time_waited(self, world: World) -> None:
        world.wait_for_version(V1, timeout=None)
        await asyncio.sleep(1000)
        assert world.service.pauses[:12] == [2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2.2]
        assert set(world.service.pauses[-5:]) == {30}

    async def test_it_is_that_of_the_shortest(self, world: World) -> None:
        world.wait_for_version(V1, poll_interval=60)
        world.wait_for_version(V2, poll_interval=5)
        await asyncio.sleep(1000)
        world.service.log.clear()
        await asyncio.sleep(60)
        assert set(world.service.pauses) == {5}

    async def test_it_is_longer_again_when_the_shortest_has_left(self, world: World) -> None:
        world.wait_for_version(V1, poll_interval=60)
        shortest = world.wait_for_version(V2, poll_interval=5)
        await asyncio.sleep(1000)
        await cancel(shortest)
        await asyncio.sleep(5)  # at most one more look that had been planned
        world.service.log.clear()
        await asyncio.sleep(600)
        assert set(world.service.pauses) == {60}

    async def test_jitter_spreads_collections_that_began_together(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(random, "uniform", random.Random(1).uniform)
        for each in range(10):
            world.service.roll_out("a", endpoint_id=f"endpoint-{each}")
            world.wait_for_deployment("a", f"endpoint-{each}")
        await asyncio.sleep(1)
        together = set(world.service.moments)
        world.service.log.clear()
        await asyncio.sleep(10)
        assert len(together) == 1
        assert len(set(world.service.moments)) == len(world.service.moments)


@in_virtual_time
class TestDeadlines:
    async def test_each_has_its_own(self, world: World) -> None:
        early, late = world.wait_for_version(V1, timeout=5), world.wait_for_version(V2, timeout=50)
        assert (await early).status is Status.TIMEOUT
        assert world.clock.elapsed == 5
        assert (await late).status is Status.TIMEOUT
        assert world.clock.elapsed == 50

    async def test_one_that_has_passed_allows_one_look_all_the_same(self, world: World) -> None:
        world.wait_for_version(V1)
        await asyncio.sleep(1000.5)
        world.service.finish(V2)
        over, done = world.wait_for_version(V3, timeout=-10), world.wait_for_version(V2, timeout=-10)
        assert [(await over).status, (await done).status] == [Status.TIMEOUT, Status.SUCCEEDED]
        assert world.clock.elapsed == 1000.5

    async def test_many_in_a_row_cause_few_requests(self, world: World) -> None:
        """Tasks that were begun together have deadlines that are next to each other."""
        waits = [world.wait_for_version(V1, timeout=100 + each / 100) for each in range(500)]
        await asyncio.sleep(99)
        world.service.log.clear()
        assert {outcome.status for outcome in await asyncio.gather(*waits)} == {Status.TIMEOUT}
        assert min(world.service.pauses) >= NEWCOMER_INTERVAL

    async def test_each_version_that_is_not_listed_has_a_minute_of_its_own(self, world: World) -> None:
        world.wait_for_version(V1)
        first = world.wait_for_version(version(8))
        await asyncio.sleep(30.5)
        second = world.wait_for_version(version(9))
        assert (await first).status is Status.LOST
        assert 60 <= world.clock.elapsed <= 66
        assert (await second).status is Status.LOST
        assert 90.5 <= world.clock.elapsed <= 100

    async def test_a_version_that_is_listed_within_its_minute_goes_on(self, world: World) -> None:
        world.wait_for_version(V1)
        wait = world.wait_for_version(version(8))
        await asyncio.sleep(50)
        world.service.sync(version(8))
        await asyncio.sleep(50)
        world.service.finish(version(8))
        assert (await wait).status is Status.SUCCEEDED

    async def test_a_deployment_is_missed_by_those_who_have_seen_it(self, world: World) -> None:
        """One that was never listed may be queued; one that was listed and is gone has been superseded."""
        saw_it = world.wait_for_deployment("a")
        await asyncio.sleep(1)
        world.service.endpoints[ENDPOINT] = []
        did_not = world.wait_for_deployment("a")
        assert (await saw_it).status is Status.LOST
        await asyncio.sleep(1000)
        assert not did_not.done()


@in_virtual_time
class TestLeaving:
    async def test_who_is_cancelled_disturbs_no_other(self, world: World) -> None:
        staying, leaving = world.wait_for_version(V1), world.wait_for_version(V2)
        await asyncio.sleep(3)
        await cancel(leaving)
        await asyncio.sleep(17)
        world.service.finish(V1)
        assert (await staying).status is Status.SUCCEEDED
        assert set(world.service.pauses) == {2}

    async def test_who_is_cancelled_during_a_request_takes_it_from_no_other(self, world: World) -> None:
        world.service.latency = 1
        world.service.finish(V1)
        staying, leaving = world.wait_for_version(V1), world.wait_for_version(V2)
        await asyncio.sleep(0.5)
        await cancel(leaving)
        await staying
        assert (world.clock.elapsed, len(world.service.log)) == (1, 1)

    @pytest.mark.parametrize("moment", [0, 0.5, 1, 1.5, 3.5], ids="after {} s".format)
    async def test_the_last_one_closes_poll_and_client(self, world: World, moment: float) -> None:
        world.service.latency = 1
        first, last = world.wait_for_version(V1), world.wait_for_version(V2)
        await asyncio.sleep(moment)
        await cancel(first)
        assert not world.service.closed
        await cancel(last)
        assert world.service.open_clients == 0
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert await world.asked_within(1000) == []

    @pytest.mark.parametrize("word", ["done", "failed"])
    async def test_the_last_one_that_ends_does_so_too(self, world: World, word: str) -> None:
        world.service.sync(V1, word, done=True)
        await world.wait_for_version(V1)
        assert world.service.closed == {1: 1}
        assert await world.asked_within(1000) == []

    @pytest.mark.parametrize("ticks", range(6))
    async def test_one_who_is_cancelled_again_while_it_closes_leaves_nothing_behind(
        self, world: World, ticks: int
    ) -> None:
        world.service.latency = world.service.closing_takes = 1
        wait = world.wait_for_version(V1)
        await asyncio.sleep(0.5)
        wait.cancel()
        for _ in range(ticks):
            await asyncio.sleep(0)
        await cancel(wait)
        await asyncio.sleep(10)
        assert world.service.open_clients == 0
        assert asyncio.all_tasks() == {asyncio.current_task()}

    @pytest.mark.parametrize("ticks", range(8))
    async def test_who_comes_while_the_last_one_leaves_begins_afresh(self, world: World, ticks: int) -> None:
        world.service.latency = 1
        leaving = world.wait_for_version(V1)
        await asyncio.sleep(0.5)
        leaving.cancel()
        for _ in range(ticks):
            await asyncio.sleep(0)
        world.service.finish(V1)
        assert (await world.wait_for_version(V1)).status is Status.SUCCEEDED
        assert world.clock.elapsed == 1.5

    async def test_the_client_stays_while_anything_of_its_connection_is_polled(self, world: World) -> None:
        version_wait, deployment_wait = world.wait_for_version(V1), world.wait_for_deployment("a")
        await asyncio.sleep(5)
        await cancel(version_wait)
        assert not world.service.closed
        assert set(await world.asked_within(5)) == {STATUS}
        await cancel(deployment_wait)
        assert world.service.closed == {1: 1}


@in_virtual_time
class TestTrouble:
    async def test_it_reaches_each_as_cannot_poll_and_ends_none(
        self, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        waits = [world.wait_for_version(V1), world.wait_for_version(V2)]
        world.service.down = UNAVAILABLE
        await asyncio.sleep(500)
        warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
        for name in (V1, V2):
            assert any(name in warning and "be right back" in warning for warning in warnings)
        world.service.down = None
        world.service.finish(V1)
        world.service.finish(V2)
        assert {outcome.status for outcome in await asyncio.gather(*waits)} == {Status.SUCCEEDED}

    @pytest.mark.parametrize("down", [UNAVAILABLE, httpx.Response(200, text="<h1>"), httpx.ConnectError("refused")])
    async def test_a_service_that_is_down_is_asked_ever_more_seldom(
        self, world: World, down: httpx.Response | Exception
    ) -> None:
        world.service.down = down
        world.wait_for_deployment("a", poll_interval=10)
        world.wait_for_deployment("b", poll_interval=10)
        await asyncio.sleep(300)
        assert world.service.pauses[:6] == [4, 8, 16, 40, 40, 40]

    async def test_it_is_asked_as_often_as_ever_once_it_is_up_again(self, world: World) -> None:
        world.service.trouble = [(None, UNAVAILABLE)] * 6
        world.wait_for_version(V1, poll_interval=10)
        await asyncio.sleep(300)
        assert set(world.service.pauses[6:]) == {10}

    @pytest.mark.parametrize("status", [400, 401, 403, 422])
    async def test_what_asking_again_cannot_help_ends_each_as_unreachable(self, world: World, status: int) -> None:
        world.service.down = httpx.Response(status, json={"detail": "the server's words"})
        waits = [world.wait_for_version(name, is_first=True) for name in (V1, V2)]
        outcomes = await asyncio.gather(*waits)
        assert {outcome.status for outcome in outcomes} == {Status.UNREACHABLE}
        assert all("the server's words" in outcome.message for outcome in outcomes)
        assert len(world.service.log) == 1

    @pytest.mark.parametrize("status", [400, 401, 403, 422])
    async def test_later_on_it_has_to_come_three_times_over_a_minute(self, world: World, status: int) -> None:
        waits = [world.wait_for_version(V1), world.wait_for_version(V2)]
        await asyncio.sleep(100)
        world.service.down = httpx.Response(status, json={"detail": "the server's words"})
        began = world.clock.elapsed
        outcomes = await asyncio.gather(*waits)
        assert {outcome.status for outcome in outcomes} == {Status.UNREACHABLE}
        assert world.clock.elapsed - began >= 60

    async def test_there_is_never_more_than_one_request_for_a_collection(self, world: World) -> None:
        world.service.latency = 60
        for name in (V1, V2, V3) * 10:
            world.wait_for_version(name, poll_interval=1)
            world.wait_for_deployment("a", poll_interval=1)
            await asyncio.sleep(7)
        assert set(world.service.most_at_once.values()) == {1}
        # The version itself, the list from the second waiter on.
        assert set(world.service.paths) == {V1, LIST, STATUS}

    @pytest.mark.parametrize(
        "row",
        [
            pytest.param({"name": V2, "done": "who knows"}, id="a field of another kind"),
            pytest.param({"name": V2, "response": {"version_aliases": 5}}, id="aliases that are no list"),
            pytest.param({"name": V2, "response": "soon"}, id="a response that is no object"),
        ],
    )
    async def test_a_row_that_is_not_as_documented_is_cannot_poll_for_its_waiter_only(
        self, world: World, row: dict[str, Any]
    ) -> None:
        world.service.rows = {V2: row, V1: {}, V3: world.service.rows[V3]}
        world.service.sync(V1, "in_progress", "production")
        its, another, by_alias = map(world.wait_for_version, (V2, V3, BY_ALIAS))
        await asyncio.sleep(100)
        world.service.finish(V3)
        world.service.finish(V1)
        assert [(await another).status, (await by_alias).status] == [Status.SUCCEEDED] * 2
        assert not its.done()
        world.service.finish(V2)
        assert (await its).status is Status.SUCCEEDED

    @pytest.mark.parametrize("row", [None, "soon", {}, {"name": None}, {"name": ["of", "two"]}, {"name": {}}], ids=repr)
    async def test_a_row_that_names_no_version_is_cannot_poll_for_who_is_not_listed_otherwise(
        self, world: World, row: object
    ) -> None:
        world.service.rows = {f"{ARCH}/versions/?": row, V3: world.service.rows[V3]}
        perhaps_this, another = world.wait_for_version(V2), world.wait_for_version(V3)
        await asyncio.sleep(100)
        world.service.finish(V3)
        assert (await another).status is Status.SUCCEEDED
        assert not perhaps_this.done()


@in_virtual_time
class TestRetryAfter:
    BUSY = httpx.Response(429, headers={"retry-after": "77"})

    async def test_it_pauses_the_collection(self, world: World) -> None:
        world.service.trouble = [(None, self.BUSY)]
        world.wait_for_version(V1)
        await asyncio.sleep(100)
        assert world.service.moments[:3] == [START, START + 77, START + 79 + 5.7]

    async def test_it_pauses_it_for_newcomers_too(self, world: World) -> None:
        world.service.trouble = [(None, self.BUSY)]
        world.wait_for_version(V1)
        for _ in range(7):
            await asyncio.sleep(10)
            world.wait_for_version(V2)
        await asyncio.sleep(10)
        assert world.service.moments[:2] == [START, START + 77]

    async def test_it_pauses_it_for_those_whose_deadline_comes_too(self, world: World) -> None:
        world.service.trouble = [(None, self.BUSY)]
        waits = [world.wait_for_version(V1, timeout=timeout) for timeout in (5, 10, 60)]
        outcomes = await asyncio.gather(*waits)
        assert world.service.moments == [START, START + 77]
        assert {outcome.status for outcome in outcomes} == {Status.TIMEOUT}

    async def test_it_pauses_no_other_collection(self, world: World) -> None:
        world.service.trouble = [(V1, self.BUSY)]
        world.wait_for_version(V1)
        world.wait_for_deployment("a")
        assert await world.asked_within(10) == [V1, *[STATUS] * 5]


@in_virtual_time
class TestMistakesOfOurs:
    async def test_one_in_the_poll_reaches_all_instead_of_hanging_them(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def broken(*args: object, **kwargs: object) -> float:
            raise LookupError("a mistake of ours")

        monkeypatch.setattr(polling, "pause", broken)
        waits = [world.wait_for_version(V1), world.wait_for_version(V2)]
        results = await asyncio.gather(*waits, return_exceptions=True)
        assert [str(result) for result in results] == ["a mistake of ours"] * 2

    @pytest.mark.parametrize("ticks", range(12))
    async def test_who_comes_to_a_poll_that_has_just_broken_is_not_left_hanging(
        self, world: World, monkeypatch: pytest.MonkeyPatch, ticks: int
    ) -> None:
        def broken(*args: object, **kwargs: object) -> float:
            raise LookupError("a mistake of ours")

        monkeypatch.setattr(polling, "pause", broken)
        first = world.wait_for_version(V1)
        for _ in range(ticks):
            await asyncio.sleep(0)
        second = world.wait_for_version(V1)
        with suppress(LookupError):
            await first
        with pytest.raises(LookupError):
            await second

    async def test_one_in_a_waiter_disturbs_no_other(self, world: World) -> None:
        class Broken(ModelVersionPoller):
            def apply(self, answer: object, now: float) -> None:
                raise LookupError("a mistake of ours")

        other = world.wait_for_version(V1)
        broken = world.wait(Broken(V2, deadline=None, started=world.clock.time()))
        with pytest.raises(LookupError):
            await broken
        world.service.finish(V1)
        assert (await other).status is Status.SUCCEEDED


@in_virtual_time
class TestConnection:
    async def test_one_client_serves_all_of_a_connection(self, world: World) -> None:
        for name in (V1, V2):
            world.wait_for_version(name)
        world.wait_for_deployment("a")
        await asyncio.sleep(60)
        assert world.service.opened == 1
        assert {asked.client for asked in world.service.log} == {1}

    async def test_it_is_read_once_although_that_takes_a_while(self, world: World) -> None:
        async def connect() -> AsyncCerebrasClient:
            await asyncio.sleep(10)
            return await world.service.connect()

        world.wait_for_version(V1, connect=connect)
        world.wait_for_deployment("a", connect=connect)
        await asyncio.sleep(15)
        assert world.service.opened == 1
        assert sorted(set(world.service.paths)) == sorted([STATUS, V1])

    async def test_who_leaves_while_it_is_read_takes_it_from_no_other(self, world: World) -> None:
        async def connect() -> AsyncCerebrasClient:
            await asyncio.sleep(10)
            return await world.service.connect()

        leaving = world.wait_for_version(V1, connect=connect)
        world.wait_for_deployment("a", connect=connect)
        await asyncio.sleep(5)
        await cancel(leaving)
        await asyncio.sleep(15)
        assert world.service.opened == 1
        assert set(world.service.paths) == {STATUS}

    async def test_connections_have_clients_and_polls_of_their_own(self, world: World) -> None:
        for conn_id in ("one", "other"):
            world.wait_for_deployment("a", conn_id=conn_id)
        await asyncio.sleep(1)
        assert [(asked.client, asked.path) for asked in world.service.log] == [(1, STATUS), (2, STATUS)]

    @pytest.mark.parametrize("error", [OSError("secrets backend is down"), RuntimeError("no supervisor")])
    async def test_one_that_cannot_be_read_now_is_read_again(self, world: World, error: Exception) -> None:
        """Issue 70398 of Airflow: a local error was reported as the failure of the job."""
        world.service.finish(V1)
        failing = [error, error]

        async def connect() -> AsyncCerebrasClient:
            if failing:
                raise failing.pop()
            return await world.service.connect()

        outcome = await world.wait_for_version(connect=connect)
        assert (outcome.status, world.clock.elapsed) == (Status.SUCCEEDED, 4 + 8)

    async def test_one_that_cannot_be_read_until_the_deadline_is_a_time_out(self, world: World) -> None:
        async def connect() -> AsyncCerebrasClient:
            raise OSError("secrets backend is down")

        outcome = await world.wait_for_version(connect=connect)
        assert outcome.status is Status.TIMEOUT
        assert "secrets backend is down" in outcome.message

    async def test_one_that_cannot_be_used_is_unreachable_at_once(self, world: World) -> None:
        async def connect() -> AsyncCerebrasClient:
            raise ValueError("Connection 'cerebras_default', field password: is empty.")

        outcome = await world.wait_for_version(connect=connect, is_first=True)
        assert outcome.status is Status.UNREACHABLE
        assert "field password" in outcome.message
        assert world.clock.elapsed == 0


@in_virtual_time
class TestCorrectedConnection:
    """Another host, say: every waiter uses it, old ones too."""

    @staticmethod
    def connection(world: World) -> tuple[dict[str, str], Connect]:
        fields = {"base_url": "https://old.example"}

        async def connect() -> AsyncCerebrasClient:
            return await world.service.connect(base_url=fields["base_url"])

        return fields, connect

    @pytest.mark.parametrize(
        "down",
        [
            httpx.ConnectError("no such host"),
            httpx.Response(404, html="<h1>default backend - 404"),
            httpx.Response(200, html="<h1>It works!"),
        ],
        ids=["refused", "404 of an ingress", "another site"],
    )
    async def test_it_is_used_while_old_ones_wait(self, world: World, down: httpx.Response | Exception) -> None:
        fields, connect = self.connection(world)
        world.service.down_hosts["old.example"] = down
        old = world.wait_for_version(V1, connect=connect)
        await asyncio.sleep(100)
        fields["base_url"] = "https://new.example"
        await asyncio.sleep(300)
        world.service.finish(V1)
        assert (await old).status is Status.SUCCEEDED
        assert world.service.open_clients == 0

    async def test_a_new_waiter_has_it_read_again_though_all_goes_well(self, world: World) -> None:
        fields, connect = self.connection(world)
        world.wait_for_version(V1, connect=connect)
        await asyncio.sleep(100)
        fields["base_url"] = "https://new.example"
        world.wait_for_version(V2, connect=connect)
        await asyncio.sleep(50)
        assert world.service.log[-1].host == "new.example"
        assert world.service.open_clients == 1

    async def test_new_waiters_read_one_that_is_good_once_a_minute_at_the_most(self, world: World) -> None:
        _, connect = self.connection(world)
        for _ in range(300):
            world.wait_for_version(V1, connect=connect)
            await asyncio.sleep(1)
        assert world.service.opened <= 6
        assert world.service.open_clients == 1
        assert {asked.client for asked in world.service.log} == {1}

    async def test_one_that_cannot_be_read_for_a_new_waiter_stays_as_it_was(self, world: World) -> None:
        _, good = self.connection(world)
        failing: list[Exception] = []

        async def connect() -> AsyncCerebrasClient:
            if failing:
                raise failing.pop()
            return await good()

        world.wait_for_version(V1, connect=connect)
        await asyncio.sleep(100)
        failing.append(OSError("secrets backend"))
        world.service.finish(V2)
        polls = len(world.service.log)
        assert (await world.wait_for_version(V2, connect=connect)).status is Status.SUCCEEDED
        # At the first poll: what could not be read is no trouble for who waits.
        assert len(world.service.log) == polls + 1
        assert world.clock.elapsed < 101
        assert failing == []


@in_virtual_time
class TestSingles:
    """A list is no verdict on what it does not show."""

    async def test_a_version_that_the_list_lacks_is_asked_for_by_itself(self, world: World) -> None:
        world.service.unlisted = {V1, BY_ALIAS}
        waits = [world.wait_for_version(name) for name in (V1, V2, V3)]
        await asyncio.sleep(500)
        assert not any(wait.done() for wait in waits)
        assert {V1, LIST} == set(world.service.paths)
        world.service.finish(V1)
        assert (await waits[0]).status is Status.SUCCEEDED
        assert set(await world.asked_within(100)) == {LIST}

    async def test_a_deadline_waits_for_the_own_answer(self, world: World) -> None:
        world.service.unlisted = {V1}
        world.service.finish(V1)
        world.wait_for_version(V2)
        assert (await world.wait_for_version(V1, timeout=-10)).status is Status.SUCCEEDED

    async def test_a_list_that_is_refused_for_its_size_is_replaced_by_own_calls(self, world: World) -> None:
        world.service.too_many = True
        names = [world.service.sync(version(number)) for number in range(100)]
        waits = [world.wait_for_version(name) for name in names]
        await asyncio.sleep(60)
        for name in names:
            world.service.finish(name)
        assert {outcome.status for outcome in await asyncio.gather(*waits)} == {Status.SUCCEEDED}
        assert world.clock.elapsed < 600
        assert world.service.paths.count(LIST) < 6

    async def test_a_list_that_cannot_be_read_is_asked_for_more_and_more_seldom(self, world: World) -> None:
        world.service.too_many = True
        for name in (V1, V2):
            world.wait_for_version(name)
        await asyncio.sleep(4000)

        moments = [asked.at for asked in world.service.log if asked.path == LIST]
        gaps = [later - earlier for earlier, later in itertools.pairwise(moments)]
        assert gaps[0] <= 30
        # It is asked for with the next poll after the pause.
        for gap, least in zip(gaps[1:], (60, 120, 240, 480, 600, 600), strict=False):
            assert least <= gap <= least + 70
        assert len(gaps) >= 6

    async def test_a_list_that_can_be_read_again_begins_the_pauses_again(self, world: World) -> None:
        world.service.too_many = True
        for name in (V1, V2):
            world.wait_for_version(name)
        await asyncio.sleep(300)
        world.service.too_many = False
        await asyncio.sleep(300)
        asked = len(world.service.log)
        world.service.too_many = True
        await asyncio.sleep(200)

        moments = [asked.at for asked in world.service.log[asked:] if asked.path == LIST]
        gaps = [later - earlier for earlier, later in itertools.pairwise(moments)]
        # After the first one polls slow down once.
        assert gaps[0] <= 70
        assert 60 <= gaps[1] <= 130

    async def test_own_calls_that_succeed_go_on_at_the_usual_pace(self, world: World) -> None:
        for name in (V1, V2):
            world.wait_for_version(name)
        await asyncio.sleep(1200)
        usual = Counter(await world.asked_within(1200))[LIST]
        world.service.too_many = True
        own = Counter(await world.asked_within(1200))
        assert own[V1] == own[V2] >= usual - 5

    async def test_own_calls_that_fail_slow_down(self, world: World) -> None:
        world.service.too_many = True
        for name in (V1, V2):
            world.wait_for_version(name)
        await asyncio.sleep(1200)
        usual = Counter(await world.asked_within(1200))[V1]
        for name in (V1, V2):
            world.service.rows[name]["name"] = V3  # about another one
        assert Counter(await world.asked_within(1200))[V1] < usual / 2

    async def test_own_calls_that_find_nothing_do_not_slow_down(self, world: World) -> None:
        world.service.too_many = True
        lost = [world.wait_for_version(version(number), poll_interval=5) for number in (8, 9)]
        assert {outcome.status for outcome in await asyncio.gather(*lost)} == {Status.LOST}
        assert Counter(world.service.paths)[version(8)] > 60 / 5

    async def test_each_has_its_turn_where_there_are_more_than_a_round_takes(self, world: World) -> None:
        world.service.too_many = True
        names = [world.service.sync(version(number)) for number in range(100)]
        for name in names:
            world.wait_for_version(name)
        asked = Counter(await world.asked_within(1200))
        assert max(asked[name] for name in names) - min(asked[name] for name in names) <= 1

    @pytest.mark.parametrize("after", [0, 3])
    async def test_one_broken_list_is_trouble_for_that_poll_alone(self, world: World, after: float) -> None:
        for name in (V1, V2):
            world.wait_for_version(name)
        await asyncio.sleep(after)
        world.service.trouble = [(LIST, httpx.Response(200, content=b"{"))]
        await asyncio.sleep(100)
        assert set(world.service.paths) == {LIST}

    async def test_single_ones_that_are_gone_do_not_slow_the_others_down(self, world: World) -> None:
        lost = world.wait_for_version(version(8))
        for name in (V1, V2):
            world.wait_for_version(name)
        await lost
        moments = [asked.at for asked in world.service.log if asked.path == LIST]
        assert max(later - earlier for earlier, later in itertools.pairwise(moments)) <= 10


@in_virtual_time
class TestKey:
    @staticmethod
    def wait_for_all(world: World, **kwargs: Any) -> list[Wait]:
        """Wait for something in each of three collections."""
        other = world.service.roll_out("b", endpoint_id="other")
        return [
            world.wait_for_version(V1, **kwargs),
            world.wait_for_deployment("a", **kwargs),
            world.wait_for_deployment(other, "other", **kwargs),
        ]

    async def test_one_that_never_worked_is_unreachable_at_once(self, world: World) -> None:
        async def connect() -> AsyncCerebrasClient:
            client = await world.service.connect()
            world.service.key = "another"
            return client

        outcomes = await asyncio.gather(*self.wait_for_all(world, connect=connect, is_first=True))
        assert {outcome.status for outcome in outcomes} == {Status.UNREACHABLE}
        assert (world.service.opened, world.clock.elapsed) == (1, 0)

    @pytest.mark.parametrize("latency", [0, 0.5])
    async def test_one_that_was_replaced_is_read_anew_once_for_all(self, world: World, latency: float) -> None:
        world.service.latency = latency
        waits = self.wait_for_all(world)
        await asyncio.sleep(60)
        world.service.key = "rotated"
        await asyncio.sleep(60)
        assert not any(wait.done() for wait in waits)
        assert world.service.opened == 2

    async def test_the_first_refusal_has_it_read_anew(self, world: World) -> None:
        world.wait_for_version(V1)
        await asyncio.sleep(60)
        world.service.key = "rotated"
        before = len(world.service.log)
        await asyncio.sleep(60)
        assert [asked.client for asked in world.service.log[before : before + 3]] == [1, 2, 2]
        assert world.service.log[before].at == world.service.log[before + 1].at

    async def test_it_may_be_replaced_more_than_once(self, world: World) -> None:
        waits = self.wait_for_all(world)
        for key in ("rotated", "rotated-again"):
            await asyncio.sleep(60)
            world.service.key = key
        await asyncio.sleep(60)
        assert not any(wait.done() for wait in waits)
        assert world.service.opened == 3

    async def test_a_refusal_that_comes_after_the_new_one_has_worked_ends_nothing(self, world: World) -> None:
        waits = self.wait_for_all(world)
        await asyncio.sleep(60)
        slow = world.service.slow_paths = {STATUS: 1.5}
        world.service.key = "rotated"
        await asyncio.sleep(60)
        slow.clear()
        await asyncio.sleep(60)
        assert not any(wait.done() for wait in waits)
        assert world.service.opened == 2

    async def test_one_that_was_taken_away_is_unreachable_after_a_minute(self, world: World) -> None:
        waits = self.wait_for_all(world)
        await asyncio.sleep(60)
        world.service.down = httpx.Response(401, json={"detail": "who are you?"})
        outcomes = await asyncio.gather(*waits)
        assert {outcome.status for outcome in outcomes} == {Status.UNREACHABLE}
        assert world.clock.elapsed >= 120
        assert world.service.opened <= 10
        # The same key again would be refused again.
        asked = Counter((asked.path, asked.at) for asked in world.service.log)
        assert set(asked.values()) == {1}
        assert world.service.open_clients == 0

    @pytest.mark.parametrize("late", [1, 20, 55])
    async def test_one_that_is_replaced_at_the_service_first_ends_nothing(self, world: World, late: float) -> None:
        """The connection follows later: until then the service refuses the key that it holds."""
        connection = [world.service.key]

        async def connect() -> AsyncCerebrasClient:
            return await world.service.connect(key=connection[0])

        waits = self.wait_for_all(world, connect=connect)
        await asyncio.sleep(60)
        world.service.key = "rotated"
        await asyncio.sleep(late)
        connection[0] = "rotated"
        await asyncio.sleep(600)
        assert not any(wait.done() for wait in waits)
        assert {asked.client for asked in world.service.log[-10:]} == {world.service.opened}
        assert world.service.open_clients == 1

    async def test_refusals_by_turns_leave_one_client_open_and_read_the_connection_seldom(self, world: World) -> None:
        wait = world.wait_for_deployment("a")
        for _ in range(100):
            world.service.trouble = [(None, httpx.Response(401, json={"detail": "who are you?"}))]
            before = len(world.service.log)
            while len(world.service.log) < before + 2:  # noqa: ASYNC110  time is virtual
                await asyncio.sleep(1)
        assert not wait.done()
        assert world.service.open_clients == 1
        assert {asked.client for asked in world.service.log} == {1}
        assert world.service.opened < len(world.service.log) / 4

    async def test_one_that_cannot_be_read_anew_yet_is_cannot_poll(self, world: World) -> None:
        failing: list[Exception] = []

        async def connect() -> AsyncCerebrasClient:
            if failing:
                raise failing.pop()
            return await world.service.connect()

        waits = self.wait_for_all(world, connect=connect)
        await asyncio.sleep(60)
        failing += [OSError("secrets backend is down")] * 2
        world.service.key = "rotated"
        await asyncio.sleep(100)
        assert not any(wait.done() for wait in waits)
        assert world.service.opened == 2


def test_event_loops_have_clients_and_polls_of_their_own(clock: Clock, world: World) -> None:
    loops = [VirtualTimeLoop(clock) for _ in range(2)]
    for loop in loops:

        async def begin() -> None:
            world.wait_for_deployment("a")
            await asyncio.sleep(1)

        loop.run_until_complete(begin())
    assert [(asked.client, asked.loop) for asked in world.service.log] == [(1, loops[0]), (2, loops[1])]
    for loop, still_open in zip(loops, (1, 0), strict=True):
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(1))
        assert world.service.open_clients == still_open
        loop.close()


whose: contextvars.ContextVar[str] = contextvars.ContextVar("whose", default="nobody's")


class Lines(logging.Handler):
    """Airflow tells by the context whose log a line belongs to; so does this."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[tuple[str, str, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append((record.name, whose.get(), record.getMessage()))

    def of(self, logger: str) -> list[tuple[str, str]]:
        return [(owner, line) for name, owner, line in self.lines if name == logger]


class LoggingClient(AsyncCerebrasClient):
    """Logs each poll, as a library below it may."""

    async def fetch_once(self, call: Call[Any]) -> bytes:
        logging.getLogger("tests.client").info("%s", call.path)
        return await super().fetch_once(call)


@in_virtual_time
class TestLogs:
    @pytest.fixture(autouse=True)
    def lines(self, monkeypatch: pytest.MonkeyPatch) -> Lines:
        lines = Lines()
        for name in ("tests.polling", "tests.client", "httpx"):
            logger = logging.getLogger(name)
            monkeypatch.setattr(logger, "handlers", [lines])
            monkeypatch.setattr(logger, "level", logging.INFO)
            monkeypatch.setattr(logger, "disabled", False)
            logger.manager._clear_cache()  # type: ignore[attr-defined]  # levels are cached
        return lines

    @staticmethod
    def wait_as(world: World, owner: str, name: str) -> Wait:
        context = contextvars.copy_context()
        context.run(whose.set, owner)
        connect = partial(world.service.connect, LoggingClient)
        return context.run(partial(world.wait_for_version, name, connect=connect))

    async def test_each_line_is_in_the_log_of_who_waits(self, world: World, lines: Lines) -> None:
        waits = [self.wait_as(world, f"the waiter's for {name}", name) for name in (V1, V2)]
        await asyncio.sleep(10)
        world.service.down = UNAVAILABLE
        await asyncio.sleep(10)
        world.service.down = None
        for name in (V1, V2):
            world.service.finish(name)
        await asyncio.gather(*waits)
        found = lines.of("tests.polling")
        assert len(found) >= 6
        assert all(owner == f"the waiter's for {V1 if V1 in line else V2}" for owner, line in found)

    async def test_what_the_poll_says_is_in_nobody_s(self, world: World, lines: Lines) -> None:
        self.wait_as(world, "the first one's", V1)
        self.wait_as(world, "the second one's", V2)
        await asyncio.sleep(10)
        found = lines.of("tests.client")
        assert len(found) == len(world.service.log)
        assert {owner for owner, _ in found} == {"nobody's"}
        assert lines.of("httpx") == []  # it would log each request
