"""The state of the service, by organization, and how it is loaded from the store."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

from airflow_provider_cerebras.emulator.service import records

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from airflow_provider_cerebras.emulator.service.resources import Endpoint, ModelVersion, VersionRegistry
    from airflow_provider_cerebras.emulator.service.store import Store
    from airflow_provider_cerebras.emulator.service.weights import Pace
    from airflow_provider_cerebras.emulator.settings import Behaviour

    ReadWeights = Callable[[str, str | None, Pace | None], Future[str]]
    """Takes a weight URI, the architecture that the weights must be a model of, and when each object may be read."""

KeyKind = Literal["management", "inference"]


class Key(NamedTuple):
    """The organization and the kind of an API key."""

    org_name: str
    kind: KeyKind


class Organization:
    """An organization's keys, version registries, and endpoints."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.keys: dict[KeyKind, tuple[str, ...]] = {"management": (), "inference": ()}
        self.registries: dict[str, VersionRegistry] = {}
        self.endpoints: dict[str, Endpoint] = {}


@dataclass
class ServiceState:
    """The organizations by their names, all endpoints by their ids, and the organization and kind of each API key."""

    organizations: dict[str, Organization] = field(default_factory=dict)
    endpoints: dict[str, Endpoint] = field(default_factory=dict)
    keys: dict[str, Key] = field(default_factory=dict)


def keep_weights(store: Store, version: ModelVersion) -> None:
    """Store the result of reading a version's weights when it is there, on whichever thread that is."""

    def keep(weights: Future[str]) -> None:
        if not version.deleted:
            store.write(records.of_weights(version.uid, weights))

    version.weights.add_done_callback(keep)


def judged_as(behaviour: Behaviour, model_arch_id: str) -> str | None:
    """Return the architecture of which weights must be a model; None: any, and only their files are checked."""
    return model_arch_id if behaviour.weights_checks == "strict" else None


def take_up(store: Store, read_weights: ReadWeights, behaviour: Behaviour) -> ServiceState:
    """Return the state that a store holds.

    :param read_weights: Starts to read the weights at an S3 URI; called for those that were not read to their end.
    """
    state = ServiceState()
    for record in store.read(records.ORGANIZATION):
        organization = state.organizations[record.key] = Organization(record.key)
        organization.keys = records.keys(record)
        for kind, keys in organization.keys.items():
            state.keys.update(dict.fromkeys(keys, Key(record.key, kind)))
    for record in store.read(records.REGISTRY):
        registry = records.registry(record)
        state.organizations[registry.org_name].registries[registry.model_arch_id] = registry
    for record in store.read(records.ENDPOINT):
        endpoint = state.endpoints[record.key] = records.endpoint(record)
        state.organizations[endpoint.org_name].endpoints[record.key] = endpoint
    versions = _versions(store, read_weights, behaviour)
    for version in versions.values():
        if not version.deleted:
            state.organizations[version.org_name].registries[version.model_arch_id].add(version)
    for record in store.read(records.DEPLOYMENT):
        deployment = records.deployment(record, state.endpoints, versions)
        deployment.endpoint.deployments.append(deployment)
        deployment.version.deployments.append(deployment)
    return state


def _versions(store: Store, read_weights: ReadWeights, behaviour: Behaviour) -> dict[str, ModelVersion]:
    """Return all stored versions by their ``uid``."""
    read = {record.key: records.weights(record) for record in store.read(records.WEIGHTS)}
    versions = {}
    for record in store.read(records.VERSION):
        weights = read.get(record.key)
        if weights is not None:
            versions[record.key] = records.version(record, weights)
            continue
        body = record.body or {}
        weights = read_weights(body["weight_uri"], judged_as(behaviour, body["model_arch_id"]), None)
        version = records.version(record, weights)
        keep_weights(store, version)
        versions[record.key] = version
    return versions
