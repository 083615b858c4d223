"""Converts the service's state to records for the store, and back."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from airflow_provider_cerebras.emulator.service.clock import Anchor
from airflow_provider_cerebras.emulator.service.resources import (
    Deployment,
    Endpoint,
    ModelVersion,
    Schedule,
    VersionRegistry,
)
from airflow_provider_cerebras.emulator.service.store import Record
from airflow_provider_cerebras.emulator.service.weights import WeightsError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_provider_cerebras.emulator.service.state import KeyKind
CLOCK, ORGANIZATION, REGISTRY, VERSION, WEIGHTS, ENDPOINT, DEPLOYMENT = (
    "clock",
    "organization",
    "shelf",  # as state files have it since the first release
    "version",
    "weights",
    "endpoint",
    "deployment",
)


def of_clock(anchor: Anchor) -> Record:
    """Return the record of the clock."""
    return Record(CLOCK, "", asdict(anchor))


def clock(record: Record) -> Anchor:
    """Return the clock of a record."""
    return Anchor(**_body(record))


def of_organization(name: str, keys: Mapping[KeyKind, Sequence[str]]) -> Record:
    """Return the record of an organization with its keys, without its architectures and endpoints."""
    return Record(ORGANIZATION, name, {"keys": {kind: list(those) for kind, those in keys.items()}})


def keys(record: Record) -> dict[KeyKind, tuple[str, ...]]:
    """Return the keys of a record."""
    kept = _body(record)["keys"]
    return {"management": tuple(kept["management"]), "inference": tuple(kept["inference"])}


def of_registry(registry: VersionRegistry, next_number: int) -> Record:
    """Return the record of an architecture, with the number of its next version."""
    body = {"org_name": registry.org_name, "model_arch_id": registry.model_arch_id, "next_number": next_number}
    return Record(REGISTRY, f"{registry.org_name}/{registry.model_arch_id}", body)


def registry(record: Record) -> VersionRegistry:
    """Return the registry of a record, without versions."""
    return VersionRegistry(**_body(record))


def of_version(version: ModelVersion, **changes: Any) -> Record:
    """Return the record of a version, without the digest of its weights.

    :param changes: The new values of fields that will change.
    """
    fields = (
        "org_name", "model_arch_id", "number", "weight_uri", "aliases", "fingerprint_suffix", "created",
        "uid", "planned_failure", "deleted",
    )  # fmt: skip
    body = {name: getattr(version, name) for name in fields} | changes
    return Record(VERSION, version.uid, {**body, "sync": asdict(version.sync)})


def version(record: Record, weights: Future[str]) -> ModelVersion:
    """Return the version of a record.

    :param weights: The result of reading its weights.
    """
    body = _body(record)
    return ModelVersion(
        **{**body, "aliases": tuple(body["aliases"]), "sync": Schedule(**body["sync"])}, weights=weights
    )


def of_weights(uid: str, weights: Future[str]) -> Record:
    """Return the record of the result of reading a version's weights.

    :param uid: The version's uid.
    """
    error = weights.exception()
    return Record(WEIGHTS, uid, {"error": str(error)} if error else {"digest": weights.result()})


def weights(record: Record) -> Future[str]:
    """Return the result of reading a version's weights."""
    body = _body(record)
    future: Future[str] = Future()
    if "error" in body:
        future.set_exception(WeightsError(body["error"]))
    else:
        future.set_result(body["digest"])
    return future


def of_endpoint(endpoint: Endpoint, **changes: Any) -> Record:
    """Return the record of an endpoint, without its deployments.

    :param changes: The new values of fields that will change.
    """
    fields = ("endpoint_id", "org_name", "model_arch_id", "created", "changed")
    return Record(ENDPOINT, endpoint.endpoint_id, {name: getattr(endpoint, name) for name in fields} | changes)


def endpoint(record: Record) -> Endpoint:
    """Return the endpoint of a record, without deployments."""
    return Endpoint(**_body(record))


def of_deployment(deployment: Deployment) -> Record:
    """Return the record of a deployment, with the names of its endpoint and its version."""
    body = {
        "endpoint": deployment.endpoint.endpoint_id,
        "version": deployment.version.uid,
        "created": deployment.created,
        "rollout": asdict(deployment.rollout),
        "planned_failure": deployment.planned_failure,
    }
    return Record(DEPLOYMENT, deployment.deployment_id, body)


def deployment(record: Record, endpoints: Mapping[str, Endpoint], versions: Mapping[str, ModelVersion]) -> Deployment:
    """Return the deployment of a record.

    :param endpoints: The endpoints by their ids.
    :param versions: The versions by their ``uid``.
    """
    body = _body(record)
    return Deployment(
        deployment_id=record.key,
        endpoint=endpoints[body["endpoint"]],
        version=versions[body["version"]],
        created=body["created"],
        rollout=Schedule(**body["rollout"]),
        planned_failure=body["planned_failure"],
    )


def gone(record: Record) -> Record:
    """Return a record that deletes another one."""
    return Record(record.kind, record.key, None)


def _body(record: Record) -> dict[str, Any]:
    return record.body or {}
