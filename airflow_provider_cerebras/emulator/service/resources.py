"""The resources of the service: versions, aliases, endpoints and rollouts, and their state at a moment.

Progress is never stored: it follows from the clock at each request.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

    from airflow_provider_cerebras.emulator.service.weights import Pace

WAITING_SHARE = 0.2
"""Share of a sync's or rollout's duration in which it has not begun yet."""


class Phase(Enum):
    """The phase of a sync or a rollout."""

    WAITING = "waiting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"

    @property
    def over(self) -> bool:
        """Whether this phase is final."""
        return self in {Phase.SUCCEEDED, Phase.FAILED}


@dataclass(frozen=True)
class Schedule:
    """The start and the end of a sync or a rollout.

    :param begins: Unix seconds.
    :param ends: Unix seconds.
    """

    begins: float
    ends: float

    @classmethod
    def of(cls, start: float, duration: float) -> Schedule:
        """Return the schedule of something that starts at a moment and takes a duration.

        :param start: Unix seconds.
        :param duration: Seconds.
        """
        return cls(start + WAITING_SHARE * duration, start + duration)

    def share(self, now: float) -> float:
        """Return the share of it that has passed, from 0 to 1.

        :param now: Unix seconds.
        """
        return 1.0 if now >= self.ends else max(0.0, (now - self.begins) / (self.ends - self.begins))

    def phase(self, now: float, outcome: Phase) -> Phase:
        """Return its phase.

        :param now: Unix seconds.
        :param outcome: The phase after the end.
        """
        if now >= self.ends:
            return outcome
        return Phase.RUNNING if now >= self.begins else Phase.WAITING


@dataclass(eq=False)
class ModelVersion:
    """Uploaded weights under a number.

    :param created: Unix seconds.
    :param sync: When the sync begins and, at the earliest, ends.
    :param weights: The digest of the weights (hexadecimal), or the exception that reading them ended with.
    :param uid: Unique over all versions, also across resets.
    :param planned_failure: Reason for which the sync fails regardless of the weights; None: no planned failure.
    :param deleted: Whether it is deleted and kept only for an endpoint that still serves it.
    :param pace: When its weights are read; None: at the upload.
    """

    org_name: str
    model_arch_id: str
    number: int
    weight_uri: str
    aliases: tuple[str, ...]
    fingerprint_suffix: str
    created: float
    sync: Schedule
    weights: Future[str]
    uid: str
    planned_failure: str | None = None
    deleted: bool = False
    pace: Pace | None = field(default=None, repr=False)
    deployments: list[Deployment] = field(default_factory=list, repr=False)

    def __post_init__(self) -> None:
        self.name = f"orgs/{self.org_name}/models/{self.model_arch_id}/versions/{self.number}"

    def phase(self, now: float) -> Phase:
        """Return the phase of the sync.

        :param now: Unix seconds.
        """
        if self.pace is not None:
            self.pace.reach(self.sync.share(now))
        if not self.weights.done():
            return self.sync.phase(now, Phase.RUNNING)
        return self.sync.phase(now, Phase.SUCCEEDED if self.failure() is None else Phase.FAILED)

    def failure(self) -> str | None:
        """Return the reason for which the sync fails, as far as it is known; None if it does not fail."""
        if self.planned_failure is not None:
            return self.planned_failure
        if self.weights.done() and (error := self.weights.exception()) is not None:
            return str(error)
        return None

    def system_fingerprint(self) -> str:
        """The fingerprint in inference responses of this version; only for a version whose sync is done."""
        fingerprint = f"fp_{self.weights.result()[:16]}"
        return f"{fingerprint}-{self.fingerprint_suffix}" if self.fingerprint_suffix else fingerprint


class VersionRegistry:
    """The versions of one architecture in one organization, oldest first, by number and by alias."""

    def __init__(self, org_name: str, model_arch_id: str, *, next_number: int = 1) -> None:
        self.org_name = org_name
        self.model_arch_id = model_arch_id
        self.next_number = next_number
        self._versions: dict[int, ModelVersion] = {}
        # An alias never looks like a number.
        self._by_id: dict[str, ModelVersion] = {}

    def __iter__(self) -> Iterator[ModelVersion]:
        return iter(self._versions.values())

    def newest(self, count: int) -> list[ModelVersion]:
        """Return the newest versions, oldest first."""
        return list(itertools.islice(reversed(self._versions.values()), count))[::-1]

    def find(self, version_id: str) -> ModelVersion | None:
        """Return the version that has this number or this alias."""
        return self._by_id.get(version_id)

    def add(self, version: ModelVersion) -> None:
        """Add a version, whose number is the highest so far."""
        self._versions[version.number] = version
        self._by_id.update(dict.fromkeys((str(version.number), *version.aliases), version))
        self.next_number = max(self.next_number, version.number + 1)

    def set_aliases(self, version: ModelVersion, aliases: tuple[str, ...]) -> None:
        """Replace the aliases of a version; no other version may hold one of them."""
        for alias in version.aliases:
            del self._by_id[alias]
        version.aliases = aliases
        self._by_id.update(dict.fromkeys(aliases, version))

    def remove(self, version: ModelVersion) -> None:
        """Remove a version."""
        for version_id in (str(version.number), *version.aliases):
            del self._by_id[version_id]
        del self._versions[version.number]


@dataclass(eq=False)
class Deployment:
    """One rollout of a version onto an endpoint.

    :param created: Unix seconds.
    :param planned_failure: Reason for which the rollout fails; None if it succeeds.
    """

    deployment_id: str
    endpoint: Endpoint
    version: ModelVersion
    created: float
    rollout: Schedule
    planned_failure: str | None = None

    def phase(self, now: float) -> Phase:
        """Return the phase of the rollout.

        :param now: Unix seconds.
        """
        return self.rollout.phase(now, Phase.SUCCEEDED if self.planned_failure is None else Phase.FAILED)

    def in_use(self, now: float) -> bool:
        """Return whether it serves or a rollout is under way.

        :param now: Unix seconds.
        """
        return not self.phase(now).over or self.endpoint.serving(now) is self


@dataclass(eq=False)
class Endpoint:
    """A dedicated endpoint and the deployments submitted to it, oldest first.

    :param created: Unix seconds.
    :param changed: When the endpoint last changed, apart from its present deployments, in Unix seconds.
    """

    endpoint_id: str
    org_name: str
    model_arch_id: str
    created: float
    changed: float = 0
    deployments: list[Deployment] = field(default_factory=list, repr=False)

    def updated(self, now: float) -> float:
        """Return when the endpoint last changed, in Unix seconds.

        :param now: Unix seconds.
        """
        changes = itertools.chain.from_iterable((each.created, each.rollout.ends) for each in self.deployments)
        return max(self.created, self.changed, *(change for change in changes if change <= now))

    def serving(self, now: float) -> Deployment | None:
        """Return the newest complete deployment.

        :param now: Unix seconds.
        """
        complete = (each for each in reversed(self.deployments) if each.phase(now) is Phase.SUCCEEDED)
        return next(complete, None)

    def under_way(self, now: float) -> list[Deployment]:
        """Return the deployments that are queued or rolling out.

        :param now: Unix seconds.
        """
        return [each for each in self.deployments if not each.phase(now).over]
