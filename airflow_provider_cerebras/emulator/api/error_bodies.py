"""The two forms that an error's body can have: FastAPI's, and the inference API's."""

from __future__ import annotations

from typing import Literal

ErrorStyle = Literal["fastapi", "inference"]

_TYPE_AND_CODE = {
    400: ("invalid_request_error", "wrong_api_format"),
    401: ("invalid_request_error", "wrong_api_key"),
    403: ("permission_error", "forbidden"),
    404: ("not_found_error", "not_found"),
    405: ("invalid_request_error", "method_not_allowed"),
    409: ("invalid_request_error", "conflict"),
    422: ("invalid_request_error", "unprocessable"),
    429: ("too_many_requests_error", "request_quota_exceeded"),
    503: ("service_unavailable_error", "service_unavailable"),
}


def error_body(style: ErrorStyle, status: int, message: str, param: str | None = None) -> dict[str, str | None]:
    """Return the body of an error response.

    :param param: Name of the request's parameter at fault, if it is one.
    """
    if style == "fastapi":
        return {"detail": message}
    kind, code = _TYPE_AND_CODE.get(status, ("api_error", "error"))
    return {"message": message, "type": kind, "param": param, "code": code}
