"""Bodies of the Management API's requests and responses, as the reference documents them."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from fastapi import Path
from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, StringConstraints
from pydantic.json_schema import JsonSchemaValue  # noqa: TC002
from pydantic_core import CoreSchema  # noqa: TC002

from airflow_provider_cerebras.emulator.service.organizations import NAME_PATTERN

_ALIAS = "[a-z][a-zA-Z0-9-]{0,126}[a-z0-9]"
_VERSION_ID = f"([1-9][0-9]*|{_ALIAS})"
_NAME = NAME_PATTERN.removeprefix("^").removesuffix("$")

Alias = Annotated[str, StringConstraints(pattern=f"^{_ALIAS}$")]
WeightUri = Annotated[str, StringConstraints(pattern=r"^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/[^\x00-\x1f]+$")]
ModelVersionName = Annotated[str, StringConstraints(pattern=f"^orgs/{_NAME}/models/{_NAME}/versions/{_VERSION_ID}$")]

DeploymentId = Annotated[str, Field(json_schema_extra={"format": "uuid"})]

OrgName = Annotated[str, Path(pattern=NAME_PATTERN, description="Customer management organization name.")]
ModelArchId = Annotated[str, Path(pattern=NAME_PATTERN, description="Id of a model architecture.")]
VersionId = Annotated[
    str, Path(pattern=f"^{_VERSION_ID}$", description="Number of the version, or one of its aliases.")
]
EndpointId = Annotated[str, Path(pattern=NAME_PATTERN, description="Id of the dedicated endpoint.")]


class RequestBody(BaseModel):
    """The body of a request. An undocumented field is refused, so that a misspelled one is noticed."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())


class AnswerBody(BaseModel):
    """A response. The emulator always has all of its fields; the API promises some, and may gain others."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    promised: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = handler.resolve_ref_schema(handler(core_schema))
        schema["required"] = [name for name in schema.pop("required", []) if name in cls.promised]
        return schema


class ModelVersionUploadRequestModel(RequestBody):
    """The weights to upload, and the aliases of the version."""

    weight_uri: WeightUri
    version_aliases: list[Alias] = []
    system_fingerprint_suffix: str = ""


class ModelVersionUploadRequest(RequestBody):
    """Body of an upload."""

    model_arch_id: Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
    model: ModelVersionUploadRequestModel


class ModelVersionAliasesUpdateRequest(RequestBody):
    """The whole list of a version's aliases."""

    version_aliases: list[Alias]


class DeployModelRequest(RequestBody):
    """The version to deploy."""

    model: ModelVersionName


class ModelArchitectureList(AnswerBody):
    """Architecture ids."""

    promised = frozenset({"model_architectures"})

    model_architectures: list[str]


class ModelVersionUploadResponseData(AnswerBody):
    """A version at the moment of its upload."""

    customer_s3_uri: str
    version_aliases: list[str]
    sync_status: str


class ModelVersionUploadResponse(AnswerBody):
    """Response to an upload."""

    promised = frozenset({"name", "done"})

    name: str
    done: bool
    response: ModelVersionUploadResponseData


class ModelVersionStatus(ModelVersionUploadResponseData):
    """A version now."""

    system_fingerprint_suffix: str | None


class ModelVersionError(AnswerBody):
    """The reason for which a sync has failed."""

    message: str


class ModelVersion(AnswerBody):
    """A version; ``error`` is there only after a failure."""

    promised = frozenset({"name", "done"})

    name: str
    done: bool
    response: ModelVersionStatus
    error: ModelVersionError | None = None


class ModelVersionList(AnswerBody):
    """Versions of an architecture."""

    promised = frozenset({"model_versions"})

    model_versions: list[ModelVersion]


class ModelVersionAliasesUpdateResponse(AnswerBody):
    """The aliases now in force."""

    promised = frozenset({"name", "version_aliases"})

    name: str
    version_aliases: list[str]


class ModelVersionDeleteResponse(AnswerBody):
    """Response to a delete."""

    name: str
    deleted: bool


class EndpointSummary(AnswerBody):
    """An endpoint in a list; times are Unix seconds."""

    endpoint_id: str
    model_arch_id: str
    created: int
    updated: int
    org_name: str


class EndpointList(AnswerBody):
    """Endpoints of an organization."""

    promised = frozenset({"endpoints"})

    endpoints: list[EndpointSummary]


class DeployedModel(AnswerBody):
    """A deployment on an endpoint."""

    id: DeploymentId
    model: str
    version_alias: str | None
    created: int = Field(description="Unix seconds.")
    state: str


class EndpointStatus(AnswerBody):
    """An endpoint with its deployments; times are Unix seconds."""

    promised = frozenset({"name", "model_arch_id", "deployed_models", "created", "updated"})

    name: str
    model_arch_id: str
    deployed_models: list[DeployedModel]
    managing_org_name: str
    created: int
    updated: int


class DeploymentMetadata(AnswerBody):
    """A deployment at the moment of its submission; times are Unix seconds."""

    deployment_id: DeploymentId
    endpoint_id: str
    org_name: str
    model_arch_id: str
    version_id: int
    created: int
    updated: int
    rollout_status: str


class DeployModelResponse(AnswerBody):
    """Response to a deploy."""

    promised = frozenset({"name"})

    name: DeploymentId
    done: bool
    response: DeploymentMetadata


class ValidationIssue(AnswerBody):
    """A fault in one field of a request."""

    loc: list[str | int]
    msg: str
    type: str


class Error(AnswerBody):
    """The body of an error response. No form is documented; these are the fields of the two that the emulator knows."""

    detail: str | list[ValidationIssue]
    error: dict[str, Any] | str
    message: str
    type: str
    param: str | None
    code: str | None
