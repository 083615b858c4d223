"""Which room may look into which."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import airflow_provider_cerebras

PACKAGE = Path(airflow_provider_cerebras.__file__).parent


def imported_modules(file: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def test_the_api_can_be_used_without_airflow() -> None:
    program = (
        "import importlib, pkgutil, sys\n"
        "import airflow_provider_cerebras.api as api\n"
        "names = [module.name for module in pkgutil.walk_packages(api.__path__, api.__name__ + '.')]\n"
        "for name in names: importlib.import_module(name)\n"
        "assert len(names) >= 6, names\n"
        "print([name for name in sys.modules if name.split('.')[0] == 'airflow'])\n"
    )
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert finished.stdout.strip() == "[]"


def test_httpx_is_imported_in_one_module_alone() -> None:
    importing = {
        file.relative_to(PACKAGE).as_posix()
        for file in PACKAGE.rglob("*.py")
        if any(name.split(".")[0] == "httpx" for name in imported_modules(file))
    }
    assert importing == {"api/client.py"}


def test_the_api_imports_nothing_of_the_other_rooms() -> None:
    own = {
        name
        for file in (PACKAGE / "api").rglob("*.py")
        for name in imported_modules(file)
        if name.startswith(f"{PACKAGE.name}.") and not name.startswith(f"{PACKAGE.name}.api")
    }
    assert own == {"airflow_provider_cerebras._version"}
