"""The callback that the production page shows, as Airflow calls it."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace
from typing import TYPE_CHECKING

from send_failure import send_failure

from airflow_provider_cerebras.exceptions import DeploymentFailed

if TYPE_CHECKING:
    import pytest


def test_it_tells_which_task_failed_and_why(monkeypatch: pytest.MonkeyPatch) -> None:
    bodies: list[bytes] = []

    class Chat(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Chat) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        monkeypatch.setenv("CHAT_WEBHOOK", f"http://127.0.0.1:{server.server_port}/hook")
        ti = SimpleNamespace(dag_id="release", task_id="wait_for_rollout", run_id="manual")
        send_failure({"ti": ti, "exception": DeploymentFailed("version 8 failed")})
    text = json.loads(bodies[0])["text"]
    assert text == "release.wait_for_rollout of manual failed: DeploymentFailed: version 8 failed"
