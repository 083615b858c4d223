"""The control plane: for tests to make faults, to move time, to see what came in, and to start afresh."""

# ruff: noqa: TC001  FastAPI and pydantic evaluate annotations at run time

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from fastapi import APIRouter, Body, HTTPException, Query
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from airflow_provider_cerebras.emulator import schemas
from airflow_provider_cerebras.emulator.clock import BackwardsInTime
from airflow_provider_cerebras.emulator.core import CurrentEmulator, CurrentService
from airflow_provider_cerebras.emulator.faults import ArmedFault, FaultRule
from airflow_provider_cerebras.emulator.operations import OperationName
from airflow_provider_cerebras.emulator.organizations import ApiKey, Name, OrganizationConfig
from airflow_provider_cerebras.emulator.profiles import PROFILES, ProfileName
from airflow_provider_cerebras.emulator.request_log import LoggedRequest, Stage
from airflow_provider_cerebras.emulator.resources import Deployment, Endpoint, ModelVersion, Phase
from airflow_provider_cerebras.emulator.routes import endpoint_body, model_version_body
from airflow_provider_cerebras.emulator.service import Organization, Service
from airflow_provider_cerebras.emulator.settings import Behaviour

router = APIRouter(prefix="/_emulator", tags=["emulator"])


class Strict(BaseModel):
    """What is sent to the control plane; a field that is not known is refused, so that a misspelt one is noticed."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())


class Shown(BaseModel):
    """What the control plane answers."""

    model_config = ConfigDict(protected_namespaces=())


class Health(Shown):
    """The emulator answers."""

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
        """A rule in force, as an answer."""
        return cls(id=fault.fault_id, rule=fault.rule, profile=fault.profile, skipped=fault.skipped, fired=fault.fired)


class Faults(Shown):
    """The rules in force, oldest first."""

    faults: list[Fault]


class Deleted(Shown):
    """How many rules were ended."""

    deleted: int


class Profile(Shown):
    """A named set of rules."""

    name: ProfileName
    description: str
    rules: list[FaultRule]


class Profiles(Shown):
    """All there are."""

    profiles: list[Profile]


class Requests(Shown):
    """The requests that came in, oldest first."""

    requests: list[LoggedRequest]


class ClockState(Shown):
    """The emulator's time."""

    now: float = Field(description="Unix seconds.")
    frozen: bool = Field(description="Whether it stands still.")
    scale: float = Field(description="Emulated seconds in a real one, while it does not stand still.")


class ClockMove(Strict):
    """What the clock is to do."""

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
    """An architecture to be added."""

    model_arch_id: Name
    org_name: Name | None = Field(None, description="Null is the first organization.")


class NewEndpoint(NewArchitecture):
    """An endpoint to be added."""

    endpoint_id: Name


class Keys(Strict):
    """The keys of an organization; null leaves those that it has."""

    management_keys: tuple[ApiKey, ...] | None = None
    inference_keys: tuple[ApiKey, ...] | None = None


class OrganizationState(Shown):
    """An organization; its keys are not for showing."""

    name: str
    model_architectures: list[str]
    endpoints: list[str] = Field(description="Their ids.")
    management_keys: int = Field(description="How many there are.")
    inference_keys: int = Field(description="How many there are.")

    @classmethod
    def of(cls, organization: Organization) -> OrganizationState:
        """An organization, as an answer."""
        return cls(
            name=organization.name,
            model_architectures=list(organization.shelves),
            endpoints=list(organization.endpoints),
            management_keys=len(organization.keys["management"]),
            inference_keys=len(organization.keys["inference"]),
        )


class Organizations(Shown):
    """All there are."""

    organizations: list[OrganizationState]


class VersionState(Shown):
    """A version, and what the API does not tell of it."""

    version: schemas.ModelVersion
    created: float = Field(description="Unix seconds.")
    sync_begins: float = Field(description="Unix seconds.")
    sync_ends: float = Field(description="Unix seconds, at the earliest: the weights must have been read, too.")
    weights_digest: str | None = Field(description="Hexadecimal; null as long as or because it is not known.")

    @classmethod
    def of(cls, version: ModelVersion, now: float, behaviour: Behaviour) -> VersionState:
        """A version, as an answer."""
        return cls(
            version=model_version_body(version, now, behaviour),
            created=version.created,
            sync_begins=version.sync.begins,
            sync_ends=version.sync.ends,
            weights_digest=version.weights.result() if version.phase(now) is Phase.SUCCEEDED else None,
        )


class Rollout(Shown):
    """What the API does not tell of a deployment."""

    deployment_id: str
    begins: float = Field(description="Unix seconds.")
    ends: float = Field(description="Unix seconds.")
    failure: str | None = Field(description="Why it has failed; null as long as or because it has not.")

    @classmethod
    def of(cls, deployment: Deployment, now: float) -> Rollout:
        """A deployment, as an answer."""
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
        """An endpoint, as an answer."""
        return cls(
            endpoint=endpoint_body(endpoint, endpoint.deployments, now, behaviour),
            serving=deployment.version.name if (deployment := endpoint.serving(now)) else None,
            rollouts=[Rollout.of(deployment, now) for deployment in endpoint.deployments],
        )


class State(Shown):
    """Everything that the emulated service knows."""

    now: float = Field(description="The emulator's time in Unix seconds.")
    organizations: list[OrganizationState]
    versions: list[VersionState] = Field(description="Of each architecture the oldest first.")
    endpoints: list[EndpointState]


@router.get("/health")
async def health() -> Health:
    """Whether the emulator is up."""
    return Health()


@router.get("/faults", response_model_exclude_unset=True)
async def list_faults(emulator: CurrentEmulator) -> Faults:
    """The rules in force, used up or not."""
    return Faults(faults=[Fault.of(fault) for fault in emulator.faults.all()])


@router.post("/faults", status_code=201, response_model_exclude_unset=True)
async def add_fault(rule: FaultRule, emulator: CurrentEmulator) -> Fault:
    """Put a rule in force."""
    return Fault.of(emulator.faults.add(rule))


@router.delete("/faults")
async def delete_faults(emulator: CurrentEmulator) -> Deleted:
    """End all rules; requests that they hold go on."""
    return Deleted(deleted=emulator.faults.clear())


@router.delete("/faults/{fault_id}")
async def delete_fault(fault_id: int, emulator: CurrentEmulator) -> Deleted:
    """End a rule; requests that it holds go on."""
    if not emulator.faults.delete(fault_id):
        raise HTTPException(404, f"There is no fault rule {fault_id}.")
    return Deleted(deleted=1)


@router.get("/profiles", response_model_exclude_unset=True)
async def list_profiles() -> Profiles:
    """The sets of rules that have a name."""
    return Profiles(
        profiles=[
            Profile(name=name, description=profile.description, rules=list(profile.rules))
            for name, profile in PROFILES.items()
        ]
    )


@router.post("/profiles/{name}", status_code=201, response_model_exclude_unset=True)
async def begin_profile(name: ProfileName, emulator: CurrentEmulator) -> Faults:
    """Put the rules of a profile in force, anew if they are."""
    return Faults(faults=[Fault.of(fault) for fault in emulator.begin_profile(name)])


@router.delete("/profiles/{name}")
async def end_profile(name: ProfileName, emulator: CurrentEmulator) -> Deleted:
    """End the rules of a profile."""
    return Deleted(deleted=emulator.faults.end_profile(name))


@router.get("/requests")
async def list_requests(
    emulator: CurrentEmulator,
    operation: Annotated[OperationName | None, Query(description="Only this call's.")] = None,
    stage: Annotated[Stage | None, Query(description="Only those that got just so far.")] = None,
    wait: Annotated[
        float, Query(ge=0, le=600, description="Seconds to wait for there to be any, if there is none yet.")
    ] = 0,
    newest: Annotated[int | None, Query(ge=0, description="At most so many, the newest ones.")] = None,
) -> Requests:
    """The requests that came in, but for those to the control plane."""
    return Requests(requests=await emulator.log.wait_for(operation, stage, wait, newest))


@router.get("/clock")
async def read_clock(emulator: CurrentEmulator) -> ClockState:
    """The emulator's time."""
    clock = emulator.clock
    return ClockState(now=clock(), frozen=clock.frozen, scale=clock.scale)


@router.post("/clock")
async def move_clock(move: ClockMove, emulator: CurrentEmulator) -> ClockState:
    """Jump ahead, stand still or run on."""
    try:
        emulator.clock.move(to=move.set, by=move.advance or 0, frozen=move.frozen)
    except BackwardsInTime as error:
        raise HTTPException(409, str(error)) from error
    emulator.keep_clock()
    return await read_clock(emulator)


@router.get("/settings")
async def read_settings(service: CurrentService) -> Behaviour:
    """How the service behaves where the API's documentation is silent."""
    return service.behaviour


@router.patch("/settings")
async def change_settings(changes: Annotated[dict[str, Any], Body()], service: CurrentService) -> Behaviour:
    """Change how the service behaves from now on, in the fields that are named."""
    try:
        service.behaviour = Behaviour.model_validate({**service.behaviour.model_dump(), **changes})
    except ValidationError as error:
        raise RequestValidationError([{**each, "loc": ("body", *each["loc"])} for each in error.errors()]) from error
    return service.behaviour


@router.get("/organizations")
async def list_organizations(service: CurrentService) -> Organizations:
    """The organizations, oldest first."""
    return Organizations(organizations=[OrganizationState.of(each) for each in service.organizations()])


@router.post("/organizations", status_code=201)
async def add_organization(organization: OrganizationConfig, service: CurrentService) -> OrganizationState:
    """One organization more, until the next reset."""
    return OrganizationState.of(service.add_organization(organization))


@router.put("/organizations/{org_name}/keys")
async def set_keys(org_name: str, keys: Keys, service: CurrentService) -> OrganizationState:
    """Give an organization other keys, until the next reset; the ones that it had are void at once."""
    organization = _organization(service, org_name)
    service.set_keys(organization.name, management=keys.management_keys, inference=keys.inference_keys)
    return OrganizationState.of(organization)


@router.post("/architectures", status_code=201)
async def add_architecture(architecture: NewArchitecture, service: CurrentService) -> NewArchitecture:
    """Give an organization access to one architecture more, until the next reset."""
    organization = _organization(service, architecture.org_name)
    service.add_architecture(organization.name, architecture.model_arch_id)
    return architecture.model_copy(update={"org_name": organization.name})


@router.post("/endpoints", status_code=201)
async def add_endpoint(endpoint: NewEndpoint, service: CurrentService) -> NewEndpoint:
    """Give an organization one endpoint more, until the next reset."""
    organization = _organization(service, endpoint.org_name)
    service.add_endpoint(organization.name, endpoint.endpoint_id, endpoint.model_arch_id)
    return endpoint.model_copy(update={"org_name": organization.name})


@router.post("/reset")
async def reset(emulator: CurrentEmulator) -> Health:
    """Go back to the start: what the settings say, an empty log, the machine's time; held requests are dropped."""
    emulator.reset()
    return Health()


@router.get("/state", response_model_exclude_unset=True)
async def state(
    service: CurrentService,
    newest: Annotated[
        int | None, Query(ge=0, description="At most so many versions of each architecture, the newest ones.")
    ] = None,
) -> State:
    """Everything that the emulated service knows."""
    now, behaviour = service.now(), service.behaviour
    organizations = service.organizations()
    shelves = [shelf for each in organizations for shelf in each.shelves.values()]
    return State(
        now=now,
        organizations=[OrganizationState.of(each) for each in organizations],
        versions=[
            VersionState.of(version, now, behaviour)
            for shelf in shelves
            for version in (shelf if newest is None else shelf.newest(newest))
        ],
        endpoints=[
            EndpointState.of(endpoint, now, behaviour)
            for organization in organizations
            for endpoint in organization.endpoints.values()
        ],
    )


def _organization(service: Service, name: str | None) -> Organization:
    """The organization of a name; None is the first."""
    organizations = service.organizations()
    found = [each for each in organizations if name in {None, each.name}]
    if not found:
        raise HTTPException(404, f"There is no organization {name}.")
    return found[0]
