"""Each call of the API, described once: method, path, body, result, and whether it is idempotent.

A function here makes a :class:`Call`, which is plain data; :mod:`airflow_provider_cerebras.api.client` sends it, sync
or async. Arguments are checked here, so a call that cannot be right is never made.

Source: the nine operations of the Management API under ``/management/v1``, and ``/v1/chat/completions`` of the
inference API.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Generic, TypeVar

from airflow_provider_cerebras.api import _subjects, models
from airflow_provider_cerebras.api.names import (
    InvalidValue,
    ModelVersionName,
    path_segment,
    validate_alias,
    validate_identifier,
    validate_suffix,
    validate_weight_uri,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pydantic import BaseModel, JsonValue

ResponseT = TypeVar("ResponseT")


class Key(Enum):
    """The key that a call takes."""

    MANAGEMENT = "management API key"
    INFERENCE = "inference API key"


@dataclass(frozen=True, slots=True)
class Call(Generic[ResponseT]):
    """One request to be sent.

    :param method: HTTP method.
    :param path: path from the base URL on, percent-encoded.
    :param response_model: model of a successful response's body; None where any 2xx will do, whatever its body.
    :param body: the request's body, if it has one.
    :param may_be_resent: whether sending it twice does no more than sending it once.
    :param key: the key that it takes.
    :param check: checks that a response is about the requested thing, and removes other rows from a list; see
        :mod:`._subjects`.
    """

    method: str
    path: str
    response_model: type[ResponseT] | None
    body: BaseModel | None = None
    may_be_resent: bool = True
    key: Key = Key.MANAGEMENT
    # The path identifies the call: two calls with the same path and method are the same call.
    check: Callable[[ResponseT], ResponseT] | None = field(default=None, compare=False, repr=False)


def list_model_architectures(org_name: str) -> Call[models.ModelArchitectureList]:
    """(1) The architectures that an organization may use."""
    return Call("GET", f"{_org(org_name)}/models", models.ModelArchitectureList)


def list_model_versions(org_name: str, model_arch_id: str) -> Call[models.ModelVersionList]:
    """(2) All versions of one architecture."""
    check = partial(_subjects.versions_of, (org_name, model_arch_id))
    return Call("GET", _versions(org_name, model_arch_id), models.ModelVersionList, check=check)


def find_model_versions(org_name: str, model_arch_id: str) -> Call[models.ModelVersionRows]:
    """(2) All versions of one architecture, for those who are after a few of them only."""
    check = partial(_subjects.rows_of, (org_name, model_arch_id))
    return Call("GET", _versions(org_name, model_arch_id), models.ModelVersionRows, check=check)


def upload_model_version(
    org_name: str,
    model_arch_id: str,
    weight_uri: str,
    version_aliases: Sequence[str] | None = None,
    system_fingerprint_suffix: str | None = None,
) -> Call[models.ModelVersion]:
    """(3) Register a new version, whose weights the service then copies from S3. Twice makes two versions."""
    weights = models.UploadedWeights(
        weight_uri=validate_weight_uri(weight_uri),
        version_aliases=_aliases(version_aliases) if version_aliases else None,
        system_fingerprint_suffix=validate_suffix(system_fingerprint_suffix),
    )
    body = models.ModelVersionUpload(model_arch_id=validate_identifier(model_arch_id, "model_arch_id"), model=weights)
    check = partial(_subjects.new_version, (org_name, model_arch_id))
    return Call("POST", f"{_org(org_name)}/models:upload", models.ModelVersion, body, may_be_resent=False, check=check)


def get_model_version(model_version: str) -> Call[models.ModelVersion]:
    """(4) One version, by number or alias."""
    check = partial(_subjects.about_version, ModelVersionName.parse(model_version))
    return Call("GET", _version(model_version), models.ModelVersion, check=check)


def update_model_version_aliases(
    model_version: str, version_aliases: Sequence[str]
) -> Call[models.ModelVersionAliasesInForce]:
    """(5) Replace the whole list of a version's aliases."""
    body = models.ModelVersionAliases(version_aliases=_aliases(version_aliases))
    check = partial(_subjects.about_aliases, ModelVersionName.parse(model_version))
    return Call("PATCH", _version(model_version), models.ModelVersionAliasesInForce, body, check=check)


def delete_model_version(model_version: str) -> Call[None]:
    """(6) Delete a version. The documentation contradicts itself on the response, so its body is not read."""
    return Call("DELETE", _version(model_version), None)


def list_endpoints(org_name: str) -> Call[models.EndpointList]:
    """(7) The endpoints that an organization manages."""
    return Call("GET", f"{_org(org_name)}/endpoints", models.EndpointList)


def deploy_model(endpoint_id: str, model_version: str) -> Call[models.Deployment]:
    """(8) Roll a version out onto an endpoint. Twice may make two rollouts."""
    name = ModelVersionName.parse(model_version)
    body = models.DeploymentRequest(model=str(name))
    check = partial(_subjects.new_deployment, (endpoint_id, name))
    path = f"{_endpoint(endpoint_id)}:deployModel"
    return Call("POST", path, models.Deployment, body, may_be_resent=False, check=check)


def get_endpoint(endpoint_id: str) -> Call[models.Endpoint]:
    """(9) One endpoint with the deployments on it."""
    return Call("GET", _endpoint(endpoint_id), models.Endpoint, check=partial(_subjects.about_endpoint, endpoint_id))


def find_deployments(endpoint_id: str) -> Call[models.DeploymentRows]:
    """(9) One endpoint, for those who are after a few of the deployments on it only."""
    check = partial(_subjects.about_endpoint, endpoint_id)
    return Call("GET", _endpoint(endpoint_id), models.DeploymentRows, check=check)


def chat_completion(
    endpoint_id: str, messages: Sequence[Mapping[str, JsonValue]], **params: JsonValue
) -> Call[models.ChatCompletion]:
    """Ask an endpoint through the inference API. It is a POST, but one that creates nothing: it is idempotent."""
    if params.get("stream"):
        raise InvalidValue("stream: a streamed response is not supported.")
    if not messages:
        raise InvalidValue("messages: must hold at least one message.")
    body = models.ChatRequest.model_validate(
        {**params, "model": validate_identifier(endpoint_id, "endpoint_id"), "messages": list(messages)}
    )
    return Call("POST", "/v1/chat/completions", models.ChatCompletion, body, key=Key.INFERENCE)


def _org(org_name: str) -> str:
    return f"/management/v1/orgs/{path_segment(org_name, 'org_name')}"


def _version(model_version: str) -> str:
    name = ModelVersionName.parse(model_version)
    return f"{_versions(name.org_name, name.model_arch_id)}/{path_segment(name.version_id, 'model_version')}"


def _versions(org_name: str, model_arch_id: str) -> str:
    return f"{_org(org_name)}/models/{path_segment(model_arch_id, 'model_arch_id')}/versions"


def _endpoint(endpoint_id: str) -> str:
    return f"/management/v1/endpoints/{path_segment(endpoint_id, 'endpoint_id')}"


def _aliases(aliases: Sequence[str]) -> list[str]:
    if isinstance(aliases, str):
        raise InvalidValue(f"version_aliases: must be a list of aliases, not the text {aliases!r}.")
    # An alias given twice is meant once; the order is the user's.
    return list(dict.fromkeys(validate_alias(alias) for alias in aliases))
