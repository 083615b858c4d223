"""What a test says to an emulator, and what it sees of it."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import httpx
import pytest

if TYPE_CHECKING:
    from airflow_provider_cerebras.emulator.control_client import EmulatorClient

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
    assert (failed.model_version, failed.state) == (second, "failed")


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
    monkeypatch.setattr("airflow_provider_cerebras.emulator.control_client.HELD_SECONDS", 0.05)
    with pytest.raises(TimeoutError, match="deploy_model did not come"), emulator.meanwhile("deploy_model", print):
        pass


def test_reset(emulator: EmulatorClient) -> None:
    emulator.upload(URI)
    emulator.add_fault("*", drop=True)
    emulator.add_endpoint("my-org-canary")
    emulator.reset()
    assert (emulator.versions(), emulator.faults(), emulator.requests()) == ({}, [], [])
    assert "my-org-canary" not in emulator.endpoints()


def test_the_connection_can_be_changed(emulator: EmulatorClient) -> None:
    plain, changed = (json.loads(emulator.connection(**more)) for more in ({}, {"extra": {"max_retries": 0}}))
    assert changed == {**plain, "extra": {**plain["extra"], "max_retries": 0}}
    other = json.loads(emulator.connection(password="other"))
    assert other == {**plain, "password": "other"}
