"""From a response to the result of a call, or to an error of this package.

Nothing here depends on how bytes travel.
"""

from __future__ import annotations

import codecs
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import urlsplit

from pydantic import BaseModel, ValidationError
from pydantic_core import from_json

from airflow_provider_cerebras.api._limits import MAX_ERROR_BYTES, Body, BodyRefused, check_values
from airflow_provider_cerebras.api._redaction import Redactor
from airflow_provider_cerebras.api._resending import REQUEST_TIMEOUT
from airflow_provider_cerebras.api._subjects import AnotherSubject
from airflow_provider_cerebras.api.errors import (
    CerebrasError,
    CerebrasTransportError,
    OutcomeUnknown,
    UnexpectedResponse,
    error_from_response,
    in_one_line,
    message_in,
)
from airflow_provider_cerebras.api.operations import Call, Key
from airflow_provider_cerebras.api.settings import ClientSettings, address_of_proxy

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ResponseT = TypeVar("ResponseT")


class Received:
    """A response as it comes in.

    :param call: what was sent.
    """

    def __init__(self, call: Call[Any]) -> None:
        self._call = call
        self.status = 0
        self.headers: Mapping[str, str] = {}
        self.body = Body({})
        self.is_cut_off = False
        self._size = 0

    def begin(self, status: int, headers: Mapping[str, str]) -> None:
        """Take status and header fields.

        :param status: the status.
        :param headers: the header fields, compared without case.
        """
        self.status = status
        self.headers = headers
        self.body = Body(headers)

    def add(self, piece: bytes) -> bool:
        """Take a piece of the body, and return whether more is wanted."""
        self.body.add(piece)
        self._size += len(piece)
        if self.is_decided and self._size > MAX_ERROR_BYTES:
            self.is_cut_off = True
            return False
        return True

    def is_like(self, body: bytes) -> bool:
        """Return whether it is a success with the same body, so that the earlier result of parsing holds.

        :param body: one that came in whole.
        """
        return self.status >= 200 and not self.is_decided and not self.ends_with_connection and self.body.is_same(body)

    @property
    def is_decided(self) -> bool:
        """Whether the status suffices; the body holds at most a message."""
        return self.status >= 300 or (self.status >= 200 and self._call.response_model is None)

    @property
    def ends_with_connection(self) -> bool:
        """Whether nothing but the end of the connection says where the body ends."""
        return "content-length" not in self.headers and "transfer-encoding" not in self.headers

    @contextmanager
    def decides(self, *broken: type[Exception]) -> Iterator[None]:
        """Let a body break off, or be late, after a status that has decided.

        :param broken: what that ends in.
        """
        try:
            yield
        except broken:
            if not self.is_decided:
                raise
            self.is_cut_off = True


class Responses:
    """Reads responses.

    :param settings: where the API is; its secrets are in nothing that comes out.
    """

    def __init__(self, settings: ClientSettings) -> None:
        self.settings = settings
        self.secrets = settings.secrets
        self.proxy = settings.proxy_in_use()
        self._redactor = Redactor(self.secrets)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.settings.base_url!r})"

    def url(self, call: Call[Any]) -> str:
        """Return the URL of a call. It can be shown: neither a base URL nor a path may hold anything secret.

        :param call: the call.
        """
        return f"{self.settings.base_url}{call.path}"

    def conclude(self, call: Call[ResponseT], received: Received) -> bytes:
        """Return the body of a successful response, without keys, or raise what the response stands for."""
        url = self.url(call)
        if received.status >= 400:
            raise self._refusal(call, received)
        if received.status >= 300:
            raise UnexpectedResponse(f"{call.method} {url} answered {received.status}: redirects are not followed.")
        if call.response_model is None:
            return b""
        try:
            # Errors, logs and events repeat the service's messages, and a message may repeat a key.
            body = self._redactor.body(received.body.complete())
            if body and received.ends_with_connection and _is_cut_off(body):
                raise self.no_answer(call, "the connection ended before the response did")
        except BodyRefused as refusal:
            raise self.unreadable(call, f"the response {refusal}") from None
        return body

    def _refusal(self, call: Call[ResponseT], received: Received) -> CerebrasError:
        detail, is_cut_off = received.body.beginning()
        error = error_from_response(
            method=call.method,
            url=self.url(call),
            status_code=received.status,
            headers=received.headers,
            body=detail,
            secrets=self.secrets,
            cut_off=is_cut_off or received.is_cut_off,
            key_field="password" if call.key is Key.MANAGEMENT else "extra.inference_api_key",
            connection=self.settings.connection,
        )
        if not call.may_be_resent and (received.status >= 500 or received.status == REQUEST_TIMEOUT):
            return self.unknown(call, error.without_hint(), retry_after=error.retry_after)
        return error

    def read(self, call: Call[ResponseT], body: bytes) -> ResponseT:
        """Read the body of a successful response.

        :param call: what was sent.
        :param body: what :meth:`fetch_once` returned.
        :raises UnexpectedResponse: if it is not as documented.
        :raises OutcomeUnknown: likewise, for a call that must not be sent twice.
        """
        if call.response_model is None:
            return cast("ResponseT", None)
        body = body.removeprefix(codecs.BOM_UTF8)
        try:
            check_values(body)
            # The class is a pydantic model; ResponseT is not bound to one, since None is a response too.
            answer: BaseModel = cast("Any", call.response_model).model_validate_json(body)
        except BodyRefused as refusal:
            raise self.unreadable(call, f"the response {refusal}") from None
        except ValidationError as error:
            if detail := message_in(body):
                raise self._error_in_success(call, detail) from None
            raise self.unreadable(call, f"the response is not as documented: {_problems(error)}") from None
        if not answer.model_fields_set - {"error"} and (detail := message_in(body)):
            raise self._error_in_success(call, detail)
        try:
            return call.check(cast("ResponseT", answer)) if call.check else cast("ResponseT", answer)
        except AnotherSubject as another:
            raise self.unreadable(call, f"the response {another}") from None

    def _error_in_success(self, call: Call[ResponseT], detail: str) -> CerebrasError:
        error = self.unreadable(call, f"the response is an error in spite of its status: {detail}")
        if isinstance(error, OutcomeUnknown):
            error.is_error_in_success = True
        return error

    def unreadable(self, call: Call[ResponseT], why: str) -> CerebrasError:
        if not call.may_be_resent:
            return self.unknown(call, why)
        return UnexpectedResponse(f"{call.method} {self.url(call)} got no readable response: {why.rstrip('.')}.")

    def no_answer(self, call: Call[ResponseT], why: str) -> CerebrasError:
        if not call.may_be_resent:
            return self.unknown(call, why)
        return CerebrasTransportError(f"{call.method} {self.url(call)} got no complete response: {why}.")

    def unknown(self, call: Call[ResponseT], why: str, *, retry_after: float | None = None) -> OutcomeUnknown:
        error = OutcomeUnknown(
            f"It is not known whether {call.method} {self.url(call)} was acted on: {why.rstrip('.')}. "
            "Sent once more without a look, it could be done twice."
        )
        error.retry_after = retry_after
        return error

    def broken(self, call: Call[ResponseT], detail: str, *, was_sent: bool) -> CerebrasError:
        """Make the error of a request that broke off.

        :param call: what was sent.
        :param detail: the network's message.
        :param was_sent: whether the service may have got the request.
        """
        detail = in_one_line(self._redactor.text(detail)).rstrip(".")
        if was_sent and not call.may_be_resent:
            return self.unknown(call, detail)
        return CerebrasTransportError(f"{call.method} {self.url(call)} got no response: {detail}.")

    def not_connected(self, call: Call[ResponseT], detail: str, *, by_proxy: bool = False) -> CerebrasError:
        """Make the error of a request that found no connection: the address, and what to check.

        :param call: what was to be sent.
        :param detail: the network's message.
        :param by_proxy: whether a proxy was reached, and did not connect further.
        """
        why, hint = self._unreachable(in_one_line(self._redactor.text(detail)), by_proxy=by_proxy)
        error = CerebrasTransportError(f"{call.method} {self.url(call)} got no response: {why}.")
        error.hint = hint
        return error

    def _unreachable(self, detail: str, *, by_proxy: bool) -> tuple[str, str]:
        url = urlsplit(self.settings.base_url)
        where, named = url.netloc if url.port else f"{url.netloc} port {443 if url.scheme == 'https' else 80}", "host"
        service = where
        if self.proxy is not None:
            where = f"the proxy {address_of_proxy(self.proxy)}"
            named = "extra.proxy" if self.settings.proxy else "the environment's proxy"
        of = f" (field {named} of connection {self.settings.connection!r})" if self.settings.connection else ""
        if by_proxy:
            return (
                f"{where} does not connect to {service} ({detail})",
                f"Check the proxy's URL{of} and its user's name and password, and ask who runs it to allow {service}.",
            )
        if "CERTIFICATE_VERIFY_FAILED" in detail:
            return f"cannot connect to {where} ({detail})", self.settings.authorities
        if "WRONG_VERSION_NUMBER" in detail:
            return (
                f"cannot connect to {where} ({detail})",
                f"What listens there does not serve https. Check the address{of}; by default an emulator's begins with http://.",
            )
        hint = (
            f"Check that the address{of} is right, that the service runs there, and that firewall and proxy let this "
            "machine through."
        )
        return f"cannot connect to {where} ({detail})", hint


def _is_cut_off(body: bytes) -> bool:
    """Return whether a body would be JSON if it went on."""
    try:
        check_values(body)
        from_json(body.removeprefix(codecs.BOM_UTF8))
    except ValueError as error:
        return "EOF" in str(error)
    return False


def _problems(error: ValidationError) -> str:
    # Only places and rules: the values are the service's and could be anything.
    return "; ".join(
        f"{'.'.join(map(str, item['loc'])) or 'body'}: {item['msg']}" for item in error.errors(include_input=False)[:3]
    )
