"""The service's rules: the changes of its state, and what it refuses. It does not depend on HTTP.

All methods run on one thread. A change is stored before it takes effect.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from airflow_provider_cerebras.emulator.service import records
from airflow_provider_cerebras.emulator.service.errors import (
    AliasTaken,
    AlreadyThere,
    ForeignOrganization,
    NotDeployable,
    NotFound,
    NothingServes,
    RolloutUnderWay,
    VersionInUse,
)
from airflow_provider_cerebras.emulator.service.resources import (
    Deployment,
    Endpoint,
    ModelVersion,
    Phase,
    Schedule,
    VersionRegistry,
)
from airflow_provider_cerebras.emulator.service.state import Key, Organization, judged_as, keep_weights, take_up
from airflow_provider_cerebras.emulator.service.store import Nowhere, Record
from airflow_provider_cerebras.emulator.service.weights import Pace

if TYPE_CHECKING:
    from collections.abc import KeysView, Sequence

    from airflow_provider_cerebras.emulator.service.clock import Clock
    from airflow_provider_cerebras.emulator.service.organizations import OrganizationConfig
    from airflow_provider_cerebras.emulator.service.state import ReadWeights
    from airflow_provider_cerebras.emulator.service.store import Store
    from airflow_provider_cerebras.emulator.settings import Behaviour


class Service:
    """The state of the service.

    :param behaviour: How the service behaves where the API's documentation is silent. It may be replaced at any time.
    :param clock: Gives the time in Unix seconds.
    :param read_weights: Starts to read the weights at an S3 URI and returns the future of their digest.
    :param store: Where the state is stored; what it holds already is loaded.
    """

    def __init__(
        self, behaviour: Behaviour, clock: Clock, read_weights: ReadWeights, store: Store | None = None
    ) -> None:
        self.behaviour = behaviour
        self._clock = clock
        self._read_weights = read_weights
        self._store = store or Nowhere()
        state = take_up(self._store, read_weights, self.behaviour)
        self._organizations, self._endpoints, self._keys = state.organizations, state.endpoints, state.keys

    def now(self) -> float:
        """Return the service's time in Unix seconds."""
        return self._clock()

    # Organizations, their keys, architectures and endpoints: what the control plane and the configuration change.

    def organizations(self) -> list[Organization]:
        """Return all organizations, in the order in which they were added."""
        return list(self._organizations.values())

    def key(self, key: str) -> Key | None:
        """Return the organization and the kind of an API key; None if it is unknown."""
        return self._keys.get(key)

    def keys(self) -> KeysView[str]:
        """Return all API keys."""
        return self._keys.keys()

    def ensure_organization(self, config: OrganizationConfig) -> Organization:
        """Add an organization as configured, or give it the configured keys and add what it lacks."""
        for endpoint in config.endpoints:
            self._check_same(endpoint.endpoint_id, config.name, endpoint.model_arch_id)
        self._check_keys_free(config.name, (*config.management_keys, *config.inference_keys))
        organization = self._organizations.get(config.name)
        if organization is None:
            organization = Organization(config.name)
            self._store.write(records.of_organization(config.name, organization.keys))
            self._organizations[config.name] = organization
        self.set_keys(config.name, management=config.management_keys, inference=config.inference_keys)
        for model_arch_id in config.model_architectures:
            self.add_architecture(config.name, model_arch_id)
        for endpoint in config.endpoints:
            self.add_endpoint(config.name, endpoint.endpoint_id, endpoint.model_arch_id)
        return organization

    def add_organization(self, config: OrganizationConfig) -> Organization:
        """Add an organization."""
        if config.name in self._organizations:
            raise AlreadyThere(f"There is an organization {config.name} already.", param="name")
        for endpoint in config.endpoints:
            if endpoint.endpoint_id in self._endpoints:
                raise AlreadyThere(f"There is an endpoint {endpoint.endpoint_id} already.", param="endpoints")
        return self.ensure_organization(config)

    def set_keys(
        self, org_name: str, *, management: Sequence[str] | None = None, inference: Sequence[str] | None = None
    ) -> None:
        """Replace the keys of an organization; the old ones are invalid at once.

        :param management: The management keys; None keeps the present ones.
        :param inference: The inference keys; None keeps the present ones.
        """
        organization = self.organization(org_name)
        keys = dict(organization.keys)
        if management is not None:
            keys["management"] = tuple(management)
        if inference is not None:
            keys["inference"] = tuple(inference)
        self._check_keys_free(org_name, (*keys["management"], *keys["inference"]))
        self._store.write(records.of_organization(org_name, keys))
        for kind in keys:
            for key in organization.keys[kind]:
                self._keys.pop(key, None)
        for kind, those in keys.items():
            self._keys.update(dict.fromkeys(those, Key(org_name, kind)))
        organization.keys = keys

    def add_architecture(self, org_name: str, model_arch_id: str) -> None:
        """Add an architecture to an organization, unless it is there."""
        organization = self.organization(org_name)
        if model_arch_id not in organization.registries:
            registry = VersionRegistry(org_name, model_arch_id)
            self._store.write(records.of_registry(registry, registry.next_number))
            organization.registries[model_arch_id] = registry

    def add_endpoint(self, org_name: str, endpoint_id: str, model_arch_id: str) -> Endpoint:
        """Add an endpoint to an organization, unless it is there."""
        organization = self.organization(org_name)
        if model_arch_id not in organization.registries:
            raise NotFound(f"Organization {org_name} has no model architecture {model_arch_id}.", param="model_arch_id")
        self._check_same(endpoint_id, org_name, model_arch_id)
        if endpoint_id in self._endpoints:
            return self._endpoints[endpoint_id]
        endpoint = Endpoint(endpoint_id, org_name, model_arch_id, self.now())
        self._store.write(records.of_endpoint(endpoint))
        self._endpoints[endpoint_id] = organization.endpoints[endpoint_id] = endpoint
        return endpoint

    # What the Management API shows and changes.

    def organization(self, org_name: str) -> Organization:
        """Return an organization."""
        organization = self._organizations.get(org_name)
        if organization is None:
            raise ForeignOrganization(org_name)
        return organization

    def model_architectures(self, org_name: str) -> list[str]:
        """Return the architectures of an organization."""
        return list(self.organization(org_name).registries)

    def model_versions(self, org_name: str, model_arch_id: str) -> list[ModelVersion]:
        """Return the versions of an architecture, oldest first."""
        return list(self._registry(org_name, model_arch_id))

    def model_version(self, org_name: str, model_arch_id: str, version_id: str) -> ModelVersion:
        """Return a version.

        :param version_id: Its number or one of its aliases.
        """
        version = self._registry(org_name, model_arch_id).find(version_id)
        if version is None:
            name = f"orgs/{org_name}/models/{model_arch_id}/versions/{version_id}"
            raise NotFound(f"Model version {name} does not exist.", param="version_id")
        return version

    def upload_model_version(
        self,
        org_name: str,
        model_arch_id: str,
        weight_uri: str,
        version_aliases: Sequence[str],
        fingerprint_suffix: str,
        *,
        planned_failure: str | None = None,
    ) -> ModelVersion:
        """Make a version and start its sync."""
        registry = self._registry(org_name, model_arch_id)
        _check_aliases_free(registry, version_aliases, holder=None)
        now = self.now()
        when = self.behaviour.weights_read
        pace = None if when == "at-upload" else Pace(at_end=when == "at-end")
        version = ModelVersion(
            org_name=org_name,
            model_arch_id=model_arch_id,
            number=registry.next_number,
            weight_uri=weight_uri,
            aliases=tuple(dict.fromkeys(version_aliases)),
            fingerprint_suffix=fingerprint_suffix,
            created=now,
            sync=Schedule.of(now, self.behaviour.sync_seconds),
            weights=self._read_weights(weight_uri, judged_as(self.behaviour, model_arch_id), pace),
            uid=uuid.uuid4().hex,
            planned_failure=planned_failure,
            pace=pace,
        )
        self._store.write(records.of_version(version), records.of_registry(registry, version.number + 1))
        registry.add(version)
        keep_weights(self._store, version)
        return version

    def update_model_version_aliases(
        self, org_name: str, model_arch_id: str, version_id: str, version_aliases: Sequence[str]
    ) -> ModelVersion:
        """Replace the aliases of a version."""
        version = self.model_version(org_name, model_arch_id, version_id)
        registry = self._registry(org_name, model_arch_id)
        _check_aliases_free(registry, version_aliases, holder=version)
        aliases = tuple(dict.fromkeys(version_aliases))
        self._store.write(records.of_version(version, aliases=aliases))
        registry.set_aliases(version, aliases)
        return version

    def delete_model_version(self, org_name: str, model_arch_id: str, version_id: str) -> ModelVersion:
        """Remove a version together with its past deployments."""
        version = self.model_version(org_name, model_arch_id, version_id)
        now = self.now()
        in_use = [each for each in version.deployments if each.in_use(now)]
        if in_use and self.behaviour.delete_in_use == "refuse":
            doing = "is being deployed" if in_use[0].phase(now) is not Phase.SUCCEEDED else "serves"
            raise VersionInUse(f"Model version {version.name} {doing} on endpoint {in_use[0].endpoint.endpoint_id}.")
        bygone = [each for each in version.deployments if each not in in_use]
        # An endpoint was not updated any earlier for having one deployment less.
        changed = {each.endpoint.endpoint_id: each.endpoint.updated(now) for each in bygone}
        changes = [records.gone(records.of_deployment(each)) for each in bygone]
        changes += [records.of_endpoint(self._endpoints[name], changed=when) for name, when in changed.items()]
        if in_use:
            changes.append(records.of_version(version, deleted=True))
        else:
            changes += [Record(kind, version.uid, None) for kind in (records.VERSION, records.WEIGHTS)]
        self._store.write(*changes)
        for deployment in bygone:
            deployment.endpoint.changed = changed[deployment.endpoint.endpoint_id]
            deployment.endpoint.deployments.remove(deployment)
        version.deployments = in_use
        version.deleted = True
        self._registry(org_name, model_arch_id).remove(version)
        return version

    def endpoints(self, org_name: str) -> list[Endpoint]:
        """Return the endpoints of an organization."""
        return list(self.organization(org_name).endpoints.values())

    def endpoint(self, endpoint_id: str) -> Endpoint:
        """Return an endpoint."""
        endpoint = self._endpoints.get(endpoint_id)
        if endpoint is None:
            raise NotFound(f"Endpoint {endpoint_id} does not exist.", param="endpoint_id")
        return endpoint

    def listed_deployments(self, endpoint: Endpoint) -> list[Deployment]:
        """Return the deployments that the endpoint lists, oldest first."""
        now = self.now()
        match self.behaviour.deployed_models:
            case "all":
                return list(endpoint.deployments)
            case "not-failed":
                return [each for each in endpoint.deployments if each.phase(now) is not Phase.FAILED]
            case "live":
                serving = endpoint.serving(now)
                return [each for each in endpoint.deployments if each is serving or each.phase(now) is Phase.RUNNING]

    def deploy_model(self, endpoint_id: str, model: str, *, planned_failure: str | None = None) -> Deployment:
        """Submit a deployment.

        :param model: Well-formed full name of the version, with its number or one of its aliases.
        """
        endpoint = self.endpoint(endpoint_id)
        version = self._deployable(endpoint, model)
        now = self.now()
        start, superseded = self._start_of_rollout(endpoint, now)
        deployment = Deployment(
            deployment_id=str(uuid.uuid4()),
            endpoint=endpoint,
            version=version,
            created=now,
            rollout=Schedule.of(start, self.behaviour.rollout_seconds),
            planned_failure=planned_failure,
        )
        self._store.write(
            *(records.gone(records.of_deployment(each)) for each in superseded), records.of_deployment(deployment)
        )
        for each in superseded:
            endpoint.deployments.remove(each)
            each.version.deployments.remove(each)
        endpoint.deployments.append(deployment)
        version.deployments.append(deployment)
        return deployment

    def serving_version(self, endpoint_id: str, org_name: str) -> ModelVersion:
        """Return the version that serves an organization's inference requests to an endpoint."""
        endpoint = self._endpoints.get(endpoint_id)
        if endpoint is None or endpoint.org_name != org_name:
            raise NotFound(f"Model {endpoint_id} does not exist or you do not have access to it.", param="model")
        deployment = endpoint.serving(self.now())
        if deployment is None:
            raise NothingServes(f"No deployment on endpoint {endpoint_id} is complete, so nothing serves there.")
        return deployment.version

    def _registry(self, org_name: str, model_arch_id: str) -> VersionRegistry:
        registry = self.organization(org_name).registries.get(model_arch_id)
        if registry is None:
            raise NotFound(f"Organization {org_name} has no model architecture {model_arch_id}.", param="model_arch_id")
        return registry

    def _deployable(self, endpoint: Endpoint, model: str) -> ModelVersion:
        _, org_name, _, model_arch_id, _, version_id = model.split("/")
        if org_name != endpoint.org_name:
            raise ForeignOrganization(org_name)
        version = self.model_version(org_name, model_arch_id, version_id)
        if version.model_arch_id != endpoint.model_arch_id:
            raise NotDeployable(
                f"Model version {version.name} is of architecture {version.model_arch_id}, but endpoint "
                f"{endpoint.endpoint_id} runs {endpoint.model_arch_id}.",
                param="model",
            )
        phase = version.phase(self.now())
        if phase is Phase.FAILED:
            raise NotDeployable(
                f"The sync of model version {version.name} has failed: {version.failure()}", param="model"
            )
        if phase is not Phase.SUCCEEDED:
            raise NotDeployable(f"The sync of model version {version.name} is not done yet.", param="model")
        return version

    def _start_of_rollout(self, endpoint: Endpoint, now: float) -> tuple[float, list[Deployment]]:
        under_way = endpoint.under_way(now)
        match self.behaviour.deploy_during_rollout:
            case "refuse" if under_way:
                raise RolloutUnderWay(
                    f"Deployment {under_way[0].deployment_id} is still rolling out on endpoint {endpoint.endpoint_id}."
                )
            case "supersede":
                return now, under_way
            case _:
                return max((each.rollout.ends for each in under_way), default=now), []

    def _check_same(self, endpoint_id: str, org_name: str, model_arch_id: str) -> None:
        there = self._endpoints.get(endpoint_id)
        if there is not None and (there.org_name, there.model_arch_id) != (org_name, model_arch_id):
            raise AlreadyThere(
                f"There is an endpoint {endpoint_id} already, of organization {there.org_name} and for "
                f"{there.model_arch_id}.",
                param="endpoint_id",
            )

    def _check_keys_free(self, org_name: str, keys: Sequence[str]) -> None:
        # The keys themselves are not for the answer.
        if len(set(keys)) < len(keys):
            raise AlreadyThere(f"A key of organization {org_name} is there twice.", param="keys")
        for key in keys:
            if (there := self._keys.get(key)) is not None and there.org_name != org_name:
                raise AlreadyThere(
                    f"A key of organization {org_name} is one of {there.org_name} already.", param="keys"
                )


def _check_aliases_free(registry: VersionRegistry, aliases: Sequence[str], *, holder: ModelVersion | None) -> None:
    for alias in aliases:
        if (version := registry.find(alias)) is not None and version is not holder:
            raise AliasTaken(
                f"Alias {alias} is in use by model version {version.name}; remove it there first.",
                param="version_aliases",
            )
