"""What is of use without Airflow. Which module may import which is in pyproject.toml; `lint-imports` checks it."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(("package", "least"), [("api", 6), ("evaluation", 1), ("weights", 1)])
def test_it_is_imported_without_airflow(package: str, least: int) -> None:
    program = (
        "import importlib, pkgutil, sys\n"
        f"import airflow_provider_cerebras.{package} as package\n"
        "names = [module.name for module in pkgutil.walk_packages(package.__path__, package.__name__ + '.')]\n"
        "for name in names: importlib.import_module(name)\n"
        f"assert len(names) >= {least}, names\n"
        "print([name for name in sys.modules if name.split('.')[0] == 'airflow'])\n"
    )
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert finished.stdout.strip() == "[]"
