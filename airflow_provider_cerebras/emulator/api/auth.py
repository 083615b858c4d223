"""The keys: each of the two APIs takes its own kind."""

# ruff: noqa: TC001  FastAPI and pydantic evaluate annotations at run time

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from airflow_provider_cerebras.emulator.api.schemas import EndpointId, OrgName
from airflow_provider_cerebras.emulator.core import CurrentService
from airflow_provider_cerebras.emulator.service.errors import ForeignOrganization, NotFound
from airflow_provider_cerebras.emulator.service.resources import Endpoint

if TYPE_CHECKING:
    from airflow_provider_cerebras.emulator.service.service import Service
    from airflow_provider_cerebras.emulator.service.state import KeyKind

_bearer = HTTPBearer(scheme_name="BearerAuth", auto_error=False)
_Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]


async def require_management_key(service: CurrentService, credentials: _Credentials) -> str:
    """Return the organization whose management key a request carries; refuse any other request."""
    return _holder(service, credentials, "management", "inference")


async def require_inference_key(service: CurrentService, credentials: _Credentials) -> str:
    """Return the organization whose inference key a request carries; refuse any other request."""
    return _holder(service, credentials, "inference", "management")


ManagingOrganization = Annotated[str, Depends(require_management_key)]
AskingOrganization = Annotated[str, Depends(require_inference_key)]


async def _own_organization(org_name: OrgName, holder: ManagingOrganization) -> str:
    if org_name != holder:
        raise ForeignOrganization(org_name)
    return org_name


async def _own_endpoint(endpoint_id: EndpointId, holder: ManagingOrganization, service: CurrentService) -> Endpoint:
    endpoint = service.endpoint(endpoint_id)
    if endpoint.org_name != holder:
        # As if it were not there: its owner is not revealed.
        raise NotFound(f"Endpoint {endpoint_id} does not exist.", param="endpoint_id")
    return endpoint


OwnOrganization = Annotated[str, Depends(_own_organization)]
"""The organization in the path, which is that of the key."""

OwnEndpoint = Annotated[Endpoint, Depends(_own_endpoint)]
"""The endpoint in the path, which the key's organization manages."""


def _holder(service: Service, credentials: HTTPAuthorizationCredentials | None, wanted: KeyKind, other: KeyKind) -> str:
    if credentials is None:
        raise _unauthorized(f"Not authenticated: send 'Authorization: Bearer <{wanted} API key>'.")
    key = service.key(credentials.credentials)
    if key is None:
        raise _unauthorized(f"Wrong API key: it is not a valid {wanted} API key.")
    if key.kind != wanted:
        raise _unauthorized(f"Wrong kind of key: the {other} API key was sent, the {wanted} API key is needed here.")
    return key.org_name


def _unauthorized(message: str) -> HTTPException:
    return HTTPException(401, message, headers={"WWW-Authenticate": "Bearer"})
