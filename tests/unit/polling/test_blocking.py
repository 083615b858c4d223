"""Waiting on a worker; and that one who waits alone on an event loop fares no differently."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from airflow_provider_cerebras.polling.blocking import BlockingWait
from airflow_provider_cerebras.polling.deployments import DeploymentPoller
from airflow_provider_cerebras.polling.outcome import Status
from airflow_provider_cerebras.polling.reconnection import MIN_PAUSE
from airflow_provider_cerebras.polling.shared import wait_async
from airflow_provider_cerebras.polling.versions import ModelVersionPoller
from tests.unit.fake_service import FakeService, version
from tests.unit.polling.virtual_time import START, Clock, run

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_cerebras.polling.outcome import Outcome
    from airflow_provider_cerebras.polling.pollers import Poller

    Wait = Callable[[FakeService, Poller[Any], float], Outcome]

V1 = version(1)
LOG = logging.getLogger("tests.blocking")


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock.install(monkeypatch)


def sync_status(word: str, *, done: bool = False) -> httpx.Response:
    return httpx.Response(200, json={"name": V1, "done": done, "response": {"sync_status": word}})


QUEUED, GOING, DONE = sync_status("queued"), sync_status("in_progress"), sync_status("done", done=True)
FAILED = sync_status("failed", done=True)


def version_poller(deadline: float | None = START + 1000) -> ModelVersionPoller:
    return ModelVersionPoller(V1, deadline=deadline, started=START)


def wait_on_a_worker(service: FakeService, poller: Poller[Any], poll_interval: float) -> Outcome:
    with service.client() as client:
        return BlockingWait(client, service.client, poller, poll_interval=poll_interval, log=LOG).run()


@pytest.fixture(params=["worker", "event loop"])
def wait_alone(request: pytest.FixtureRequest, clock: Clock) -> Wait:
    def wait_on_a_loop(service: FakeService, poller: Poller[Any], poll_interval: float) -> Outcome:
        waiting = wait_async("cerebras_default", service.connect, poller, poll_interval=poll_interval, log=LOG)
        return run(clock, waiting)

    return wait_on_a_worker if request.param == "worker" else wait_on_a_loop


class TestWorkerAndEventLoop:
    def test_it_looks_until_the_end(self, wait_alone: Wait) -> None:
        service = FakeService(QUEUED, GOING, GOING, DONE)
        assert wait_alone(service, version_poller(), 30).status is Status.SUCCEEDED
        assert len(service.log) == 4
        assert service.pauses == [2, 2, 2]

    def test_it_sends_nothing_but_looks(self, wait_alone: Wait) -> None:
        service = FakeService(QUEUED, httpx.Response(503), DONE)
        wait_alone(service, version_poller(), 30)
        assert {request.method for request in service.log} == {"GET"}

    def test_a_failure_is_the_outcome_and_no_exception(self, wait_alone: Wait) -> None:
        outcome = wait_alone(FakeService(GOING, FAILED), version_poller(), 30)
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
        wait_alone: Wait,
        trouble: httpx.Response | Exception,
    ) -> None:
        """Issue 67219 of Airflow: a passing 5xx in the trigger failed the task."""
        service = FakeService(GOING, *[trouble] * 20, DONE)
        assert wait_alone(service, version_poller(None), 30).status is Status.SUCCEEDED
        assert len(service.log) == 22

    def test_trouble_until_the_deadline_is_a_time_out(self, clock: Clock, wait_alone: Wait) -> None:
        outcome = wait_alone(FakeService(httpx.ConnectError("refused")), version_poller(), 30)
        assert (outcome.status, clock.time()) == (Status.TIMEOUT, START + 1000)

    def test_each_look_is_one_request_and_looks_slow_down_while_there_is_trouble(self, wait_alone: Wait) -> None:
        service = FakeService(*[httpx.Response(503)] * 6, DONE)
        wait_alone(service, version_poller(), 10)
        assert service.pauses == [4, 8, 16, 40, 40, 40]
        assert len(service.log) == 7

    def test_what_the_service_asks_for_is_waited(self, wait_alone: Wait) -> None:
        service = FakeService(httpx.Response(429, headers={"retry-after": "77"}), DONE)
        wait_alone(service, version_poller(), 10)
        assert service.pauses == [77]

    def test_the_last_look_is_at_the_deadline(self, wait_alone: Wait) -> None:
        service = FakeService(GOING)
        outcome = wait_alone(service, version_poller(START + 5), 30)
        assert outcome.status is Status.TIMEOUT
        assert service.pauses == [2, 2, 1]

    def test_a_deadline_that_has_passed_allows_one_look(self, wait_alone: Wait) -> None:
        done, going = FakeService(DONE), FakeService(GOING)
        assert wait_alone(done, version_poller(START - 100), 30).status is Status.SUCCEEDED
        assert wait_alone(going, version_poller(START - 100), 30).status is Status.TIMEOUT
        assert (done.moments, going.moments) == ([START], [START])

    def test_completion_is_noticed_within_about_a_tenth_of_the_time_it_took(self, wait_alone: Wait) -> None:
        service = FakeService(*[GOING] * 60, DONE)
        wait_alone(service, version_poller(None), 86400)
        assert max(service.pauses) <= (service.moments[-1] - START) / 10
        assert service.pauses == sorted(service.pauses)

    def test_an_unknown_word_is_shown_once_and_the_wait_goes_on(
        self,
        wait_alone: Wait,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        caplog.set_level(logging.INFO, LOG.name)
        wait_alone(FakeService(GOING, *[sync_status("warming_up")] * 5, DONE), version_poller(), 30)
        lines = [record.getMessage() for record in caplog.records if record.name == LOG.name]
        assert [line for line in lines if "warming_up" in line] == [
            f"Model version {V1}: sync_status 'warming_up', a word that this provider does not know."
        ]
        assert len(lines) == 4  # with the one at the beginning

    def test_a_look_without_an_answer_is_a_warning(
        self,
        wait_alone: Wait,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        caplog.set_level(logging.INFO, LOG.name)
        wait_alone(FakeService(httpx.Response(503, json={"detail": "be right back"}), DONE), version_poller(), 30)
        (warning,) = [record for record in caplog.records if record.levelno == logging.WARNING]
        assert "be right back" in warning.getMessage()
        assert "It will be polled again" in warning.getMessage()


class TestPollOnce:
    def test_one_poll_is_one_request(self) -> None:
        service = FakeService(httpx.Response(503))
        with service.client() as client:
            wait = BlockingWait(client, service.client, version_poller(None), poll_interval=30, log=LOG)
            assert wait.poll_once() is None
        assert len(service.log) == 1

    def test_a_deployment_is_looked_for_on_its_endpoint(self) -> None:
        entries = [{"id": "other", "state": "failed"}, {"id": "ours", "state": "complete"}]
        service = FakeService(httpx.Response(200, json={"name": "my-endpoint", "deployed_models": entries}))
        poller = DeploymentPoller("my-endpoint", "ours", deadline=None, started=START)
        with service.client() as client:
            outcome = BlockingWait(client, service.client, poller, poll_interval=30, log=LOG).poll_once()
        assert outcome is not None
        assert outcome.status is Status.SUCCEEDED
        assert service.paths == ["endpoints/my-endpoint"]


class TestReadingTheConnectionAgain:
    """The service refuses the key, and the connection is read again."""

    def test_a_poll_is_sent_again_with_another_key(self, clock: Clock) -> None:
        service = FakeService()
        service.finish(V1)
        with service.client() as client:
            service.key = "another"
            wait = BlockingWait(client, service.client, version_poller(), poll_interval=30, log=LOG)
            clock.sleep(MIN_PAUSE)
            outcome = wait.poll_once()
        assert outcome is not None
        assert outcome.status is Status.SUCCEEDED

    def test_a_poll_is_not_sent_again_with_the_same_key(self, clock: Clock) -> None:
        service = FakeService(httpx.Response(401, json={"detail": "unknown key"}), DONE)
        with service.client() as client:
            wait = BlockingWait(client, service.client, version_poller(), poll_interval=30, log=LOG)
            clock.sleep(MIN_PAUSE)
            assert wait.poll_once() is None
        assert len(service.log) == 1

    def test_a_connection_that_cannot_be_read_ends_no_wait(self, clock: Clock) -> None:
        service = FakeService(httpx.Response(401, json={"detail": "unknown key"}), DONE)

        def fail() -> Any:
            raise OSError("the secrets backend is down")

        poller = version_poller()
        with service.client() as client:
            wait = BlockingWait(client, fail, poller, poll_interval=30, log=LOG)
            clock.sleep(MIN_PAUSE)
            assert wait.poll_once() is None
        assert poller.progress == "cannot be polled: the secrets backend is down"
