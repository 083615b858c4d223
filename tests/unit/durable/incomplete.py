"""Responses that lack something: every field of the OpenAPI document left out, null, or of another type.

:func:`every_omission` is the list of them, drawn from the document, so a field that the document gains is covered by
itself. :class:`Incomplete` is a network on which one of them happens to every response of an operation.
"""

from __future__ import annotations

import copy
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx

from airflow_provider_cerebras.emulator.api.operations import operation_of
from tests.openapi import REFERENCE
from tests.unit.durable.world import Attempt, Network, Service

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_cerebras.api.client import CerebrasClient


@dataclass(frozen=True)
class Omission:
    """What is wrong with a response.

    :param operation: the operation that it answers.
    :param path: where in the body; ``None`` stands for each element of a list.
    :param kind: what happens to the field.
    """

    operation: str
    path: tuple[str | None, ...]
    kind: str

    def __str__(self) -> str:
        path = ".".join("[]" if part is None else part for part in self.path)
        return f"{self.operation} {path} {self.kind}"

    def applied_to(self, body: Any) -> Any:
        """The body with it."""
        changed = copy.deepcopy(body)
        for parent in _parents(changed, self.path[:-1]):
            last = self.path[-1]
            if last is None and isinstance(parent, list):
                parent.insert(0, KINDS[self.kind](None))
            elif isinstance(parent, dict) and last is not None:
                if self.kind == "absent":
                    parent.pop(last, None)
                elif last in parent:
                    parent[last] = KINDS[self.kind](parent[last])
        return changed


def _other_type(value: object) -> object:
    return [value] if not isinstance(value, list) else {"0": value}


KINDS: dict[str, Callable[[Any], object]] = {
    "absent": lambda value: None,
    "null": lambda value: None,
    "of another type": _other_type,
    "a number": lambda value: 7 if isinstance(value, str | list | dict | bool) else str(value),
}


def _parents(body: Any, path: tuple[str | None, ...]) -> Iterator[Any]:
    if not path:
        yield body
        return
    head, *rest = path
    if head is None and isinstance(body, list):
        for each in body:
            yield from _parents(each, tuple(rest))
    elif isinstance(body, dict) and isinstance(body.get(head), dict | list):
        yield from _parents(body[head], tuple(rest))


def every_omission() -> list[Omission]:
    """One of each kind for every field of every successful response that the document describes."""
    found = []
    for path, item in REFERENCE["paths"].items():
        for method in item.keys() - {"parameters"}:
            operation = operation_of(method.upper(), path.replace("{", "").replace("}", ""))
            schema = item[method]["responses"]["200"]["content"]["application/json"]["schema"]
            found += [Omission(str(operation), place, kind) for place in _places(schema) for kind in KINDS]
    return sorted(set(found), key=str)


def _places(schema: dict[str, Any]) -> Iterator[tuple[str | None, ...]]:
    if "$ref" in schema:
        schema = REFERENCE["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    for option in schema.get("anyOf", ()):
        yield from _places(option)
    for name, inner in schema.get("properties", {}).items():
        yield (name,)
        yield from ((name, *place) for place in _places(inner))
    if "items" in schema:
        yield (None,)
        yield from ((None, *place) for place in _places(schema["items"]))


class Incomplete(Network):
    """A network on which the same thing is missing from every response of an operation."""

    omission: Omission | None = None

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = super().handle_request(request)
        omission = self.omission
        if omission is None or not response.is_success:
            return response
        if str(operation_of(request.method, request.url.path)) != omission.operation:
            return response
        return httpx.Response(response.status_code, json=omission.applied_to(response.json()))


def check_every_omission(
    new_service: Callable[[], Service],
    run: Callable[[CerebrasClient, Attempt], object],
    state: Callable[[Service], Any],
    *,
    is_harmless: Callable[[Any], bool] = lambda ended: False,
    is_stopped: Callable[[Any], bool] = lambda ended: False,
    changes: bool = True,
) -> int:
    """Run something that may change the service against every omission in what it is answered.

    It must end as it does without any, or raise and have changed nothing.

    :param new_service: makes a service in the state to begin with.
    :param run: what is to be tried; it is given a client, and an attempt on which time can pass.
    :param state: what counts of the service's state in the end.
    :param is_harmless: tells whether it is right, too, to end in such a state without an error.
    :param is_stopped: tells whether it is right, too, to raise in such a state, from which a retry goes on.
    :param changes: whether it changes the service at all.
    :return: how many omissions made it raise.
    """
    with closing(new_service()) as service:
        before = state(service)
        error, asked = attempt_with(service, run, None)
        assert error is None, error
        expected = state(service)
    assert (before != expected) is changes, expected
    problems, refusals = [], 0
    service = new_service()
    try:
        for omission in every_omission():
            if omission.operation not in asked:
                continue
            error, _ = attempt_with(service, run, omission)
            ended = state(service)
            refusals += error is not None
            right = ended == expected or (ended == before or is_stopped(ended) if error else is_harmless(ended))
            if not right:
                problems.append(f"{omission}: {ended}, {error!r}")
            if ended != before:  # to make a service takes longer than to try something
                service.close()
                service = new_service()
    finally:
        service.close()
    assert not problems, "\n".join(problems)
    return refusals


def attempt_with(
    service: Service, run: Callable[[CerebrasClient, Attempt], object], omission: Omission | None
) -> tuple[Exception | None, set[str]]:
    """Run something against one omission; return what it ended in, and which operations it asked for.

    :param service: the service.
    :param run: see :func:`check_every_omission`.
    :param omission: what is missing; None: nothing.
    """
    attempt = Attempt(service)
    attempt.network = network = Incomplete(service)
    network.omission = omission
    error = None
    with closing(attempt.client()) as client:
        try:
            run(client, attempt)
        except Exception as caught:  # noqa: BLE001  each of them is an outcome
            error = caught
    return error, {operation for operation, _, _ in network.sent}
