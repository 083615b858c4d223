"""Fixtures: start Airflow, and go through all drills that were asked for, as many at a time as there are lanes."""

from __future__ import annotations

import json
import queue
import time
import traceback
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from local_stack import _free_ports

from tests.drills.drill import SCENARIOS, TRIGGERER_SCENARIO, Drill, dag_of, emulator_of, perform, perform_on_triggerers
from tests.drills.matrix import Cell, Operation, Outcome
from tests.drills.postgres import PostgresFiles
from tests.drills.releasing import perform_all, save_results, side_by_side
from tests.drills.stack import Executor, Stack, python_version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.drills.releasing import Result
    from tests.drills.stack import Lane

ROOT = Path(__file__).parents[2]
HOME = ROOT / ".drills"


class Airflows:
    """An Airflow for each executor, one at a time, each of them for as long as no other is asked for."""

    def __init__(self) -> None:
        self._running = ExitStack()
        self._stack: Stack | None = None

    def get(self, executor: Executor) -> Stack:
        """Give the Airflow with this executor; what it needs is started if it is not yet."""
        if self._stack is None or self._stack.executor is not executor:
            self.close()
            airflow = version("apache-airflow")
            (port,) = _free_ports(1)
            postgres = self._running.enter_context(PostgresFiles(port))
            home = HOME / f"{airflow}-{executor}"
            self._stack = self._running.enter_context(Stack(home, postgres, airflow, executor))
            self._stack.bring_up()
        return self._stack

    def close(self) -> None:
        """End what runs."""
        self._running.close()
        self._stack = None


@pytest.fixture(scope="session")
def airflows() -> Iterator[Airflows]:
    airflows = Airflows()
    try:
        yield airflows
    finally:
        airflows.close()


@pytest.fixture(scope="session")
def outcomes(request: pytest.FixtureRequest, airflows: Airflows) -> dict[str, Outcome]:
    """What has come of each drill of the crash matrix, by its name."""
    wanted: list[Any] = [params["drill"] for params in _wanted(request, "outcomes")]
    stack = airflows.get(Executor.LOCAL)
    began = time.monotonic()
    found = _run_in_lanes(stack, [each for each in wanted if not _kills_triggerers(each)])
    found |= _run_on_triggerers(stack, [each for each in wanted if _kills_triggerers(each)])
    _save(stack, found, time.monotonic() - began)
    return found


@pytest.fixture(scope="session")
def results(request: pytest.FixtureRequest, airflows: Airflows) -> dict[tuple[Executor, str], Result]:
    """What has come of each drill on a release, by executor and name."""
    wanted = [(params["executor"], params["drill"]) for params in _wanted(request, "results")]
    found: dict[tuple[Executor, str], Result] = {}
    for executor in dict.fromkeys(executor for executor, _ in wanted):
        stack = airflows.get(executor)
        results = perform_all(stack, [drill for on, drill in wanted if on is executor])
        save_results(HOME / f"releases-{stack.version}.json", stack.version, executor, results)
        found |= {(executor, name): result for name, result in results.items()}
    return found


def _wanted(request: pytest.FixtureRequest, fixture: str) -> list[dict[str, Any]]:
    """The parameters of all tests that were asked for and use the fixture."""
    return [
        item.callspec.params
        for item in request.session.items
        if isinstance(item, pytest.Function) and hasattr(item, "callspec") and fixture in item.fixturenames
    ]


def _kills_triggerers(drill: Cell | str) -> bool:
    return drill.kills_triggerer if isinstance(drill, Cell) else drill == TRIGGERER_SCENARIO


def _lasts(drill: Cell | str) -> bool:
    return drill.lasts if isinstance(drill, Cell) else drill in {"worker-lost", "orphan"}


def _run_in_lanes(stack: Stack, wanted: list[Cell | str]) -> dict[str, Outcome]:
    # Those that mostly wait come first, so that others use the processor meanwhile.
    lanes: queue.SimpleQueue[Lane] = queue.SimpleQueue()
    for lane in stack.lanes:
        lanes.put(lane)
    found: dict[str, Outcome] = {}

    def work(each: Cell | str) -> None:
        lane = lanes.get()
        try:
            found[str(each)] = _run(stack, lane, each)
        except Exception:  # noqa: BLE001  the lane goes on with the next one
            found[str(each)] = Outcome(error=traceback.format_exc())
        finally:
            lanes.put(lane)

    side_by_side(stack, work, sorted(wanted, key=_lasts, reverse=True), at_once=len(stack.lanes))
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
