"""The names that users type, found where Airflow finds them: in the modules that the provider info lists."""

from __future__ import annotations

import importlib
from types import FunctionType
from typing import Any

from airflow_provider_cerebras.provider_info import get_provider_info

PACKAGE = "airflow_provider_cerebras"
KINDS = ("hooks", "operators", "sensors", "triggers")
OTHERS = (
    "assets",
    "links",
    "task_groups",
    "exceptions",
    "api.client",
    "api.errors",
    "api.models",
    "api.names",
    "api.operations",
    "api.status",
    "retry_policies",
    "weights.check",
    "weights.digest",
    "weights.objects",
    "weights.policy",
    "weights.reader",
    "weights.report",
)
NOT_TYPED = {"RolloutOperator", "create_asset", "may_be_sent_again"}
"""What is public among the modules of the package only."""


def modules() -> list[str]:
    """Names of the modules with names that users type, as far as this Airflow has what they need."""
    info = get_provider_info()
    told = [name for kind in KINDS for entry in info[kind] for name in entry["python-modules"]]
    return list(filter(_is_for_this_airflow, (*told, *(f"{PACKAGE}.{name}" for name in OTHERS))))


def _is_for_this_airflow(module: str) -> bool:
    try:
        importlib.import_module(module)
    except ImportError as error:
        if "needs Airflow" not in str(error):
            raise
        return False
    return True


def names(module: str) -> dict[str, Any]:
    """The public classes and functions that are defined in a module; of the modules of errors, the errors."""
    found = vars(importlib.import_module(module))
    kinds = type if module.endswith(("errors", "exceptions")) else type | FunctionType
    return {
        name: value
        for name, value in found.items()
        if isinstance(value, kinds)
        and not name.startswith("_")
        and name not in NOT_TYPED
        and (name in found.get("__all__", ()) or value.__module__ == module)
    }
