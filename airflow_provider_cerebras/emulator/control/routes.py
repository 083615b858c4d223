"""The control plane: tests use it to inject faults, move time, read the request log, and reset the emulator."""

# ruff: noqa: TC001  FastAPI and pydantic evaluate annotations at run time

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, HTTPException, Query
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from airflow_provider_cerebras.emulator.api.operations import OperationName
from airflow_provider_cerebras.emulator.control.schemas import (
    Answers,
    ClockMove,
    ClockState,
    Deleted,
    EndpointState,
    Fault,
    Faults,
    Health,
    Keys,
    NewArchitecture,
    NewEndpoint,
    Organizations,
    OrganizationState,
    Profile,
    Profiles,
    Requests,
    State,
    VersionState,
)
from airflow_provider_cerebras.emulator.core import CurrentEmulator, CurrentService
from airflow_provider_cerebras.emulator.faults.profiles import PROFILES, ProfileName
from airflow_provider_cerebras.emulator.faults.request_log import Stage
from airflow_provider_cerebras.emulator.faults.rules import FaultRule
from airflow_provider_cerebras.emulator.service.answers import VersionAnswers
from airflow_provider_cerebras.emulator.service.clock import BackwardsInTime
from airflow_provider_cerebras.emulator.service.organizations import OrganizationConfig
from airflow_provider_cerebras.emulator.service.service import Service
from airflow_provider_cerebras.emulator.service.state import Organization
from airflow_provider_cerebras.emulator.settings import Behaviour

router = APIRouter(prefix="/_emulator", tags=["emulator"])


@router.get("/health")
async def health() -> Health:
    """Return 200 if the emulator is up."""
    return Health()


@router.get("/faults", response_model_exclude_unset=True)
async def list_faults(emulator: CurrentEmulator) -> Faults:
    """List the rules in force, exhausted ones included."""
    return Faults(faults=[Fault.of(fault) for fault in emulator.faults.all()])


@router.post("/faults", status_code=201, response_model_exclude_unset=True)
async def add_fault(rule: FaultRule, emulator: CurrentEmulator) -> Fault:
    """Add a rule."""
    return Fault.of(emulator.faults.add(rule))


@router.delete("/faults")
async def delete_faults(emulator: CurrentEmulator) -> Deleted:
    """Remove all rules; requests that they hold continue."""
    return Deleted(deleted=emulator.faults.clear())


@router.delete("/faults/{fault_id}")
async def delete_fault(fault_id: int, emulator: CurrentEmulator) -> Deleted:
    """Remove a rule; requests that it holds continue."""
    if not emulator.faults.delete(fault_id):
        raise HTTPException(404, f"There is no fault rule {fault_id}.")
    return Deleted(deleted=1)


@router.get("/answers")
async def list_answers(emulator: CurrentEmulator) -> Answers:
    """List the answers that were set for model versions."""
    return Answers(answers=emulator.answers.all())


@router.put("/answers")
async def put_answers(answers: VersionAnswers, emulator: CurrentEmulator) -> VersionAnswers:
    """Set the answers of a version, in place of those set before."""
    emulator.answers.put(answers)
    return answers


@router.delete("/answers")
async def delete_answers(emulator: CurrentEmulator) -> Deleted:
    """Remove all answers that were set."""
    return Deleted(deleted=emulator.answers.clear())


@router.get("/profiles", response_model_exclude_unset=True)
async def list_profiles() -> Profiles:
    """List the named sets of rules."""
    return Profiles(
        profiles=[
            Profile(name=name, description=profile.description, rules=list(profile.rules))
            for name, profile in PROFILES.items()
        ]
    )


@router.post("/profiles/{name}", status_code=201, response_model_exclude_unset=True)
async def begin_profile(name: ProfileName, emulator: CurrentEmulator) -> Faults:
    """Add the rules of a profile, and replace them if they are in force already."""
    return Faults(faults=[Fault.of(fault) for fault in emulator.begin_profile(name)])


@router.delete("/profiles/{name}")
async def end_profile(name: ProfileName, emulator: CurrentEmulator) -> Deleted:
    """Remove the rules of a profile."""
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
    """List the requests that were received, without those to the control plane."""
    return Requests(requests=await emulator.log.wait_for(operation, stage, wait, newest))


@router.get("/clock")
async def read_clock(emulator: CurrentEmulator) -> ClockState:
    """Return the emulator's time."""
    clock = emulator.clock
    return ClockState(now=clock(), frozen=clock.frozen, scale=clock.scale)


@router.post("/clock")
async def move_clock(move: ClockMove, emulator: CurrentEmulator) -> ClockState:
    """Set the clock forward, stop it or start it."""
    try:
        emulator.clock.move(to=move.set, by=move.advance or 0, frozen=move.frozen)
    except BackwardsInTime as error:
        raise HTTPException(409, str(error)) from error
    emulator.keep_clock()
    return await read_clock(emulator)


@router.get("/settings")
async def read_settings(service: CurrentService) -> Behaviour:
    """Return how the service behaves where the API's documentation is silent."""
    return service.behaviour


@router.patch("/settings")
async def change_settings(changes: Annotated[dict[str, Any], Body()], service: CurrentService) -> Behaviour:
    """Change how the service behaves, in the given fields."""
    try:
        service.behaviour = Behaviour.model_validate({**service.behaviour.model_dump(), **changes})
    except ValidationError as error:
        raise RequestValidationError([{**each, "loc": ("body", *each["loc"])} for each in error.errors()]) from error
    return service.behaviour


@router.get("/organizations")
async def list_organizations(service: CurrentService) -> Organizations:
    """List the organizations, oldest first."""
    return Organizations(organizations=[OrganizationState.of(each) for each in service.organizations()])


@router.post("/organizations", status_code=201)
async def add_organization(organization: OrganizationConfig, service: CurrentService) -> OrganizationState:
    """Add an organization, until the next reset."""
    return OrganizationState.of(service.add_organization(organization))


@router.put("/organizations/{org_name}/keys")
async def set_keys(org_name: str, keys: Keys, service: CurrentService) -> OrganizationState:
    """Replace the keys of an organization, until the next reset; the old ones are invalid at once."""
    organization = _organization(service, org_name)
    service.set_keys(organization.name, management=keys.management_keys, inference=keys.inference_keys)
    return OrganizationState.of(organization)


@router.post("/architectures", status_code=201)
async def add_architecture(architecture: NewArchitecture, service: CurrentService) -> NewArchitecture:
    """Give an organization access to another architecture, until the next reset."""
    organization = _organization(service, architecture.org_name)
    service.add_architecture(organization.name, architecture.model_arch_id)
    return architecture.model_copy(update={"org_name": organization.name})


@router.post("/endpoints", status_code=201)
async def add_endpoint(endpoint: NewEndpoint, service: CurrentService) -> NewEndpoint:
    """Add an endpoint to an organization, until the next reset."""
    organization = _organization(service, endpoint.org_name)
    service.add_endpoint(organization.name, endpoint.endpoint_id, endpoint.model_arch_id)
    return endpoint.model_copy(update={"org_name": organization.name})


@router.post("/reset")
async def reset(emulator: CurrentEmulator) -> Health:
    """Return to the initial state of the settings, with an empty log and the machine's time; drop held requests."""
    emulator.reset()
    return Health()


@router.get("/state", response_model_exclude_unset=True)
async def state(
    service: CurrentService,
    newest: Annotated[
        int | None, Query(ge=0, description="At most so many versions of each architecture, the newest ones.")
    ] = None,
) -> State:
    """Return the whole state of the emulated service."""
    now, behaviour = service.now(), service.behaviour
    organizations = service.organizations()
    registries = [registry for each in organizations for registry in each.registries.values()]
    return State(
        now=now,
        organizations=[OrganizationState.of(each) for each in organizations],
        versions=[
            VersionState.of(version, now, behaviour)
            for registry in registries
            for version in (registry if newest is None else registry.newest(newest))
        ],
        endpoints=[
            EndpointState.of(endpoint, now, behaviour)
            for organization in organizations
            for endpoint in organization.endpoints.values()
        ],
    )


def _organization(service: Service, name: str | None) -> Organization:
    """Return the organization of a name; None is the first."""
    organizations = service.organizations()
    found = [each for each in organizations if name in {None, each.name}]
    if not found:
        raise HTTPException(404, f"There is no organization {name}.")
    return found[0]
