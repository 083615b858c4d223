"""Airflow's api-server with its UI, as a process of its own; nothing is scheduled."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_rest import AirflowRest
from local_stack import _answers, _environment, _free_ports, _module
from processes import Processes

if TYPE_CHECKING:
    from pathlib import Path


class AirflowUi(Processes):
    """An api-server that lets everybody in and tests connections.

    :param home: folder for all that is written.
    """

    def __init__(self, home: Path) -> None:
        ports = _free_ports(3)
        self.url = f"http://127.0.0.1:{ports[0]}"
        self.rest = AirflowRest(self.url)
        super().__init__(home / "logs", {**_environment(home, *ports), "AIRFLOW__CORE__TEST_CONNECTION": "Enabled"})

    def bring_up(self) -> None:
        """Start it, and return when it is ready."""
        self.run("migration", *_module("airflow"), "db", "migrate")
        self.start("api-server", *_module("airflow"), "api-server", "--workers", "1")
        self.wait_until("Airflow", lambda: _answers(f"{self.url}/api/v2/version"), timeout=120)
        self.rest.log_in()

    def page(self, path: str) -> str:
        """URL that logs a browser in and leads to a page."""
        return f"{self.url}/auth/token/login?next={self.url}/{path}"
