"""The emulator behind a real socket: for the command line, and in a background thread for tests."""

from __future__ import annotations

import json
import shlex
import socket
import threading
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Literal, Self

import uvicorn

from airflow_provider_cerebras.emulator.app import create_app
from airflow_provider_cerebras.emulator.hosts import OwnHostsOnly, own_names
from airflow_provider_cerebras.emulator.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from airflow_provider_cerebras.emulator.app import EmulatorApp
    from airflow_provider_cerebras.emulator.service.clock import Clock

HttpImplementation = Literal["auto", "h11", "httptools"]

GRACE_SECONDS = 5
"""Real time that requests which are under way get to be answered when the emulator stops."""

_ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  nothing is bound to here


def listen(settings: Settings) -> socket.socket:
    """Open a socket on the configured host and port; connections wait until a server accepts them."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.create_server((settings.host, settings.port), family=family, backlog=2048)
    # Connections inherit it. Without it, head and body of an answer lie 40 ms apart on a connection that is kept.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def base_url(settings: Settings, listener: socket.socket) -> str:
    """Return the URL by which a client on this machine reaches the server."""
    host = _ANY_ADDRESS.get(settings.host, settings.host)
    scheme = "http" if settings.tls_cert is None else "https"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"


def prepare_tls(settings: Settings) -> None:
    """Write the self-signed certificate that the settings ask for.

    :raises OSError: It cannot be written.
    """
    if settings.tls_self_signed and settings.tls_cert is not None and settings.tls_key is not None:
        from airflow_provider_cerebras.emulator.certificates import make_pair

        names = own_names(settings) | {"127.0.0.1", "::1"}
        make_pair(settings.tls_cert, settings.tls_key, names - _ANY_ADDRESS.keys())


def airflow_connection(settings: Settings, url: str) -> str:
    """Return a shell command that makes the emulator's first organization Airflow's default Cerebras connection.

    :param url: Base URL of the emulator.
    """
    connection = json.dumps(connection_to(settings, url))
    return f"export AIRFLOW_CONN_CEREBRAS_DEFAULT={shlex.quote(connection)}"


def connection_to(settings: Settings, url: str) -> dict[str, Any]:
    """Return the fields of an Airflow connection to the emulator's first organization.

    :param url: Base URL of the emulator.
    """
    connection = settings.all_organizations()[0].connection(url)
    if settings.tls_self_signed:
        connection["extra"]["verify"] = str(settings.tls_cert)
    return connection


class Server(uvicorn.Server):
    """Uvicorn that reports when it is ready, and that stops even if requests are held; it runs once.

    :param on_ready: Called once connections are accepted.
    :param settings: Names and certificates are taken from it.
    :param http: Which of uvicorn's HTTP implementations to use; default: the fastest that is installed.
    """

    def __init__(
        self, app: EmulatorApp, on_ready: Callable[[], None], settings: Settings, http: HttpImplementation = "auto"
    ) -> None:
        super().__init__(
            uvicorn.Config(
                OwnHostsOnly(app, own_names(settings)),
                ssl_certfile=settings.tls_cert,
                ssl_keyfile=settings.tls_key,
                http=http,
                ws="none",
                lifespan="off",
                proxy_headers=False,
                # A fault rule may say who answers.
                server_header=False,
                access_log=False,
                log_level="warning",
                timeout_graceful_shutdown=GRACE_SECONDS,
                # Uvicorn's 5 s are httpx's too: a client that polls that often would meet a closing connection.
                timeout_keep_alive=75,
            )
        )
        self._app = app
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to accept connections."""
        await super().startup(sockets)
        self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Finish the requests under way and stop."""
        self._app.emulator.stop()
        await super().shutdown(sockets)
        self._app.emulator.close()


class EmulatorServer:
    """An emulator in a background thread, as a context manager.

    Its ``base_url`` has no slash at the end; ``settings`` are those in force; ``app`` is the application.

    :param settings: Default: all the defaults, on a free port.
    :param clock: Gives the machine's time in Unix seconds; default: the system's. It is called in the background
        thread.
    :param http: Which of uvicorn's HTTP implementations to use; default: the fastest that is installed.
    :raises StateError: The state file cannot be used, or does not go with the settings.
    :raises OSError: The certificate cannot be written.
    """

    def __init__(
        self, settings: Settings | None = None, clock: Clock = time.time, http: HttpImplementation = "auto"
    ) -> None:
        self.settings = settings or Settings(port=0)
        self._listener = listen(self.settings)
        try:
            prepare_tls(self.settings)
            self.app = create_app(self.settings, clock)
        except BaseException:
            self._listener.close()
            raise
        self._ready: Future[None] = Future()
        self._server = Server(self.app, lambda: self._ready.set_result(None), self.settings, http)
        self.base_url = base_url(self.settings, self._listener)
        self._thread = threading.Thread(target=self._run, name="cerebras-emulator", daemon=True)

    def start(self) -> Self:
        """Start, and return when connections are accepted."""
        self._thread.start()
        self._ready.result()
        return self

    def stop(self) -> None:
        """Stop, and return when everything is closed."""
        self._server.should_exit = True
        self._thread.join()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _run(self) -> None:
        try:
            self._server.run([self._listener])
        except BaseException as error:
            if not self._ready.done():
                self._ready.set_exception(error)
            raise
