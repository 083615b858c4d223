"""What Airflow stores of a DAG is the same in each process, or every parse would make a new version of the DAG."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from airflow.serialization import serialized_objects

from tests.unit.arguments.forms import OPERATORS
from tests.unit.arguments.serialized import by_task, stored

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def data() -> dict[str, Any]:
    return stored()


def test_every_operator_in_every_form_is_stored_alike_in_two_processes(data: dict[str, Any]) -> None:
    mine = by_task(data)
    output = subprocess.run(
        [sys.executable, "-m", "tests.unit.arguments.serialized"],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "4711", "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    ).stdout
    theirs = json.loads(output.splitlines()[-1])
    assert {task: (mine[task], theirs[task]) for task in mine if mine[task] != theirs[task]} == {}
    assert len(mine) > 2 * len(OPERATORS)
    assert not [task for task, text in mine.items() if " at 0x" in text]


def test_what_is_stored_can_be_read(data: dict[str, Any]) -> None:
    # Its name has changed.
    deserializer: Any = vars(serialized_objects).get("DagSerialization") or vars(serialized_objects)["SerializedDAG"]
    dag = deserializer.from_dict(copy.deepcopy(data))
    assert {task.task_id for task in dag.tasks} == set(by_task(data))
