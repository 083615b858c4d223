"""The hook: the API's calls by the credentials of an Airflow connection."""

from __future__ import annotations

import logging
import platform
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.connection import get_async_connection, get_async_extra_dejson
from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook

from airflow_provider_cerebras.api import operations
from airflow_provider_cerebras.api.client import AsyncCerebrasClient, CerebrasClient, Timed
from airflow_provider_cerebras.api.errors import (
    CerebrasAPIError,
    CerebrasError,
    CerebrasTransportError,
    Forbidden,
    NotFound,
    Unauthorized,
    UnexpectedResponse,
)
from airflow_provider_cerebras.api.names import ModelVersionName
from airflow_provider_cerebras.assets.openlineage import collect
from airflow_provider_cerebras.assets.uris import endpoint_uri, version_uri
from airflow_provider_cerebras.exceptions import ConnectionUnusable
from airflow_provider_cerebras.hooks.connection import (
    ConnectionFields,
    ConnectionSettings,
    connection_named,
    fingerprint,
    read_connection,
    validate_conn_id,
)
from airflow_provider_cerebras.polling.reconnection import ConnectionNotFound
from airflow_provider_cerebras.provider_info import CONNECTION_TYPE, UI_FIELD_BEHAVIOUR
from airflow_provider_cerebras.version_compat import AIRFLOW_V_3_2_PLUS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from airflow.providers.common.compat.sdk import Connection
    from pydantic import JsonValue

    from airflow_provider_cerebras.api import models

_log = logging.getLogger(__name__)


class CerebrasHook(BaseHook):
    """Talk to the Cerebras Management API, and to the inference API of its endpoints.

    Each method sends one call of the API and returns its result as a pydantic model. What may be sent twice is sent
    again on passing errors; see :mod:`airflow_provider_cerebras.api.client`.

    :param cerebras_conn_id: id of the connection; default ``cerebras_default``.
    :param org_name: customer management organization name; default: the one in the connection's extra.
    """

    conn_name_attr = "cerebras_conn_id"
    default_conn_name = "cerebras_default"
    conn_type = CONNECTION_TYPE
    hook_name = "Cerebras"

    def __init__(self, *, cerebras_conn_id: str = default_conn_name, org_name: str | None = None) -> None:
        super().__init__()
        self.cerebras_conn_id = cerebras_conn_id
        self._org_name = org_name

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Describe the connection's form to Airflow below 3.2, which does not read the provider info's."""
        return UI_FIELD_BEHAVIOUR

    if not AIRFLOW_V_3_2_PLUS:

        @classmethod
        def get_connection_form_widgets(cls) -> dict[str, Any]:
            """Return the extra fields of the connection's form; likewise."""
            from airflow_provider_cerebras.hooks._form import form_fields

            return form_fields()

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the client, which belongs to its process, and what was read of the connection, which is secret."""
        return {name: value for name, value in vars(self).items() if name not in {"_client", "_settings"}}

    @cached_property
    def _settings(self) -> ConnectionSettings:
        with self._usable():
            conn_id = validate_conn_id(self.cerebras_conn_id)
        try:
            # No variable of this function holds the connection itself: a traceback may show those.
            given = _fields_of(self.get_connection(conn_id))
        except AirflowNotFoundException as error:
            raise self._not_defined() from error
        with self._usable():
            return read_connection(conn_id, given)

    @cached_property
    def _client(self) -> CerebrasClient:
        return self._new_client()

    def _new_client(self, *, named: bool = True) -> CerebrasClient:
        settings = self._settings.client if named else replace(self._settings.client, connection=None)
        with self._usable(), connection_named(self.cerebras_conn_id):
            return CerebrasClient(settings)

    @contextmanager
    def _usable(self) -> Iterator[None]:
        """Fail the task at once if the connection is wrong: a retry would read the same."""
        try:
            yield
        except ConnectionUnusable:
            raise
        except ValueError as error:
            raise ConnectionUnusable(str(error)) from None

    def _not_defined(self) -> ConnectionUnusable:
        return ConnectionUnusable(
            f"Connection {self.cerebras_conn_id!r}: is not defined on host {platform.node()}. Define it where that "
            "host looks: in its environment, its secrets backend or Airflow's database."
        )

    def _not_found(self) -> ConnectionNotFound:
        return ConnectionNotFound(
            f"Connection {self.cerebras_conn_id!r} was not found on host {platform.node()}: it is not defined where "
            "this runs, or the secrets backend that holds it does not respond. Define it there, or look at "
            "that backend."
        )

    @property
    def org_name(self) -> str:
        """Name of the organization that calls are made for.

        :raises ConnectionUnusable: if neither the argument nor the connection gives one.
        """
        org_name = self._settings.org_name if self._org_name is None else self._org_name
        if not org_name:
            raise ConnectionUnusable(
                f"Connection {self.cerebras_conn_id!r}, field extra: has no org_name, and none was given as an "
                "argument. It is the customer management organization name, not the org_id."
            )
        return org_name

    def get_conn(self) -> CerebrasClient:
        """Return the client; it is made once for each hook.

        :raises ConnectionUnusable: if the connection cannot be used; the message names it and the field.
        """
        return self._client

    def service_fingerprint(self) -> str:
        """Return a fingerprint of the base URL, by which a triggerer notices that it would ask another service."""
        return fingerprint(self._settings.client.base_url)

    def reconnect(self) -> CerebrasClient:
        """Read the connection again, and return a new client in place of the one of :meth:`get_conn`, which is closed.

        If the connection cannot be read, everything stays as it is.

        :raises ConnectionNotFound: if there is no such connection, as far as Airflow can tell.
        :raises ConnectionUnusable: if the connection cannot be used; the message names it and the field.
        """
        former: dict[str, Any] = {
            name: self.__dict__.pop(name) for name in ("_settings", "_client") if name in self.__dict__
        }
        try:
            client = self._client
        except BaseException as error:
            self.__dict__.update(former)
            if isinstance(error.__cause__, AirflowNotFoundException):
                raise self._not_found() from error
            raise
        if "_client" in former:
            former["_client"].close()
        return client

    async def get_async_conn(self) -> AsyncCerebrasClient:
        """Make a client for the running event loop; the caller closes it.

        :raises ConnectionNotFound: if there is no such connection, as far as Airflow can tell.
        :raises ConnectionUnusable: if the connection cannot be used; the message names it and the field.
        """
        with self._usable():
            conn_id = validate_conn_id(self.cerebras_conn_id)
        connection = await self._read_async(conn_id)
        given = ConnectionFields.of(
            host=connection.host,
            port=connection.port,
            password=connection.password,
            extra=await get_async_extra_dejson(connection),
        )
        del connection  # a traceback may show it
        with self._usable():
            settings = read_connection(conn_id, given)
            with connection_named(conn_id):
                return await AsyncCerebrasClient.create(settings.client)

    async def _read_async(self, conn_id: str) -> Any:
        """Read the connection by what a subclass overrides, else as Airflow does."""
        from asgiref.sync import sync_to_async  # the parse of a DAG does without it

        in_a_thread = sync_to_async(self.get_connection)
        try:
            match _overridden(type(self)):
                case "get_connection":
                    return await in_a_thread(conn_id)
                case "aget_connection":
                    return await self.aget_connection(conn_id)
            try:
                return await get_async_connection(conn_id)
            except AirflowNotFoundException:
                # In ``airflow dags test``, Airflow 3.3.2 says so of connections in its database. A thread finds them.
                return await in_a_thread(conn_id)
        except AirflowNotFoundException as error:
            raise self._not_found() from error

    def make_inference_client(self, *, max_connections: int) -> AsyncCerebrasClient:
        """Make a client for asking an endpoint many questions at once; the caller closes it.

        :param max_connections: how many requests are under way at once.
        :raises ConnectionUnusable: if the connection cannot be used, or has no inference API key.
        """
        settings = self._settings.client
        self.require_inference_key()
        with self._usable(), connection_named(self.cerebras_conn_id):
            return AsyncCerebrasClient(settings, verify=settings.ssl_context(), max_connections=max_connections)

    def test_connection(self) -> tuple[bool, str]:
        """Request the organization's architectures, and return the result with a message."""
        try:
            org_name = self.org_name
            with self._new_client(named=False) as client:
                architectures = client.send_once(operations.list_model_architectures(org_name)).model_architectures
        except (ValueError, CerebrasError) as error:
            # Airflow tests a copy of the connection, under an id that the user has never seen.
            words = _explain(error).removeprefix(f"Connection {self.cerebras_conn_id!r}").lstrip(", ")
            return False, words[:1].upper() + words[1:]
        found = ", ".join(architectures) or "none yet"
        return True, f"Connected to organization {org_name!r}. Model architectures: {found}."

    def list_model_architectures(self) -> list[str]:
        """Return the ids of the architectures that the organization may use."""
        return self._client.send(operations.list_model_architectures(self.org_name)).model_architectures

    def list_model_versions(self, model_arch_id: str) -> list[models.ModelVersion]:
        """Return all versions of one architecture.

        :param model_arch_id: id of the architecture.
        """
        return self._client.send(operations.list_model_versions(self.org_name, model_arch_id)).model_versions

    def upload_model_version(
        self,
        model_arch_id: str,
        weight_uri: str,
        version_aliases: Sequence[str] | None = None,
        system_fingerprint_suffix: str | None = None,
    ) -> models.ModelVersion:
        """Register a new version; the service then copies its weights from S3 in the background.

        :param model_arch_id: id of the architecture that the weights belong to.
        :param weight_uri: ``s3://bucket/prefix`` of the weights.
        :param version_aliases: aliases that the new version is to have.
        :param system_fingerprint_suffix: string that inference responses must carry in ``system_fingerprint``.
        :raises OutcomeUnknown: if it is not known whether a version was made.
        """
        version = self._client.send(
            operations.upload_model_version(
                self.org_name, model_arch_id, weight_uri, version_aliases, system_fingerprint_suffix
            )
        )
        with _optional_lineage():
            collect(self, source=weight_uri, made=version_uri(version.name))
        return version

    def get_model_version(self, model_version: str) -> models.ModelVersion:
        """Return one version with the progress of its sync.

        :param model_version: full name, by number or alias.
        """
        return self._client.send(operations.get_model_version(model_version))

    def update_model_version_aliases(self, model_version: str, version_aliases: Sequence[str]) -> list[str]:
        """Replace all aliases of a version, and return those now in force.

        :param model_version: full name, by number or alias.
        :param version_aliases: the whole list that it is to have; empty takes all away.
        :raises UnexpectedResponse: if the response does not say which aliases are in force; they were replaced then.
        """
        changed = self._client.send(operations.update_model_version_aliases(model_version, version_aliases))
        if changed.version_aliases is None:
            raise UnexpectedResponse(
                f"The aliases of model version {model_version} were replaced. Field version_aliases of the response is "
                "absent or cannot be read, so it is not known which are in force."
            )
        return changed.version_aliases

    def delete_model_version(self, model_version: str) -> None:
        """Delete a version and what the service stores for it.

        :param model_version: full name, by number or alias.
        """
        self._client.send(operations.delete_model_version(model_version))

    def list_endpoints(self) -> list[models.EndpointSummary]:
        """Return the endpoints that the organization manages."""
        return self._client.send(operations.list_endpoints(self.org_name)).endpoints

    def get_endpoint(self, endpoint_id: str) -> models.Endpoint:
        """Return one endpoint with the deployments on it.

        :param endpoint_id: id of the endpoint.
        """
        return self._client.send(operations.get_endpoint(endpoint_id))

    def deploy_model(self, endpoint_id: str, model_version: str) -> models.Deployment:
        """Roll a version out onto an endpoint of the same architecture; the rollout then goes on in the background.

        :param endpoint_id: id of the endpoint.
        :param model_version: full name, by number or alias.
        :raises OutcomeUnknown: if it is not known whether a rollout was begun.
        """
        deployment = self._client.send(operations.deploy_model(endpoint_id, model_version))
        with _optional_lineage():
            name = ModelVersionName.parse(model_version)
            if deployment.response is not None and deployment.response.version_id is not None:
                name = name.with_version_id(str(deployment.response.version_id))
            collect(self, source=version_uri(str(name)), made=endpoint_uri(endpoint_id))
        return deployment

    def require_inference_key(self) -> None:
        """Check that the connection can be used for chat completions. Nothing is sent.

        :raises ConnectionUnusable: if the connection has no inference API key.
        """
        if not self._settings.client.inference_key:
            raise ConnectionUnusable(
                f"Connection {self.cerebras_conn_id!r}, field extra: has no inference_api_key, which chat completions "
                "take (the management API key is another)."
            )

    def chat_completion(
        self, endpoint_id: str, messages: Sequence[Mapping[str, JsonValue]], **params: JsonValue
    ) -> models.ChatCompletion:
        """Ask an endpoint, by the inference API key of the connection.

        :param endpoint_id: id of the endpoint.
        :param messages: the chat so far, each message with ``role`` and ``content``.
        :param params: further fields of the request, such as ``temperature`` or ``max_completion_tokens``.
        :raises ConnectionUnusable: if the connection has no inference API key.
        """
        return self.timed_chat_completion(endpoint_id, messages, params).answer

    def timed_chat_completion(
        self,
        endpoint_id: str,
        messages: Sequence[Mapping[str, JsonValue]],
        params: Mapping[str, JsonValue] | None = None,
        *,
        within: float | None = None,
    ) -> Timed[models.ChatCompletion]:
        """Ask an endpoint like :meth:`chat_completion`, and return how long the service took.

        :param endpoint_id: id of the endpoint.
        :param messages: the chat so far, each message with ``role`` and ``content``.
        :param params: further fields of the request.
        :param within: seconds that all attempts and the pauses between them may take; default: as long as it takes.
        :raises ValueError: if the connection has no inference API key.
        """
        self.require_inference_key()
        call = operations.chat_completion(endpoint_id, messages, **(params or {}))
        return self._client.send_timed(call, within=within)


def _overridden(hook_class: type[CerebrasHook]) -> str | None:
    """Return the name of the method by which a subclass reads its connection; of two, the more derived one."""
    for base in hook_class.__mro__[: hook_class.__mro__.index(CerebrasHook)]:
        for name in ("aget_connection", "get_connection"):
            if name in vars(base):
                return name
    return None


def _fields_of(connection: Connection) -> ConnectionFields:
    return ConnectionFields.of(
        host=connection.host, port=connection.port, password=connection.password, extra=connection.extra_dejson
    )


@contextmanager
def _optional_lineage() -> Iterator[None]:
    """Go on without lineage: the work is done, and a failure to record it must not repeat it."""
    try:
        yield
    except Exception as error:  # noqa: BLE001  a reader of lineage can fail in any way
        _log.warning("Lineage is not collected: %s", error)


def _explain(error: ValueError | CerebrasError) -> str:
    if isinstance(error, CerebrasAPIError) and not error.is_from_api:
        return f"The response is not one of the Management API. {error}"
    match error:
        case Unauthorized():
            return f"The key was refused. Is it the management API key, not the inference API key? ({error.message})"
        case Forbidden():
            return (
                "The key is known but may not list this organization's architectures. Is org_name the customer "
                "management organization name (not the org_id), and is the Private Preview enabled for it? "
                f"({error.message})"
            )
        case NotFound():
            return f"There is no such organization, or no Management API at this host. ({error.message})"
        case CerebrasTransportError():
            return f"Cannot connect. {error}"
    return str(error)
