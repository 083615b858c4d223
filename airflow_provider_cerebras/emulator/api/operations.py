"""The calls that the emulator serves: the name, method and path of each."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

MANAGEMENT_PREFIX = "/management/v1"
INFERENCE_PREFIX = "/v1"


class OperationName(StrEnum):
    """The names of the calls in fault rules and in the request log."""

    LIST_MODEL_ARCHITECTURES = "list_model_architectures"
    LIST_MODEL_VERSIONS = "list_model_versions"
    UPLOAD_MODEL_VERSION = "upload_model_version"
    GET_MODEL_VERSION = "get_model_version"
    UPDATE_MODEL_VERSION_ALIASES = "update_model_version_aliases"
    DELETE_MODEL_VERSION = "delete_model_version"
    LIST_ENDPOINTS = "list_endpoints"
    GET_ENDPOINT = "get_endpoint"
    DEPLOY_MODEL = "deploy_model"
    CHAT_COMPLETION = "chat_completion"


@dataclass(frozen=True)
class Operation:
    """One call.

    :param path: Path with ``{parameters}``, from the root.
    """

    name: OperationName
    method: str
    path: str

    @property
    def pattern(self) -> re.Pattern[str]:
        """The pattern of this call's decoded paths. No name contains a colon, which separates the verb."""
        parts = re.split(r"\{\w+\}", self.path)
        return re.compile("[^/:]+".join(map(re.escape, parts)))


_ORG = f"{MANAGEMENT_PREFIX}/orgs/{{org_name}}"
_VERSIONS = f"{_ORG}/models/{{model_arch_id}}/versions"
_ENDPOINT = f"{MANAGEMENT_PREFIX}/endpoints/{{endpoint_id}}"

LIST_MODEL_ARCHITECTURES = Operation(OperationName.LIST_MODEL_ARCHITECTURES, "GET", f"{_ORG}/models")
LIST_MODEL_VERSIONS = Operation(OperationName.LIST_MODEL_VERSIONS, "GET", _VERSIONS)
UPLOAD_MODEL_VERSION = Operation(OperationName.UPLOAD_MODEL_VERSION, "POST", f"{_ORG}/models:upload")
GET_MODEL_VERSION = Operation(OperationName.GET_MODEL_VERSION, "GET", f"{_VERSIONS}/{{version_id}}")
UPDATE_MODEL_VERSION_ALIASES = Operation(
    OperationName.UPDATE_MODEL_VERSION_ALIASES, "PATCH", f"{_VERSIONS}/{{version_id}}"
)
DELETE_MODEL_VERSION = Operation(OperationName.DELETE_MODEL_VERSION, "DELETE", f"{_VERSIONS}/{{version_id}}")
LIST_ENDPOINTS = Operation(OperationName.LIST_ENDPOINTS, "GET", f"{_ORG}/endpoints")
GET_ENDPOINT = Operation(OperationName.GET_ENDPOINT, "GET", _ENDPOINT)
DEPLOY_MODEL = Operation(OperationName.DEPLOY_MODEL, "POST", f"{_ENDPOINT}:deployModel")
CHAT_COMPLETION = Operation(OperationName.CHAT_COMPLETION, "POST", f"{INFERENCE_PREFIX}/chat/completions")

_MATCHERS = [
    (operation.method, operation.pattern, operation.name)
    for operation in (
        LIST_MODEL_ARCHITECTURES,
        LIST_MODEL_VERSIONS,
        UPLOAD_MODEL_VERSION,
        GET_MODEL_VERSION,
        UPDATE_MODEL_VERSION_ALIASES,
        DELETE_MODEL_VERSION,
        LIST_ENDPOINTS,
        GET_ENDPOINT,
        DEPLOY_MODEL,
        CHAT_COMPLETION,
    )
]


def operation_of(method: str, path: str) -> OperationName | None:
    """Return the call that a request makes; None if it is none of them.

    :param path: Decoded path, from the root.
    """
    for expected_method, pattern, name in _MATCHERS:
        if method == expected_method and pattern.fullmatch(path):
            return name
    return None


def methods_at(path: str) -> list[str]:
    """Return the methods of the calls at a path; empty if no call has this path.

    :param path: Decoded path, from the root.
    """
    return sorted(method for method, pattern, _ in _MATCHERS if pattern.fullmatch(path))
