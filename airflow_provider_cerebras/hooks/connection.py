"""What the fields of an Airflow connection mean, as a pure function from them to client settings."""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

from airflow import __version__ as airflow_version
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from airflow_provider_cerebras import __version__
from airflow_provider_cerebras.api.client import DEFAULT_BASE_URL, ClientSettings
from airflow_provider_cerebras.api.names import shown

if TYPE_CHECKING:
    from collections.abc import Iterator

USER_AGENT = f"airflow-provider-cerebras/{__version__} (airflow/{airflow_version}; python/{platform.python_version()})"

# As Airflow has it for new connections, but without what means something else in a path: Airflow 3 puts the id of a
# connection into one as it is. Ids of secrets backends may have folders.
_CONN_ID = re.compile(r"(?!.*//)(?!(?:.*/)?\.{1,2}(?:/|$))[\w!():./-]{1,250}")


def _boolean_word(value: object) -> object:
    # Forms and environment variables give words.
    return {"true": True, "false": False}.get(value.lower(), value) if isinstance(value, str) else value


class _Extra(BaseModel):
    """The fields in the connection's extra; others are left to whoever put them there."""

    model_config = ConfigDict(hide_input_in_errors=True, defer_build=True)

    org_name: str | None = None
    inference_api_key: str | None = None
    request_timeout: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 30.0
    max_retries: Annotated[int, Field(ge=0)] = 5
    verify: Annotated[bool | str, BeforeValidator(_boolean_word)] = True
    proxy: str | None = None


class ConnectionSettings(BaseModel):
    """What a connection holds.

    :param client: where the API is and how to talk to it.
    :param org_name: the customer management organization name, if the connection has one.
    """

    model_config = ConfigDict(frozen=True, defer_build=True)

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
    """Put the connection's id in front of what is wrong with one of its fields.

    :param conn_id: id of the connection.
    :raises ValueError: in place of one that begins with the field's name.
    """
    try:
        yield
    except ValueError as error:
        raise ValueError(f"Connection {conn_id!r}, field {error}") from None


def read_connection(
    conn_id: str, *, host: str | None, port: int | None, password: str | None, extra: object
) -> ConnectionSettings:
    """Read the fields of a connection.

    :param conn_id: id of the connection, for messages.
    :param host: base URL; default :data:`~airflow_provider_cerebras.api.client.DEFAULT_BASE_URL`.
    :param port: port, if it is not in ``host`` already.
    :param password: management API key.
    :param extra: ``org_name``, ``inference_api_key``, ``request_timeout`` (seconds), ``max_retries``, ``verify``,
        ``proxy``. Empty texts and nulls count as absent, as a form leaves them.
    :raises ValueError: that names the connection and the field, and repeats no secret.
    """
    if not isinstance(extra, Mapping):
        # What is wrong is a value that the user gave, whatever its type.
        raise ValueError(f"Connection {conn_id!r}, field extra: must be a JSON object.")  # noqa: TRY004
    given = {name: value for name, value in extra.items() if value not in (None, "")}
    try:
        fields = _Extra.model_validate(given)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, item['loc'][:1]))}: {item['msg']}" for item in error.errors())
        raise ValueError(f"Connection {conn_id!r}, field extra: {problems}.") from None
    if not password:
        raise ValueError(
            f"Connection {conn_id!r}, field password: is empty; it must hold the management API key "
            "(not the inference API key)."
        )
    base_url = host or DEFAULT_BASE_URL
    with connection_named(conn_id):
        client = ClientSettings(
            management_key=password,
            inference_key=fields.inference_api_key,
            base_url=f"{base_url.rstrip('/')}:{port}" if port else base_url,
            timeout=fields.request_timeout,
            max_retries=fields.max_retries,
            verify=fields.verify,
            proxy=fields.proxy,
            user_agent=USER_AGENT,
        )
    return ConnectionSettings(client=client, org_name=fields.org_name)
