"""All that the service has, organization by organization, and how it comes back from where it is kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

from airflow_provider_cerebras.emulator.service import records

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from airflow_provider_cerebras.emulator.service.resources import Endpoint, ModelVersion, Shelf
    from airflow_provider_cerebras.emulator.service.store import Store

    # Takes the URI and, where it does not begin at once, the pace.
    ReadWeights = Callable[..., Future[str]]

KeyKind = Literal["management", "inference"]


class Key(NamedTuple):
    """What an API key opens."""

    org_name: str
    kind: KeyKind


class Organization:
    """An organization's keys, shelves of versions, and endpoints."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.keys: dict[KeyKind, tuple[str, ...]] = {"management": (), "inference": ()}
        self.shelves: dict[str, Shelf] = {}
        self.endpoints: dict[str, Endpoint] = {}


@dataclass
class Holdings:
    """The organizations by their names; beside them all endpoints by their ids, and what each API key opens."""

    organizations: dict[str, Organization] = field(default_factory=dict)
    endpoints: dict[str, Endpoint] = field(default_factory=dict)
    keys: dict[str, Key] = field(default_factory=dict)


def keep_weights(store: Store, version: ModelVersion) -> None:
    """See to it that what reading a version's weights comes to is kept, whenever and on whatever thread that is."""

    def keep(weights: Future[str]) -> None:
        if not version.deleted:
            store.write(records.of_weights(version.uid, weights))

    version.weights.add_done_callback(keep)


def take_up(store: Store, read_weights: ReadWeights) -> Holdings:
    """What is kept in a store.

    :param read_weights: Starts to read the weights at an S3 URI; it is asked for those that were not read to their end.
    """
    holdings = Holdings()
    for document in store.read(records.ORGANIZATION):
        organization = holdings.organizations[document.key] = Organization(document.key)
        organization.keys = records.keys(document)
        for kind, keys in organization.keys.items():
            holdings.keys.update(dict.fromkeys(keys, Key(document.key, kind)))
    for document in store.read(records.SHELF):
        shelf = records.shelf(document)
        holdings.organizations[shelf.org_name].shelves[shelf.model_arch_id] = shelf
    for document in store.read(records.ENDPOINT):
        endpoint = holdings.endpoints[document.key] = records.endpoint(document)
        holdings.organizations[endpoint.org_name].endpoints[document.key] = endpoint
    versions = _versions(store, read_weights)
    for version in versions.values():
        if not version.deleted:
            holdings.organizations[version.org_name].shelves[version.model_arch_id].add(version)
    for document in store.read(records.DEPLOYMENT):
        deployment = records.deployment(document, holdings.endpoints, versions)
        deployment.endpoint.deployments.append(deployment)
        deployment.version.deployments.append(deployment)
    return holdings


def _versions(store: Store, read_weights: ReadWeights) -> dict[str, ModelVersion]:
    """All versions that are kept, by their ``uid``."""
    read = {document.key: records.weights(document) for document in store.read(records.WEIGHTS)}
    versions = {}
    for document in store.read(records.VERSION):
        weights = read.get(document.key)
        version = records.version(document, weights or read_weights((document.body or {})["weight_uri"]))
        if weights is None:
            keep_weights(store, version)
        versions[document.key] = version
    return versions
