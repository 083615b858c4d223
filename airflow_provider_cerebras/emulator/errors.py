"""How a refusal becomes an answer: its status and its body, in one of the two styles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from airflow_provider_cerebras.emulator.operations import INFERENCE_PREFIX
from airflow_provider_cerebras.emulator.service import (
    AliasTaken,
    ForeignOrganization,
    NotDeployable,
    NotFound,
    NothingServes,
    Refusal,
    RolloutUnderWay,
    VersionInUse,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from fastapi import FastAPI, Request

    from airflow_provider_cerebras.emulator.settings import ErrorStyle, Settings

_STATUS = {
    NotFound: 404,
    ForeignOrganization: 403,
    NotDeployable: 400,
    VersionInUse: 409,
    RolloutUnderWay: 409,
    NothingServes: 503,
}

_TYPE_AND_CODE = {
    400: ("invalid_request_error", "wrong_api_format"),
    401: ("invalid_request_error", "wrong_api_key"),
    403: ("permission_error", "forbidden"),
    404: ("not_found_error", "not_found"),
    405: ("invalid_request_error", "method_not_allowed"),
    409: ("invalid_request_error", "conflict"),
    422: ("invalid_request_error", "unprocessable"),
    503: ("service_unavailable_error", "service_unavailable"),
}


def error_body(style: ErrorStyle, status: int, message: str, param: str | None = None) -> dict[str, str | None]:
    """The body of an error answer.

    :param param: Name of the request's parameter at fault, if it is one.
    """
    if style == "fastapi":
        return {"detail": message}
    kind, code = _TYPE_AND_CODE.get(status, ("api_error", "error"))
    return {"message": message, "type": kind, "param": param, "code": code}


def validation_message(errors: Sequence[Mapping[str, Any]]) -> str:
    """What is wrong with a request, in one line."""
    return "; ".join(f"{'.'.join(str(part) for part in error['loc'])}: {error['msg']}" for error in errors)


def install_error_handlers(app: FastAPI, settings: Settings) -> None:
    """Make every refusal of the application an answer in the style that is configured.

    The inference API has its own style always; the setting is about the Management API.
    """

    def style_of(request: Request) -> ErrorStyle:
        return "inference" if request.url.path.startswith(f"{INFERENCE_PREFIX}/") else settings.error_style

    async def refused(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, Refusal)  # noqa: S101
        status = settings.alias_clash_status if isinstance(error, AliasTaken) else _STATUS[type(error)]
        return JSONResponse(error_body(style_of(request), status, str(error), error.param), status)

    async def http_error(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)  # noqa: S101
        body = error_body(style_of(request), error.status_code, error.detail)
        return JSONResponse(body, error.status_code, headers=error.headers)

    async def invalid(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)  # noqa: S101
        errors = error.errors()
        if style_of(request) == "fastapi":
            detail = [{"loc": each["loc"], "msg": each["msg"], "type": each["type"]} for each in errors]
            return JSONResponse(jsonable_encoder({"detail": detail}), 422)
        param = str(errors[0]["loc"][-1])
        return JSONResponse(error_body("inference", 400, validation_message(errors), param), 400)

    app.add_exception_handler(Refusal, refused)
    app.add_exception_handler(HTTPException, http_error)
    app.add_exception_handler(RequestValidationError, invalid)
