"""The fields of an Airflow connection, and a pure function from them to client settings."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, NamedTuple

from airflow import __version__ as airflow_version
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from airflow_provider_cerebras.api._redaction import Secret
from airflow_provider_cerebras.api.names import shown
from airflow_provider_cerebras.api.settings import (
    DEFAULT_BASE_URL,
    DEFAULT_MAX_RETRIES,
    DEFAULT_TIMEOUT,
    ClientSettings,
    EnvironmentUnusable,
    url_of,
    user_agent_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

USER_AGENT = user_agent_of(f"airflow/{airflow_version}")

# As Airflow has it for new connections, but without what means something else in a path: Airflow 3 puts the id of a
# connection into one as it is. Ids of secrets backends may have folders.
_CONN_ID = re.compile(r"(?!.*//)(?!(?:.*/)?\.{1,2}(?:/|$))[\w!():./-]{1,250}")


def fingerprint(base_url: str) -> str:
    """Return a value that distinguishes services and is no secret: 12 hex digits of the base URL's SHA-256.

    :param base_url: where the API is.
    """
    return hashlib.sha256(base_url.encode()).hexdigest()[:12]


def _boolean_word(value: object) -> object:
    # Forms and environment variables give strings.
    return {"true": True, "false": False}.get(value.lower(), value) if isinstance(value, str) else value


class _Extra(BaseModel):
    """The fields in the connection's extra; others are ignored."""

    model_config = ConfigDict(hide_input_in_errors=True, defer_build=True)

    org_name: str | None = None
    inference_api_key: Annotated[str | None, Field(repr=False)] = None
    request_timeout: Annotated[float, Field(gt=0, allow_inf_nan=False)] = DEFAULT_TIMEOUT
    max_retries: Annotated[int, Field(ge=0)] = DEFAULT_MAX_RETRIES
    verify: Annotated[bool | str, BeforeValidator(_boolean_word)] = True
    proxy: Annotated[str | None, Field(repr=False)] = None


_SECRET_FIELDS = ("inference_api_key", "proxy")


class _NotAString:
    """Stands for a secret of another type, whatever it is."""

    def __repr__(self) -> str:
        return "'***'"


class ConnectionFields(NamedTuple):
    """The fields of a connection that count here. Its secrets do not print themselves, so a traceback may show it.

    :param host: base URL.
    :param port: port, if it is not in ``host`` already.
    :param password: management API key.
    :param extra: the fields in extra, or None if it is no object.
    """

    host: str | None
    port: int | None
    password: Secret | None
    extra: Mapping[str, object] | None

    @classmethod
    def of(cls, *, host: str | None, port: int | None, password: str | None, extra: object) -> ConnectionFields:
        """Hide the secrets among the fields of a connection.

        :param host: see the class.
        :param port: see the class.
        :param password: see the class.
        :param extra: see the class; fields of others are left out.
        """
        return cls(host, port, Secret.of(password), _hidden(extra))


def _hidden(extra: object) -> dict[str, object] | None:
    if not isinstance(extra, Mapping):
        return None
    # Empty strings and nulls count as absent, as a form leaves them.
    given = {name: extra[name] for name in _Extra.model_fields if extra.get(name) not in (None, "")}
    for name in given.keys() & set(_SECRET_FIELDS):
        given[name] = Secret(given[name]) if isinstance(given[name], str) else _NotAString()
    return given


class ConnectionSettings(NamedTuple):
    """The settings of a connection.

    :param client: where the API is and how to talk to it.
    :param org_name: the customer management organization name, if the connection has one.
    """

    client: ClientSettings
    org_name: str | None


def validate_conn_id(conn_id: object) -> str:
    """Return the id of a connection if it can be one.

    :param conn_id: the id as given by the user.
    :raises ValueError: if it cannot.
    """
    if not isinstance(conn_id, str) or not _CONN_ID.fullmatch(conn_id):
        raise ValueError(f"cerebras_conn_id: {shown(conn_id)} cannot be the id of a connection.")
    return conn_id


@contextmanager
def connection_named(conn_id: str) -> Iterator[None]:
    """Put the connection's id in front of an error about one of its fields or the environment.

    :param conn_id: id of the connection.
    :raises ValueError: in place of one that begins with the field's name.
    """
    try:
        yield
    except EnvironmentUnusable as error:
        raise EnvironmentUnusable(f"Connection {conn_id!r} cannot be used: {error}") from None
    except ValueError as error:
        raise ValueError(f"Connection {conn_id!r}, field {error}") from None


def read_connection(conn_id: str, given: ConnectionFields) -> ConnectionSettings:
    """Read the fields of a connection.

    :param conn_id: id of the connection, for messages.
    :param given: the fields; the default of ``host`` is
        :data:`~airflow_provider_cerebras.api.settings.DEFAULT_BASE_URL`. In extra: ``org_name``, ``inference_api_key``,
        ``request_timeout`` (seconds), ``max_retries``, ``verify``, ``proxy``.
    :raises ValueError: that names the connection and the field, and repeats no secret.
    """
    if given.extra is None:
        raise ValueError(f"Connection {conn_id!r}, field extra: must be a JSON object.")
    try:
        fields = _Extra.model_validate(given.extra)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, item['loc'][:1]))}: {item['msg']}" for item in error.errors())
        raise ValueError(f"Connection {conn_id!r}, field extra: {problems}.") from None
    if not given.password:
        raise ValueError(
            f"Connection {conn_id!r}, field password: is empty; it must hold the management API key "
            "(not the inference API key)."
        )
    with connection_named(conn_id):
        client = ClientSettings(
            management_key=given.password,
            inference_key=Secret.of(fields.inference_api_key),
            base_url=url_of(given.host or DEFAULT_BASE_URL, given.port),
            timeout=fields.request_timeout,
            max_retries=fields.max_retries,
            verify=fields.verify,
            proxy=Secret.of(fields.proxy),
            user_agent=USER_AGENT,
            connection=conn_id,
        )
    return ConnectionSettings(client=client, org_name=fields.org_name)
