"""A DAG with every operator and its arguments in every form, as Airflow's serializer stores it.

Run by itself it prints the stored DAG, for a process to be compared with another one.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from airflow.providers.common.compat.sdk import BaseOperator
from airflow.serialization import serialized_objects

from airflow_provider_cerebras.hooks.cerebras import CerebrasHook
from tests.unit.arguments.forms import OPERATORS, LazySequence, new_dag, required, sets_of_samples


def forms(operator: Any) -> list[dict[str, Any]]:
    """Sets of arguments: all values, templates, and results of a task."""
    sets = sets_of_samples(operator, as_text=False)
    literals = [
        # What is lazy comes of other tasks only.
        {name: sample.given for name, sample in samples.items() if not isinstance(sample.given, LazySequence)}
        for samples in sets
    ]
    other: Any = BaseOperator(task_id=f"before_{operator.__name__}")
    return [
        *literals,
        {argument: f"{{{{ params.{argument} }}}}" for argument in sets[0]},
        {argument: other.output[argument] for argument in sets[0]},
    ]


def stored() -> dict[str, Any]:
    """What Airflow stores of the DAG."""
    with new_dag() as dag:
        for name, operator in OPERATORS.items():
            own_hook = {"hook_class": CerebrasHook} if "hook_class" in operator.arguments else {}
            for number, arguments in enumerate(forms(operator)):
                arguments = {**required(operator), **arguments}
                operator(task_id=f"{name}_{number}", **arguments, **own_hook)
                if 2 < number < 12:
                    continue
                along = next(iter(arguments))
                mapped = {along: ["{{ params.x }}", sets_of_samples(operator, as_text=False)[0][along].given]}
                rest = {argument: value for argument, value in arguments.items() if argument != along}
                operator.partial(task_id=f"{name}_{number}_mapped", **rest, **own_hook).expand(**mapped)
    # Its name has changed.
    serializer: Any = vars(serialized_objects).get("DagSerialization") or vars(serialized_objects)["SerializedDAG"]
    return dict(serializer.to_dict(dag))


def by_task(data: dict[str, Any]) -> dict[str, str]:
    """What is stored of each task, as a text."""
    tasks = data["dag"]["tasks"]
    return {task["__var"]["task_id"]: json.dumps(task, sort_keys=True) for task in tasks}


if __name__ == "__main__":
    json.dump(by_task(stored()), sys.stdout)
