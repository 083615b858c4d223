"""Bodies of the control plane's requests and responses."""

# ruff: noqa: TC001  pydantic evaluates annotations at run time

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from airflow_provider_cerebras.emulator.api import schemas
from airflow_provider_cerebras.emulator.api.routes import endpoint_body, model_version_body
from airflow_provider_cerebras.emulator.faults.profiles import ProfileName
from airflow_provider_cerebras.emulator.faults.request_log import LoggedRequest
from airflow_provider_cerebras.emulator.faults.rules import ArmedFault, FaultRule
from airflow_provider_cerebras.emulator.service.answers import VersionAnswers
from airflow_provider_cerebras.emulator.service.organizations import ApiKey, Name
from airflow_provider_cerebras.emulator.service.resources import Deployment, Endpoint, ModelVersion, Phase
from airflow_provider_cerebras.emulator.service.state import Organization
from airflow_provider_cerebras.emulator.settings import Behaviour


class Strict(BaseModel):
    """The body of a request to the control plane. An unknown field is refused, so that a misspelled one is noticed."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())


class Shown(BaseModel):
    """The body of a response of the control plane."""

    model_config = ConfigDict(protected_namespaces=())


class Health(Shown):
    """The emulator is up."""

    status: Literal["ok"] = "ok"


class Fault(Shown):
    """A rule in force and its counts."""

    id: int
    rule: FaultRule
    profile: str | None = Field(description="The profile that it is part of, if it is.")
    skipped: int = Field(description="Matching requests that were let pass first.")
    fired: int = Field(description="Requests that were hit.")

    @classmethod
    def of(cls, fault: ArmedFault) -> Fault:
        """Return the response body of a rule."""
        return cls(id=fault.fault_id, rule=fault.rule, profile=fault.profile, skipped=fault.skipped, fired=fault.fired)


class Faults(Shown):
    """The rules in force, oldest first."""

    faults: list[Fault]


class Deleted(Shown):
    """The number of rules that were removed."""

    deleted: int


class Answers(Shown):
    """The answers in force, one set for each version."""

    answers: list[VersionAnswers]


class Profile(Shown):
    """A named set of rules."""

    name: ProfileName
    description: str
    rules: list[FaultRule]


class Profiles(Shown):
    """All of them."""

    profiles: list[Profile]


class Requests(Shown):
    """The requests that came in, oldest first."""

    requests: list[LoggedRequest]


class ClockState(Shown):
    """The emulator's time, and whether it is stopped."""

    now: float = Field(description="Unix seconds.")
    frozen: bool = Field(description="Whether it stands still.")
    scale: float = Field(description="Emulated seconds in a real one, while it does not stand still.")


class ClockMove(Strict):
    """A change of the clock."""

    set: float | None = Field(None, allow_inf_nan=False, description="Unix seconds to jump to; not into the past.")
    advance: float | None = Field(None, ge=0, allow_inf_nan=False, description="Seconds to jump ahead.")
    frozen: bool | None = Field(None, description="Whether to stand still from then on; null is as before.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.set is not None and self.advance is not None:
            raise ValueError("set and advance exclude each other")
        if self.set is self.advance is self.frozen is None:
            raise ValueError("one of set, advance and frozen is needed")
        return self


class NewArchitecture(Strict):
    """An architecture to add."""

    model_arch_id: Name
    org_name: Name | None = Field(None, description="Null is the first organization.")


class NewEndpoint(NewArchitecture):
    """An endpoint to add."""

    endpoint_id: Name


class Keys(Strict):
    """The keys of an organization; null keeps the present ones."""

    management_keys: tuple[ApiKey, ...] | None = None
    inference_keys: tuple[ApiKey, ...] | None = None


class OrganizationState(Shown):
    """An organization, without its keys."""

    name: str
    model_architectures: list[str]
    endpoints: list[str] = Field(description="Their ids.")
    management_keys: int = Field(description="How many there are.")
    inference_keys: int = Field(description="How many there are.")

    @classmethod
    def of(cls, organization: Organization) -> OrganizationState:
        """Return the response body of an organization."""
        return cls(
            name=organization.name,
            model_architectures=list(organization.registries),
            endpoints=list(organization.endpoints),
            management_keys=len(organization.keys["management"]),
            inference_keys=len(organization.keys["inference"]),
        )


class Organizations(Shown):
    """All of them."""

    organizations: list[OrganizationState]


class VersionState(Shown):
    """A version, with the state that the API does not report."""

    version: schemas.ModelVersion
    created: float = Field(description="Unix seconds.")
    sync_begins: float = Field(description="Unix seconds.")
    sync_ends: float = Field(description="Unix seconds, at the earliest: the weights must have been read, too.")
    weights_digest: str | None = Field(description="Hexadecimal; null as long as or because it is not known.")

    @classmethod
    def of(cls, version: ModelVersion, now: float, behaviour: Behaviour) -> VersionState:
        """Return the response body of a version."""
        return cls(
            version=model_version_body(version, now, behaviour),
            created=version.created,
            sync_begins=version.sync.begins,
            sync_ends=version.sync.ends,
            weights_digest=version.weights.result() if version.phase(now) is Phase.SUCCEEDED else None,
        )


class Rollout(Shown):
    """The state of a deployment that the API does not report."""

    deployment_id: str
    begins: float = Field(description="Unix seconds.")
    ends: float = Field(description="Unix seconds.")
    failure: str | None = Field(description="Why it has failed; null as long as or because it has not.")

    @classmethod
    def of(cls, deployment: Deployment, now: float) -> Rollout:
        """Return the response body of a deployment."""
        return cls(
            deployment_id=deployment.deployment_id,
            begins=deployment.rollout.begins,
            ends=deployment.rollout.ends,
            failure=deployment.planned_failure if deployment.phase(now) is Phase.FAILED else None,
        )


class EndpointState(Shown):
    """An endpoint with all its deployments, listed or not."""

    endpoint: schemas.EndpointStatus
    serving: str | None = Field(description="Name of the version that answers inference requests.")
    rollouts: list[Rollout]

    @classmethod
    def of(cls, endpoint: Endpoint, now: float, behaviour: Behaviour) -> EndpointState:
        """Return the response body of an endpoint."""
        return cls(
            endpoint=endpoint_body(endpoint, endpoint.deployments, now, behaviour),
            serving=deployment.version.name if (deployment := endpoint.serving(now)) else None,
            rollouts=[Rollout.of(deployment, now) for deployment in endpoint.deployments],
        )


class State(Shown):
    """The whole state of the emulated service."""

    now: float = Field(description="The emulator's time in Unix seconds.")
    organizations: list[OrganizationState]
    versions: list[VersionState] = Field(description="Of each architecture the oldest first.")
    endpoints: list[EndpointState]
