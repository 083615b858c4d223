"""Goes through drills on releases: those that do not disturb others side by side, the others one after the other."""

from __future__ import annotations

import json
import os
import queue
import threading
import time
import traceback
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from local_stack import AWS

from tests.drills.release import Field
from tests.drills.stack import python_version

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from tests.drills.release_drills import ReleaseDrill
    from tests.drills.stack import Executor, ReleaseLane, Stack

AT_ONCE = 12
WorkT = TypeVar("WorkT")


@dataclass(frozen=True)
class Result:
    """What has come of a drill on releases.

    :param error: what was not as it must be; None if all was.
    :param seconds: how long it took.
    :param figures: what was measured.
    """

    error: str | None
    seconds: float
    figures: dict[str, Any]


def perform_all(stack: Stack, drills: Sequence[ReleaseDrill]) -> dict[str, Result]:
    """Go through the drills, and return what has come of each, by its name."""
    os.environ.update(AWS)  # by which the emulators read the weights
    field = new_field(stack)
    found: dict[str, Result] = {}

    def work(drill: ReleaseDrill) -> None:
        found[drill.name] = _perform(field, drill)

    side_by_side(stack, work, [drill for drill in drills if not drill.alone], at_once=AT_ONCE)
    side_by_side(stack, work, [drill for drill in drills if drill.alone], at_once=1)
    return found


def new_field(stack: Stack) -> Field:
    """All lanes of an Airflow, free."""
    lanes: queue.SimpleQueue[ReleaseLane] = queue.SimpleQueue()
    for lane in stack.release_lanes:
        lanes.put(lane)
    return Field(stack, lanes)


def _perform(field: Field, drill: ReleaseDrill) -> Result:
    began, error, figures = time.monotonic(), None, {}
    try:
        figures = drill.perform(field, drill.name)
    except Exception:  # noqa: BLE001  what went wrong is told by the test of the drill
        error = traceback.format_exc()
    return Result(error, round(time.monotonic() - began, 1), figures)


def side_by_side(stack: Stack, work: Callable[[WorkT], None], todo: Sequence[WorkT], *, at_once: int) -> None:
    """Do the work in threads, in this order, and see to Airflow meanwhile."""
    waiting: queue.SimpleQueue[WorkT] = queue.SimpleQueue()
    for each in todo:
        waiting.put(each)

    def go_on() -> None:
        while True:
            try:
                each = waiting.get_nowait()
            except queue.Empty:
                return
            work(each)

    threads = [threading.Thread(target=go_on, daemon=True) for _ in range(min(at_once, len(todo)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        while thread.is_alive():
            thread.join(0.2)
            if at_once > 1:
                stack.pause(0)


def save_results(path: Path, airflow: str, executor: Executor, found: Mapping[str, Result]) -> None:
    """Write what has come of the drills to a file, beside what an earlier run has left of others."""
    before = json.loads(path.read_text()) if path.exists() else {}
    drills = before.get("drills", {}) if before.get("airflow") == airflow else {}
    drills |= {f"{executor}/{name}": asdict(result) for name, result in found.items()}
    results = {"airflow": airflow, "python": python_version(), "cores": os.cpu_count(), "drills": drills}
    path.write_text(json.dumps(results, indent=1))
