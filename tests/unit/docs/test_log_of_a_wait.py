"""The log of a wait in docs/waiting.md is what a wait of two hours logs."""

from __future__ import annotations

import textwrap
from datetime import UTC, datetime, timedelta
from pathlib import Path

from airflow_provider_cerebras.api.errors import CerebrasTransportError
from airflow_provider_cerebras.api.models import ModelVersion
from airflow_provider_cerebras.polling.log import WaitLog
from airflow_provider_cerebras.polling.versions import ModelVersionPoller

PAGE = Path(__file__).parents[3] / "docs" / "waiting.md"
VERSION = "orgs/my-org/models/gpt-oss-120b/versions/8"
POLL_INTERVAL = 30
BEGIN = datetime(2026, 1, 31, 2, 0, tzinfo=UTC)
OUTAGE = (timedelta(minutes=45), timedelta(minutes=49))
END = timedelta(hours=2)
WIDTH = 88


class Log:
    """Keeps lines as Airflow shows them."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.now = BEGIN

    def info(self, message: str, /, *args: object, level: str = "INFO") -> None:
        line = f"[{self.now:%H:%M:%S}] {level} - {message % args}"
        self.lines += textwrap.wrap(line, WIDTH, subsequent_indent="  ", break_on_hyphens=False)

    def warning(self, message: str, /, *args: object) -> None:
        self.info(message, *args, level="WARNING")


def response_at(passed: timedelta) -> ModelVersion | CerebrasTransportError:
    if OUTAGE[0] <= passed < OUTAGE[1]:
        return CerebrasTransportError(
            f"GET https://api.cerebras.ai/management/v1/{VERSION} got no response: timed out."
        )
    done = passed >= END
    status = "done" if done else "in_progress"
    return ModelVersion.model_validate({"name": VERSION, "done": done, "response": {"sync_status": status}})


def log_of_a_wait() -> list[str]:
    log, began = Log(), BEGIN.timestamp()
    poller = ModelVersionPoller(VERSION, deadline=began + 86400, started=began)
    wait = WaitLog(log, poller, poll_interval=POLL_INTERVAL)
    wait.begin(began)
    passed, outcome = timedelta(), None
    while outcome is None:
        log.now = BEGIN + passed
        outcome = wait.apply(response_at(passed), log.now.timestamp())
        passed += timedelta(seconds=POLL_INTERVAL)
    return log.lines


def test_the_log_in_the_docs_is_that_of_a_wait() -> None:
    assert "\n".join(log_of_a_wait()) in PAGE.read_text("utf-8")
