"""What the DAGs of these tests have in common: the ways to wait, and something that happens in the middle of a run."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import RunningEmulator

POLL = 0.02
"""Seconds between two looks."""

SENSOR_MODES: dict[str, dict[str, Any]] = {
    "poke": {"deferrable": False, "mode": "poke", "poke_interval": POLL},
    "reschedule": {"deferrable": False, "mode": "reschedule", "poke_interval": POLL},
    "deferrable": {"deferrable": True, "poke_interval": POLL},
}
"""Arguments of a sensor for each way to wait."""

OPERATOR_MODES: dict[str, dict[str, Any]] = {
    "blocking": {"wait_for_completion": True, "deferrable": False, "poll_interval": POLL},
    "deferrable": {"wait_for_completion": True, "deferrable": True, "poll_interval": POLL},
}
"""Arguments of an operator for each way to wait."""


def output(task: Any) -> Any:
    """What a task returns, as an argument of another one; Airflow's annotations do not know that it may be one."""
    return task.output


@contextmanager
def meanwhile(emulator: RunningEmulator, operation: str, act: Callable[[], object], **rule: Any) -> Iterator[None]:
    """Do something in the moment in which the service has a request in hand, and only then let it go on.

    :param operation: the call that is held.
    :param act: what happens meanwhile.
    :param rule: more of the fault rule: hold it before or after the work (``when``), let some pass first (``skip``).
    """
    fault = emulator.fault(operation, hold=True, **rule)
    problems: list[Exception] = []

    def wait_and_act() -> None:
        try:
            assert emulator.requests(operation, stage="held", wait=60), f"{operation} never came"
            act()
        except Exception as error:  # noqa: BLE001  it is raised where the test sees it
            problems.append(error)
        finally:
            emulator.end_fault(fault)

    thread = threading.Thread(target=wait_and_act)
    thread.start()
    try:
        yield
    finally:
        thread.join()
    for problem in problems:
        raise problem
