"""Requests and responses of the API as pydantic models.

The API is in Private Preview: a response may gain fields, leave out or null optional ones, use status values that
are not documented, and give a field another type than documented. All of that is read; only what the
calls cannot do without is required. A field that is absent, null or of another type is None, which says *unknown* and
never *empty*. A wait can go on with that; code that deletes or overwrites reads by :mod:`.evidence`, which raises.
Source: the examples and schemas of each operation's page; see :mod:`.operations` for which belongs to which.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    FailFast,
    Field,
    JsonValue,
    PlainValidator,
    PrivateAttr,
    StrictBool,
    StrictInt,
    StrictStr,
    StringConstraints,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)

from airflow_provider_cerebras.api.errors import UnexpectedResponse

if TYPE_CHECKING:
    from typing import Self

ItemT = TypeVar("ItemT")
ModelT = TypeVar("ModelT", bound=BaseModel)

_MAX_NAME_LENGTH = 2048
# A list that is absent or null is empty. One mistake in it is reported; to report a million takes a minute.
_ListOrNull = Annotated[list[ItemT], FailFast(), BeforeValidator(lambda value: [] if value is None else value)]
# Names and ids go into paths, logs and links, where what cannot be seen could pass for something else.
_Name = Annotated[str, StringConstraints(pattern=r"\A[^\p{Cc}\p{Cf}\p{Zl}\p{Zp}]*\z", max_length=_MAX_NAME_LENGTH)]


def _or_none(value: object, handler: ValidatorFunctionWrapHandler) -> Any:
    try:
        return handler(value)
    except ValidationError:
        return None


_Unknown = WrapValidator(_or_none)
_NameOrUnknown = Annotated[_Name | None, _Unknown]
_TextOrUnknown = Annotated[StrictStr | None, _Unknown]
_IntOrUnknown = Annotated[StrictInt | None, _Unknown]
_NamesOrUnknown = Annotated[list[_Name] | None, FailFast(), _Unknown]
_DictOrUnknown = Annotated[dict[str, JsonValue] | None, _Unknown]
# An operation that does not say that it has ended is going on.
_Done = Annotated[StrictBool, WrapValidator(lambda value, handler: _or_none(value, handler) or False)]


class _Model(BaseModel):
    # The field names of this API begin with "model_", which pydantic would keep for itself.
    model_config = ConfigDict(extra="allow", frozen=True, protected_namespaces=(), defer_build=True)


class _Details(_Model):
    """A part of a response in which no field can be relied on; a part that is no object says nothing."""

    _unreadable: frozenset[str] = PrivateAttr(frozenset())

    @model_validator(mode="wrap")
    @classmethod
    def _note_unreadable(cls, value: object, handler: ValidatorFunctionWrapHandler) -> Self:
        if not isinstance(value, dict):
            model: Self = value if isinstance(value, cls) else handler({})
            model._unreadable = frozenset(() if value is None or model is value else cls.model_fields)
            return model
        model = handler(value)
        # None that was not sent as None.
        model._unreadable = frozenset(  # noqa: SLF001  of this very class
            name for name in cls.model_fields if getattr(model, name) is None and value.get(name) is not None
        )
        return model

    def is_unreadable(self, field: str) -> bool:
        """Return whether a field came with a value that is not of the documented type. It is None then, too.

        :param field: name of the field.
        """
        return field in self._unreadable


def _rows_by(key: str, listed: object) -> dict[str | None, Any]:
    if not isinstance(listed, list):
        raise ValueError("must be a list")  # noqa: TRY004  pydantic takes it for a wrong response
    rows: dict[str | None, Any] = {}
    for row in listed:
        name = row.get(key) if isinstance(row, dict) else None
        rows[name if isinstance(name, str) else None] = row
    return rows


class Listing(_Model):
    """A response with many rows; only the requested rows become models.

    :param rows: each by what names it; by None, one that does not say which it is.
    """

    rows: dict[str | None, Any]

    def take_over(self, before: Listing) -> set[str | None]:
        """Keep the rows of an earlier response where they are the same, and return the keys of all others.

        So there are few new objects that live on. Many new ones set off a full run of Python's garbage
        collector, which takes a tenth of a second or more on a triggerer.

        :param before: an earlier response to the same call.
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
    """The request of an upload.

    :param weight_uri: ``s3://bucket/prefix`` of the weights.
    :param version_aliases: aliases that the new version is to have from the start.
    :param system_fingerprint_suffix: string that inference responses carry in ``system_fingerprint``.
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


class ModelVersionDetails(_Details):
    """The metadata of a version; None: unknown.

    :param customer_s3_uri: where its weights were read.
    :param version_aliases: the aliases that it holds.
    :param sync_status: how far the copying of the weights is; ``queued``, ``in_progress`` and ``done`` are documented.
    :param system_fingerprint_suffix: as given in the upload.
    """

    customer_s3_uri: _TextOrUnknown = None
    version_aliases: _NamesOrUnknown = None
    sync_status: _TextOrUnknown = None
    system_fingerprint_suffix: _TextOrUnknown = None


class ModelVersion(_Model):
    """A version, as the calls that upload, read and list give it.

    :param name: full name, with the number.
    :param done: whether the sync has ended, one way or the other.
    :param response: details, if any came.
    :param error: not documented; read if it comes.
    """

    name: _Name
    done: _Done = False
    response: ModelVersionDetails | None = None
    error: JsonValue = None

    @property
    def details(self) -> ModelVersionDetails:
        """The details, all unknown where none came."""
        return self.response or ModelVersionDetails()


def _named(listed: object) -> object:
    if not isinstance(listed, list):
        return listed
    return [
        row for row in listed if isinstance(row, ModelVersion) or (isinstance(row, dict) and _is_name(row.get("name")))
    ]


def _is_name(value: object) -> bool:
    return isinstance(value, str) and value.isprintable() and len(value) <= _MAX_NAME_LENGTH


class ModelVersionList(_Model):
    """All versions of one architecture, but for entries that do not say which version they are of."""

    model_versions: Annotated[list[ModelVersion], BeforeValidator(_named)]


class ModelVersionRows(Listing):
    """All versions of one architecture, for those who are after a few of them only."""

    rows: Annotated[dict[str | None, Any], PlainValidator(partial(_rows_by, "name"))] = Field(alias="model_versions")

    def find(self, name: str, alias: str | None = None) -> ModelVersion | None:
        """Return one version, or None if it is not listed.

        :param name: full name.
        :param alias: the alias that it was made with, if it was.
        :raises UnexpectedResponse: if its row is not as documented, or there is one that does not say whose it is.
        """
        row = self.rows.get(name) if alias is None else next(filter(partial(_holds, alias), self.rows.values()), None)
        return self._read(row, ModelVersion, name)


def _holds(alias: str, row: Any) -> bool:
    response = row.get("response") if isinstance(row, dict) else None
    aliases = response.get("version_aliases") if isinstance(response, dict) else None
    return isinstance(aliases, list) and alias in aliases


class ModelVersionAliases(_Model):
    """Body of a change of aliases: the whole list that the version is to have."""

    version_aliases: list[str]


class ModelVersionAliasesInForce(_Model):
    """Aliases that a version has after a change; None: unknown."""

    name: _Name
    version_aliases: _NamesOrUnknown = None


class EndpointSummary(_Details):
    """An endpoint as the list gives it; times in Unix seconds; None: unknown."""

    endpoint_id: _NameOrUnknown = None
    model_arch_id: _NameOrUnknown = None
    created: _IntOrUnknown = None
    updated: _IntOrUnknown = None
    org_name: _NameOrUnknown = None


class EndpointList(_Model):
    """The endpoints that an organization manages; of an entry that is no object, nothing is known."""

    endpoints: list[EndpointSummary]


class DeployedModel(_Details):
    """A deployment as its endpoint lists it; None: unknown.

    :param id: the deployment's UUID.
    :param model: full name of the version.
    :param version_alias: in an example of the documentation only.
    :param created: when it was submitted, Unix seconds.
    :param state: how far it is; ``complete`` is documented.
    """

    id: _NameOrUnknown = None
    model: _NameOrUnknown = None
    version_alias: _NameOrUnknown = None
    created: _IntOrUnknown = None
    state: _TextOrUnknown = None


class Endpoint(_Model):
    """An endpoint with the deployments on it, in no order that can be relied on; times in Unix seconds.

    None: unknown. An entry of ``deployed_models`` that is no object is an unknown deployment.
    """

    name: _Name
    model_arch_id: _NameOrUnknown = None
    deployed_models: Annotated[list[DeployedModel] | None, _Unknown] = None
    created: _IntOrUnknown = None
    updated: _IntOrUnknown = None
    managing_org_name: _NameOrUnknown = None


class DeploymentRows(Listing):
    """An endpoint, for those who are after a few of its deployments only."""

    name: _Name
    rows: Annotated[dict[str | None, Any], PlainValidator(partial(_rows_by, "id"))] = Field(alias="deployed_models")

    def find(self, deployment_id: str) -> DeployedModel | None:
        """Return one deployment, or None if it is not listed.

        :param deployment_id: its UUID.
        :raises UnexpectedResponse: see :meth:`ModelVersionRows.find`.
        """
        return self._read(self.rows.get(deployment_id), DeployedModel, deployment_id)


class DeploymentRequest(_Model):
    """Body of a deployment: the full name of the version, by number or alias."""

    model: str


class DeploymentDetails(_Details):
    """The deployment at the moment of its submission; it does not advance; None: unknown."""

    deployment_id: _NameOrUnknown = None
    endpoint_id: _NameOrUnknown = None
    org_name: _NameOrUnknown = None
    model_arch_id: _NameOrUnknown = None
    version_id: _IntOrUnknown = None
    created: _IntOrUnknown = None
    updated: _IntOrUnknown = None
    rollout_status: _TextOrUnknown = None


class Deployment(_Model):
    """Response to a deployment.

    :param name: the deployment's UUID.
    """

    name: _Name
    done: _Done = False
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
    """Response of the inference API.

    :param choices: the model's answers.
    :param system_fingerprint: names the weights that answered; ends with the version's suffix.
    :param usage: token counts.
    :param time_info: durations in seconds.
    """

    id: _NameOrUnknown = None
    model: _NameOrUnknown = None
    choices: _ListOrNull[ChatChoice]
    system_fingerprint: _NameOrUnknown = None
    usage: _DictOrUnknown = None
    time_info: _DictOrUnknown = None


class ChatRequest(_Model):
    """Body of a chat completion; further fields are passed on as they are.

    :param model: the endpoint's id.
    :param messages: the chat so far, each with ``role`` and ``content``.
    """

    model: str
    messages: list[dict[str, JsonValue]]
