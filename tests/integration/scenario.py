"""What the DAGs of these tests have in common: the ways to wait."""

from __future__ import annotations

from typing import Any

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
