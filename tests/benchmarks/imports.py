"""What it costs to import a provider's operators and sensors after ``airflow.sdk``, as each parse of a DAG does."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

PACKAGES = {
    "ours": "airflow_provider_cerebras",
    "airbyte": "airflow.providers.airbyte",
    "dbt cloud": "airflow.providers.dbt.cloud",
    "http": "airflow.providers.http",
    "databricks": "airflow.providers.databricks",
    "openai": "airflow.providers.openai",
}
_PROGRAM = """
import importlib, json, pkgutil, sys, time
from airflow.sdk import DAG, BaseOperator, BaseSensorOperator
modules = []
for part in ("operators", "sensors"):
    try:
        package = importlib.import_module(sys.argv[1] + "." + part)
    except ModuleNotFoundError:
        continue
    # A private one comes with what needs it.
    names = [module.name for module in pkgutil.iter_modules(package.__path__) if not module.name.startswith("_")]
    modules += [package.__name__ + "." + name for name in names]
before, count = time.process_time(), len(sys.modules)
for module in modules:
    try:
        importlib.import_module(module)
    except ImportError:  # what it needs is an extra of that provider
        pass
print(json.dumps([time.process_time() - before, len(sys.modules) - count]))
"""


@dataclass(frozen=True)
class ImportCost:
    """CPU seconds, the median and the least of several new processes, and how many modules were loaded for it."""

    who: str
    median: float
    least: float
    modules: int


def measure_imports(rounds: int, environment: Mapping[str, str]) -> list[ImportCost]:
    """Measure in turns, so that a busy moment of the machine hits all alike.

    :param rounds: how often.
    :param environment: of the processes.
    """
    seconds: dict[str, list[float]] = {who: [] for who in PACKAGES}
    modules = dict.fromkeys(PACKAGES, 0)
    # The first round compiles and fills the page cache.
    for number in range(rounds + 1):
        for who, package in PACKAGES.items():
            run = subprocess.run(
                [sys.executable, "-W", "ignore", "-c", _PROGRAM, package],
                env=dict(environment),
                capture_output=True,
                text=True,
                timeout=120,
                check=True,
            )
            cost, modules[who] = json.loads(run.stdout.splitlines()[-1])
            if number:
                seconds[who].append(cost)
    return [ImportCost(who, median(seconds[who]), min(seconds[who]), modules[who]) for who in PACKAGES]
