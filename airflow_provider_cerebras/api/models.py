"""Requests and answers of the API as pydantic models.

The API is in Private Preview: an answer may gain fields, leave out or null optional ones, and use status words that
nobody has seen. All of that is read without complaint; only what nothing can be done without is required.
Source: the examples and schemas of each operation's page; see :mod:`.operations` for which belongs to which.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    FailFast,
    Field,
    JsonValue,
    PlainValidator,
    StringConstraints,
    ValidationError,
)

from airflow_provider_cerebras.api.errors import UnexpectedResponse

ItemT = TypeVar("ItemT")
ModelT = TypeVar("ModelT", bound=BaseModel)

# A list that may be absent or null is empty. One mistake in it tells enough; to tell of a million takes a minute.
_ListOrNull = Annotated[list[ItemT], FailFast(), BeforeValidator(lambda value: [] if value is None else value)]
# An operation that does not say that it has ended is going on.
_BoolOrNull = Annotated[bool, BeforeValidator(lambda value: False if value is None else value)]


# Names and ids go into paths, logs and links, where what cannot be seen could pass for something else.
_Name = Annotated[str, StringConstraints(pattern=r"\A[^\p{Cc}\p{Cf}\p{Zl}\p{Zp}]*\z", max_length=2048)]


class _Model(BaseModel):
    # The field names of this API begin with "model_", which pydantic would keep for itself.
    model_config = ConfigDict(extra="allow", frozen=True, protected_namespaces=(), defer_build=True)


def _rows_by(key: str, listed: object) -> dict[str | None, Any]:
    if not isinstance(listed, list | None):
        raise ValueError("must be a list")  # noqa: TRY004  pydantic takes it for a wrong answer
    rows: dict[str | None, Any] = {}
    for row in listed or ():
        name = row.get(key) if isinstance(row, dict) else None
        rows[name if isinstance(name, str) else None] = row
    return rows


class Listing(_Model):
    """An answer with many rows, of which only those that somebody asks for become models.

    :param rows: each by what names it; by None, one that does not say which it is.
    """

    rows: dict[str | None, Any]

    def take_over(self, before: Listing) -> set[str | None]:
        """Keep the rows of an earlier answer where they are the same, and return the keys of all others.

        So there are few new objects that live on. Whoever makes many sets off a full run of Python's garbage collector,
        which takes a tenth of a second or more on a triggerer.

        :param before: an earlier answer to the same call.
        """
        changed = self.rows.keys() ^ before.rows.keys()
        for key, row in before.rows.items():
            if key not in changed:
                if self.rows[key] == row:
                    self.rows[key] = row
                else:
                    changed.add(key)
        return changed

    def _read(self, row: object, model: type[ModelT], key: str) -> ModelT | None:
        if row is None and None in self.rows:
            raise UnexpectedResponse(f"The list has no entry for {key}, but one that does not say which it is.")
        try:
            return None if row is None else model.model_validate(row)
        except ValidationError as error:
            raise UnexpectedResponse(f"The list's entry for {key} is not as documented.") from error


class ModelArchitectureList(_Model):
    """Ids of the architectures that an organization may use."""

    model_architectures: Annotated[list[_Name], FailFast()]


class UploadedWeights(_Model):
    """What to upload.

    :param weight_uri: ``s3://bucket/prefix`` of the weights.
    :param version_aliases: aliases that the new version shall have from the start.
    :param system_fingerprint_suffix: text that inference answers carry in ``system_fingerprint``.
    """

    weight_uri: str
    version_aliases: list[str] | None = None
    system_fingerprint_suffix: str | None = None


class ModelVersionUpload(_Model):
    """Body of an upload.

    :param model_arch_id: architecture that the weights belong to.
    :param model: what to upload.
    """

    model_arch_id: str
    model: UploadedWeights


class ModelVersionDetails(_Model):
    """What is known of a version.

    :param customer_s3_uri: where its weights were read.
    :param version_aliases: the aliases that it holds.
    :param sync_status: how far the copying of the weights is; ``queued``, ``in_progress`` and ``done`` are documented.
    :param system_fingerprint_suffix: as given in the upload.
    """

    customer_s3_uri: str | None = None
    version_aliases: _ListOrNull[_Name] = []
    sync_status: str | None = None
    system_fingerprint_suffix: str | None = None


class ModelVersion(_Model):
    """A version, as the calls that upload, read and list give it.

    :param name: full name, with the number.
    :param done: whether the sync has ended, one way or the other.
    :param response: details, if any came.
    :param error: not documented; read if it comes.
    """

    name: _Name
    done: _BoolOrNull = False
    response: ModelVersionDetails | None = None
    error: JsonValue = None

    @property
    def details(self) -> ModelVersionDetails:
        """The details, all unknown where none came."""
        return self.response or ModelVersionDetails()


class ModelVersionList(_Model):
    """All versions of one architecture."""

    model_versions: _ListOrNull[ModelVersion]


class ModelVersionRows(Listing):
    """All versions of one architecture, for those who are after a few of them only."""

    rows: Annotated[dict[str | None, Any], PlainValidator(partial(_rows_by, "name"))] = Field(alias="model_versions")

    def find(self, name: str, alias: str | None = None) -> ModelVersion | None:
        """Return one version, or None if it is not listed.

        :param name: full name.
        :param alias: the alias that it was made with, if it was.
        :raises UnexpectedResponse: if its row is not as documented, or there is one of which it cannot be told whose.
        """
        row = self.rows.get(name) if alias is None else next(filter(partial(_holds, alias), self.rows.values()), None)
        return self._read(row, ModelVersion, name)


def _holds(alias: str, row: Any) -> bool:
    response = row.get("response") if isinstance(row, dict) else None
    aliases = response.get("version_aliases") if isinstance(response, dict) else None
    return isinstance(aliases, list) and alias in aliases


class ModelVersionAliases(_Model):
    """Body of a change of aliases: the whole list that the version shall have."""

    version_aliases: list[str]


class ModelVersionAliasesInForce(_Model):
    """Aliases that a version has after a change."""

    name: _Name
    version_aliases: _ListOrNull[_Name]


class EndpointSummary(_Model):
    """An endpoint as the list gives it; times in Unix seconds."""

    endpoint_id: _Name | None = None
    model_arch_id: _Name | None = None
    created: int | None = None
    updated: int | None = None
    org_name: _Name | None = None


class EndpointList(_Model):
    """The endpoints that an organization manages."""

    endpoints: _ListOrNull[EndpointSummary]


class DeployedModel(_Model):
    """A deployment as its endpoint lists it.

    :param id: the deployment's UUID.
    :param model: full name of the version.
    :param version_alias: in an example of the documentation only.
    :param created: when it was submitted, Unix seconds.
    :param state: how far it is; ``complete`` is documented.
    """

    id: _Name | None = None
    model: _Name | None = None
    version_alias: _Name | None = None
    created: int | None = None
    state: str | None = None


class Endpoint(_Model):
    """An endpoint with the deployments on it, in no order that can be relied on; times in Unix seconds."""

    name: _Name
    model_arch_id: _Name | None = None
    deployed_models: _ListOrNull[DeployedModel] = []
    created: int | None = None
    updated: int | None = None
    managing_org_name: _Name | None = None


class DeploymentRows(Listing):
    """An endpoint, for those who are after a few of its deployments only."""

    name: _Name
    rows: Annotated[dict[str | None, Any], PlainValidator(partial(_rows_by, "id"))] = Field({}, alias="deployed_models")

    def find(self, deployment_id: str) -> DeployedModel | None:
        """Return one deployment, or None if it is not listed.

        :param deployment_id: its UUID.
        :raises UnexpectedResponse: see :meth:`ModelVersionRows.find`.
        """
        return self._read(self.rows.get(deployment_id), DeployedModel, deployment_id)


class DeploymentRequest(_Model):
    """Body of a deployment: the full name of the version, by number or alias."""

    model: str


class DeploymentDetails(_Model):
    """What a deployment was at the moment of its submission; it does not advance."""

    deployment_id: _Name | None = None
    endpoint_id: _Name | None = None
    org_name: _Name | None = None
    model_arch_id: _Name | None = None
    version_id: int | None = None
    created: int | None = None
    updated: int | None = None
    rollout_status: str | None = None


class Deployment(_Model):
    """Answer to a deployment.

    :param name: the deployment's UUID.
    """

    name: _Name
    done: _BoolOrNull = False
    response: DeploymentDetails | None = None


class ChatMessage(_Model):
    """One message of a chat."""

    role: str = "assistant"
    content: str | None = None


class ChatChoice(_Model):
    """One answer of the model."""

    message: ChatMessage
    finish_reason: str | None = None


class ChatCompletion(_Model):
    """Answer of the inference API.

    :param choices: the model's answers.
    :param system_fingerprint: names the weights that answered; ends with the version's suffix.
    :param usage: token counts.
    :param time_info: durations in seconds.
    """

    id: _Name | None = None
    model: _Name | None = None
    choices: _ListOrNull[ChatChoice]
    system_fingerprint: _Name | None = None
    usage: dict[str, JsonValue] | None = None
    time_info: dict[str, JsonValue] | None = None


class ChatRequest(_Model):
    """Body of a chat completion; further fields are passed on as they are.

    :param model: the endpoint's id.
    :param messages: the chat so far, each with ``role`` and ``content``.
    """

    model: str
    messages: list[dict[str, JsonValue]]
