"""Whatever is uploaded, renamed, deployed, deleted and waited for, in any order: the emulator is as a plain model.

The model is told what was asked and what time it is, and knows the rules: a number is given once, an alias is one
version's in (organization, architecture), what is over does not change, the newest complete deployment serves, and
a restart changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import httpx
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from airflow_provider_cerebras.emulator.control.client import EmulatedDeployment, EmulatorClient
from airflow_provider_cerebras.emulator.server import EmulatorServer
from airflow_provider_cerebras.emulator.service.organizations import OrganizationConfig
from airflow_provider_cerebras.emulator.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

SYNC, ROLLOUT = 10.0, 20.0
WAITING_SHARE = 0.2
SHELVES = [("one", "gpt-oss-120b"), ("one", "llama3.1-8b"), ("two", "gpt-oss-120b")]
ALIASES = st.lists(st.sampled_from(["blue", "green", "prod"]), max_size=2, unique=True)
FAILS = st.sampled_from([False, False, True])


@dataclass
class Version:
    name: str
    aliases: list[str]
    uploaded: float
    fails: bool

    def sync(self, now: float) -> str:
        return phase(now, self.uploaded, SYNC, ("queued", "in_progress", "failed" if self.fails else "done"))


@dataclass
class Deployment:
    deployment_id: str
    version: Version
    created: float
    starts: float
    fails: bool

    def state(self, now: float) -> str:
        words = ("not_started", "in_progress", "failed" if self.fails else "complete")
        return phase(now, self.starts, ROLLOUT, words)

    def over(self, now: float) -> bool:
        return now >= self.starts + ROLLOUT


@dataclass
class Shelf:
    """One architecture of one organization, and its endpoint."""

    org: str
    arch: str
    last_number: int = 0
    versions: list[Version] = field(default_factory=list)
    deployments: list[Deployment] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    updated: int = 0

    @property
    def endpoint_id(self) -> str:
        return f"{self.org}-{self.arch}"

    def holder(self, aliases: list[str]) -> list[Version]:
        return [version for version in self.versions if set(aliases) & set(version.aliases)]

    def serving(self, now: float) -> Version | None:
        complete = [each.version for each in self.deployments if each.state(now) == "complete"]
        return complete[-1] if complete else None

    def under_way(self, now: float) -> list[Deployment]:
        return [each for each in self.deployments if not each.over(now)]


def phase(now: float, starts: float, duration: float, words: tuple[str, str, str]) -> str:
    if now >= starts + duration:
        return words[2]
    return words[1] if now >= starts + WAITING_SHARE * duration else words[0]


class World:
    """The emulator with a file for its state, which can be stopped and started."""

    def __init__(self, state: Path) -> None:
        self.settings = Settings(
            port=0,
            state=state,
            sync_seconds=SYNC,
            rollout_seconds=ROLLOUT,
            organizations=tuple(OrganizationConfig(name=org) for org in ("one", "two")),
        )
        self.start()

    def start(self) -> None:
        self.server = EmulatorServer(self.settings).start()
        self.client = EmulatorClient(self.server.base_url, self.settings)
        self._http = httpx.Client(base_url=f"{self.server.base_url}/management/v1", trust_env=False)

    def stop(self) -> None:
        self.client.close()
        self._http.close()
        self.server.stop()

    def send(self, org: str, method: str, path: str, body: object = None) -> httpx.Response:
        headers = {"Authorization": f"Bearer {org}-management-key"}
        return self._http.request(method, path, json=body, headers=headers)


class Emulated(RuleBasedStateMachine):
    world: ClassVar[World]

    @initialize()
    def begin(self) -> None:
        self.world.client.reset()
        self.now = self.world.client.freeze_clock().now
        self.shelves = [Shelf(org, arch) for org, arch in SHELVES]

    def send(self, shelf: Shelf, method: str, path: str, body: object = None, *, status: int) -> Any:
        answer = self.world.send(shelf.org, method, path, body)
        assert answer.status_code == status, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json()

    def all_versions(self) -> list[tuple[Shelf, Version]]:
        return [(shelf, version) for shelf in self.shelves for version in shelf.versions]

    def one_of(self, data: st.DataObject) -> tuple[Shelf, Version]:
        found = self.all_versions()
        return found[data.draw(st.integers(0, len(found) - 1), label="version")]

    @rule(index=st.integers(0, len(SHELVES) - 1), aliases=ALIASES, fails=FAILS)
    def upload(self, index: int, aliases: list[str], fails: bool) -> None:
        shelf = self.shelves[index]
        if fails:
            self.world.client.fail_next_sync("it is so")
        taken = shelf.holder(aliases)
        model = {"weight_uri": "s3://my-bucket/weights", "version_aliases": aliases}
        body = {"model_arch_id": shelf.arch, "model": model}
        answer = self.send(shelf, "POST", f"/orgs/{shelf.org}/models:upload", body, status=409 if taken else 200)
        if not taken:
            shelf.last_number += 1
            expected = f"orgs/{shelf.org}/models/{shelf.arch}/versions/{shelf.last_number}"
            assert answer["name"] == expected
            shelf.versions.append(Version(expected, aliases, self.now, fails))

    @precondition(lambda self: self.all_versions())
    @rule(data=st.data(), aliases=ALIASES)
    def set_aliases(self, data: st.DataObject, aliases: list[str]) -> None:
        shelf, version = self.one_of(data)
        taken = [holder for holder in shelf.holder(aliases) if holder is not version]
        self.send(shelf, "PATCH", f"/{version.name}", {"version_aliases": aliases}, status=409 if taken else 200)
        if not taken:
            version.aliases = aliases

    @precondition(lambda self: self.all_versions())
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        shelf, version = self.one_of(data)
        in_use = [shelf.serving(self.now), *(each.version for each in shelf.under_way(self.now))]
        refused = any(each is version for each in in_use)
        self.send(shelf, "DELETE", f"/{version.name}", status=409 if refused else 200)
        if not refused:
            shelf.versions.remove(version)
            shelf.deployments = [each for each in shelf.deployments if each.version is not version]
            shelf.deleted.append(version.name)

    @precondition(lambda self: self.all_versions())
    @rule(data=st.data(), by_alias=st.booleans(), fails=FAILS)
    def deploy(self, data: st.DataObject, by_alias: bool, fails: bool) -> None:
        shelf, version = self.one_of(data)
        name = version.name
        if by_alias and version.aliases:
            name = f"{name.rpartition('/')[0]}/{version.aliases[0]}"
        self.submit(shelf, version, name, fails=fails)

    # What serves changes only after five steps that belong together, which chance alone would hardly put in a row.
    @rule(index=st.integers(0, len(SHELVES) - 1), fails=FAILS)
    def release(self, index: int, fails: bool) -> None:
        self.upload(index, [], False)
        self.wait(SYNC)
        shelf = self.shelves[index]
        version = shelf.versions[-1]
        self.submit(shelf, version, version.name, fails=fails)
        self.wait(ROLLOUT)

    def submit(self, shelf: Shelf, version: Version, name: str, *, fails: bool) -> None:
        if fails:
            self.world.client.fail_next_rollout("it is so")
        synced = version.sync(self.now) == "done"
        path = f"/endpoints/{shelf.endpoint_id}:deployModel"
        answer = self.send(shelf, "POST", path, {"model": name}, status=200 if synced else 400)
        if synced:
            starts = max((each.starts + ROLLOUT for each in shelf.under_way(self.now)), default=self.now)
            shelf.deployments.append(Deployment(answer["name"], version, self.now, starts, fails))

    @rule(seconds=st.sampled_from([1, 5, 10, 20, 45]))
    def wait(self, seconds: float) -> None:
        before, self.now = self.now, self.world.client.advance_clock(seconds).now
        assert self.now == before + seconds

    @rule()
    def restart(self) -> None:
        before = self.world.client.state()
        self.world.stop()
        self.world.start()
        assert self.world.client.state() == before

    @invariant()
    def it_is_as_the_model(self) -> None:
        # Faults that no request has come for yet are no part of the model.
        self.world.client.end_faults()
        state = self.world.client.state()
        assert state.now == self.now
        assert [(each.name, sorted(each.aliases), each.sync_status, each.done) for each in state.versions] == [
            (version.name, sorted(version.aliases), word, word in {"done", "failed"})
            for _, version in self.all_versions()
            for word in [version.sync(self.now)]
        ]
        endpoints = {each.endpoint_id: each for each in state.endpoints}
        for shelf in self.shelves:
            serving = shelf.serving(self.now)
            assert endpoints[shelf.endpoint_id].serving == (serving and serving.name)
            assert [self.seen(each) for each in endpoints[shelf.endpoint_id].deployments] == [
                (each.deployment_id, each.version.name, int(each.created), each.state(self.now))
                for each in shelf.deployments
            ]

    @invariant()
    def no_time_goes_back(self) -> None:
        for shelf in self.shelves:
            body = self.send(shelf, "GET", f"/endpoints/{shelf.endpoint_id}", status=200)
            assert body["created"] <= body["updated"] <= self.now
            assert shelf.updated <= body["updated"], f"updated was {shelf.updated} and is {body['updated']}"
            shelf.updated = body["updated"]

    @invariant()
    def what_is_deleted_stays_so(self) -> None:
        for shelf in self.shelves:
            for name in shelf.deleted[-1:]:
                self.send(shelf, "GET", f"/{name}", status=404)

    @staticmethod
    def seen(deployment: EmulatedDeployment) -> tuple[str, str, int, str]:
        return deployment.deployment_id, deployment.model_version, deployment.created, deployment.state


def test_the_emulator_is_as_the_model(tmp_path: Path) -> None:
    Emulated.world = World(tmp_path / "state.db")
    steady = settings(
        derandomize=True,
        deadline=None,
        database=None,
        max_examples=12,
        stateful_step_count=20,
        suppress_health_check=list(HealthCheck),
    )
    try:
        run_state_machine_as_test(Emulated, settings=steady)
    finally:
        Emulated.world.stop()
