"""Turns errors of the service into responses: the status, and the body in the configured style."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from airflow_provider_cerebras.emulator.api.error_bodies import error_body
from airflow_provider_cerebras.emulator.api.operations import INFERENCE_PREFIX, methods_at
from airflow_provider_cerebras.emulator.service.errors import (
    AliasTaken,
    AlreadyThere,
    ForeignOrganization,
    NotDeployable,
    NotFound,
    NothingServes,
    RolloutUnderWay,
    ServiceError,
    VersionInUse,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from fastapi import FastAPI, Request

    from airflow_provider_cerebras.emulator.api.error_bodies import ErrorStyle
    from airflow_provider_cerebras.emulator.core import Emulator

_STATUS = {
    NotFound: 404,
    ForeignOrganization: 403,
    NotDeployable: 400,
    VersionInUse: 409,
    RolloutUnderWay: 409,
    AlreadyThere: 409,
    NothingServes: 503,
}


def validation_message(errors: Sequence[Mapping[str, Any]]) -> str:
    """Describe in one line what is wrong with a request."""
    return "; ".join(f"{'.'.join(str(part) for part in error['loc'])}: {error['msg']}" for error in errors)


def install_error_handlers(app: FastAPI, emulator: Emulator) -> None:
    """Turn every error of the application into a response in the configured style.

    The inference API always has its own style; the setting is for the Management API only.
    """

    def style_of(request: Request) -> ErrorStyle:
        return (
            "inference"
            if request.url.path.startswith(f"{INFERENCE_PREFIX}/")
            else emulator.service.behaviour.error_style
        )

    async def refused(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, ServiceError)  # noqa: S101
        status = (
            emulator.service.behaviour.alias_clash_status if isinstance(error, AliasTaken) else _STATUS[type(error)]
        )
        return JSONResponse(error_body(style_of(request), status, str(error), error.param), status)

    async def http_error(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)  # noqa: S101
        body = error_body(style_of(request), error.status_code, error.detail)
        response = JSONResponse(body, error.status_code, headers=error.headers)
        # Starlette names the methods of one route, but several calls may share a path.
        if error.status_code == 405 and (methods := methods_at(request.url.path)):
            response.headers["allow"] = ", ".join(methods)
        return response

    async def invalid(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)  # noqa: S101
        methods = methods_at(request.url.path)
        if methods and request.method not in methods:
            # What a verb sets off with a colon, Starlette has taken for a part of the name before it.
            return await http_error(request, HTTPException(405))
        errors = error.errors()
        if style_of(request) == "fastapi":
            detail = [{"loc": each["loc"], "msg": each["msg"], "type": each["type"]} for each in errors]
            return JSONResponse(jsonable_encoder({"detail": detail}), 422)
        param = str(errors[0]["loc"][-1])
        return JSONResponse(error_body("inference", 400, validation_message(errors), param), 400)

    app.add_exception_handler(ServiceError, refused)
    app.add_exception_handler(HTTPException, http_error)
    app.add_exception_handler(RequestValidationError, invalid)
