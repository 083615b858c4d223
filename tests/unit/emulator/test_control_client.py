"""What a test says to an emulator, and what it sees of it."""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

if TYPE_CHECKING:
    from airflow_provider_cerebras.emulator.control.client import EmulatorClient
    from airflow_provider_cerebras.emulator.faults.profiles import ProfileName

URI = "s3://bucket/weights"

pytestmark = pytest.mark.cerebras_emulator(sync_seconds=0, rollout_seconds=0)


def test_a_version_as_it_is(emulator: EmulatorClient) -> None:
    name = emulator.upload(URI, "prod", "blue")
    version = emulator.versions()[name]
    assert name == version.name == emulator.version_name(1)
    assert (version.weight_uri, version.aliases) == (URI, ["prod", "blue"])
    assert (version.done, version.sync_status, version.failure) == (True, "done", None)
    assert version.weights_digest is not None
    emulator.set_aliases(name, "green")
    assert emulator.versions()[name].aliases == ["green"]


def test_a_sync_that_fails(emulator: EmulatorClient) -> None:
    emulator.fail_next_sync("the bucket is not there")
    failed, sound = emulator.upload(URI), emulator.upload(URI)
    versions = emulator.versions()
    assert (versions[failed].failure, versions[failed].weights_digest) == ("the bucket is not there", None)
    assert versions[sound].failure is None


def test_what_serves(emulator: EmulatorClient) -> None:
    assert emulator.serving() is None
    first, second = emulator.upload(URI), emulator.upload(URI)
    deployment_id = emulator.deploy(first)
    emulator.fail_next_rollout("not enough memory")
    emulator.deploy(second)
    assert emulator.serving() == emulator.endpoints()[emulator.endpoint_id].serving == first
    complete, failed = emulator.deployments()
    assert (complete.deployment_id, complete.model_version, complete.state) == (deployment_id, first, "complete")
    assert (failed.model_version, failed.state, failed.failure) == (second, "failed", "not enough memory")


def test_what_versions_answer(emulator: EmulatorClient) -> None:
    name = emulator.version_name(1)
    emulator.set_answers(name, {"hello": "you"}, default="what?")
    emulator.set_answers(name, {"hello": "again"})
    assert emulator.answers()[name].answers == {"hello": "again"}
    assert emulator.answers()[name].default is None
    emulator.clear_answers()
    assert emulator.answers() == {}


def test_another_endpoint(emulator: EmulatorClient) -> None:
    emulator.add_endpoint("my-org-canary")
    version = emulator.upload(URI)
    emulator.deploy(version, "my-org-canary")
    assert (emulator.serving("my-org-canary"), emulator.serving()) == (version, None)


@pytest.mark.parametrize("answer", [{"status": 503}, {"text": "<h1>no</h1>"}, {"body": {"detail": "no"}}])
def test_a_fault_and_its_counts(emulator: EmulatorClient, answer: dict[str, Any]) -> None:
    fault = emulator.add_fault("list_endpoints", times=2, skip=1, **answer)
    assert [each.id for each in emulator.faults()] == [fault.id]
    for _ in range(3):
        httpx.get(f"{emulator.base_url}/management/v1/orgs/{emulator.org}/endpoints")
    (seen,) = emulator.faults()
    assert (seen.rule, seen.skipped, seen.fired) == (fault.rule, 1, 2)
    emulator.end_fault(fault)
    assert emulator.faults() == []


@pytest.mark.parametrize(
    ("operation", "rule", "said"),
    [("get_endpoint", {}, "no effect"), ("get_endpoints", {"drop": True}, "operation"), ("*", {"stat": 1}, "stat")],
)
def test_a_rule_that_makes_no_sense_is_refused_in_the_test(
    emulator: EmulatorClient, operation: str, rule: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        emulator.add_fault(operation, **rule)


def test_requests_as_they_came(emulator: EmulatorClient) -> None:
    emulator.upload(URI)
    with pytest.raises(httpx.HTTPStatusError):
        emulator.api("GET", "/endpoints/nowhere")
    upload, look = emulator.requests()
    assert (upload.method, upload.operation, upload.status) == ("POST", "upload_model_version", 200)
    assert upload.body["model"]["weight_uri"] == URI
    assert (look.path, look.status) == ("/management/v1/endpoints/nowhere", 404)
    assert emulator.requests("get_endpoint") == emulator.requests(stage="answered")[1:] == [look]
    assert emulator.requests(newest=1) == [look]


def test_a_request_can_be_waited_for(emulator: EmulatorClient) -> None:
    thread = threading.Timer(0.05, emulator.upload, [URI])
    thread.start()
    assert emulator.requests("upload_model_version", wait=60)
    thread.join()


def test_something_happens_while_a_request_is_in_hand(emulator: EmulatorClient) -> None:
    with emulator.meanwhile("upload_model_version", lambda: emulator.add_endpoint("my-org-canary")):
        emulator.upload(URI)
    assert "my-org-canary" in emulator.endpoints()
    assert emulator.faults() == []


def test_what_fails_meanwhile_fails_the_test(emulator: EmulatorClient) -> None:
    with pytest.raises(KeyError), emulator.meanwhile("upload_model_version", lambda: emulator.serving("nowhere")):
        emulator.upload(URI)
    assert emulator.versions(), "the request went on all the same"


def test_a_request_that_never_comes_is_an_error(emulator: EmulatorClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_provider_cerebras.emulator.control.client.HELD_SECONDS", 0.05)
    with pytest.raises(TimeoutError, match="deploy_model did not come"), emulator.meanwhile("deploy_model", print):
        pass


@pytest.mark.cerebras_emulator(sync_seconds=10800, rollout_seconds=600)
class TestTime:
    def test_three_hours_pass_at_once(self, emulator: EmulatorClient) -> None:
        name = emulator.upload(URI)
        version = emulator.versions()[name]
        assert version.sync_ends - version.created == pytest.approx(10800)
        before = emulator.advance_clock(10700)
        assert not emulator.versions()[name].done
        after = emulator.advance_clock(100)
        assert 100 <= after.now - before.now < 160
        assert emulator.versions()[name].done

    def test_it_stands_still_and_runs_on(self, emulator: EmulatorClient) -> None:
        frozen = emulator.freeze_clock()
        assert (frozen.frozen, emulator.clock().now) == (True, frozen.now)
        assert emulator.set_clock(frozen.now + 5).now == frozen.now + 5
        assert not emulator.resume_clock().frozen
        with pytest.raises(httpx.HTTPStatusError, match="Time does not go back"):
            emulator.set_clock(frozen.now)

    def test_what_an_earlier_release_left_serves(self, emulator: EmulatorClient) -> None:
        emulator.add_endpoint("my-org-canary")
        first = emulator.serve(URI, "prod")
        second = emulator.serve(URI, endpoint_id="my-org-canary")
        assert (emulator.serving(), emulator.serving("my-org-canary")) == (first, second)
        assert emulator.deployments()[0].ends - emulator.deployments()[0].begins == pytest.approx(480)


class TestBehaviour:
    def test_it_changes_while_it_runs(self, emulator: EmulatorClient) -> None:
        assert emulator.behaviour().sync_failure_status == "failed"
        assert emulator.change_behaviour(sync_failure_status="error", done_on_failure=False).done_on_failure is False
        emulator.fail_next_sync("no")
        name = emulator.upload(URI)
        version = emulator.versions()[name]
        assert (version.sync_status, version.done, version.failure) == ("error", False, "no")

    def test_what_is_none_is_refused_in_the_test(self, emulator: EmulatorClient) -> None:
        with pytest.raises(ValueError, match="sync_secs"):
            emulator.change_behaviour(sync_secs=1)


class TestProfiles:
    def test_one_is_in_force_until_it_is_ended(self, emulator: EmulatorClient) -> None:
        assert {"flaky", "rate-limited", "maintenance", "cdn-block"} <= {each.name for each in emulator.profiles()}
        fault = emulator.add_fault("list_endpoints", delay=0.01)
        rules = emulator.use_profile("maintenance")
        with pytest.raises(httpx.HTTPStatusError, match=r"503.*down for maintenance"):
            emulator.upload(URI)
        assert [each.id for each in emulator.faults()] == [fault.id, *(each.id for each in rules)]
        emulator.end_profile("maintenance")
        assert [each.id for each in emulator.faults()] == [fault.id]

    @pytest.mark.parametrize("name", ["flaky", "rate-limited", "cdn-block"])
    def test_each_can_be_used(self, emulator: EmulatorClient, name: ProfileName) -> None:
        assert [each.profile for each in emulator.use_profile(name)] == [name] * len(emulator.faults())


class TestOrganizations:
    def test_another_one(self, emulator: EmulatorClient) -> None:
        emulator.add_organization("acme", model_architectures=["llama3.1-8b"])
        emulator.add_architecture("gpt-oss-120b", "acme")
        emulator.add_endpoint("acme-canary", "gpt-oss-120b", "acme")
        acme = emulator.organizations()["acme"]
        assert acme.model_architectures == ["llama3.1-8b", "gpt-oss-120b"]
        assert acme.endpoints == ["acme-llama3.1-8b", "acme-canary"]
        assert list(emulator.organizations()) == [emulator.org, "acme"]

    def test_its_keys_are_replaced(self, emulator: EmulatorClient) -> None:
        emulator.set_keys(emulator.org, management=["another"])
        with pytest.raises(httpx.HTTPStatusError, match="401"):
            emulator.upload(URI)
        assert emulator.organizations()[emulator.org].inference_keys == 1


def test_reset(emulator: EmulatorClient) -> None:
    emulator.upload(URI)
    emulator.add_fault("*", drop=True)
    emulator.add_endpoint("my-org-canary")
    emulator.advance_clock(10**6)
    emulator.reset()
    assert abs(emulator.clock().now - time.time()) < 60
    assert (emulator.versions(), emulator.faults(), emulator.requests()) == ({}, [], [])
    assert "my-org-canary" not in emulator.endpoints()


def test_the_connection_can_be_changed(emulator: EmulatorClient) -> None:
    plain, changed = (json.loads(emulator.connection(**more)) for more in ({}, {"extra": {"max_retries": 0}}))
    assert changed == {**plain, "extra": {**plain["extra"], "max_retries": 0}}
    other = json.loads(emulator.connection(password="other"))
    assert other == {**plain, "password": "other"}
    elsewhere = json.loads(emulator.connection(host="https://api.example.com"))
    assert elsewhere == {name: value for name, value in plain.items() if name != "port"} | {
        "host": "https://api.example.com"
    }
