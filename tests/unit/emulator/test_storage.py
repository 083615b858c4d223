"""State that is there again after a restart, however the one before has ended."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from concurrent.futures import Future
from contextlib import closing
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule

from airflow_provider_cerebras.emulator.app import create_app
from airflow_provider_cerebras.emulator.cli import main
from airflow_provider_cerebras.emulator.service.errors import ServiceError
from airflow_provider_cerebras.emulator.service.organizations import OrganizationConfig
from airflow_provider_cerebras.emulator.service.resources import Phase
from airflow_provider_cerebras.emulator.service.service import Service
from airflow_provider_cerebras.emulator.service.store import Record, StateError, StateFile
from airflow_provider_cerebras.emulator.service.weights import WeightsError, digest_of_uri
from airflow_provider_cerebras.emulator.settings import Behaviour, Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.unit.emulator.conftest import FakeClock

ORG, ARCH, ENDPOINT = "my-org", "gpt-oss-120b", "my-org-gpt-oss-120b"
NAME = f"orgs/{ORG}/models/{ARCH}/versions/{{}}"
MY_ORG = OrganizationConfig(name=ORG)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


@pytest.fixture
def open_service(path: Path, clock: FakeClock) -> Iterator[Callable[..., Service]]:
    """A service on the state file; the one before is closed first."""
    opened: list[StateFile] = []

    def open_it(read_weights: Callable[..., Future[str]] = digest_of_uri, **behaviour: Any) -> Service:
        for each in opened:
            each.close()
        store = StateFile(path)
        opened.append(store)
        chosen = Behaviour(**{"sync_seconds": 10, "rollout_seconds": 10, **behaviour})
        service = Service(chosen, clock, read_weights, store)
        service.ensure_organization(MY_ORG)
        return service

    yield open_it
    for each in opened:
        each.close()


def upload(service: Service, *aliases: str, **more: Any) -> Any:
    return service.upload_model_version(ORG, ARCH, "s3://bucket/weights", aliases, "run-7", **more)


def picture(service: Service) -> dict[str, Any]:
    """All that can be seen of a service."""
    now = service.now()
    return {
        "organizations": [(each.name, each.keys) for each in service.organizations()],
        "versions": [
            (v.name, v.weight_uri, v.aliases, v.fingerprint_suffix, v.created, v.sync, v.phase(now), v.failure())
            for organization in service.organizations()
            for registry in organization.registries.values()
            for v in registry
        ],
        "endpoints": [
            (
                e.endpoint_id,
                e.model_arch_id,
                e.created,
                e.updated(now),
                [(d.deployment_id, d.version.name, d.created, d.rollout, d.phase(now)) for d in e.deployments],
                (serving := e.serving(now)) and serving.version.system_fingerprint(),
            )
            for organization in service.organizations()
            for e in organization.endpoints.values()
        ],
    }


def test_all_is_there_again(open_service: Callable[..., Service], clock: FakeClock) -> None:
    service = open_service()
    upload(service, "production", "v1")
    upload(service, planned_failure="bucket policy")
    clock.advance(10)
    service.update_model_version_aliases(ORG, ARCH, "v1", ["stable"])
    service.deploy_model(ENDPOINT, NAME.format(1))
    service.deploy_model(ENDPOINT, NAME.format("stable"), planned_failure="no room")
    clock.advance(15)
    before = picture(service)
    again = open_service()
    assert picture(again) == before
    assert again.model_version(ORG, ARCH, "stable").number == 1


def test_syncs_and_rollouts_go_on_while_nobody_looks(open_service: Callable[..., Service], clock: FakeClock) -> None:
    service = open_service()
    upload(service)
    clock.advance(10)
    service.deploy_model(ENDPOINT, NAME.format(1))
    upload(service)
    clock.advance(5)
    service = open_service()
    assert service.model_version(ORG, ARCH, "2").phase(clock()) is Phase.RUNNING
    clock.advance(5)
    service = open_service()
    assert service.model_version(ORG, ARCH, "2").phase(clock()) is Phase.SUCCEEDED
    assert service.serving_version(ENDPOINT, ORG).name == NAME.format(1)


def test_a_number_is_not_given_again_after_a_restart(open_service: Callable[..., Service]) -> None:
    service = open_service()
    upload(service)
    service.delete_model_version(ORG, ARCH, "1")
    assert upload(open_service()).number == 2


def test_what_was_deleted_does_not_come_back(open_service: Callable[..., Service], clock: FakeClock) -> None:
    service = open_service(delete_in_use="allow")
    upload(service, "production")
    upload(service, "other")
    clock.advance(10)
    service.deploy_model(ENDPOINT, NAME.format(1))
    clock.advance(10)
    service.delete_model_version(ORG, ARCH, "1")
    service.delete_model_version(ORG, ARCH, "2")
    service = open_service()
    assert service.model_versions(ORG, ARCH) == []
    assert service.serving_version(ENDPOINT, ORG).name == NAME.format(1)
    assert upload(service, "production", "other").number == 3


def test_a_superseded_deployment_does_not_come_back(open_service: Callable[..., Service], clock: FakeClock) -> None:
    service = open_service(deploy_during_rollout="supersede")
    upload(service)
    clock.advance(10)
    service.deploy_model(ENDPOINT, NAME.format(1))
    latest = service.deploy_model(ENDPOINT, NAME.format(1)).deployment_id
    assert [each.deployment_id for each in open_service().endpoint(ENDPOINT).deployments] == [latest]


def test_digests_are_kept_and_weights_not_read_again(open_service: Callable[..., Service], clock: FakeClock) -> None:
    upload(open_service())

    def never(uri: str, *_: object) -> Future[str]:
        raise AssertionError(f"{uri} was read again")

    clock.advance(10)
    assert (
        open_service(never).model_version(ORG, ARCH, "1").weights.result()
        == digest_of_uri("s3://bucket/weights").result()
    )


def test_why_weights_could_not_be_read_is_kept(open_service: Callable[..., Service], clock: FakeClock) -> None:
    broken: Future[str] = Future()
    upload(open_service(lambda *_: broken))
    broken.set_exception(WeightsError("config.json is missing"))
    clock.advance(10)
    assert open_service().model_version(ORG, ARCH, "1").failure() == "config.json is missing"


def test_weights_that_were_not_read_to_their_end_are_read_again(
    open_service: Callable[..., Service], clock: FakeClock
) -> None:
    unfinished, finished = Future[str](), Future[str]()
    upload(open_service(lambda *_: unfinished))
    clock.advance(10)
    service = open_service(lambda *_: finished)
    assert service.model_version(ORG, ARCH, "1").phase(clock()) is Phase.RUNNING
    # The first read ends in a process that has let go of the file already.
    unfinished.set_result("0" * 64)
    # What is read on another thread is kept too.
    thread = threading.Thread(target=finished.set_result, args=("1" * 64,))
    thread.start()
    thread.join()
    assert open_service().model_version(ORG, ARCH, "1").weights.result() == "1" * 64


def test_keys_and_organizations_of_the_control_plane_are_kept(open_service: Callable[..., Service]) -> None:
    service = open_service()
    service.add_organization(OrganizationConfig(name="acme", model_architectures=("qwen-3-32b",)))
    service.set_keys("acme", management=["rotated-key"])
    before = picture(service)
    service = open_service()
    assert picture(service) == before
    key = service.key("rotated-key")
    assert key is not None
    assert (key.org_name, key.kind, service.key("acme-management-key")) == ("acme", "management", None)


def test_the_settings_add_what_is_missing_and_their_keys_count(open_service: Callable[..., Service]) -> None:
    upload(open_service())
    service = open_service()
    service.ensure_organization(
        OrganizationConfig(name=ORG, management_keys=("new-key",), model_architectures=("qwen-3-32b",))
    )
    assert service.model_architectures(ORG) == [*MY_ORG.model_architectures, "qwen-3-32b"]
    assert (service.key("my-org-management-key"), service.key("new-key")) == (None, (ORG, "management"))
    assert len(service.model_versions(ORG, ARCH)) == 1


def test_settings_that_the_file_contradicts_are_an_error(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    app = create_app(Settings(state=path))
    app.emulator.close()
    assert main(["--port", "0", "--state", str(path), "--org", "other"]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"The state file {path} does not go with the settings: A key of organization other")
    assert "emulator-management-key" not in error
    # And it has let go of the file.
    create_app(Settings(state=path)).emulator.close()


@pytest.mark.parametrize("killed", [True, False])
async def test_the_clock_goes_on_from_where_it_was(path: Path, clock: FakeClock, start: Any, killed: bool) -> None:
    api = await start(state=path)
    await api.post("/_emulator/clock", json={"advance": 5000})
    clock.advance(60)
    emulator = api._transport.app.emulator
    if killed:
        emulator._store.close()
    else:
        emulator.close()
    again = await start(state=path)
    assert (await again.get("/_emulator/clock")).json()["now"] == 1_736_705_060.25
    again._transport.app.emulator.close()


async def test_the_clock_does_not_go_back_over_a_stop(path: Path, clock: FakeClock, start: Any) -> None:
    api = await start(state=path)
    clock.advance(100)
    assert (await api.get("/_emulator/clock")).json()["now"] == 1_736_700_100.25
    api._transport.app.emulator.close()
    clock.advance(-50)
    again = await start(state=path)
    assert (await again.get("/_emulator/clock")).json()["now"] == 1_736_700_100.25
    again._transport.app.emulator.close()


async def test_a_reset_forgets_what_was_kept(path: Path, start: Any) -> None:
    api = await start(state=path)
    upload(api._transport.app.emulator.service)
    await api.post("/_emulator/organizations", json={"name": "acme"})
    await api.post("/_emulator/clock", json={"advance": 5000})
    await api.post("/_emulator/reset")
    before = picture(api._transport.app.emulator.service)
    api._transport.app.emulator.close()
    again = await start(state=path)
    assert picture(again._transport.app.emulator.service) == before
    assert (await again.get("/_emulator/clock")).json()["now"] == 1_736_700_000.25
    again._transport.app.emulator.close()


def test_the_file_is_for_its_owner_alone(path: Path) -> None:
    with closing(StateFile(path)):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_two_emulators_do_not_share_a_file(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with closing(StateFile(path)) as store:
        with pytest.raises(StateError, match=r"state.db is in use by another emulator"):
            StateFile(path)
        store.write(Record("kind", "key", {"it": "goes on"}))
    with closing(StateFile(path)) as store:
        assert [each.body for each in store.read("kind")] == [{"it": "goes on"}]


def test_a_file_that_is_none_is_refused_and_left_alone(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path.write_text("something else, and long enough for SQLite to have a look at it" * 20)
    assert main(["--port", "0", "--state", str(path)]) == 1
    assert capsys.readouterr().err == f"{path} is not a state file of the emulator.\n"
    assert path.read_text().startswith("something else")


def test_a_database_of_something_else_is_refused_and_left_alone(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE theirs (id)")
    with pytest.raises(StateError, match="is a database of something else"):
        StateFile(path)
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT name FROM sqlite_schema").fetchall() == [("theirs",)]


def test_a_file_of_another_format_is_refused(path: Path) -> None:
    StateFile(path).close()
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version = 99")
    with pytest.raises(StateError, match="is of format 99, and this emulator reads format 1: use the emulator that"):
        StateFile(path)


def test_a_damaged_file_is_an_error_and_not_a_crash(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    app = create_app(Settings(state=path, sync_seconds=0))
    for _ in range(500):
        upload(app.emulator.service)
    app.emulator.close()
    content = path.read_bytes()
    path.write_bytes(content[:8192] + b"\xff" * (len(content) - 8192))
    assert main(["--port", "0", "--state", str(path)]) == 1
    assert capsys.readouterr().err.startswith(f"The state file {path} cannot be used: database disk image is malformed")


def test_a_file_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StateError, match=r"/nowhere/state\.db cannot be opened: No such file or directory"):
        StateFile(tmp_path / "nowhere" / "state.db")


def test_changes_are_kept_together_or_not_at_all(path: Path) -> None:
    with closing(StateFile(path)) as store:
        with pytest.raises(TypeError):
            store.write(Record("kind", "a", {}), Record("kind", "b", {"not": object()}))
        assert list(store.read("kind")) == []
        store.write(Record("kind", "a", {}))
    with closing(StateFile(path)) as store:
        assert [each.key for each in store.read("kind")] == ["a"]


def test_a_change_that_could_not_be_kept_does_not_come_into_force(
    path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(StateFile):
        full = False

        def write(self, *records: Record) -> None:
            if self.full:
                raise sqlite3.OperationalError("database or disk is full")
            super().write(*records)

    with closing(Full(path)) as store:
        service = Service(Behaviour(sync_seconds=0), clock, digest_of_uri, store)
        service.ensure_organization(MY_ORG)
        upload(service, "production")
        before = picture(service)
        store.full = True
        for change in (
            lambda: upload(service, "new"),
            lambda: service.update_model_version_aliases(ORG, ARCH, "1", ["new"]),
            lambda: service.deploy_model(ENDPOINT, NAME.format(1)),
            lambda: service.delete_model_version(ORG, ARCH, "1"),
            lambda: service.set_keys(ORG, management=["new-key"]),
            lambda: service.add_architecture(ORG, "new"),
            lambda: service.add_endpoint(ORG, "new", ARCH),
            lambda: service.add_organization(OrganizationConfig(name="new")),
        ):
            with pytest.raises(sqlite3.OperationalError):
                change()
            assert picture(service) == before


def test_a_kill_between_two_answers_loses_nothing_that_was_answered(path: Path) -> None:
    command = [sys.executable, "-m", "airflow_provider_cerebras.emulator", "--port", "0", "--state", str(path)]
    answered: set[str] = set()
    for _ in range(2):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            url = process.stdout.readline().split()[-1]
            with httpx.Client(base_url=f"{url}/management/v1/orgs/{ORG}", timeout=30) as client:
                client.headers["Authorization"] = "Bearer emulator-management-key"
                listed = client.get(f"/models/{ARCH}/versions").json()["model_versions"]
                assert {each["name"] for each in listed} == answered
                for number in range(20):
                    body = {"model_arch_id": ARCH, "model": {"weight_uri": f"s3://bucket/{number}"}}
                    answered.add(client.post("/models:upload", json=body).raise_for_status().json()["name"])
                    if number == 13:
                        os.kill(process.pid, signal.SIGKILL)
                        break
            assert process.wait() == -signal.SIGKILL
    assert len(answered) == 28


class Restarts(RuleBasedStateMachine):
    """A service that is restarted now and then beside one that is not: a client cannot tell them apart."""

    versions = Bundle("versions")

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.stores = {"kept": _Dictionary(), "lasting": _Dictionary()}
        self.services = {name: self._open(store) for name, store in self.stores.items()}
        self.ids = iter(range(1_000_000))
        self.gone: set[int] = set()

    def _open(self, store: _Dictionary) -> Service:
        behaviour = Behaviour(sync_seconds=10, rollout_seconds=10, delete_in_use="allow", deploy_during_rollout="queue")
        service = Service(behaviour, lambda: self.now, digest_of_uri, store)
        service.ensure_organization(MY_ORG)
        return service

    def both(self, action: Callable[[Service], Any]) -> Any:
        outcomes = []
        for service in self.services.values():
            try:
                outcomes.append(action(service))
            except ServiceError as error:
                outcomes.append(str(error))
        assert outcomes[0] == outcomes[1]
        return outcomes[0]

    @rule(target=versions, aliases=st.lists(st.sampled_from("abcd"), max_size=2), fail=st.booleans())
    def upload(self, aliases: list[str], fail: bool) -> Any:
        number = self.both(lambda service: upload(service, *aliases, planned_failure="x" if fail else None).number)
        return number if isinstance(number, int) else multiple()

    @rule(version=versions, aliases=st.lists(st.sampled_from("abcd"), max_size=2))
    def set_aliases(self, version: int, aliases: list[str]) -> None:
        self.both(lambda service: service.update_model_version_aliases(ORG, ARCH, str(version), aliases).aliases)

    @rule(version=versions)
    def delete(self, version: int) -> None:
        self.both(lambda service: service.delete_model_version(ORG, ARCH, str(version)).number)
        self.gone.add(version)

    @rule(version=versions, fail=st.booleans())
    def deploy(self, version: int, fail: bool) -> None:
        reason = "x" if fail else None
        self.both(lambda service: service.deploy_model(ENDPOINT, NAME.format(version), planned_failure=reason).created)

    @rule(seconds=st.floats(0, 15))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def restart(self) -> None:
        self.services["kept"] = self._open(self.stores["kept"])

    @invariant()
    def nobody_can_tell_them_apart(self) -> None:
        kept, lasting = (_without_ids(picture(service)) for service in self.services.values())
        assert kept == lasting

    @invariant()
    def an_alias_has_one_holder_and_nothing_comes_back(self) -> None:
        versions = self.services["kept"].model_versions(ORG, ARCH)
        aliases = [alias for version in versions for alias in version.aliases]
        assert len(aliases) == len(set(aliases))
        assert not self.gone & {version.number for version in versions}


class _Dictionary:
    """Keeps records as the file does, in less time."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, str], Record] = {}

    def read(self, kind: str) -> Iterator[Record]:
        return iter([each for each in self.records.values() if each.kind == kind])

    def write(self, *records: Record) -> None:
        for each in records:
            if each.body is None:
                self.records.pop((each.kind, each.key), None)
            else:
                self.records[each.kind, each.key] = each

    def clear(self) -> None:
        self.records.clear()

    def close(self) -> None:
        pass


def _without_ids(seen: dict[str, Any]) -> dict[str, Any]:
    endpoints = [
        (*rest, [each[1:] for each in deployments], serving) for *rest, deployments, serving in seen["endpoints"]
    ]
    return {**seen, "endpoints": endpoints}


TestRestarts = Restarts.TestCase
TestRestarts.settings = hypothesis_settings(max_examples=40, stateful_step_count=30, deadline=None)
