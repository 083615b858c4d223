"""The service's rules as in-memory state: versions, aliases, endpoints and rollouts. Knows nothing of HTTP.

Progress is never stored: it is computed from the clock whenever somebody asks. All methods run on one thread.
"""

from __future__ import annotations

import itertools
import uuid
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from airflow_provider_cerebras.emulator.settings import ARCHITECTURES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Future

    from airflow_provider_cerebras.emulator.settings import Settings

    Clock = Callable[[], float]
    ReadWeights = Callable[[str], Future[str]]

WAITING_SHARE = 0.2
"""Share of a sync's or rollout's duration in which it has not begun yet."""


class Refusal(Exception):
    """A request that the service does not follow; its text is for the caller.

    :param param: Name of the request's parameter at fault, if it is one.
    """

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


class NotFound(Refusal):
    """What was asked for does not exist."""


class ForeignOrganization(Refusal):
    """The key is not one of the organization that was named."""


class NotDeployable(Refusal):
    """The version cannot be deployed on this endpoint, or not yet."""


class AliasTaken(Refusal):
    """Another version of the same architecture holds the alias."""


class VersionInUse(Refusal):
    """The version serves, or is about to."""


class RolloutUnderWay(Refusal):
    """The endpoint is configured to take one deployment at a time."""


class NothingServes(Refusal):
    """No deployment on the endpoint is complete."""


class Phase(Enum):
    """Where a sync or a rollout stands."""

    WAITING = "waiting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"

    @property
    def over(self) -> bool:
        """Whether nothing changes any more."""
        return self in {Phase.SUCCEEDED, Phase.FAILED}


@dataclass(frozen=True)
class Schedule:
    """When something begins and when it ends.

    :param begins: Unix seconds.
    :param ends: Unix seconds.
    """

    begins: float
    ends: float

    @classmethod
    def of(cls, start: float, duration: float) -> Schedule:
        """The schedule of what takes a time from a moment on.

        :param start: Unix seconds.
        :param duration: Seconds.
        """
        return cls(start + WAITING_SHARE * duration, start + duration)

    def phase(self, now: float, outcome: Phase) -> Phase:
        """Where it stands.

        :param now: Unix seconds.
        :param outcome: The phase from the end on.
        """
        if now >= self.ends:
            return outcome
        return Phase.RUNNING if now >= self.begins else Phase.WAITING


@dataclass(eq=False)
class ModelVersion:
    """Uploaded weights under a number.

    :param name: Full name, ``orgs/<org>/models/<arch>/versions/<number>``.
    :param sync: When the sync begins and, at the earliest, ends.
    :param weights: The digest of the weights (hexadecimal), or the exception that reading them ended with.
    :param planned_failure: Reason for which the sync fails whatever the weights are; None for no such plan.
    """

    name: str
    model_arch_id: str
    number: int
    weight_uri: str
    aliases: tuple[str, ...]
    fingerprint_suffix: str
    sync: Schedule
    weights: Future[str]
    planned_failure: str | None = None

    def phase(self, now: float) -> Phase:
        """Where the sync stands.

        :param now: Unix seconds.
        """
        if not self.weights.done():
            return self.sync.phase(now, Phase.RUNNING)
        return self.sync.phase(now, Phase.SUCCEEDED if self.failure() is None else Phase.FAILED)

    def failure(self) -> str | None:
        """Why the sync fails, as far as it is known by now; None if it does not."""
        if self.planned_failure is not None:
            return self.planned_failure
        if self.weights.done() and (error := self.weights.exception()) is not None:
            return str(error)
        return None

    def system_fingerprint(self) -> str:
        """What inference answers of this version carry; only for a version whose sync is done."""
        fingerprint = f"fp_{self.weights.result()[:16]}"
        return f"{fingerprint}-{self.fingerprint_suffix}" if self.fingerprint_suffix else fingerprint


@dataclass(eq=False)
class Deployment:
    """One rollout of a version onto an endpoint.

    :param created: Unix seconds.
    :param planned_failure: Reason for which the rollout fails; None if it succeeds.
    """

    deployment_id: str
    version: ModelVersion
    created: float
    rollout: Schedule
    planned_failure: str | None = None

    def phase(self, now: float) -> Phase:
        """Where the rollout stands.

        :param now: Unix seconds.
        """
        return self.rollout.phase(now, Phase.SUCCEEDED if self.planned_failure is None else Phase.FAILED)


@dataclass(eq=False)
class Endpoint:
    """A dedicated endpoint and the deployments submitted to it, oldest first.

    :param created: Unix seconds.
    """

    endpoint_id: str
    model_arch_id: str
    created: float
    deployments: list[Deployment] = field(default_factory=list)

    def updated(self, now: float) -> float:
        """When something last changed here, in Unix seconds.

        :param now: Unix seconds.
        """
        changes = itertools.chain.from_iterable((each.created, each.rollout.ends) for each in self.deployments)
        return max((change for change in changes if change <= now), default=self.created)

    def serving(self, now: float) -> Deployment | None:
        """The newest complete deployment.

        :param now: Unix seconds.
        """
        complete = (each for each in reversed(self.deployments) if each.phase(now) is Phase.SUCCEEDED)
        return next(complete, None)

    def under_way(self, now: float) -> list[Deployment]:
        """Deployments that are queued or rolling out.

        :param now: Unix seconds.
        """
        return [each for each in self.deployments if not each.phase(now).over]


class Service:
    """The state of one organization, and every change it admits.

    :param settings: The organization's name, durations, and what the service does where there is a choice.
    :param clock: Gives the time in Unix seconds.
    :param read_weights: Starts to read the weights at an S3 URI and gives the future digest.
    """

    def __init__(self, settings: Settings, clock: Clock, read_weights: ReadWeights) -> None:
        self._settings = settings
        self._clock = clock
        self._read_weights = read_weights
        self._numbers: dict[str, Iterator[int]] = {arch: itertools.count(1) for arch in ARCHITECTURES}
        self._versions: dict[str, dict[int, ModelVersion]] = {arch: {} for arch in ARCHITECTURES}
        self._endpoints = {
            endpoint.endpoint_id: endpoint
            for endpoint in (Endpoint(f"{settings.org}-{arch}", arch, clock()) for arch in ARCHITECTURES)
        }

    def now(self) -> float:
        """The service's time in Unix seconds."""
        return self._clock()

    def model_architectures(self, org_name: str) -> tuple[str, ...]:
        """The architectures of the organization."""
        self._check_org(org_name)
        return ARCHITECTURES

    def model_versions(self, org_name: str, model_arch_id: str) -> list[ModelVersion]:
        """The versions of an architecture, oldest first."""
        return list(self._of_architecture(org_name, model_arch_id).values())

    def model_version(self, org_name: str, model_arch_id: str, version_id: str) -> ModelVersion:
        """One version.

        :param version_id: Its number or one of its aliases.
        """
        for version in self._of_architecture(org_name, model_arch_id).values():
            if version_id == str(version.number) or version_id in version.aliases:
                return version
        name = f"orgs/{org_name}/models/{model_arch_id}/versions/{version_id}"
        raise NotFound(f"Model version {name} does not exist.", param="version_id")

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
        versions = self._of_architecture(org_name, model_arch_id)
        self._check_aliases_free(model_arch_id, version_aliases, holder=None)
        number = next(self._numbers[model_arch_id])
        version = ModelVersion(
            name=f"orgs/{org_name}/models/{model_arch_id}/versions/{number}",
            model_arch_id=model_arch_id,
            number=number,
            weight_uri=weight_uri,
            aliases=tuple(dict.fromkeys(version_aliases)),
            fingerprint_suffix=fingerprint_suffix,
            sync=Schedule.of(self.now(), self._settings.sync_seconds),
            weights=self._read_weights(weight_uri),
            planned_failure=planned_failure,
        )
        versions[number] = version
        return version

    def update_model_version_aliases(
        self, org_name: str, model_arch_id: str, version_id: str, version_aliases: Sequence[str]
    ) -> ModelVersion:
        """Give a version these aliases and no others."""
        version = self.model_version(org_name, model_arch_id, version_id)
        self._check_aliases_free(model_arch_id, version_aliases, holder=version)
        version.aliases = tuple(dict.fromkeys(version_aliases))
        return version

    def delete_model_version(self, org_name: str, model_arch_id: str, version_id: str) -> ModelVersion:
        """Remove a version, and its bygone deployments with it."""
        version = self.model_version(org_name, model_arch_id, version_id)
        now = self.now()
        for endpoint in self._endpoints.values():
            serving = endpoint.serving(now)
            if serving is not None and serving.version is version:
                raise VersionInUse(f"Model version {version.name} serves on endpoint {endpoint.endpoint_id}.")
            if any(each.version is version for each in endpoint.under_way(now)):
                raise VersionInUse(
                    f"Model version {version.name} is being deployed on endpoint {endpoint.endpoint_id}."
                )
        for endpoint in self._endpoints.values():
            endpoint.deployments = [each for each in endpoint.deployments if each.version is not version]
        del self._versions[model_arch_id][version.number]
        return version

    def endpoints(self, org_name: str) -> list[Endpoint]:
        """The endpoints of the organization."""
        self._check_org(org_name)
        return list(self._endpoints.values())

    def endpoint(self, endpoint_id: str) -> Endpoint:
        """One endpoint."""
        endpoint = self._endpoints.get(endpoint_id)
        if endpoint is None:
            raise NotFound(f"Endpoint {endpoint_id} does not exist.", param="endpoint_id")
        return endpoint

    def add_endpoint(self, endpoint_id: str, model_arch_id: str) -> Endpoint:
        """One endpoint more; none is there twice."""
        if model_arch_id not in ARCHITECTURES:
            raise NotFound(f"Model architecture {model_arch_id} does not exist.", param="model_arch_id")
        return self._endpoints.setdefault(endpoint_id, Endpoint(endpoint_id, model_arch_id, self._clock()))

    def listed_deployments(self, endpoint: Endpoint) -> list[Deployment]:
        """The deployments that the endpoint lists, oldest first."""
        if self._settings.deployed_models == "all":
            return list(endpoint.deployments)
        now = self.now()
        serving = endpoint.serving(now)
        return [each for each in endpoint.deployments if each is serving or each.phase(now) is Phase.RUNNING]

    def deploy_model(self, endpoint_id: str, model: str, *, planned_failure: str | None = None) -> Deployment:
        """Submit a deployment.

        :param model: Well-formed full name of the version, with its number or one of its aliases.
        """
        endpoint = self.endpoint(endpoint_id)
        version = self._deployable(endpoint, model)
        now = self.now()
        deployment = Deployment(
            deployment_id=str(uuid.uuid4()),
            version=version,
            created=now,
            rollout=Schedule.of(self._start_of_rollout(endpoint, now), self._settings.rollout_seconds),
            planned_failure=planned_failure,
        )
        endpoint.deployments.append(deployment)
        return deployment

    def serving_version(self, endpoint_id: str) -> ModelVersion:
        """The version that answers inference requests to an endpoint."""
        endpoint = self._endpoints.get(endpoint_id)
        if endpoint is None:
            raise NotFound(f"Model {endpoint_id} does not exist or you do not have access to it.", param="model")
        deployment = endpoint.serving(self.now())
        if deployment is None:
            raise NothingServes(f"No deployment on endpoint {endpoint_id} is complete, so nothing serves there.")
        return deployment.version

    def _check_org(self, org_name: str) -> None:
        if org_name != self._settings.org:
            raise ForeignOrganization(
                f"This management key has no access to organization {org_name}.", param="org_name"
            )

    def _of_architecture(self, org_name: str, model_arch_id: str) -> dict[int, ModelVersion]:
        self._check_org(org_name)
        versions = self._versions.get(model_arch_id)
        if versions is None:
            raise NotFound(f"Organization {org_name} has no model architecture {model_arch_id}.", param="model_arch_id")
        return versions

    def _check_aliases_free(self, model_arch_id: str, aliases: Sequence[str], *, holder: ModelVersion | None) -> None:
        for version in self._versions[model_arch_id].values():
            taken = [alias for alias in aliases if alias in version.aliases]
            if taken and version is not holder:
                raise AliasTaken(
                    f"Alias {taken[0]} is in use by model version {version.name}; remove it there first.",
                    param="version_aliases",
                )

    def _deployable(self, endpoint: Endpoint, model: str) -> ModelVersion:
        _, org_name, _, model_arch_id, _, version_id = model.split("/")
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

    def _start_of_rollout(self, endpoint: Endpoint, now: float) -> float:
        under_way = endpoint.under_way(now)
        match self._settings.deploy_during_rollout:
            case "refuse" if under_way:
                raise RolloutUnderWay(
                    f"Deployment {under_way[0].deployment_id} is still rolling out on endpoint {endpoint.endpoint_id}."
                )
            case "supersede":
                endpoint.deployments = [each for each in endpoint.deployments if each.phase(now).over]
                return now
            case _:
                return max((each.rollout.ends for each in under_way), default=now)
