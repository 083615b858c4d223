"""Which attempt may delete the version when it is killed: only the one that claimed it last."""

from __future__ import annotations

from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_cerebras.api.errors import CerebrasError, UnexpectedResponse
from airflow_provider_cerebras.durable.on_kill import (
    Judgement,
    is_cleared_since,
    judge,
    may_delete,
    release_claims,
    retire,
    was_cleared,
)
from airflow_provider_cerebras.emulator.api.operations import OperationName
from airflow_provider_cerebras.operators._on_kill import delete
from tests.unit.durable.world import (
    ARCH,
    CLEARED,
    ENDPOINT,
    FIRST,
    ORG,
    RETRY,
    STRANGER,
    Attempt,
    Journal,
    Mishap,
    broken,
    name,
    request,
)

if TYPE_CHECKING:
    from tests.unit.durable.world import Service

TENTH = f"{FIRST.alias}-10"
SECOND_TO_LAST = f"{FIRST.alias}-9"


@pytest.mark.parametrize(
    ("claim", "aliases", "allowed"),
    [
        pytest.param(None, [], True, id="an upload that is not durable cannot be adopted"),
        pytest.param(None, ["latest"], True, id="nor does an alias of the user matter"),
        pytest.param(FIRST.claim, [FIRST.alias, FIRST.claim, "latest"], True, id="no attempt came since"),
        pytest.param(FIRST.claim, [FIRST.alias, FIRST.claim, RETRY.claim], False, id="a newer attempt adopted it"),
        pytest.param(RETRY.claim, [FIRST.alias, FIRST.claim, RETRY.claim], True, id="the newest attempt"),
        pytest.param(TENTH, [FIRST.alias, TENTH, SECOND_TO_LAST], True, id="attempts are numbers, not texts"),
        pytest.param(SECOND_TO_LAST, [FIRST.alias, TENTH, SECOND_TO_LAST], False, id="so ten is newer than nine"),
        pytest.param(FIRST.claim, [], False, id="another client took all aliases off it"),
        pytest.param(FIRST.claim, [FIRST.alias], False, id="another client took the claim off it"),
        pytest.param(FIRST.claim, [CLEARED.alias, CLEARED.claim], False, id="it belongs to another generation"),
        pytest.param(
            FIRST.claim, [FIRST.alias, FIRST.claim, STRANGER.claim], True, id="a claim of another task run is not of it"
        ),
        pytest.param("latest", ["latest"], False, id="what is no claim allows nothing"),
        pytest.param(CLEARED.claim, [FIRST.claim, CLEARED.claim], True, id="a later generation is the newer one"),
        pytest.param(FIRST.claim, [FIRST.claim, CLEARED.claim], False, id="and an earlier one is not"),
    ],
)
def test_may_delete(claim: str | None, aliases: list[str], allowed: bool) -> None:
    assert may_delete(claim, aliases) is allowed


@pytest.mark.parametrize(
    ("claim", "aliases", "cleared"),
    [
        pytest.param(FIRST.claim, [[FIRST.alias, FIRST.claim], []], False, id="its own version alone"),
        pytest.param(FIRST.claim, [[FIRST.alias, FIRST.claim, RETRY.claim]], False, id="a retry is of its generation"),
        pytest.param(FIRST.claim, [[FIRST.claim], ["latest", CLEARED.alias]], True, id="a later generation has one"),
        pytest.param(CLEARED.claim, [[CLEARED.claim], [FIRST.alias, FIRST.claim]], False, id="an earlier one may too"),
        pytest.param(FIRST.claim, [[FIRST.claim], [STRANGER.alias]], False, id="another task run's says nothing"),
        pytest.param(None, [[CLEARED.alias]], False, id="an upload that is not durable cannot tell"),
        pytest.param("latest", [[CLEARED.alias]], False, id="nor can what is no claim"),
    ],
)
def test_was_cleared(claim: str | None, aliases: list[list[str]], cleared: bool) -> None:
    assert was_cleared(claim, aliases) is cleared


@pytest.mark.parametrize(
    ("state", "was_deferred", "judgement"),
    [
        ("failed", False, Judgement.KILLED),
        ("restarting", False, Judgement.KILLED),
        (None, False, Judgement.NOT_KILLED),
        ("running", False, Judgement.NOT_KILLED),
        ("failed", True, Judgement.KILLED),
        (None, True, Judgement.KILLED),
        ("restarting", True, Judgement.NOT_KILLED),
        ("running", True, Judgement.NOT_YET_KNOWN),
        ("success", True, Judgement.NOT_KILLED),
    ],
)
def test_the_state_means_another_thing_while_the_task_holds_a_worker(
    state: str | None, was_deferred: bool, judgement: Judgement
) -> None:
    assert judge(state, was_deferred=was_deferred, cleared=False) is judgement


@pytest.mark.parametrize(
    "operation", [OperationName.LIST_ENDPOINTS, OperationName.GET_ENDPOINT, OperationName.GET_MODEL_VERSION]
)
def test_a_killed_worker_has_no_time_to_ask_twice(operation: OperationName, service: Service) -> None:
    Attempt(service).upload(request(FIRST, claims=True))
    attempt = Attempt(service, [Mishap(operation, broken("503"), worked=False)])
    with closing(attempt.client()) as client, pytest.raises(CerebrasError, match="503"):
        delete(client, name(1), FIRST.claim)
    assert attempt.network.count(str(operation)) == 1
    assert list(service.aliases()) == [1]


@given(state=st.none() | st.text(), was_deferred=st.booleans())
def test_an_unheard_of_state_is_no_evidence(state: str | None, was_deferred: bool) -> None:
    known = {None, "failed", "restarting", "scheduled", "queued", "running"}
    if state not in known:
        assert judge(state, was_deferred=was_deferred, cleared=False) is Judgement.NOT_KILLED


def delete_version_1(service: Service, *mishaps: Mishap, claim: str | None = FIRST.claim) -> tuple[str | None, Attempt]:
    """Delete as an attempt does that was killed; why it did not, and what it sent."""
    Attempt(service).upload(request(FIRST, "latest", claims=True))
    attempt = Attempt(service, list(mishaps))
    with closing(attempt.client()) as client:
        return delete(client, name(1), claim), attempt


def test_a_version_that_nobody_uses_is_deleted(service: Service) -> None:
    reason, attempt = delete_version_1(service)
    assert reason is None
    assert service.aliases() == {}
    # Both checks are as close to the deletion as can be.
    assert [operation for operation, _, _ in attempt.network.sent] == [
        "list_endpoints",
        "get_endpoint",
        "get_model_version",
        "delete_model_version",
    ]


LISTED = {"endpoint_id": ENDPOINT, "model_arch_id": ARCH, "created": 1, "updated": 1, "org_name": ORG}
ENTRY = {"id": "5", "model": name(7), "version_alias": "latest", "created": 1, "state": "complete"}
ENDPOINT_ROW = {"name": ENDPOINT, "model_arch_id": ARCH, "created": 1, "updated": 1, "deployed_models": [ENTRY]}
VERSION = {"name": name(1), "done": False, "response": {"version_aliases": [FIRST.alias, FIRST.claim]}}


def without(body: dict[str, Any], field: str, value: Any) -> dict[str, Any]:
    changed = {key: each for key, each in body.items() if key != field}
    return changed if value is ... else {**changed, field: value}


UNKNOWN: dict[str, tuple[OperationName, dict[str, Any]]] = {}
for word, value in {"absent": ..., "null": None, "a number": 5, "a list": [None], "a text": "text"}.items():
    UNKNOWN |= {
        f"endpoints {word}": (OperationName.LIST_ENDPOINTS, without({}, "endpoints", value)),
        f"endpoint_id {word}": (
            OperationName.LIST_ENDPOINTS,
            {"endpoints": [without(LISTED, "endpoint_id", value)]},
        ),
        f"deployed_models {word}": (OperationName.GET_ENDPOINT, without(ENDPOINT_ROW, "deployed_models", value)),
        f"model {word}": (
            OperationName.GET_ENDPOINT,
            without(ENDPOINT_ROW, "deployed_models", [without(ENTRY, "model", value)]),
        ),
        f"name {word}": (OperationName.GET_MODEL_VERSION, without(VERSION, "name", value)),
        f"response {word}": (OperationName.GET_MODEL_VERSION, without(VERSION, "response", value)),
        f"version_aliases {word}": (
            OperationName.GET_MODEL_VERSION,
            {**VERSION, "response": without({}, "version_aliases", value)},
        ),
    }
del UNKNOWN["endpoint_id a text"]  # it is one


@pytest.mark.parametrize("case", UNKNOWN)
def test_what_is_not_known_to_be_unused_and_unclaimed_is_not_deleted(case: str, service: Service) -> None:
    operation, body = UNKNOWN[case]
    answer = Mishap(operation, httpx.Response(200, json=body), times=99)
    reason: str | None = "an error"
    with suppress(CerebrasError):
        reason, _ = delete_version_1(service, answer)
    assert reason is not None
    assert list(service.aliases()) == [1]


@pytest.mark.parametrize("state", ["complete", "in_progress", "failed", "whatever"])
def test_a_version_that_an_endpoint_lists_is_not_deleted(state: str, service: Service) -> None:
    entries = [ENTRY, {**ENTRY, "model": name(1), "state": state}]
    answer = httpx.Response(200, json={**ENDPOINT_ROW, "deployed_models": entries})
    reason, _ = delete_version_1(service, Mishap(OperationName.GET_ENDPOINT, answer))
    assert reason is not None
    assert ENDPOINT in reason
    assert list(service.aliases()) == [1]


@pytest.mark.parametrize(
    "model",
    ["1", "versions/1", name("01"), name("\u0661"), f"orgs/{ORG}/models/{ARCH}/1", name(1).replace("my-org", "My-Org")],
)
def test_a_version_that_an_endpoint_may_list_by_another_name_is_not_deleted(model: str, service: Service) -> None:
    answer = httpx.Response(200, json={**ENDPOINT_ROW, "deployed_models": [{**ENTRY, "model": model}]})
    reason: str | None = "an error"
    with suppress(CerebrasError):
        reason, _ = delete_version_1(service, Mishap(OperationName.GET_ENDPOINT, answer))
    assert reason is not None
    assert list(service.aliases()) == [1]


@pytest.mark.parametrize("more", [{"next_page_token": "abc"}, {"has_more": True}, {"nextPage": 2}])
@pytest.mark.parametrize("operation", [OperationName.LIST_ENDPOINTS, OperationName.GET_ENDPOINT])
def test_a_list_that_says_that_it_goes_on_proves_nothing(
    operation: OperationName, more: dict[str, Any], service: Service
) -> None:
    body = {"endpoints": []} if operation is OperationName.LIST_ENDPOINTS else ENDPOINT_ROW
    answer = httpx.Response(200, json={**body, **more})
    with pytest.raises(UnexpectedResponse, match="goes on"):
        delete_version_1(service, Mishap(operation, answer))
    assert list(service.aliases()) == [1]


def test_without_a_claim_a_version_whose_sync_has_ended_is_not_deleted(service: Service) -> None:
    """Nothing says then whether its wait is over, and the task may have failed by itself since."""
    made = Attempt(service).upload(request(None))
    service.now += 100
    with closing(Attempt(service).client()) as client:
        assert "wait" in str(delete(client, made, None))
    assert list(service.aliases()) == [1]


def test_an_answer_about_another_version_deletes_neither(service: Service) -> None:
    service.upload("s3://weights/other", "golden")
    answer = httpx.Response(200, json=VERSION)
    Attempt(service).upload(request(FIRST, claims=True))
    attempt = Attempt(service, [Mishap(OperationName.GET_MODEL_VERSION, answer)])
    with closing(attempt.client()) as client, pytest.raises(UnexpectedResponse, match=r"about .*versions/1"):
        delete(client, name(2), FIRST.claim)
    assert list(service.aliases()) == [1, 2]


def test_a_version_known_by_an_alias_alone_is_not_deleted(service: Service) -> None:
    Attempt(service).upload(request(FIRST, "latest", claims=True))
    with closing(Attempt(service).client()) as client:
        assert delete(client, name("latest"), FIRST.claim) == "it is known by an alias only, which may have moved."
    assert list(service.aliases()) == [1]


def test_the_claims_come_off_and_nothing_else(service: Service) -> None:
    made = service.upload("s3://weights/1", FIRST.alias, FIRST.claim, RETRY.claim, STRANGER.claim, "latest")
    journal = Journal()
    attempt = Attempt(service)
    with closing(attempt.client()) as client:
        release_claims(client, made, FIRST.base, log=journal, sleep=attempt.pass_time)
        release_claims(client, made, FIRST.base, log=journal, sleep=attempt.pass_time)
        release_claims(client, name(9), FIRST.base, log=journal, sleep=attempt.pass_time)
    assert service.aliases() == {1: [FIRST.alias, STRANGER.claim, "latest"]}
    assert "stays" not in journal.text
    # Looked at, read, written and read back; where nothing is to be done, looked at.
    get, patch = "get_model_version", "update_model_version_aliases"
    assert [operation for operation, _, _ in attempt.network.sent] == [get, get, patch, get, get, get]
    assert attempt.pauses == []


def test_claims_that_cannot_be_taken_off_are_said_to_stay(service: Service) -> None:
    made = service.upload("s3://weights/1", FIRST.alias, FIRST.claim)
    journal = Journal()
    refused = Mishap(OperationName.UPDATE_MODEL_VERSION_ALIASES, broken("503"), worked=False, times=9)
    attempt = Attempt(service, [refused])
    with closing(attempt.client()) as client:
        release_claims(client, made, FIRST.base, log=journal, sleep=lambda seconds: None)
    (line,) = journal.lines
    assert line.startswith(f"The claim of this task stays on model version {made}: PATCH ")
    assert "503" in line


def test_what_was_cleared_is_retired_so_that_no_attempt_adopts_it(service: Service) -> None:
    made = service.upload("s3://weights/1", FIRST.alias, FIRST.claim, STRANGER.claim, "latest")
    attempt = Attempt(service)
    with closing(attempt.client()) as client:
        for _ in range(2):
            retire(client, made, FIRST, log=attempt.journal)
        retire(client, name(9), FIRST, log=attempt.journal)
    assert sorted(service.aliases()[1]) == sorted([FIRST.retired, STRANGER.claim, "latest"])
    # There are a few seconds: no settling time, and nothing more where it is retired already, or gone.
    get, patch = "get_model_version", "update_model_version_aliases"
    assert [operation for operation, _, _ in attempt.network.sent] == [get, get, patch, get, get, get]
    assert attempt.journal.lines == [
        f"Model version {made} was given the aliases {STRANGER.claim}, latest, {FIRST.retired}."
    ]


def test_aliases_that_are_not_known_are_not_retired(service: Service) -> None:
    made = service.upload("s3://weights/1", FIRST.alias)
    answer = httpx.Response(200, json={"name": made, "done": True, "response": {}})
    attempt = Attempt(service, [Mishap(OperationName.GET_MODEL_VERSION, answer)])
    with closing(attempt.client()) as client:
        retire(client, made, FIRST, log=attempt.journal)
    assert service.aliases() == {1: [FIRST.alias]}


class TestClearedSince:
    def ask(self, service: Service, claim: str | None, *mishaps: Mishap) -> bool:
        self.attempt = Attempt(service, list(mishaps))
        calls, response = is_cleared_since(name(1), claim), None
        with closing(self.attempt.client()) as client:
            while True:
                try:
                    response = client.send(calls.send(response))
                except StopIteration as end:
                    return bool(end.value)

    def test_a_later_generation_has_a_version_by_now(self, service: Service) -> None:
        service.upload("s3://weights/1", FIRST.alias, FIRST.claim)
        assert not self.ask(service, FIRST.claim)
        service.upload("s3://weights/1", CLEARED.alias)
        assert self.ask(service, FIRST.claim)
        assert [operation for operation, _, _ in self.attempt.network.sent] == ["list_model_versions"]

    def test_without_a_claim_nothing_is_asked(self, service: Service) -> None:
        assert not self.ask(service, None)
        assert self.attempt.network.sent == []

    def test_a_version_without_aliases_in_the_list_says_nothing(self, service: Service) -> None:
        rows = [{"name": name(1), "done": True, "response": {}}]
        answer = httpx.Response(200, json={"model_versions": rows})
        assert not self.ask(service, FIRST.claim, Mishap(OperationName.LIST_MODEL_VERSIONS, answer))


def test_endpoints_of_other_architectures_are_passed_over_wherever_they_are_listed(service: Service) -> None:
    theirs = {**LISTED, "endpoint_id": "my-org-llama3.1-8b", "model_arch_id": "llama3.1-8b"}
    listed = Mishap(OperationName.LIST_ENDPOINTS, httpx.Response(200, json={"endpoints": [theirs, LISTED]}))
    entries = [{**ENTRY, "model": name(1)}]
    answer = httpx.Response(200, json={**ENDPOINT_ROW, "deployed_models": entries})
    reason, _ = delete_version_1(service, listed, Mishap(OperationName.GET_ENDPOINT, answer))
    assert reason == f"endpoint {ENDPOINT} lists it (state complete)."
    assert list(service.aliases()) == [1]
