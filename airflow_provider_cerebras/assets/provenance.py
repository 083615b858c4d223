"""The provenance of a task's result: the weights, the version, the endpoint that serves it.

Asset events and lineage pass it on, each in its own form.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from airflow_provider_cerebras.api import operations
from airflow_provider_cerebras.api.errors import CerebrasError
from airflow_provider_cerebras.api.status import find_by_id, serving_model
from airflow_provider_cerebras.durable.identity import is_own

if TYPE_CHECKING:
    from pydantic import JsonValue

    from airflow_provider_cerebras.api.client import CerebrasClient
    from airflow_provider_cerebras.api.models import ModelVersion
    from airflow_provider_cerebras.polling.log import Log

_SECONDS = 5.0
"""Seconds that each request may take, with its retries: the task has done its work and only reports it."""


class Provenance(NamedTuple):
    """The provenance of a result, as far as it is known.

    :param model_version: full name of the version, by number.
    :param version_aliases: its aliases, without those that this provider keeps there for itself.
    :param weight_uri: where its weights were read.
    :param endpoint_id: id of the endpoint that it was rolled out onto.
    :param deployment_id: UUID of that deployment.
    """

    model_version: str | None = None
    version_aliases: tuple[str, ...] | None = None
    weight_uri: str | None = None
    endpoint_id: str | None = None
    deployment_id: str | None = None

    def to_extra(self) -> dict[str, JsonValue]:
        """Return it as the extra of an asset event: plain JSON without secrets and without unknown values."""
        known: dict[str, JsonValue] = {
            "model_version": self.model_version,
            "version_aliases": None if self.version_aliases is None else list(self.version_aliases),
            "weight_uri": self.weight_uri,
            "endpoint_id": self.endpoint_id,
            "deployment_id": self.deployment_id,
        }
        return {name: value for name, value in known.items() if value is not None}


def of_version(version: ModelVersion) -> Provenance:
    """The provenance that a response about a version shows.

    :param version: a version, as the response to an upload, a GET or a list shows it.
    """
    held = version.details.version_aliases
    return Provenance(
        model_version=version.name,
        version_aliases=None if held is None else tuple(alias for alias in held if not is_own(alias)),
        weight_uri=version.details.customer_s3_uri,
    )


def is_marked_by_airflow(version: ModelVersion) -> bool:
    """Return whether a version has an alias that this provider sets: a task has uploaded it, or is rolling back to it.

    :param version: a version, as the response to an upload, a GET or a list shows it.
    """
    return any(is_own(alias) for alias in version.details.version_aliases or ())


def trace_version(client: CerebrasClient, model_version: str, *, log: Log) -> Provenance:
    """Ask for a version. The task has done its work by then, so it does not fail if there is no response.

    Calls ``GET /orgs/{org_name}/models/{model_arch_id}/versions/{version_id}``.

    :param client: whom to ask.
    :param model_version: full name, by number.
    :param log: where it logs that there was no response.
    """
    try:
        return of_version(client.send(operations.get_model_version(model_version), within=_SECONDS))
    except CerebrasError as error:
        log.warning("The aliases and weights of %s are not known: %s", model_version, error)
        return Provenance(model_version=model_version)


def trace_deployment(
    client: CerebrasClient, endpoint_id: str, deployment_id: str | None = None, *, log: Log
) -> Provenance:
    """Ask what a deployment has rolled out; see :func:`trace_version`.

    Calls ``GET /endpoints/{endpoint_id}`` as well.

    :param client: whom to ask.
    :param endpoint_id: id of the endpoint.
    :param deployment_id: UUID of the deployment; default: the one that serves.
    :param log: where it logs that there was no response.
    """
    made = Provenance()
    try:
        endpoint = client.send(operations.get_endpoint(endpoint_id), within=_SECONDS)
        if deployment_id is None:
            entry = serving_model(endpoint)
        else:
            entry = find_by_id(endpoint.deployed_models, deployment_id)
        if entry is not None:
            deployment_id = entry.id
            if entry.model is not None:
                made = trace_version(client, entry.model, log=log)
    except (CerebrasError, ValueError) as error:
        log.warning("What deployment %s on endpoint %s rolled out is not known: %s", deployment_id, endpoint_id, error)
    return made._replace(endpoint_id=endpoint_id, deployment_id=deployment_id)
