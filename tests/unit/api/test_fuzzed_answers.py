"""Whatever the service answers is either read as what it is, or refused by an error of ours; nothing else happens."""

from __future__ import annotations

import asyncio
import copy
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from airflow_provider_cerebras.api import models, operations, status
from airflow_provider_cerebras.api.client import AsyncCerebrasClient, CerebrasClient, ClientSettings
from airflow_provider_cerebras.api.errors import (
    CerebrasAPIError,
    CerebrasError,
    OutcomeUnknown,
    UnexpectedResponse,
    parse_retry_after,
)
from airflow_provider_cerebras.api.evidence import use_of
from airflow_provider_cerebras.api.status import WORDS_OF_FAILURE, WORDS_OF_SUCCESS, Progress
from airflow_provider_cerebras.durable.deletions import Uses
from airflow_provider_cerebras.durable.rollout_steps import read_deployments
from airflow_provider_cerebras.evaluation.smoke import find_fault, measure, summarize
from airflow_provider_cerebras.operators._pruning import select
from airflow_provider_cerebras.polling.deployments import DeploymentPoller
from airflow_provider_cerebras.polling.outcome import Outcome, Status
from airflow_provider_cerebras.polling.versions import ModelVersionPoller

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_cerebras.api.operations import Call

# Of this machine, for whose sake no certificates are loaded each time.
SETTINGS = ClientSettings(
    management_key="mgmt-key-5b1e", inference_key="inference-key-a94c", base_url="http://127.0.0.1", max_retries=0
)
V1 = "orgs/my-org/models/gpt-oss-120b/versions/1"
UUID = "550e8400-e29b-41d4-a716-446655440000"
VERSION = {
    "name": V1,
    "done": True,
    "response": {
        "customer_s3_uri": "s3://my-bucket/weights",
        "version_aliases": ["production"],
        "sync_status": "done",
        "system_fingerprint_suffix": "suffix",
    },
    "error": None,
}
DEPLOYED = {"id": UUID, "model": V1, "version_alias": "production", "created": 1736700000, "state": "complete"}

# Each call, with an answer that has every field that is read.
CALLS: dict[str, tuple[Call[Any], dict[str, Any]]] = {
    "list_model_architectures": (
        operations.list_model_architectures("my-org"),
        {"model_architectures": ["gpt-oss-120b"]},
    ),
    "list_model_versions": (
        operations.list_model_versions("my-org", "gpt-oss-120b"),
        {"model_versions": [VERSION, VERSION]},
    ),
    "find_model_versions": (
        operations.find_model_versions("my-org", "gpt-oss-120b"),
        {"model_versions": [VERSION, VERSION]},
    ),
    "upload_model_version": (operations.upload_model_version("my-org", "gpt-oss-120b", "s3://bucket/x"), VERSION),
    "get_model_version": (operations.get_model_version(V1), VERSION),
    "update_model_version_aliases": (
        operations.update_model_version_aliases(V1, ["production"]),
        {"name": V1, "version_aliases": ["production"]},
    ),
    "delete_model_version": (operations.delete_model_version(V1), {"name": V1, "deleted": True}),
    "list_endpoints": (
        operations.list_endpoints("my-org"),
        {
            "endpoints": [
                {
                    "endpoint_id": "e",
                    "model_arch_id": "gpt-oss-120b",
                    "created": 1736700000,
                    "updated": 1736700000,
                    "org_name": "my-org",
                }
            ]
        },
    ),
    "get_endpoint": (
        operations.get_endpoint("e"),
        {
            "name": "e",
            "model_arch_id": "gpt-oss-120b",
            "deployed_models": [DEPLOYED, {**DEPLOYED, "id": "2", "state": "queued"}],
            "created": 1736700000,
            "updated": 1736700000,
            "managing_org_name": "my-org",
        },
    ),
    "find_deployments": (
        operations.find_deployments("e"),
        {"name": "e", "deployed_models": [DEPLOYED, {**DEPLOYED, "id": "2", "state": "queued"}]},
    ),
    "deploy_model": (
        operations.deploy_model("e", V1),
        {
            "name": UUID,
            "done": False,
            "response": {
                "deployment_id": UUID,
                "endpoint_id": "e",
                "org_name": "my-org",
                "model_arch_id": "gpt-oss-120b",
                "version_id": 1,
                "created": 1736700000,
                "updated": 1736700000,
                "rollout_status": "not_started",
            },
        },
    ),
    "chat_completion": (
        operations.chat_completion("e", [{"role": "user", "content": "Hi"}]),
        {
            "id": "c",
            "model": "e",
            "choices": [{"message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}],
            "system_fingerprint": "fp_1-suffix",
            "usage": {"completion_tokens": 5},
            "time_info": {"completion_time": 0.1},
        },
    ),
}

# NaN and infinities are no JSON, but Python's own json writes them, and others read them.
numbers = st.integers() | st.floats() | st.sampled_from([2**63, -(2**63) - 1, 10**400, 0, -0.0, 1e308, float("inf")])
words = st.text() | st.sampled_from(
    ["", "done", "DONE", "failed", "complete", "queued", "..", "a/b", "a\nb", "\u202e", "{{ 7 * 7 }}"]
)
anything = st.recursive(
    st.none() | st.booleans() | numbers | words,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4),
    max_leaves=12,
)


def places(document: Any, *path: Any) -> Iterator[tuple[Any, ...]]:
    """The paths of everything inside a document."""
    inner: Any = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for key, value in inner:
        yield (*path, key)
        yield from places(value, *path, key)


@st.composite
def nearly(draw: st.DrawFn, document: Any) -> Any:
    """A document with a few mistakes in it: fields that are gone, null, of another type, or new."""
    changed = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 4))):
        paths = list(places(changed))
        if not paths:
            break
        *path, last = draw(st.sampled_from(paths))
        inside: Any = changed
        for key in path:
            inside = inside[key]
        match draw(st.sampled_from(["gone", "null", "other", "new", "again"])):
            case "gone":
                del inside[last]
            case "null":
                inside[last] = None
            case "other":
                inside[last] = draw(anything)
            case "new" if isinstance(inside, dict):
                inside[draw(words)] = draw(anything)
            case "again" if isinstance(inside, list):
                inside.append(copy.deepcopy(inside[last]))
            case _:
                pass
    return changed


def written(document: Any) -> bytes:
    # Half a surrogate can be written, but not sent.
    return json.dumps(document, ensure_ascii=False).encode("utf-8", "replace")


def ask(call: Call[Any], response: httpx.Response, kind: str) -> Any:
    """What a client makes of an answer."""
    network = httpx.MockTransport(lambda request: response)
    if kind == "sync":
        with CerebrasClient(SETTINGS, transport=network) as client:
            return client.send_once(call)

    async def ask_async() -> Any:
        async with AsyncCerebrasClient(SETTINGS, verify=False, transport=network) as client:
            return await client.send_once(call)

    return asyncio.run(ask_async())


def read(call: Call[Any], body: bytes, kind: str = "sync") -> Any:
    """The answer as a model, or None where it was refused as it should be."""
    try:
        answer = ask(call, httpx.Response(200, content=body), kind)
    except UnexpectedResponse:
        assert call.may_be_resent
        return None
    except OutcomeUnknown:
        assert not call.may_be_resent
        return None
    assert call.response_model is None or type(answer) is call.response_model
    return answer


def assert_all_is_said_in_a_line(outcome: Outcome | None) -> None:
    if outcome is not None:
        assert outcome.message.isprintable()
        assert len(outcome.message) < 5000
        json.dumps(outcome.to_event(), allow_nan=False)


def use(answer: Any) -> None:
    """Do with an answer what this package does with it."""
    if isinstance(answer, models.ModelVersion):
        assert status.classify_version(answer).status_text.isprintable()
    if isinstance(answer, models.ModelVersionList):
        selection = select(answer.model_versions, uses=Uses({}, {}), keep_last=1, keep_aliases=["prod*"])
        assert set(selection.delete) | set(selection.keep) == {version.name for version in answer.model_versions}
    if isinstance(answer, models.ModelVersion | models.ModelVersionRows):
        for name in (V1, V1[:-1] + "production"):
            poller = ModelVersionPoller(name, deadline=None, started=0)
            assert_all_is_said_in_a_line(poller.apply(answer, 1))
            assert poller.progress.isprintable()
    if isinstance(answer, models.Endpoint):
        status.serving_model(answer)
        with suppress(UnexpectedResponse):  # what is left open is concluded nothing from
            use = use_of(answer)
            for text in (*use.in_use, *use.in_use.values(), *use.served_before):
                assert text.isprintable()
            for deployment in read_deployments(answer):
                assert deployment.id.isprintable()
    if isinstance(answer, models.DeploymentRows):
        rollout = DeploymentPoller("e", UUID, deadline=None, started=0)
        assert_all_is_said_in_a_line(rollout.apply(answer, 1))
    if isinstance(answer, models.ChatCompletion):
        measurement = measure(answer, 0.5)
        find_fault(measurement, expect="x", system_fingerprint_suffix="suffix", max_latency=1, min_tokens_per_second=1)
        json.dumps(summarize([measurement]), allow_nan=False)


each_call = pytest.mark.parametrize(("call", "document"), CALLS.values(), ids=list(CALLS))


@each_call
def test_the_documents_that_are_changed_here_are_read_as_they_are(call: Call[Any], document: dict[str, Any]) -> None:
    answer = read(call, written(document))
    if call.response_model is not None:
        assert set(answer.model_dump(by_alias=True, exclude_unset=True)) == set(document)
        assert not answer.model_extra
    use(answer)


@each_call
@given(data=st.data())
@settings(deadline=None, max_examples=150)
def test_what_is_nearly_as_documented_is_read_or_refused(
    call: Call[Any], document: dict[str, Any], data: st.DataObject
) -> None:
    use(read(call, written(data.draw(nearly(document)))))


@each_call
@given(body=anything.map(written) | st.binary())
@settings(deadline=None, max_examples=60)
def test_what_is_anything_is_read_or_refused(call: Call[Any], document: dict[str, Any], body: bytes) -> None:
    use(read(call, body))


@each_call
@given(data=st.data())
@settings(deadline=None, max_examples=15)
def test_both_clients_make_the_same_of_it(call: Call[Any], document: dict[str, Any], data: st.DataObject) -> None:
    body = written(data.draw(nearly(document)))
    assert repr(read(call, body, "sync")) == repr(read(call, body, "async"))


OPTIONAL_WORDS = st.none() | words | st.sampled_from([*WORDS_OF_FAILURE, "Done", "in_progress", "COMPLETE", "Failed"])


def says_something(error: Any) -> bool:
    """An error that holds nothing (null, empty, code 0 without words) is none."""
    return any(map(says_something, error.values())) if isinstance(error, dict) else bool(error)


@given(done=st.sampled_from([True, False, None]), word=OPTIONAL_WORDS, error=st.none() | anything)
@example(done=True, word=None, error=None)
@example(done=False, word="no such word", error=None)
@example(done=False, word="FAILED", error={})
@settings(deadline=None, max_examples=300)
def test_how_far_a_version_is(done: bool | None, word: str | None, error: Any) -> None:
    document = {"name": V1, "done": done, "response": {"sync_status": word}, "error": error}
    answer = read(operations.get_model_version(V1), written(document))
    if answer is None:
        return  # an error of ours asks again
    known = word.lower() if word else word
    # From "Did the upload succeed?".
    if says_something(error):
        expected = Progress.FAILED
    elif done:
        expected = Progress.SUCCEEDED if not known or known in WORDS_OF_SUCCESS else Progress.FAILED
    else:
        expected = Progress.FAILED if known in WORDS_OF_FAILURE else Progress.PENDING
    assert status.classify_version(answer).progress is expected


@given(
    entries=st.lists(
        st.tuples(st.sampled_from([UUID, "2", "3"]), OPTIONAL_WORDS, st.none() | st.integers(0, 3)), max_size=5
    )
)
@settings(deadline=None, max_examples=300)
def test_how_far_a_deployment_is_and_what_serves(entries: list[tuple[str, str | None, int | None]]) -> None:
    document = {
        "name": "e",
        "deployed_models": [
            {"id": key, "model": V1, "state": word, "created": created} for key, word, created in entries
        ],
    }
    answer = read(operations.get_endpoint("e"), written(document))
    if answer is None:
        return
    # From "Did the deployment succeed?" and "What serves now?".
    mine = next(((word or "").lower() for key, word, _ in entries if key == UUID), None)
    progress = status.classify_deployment(answer, UUID).progress
    if mine is None:
        assert progress is Progress.LOST
    elif mine == "complete":
        assert progress is Progress.SUCCEEDED
    else:
        assert progress is (Progress.FAILED if mine in WORDS_OF_FAILURE else Progress.PENDING)
    complete = [created or 0 for _, word, created in entries if (word or "").lower() == "complete"]
    serving = status.serving_model(answer)
    assert (serving is None) == (not complete)
    assert serving is None or (serving.created or 0) == max(complete)


@given(tokens=anything, seconds=anything)
@example(tokens=float("inf"), seconds=0.1)
@example(tokens=float("nan"), seconds=0.1)
@example(tokens=10**400, seconds=10**400)
@example(tokens=5, seconds=-1e308)
@settings(deadline=None)
def test_a_speed_is_told_or_not_told(tokens: Any, seconds: Any) -> None:
    call, document = CALLS["chat_completion"]
    use(
        read(
            call,
            written({**document, "usage": {"completion_tokens": tokens}, "time_info": {"completion_time": seconds}}),
        )
    )


@given(
    code=st.integers(400, 599),
    body=anything.map(lambda document: written({"detail": document})) | anything.map(written) | st.binary(),
    retry_after=st.none() | st.text(st.characters(min_codepoint=32, max_codepoint=255)),
    request_id=st.none() | st.text(st.characters(min_codepoint=32, max_codepoint=255)),
)
@settings(deadline=None, max_examples=200)
def test_every_error_is_one_of_ours(code: int, body: bytes, retry_after: str | None, request_id: str | None) -> None:
    fields = {"retry-after": retry_after, "x-request-id": request_id}
    headers = [(name.encode(), value.encode("latin-1")) for name, value in fields.items() if value is not None]
    for call, _ in CALLS.values():
        with pytest.raises(CerebrasError) as caught:
            ask(call, httpx.Response(code, headers=headers, content=body), "sync")
        assert isinstance(caught.value, CerebrasAPIError | OutcomeUnknown)
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 3000


dates = st.from_regex(r"\A[A-Za-z]{3}, [0-9]{1,20} [A-Za-z]{3} -?[0-9]{1,20} [0-9:]{1,12} [+-]?[A-Z0-9]{1,20}\Z")


@given(st.text() | dates | st.integers().map(str) | st.floats().map(str))
@example("Mon, 01 Jan 0001 00:00:00 +2359")
@example("Fri, 31 Dec 9999 23:59:59 -2359")
@example("Mon, 01 Jan 99999999999999999999 00:00:00 GMT")
@example("Mon, 01 Jan 2025 00:00:00 +99999999999999999999")
@settings(deadline=None, max_examples=500)
def test_a_retry_after_is_a_number_of_seconds_or_nothing(text: str) -> None:
    seconds = parse_retry_after(text)
    assert seconds is None or 0 <= seconds < float("inf")


@pytest.mark.parametrize("answer", [None, 7, "x", [], {}, {"status": 5}, {"status": "succeeded"}, {"status": "no"}])
def test_an_event_that_no_trigger_sends_is_refused(answer: object) -> None:
    with pytest.raises(ValueError, match="The trigger's event has"):
        Outcome.from_event(answer, "model_version")


@given(anything)
def test_an_event_is_read_or_refused(event: Any) -> None:
    try:
        outcome = Outcome.from_event(event, "model_version")
    except ValueError:
        return
    assert outcome.status in set(Status)
