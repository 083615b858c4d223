"""The host names of the emulator; requests for other hosts are refused.

A page of any site can resolve its own host name to 127.0.0.1 and then send requests as if it were the emulator's page
(DNS rebinding). Such a request carries that name in ``Host``. IP addresses are accepted: no such page has one.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from airflow_provider_cerebras.emulator.settings import Settings

MISDIRECTED = 421


def own_names(settings: Settings) -> frozenset[str]:
    """Return the host names by which a client may call the emulator.

    :param settings: Its settings.
    """
    named = (each.strip() for each in settings.server_names.split(","))
    return frozenset(name.lower() for name in ("localhost", socket.gethostname(), settings.host, *named) if name)


def is_beyond_loopback(host: str) -> bool:
    """Return whether other machines can reach a server on an address.

    :param host: The address or name.
    """
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host != "localhost"


class OwnHostsOnly:
    """Passes requests to one of the emulator's host names or to an IP address, and refuses all others."""

    def __init__(self, app: ASGIApp, names: frozenset[str]) -> None:
        self._app = app
        self._names = names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http" and not self._knows(scope):
            refusal = JSONResponse(
                {"detail": "The emulator does not go by this name. --server-names gives it further ones."}, MISDIRECTED
            )
            await refusal(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _knows(self, scope: Scope) -> bool:
        hosts = [value.decode("latin-1").lower() for name, value in scope["headers"] if name == b"host"]
        return all(_name_of(host) in self._names or _is_address(_name_of(host)) for host in hosts)


def _name_of(host: str) -> str:
    """Return the host without its port and brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].rstrip(".")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
