"""How what the service has becomes documents that are kept, and how it comes back from them."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from airflow_provider_cerebras.emulator.service.clock import Anchor
from airflow_provider_cerebras.emulator.service.resources import Deployment, Endpoint, ModelVersion, Schedule, Shelf
from airflow_provider_cerebras.emulator.service.store import Document
from airflow_provider_cerebras.emulator.service.weights import WeightsError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_provider_cerebras.emulator.service.state import KeyKind
CLOCK, ORGANIZATION, SHELF, VERSION, WEIGHTS, ENDPOINT, DEPLOYMENT = (
    "clock",
    "organization",
    "shelf",
    "version",
    "weights",
    "endpoint",
    "deployment",
)


def of_clock(anchor: Anchor) -> Document:
    """The clock, to go on from."""
    return Document(CLOCK, "", asdict(anchor))


def clock(document: Document) -> Anchor:
    """The clock as it was."""
    return Anchor(**_body(document))


def of_organization(name: str, keys: Mapping[KeyKind, Sequence[str]]) -> Document:
    """An organization with its keys, but for its architectures and endpoints."""
    return Document(ORGANIZATION, name, {"keys": {kind: list(those) for kind, those in keys.items()}})


def keys(document: Document) -> dict[KeyKind, tuple[str, ...]]:
    """An organization's keys."""
    kept = _body(document)["keys"]
    return {"management": tuple(kept["management"]), "inference": tuple(kept["inference"])}


def of_shelf(shelf: Shelf, next_number: int) -> Document:
    """The number that an architecture's next version gets."""
    body = {"org_name": shelf.org_name, "model_arch_id": shelf.model_arch_id, "next_number": next_number}
    return Document(SHELF, f"{shelf.org_name}/{shelf.model_arch_id}", body)


def shelf(document: Document) -> Shelf:
    """An architecture's versions, of which there are none yet."""
    return Shelf(**_body(document))


def of_version(version: ModelVersion, **changes: Any) -> Document:
    """A version, but for the digest of its weights.

    :param changes: Fields that are about to change.
    """
    fields = (
        "org_name", "model_arch_id", "number", "weight_uri", "aliases", "fingerprint_suffix", "created",
        "uid", "planned_failure", "deleted",
    )  # fmt: skip
    body = {name: getattr(version, name) for name in fields} | changes
    return Document(VERSION, version.uid, {**body, "sync": asdict(version.sync)})


def version(document: Document, weights: Future[str]) -> ModelVersion:
    """A version as it was.

    :param weights: The result of reading its weights.
    """
    body = _body(document)
    return ModelVersion(
        **{**body, "aliases": tuple(body["aliases"]), "sync": Schedule(**body["sync"])}, weights=weights
    )


def of_weights(uid: str, weights: Future[str]) -> Document:
    """What reading a version's weights came to, which is known by now.

    :param uid: The version's.
    """
    error = weights.exception()
    return Document(WEIGHTS, uid, {"error": str(error)} if error else {"digest": weights.result()})


def weights(document: Document) -> Future[str]:
    """What reading a version's weights came to."""
    body = _body(document)
    future: Future[str] = Future()
    if "error" in body:
        future.set_exception(WeightsError(body["error"]))
    else:
        future.set_result(body["digest"])
    return future


def of_endpoint(endpoint: Endpoint, **changes: Any) -> Document:
    """An endpoint, but for its deployments.

    :param changes: Fields that are about to change.
    """
    fields = ("endpoint_id", "org_name", "model_arch_id", "created", "changed")
    return Document(ENDPOINT, endpoint.endpoint_id, {name: getattr(endpoint, name) for name in fields} | changes)


def endpoint(document: Document) -> Endpoint:
    """An endpoint, on which there are no deployments yet."""
    return Endpoint(**_body(document))


def of_deployment(deployment: Deployment) -> Document:
    """A deployment, with the names of its endpoint and its version."""
    body = {
        "endpoint": deployment.endpoint.endpoint_id,
        "version": deployment.version.uid,
        "created": deployment.created,
        "rollout": asdict(deployment.rollout),
        "planned_failure": deployment.planned_failure,
    }
    return Document(DEPLOYMENT, deployment.deployment_id, body)


def deployment(
    document: Document, endpoints: Mapping[str, Endpoint], versions: Mapping[str, ModelVersion]
) -> Deployment:
    """A deployment as it was.

    :param endpoints: By their ids.
    :param versions: By their ``uid``.
    """
    body = _body(document)
    return Deployment(
        deployment_id=document.key,
        endpoint=endpoints[body["endpoint"]],
        version=versions[body["version"]],
        created=body["created"],
        rollout=Schedule(**body["rollout"]),
        planned_failure=body["planned_failure"],
    )


def gone(document: Document) -> Document:
    """That something is not to be kept any more."""
    return Document(document.kind, document.key, None)


def _body(document: Document) -> dict[str, Any]:
    return document.body or {}
