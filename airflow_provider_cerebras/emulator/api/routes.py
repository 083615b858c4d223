"""The nine calls of the Management API."""

# ruff: noqa: TC001  FastAPI and pydantic evaluate annotations at run time

from __future__ import annotations

from fastapi import APIRouter, Depends, Request

from airflow_provider_cerebras.emulator.api import operations, schemas
from airflow_provider_cerebras.emulator.api.auth import OwnEndpoint, OwnOrganization, require_management_key
from airflow_provider_cerebras.emulator.api.planned_failures import planned_failures
from airflow_provider_cerebras.emulator.api.schemas import ModelArchId, VersionId
from airflow_provider_cerebras.emulator.core import CurrentService
from airflow_provider_cerebras.emulator.service.resources import Deployment, Endpoint, ModelVersion, Phase
from airflow_provider_cerebras.emulator.settings import Behaviour

router = APIRouter(
    dependencies=[Depends(require_management_key)],
    tags=["management"],
    # With it, FastAPI leaves out the 422 that it would otherwise name.
    responses={"default": {"model": schemas.Error, "description": "Any other status."}},
)


@router.get(
    operations.LIST_MODEL_ARCHITECTURES.path,
    operation_id="get_model_archs_by_org_route_management_v1_orgs__org_name__models_get",
)
async def list_model_architectures(org_name: OwnOrganization, service: CurrentService) -> schemas.ModelArchitectureList:
    """List the architectures to which the organization has access."""
    return schemas.ModelArchitectureList(model_architectures=service.model_architectures(org_name))


@router.post(
    operations.UPLOAD_MODEL_VERSION.path,
    operation_id="upload_new_model_version_route_management_v1_orgs__org_name__models_upload_post",
)
async def upload_model_version(
    org_name: OwnOrganization, body: schemas.ModelVersionUploadRequest, service: CurrentService, request: Request
) -> schemas.ModelVersionUploadResponse:
    """Register a version and start to pull its weights."""
    version = service.upload_model_version(
        org_name,
        body.model_arch_id,
        body.model.weight_uri,
        body.model.version_aliases,
        body.model.system_fingerprint_suffix,
        planned_failure=planned_failures(request.scope).sync,
    )
    submitted = schemas.ModelVersionUploadResponseData(
        customer_s3_uri=version.weight_uri, version_aliases=list(version.aliases), sync_status="queued"
    )
    return schemas.ModelVersionUploadResponse(name=version.name, done=False, response=submitted)


@router.get(
    operations.LIST_MODEL_VERSIONS.path,
    operation_id="get_all_model_versions_route_management_v1_orgs__org_name__models__model_arch_id__versions_get",
    response_model_exclude_unset=True,
)
async def list_model_versions(
    org_name: OwnOrganization, model_arch_id: ModelArchId, service: CurrentService
) -> schemas.ModelVersionList:
    """Every version of one architecture in the organization."""
    versions, now = service.model_versions(org_name, model_arch_id), service.now()
    return schemas.ModelVersionList(
        model_versions=[model_version_body(each, now, service.behaviour) for each in versions]
    )


@router.get(
    operations.GET_MODEL_VERSION.path,
    operation_id="get_model_version_status",
    response_model_exclude_unset=True,
)
async def get_model_version(
    org_name: OwnOrganization, model_arch_id: ModelArchId, version_id: VersionId, service: CurrentService
) -> schemas.ModelVersion:
    """One version, with the progress of its sync."""
    version = service.model_version(org_name, model_arch_id, version_id)
    return model_version_body(version, service.now(), service.behaviour)


@router.patch(
    operations.UPDATE_MODEL_VERSION_ALIASES.path,
    operation_id="update_model_version_aliases_route_management_v1"
    "_orgs__org_name__models__model_arch_id__versions__version_id__patch",
)
async def update_model_version_aliases(
    org_name: OwnOrganization,
    model_arch_id: ModelArchId,
    version_id: VersionId,
    body: schemas.ModelVersionAliasesUpdateRequest,
    service: CurrentService,
) -> schemas.ModelVersionAliasesUpdateResponse:
    """Replace the aliases of a version."""
    version = service.update_model_version_aliases(org_name, model_arch_id, version_id, body.version_aliases)
    return schemas.ModelVersionAliasesUpdateResponse(name=version.name, version_aliases=list(version.aliases))


@router.delete(
    operations.DELETE_MODEL_VERSION.path,
    operation_id="delete_model_version_route_management_v1"
    "_orgs__org_name__models__model_arch_id__versions__version_id__delete",
)
async def delete_model_version(
    org_name: OwnOrganization, model_arch_id: ModelArchId, version_id: VersionId, service: CurrentService
) -> schemas.ModelVersionDeleteResponse:
    """Remove a version."""
    version = service.delete_model_version(org_name, model_arch_id, version_id)
    return schemas.ModelVersionDeleteResponse(name=version.name, deleted=True)


@router.get(operations.LIST_ENDPOINTS.path, operation_id="list_endpoints")
async def list_endpoints(org_name: OwnOrganization, service: CurrentService) -> schemas.EndpointList:
    """The dedicated endpoints which this organization can manage."""
    summaries = [
        schemas.EndpointSummary(
            endpoint_id=endpoint.endpoint_id,
            model_arch_id=endpoint.model_arch_id,
            created=int(endpoint.created),
            updated=int(endpoint.updated(service.now())),
            org_name=org_name,
        )
        for endpoint in service.endpoints(org_name)
    ]
    return schemas.EndpointList(endpoints=summaries)


@router.get(
    operations.GET_ENDPOINT.path,
    operation_id="get_endpoint_status_route_management_v1_endpoints__endpoint_id__get",
)
async def get_endpoint(endpoint: OwnEndpoint, service: CurrentService) -> schemas.EndpointStatus:
    """One endpoint, with the deployments on it."""
    return endpoint_body(endpoint, service.listed_deployments(endpoint), service.now(), service.behaviour)


@router.post(
    operations.DEPLOY_MODEL.path,
    operation_id="deploy_model_to_endpoint_route_management_v1_endpoints__endpoint_id__deployModel_post",
)
async def deploy_model(
    endpoint: OwnEndpoint, body: schemas.DeployModelRequest, service: CurrentService, request: Request
) -> schemas.DeployModelResponse:
    """Submit the rollout of a version onto an endpoint."""
    deployment = service.deploy_model(
        endpoint.endpoint_id, body.model, planned_failure=planned_failures(request.scope).rollout
    )
    submitted = schemas.DeploymentMetadata(
        deployment_id=deployment.deployment_id,
        endpoint_id=endpoint.endpoint_id,
        org_name=endpoint.org_name,
        model_arch_id=deployment.version.model_arch_id,
        version_id=deployment.version.number,
        created=int(deployment.created),
        updated=int(deployment.created),
        rollout_status="not_started",
    )
    return schemas.DeployModelResponse(name=deployment.deployment_id, done=False, response=submitted)


def model_version_body(version: ModelVersion, now: float, behaviour: Behaviour) -> schemas.ModelVersion:
    """Return a version as the API describes it.

    :param now: Unix seconds.
    :param behaviour: The spelling of a failed state.
    """
    phase = version.phase(now)
    spelling = {
        Phase.WAITING: "queued",
        Phase.RUNNING: "in_progress",
        Phase.SUCCEEDED: "done",
        Phase.FAILED: behaviour.sync_failure_status,
    }
    body = schemas.ModelVersion(
        name=version.name,
        done=phase is Phase.SUCCEEDED or (phase is Phase.FAILED and behaviour.done_on_failure),
        response=schemas.ModelVersionStatus(
            customer_s3_uri=version.weight_uri,
            version_aliases=list(version.aliases),
            sync_status=spelling[phase],
            system_fingerprint_suffix=version.fingerprint_suffix or None,
        ),
    )
    if phase is Phase.FAILED:
        body.error = schemas.ModelVersionError(message=version.failure() or "")
    return body


def endpoint_body(
    endpoint: Endpoint, deployments: list[Deployment], now: float, behaviour: Behaviour
) -> schemas.EndpointStatus:
    """Return an endpoint as the API describes it.

    :param deployments: The deployments to list.
    :param now: Unix seconds.
    :param behaviour: The spelling of a failed state.
    """
    spelling = {
        Phase.WAITING: "not_started",
        Phase.RUNNING: "in_progress",
        Phase.SUCCEEDED: "complete",
        Phase.FAILED: behaviour.rollout_failure_state,
    }
    return schemas.EndpointStatus(
        name=endpoint.endpoint_id,
        model_arch_id=endpoint.model_arch_id,
        deployed_models=[
            schemas.DeployedModel(
                id=each.deployment_id,
                model=each.version.name,
                version_alias=next(iter(each.version.aliases), None),
                created=int(each.created),
                state=spelling[each.phase(now)],
            )
            for each in deployments
        ],
        managing_org_name=endpoint.org_name,
        created=int(endpoint.created),
        updated=int(endpoint.updated(now)),
    )
