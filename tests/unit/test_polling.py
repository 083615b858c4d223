"""How often to look, and the two loops, on a clock that only sleeping moves."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_cerebras.api.client import AsyncCerebrasClient, CerebrasClient, ClientSettings
from airflow_provider_cerebras.polling import MIN_INTERVAL, look, next_interval, wait, wait_async
from airflow_provider_cerebras.waiting import DeploymentWatch, ModelVersionWatch, Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_cerebras.waiting import Outcome, Watch

    Loop = Callable[["Network", Watch[Any], float], Outcome]

V1 = "orgs/my-org/models/gpt-oss-120b/versions/1"
START = 1_736_700_000.0
SETTINGS = ClientSettings(management_key="mgmt-key-5b1e")
LOG = logging.getLogger("tests.polling")

seconds = st.floats(min_value=0, max_value=10**7)
intervals = st.floats(min_value=0.01, max_value=3600)
jitters = st.floats(min_value=-1, max_value=1)


class TestInterval:
    @given(waited=seconds, poll_interval=intervals, failures=st.integers(0, 10**6), jitter=jitters)
    def test_it_is_never_less_than_the_floor(
        self, waited: float, poll_interval: float, failures: int, jitter: float
    ) -> None:
        interval = next_interval(waited=waited, poll_interval=poll_interval, failures=failures, jitter=jitter)
        assert interval >= min(MIN_INTERVAL, poll_interval) * 0.9 * (1 - 1e-9)

    @given(waited=seconds, poll_interval=intervals)
    def test_it_is_never_more_than_poll_interval_while_the_service_answers(
        self, waited: float, poll_interval: float
    ) -> None:
        assert next_interval(waited=waited, poll_interval=poll_interval) <= poll_interval

    @given(waited=st.floats(min_value=20, max_value=10**6))
    def test_in_between_it_is_a_tenth_of_the_time_already_waited(self, waited: float) -> None:
        assert next_interval(waited=waited, poll_interval=10**6) == pytest.approx(waited / 10)

    @given(one=seconds, other=seconds, poll_interval=intervals)
    def test_it_never_shrinks_while_a_wait_goes_on(self, one: float, other: float, poll_interval: float) -> None:
        shorter, longer = sorted((one, other))
        assert next_interval(waited=shorter, poll_interval=poll_interval) <= next_interval(
            waited=longer, poll_interval=poll_interval
        )

    @given(waited=seconds, poll_interval=intervals, failures=st.integers(0, 10**6))
    def test_each_look_without_an_answer_slows_it_down_to_four_poll_intervals_at_most(
        self, waited: float, poll_interval: float, failures: int
    ) -> None:
        now = next_interval(waited=waited, poll_interval=poll_interval, failures=failures)
        after_one_more = next_interval(waited=waited, poll_interval=poll_interval, failures=failures + 1)
        assert now <= after_one_more <= 4 * poll_interval

    @pytest.mark.parametrize(("failures", "interval"), [(0, 10), (1, 20), (2, 40), (3, 40), (1000, 40)])
    def test_looks_without_an_answer_double_it(self, failures: int, interval: float) -> None:
        assert next_interval(waited=100, poll_interval=10, failures=failures) == interval

    @given(waited=seconds, poll_interval=intervals, retry_after=st.floats(0, 10**6), jitter=jitters)
    def test_it_is_never_less_than_what_the_service_asked_for_up_to_two_minutes(
        self, waited: float, poll_interval: float, retry_after: float, jitter: float
    ) -> None:
        interval = next_interval(waited=waited, poll_interval=poll_interval, retry_after=retry_after, jitter=jitter)
        assert interval >= min(retry_after, 120)

    @pytest.mark.parametrize("retry_after", [121, 86400, float("inf")])
    def test_the_service_cannot_ask_for_more_than_two_minutes(self, retry_after: float) -> None:
        assert next_interval(waited=0, poll_interval=5, retry_after=retry_after) == 120

    @given(waited=seconds, poll_interval=intervals, failures=st.integers(0, 10), jitter=jitters)
    def test_jitter_shifts_it_by_a_tenth_at_most(
        self, waited: float, poll_interval: float, failures: int, jitter: float
    ) -> None:
        exact = next_interval(waited=waited, poll_interval=poll_interval, failures=failures)
        shifted = next_interval(waited=waited, poll_interval=poll_interval, failures=failures, jitter=jitter)
        assert exact * 0.9 * (1 - 1e-9) <= shifted <= exact * 1.1 * (1 + 1e-9)

    def test_jitter_keeps_waiters_apart(self) -> None:
        assert next_interval(waited=0, poll_interval=5, jitter=-1) < next_interval(waited=0, poll_interval=5, jitter=1)

    def test_a_clock_that_was_set_back_does_no_harm(self) -> None:
        assert next_interval(waited=-3600, poll_interval=30) == MIN_INTERVAL


class Clock:
    """The time, which only sleeping moves."""

    def __init__(self) -> None:
        self.now = START
        self.pauses: list[float] = []

    def time(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    async def sleep_async(self, seconds: float) -> None:
        self.sleep(seconds)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "time", clock.time)
    monkeypatch.setattr(time, "sleep", clock.sleep)
    monkeypatch.setattr(asyncio, "sleep", clock.sleep_async)
    monkeypatch.setattr(random, "uniform", lambda low, high: (low + high) / 2)
    return clock


class Network(httpx.AsyncBaseTransport, httpx.BaseTransport):
    """Answers as scripted, the last answer for ever; knows when it was closed."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self._answers = list(answers)
        self.requests: list[httpx.Request] = []
        self.closed = 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return self.handle_request(request)

    def close(self) -> None:
        self.closed += 1

    async def aclose(self) -> None:
        self.closed += 1

    async def connect(self) -> AsyncCerebrasClient:
        return AsyncCerebrasClient(SETTINGS, verify=False, transport=self)


def sync_status(word: str, *, done: bool = False) -> httpx.Response:
    return httpx.Response(200, json={"name": V1, "done": done, "response": {"sync_status": word}})


QUEUED, GOING, DONE = sync_status("queued"), sync_status("in_progress"), sync_status("done", done=True)
FAILED = sync_status("failed", done=True)


def version_watch(deadline: float | None = START + 1000) -> ModelVersionWatch:
    return ModelVersionWatch(V1, deadline=deadline, started=START)


def wait_sync(network: Network, watch: Watch[Any], poll_interval: float) -> Outcome:
    with CerebrasClient(SETTINGS, transport=network) as client:
        return wait(client, watch, poll_interval=poll_interval, log=LOG)


def wait_on_a_loop(network: Network, watch: Watch[Any], poll_interval: float) -> Outcome:
    return asyncio.run(wait_async(network.connect, watch, poll_interval=poll_interval, log=LOG))


@pytest.mark.parametrize("loop", [wait_sync, wait_on_a_loop], ids=["sync", "async"])
class TestBothLoops:
    def test_it_looks_until_the_end(self, clock: Clock, loop: Loop) -> None:
        network = Network(QUEUED, GOING, GOING, DONE)
        assert loop(network, version_watch(), 30).status is Status.SUCCEEDED
        assert len(network.requests) == 4
        assert clock.pauses == [2, 2, 2]

    def test_it_sends_nothing_but_looks(self, clock: Clock, loop: Loop) -> None:
        network = Network(QUEUED, httpx.Response(503), DONE)
        loop(network, version_watch(), 30)
        assert {request.method for request in network.requests} == {"GET"}

    def test_a_failure_is_the_outcome_and_no_exception(self, clock: Clock, loop: Loop) -> None:
        outcome = loop(Network(GOING, FAILED), version_watch(), 30)
        assert outcome.status is Status.FAILED
        assert "'failed'" in outcome.message

    @pytest.mark.parametrize(
        "trouble",
        [
            httpx.Response(500),
            httpx.Response(502, html="<h1>Bad Gateway"),
            httpx.Response(429),
            httpx.Response(200, content=b"{"),
            httpx.ConnectError("refused"),
            httpx.ReadTimeout("no answer"),
            httpx.RemoteProtocolError("disconnected"),
        ],
        ids=["500", "502", "429", "200 broken", "refused", "time-out", "disconnected"],
    )
    def test_trouble_passes_without_a_trace_in_the_outcome(
        self,
        clock: Clock,
        loop: Loop,
        trouble: httpx.Response | Exception,
    ) -> None:
        """Issue 67219 of Airflow: a passing 5xx in the trigger failed the task."""
        network = Network(GOING, *[trouble] * 20, DONE)
        assert loop(network, version_watch(None), 30).status is Status.SUCCEEDED
        assert len(network.requests) == 22

    def test_trouble_until_the_deadline_is_a_time_out(self, clock: Clock, loop: Loop) -> None:
        outcome = loop(Network(httpx.ConnectError("refused")), version_watch(), 30)
        assert (outcome.status, clock.now) == (Status.TIMEOUT, START + 1000)

    def test_each_look_is_one_request_and_looks_slow_down_while_there_is_trouble(
        self, clock: Clock, loop: Loop
    ) -> None:
        network = Network(*[httpx.Response(503)] * 6, DONE)
        loop(network, version_watch(), 10)
        assert clock.pauses == [4, 8, 16, 40, 40, 40]
        assert len(network.requests) == 7

    def test_what_the_service_asks_for_is_waited(self, clock: Clock, loop: Loop) -> None:
        loop(Network(httpx.Response(429, headers={"retry-after": "77"}), DONE), version_watch(), 10)
        assert clock.pauses == [77]

    def test_the_last_look_is_at_the_deadline(self, clock: Clock, loop: Loop) -> None:
        outcome = loop(Network(GOING), version_watch(START + 5), 30)
        assert outcome.status is Status.TIMEOUT
        assert clock.pauses == [2, 2, 1]

    def test_a_deadline_that_has_passed_allows_one_look(self, clock: Clock, loop: Loop) -> None:
        done, going = Network(DONE), Network(GOING)
        assert loop(done, version_watch(START - 100), 30).status is Status.SUCCEEDED
        assert loop(going, version_watch(START - 100), 30).status is Status.TIMEOUT
        assert (len(done.requests), len(going.requests), clock.pauses) == (1, 1, [])

    def test_completion_is_noticed_within_about_a_tenth_of_the_time_it_took(self, clock: Clock, loop: Loop) -> None:
        network = Network(*[GOING] * 60, DONE)
        loop(network, version_watch(None), 86400)
        assert max(clock.pauses) <= (clock.now - START) / 10
        assert clock.pauses == sorted(clock.pauses)

    def test_an_unknown_word_is_shown_once_and_the_wait_goes_on(
        self,
        clock: Clock,
        loop: Loop,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        caplog.set_level(logging.INFO, LOG.name)
        loop(Network(GOING, *[sync_status("warming_up")] * 5, DONE), version_watch(), 30)
        lines = [record.getMessage() for record in caplog.records if record.name == LOG.name]
        assert [line for line in lines if "warming_up" in line] == [
            f"Model version {V1}: sync_status 'warming_up', a word that this provider does not know."
        ]
        assert len(lines) == 3

    def test_a_look_without_an_answer_is_a_warning(
        self,
        clock: Clock,
        loop: Loop,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        caplog.set_level(logging.INFO, LOG.name)
        loop(Network(httpx.Response(503, json={"detail": "be right back"}), DONE), version_watch(), 30)
        (warning,) = [record for record in caplog.records if record.levelno == logging.WARNING]
        assert "be right back" in warning.getMessage()
        assert "it will be asked again" in warning.getMessage()


class TestLook:
    def test_one_look_is_one_request(self) -> None:
        network = Network(httpx.Response(503))
        with CerebrasClient(SETTINGS, transport=network) as client:
            assert look(client, version_watch(None), log=LOG) is None
        assert len(network.requests) == 1

    def test_a_deployment_is_looked_for_on_its_endpoint(self) -> None:
        entries = [{"id": "other", "state": "failed"}, {"id": "ours", "state": "complete"}]
        network = Network(httpx.Response(200, json={"name": "my-endpoint", "deployed_models": entries}))
        watch = DeploymentWatch("my-endpoint", "ours", deadline=None, started=START)
        with CerebrasClient(SETTINGS, transport=network) as client:
            outcome = look(client, watch, log=LOG)
        assert outcome is not None
        assert outcome.status is Status.SUCCEEDED
        assert network.requests[0].url.path == "/management/v1/endpoints/my-endpoint"


class TestOnALoop:
    @pytest.mark.parametrize("end", [DONE, FAILED, httpx.Response(401)], ids=["succeeded", "failed", "unreachable"])
    def test_the_client_is_closed_at_the_end(self, clock: Clock, end: httpx.Response) -> None:
        network = Network(GOING, end)
        wait_on_a_loop(network, version_watch(), 30)
        assert network.closed == 1

    def test_one_client_serves_the_whole_wait(self, clock: Clock) -> None:
        network, made = Network(GOING, httpx.Response(503), GOING, DONE), []

        async def connect() -> AsyncCerebrasClient:
            made.append(await network.connect())
            return made[-1]

        asyncio.run(wait_async(connect, version_watch(), poll_interval=30, log=LOG))
        assert len(made) == 1

    async def test_a_wait_that_is_cancelled_closes_its_client(self) -> None:
        asked = asyncio.Event()

        class Silent(Network):
            async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
                asked.set()
                await asyncio.Event().wait()
                raise AssertionError

        network = Silent()
        task = asyncio.create_task(wait_async(network.connect, version_watch(None), poll_interval=30, log=LOG))
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert network.closed == 1

    async def test_a_wait_that_is_cancelled_between_two_looks_closes_its_client(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asleep = asyncio.Event()

        async def sleep(seconds: float) -> None:
            asleep.set()
            await asyncio.Event().wait()

        monkeypatch.setattr(asyncio, "sleep", sleep)
        network = Network(GOING)
        task = asyncio.create_task(wait_async(network.connect, version_watch(None), poll_interval=30, log=LOG))
        await asleep.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert network.closed == 1

    @pytest.mark.parametrize("error", [OSError("secrets backend is down"), RuntimeError("no supervisor")])
    def test_a_connection_that_cannot_be_read_now_is_read_again(self, clock: Clock, error: Exception) -> None:
        """Issue 70398 of Airflow: a local error was reported as the failure of the job."""
        network = Network(DONE)
        failing = [error, error]

        async def connect() -> AsyncCerebrasClient:
            if failing:
                raise failing.pop()
            return await network.connect()

        outcome = asyncio.run(wait_async(connect, version_watch(), poll_interval=30, log=LOG))
        assert (outcome.status, network.closed, clock.pauses) == (Status.SUCCEEDED, 1, [4, 8])

    def test_a_connection_that_cannot_be_read_until_the_deadline_is_a_time_out(self, clock: Clock) -> None:
        async def connect() -> AsyncCerebrasClient:
            raise OSError("secrets backend is down")

        outcome = asyncio.run(wait_async(connect, version_watch(), poll_interval=30, log=LOG))
        assert outcome.status is Status.TIMEOUT
        assert "secrets backend is down" in outcome.message

    def test_a_connection_that_cannot_be_used_is_unreachable_at_once(self, clock: Clock) -> None:
        async def connect() -> AsyncCerebrasClient:
            raise ValueError("Connection 'cerebras_default', field password: is empty.")

        outcome = asyncio.run(wait_async(connect, version_watch(), poll_interval=30, log=LOG))
        assert outcome.status is Status.UNREACHABLE
        assert "field password" in outcome.message
        assert clock.pauses == []
