"""The same for what adopts, deploys, rolls back, and deletes on a kill: one field amiss in each response in turn."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import httpx
import pytest

from airflow_provider_cerebras import _airflow_internals
from airflow_provider_cerebras.api.client import AsyncCerebrasClient
from airflow_provider_cerebras.durable.deployments import Deploy
from airflow_provider_cerebras.durable.identity import Identity
from airflow_provider_cerebras.durable.rollbacks import Rollback
from airflow_provider_cerebras.durable.rollout_steps import Baseline, Submission
from airflow_provider_cerebras.durable.uploads import Upload
from airflow_provider_cerebras.operators._on_kill import delete
from airflow_provider_cerebras.triggers import _on_kill
from tests.unit.durable.incomplete import check_every_omission
from tests.unit.durable.world import (
    BASE,
    ENDPOINT,
    FIRST,
    RETRY,
    URI,
    Attempt,
    Service,
    Store,
    memory_of,
    name,
    request,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_cerebras.api.client import CerebrasClient
    from airflow_provider_cerebras.durable.upload_steps import UploadRequest

    Run = Callable[[CerebrasClient, Attempt], object]

KEY = _airflow_internals.TaskKey("dag", "run", "task", -1)
ROLLBACK = Identity(base=BASE, generation=0, attempt=1)


def aliases(service: Service) -> dict[int, set[str]]:
    return {number: set(held) for number, held in service.aliases().items()}


def models(service: Service) -> list[str]:
    """The version of each deployment that was ever submitted, oldest first."""
    return [model for _, model in service.deployments()]


def upload(wanted: UploadRequest) -> Run:
    def run(client: CerebrasClient, attempt: Attempt) -> object:
        return Upload(
            client,
            wanted,
            task_state=memory_of(None, "cerebras_upload", FIRST.alias),
            log=attempt.journal,
            sleep=attempt.pass_time,
        ).run()

    return run


class TestUpload:
    def empty(self) -> Service:
        service = Service(sync_seconds=0)
        service.upload("s3://weights/old", "latest")
        return service

    def uploaded(self) -> Service:
        """Version 2 is what an earlier attempt has made, without the user's alias, which version 1 holds."""
        service = self.empty()
        service.upload(URI, FIRST.alias)
        return service

    def failed(self) -> Service:
        service = self.empty()
        service.upload(URI, FIRST.alias, "candidate", fail=True)
        return service

    def test_first_attempt(self) -> None:
        check_every_omission(self.empty, upload(request(FIRST, "candidate")), aliases)

    def test_first_attempt_that_moves_an_alias(self) -> None:
        def one_version(ended: dict[int, set[str]]) -> bool:
            # The service moves nothing: between two writes no version has the alias, and a retry goes on from there.
            return ended == {1: {"latest"}, 2: {FIRST.alias}}

        check_every_omission(
            self.empty, upload(request(FIRST, "latest", move_aliases=True)), aliases, is_stopped=one_version
        )

    def test_a_retry_adopts(self) -> None:
        assert check_every_omission(self.uploaded, upload(request(RETRY)), aliases, changes=False) > 5

    def test_a_retry_completes_the_aliases(self) -> None:
        assert check_every_omission(self.uploaded, upload(request(RETRY, "candidate")), aliases) > 5

    def test_a_retry_that_moves_an_alias(self) -> None:
        assert check_every_omission(self.uploaded, upload(request(RETRY, "latest", move_aliases=True)), aliases) > 5

    def test_a_retry_replaces_what_failed(self) -> None:
        def given_up(ended: dict[int, set[str]]) -> bool:
            return ended == {1: {"latest"}, 2: set()}

        check_every_omission(self.failed, upload(request(RETRY, "candidate")), aliases, is_stopped=given_up)


def deploy(model_version: str, run_started: float | None = None) -> Run:
    def run(client: CerebrasClient, attempt: Attempt) -> object:
        task_state = memory_of(Store(), "cerebras_deployment", "deployment")
        return Deploy(
            attempt.rollout(client), model_version, durable=True, task_state=task_state, run_started=run_started
        ).run()

    return run


def roll_back(find: Callable[[Service], Submission | None] = lambda service: None, *, marks: bool = False) -> Run:
    def run(client: CerebrasClient, attempt: Attempt) -> object:
        return Rollback(
            attempt.rollout(client),
            taken_back=find(attempt.service),
            task_state=memory_of(None if marks else Store(), "cerebras_rollback", "rollback"),
            identity=ROLLBACK if marks else None,
        ).run()

    return run


def of_version_3(service: Service) -> Submission:
    """What the task that has deployed version 3 knows of its deployment."""
    listed = service.api("GET", f"/endpoints/{ENDPOINT}")["deployed_models"]
    entry = next(each for each in listed if each["model"] == name(3))
    return Submission(entry["id"], name(3), entry["created"], Baseline(entry["created"]), name(2))


class TestRollout:
    """Version 1 served before, 2 serves, 3 was never deployed."""

    def served(self) -> Service:
        service = Service(sync_seconds=0, rollout_seconds=0)
        for number in (1, 2, 3):
            service.upload(f"s3://weights/{number}")
        for number in (1, 2):
            service.now += 10
            service.deploy(name(number))
        service.now += 10
        return service

    def rolling_out(self) -> Service:
        service = Service(sync_seconds=0, rollout_seconds=100)
        for number in (1, 2, 3):
            service.upload(f"s3://weights/{number}")
        for number in (1, 2):
            service.deploy(name(number))
            service.now += 200
        service.deploy(name(3))
        service.now += 10
        return service

    def failed(self) -> Service:
        service = self.served()
        service.deploy(name(3), fail=True)
        service.now += 10
        return service

    def superseded(self) -> Service:
        """Version 3 failed to roll out, and another DAG deployed version 1 since."""
        service = self.failed()
        service.deploy(name(1))
        service.now += 10
        return service

    def test_deploying(self) -> None:
        assert check_every_omission(self.served, deploy(name(3)), models) > 10

    def test_deploying_what_serves(self) -> None:
        check_every_omission(self.served, deploy(name(2)), models, changes=False)

    def test_a_retry_adopts_what_rolls_out(self) -> None:
        run = deploy(name(3), run_started=1_000_000.0)
        check_every_omission(self.rolling_out, run, models, changes=False)

    def test_a_retry_leaves_the_endpoint_to_a_later_deployment(self) -> None:
        self.leaves_alone(self.superseded, deploy(name(3), run_started=1_000_015.0))

    def test_rolling_back_the_newest(self) -> None:
        assert check_every_omission(self.served, roll_back(), models) > 10

    def test_rolling_back_with_a_mark(self) -> None:
        assert check_every_omission(self.served, roll_back(marks=True), models) > 10

    def test_a_rollback_after_a_failed_rollout(self) -> None:
        """As ``rollback_on_failure`` and the group's ``roll_back`` do."""
        assert check_every_omission(self.failed, roll_back(of_version_3), models) > 10

    def test_a_rollback_leaves_a_later_deployment_alone(self) -> None:
        self.leaves_alone(self.superseded, roll_back(of_version_3))

    def leaves_alone(self, make: Callable[[], Service], run: Run) -> None:
        def run_to_the_end(client: CerebrasClient, attempt: Attempt) -> object:
            try:
                return run(client, attempt)
            except Exception:  # noqa: BLE001  it is refused, and what counts is what the service has in the end
                return None

        check_every_omission(make, run_to_the_end, models, changes=False)


class FromThread(httpx.AsyncBaseTransport):
    """The network of an attempt for a client of the event loop."""

    def __init__(self, attempt: Attempt) -> None:
        self.attempt = attempt

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await asyncio.to_thread(self.attempt.network.handle_request, request)


def kill_operator(model_version: str) -> Run:
    def run(client: CerebrasClient, attempt: Attempt) -> object:
        return delete(client, model_version, FIRST.claim)

    return run


def kill_trigger(model_version: str) -> Run:
    def run(client: CerebrasClient, attempt: Attempt) -> object:
        async def kill() -> str | None:
            async def pass_time(seconds: float) -> None:
                attempt.pass_time(seconds)

            async with AsyncCerebrasClient(
                client.settings, verify=False, transport=FromThread(attempt), sleep=pass_time
            ) as own:
                return await _on_kill.delete_if_killed(own, KEY, model_version, FIRST.claim, sleep=pass_time)

        return asyncio.run(kill())

    return run


@pytest.mark.parametrize("kill", [kill_operator, kill_trigger])
class TestKill:
    """What a wait was killed for: version 3, which is not in use; 2 serves and 1 served before."""

    @pytest.fixture(autouse=True)
    def failed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let Airflow say that a user has failed the task."""
        monkeypatch.setattr(_on_kill, "ask_task_state", lambda key: "failed")

    def waiting(self, *, claimed: str = FIRST.claim, on: int = 3) -> Service:
        service = Service(delete_in_use="allow", sync_seconds=0, rollout_seconds=0)
        for number in (1, 2, 3):
            service.upload(f"s3://weights/{number}", *([FIRST.alias, claimed] if number == on else []))
        for number in (1, 2):
            service.now += 10
            service.deploy(name(number))
        return service

    def test_what_nobody_uses(self, kill: Callable[[str], Run]) -> None:
        def kept(ended: dict[int, set[str]]) -> bool:
            return set(ended) == {1, 2, 3}

        check_every_omission(self.waiting, kill(name(3)), aliases, is_harmless=kept)

    def test_what_serves(self, kill: Callable[[str], Run]) -> None:
        check_every_omission(lambda: self.waiting(on=2), kill(name(2)), aliases, changes=False)

    def test_what_a_retry_has_claimed(self, kill: Callable[[str], Run]) -> None:
        def make() -> Service:
            service = self.waiting()
            service.set_aliases(name(3), FIRST.alias, FIRST.claim, RETRY.claim)
            return service

        check_every_omission(make, kill(name(3)), aliases, changes=False)

    def test_what_its_task_has_released(self, kill: Callable[[str], Run]) -> None:
        def make() -> Service:
            service = self.waiting()
            service.set_aliases(name(3), FIRST.alias)
            return service

        check_every_omission(make, kill(name(3)), aliases, changes=False)
