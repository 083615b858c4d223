"""The control plane: for tests to make faults, to see what came in, and to start afresh."""

# ruff: noqa: TC001  FastAPI and pydantic evaluate annotations at run time

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, HTTPException, Query
from pydantic import BaseModel, ConfigDict, Field

from airflow_provider_cerebras.emulator import schemas
from airflow_provider_cerebras.emulator.core import CurrentEmulator
from airflow_provider_cerebras.emulator.faults import ArmedFault, FaultRule
from airflow_provider_cerebras.emulator.operations import OperationName
from airflow_provider_cerebras.emulator.request_log import LoggedRequest, Stage
from airflow_provider_cerebras.emulator.routes import endpoint_body, model_version_body
from airflow_provider_cerebras.emulator.service import Phase
from airflow_provider_cerebras.emulator.settings import ARCHITECTURES, NAME_PATTERN

router = APIRouter(prefix="/_emulator", tags=["emulator"])


class Health(BaseModel):
    """The emulator answers."""

    status: Literal["ok"] = "ok"


class Fault(BaseModel):
    """A rule in force and its counts."""

    id: int
    rule: FaultRule
    skipped: int = Field(description="Matching requests that were let pass first.")
    fired: int = Field(description="Requests that were hit.")

    @classmethod
    def of(cls, fault: ArmedFault) -> Fault:
        """A rule in force, as an answer."""
        return cls(id=fault.fault_id, rule=fault.rule, skipped=fault.skipped, fired=fault.fired)


class Faults(BaseModel):
    """The rules in force, oldest first."""

    faults: list[Fault]


class Deleted(BaseModel):
    """How many rules were ended."""

    deleted: int


class Requests(BaseModel):
    """The requests that came in, oldest first."""

    requests: list[LoggedRequest]


class NewEndpoint(BaseModel):
    """An endpoint to be added."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    endpoint_id: str = Field(pattern=NAME_PATTERN)
    model_arch_id: Literal["gpt-oss-120b", "llama3.1-8b"]


class VersionState(BaseModel):
    """A version, and what the API does not tell of it."""

    model_config = ConfigDict(protected_namespaces=())

    version: schemas.ModelVersion
    weights_digest: str | None = Field(description="Hexadecimal; null as long as or because it is not known.")


class EndpointState(BaseModel):
    """An endpoint with all its deployments, listed or not."""

    endpoint: schemas.EndpointStatus
    serving: str | None = Field(description="Name of the version that answers inference requests.")


class State(BaseModel):
    """Everything that the emulated service knows."""

    now: float = Field(description="The emulator's time in Unix seconds.")
    versions: list[VersionState]
    endpoints: list[EndpointState]


@router.get("/health")
async def health() -> Health:
    """Whether the emulator is up."""
    return Health()


@router.get("/faults")
async def list_faults(emulator: CurrentEmulator) -> Faults:
    """The rules in force, used up or not."""
    return Faults(faults=[Fault.of(fault) for fault in emulator.faults.all()])


@router.post("/faults", status_code=201)
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


@router.get("/requests")
async def list_requests(
    emulator: CurrentEmulator,
    operation: Annotated[OperationName | None, Query(description="Only this call's.")] = None,
    stage: Annotated[Stage | None, Query(description="Only those that got just so far.")] = None,
    wait: Annotated[
        float, Query(ge=0, le=600, description="Seconds to wait for there to be any, if there is none yet.")
    ] = 0,
) -> Requests:
    """The requests that came in, but for those to the control plane."""
    return Requests(requests=await emulator.log.wait_for(operation, stage, wait))


@router.post("/endpoints", status_code=201)
async def add_endpoint(endpoint: NewEndpoint, emulator: CurrentEmulator) -> NewEndpoint:
    """Give the organization one endpoint more, until the next reset."""
    emulator.service.add_endpoint(endpoint.endpoint_id, endpoint.model_arch_id)
    return endpoint


@router.post("/reset")
async def reset(emulator: CurrentEmulator) -> Health:
    """Go back to the start: no versions, no deployments, no fault rules, an empty log; held requests are dropped."""
    emulator.reset()
    return Health()


@router.get("/state", response_model_exclude_unset=True)
async def state(emulator: CurrentEmulator) -> State:
    """Everything that the emulated service knows."""
    service, settings = emulator.service, emulator.settings
    now = service.now()
    versions = [
        VersionState(
            version=model_version_body(version, now, settings),
            weights_digest=version.weights.result() if version.phase(now) is Phase.SUCCEEDED else None,
        )
        for arch in ARCHITECTURES
        for version in service.model_versions(settings.org, arch)
    ]
    endpoints = [
        EndpointState(
            endpoint=endpoint_body(endpoint, endpoint.deployments, now, settings),
            serving=deployment.version.name if (deployment := endpoint.serving(now)) else None,
        )
        for endpoint in service.endpoints(settings.org)
    ]
    return State(now=now, versions=versions, endpoints=endpoints)
