"""Whatever comes in a parameter of a DAG stays where it belongs: in its segment of a path, in its field of a body.

Looked at are the bytes that arrive on a socket. Every value is either refused before anything is sent, or it arrives
whole, at its place, and nothing else does.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from airflow_provider_cerebras.api.errors import CerebrasError
from airflow_provider_cerebras.assets.uris import endpoint_uri, model_uri, version_uri
from airflow_provider_cerebras.hooks.cerebras import CerebrasHook
from airflow_provider_cerebras.hooks.connection import validate_conn_id
from airflow_provider_cerebras.links import CerebrasWeightsLink
from airflow_provider_cerebras.operators.endpoints import (
    CerebrasDeployModelOperator,
    CerebrasRollbackEndpointOperator,
    CerebrasVerifyEndpointOperator,
)
from airflow_provider_cerebras.operators.model_versions import (
    CerebrasDeleteModelVersionOperator,
    CerebrasPromoteModelVersionOperator,
    CerebrasPruneModelVersionsOperator,
    CerebrasUpdateModelVersionAliasesOperator,
    CerebrasUploadModelVersionOperator,
)
from airflow_provider_cerebras.sensors.endpoints import CerebrasDeploymentSensor
from airflow_provider_cerebras.sensors.model_versions import CerebrasModelVersionSensor
from airflow_provider_cerebras.triggers.endpoints import CerebrasDeploymentTrigger
from airflow_provider_cerebras.triggers.model_versions import CerebrasModelVersionTrigger
from tests.unit.hostile_server import HostileServer, answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.unit.hostile_server import Connection

KEYS = ("mgmt-key-5b1e", "inference-key-a94c")
CONTEXT: Any = {
    "ti": SimpleNamespace(
        dag_id="dag", run_id="run", task_id="task", map_index=-1, max_tries=0, try_number=1, xcom_push=lambda **_: None
    ),
    "outlet_events": {},
}
V1 = "orgs/o/models/m/versions/1"
DEPLOYMENT = "550e8400-e29b-41d4-a716-446655440000"
# What a good service would say to any of the calls.
GOOD = {
    "name": V1,
    "done": True,
    "version_aliases": ["production"],
    "model_architectures": [],
    "model_versions": [],
    "endpoints": [],
    "deployed_models": [],
    "choices": [{"message": {"content": "hello"}}],
}

ATTACKS = [
    "..",
    ".",
    "../../../v1/chat",
    "..%2f..",
    "%2e%2e",
    "a/b",
    "a%2Fb",
    "a\\b",
    "a?b=c",
    "a#b",
    "a;b",
    "a:deployModel",
    "models:upload",
    "@evil.example",
    "//evil.example",
    "http://evil.example/",
    "\r\nX-Injected: 1\r\n\r\n",
    "a\r\nHost: evil.example",
    "a HTTP/1.1\r\nHost: evil.example\r\n\r\nGET /",
    "a\nb",
    "a\rb",
    "a\x00b",
    "a\x0bb",
    "a\x85b",
    "a\u2028b",
    "a\u200bb",
    "a\u202eb",
    "\ufeffa",
    "\ud800",
    "a\u0301",
    "\u0430pple",
    "\uff0e\uff0e",
    "\u2025",
    "\u2215",
    "\u00e9",
    "\U0001f600",
    "{{ 7 * 7 }}",
    "{% raw %}",
    "${7*7}",
    "%s%n%(asctime)s",
    "'; DROP TABLE dag; --",
    "<script>alert(1)</script>",
    "\x1b[31m",
    "",
    " ",
    "\t",
    "a" * 1024,
    "a" * 1025,
    "a" * 2**20,
]
hostile = (
    st.sampled_from(ATTACKS)
    | st.text()
    | st.text(st.characters(min_codepoint=0, max_codepoint=0x2FFF, exclude_categories=()), max_size=40)
    | st.builds("{}{}{}".format, st.text(max_size=5), st.sampled_from(ATTACKS[:-3]), st.text(max_size=5))
)


def error_of(ask: Callable[[], object]) -> Exception | None:
    try:
        ask()
    except Exception as error:  # noqa: BLE001  those of Airflow have no base of their own in all versions
        return error
    return None


class Records(logging.Handler):
    """What is logged, as it comes out."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


class World:
    """A service on a socket, and what arrives there.

    :ivar server: the server.
    :ivar good: whether the service answers as if all was well, or knows nothing.
    :ivar logged: what was logged.
    """

    def __init__(self) -> None:
        self.good = True
        self.logged = Records()
        self.server = HostileServer(self._answer)

    async def _answer(self, connection: Connection) -> None:
        if self.good:
            await answer(json.dumps(GOOD).encode(), "Connection: close")(connection)
        else:
            await answer(b'{"detail": "no"}', "Connection: close", status="404 Not Found")(connection)

    def arrived(self, ask: Callable[[], object], *, good: bool) -> list[Connection]:
        """The requests that something sends; it may refuse to send any, or not like the answer.

        What was refused has to be refused first, and every message has to be one line of what can be seen.
        """
        self.good = good
        self.server.connections.clear()
        self.logged.messages.clear()
        error = error_of(ask)
        assert str(error).isprintable(), error
        if isinstance(error, ValueError | TypeError):
            assert self.server.connections == [], error
            assert len(str(error)) < 1000
        elif error is not None:
            assert type(error).__module__.startswith(("airflow_provider_cerebras.", "airflow.")), repr(error)
        for message in self.logged.messages:
            assert message.isprintable(), message
        return self.server.connections


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    patch = pytest.MonkeyPatch()
    world = World()
    with world.server as server, patch.context() as patched:
        connection = {
            "conn_type": "cerebras",
            "host": server.url,
            "password": KEYS[0],
            "extra": {"org_name": "o", "inference_api_key": KEYS[1], "max_retries": 0},
        }
        patched.setenv("AIRFLOW_CONN_CEREBRAS_DEFAULT", json.dumps(connection))
        names = ["", "airflow", "airflow.task", "airflow.processor"]
        for name in names:
            logging.getLogger(name).addHandler(world.logged)
        yield world
        for name in names:
            logging.getLogger(name).removeHandler(world.logged)


# --- What may arrive

SEGMENT = r"[A-Za-z0-9._~%-]+"
FORMS = [
    r"GET /management/v1/orgs/(?P<org>SEG)/models",
    r"GET /management/v1/orgs/(?P<org>SEG)/models/(?P<arch>SEG)/versions",
    r"POST /management/v1/orgs/(?P<org>SEG)/models:upload",
    r"(GET|PATCH|DELETE) /management/v1/orgs/(?P<org>SEG)/models/(?P<arch>SEG)/versions/(?P<version>SEG)",
    r"GET /management/v1/orgs/(?P<org>SEG)/endpoints",
    r"POST /management/v1/endpoints/(?P<endpoint>SEG):deployModel",
    r"GET /management/v1/endpoints/(?P<endpoint>SEG)",
    r"POST /v1/chat/completions",
]
HEADERS = {
    "host",
    "accept",
    "accept-encoding",
    "connection",
    "user-agent",
    "authorization",
    "content-type",
    "content-length",
}


def parts_of(connection: Connection, server: HostileServer) -> dict[str, str]:
    """What stands at the places of a request that hold a value, each decoded. Nothing else may be special about it."""
    first, *lines = connection.request.decode("ascii").removesuffix("\r\n\r\n").split("\r\n")
    forms = [re.fullmatch(form.replace("SEG", SEGMENT) + r" HTTP/1\.1", first) for form in FORMS]
    matches = [match for match in forms if match]
    assert matches, first
    headers = dict(line.split(": ", 1) for line in lines)
    names = [name.lower() for name in headers]
    assert len(lines) == len(set(names))
    assert set(names) <= HEADERS
    given_headers = {name.lower(): value for name, value in headers.items()}
    assert given_headers["host"] == server.url.removeprefix("http://")
    assert given_headers["authorization"] == f"Bearer {KEYS['/v1/chat/completions' in first.split()]}"
    for segment in matches[0].groupdict().values():
        assert segment not in {".", ".."}
        assert re.fullmatch(r"([A-Za-z0-9._~-]|%[0-9A-F]{2})+", segment), segment
    return {name: unquote(value, errors="strict") for name, value in matches[0].groupdict().items()}


def in_name(model_version: str) -> dict[str, str]:
    """The ids in the full name of a version; an upload's own alias may stand in for the last one."""
    orgs, org, models, arch, versions, version = model_version.split("/")
    assert (orgs, models, versions) == ("orgs", "models", "versions")
    return {"org": org, "arch": arch, "version": version}


def assert_in_their_places(connections: list[Connection], world: World, **places: str) -> None:
    """Each value arrives at its place, decoded exactly, or what the service itself has named stands there."""
    for connection in connections:
        for place, value in parts_of(connection, world.server).items():
            own = place == "version" and value.startswith("airflow-") and value.isascii()
            assert own or value in {places.get(place), in_name(V1).get(place)}, (place, value)
        if connection.body:
            body = json.loads(connection.body)
            assert set(body) <= {"model_arch_id", "model", "version_aliases", "messages", "temperature"}


few = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


# --- Hook

HOOK: dict[str, tuple[Any, str]] = {
    "list_model_versions": (lambda hook, value: hook.list_model_versions(value), "arch"),
    "upload_model_version": (lambda hook, value: hook.upload_model_version(value, "s3://bucket/x"), "model_arch_id"),
    "get_endpoint": (lambda hook, value: hook.get_endpoint(value), "endpoint"),
    "deploy_model": (lambda hook, value: hook.deploy_model(value, V1), "endpoint"),
    "chat_completion": (lambda hook, value: hook.chat_completion(value, [{"role": "user", "content": "x"}]), "model"),
    "get_model_version": (lambda hook, value: hook.get_model_version(value), "name"),
    "update_model_version_aliases": (lambda hook, value: hook.update_model_version_aliases(value, []), "name"),
    "delete_model_version": (lambda hook, value: hook.delete_model_version(value), "name"),
    "deploy_model, version": (lambda hook, value: hook.deploy_model("e", value), "model"),
    "upload, uri": (lambda hook, value: hook.upload_model_version("m", value), "weight_uri"),
    "upload, uri's key": (lambda hook, value: hook.upload_model_version("m", f"s3://bucket/{value}"), "weight_uri"),
    "upload, alias": (lambda hook, value: hook.upload_model_version("m", "s3://bucket/x", [value]), "alias"),
    "upload, suffix": (lambda hook, value: hook.upload_model_version("m", "s3://bucket/x", None, value), "suffix"),
    "alias": (lambda hook, value: hook.update_model_version_aliases(V1, [value]), "alias"),
    "message": (lambda hook, value: hook.chat_completion("e", [{"role": "user", "content": value}]), "content"),
    "parameter": (lambda hook, value: hook.chat_completion("e", [{"role": "user"}], stop=value), "stop"),
}


def deep_values(document: Any) -> list[Any]:
    inner: Any = document.values() if isinstance(document, dict) else document if isinstance(document, list) else ()
    return [document] if not inner else [leaf for each in inner for leaf in deep_values(each)]


@pytest.mark.parametrize(("ask", "place"), HOOK.values(), ids=list(HOOK))
@given(value=hostile, good=st.booleans())
@few
def test_a_method_of_the_hook_sends_one_request_with_the_value_in_its_place_or_none(
    world: World, ask: Any, place: str, value: str, good: bool
) -> None:
    connections = world.arrived(lambda: ask(CerebrasHook(), value), good=good)
    assert len(connections) <= 1
    for connection in connections:
        parts = parts_of(connection, world.server)
        if place in {"arch", "endpoint"}:
            assert parts.pop(place) == value
        elif place == "name":
            assert {name: parts.pop(name) for name in ("org", "arch", "version")} == in_name(value)
        else:
            sent = deep_values(json.loads(connection.body))
            # An empty one is left out.
            assert any(text == value or text.endswith(f"/{value}") for text in sent) or not value
        assert set(parts.values()) <= {"o", "m", "e", "1"}


@pytest.mark.parametrize(
    "ask",
    [
        lambda hook: hook.list_model_architectures(),
        lambda hook: hook.list_model_versions("m"),
        lambda hook: hook.list_endpoints(),
        lambda hook: hook.upload_model_version("m", "s3://bucket/x"),
        lambda hook: hook.test_connection(),
    ],
)
@given(value=hostile.filter(bool))
@few
def test_an_organization_stays_in_its_segment(world: World, ask: Any, value: str) -> None:
    for connection in world.arrived(lambda: ask(CerebrasHook(org_name=value)), good=True):
        assert parts_of(connection, world.server)["org"] == value


@given(value=hostile)
@example("team/cerebras")
@few
def test_an_id_of_a_connection_cannot_lead_to_something_else(value: str) -> None:
    error = error_of(lambda: validate_conn_id(value))
    if error is not None:
        assert type(error) is ValueError
        assert str(error).isprintable()
        assert len(str(error)) < 400
    else:
        assert not set(value) & set("?#%\\&=; \r\n\x00@<>{}\"'")
        assert not {"", ".", ".."} & set(value.split("/"))


@pytest.mark.parametrize(
    "conn_id", ["../variables/x", "a?b", "a#b", "a%2fb", "a\nb", "", "a" * 251, "..", "a//b", None]
)
def test_nothing_looks_for_a_connection_that_there_cannot_be(world: World, conn_id: Any) -> None:
    hook = CerebrasHook(cerebras_conn_id=conn_id)
    with pytest.raises(ValueError, match=r"^cerebras_conn_id: .* cannot be the id of a connection"):
        hook.list_endpoints()
    with pytest.raises(ValueError, match=r"^cerebras_conn_id: "):
        asyncio.run(hook.get_async_conn())


# --- Operators and sensors

WHERE = {"model_arch_id": "arch", "org_name": "org", "endpoint_id": "endpoint"}
OPERATORS: list[tuple[type[Any], dict[str, Any]]] = [
    (
        CerebrasUploadModelVersionOperator,
        {
            "model_arch_id": "m",
            "weight_uri": "s3://bucket/x",
            "version_aliases": ["production"],
            "system_fingerprint_suffix": "x",
            "org_name": "o",
        },
    ),
    (CerebrasUpdateModelVersionAliasesOperator, {"model_version": V1, "add": ["production"], "remove": ["latest"]}),
    (CerebrasPromoteModelVersionOperator, {"model_version": V1, "alias": "production"}),
    (CerebrasDeleteModelVersionOperator, {"model_version": V1}),
    (
        CerebrasPruneModelVersionsOperator,
        {"model_arch_id": "m", "org_name": "o", "keep_last": 1, "keep_aliases": ["p"]},
    ),
    (CerebrasDeployModelOperator, {"endpoint_id": "e", "model_version": V1}),
    (CerebrasRollbackEndpointOperator, {"endpoint_id": "e", "to": V1, "wait_for_completion": False}),
    (CerebrasRollbackEndpointOperator, {"endpoint_id": "e", "deployment_id": DEPLOYMENT, "wait_for_completion": False}),
    (
        CerebrasVerifyEndpointOperator,
        {
            "endpoint_id": "e",
            "messages": [{"role": "user", "content": "x"}],
            "system_fingerprint_suffix": "x",
            "settle_timeout": 0,
        },
    ),
    (CerebrasModelVersionSensor, {"model_version": V1}),
    (CerebrasDeploymentSensor, {"endpoint_id": "e", "deployment_id": DEPLOYMENT}),
]
FIELDS = [
    pytest.param(operator, arguments, field, id=f"{operator.__name__}, {field}")
    for operator, arguments in OPERATORS
    for field in arguments
    if field in operator.template_fields
]


@pytest.mark.parametrize(("operator", "arguments", "field"), FIELDS)
@given(value=hostile, good=st.booleans())
# What is not hostile at all is sent, and goes furthest.
@example(value="a0", good=True)
@few
def test_a_field_of_an_operator_stays_in_its_place(
    world: World, operator: type[Any], arguments: dict[str, Any], field: str, value: str, good: bool
) -> None:
    if isinstance(arguments[field], list):
        given_value: Any = [{"role": "user", "content": value}] if field == "messages" else [value]
    else:
        given_value = value
    task = operator(task_id="task", **{**arguments, field: given_value})
    run = task.poke if hasattr(task, "poke") else task.execute
    connections = world.arrived(lambda: run(CONTEXT), good=good)
    places = {"org": "o", "arch": "m", "endpoint": "e", "version": "production"}
    if field in WHERE:
        places[WHERE[field]] = value
    elif connections and field in {"model_version", "to"}:
        places |= in_name(value)
    elif field in {"alias", "version_aliases", "add"}:  # who holds one that is only taken off is not asked
        places["version"] = value
    # An organization that is empty is the connection's.
    if not places["org"]:
        places["org"] = "o"
    assert_in_their_places(connections, world, **places)


@given(segment=hostile, good=st.booleans())
@few
def test_no_part_of_a_name_leaves_it(world: World, segment: str, good: bool) -> None:
    name = f"orgs/{segment}/models/{segment}/versions/1"
    for task in (
        CerebrasDeployModelOperator(task_id="task", endpoint_id="e", model_version=name),
        CerebrasDeleteModelVersionOperator(task_id="task", model_version=name),
        CerebrasPromoteModelVersionOperator(task_id="task", model_version=name, alias="latest"),
    ):
        connections = world.arrived(lambda task=task: task.execute(CONTEXT), good=good)  # type: ignore[misc]
        assert_in_their_places(connections, world, org=segment, arch=segment, endpoint="e", version="latest")


# --- Triggers


@pytest.mark.parametrize("field", ["model_version", "endpoint_id", "deployment_id", "cerebras_conn_id"])
@given(value=hostile, good=st.booleans())
@few
def test_a_trigger_sends_one_event_whatever_it_waits_for(world: World, field: str, value: str, good: bool) -> None:
    waiting: dict[str, Any] = {"cerebras_conn_id": "cerebras_default", "poll_interval": 5, "deadline": time.time() - 1}
    if field == "model_version":
        waiting |= {field: value}
        trigger: Any = CerebrasModelVersionTrigger(**waiting)
    else:
        waiting |= {"endpoint_id": "e", "deployment_id": DEPLOYMENT, field: value}
        trigger = CerebrasDeploymentTrigger(**waiting)
    events: list[Any] = []

    async def run() -> None:
        events.extend([event.payload async for event in trigger.run()])

    if field == "cerebras_conn_id" and error_of(lambda: validate_conn_id(value)) is None:
        return  # it would be looked for in the database
    connections = world.arrived(lambda: asyncio.run(run()), good=good)
    (event,) = events
    assert event["message"].isprintable()
    json.dumps(event)
    places = {"endpoint": value if field == "endpoint_id" else "e"}
    if connections and field == "model_version":
        places |= in_name(value)
    assert_in_their_places(connections, world, **places)


# --- Names outside the service


@given(value=hostile)
@few
def test_an_asset_names_one_thing_and_nothing_else(value: str) -> None:
    uris: list[tuple[Callable[[], str], str]] = [
        (lambda: model_uri(value, "m"), r"cerebras://orgs/(SEG)/models/m"),
        (lambda: model_uri("o", value), r"cerebras://orgs/o/models/(SEG)"),
        (lambda: endpoint_uri(value), r"cerebras://endpoints/(SEG)"),
        (lambda: version_uri(f"orgs/{value}/models/m/versions/1"), r"cerebras://orgs/(SEG)/models/m/versions/1"),
    ]
    for make, form in uris:
        error = error_of(make)
        if error is not None:
            assert isinstance(error, ValueError)
            assert str(error).isprintable()
            continue
        uri = make()
        match = re.fullmatch(form.replace("SEG", SEGMENT), uri)
        assert match, uri
        assert unquote(match[1], errors="strict") == value


@given(value=hostile)
@few
def test_a_link_to_the_weights_leads_to_them_or_nowhere(value: str) -> None:
    for weight_uri in (value, f"s3://{value}/x", f"s3://bucket/{value}"):
        url = CerebrasWeightsLink().url(SimpleNamespace(weight_uri=weight_uri))
        form = r"https://console\.aws\.amazon\.com/s3/buckets/[A-Za-z0-9._-]+\?prefix=[A-Za-z0-9._~%-]*/"
        assert not url or re.fullmatch(form, url), url


def test_errors_of_the_service_do_not_forge_a_line_of_a_log(world: World) -> None:
    forged = "no\n[2026-01-01] INFO - Deployed\r\x1b[2K\u2028{{ 7 * 7 }}"

    async def misdeed(connection: Connection) -> None:
        await answer(json.dumps({"detail": forged}).encode(), "Connection: close", status="400 No")(connection)

    with HostileServer(misdeed) as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv(
            "AIRFLOW_CONN_OTHER", json.dumps({"host": server.url, "password": "k", "extra": {"org_name": "o"}})
        )
        with pytest.raises(CerebrasError) as caught:
            CerebrasHook(cerebras_conn_id="other").list_endpoints()
    assert str(caught.value).isprintable()
