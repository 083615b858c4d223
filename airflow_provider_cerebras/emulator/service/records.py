"""Records of the service's state for the store, and the state from records."""

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
    """The clock, to go on from."""
    return Record(CLOCK, "", asdict(anchor))


def clock(record: Record) -> Anchor:
    """The clock as it was."""
    return Anchor(**_body(record))


def of_organization(name: str, keys: Mapping[KeyKind, Sequence[str]]) -> Record:
    """An organization with its keys, but for its architectures and endpoints."""
    return Record(ORGANIZATION, name, {"keys": {kind: list(those) for kind, those in keys.items()}})


def keys(record: Record) -> dict[KeyKind, tuple[str, ...]]:
    """An organization's keys."""
    kept = _body(record)["keys"]
    return {"management": tuple(kept["management"]), "inference": tuple(kept["inference"])}


def of_registry(registry: VersionRegistry, next_number: int) -> Record:
    """The number that an architecture's next version gets."""
    body = {"org_name": registry.org_name, "model_arch_id": registry.model_arch_id, "next_number": next_number}
    return Record(REGISTRY, f"{registry.org_name}/{registry.model_arch_id}", body)


def registry(record: Record) -> VersionRegistry:
    """An architecture's versions, of which there are none yet."""
    return VersionRegistry(**_body(record))


def of_version(version: ModelVersion, **changes: Any) -> Record:
    """A version, but for the digest of its weights.

    :param changes: Fields that are about to change.
    """
    fields = (
        "org_name", "model_arch_id", "number", "weight_uri", "aliases", "fingerprint_suffix", "created",
        "uid", "planned_failure", "deleted",
    )  # fmt: skip
    body = {name: getattr(version, name) for name in fields} | changes
    return Record(VERSION, version.uid, {**body, "sync": asdict(version.sync)})


def version(record: Record, weights: Future[str]) -> ModelVersion:
    """A version as it was.

    :param weights: The result of reading its weights.
    """
    body = _body(record)
    return ModelVersion(
        **{**body, "aliases": tuple(body["aliases"]), "sync": Schedule(**body["sync"])}, weights=weights
    )


def of_weights(uid: str, weights: Future[str]) -> Record:
    """The result of reading a version's weights, which is known by now.

    :param uid: The version's.
    """
    error = weights.exception()
    return Record(WEIGHTS, uid, {"error": str(error)} if error else {"digest": weights.result()})


def weights(record: Record) -> Future[str]:
    """The result of reading a version's weights."""
    body = _body(record)
    future: Future[str] = Future()
    if "error" in body:
        future.set_exception(WeightsError(body["error"]))
    else:
        future.set_result(body["digest"])
    return future


def of_endpoint(endpoint: Endpoint, **changes: Any) -> Record:
    """An endpoint, but for its deployments.

    :param changes: Fields that are about to change.
    """
    fields = ("endpoint_id", "org_name", "model_arch_id", "created", "changed")
    return Record(ENDPOINT, endpoint.endpoint_id, {name: getattr(endpoint, name) for name in fields} | changes)


def endpoint(record: Record) -> Endpoint:
    """An endpoint, on which there are no deployments yet."""
    return Endpoint(**_body(record))


def of_deployment(deployment: Deployment) -> Record:
    """A deployment, with the names of its endpoint and its version."""
    body = {
        "endpoint": deployment.endpoint.endpoint_id,
        "version": deployment.version.uid,
        "created": deployment.created,
        "rollout": asdict(deployment.rollout),
        "planned_failure": deployment.planned_failure,
    }
    return Record(DEPLOYMENT, deployment.deployment_id, body)


def deployment(record: Record, endpoints: Mapping[str, Endpoint], versions: Mapping[str, ModelVersion]) -> Deployment:
    """A deployment as it was.

    :param endpoints: By their ids.
    :param versions: By their ``uid``.
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
    """A record that deletes another one."""
    return Record(record.kind, record.key, None)


def _body(record: Record) -> dict[str, Any]:
    return record.body or {}
