"""As much of Airflow's task instance as the operators and sensors use."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class TaskInstance:
    """Who runs, for the how manieth time, and what it has pushed.

    :ivar xcoms: what it has pushed, by key.
    """

    dag_id: str = "dag"
    run_id: str = "run"
    task_id: str = "task"
    map_index: int = -1
    max_tries: int = 0
    try_number: int = 1
    xcoms: dict[str, Any] = field(default_factory=dict)

    def xcom_push(self, key: str, value: Any) -> None:
        # Airflow 3.0 fails a task that pushes None. A result is taken back by it on other versions only.
        assert value is not None or key == "return_value", f"None was pushed as XCom {key!r}"
        self.xcoms[key] = value
