"""Each of the two APIs takes its own kind of key."""

# ruff: noqa: TC001  FastAPI and pydantic evaluate annotations at run time

from __future__ import annotations

import secrets
from typing import Annotated

from fastapi import Depends, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from airflow_provider_cerebras.emulator.core import CurrentEmulator

_bearer = HTTPBearer(scheme_name="BearerAuth", auto_error=False)
_Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]


async def require_management_key(emulator: CurrentEmulator, credentials: _Credentials) -> None:
    """Refuse a request to the Management API that does not carry the management key."""
    keys = emulator.settings
    _check(credentials, "management", keys.management_key, "inference", keys.inference_key)


async def require_inference_key(emulator: CurrentEmulator, credentials: _Credentials) -> None:
    """Refuse a request to the inference API that does not carry the inference key."""
    keys = emulator.settings
    _check(credentials, "inference", keys.inference_key, "management", keys.management_key)


def _check(credentials: HTTPAuthorizationCredentials | None, wanted: str, key: str, other: str, other_key: str) -> None:
    if credentials is None:
        raise _unauthorized(f"Not authenticated: send 'Authorization: Bearer <{wanted} API key>'.")
    if _same(credentials.credentials, key):
        return
    if _same(credentials.credentials, other_key):
        raise _unauthorized(f"Wrong kind of key: the {other} API key was sent, the {wanted} API key is needed here.")
    raise _unauthorized(f"Wrong API key: it is not a valid {wanted} API key.")


def _same(one: str, other: str) -> bool:
    return secrets.compare_digest(one.encode(), other.encode())


def _unauthorized(message: str) -> HTTPException:
    return HTTPException(401, message, headers={"WWW-Authenticate": "Bearer"})
