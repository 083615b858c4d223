"""Fixtures: start Airflow once, and go through all drills that were asked for, as many at a time as there are lanes."""

from __future__ import annotations

import json
import queue
import threading
import time
import traceback
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from local_stack import _free_ports

from tests.drills.drill import SCENARIOS, TRIGGERER_SCENARIO, Drill, dag_of, emulator_of, perform, perform_on_triggerers
from tests.drills.matrix import Cell, Operation, Outcome
from tests.drills.postgres import PostgresFiles
from tests.drills.stack import Stack, python_version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.drills.stack import Lane

ROOT = Path(__file__).parents[2]
HOME = ROOT / ".drills"


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    airflow = version("apache-airflow")
    (port,) = _free_ports(1)
    with PostgresFiles(port) as postgres, Stack(HOME / airflow, postgres, port, airflow) as running:
        running.bring_up()
        yield running


@pytest.fixture(scope="session")
def outcomes(request: pytest.FixtureRequest, stack: Stack) -> dict[str, Outcome]:
    """What has come of each drill, by its name."""
    wanted: list[Any] = [
        item.callspec.params["drill"]
        for item in request.session.items
        if isinstance(item, pytest.Function) and hasattr(item, "callspec") and "drill" in item.callspec.params
    ]
    began = time.monotonic()
    found = _run_in_lanes(stack, [each for each in wanted if not _kills_triggerers(each)])
    found |= _run_on_triggerers(stack, [each for each in wanted if _kills_triggerers(each)])
    _save(stack, found, time.monotonic() - began)
    return found


def _kills_triggerers(drill: Cell | str) -> bool:
    return drill.kills_triggerer if isinstance(drill, Cell) else drill == TRIGGERER_SCENARIO


def _lasts(drill: Cell | str) -> bool:
    return drill.lasts if isinstance(drill, Cell) else drill in {"worker-lost", "orphan"}


def _run_in_lanes(stack: Stack, wanted: list[Cell | str]) -> dict[str, Outcome]:
    # Those that mostly wait come first, so that others use the processor meanwhile.
    todo: queue.SimpleQueue[Cell | str] = queue.SimpleQueue()
    for each in sorted(wanted, key=_lasts, reverse=True):
        todo.put(each)
    found: dict[str, Outcome] = {}

    def work(lane: Lane) -> None:
        while True:
            try:
                each = todo.get_nowait()
            except queue.Empty:
                return
            try:
                found[str(each)] = _run(stack, lane, each)
            except Exception:  # noqa: BLE001  the lane goes on with the next one
                found[str(each)] = Outcome(error=traceback.format_exc())

    threads = [threading.Thread(target=work, args=(lane,), daemon=True) for lane in stack.lanes]
    for thread in threads:
        thread.start()
    for thread in threads:
        while thread.is_alive():
            thread.join(0.2)
            stack.pause(0)
    return found


def _run(stack: Stack, lane: Lane, what: Cell | str) -> Outcome:
    with emulator_of(lane) as emulator:
        if isinstance(what, Cell):
            cell = what
            drill = Drill(stack, lane, emulator, str(cell), cell.dag_id, cell.operation)
            return _observed(drill, lambda: perform(cell, drill))
        drill = Drill(stack, lane, emulator, what, dag_of(what))
        return _observed(drill, lambda: SCENARIOS[what](drill))


def _run_on_triggerers(stack: Stack, wanted: list[Cell | str]) -> dict[str, Outcome]:
    if not wanted:
        return {}
    drills = []
    for lane, each in zip(stack.lanes, wanted, strict=False):
        dag_id = each.dag_id if isinstance(each, Cell) else "upload_delete_on_kill_deferrable"
        operation = each.operation if isinstance(each, Cell) else Operation.UPLOAD
        drills.append(Drill(stack, lane, emulator_of(lane), str(each), dag_id, operation))
    together = _observed(drills[0], lambda: perform_on_triggerers(drills))
    began = time.monotonic() - together.seconds
    return {drill.name: drill.outcome(began, together.error) for drill in drills}


def _observed(drill: Drill, perform: Callable[[], None]) -> Outcome:
    began, error = time.monotonic(), None
    try:
        perform()
    except Exception:  # noqa: BLE001  what went wrong is told by the test of the drill
        error = traceback.format_exc()
    return drill.outcome(began, error)


def _save(stack: Stack, found: dict[str, Outcome], seconds: float) -> None:
    results = {
        "airflow": stack.version,
        "python": python_version(),
        "seconds": round(seconds),
        "outcomes": {name: outcome.to_json() for name, outcome in sorted(found.items())},
    }
    (HOME / f"{stack.version}.json").write_text(json.dumps(results, indent=1))
