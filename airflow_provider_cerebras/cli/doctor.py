"""The checks of ``doctor``, from the connection to the DAGs; each line says ok, warning or error, and the remedy."""

from __future__ import annotations

import platform
import time
from dataclasses import replace
from datetime import UTC, datetime
from enum import StrEnum
from importlib.metadata import version
from typing import TYPE_CHECKING, NamedTuple

import pydantic
from airflow import __version__ as airflow_version

from airflow_provider_cerebras import __version__
from airflow_provider_cerebras.api import operations
from airflow_provider_cerebras.api.client import CerebrasClient
from airflow_provider_cerebras.api.errors import PERMANENT, CerebrasError, Unauthorized, parse_date
from airflow_provider_cerebras.cli import airflow_checks
from airflow_provider_cerebras.hooks.cerebras import CerebrasHook

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_cerebras.api.client import ClientSettings


_MAX_SKEW = 30.0
"""Seconds by which two clocks may differ before it is said."""


class Level(StrEnum):
    """The result of a check."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


class Line(NamedTuple):
    """One line of the output.

    :param check: what was checked.
    :param level: how it went.
    :param found: what was found.
    :param remedy: what to do about it; empty if there is nothing to do.
    """

    check: str
    level: Level
    found: str
    remedy: str = ""


def examine(conn_id: str, org_name: str | None) -> Iterator[Line]:
    """Make all checks; those that need what an earlier one has not found are left out.

    :param conn_id: id of the connection.
    :param org_name: name of the organization; None: the connection's.
    """
    yield _versions()
    yield from _service(CerebrasHook(cerebras_conn_id=conn_id, org_name=org_name))
    for check, level, found, remedy in airflow_checks.examine():
        yield Line(check, Level(level), found, remedy)


def _versions() -> Line:
    found = (
        f"airflow-provider-cerebras {__version__}, Airflow {airflow_version}, Python {platform.python_version()}, "
        f"pydantic {pydantic.VERSION}, httpx {version('httpx')}"
    )
    return Line("versions", Level.OK, found)


def _service(hook: CerebrasHook) -> Iterator[Line]:
    try:
        client = hook.get_conn()
    except Exception as error:  # noqa: BLE001  a secrets backend can fail in any way
        remedy = "Create or correct the connection; see the page 'Connection' of the docs."
        yield Line("connection", Level.ERROR, str(error), remedy)
        return
    yield Line("connection", Level.OK, f"{hook.cerebras_conn_id!r} leads to {client.settings.base_url}.")
    yield _inference_key(client.settings)
    try:
        org_name = hook.org_name
    except ValueError as error:
        yield Line("organization", Level.ERROR, str(error), "Set org_name in the connection's extra.")
        return
    yield from _management_key(client, org_name)


def _inference_key(settings: ClientSettings) -> Line:
    if not settings.inference_key:
        remedy = "Set inference_api_key in the connection's extra; verify and evaluate need it."
        return Line("inference key", Level.WARNING, "The connection has none.", remedy)
    if settings.inference_key == settings.management_key:
        remedy = "The two APIs take keys of different kinds: create one of each in the console."
        return Line("inference key", Level.ERROR, "It is the same key as the management key.", remedy)
    return Line("inference key", Level.OK, "The connection has one. It is not tried, since a question costs tokens.")


def _management_key(client: CerebrasClient, org_name: str) -> Iterator[Line]:
    began = time.monotonic()
    try:
        architectures = client.send_once(operations.list_model_architectures(org_name)).model_architectures
    except CerebrasError as error:
        remedy = error.hint or "Ask Cerebras, with the id of the request."
        if not (isinstance(error, PERMANENT) and error.is_from_api):
            yield Line("reachability", Level.ERROR, error.without_hint(), remedy)
        elif isinstance(error, Unauthorized):
            yield Line("management key", Level.ERROR, error.message, _remedy_of_key(client.settings, org_name))
        else:
            yield Line("organization", Level.ERROR, error.without_hint(), remedy)
    else:
        took = (time.monotonic() - began) * 1000
        yield Line("reachability", Level.OK, f"The service answered in {took:.0f} ms.")
        yield _clock(client.last_date, datetime.now(UTC))
        yield Line("management key", Level.OK, "The service accepts it.")
        found = ", ".join(architectures) or "none"
        level, remedy = (Level.OK, "") if architectures else (Level.WARNING, "Ask Cerebras to enable one.")
        yield Line("organization", level, f"{org_name!r} may use these architectures: {found}.", remedy)
        yield from _endpoints(client, org_name)


def _clock(date: str | None, now: datetime) -> Line:
    moment = parse_date(date)
    if moment is None:
        return Line("clock", Level.OK, "Not compared: the response has no Date that can be read.")
    skew = (now - moment).total_seconds()
    if abs(skew) <= _MAX_SKEW:
        return Line("clock", Level.OK, f"It differs from the service's by {abs(skew):.0f} s.")
    found = f"This machine's clock is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} the service's."
    remedy = "Synchronize the clocks of workers and triggerers (NTP): deadlines and the age of rollouts go by them."
    return Line("clock", Level.WARNING, found, remedy)


def _remedy_of_key(settings: ClientSettings, org_name: str) -> str:
    """Return the remedy for a refused key, after a check whether the two keys are swapped."""
    if settings.inference_key and settings.inference_key != settings.management_key:
        swapped = replace(settings, management_key=settings.inference_key, inference_key=None)
        try:
            with CerebrasClient(swapped) as client:
                client.send_once(operations.list_model_architectures(org_name))
        except CerebrasError:
            pass
        else:
            return "inference_api_key is a management key: the two keys of the connection are swapped."
    return "Put a management API key into the connection's password; an inference API key is refused there."


def _endpoints(client: CerebrasClient, org_name: str) -> Iterator[Line]:
    try:
        endpoints = client.send_once(operations.list_endpoints(org_name)).endpoints
    except CerebrasError as error:
        yield Line("endpoints", Level.WARNING, error.without_hint(), error.hint or "Run the command again.")
        return
    names = ", ".join(str(summary.endpoint_id) for summary in endpoints or ())
    if names:
        yield Line("endpoints", Level.OK, f"{names}.")
    else:
        yield Line("endpoints", Level.WARNING, "The organization has none.", "Ask Cerebras for a dedicated endpoint.")
