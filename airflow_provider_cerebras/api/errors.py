"""The hierarchy of errors between client and service, and the choice of one by a response.

::

    CerebrasError
      CerebrasAPIError           the service responded, and not with success
        BadRequest               400, 422
        Unauthorized             401
        Forbidden                403
        NotFound                 404
        Conflict                 409
        RateLimited              429
        ServerError              5xx
      CerebrasTransportError     no response came, and sending again does no harm
      OutcomeUnknown             a request that must not be sent twice may or may not have been acted on
      UnexpectedResponse         a response that cannot be understood
"""

from __future__ import annotations

import codecs
import html
import json
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from airflow_provider_cerebras.api._limits import MAX_ERROR_BYTES
from airflow_provider_cerebras.api._redaction import redact, redactor_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MAX_MESSAGE_LENGTH = 500
"""Number of characters of the service's message that an error repeats."""
_ERROR_KEYS = ("detail", "error", "message")


class CerebrasError(Exception):
    """Base of everything that this package raises about the service. The message ends with what the user can do.

    :ivar retry_after: seconds that the service asked us to wait, if it did.
    :ivar hint: what the user can do.
    """

    retry_after: float | None = None
    hint: str | None = None

    def without_hint(self) -> str:
        """Return the message for a line of a log that goes on to say what is being done about it."""
        return f"{self._said().rstrip('.')}."

    def _said(self) -> str:
        return super().__str__()

    def __str__(self) -> str:
        return f"{self.without_hint()} {self.hint}" if self.hint else self._said()


class CerebrasAPIError(CerebrasError):
    """The service responded with an error.

    :param message: the service's message, without markup and without keys.
    :param status_code: HTTP status.
    :param method: HTTP method of the request.
    :param url: URL of the request; it never holds a secret.
    :param request_id: the service's id of the request, if it gave one; its support will ask for it.
    :param retry_after: seconds that the service asked us to wait, if it did.
    :param hint: what the user can check.
    :param is_from_api: whether the body is one that the API sends (a JSON object with ``detail``, ``error`` or
        ``message``). If not, something in front of the service sent it, or the base URL is wrong, so it says nothing
        about what was asked for.
    """

    def __init__(
        self,
        message: str,
        *,
        status_code: int,
        method: str,
        url: str,
        request_id: str | None = None,
        retry_after: float | None = None,
        hint: str | None = None,
        is_from_api: bool = False,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status_code = status_code
        self.method = method
        self.url = url
        self.request_id = request_id
        self.retry_after = retry_after
        self.hint = hint
        self.is_from_api = is_from_api

    def _said(self) -> str:
        request = f" (request {self.request_id})" if self.request_id else ""
        return f"{self.method} {self.url} answered {self.status_code}{request}: {self.message}"

    def __reduce__(self) -> tuple[object, ...]:
        # The default calls the class with the message alone, which its keyword arguments do not allow.
        return (_restore, (type(self), self.message, self.__dict__))


class BadRequest(CerebrasAPIError):
    """The service does not accept the request as it is (400, 422)."""


class Unauthorized(CerebrasAPIError):
    """The key was not accepted (401)."""


class Forbidden(CerebrasAPIError):
    """The key may not do this (403)."""


class NotFound(CerebrasAPIError):
    """There is no such thing, or it is not visible with this key (404).

    Only if ``is_from_api`` is set: any other 404 does not say that something does not exist.
    """


class Conflict(CerebrasAPIError):
    """The request conflicts with the state of the service (409)."""


class RateLimited(CerebrasAPIError):
    """Too many requests; ``retry_after`` is the seconds that the service asked for, if it did (429)."""


class ServerError(CerebrasAPIError):
    """The service or something in front of it has a problem (5xx)."""


class CerebrasTransportError(CerebrasError):
    """No response came. The request was harmless to send again, or cannot have been acted on."""

    hint: str | None = (
        "Try again. If it lasts, look at the network and its proxy, or raise request_timeout of the connection."
    )


class OutcomeUnknown(CerebrasError):
    """A request that creates something has an unknown outcome: check the service before sending it again.

    ``retry_after`` is the seconds that the service asked for, if it did.

    :ivar is_error_in_success: whether the response had the status of a success and said an error. If nothing is found
        then, sending it again will hardly help.
    """

    hint = "Look whether it was done before you send it again; the retry of a durable task does so by itself."
    is_error_in_success = False


class UnexpectedResponse(CerebrasError):
    """A response that is no error and cannot be understood: a redirect, a body that is not as documented."""

    hint = "If it comes again, check the base URL, and whether there is a later version of this provider."


_CLASSES: Mapping[int, type[CerebrasAPIError]] = {
    400: BadRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    422: BadRequest,
    429: RateLimited,
}
PERMANENT = (BadRequest, Unauthorized, Forbidden, NotFound)
"""Responses that stay the same however often the request is sent."""

_SAME_AGAIN = "The same request would get the same response: change what the service objects to."
_HINTS: Mapping[int, str] = {
    400: _SAME_AGAIN,
    422: _SAME_AGAIN,
    401: (
        "Check the key{place}: the management API takes the management API key and the inference API the inference API "
        "key, and they are not the same."
    ),
    403: (
        "Check that the key{place} belongs to the organization, that org_name is the customer management organization "
        "name (not the org_id), and that the Private Preview is enabled for it."
    ),
    404: (
        "Compare the name with what `python -m airflow_provider_cerebras status` or the console lists, and check that "
        "org_name is the customer management organization name (not the org_id)."
    ),
    409: "Look what else has the alias or changes the same thing, then try again.",
}
_LIMITED = "Try again later, and send fewer requests at a time."
_UNAVAILABLE = "Try again later. If it lasts, tell Cerebras the id of the request, or its time and URL."
_NOT_FROM_API: Mapping[int, str] = {
    **dict.fromkeys(
        (400, 401, 403, 405, 407, 409, 422),
        "The response is not one of the API, but of something in front of it, such as a gateway, a proxy or a content "
        "delivery network. It says nothing about the key or the organization. Ask who runs the network, with the id of "
        "the request.",
    ),
    404: (
        "The response is not one of the API, so it does not say that something does not exist. Check the base "
        "URL{host}: it has no path of the API at its end, such as /v1."
    ),
}


def error_from_response(
    *,
    method: str,
    url: str,
    status_code: int,
    headers: Mapping[str, str],
    body: bytes,
    secrets: Iterable[str] = (),
    cut_off: bool = False,
    key_field: str | None = None,
    connection: str | None = None,
) -> CerebrasAPIError:
    """Make the exception that a response other than success stands for.

    :param method: HTTP method of the request.
    :param url: URL of the request.
    :param status_code: HTTP status, 400 or above.
    :param headers: the response's header fields, with names in lower case or compared without case.
    :param body: the response's body.
    :param secrets: strings that must not be repeated.
    :param cut_off: whether the body may have been longer.
    :param key_field: the connection's field that holds the key.
    :param connection: id of the connection, if there is one.
    """
    cls = _CLASSES.get(status_code, ServerError if status_code >= 500 else CerebrasAPIError)
    is_from_api = is_api_error(headers, body)
    hint = (_HINTS if is_from_api else _NOT_FROM_API).get(status_code)
    if status_code == 429:
        hint = _LIMITED
    elif status_code >= 500 or status_code == 408:
        hint = _UNAVAILABLE
    place = f" in field {key_field} of connection {connection!r}" if connection and key_field else ""
    host = f" in field host of connection {connection!r}" if connection else ""
    return cls(
        read_message(body, secrets, cut_off=cut_off) or "no words",
        status_code=status_code,
        method=method,
        url=url,
        request_id=in_one_line(redact(headers.get("x-request-id") or headers.get("cf-ray") or "", secrets)) or None,
        retry_after=parse_retry_after(headers.get("retry-after"), now=parse_date(headers.get("date"))),
        hint=hint.format(place=place, host=host) if hint else None,
        is_from_api=is_from_api,
    )


def is_api_error(headers: Mapping[str, str], body: bytes) -> bool:
    """Return whether the API itself sent an error response, and not a gateway, a CDN or another service.

    :param headers: the response's header fields, compared without case or with names in lower case.
    :param body: the response's body.
    """
    if "json" not in headers.get("content-type", "json").lower():
        return False
    try:
        content = json.loads(body[:MAX_ERROR_BYTES].removeprefix(codecs.BOM_UTF8))
    except (ValueError, RecursionError):
        return False
    return isinstance(content, dict) and any(content.get(key) for key in _ERROR_KEYS)


def read_message(body: bytes, secrets: Iterable[str] = (), *, cut_off: bool = False) -> str:
    """Find the message in the body of an error, whatever its shape.

    Tried in this order: ``detail`` (a string, or FastAPI's list), ``error.message`` or ``error``, ``message``, the text
    itself without markup. One line, at most :data:`MAX_MESSAGE_LENGTH` characters, of the first 64 KiB.

    :param body: the body.
    :param secrets: strings that must not be repeated.
    :param cut_off: whether the body may have been longer.
    """
    redactor = redactor_of(tuple(secrets))
    # Before anything is cut, and once more after what was escaped is not: half a secret would not be recognized.
    cut = redactor.body(body, cut_off=cut_off)[:MAX_ERROR_BYTES]
    text = cut.decode("utf-8-sig", "replace")
    try:
        message = _message_in(json.loads(text)) or text
    except (ValueError, RecursionError):
        message = _without_markup(text)
    return in_one_line(redactor.text(message, cut_off=cut_off))


def message_in(body: bytes) -> str | None:
    """Return what a JSON document says as an error, in the shapes of :func:`read_message`, or None if it says nothing.

    :param body: the document, without secrets.
    """
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return in_one_line(_message_in(content) or "") or None


def in_one_line(text: str) -> str:
    """Make the service's message fit for one line of a log, so that it can forge no other line.

    :param text: the message.
    :return: its printable characters, at most :data:`MAX_MESSAGE_LENGTH`.
    """
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return line if len(line) <= MAX_MESSAGE_LENGTH else f"{line[: MAX_MESSAGE_LENGTH - 1]}…"


def parse_retry_after(value: str | None, *, now: datetime | None = None) -> float | None:
    """Read a ``Retry-After`` field in either of its two forms.

    :param value: seconds, or an HTTP date.
    :param now: the present by the service's clock (its ``Date``), for the second form; default: by ours.
    :return: seconds from now, never negative; None where there is no field or it cannot be read.
    """
    if value is None:
        return None
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", value.strip()):
        return float(value)
    moment = parse_date(value)
    return None if moment is None else max(0.0, (moment - (now or datetime.now(UTC))).total_seconds())


def parse_date(value: str | None) -> datetime | None:
    """Read a field such as ``Date``; None where there is none or it cannot be read.

    :param value: the field's value.
    """
    try:
        moment = parsedate_to_datetime(value or "")
    except (ValueError, OverflowError):
        return None
    # A date without a zone is in UTC by the standard.
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _restore(cls: type[CerebrasAPIError], message: str, state: dict[str, object]) -> CerebrasAPIError:
    error = cls.__new__(cls, message)
    error.__dict__.update(state)
    return error


def _message_in(content: object) -> str | None:
    if not isinstance(content, dict):
        return None
    detail = content.get("detail")
    if isinstance(detail, list):
        return "; ".join(_validation_error(item) for item in detail)
    error = content.get("error")
    inner = error.get("message") if isinstance(error, dict) else error
    for candidate in (detail, inner, content.get("message")):
        if isinstance(candidate, str) and candidate:
            return candidate
    return None


def _validation_error(item: object) -> str:
    if not isinstance(item, dict):
        return str(item)
    loc = item.get("loc")
    place = ".".join(map(str, loc)) if isinstance(loc, list) else str(loc or "")
    message = str(item.get("msg") or item)
    return f"{place}: {message}" if place else message


def _without_markup(text: str) -> str:
    text = re.sub(r"(?is)<(script|style)\b.*?(</\1\s*>|$)", " ", text)
    text = re.sub(r"(?s)<!--.*?(-->|$)|<[^>]*(>|$)", " ", text)
    return html.unescape(text)
