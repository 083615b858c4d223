"""Write .airflow-registry.yaml, by which the public registry of Airflow's providers shows this one: `make registry`.

It names what the provider info does, each by the first sentence of its docstring. It takes Airflow 3.3.
"""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from airflow_provider_cerebras import get_provider_info

if TYPE_CHECKING:
    from collections.abc import Iterator

FILE = Path(__file__).resolve().parent.parent / ".airflow-registry.yaml"
PACKAGE = "airflow_provider_cerebras"
ROOMS = ("hooks", "operators", "sensors", "triggers")
OTHERS = (
    "task_groups.cerebras_release",
    "assets.model_asset",
    "assets.endpoint_asset",
    "retry_policies.CerebrasRetryPolicy",
)
HEADER = "# Made by `make registry`.\n"


def render() -> str:
    """The content of the file."""
    info = get_provider_info()
    content: dict[str, object] = {
        "package-name": info["package-name"],
        "display-name": info["name"],
        "description": info["description"],
    }
    for room in ROOMS:
        modules = [module for entry in info[room] for module in entry["python-modules"]]
        content[room] = [_entry(path) for module in modules for path in _classes(module)]
    content["other"] = [_entry(f"{PACKAGE}.{path}") for path in OTHERS]
    return HEADER + yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=1000)


def _classes(module: str) -> Iterator[str]:
    for name, value in vars(importlib.import_module(module)).items():
        public = isinstance(value, type) and not name.startswith("_") and value.__module__ == module
        # What has a name that is not ours is a base that several of them share.
        if public and name.startswith("Cerebras"):
            yield f"{module}.{name}"


def _entry(path: str) -> dict[str, str]:
    module, _, name = path.rpartition(".")
    documented: object = getattr(importlib.import_module(module), name)
    summary = (inspect.getdoc(documented) or "").partition("\n\n")[0]
    return {"module": path, "description": " ".join(summary.split()).rstrip(".")}


if __name__ == "__main__":
    FILE.write_text(render(), "utf-8")
