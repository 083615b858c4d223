"""The emulator as an ASGI application."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from fastapi import FastAPI

from airflow_provider_cerebras._version import __version__
from airflow_provider_cerebras.emulator.api import inference, routes
from airflow_provider_cerebras.emulator.api.errors import install_error_handlers
from airflow_provider_cerebras.emulator.control import page
from airflow_provider_cerebras.emulator.control import routes as control
from airflow_provider_cerebras.emulator.core import Emulator
from airflow_provider_cerebras.emulator.faults.middleware import FaultMiddleware
from airflow_provider_cerebras.emulator.settings import Settings

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from airflow_provider_cerebras.emulator.service.clock import Clock


class EmulatorApp(FastAPI):
    """The application. The fault middleware wraps all of FastAPI, since only there can a connection be dropped."""

    def __init__(self, emulator: Emulator) -> None:
        super().__init__(
            title="Cerebras Management API (emulated)",
            version=__version__,
            redirect_slashes=False,
            docs_url=None,
            redoc_url=None,
        )
        self.state.emulator = emulator
        self.emulator = emulator

    def build_middleware_stack(self) -> ASGIApp:
        """Build the middleware; Starlette calls this at the first request."""
        return FaultMiddleware(super().build_middleware_stack(), self.emulator)


def create_app(settings: Settings | None = None, clock: Clock = time.time) -> EmulatorApp:
    """Make an emulator.

    :param settings: Default: all the defaults.
    :param clock: Gives the machine's time in Unix seconds; default: the system's.
    :raises StateError: The state file cannot be used, or does not go with the settings.
    """
    settings = settings or Settings()
    emulator = Emulator(settings, clock)
    app = EmulatorApp(emulator)
    install_error_handlers(app, emulator)
    for part in (routes, inference, control, page):
        app.include_router(part.router)
    return app
