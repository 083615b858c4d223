"""pytest fixtures for the tests of DAGs: ``pytest_plugins = ["airflow_provider_cerebras.emulator.pytest_plugin"]``.

This module imports nothing of Airflow, so that a test suite can still set ``AIRFLOW_HOME``, and nothing of the emulator
before a test uses it, since the emulator needs the extra ``emulator``.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_cerebras.emulator.extra import what_to_install

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from airflow_provider_cerebras.emulator.control.client import EmulatorClient

    StartOnce = Callable[[Mapping[str, Any]], EmulatorClient]

CONNECTION_ID = "cerebras_default"

# Not at once, for a task that finds its work done does not defer, and the test would miss what waiting does.
DEFAULTS: Mapping[str, Any] = {"port": 0, "sync_seconds": 0.2, "rollout_seconds": 0.2}
"""Settings of `cerebras_emulator` that differ from those of the command line."""


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line(
        "markers", "cerebras_emulator(**settings): settings of the emulator for a test, such as sync_seconds=10800"
    )


@pytest.fixture(scope="session")
def _start_cerebras_emulator_once() -> Iterator[StartOnce]:
    """Return a function that starts an emulator once for each set of settings; it runs until the end of the session."""
    try:
        from airflow_provider_cerebras.emulator.control.client import EmulatorClient
        from airflow_provider_cerebras.emulator.server import EmulatorServer
        from airflow_provider_cerebras.emulator.settings import Settings
    except ModuleNotFoundError as error:
        if (advice := what_to_install(error)) is None:
            raise
        pytest.fail(advice, pytrace=False)

    running: dict[str, EmulatorClient] = {}
    with ExitStack() as stack:

        def start_once(chosen: Mapping[str, Any]) -> EmulatorClient:
            settings = Settings.model_validate({**DEFAULTS, **chosen})
            key = settings.model_dump_json()
            if key not in running:
                server = stack.enter_context(EmulatorServer(settings))
                running[key] = stack.enter_context(EmulatorClient(server.base_url, server.settings))
            return running[key]

        yield start_once


@pytest.fixture
def cerebras_emulator_settings() -> Mapping[str, Any]:
    """Settings of `cerebras_emulator`, such as ``{"sync_seconds": 10800}``; a module or a suite overrides this fixture.

    The fields are those of :class:`~airflow_provider_cerebras.emulator.settings.Settings`. The marker
    ``@pytest.mark.cerebras_emulator(sync_seconds=10800)`` takes precedence.
    """
    return {}


@pytest.fixture
def cerebras_emulator(
    request: pytest.FixtureRequest,
    cerebras_emulator_settings: Mapping[str, Any],
    _start_cerebras_emulator_once: StartOnce,
) -> Iterator[EmulatorClient]:
    """A fresh emulator on a free port, whose syncs and rollouts take 0.2 s; its server is shared by the session."""
    settings = dict(cerebras_emulator_settings)
    for marker in reversed(list(request.node.iter_markers("cerebras_emulator"))):
        if marker.args:
            pytest.fail("The marker cerebras_emulator takes settings by their names only.", pytrace=False)
        settings.update(marker.kwargs)
    emulator = _start_cerebras_emulator_once(settings)
    emulator.reset()
    yield emulator
    emulator.end_faults()


@pytest.fixture
def cerebras_connection(cerebras_emulator: EmulatorClient, monkeypatch: pytest.MonkeyPatch) -> str:
    """`cerebras_emulator` as Airflow's connection ``cerebras_default`` while the test runs; the connection's id."""
    monkeypatch.setenv(f"AIRFLOW_CONN_{CONNECTION_ID.upper()}", cerebras_emulator.connection())
    return CONNECTION_ID
