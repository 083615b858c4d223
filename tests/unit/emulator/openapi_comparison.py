"""Two OpenAPI documents side by side: of what a client can notice, what one says and the other does not."""

from __future__ import annotations

from typing import Any, NamedTuple

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
# What is said to people only.
SILENT = {"title", "description", "examples", "example", "default", "summary", "externalDocs"}
# What holds as well where it is not said.
NOTHING_SAID: tuple[tuple[str, Any], ...] = (("additionalProperties", True), ("required", []))


class Difference(NamedTuple):
    """A place at which two documents do not say the same; None is nothing."""

    operation: str
    place: str
    one: Any
    other: Any


def operations(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The operations by method and path, each with only what a client can notice, and without references."""
    found = {}
    for path, item in document["paths"].items():
        shared = item.get("parameters", [])
        for method in item.keys() & set(METHODS):
            found[f"{method.upper()} {path}"] = _operation(document, item[method], shared)
    return found


def differences(one: dict[str, Any], other: dict[str, Any]) -> list[Difference]:
    """Where two documents differ, operation by operation."""
    theirs, ours = operations(one), operations(other)
    return [
        Difference(operation, place, *values)
        for operation in sorted(theirs.keys() | ours.keys())
        for place, *values in _differences("", theirs.get(operation), ours.get(operation))
    ]


def _operation(document: dict[str, Any], operation: dict[str, Any], shared: list[Any]) -> dict[str, Any]:
    parameters = [_resolved(document, each) for each in (*shared, *operation.get("parameters", []))]
    body = operation.get("requestBody")
    return {
        "operationId": operation["operationId"],
        "security": operation.get("security", document.get("security")),
        "parameters": {
            f"{each['name']} in {each['in']}": {
                "required": each.get("required", False),
                "schema": plain(document, each["schema"]),
            }
            for each in parameters
        },
        "requestBody": body and {"required": body.get("required", False), "content": _content(document, body)},
        "responses": {
            status: _content(document, _resolved(document, response))
            for status, response in operation["responses"].items()
        },
    }


def _content(document: dict[str, Any], message: dict[str, Any]) -> dict[str, Any]:
    return {kind: plain(document, content["schema"]) for kind, content in message.get("content", {}).items()}


def plain(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """A schema without references and without what is only for people; what may be null says so in one way."""
    schema = {
        name: value
        for name, value in _resolved(document, schema).items()
        if name not in SILENT and not name.startswith("x-") and (name, value) not in NOTHING_SAID
    }
    if isinstance(kinds := schema.get("type"), list):
        schema = {"anyOf": [{**schema, "type": kind} for kind in kinds]}
    options = schema.get("anyOf", [])
    others = [each for each in options if each.get("type") != "null"]
    if len(others) == 1 < len(options):
        return {**plain(document, others[0]), "nullable": True}
    deeper: dict[str, Any] = {**schema}
    if "anyOf" in schema:
        deeper["anyOf"] = sorted((plain(document, each) for each in schema["anyOf"]), key=str)
    if "items" in schema:
        deeper["items"] = plain(document, schema["items"])
    if "required" in schema:
        deeper["required"] = sorted(schema["required"])
    if "properties" in schema:
        deeper["properties"] = {name: plain(document, each) for name, each in schema["properties"].items()}
    return deeper


def _resolved(document: dict[str, Any], value: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in value:
        found: Any = document
        for part in value["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        value = found
    return value


def _differences(place: str, one: Any, other: Any) -> list[tuple[str, Any, Any]]:
    if isinstance(one, dict) and isinstance(other, dict):
        return [
            each
            for name in sorted(one.keys() | other.keys())
            for each in _differences(f"{place}.{name}".lstrip("."), one.get(name), other.get(name))
        ]
    return [] if one == other else [(place, one, other)]
