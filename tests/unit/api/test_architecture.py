"""Which room may look into which."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
import rooms

import airflow_provider_cerebras

PACKAGE = Path(airflow_provider_cerebras.__file__).parent
ARCHITECTURE = rooms.load(Path(__file__).parents[3] / "docs" / "architecture.toml")


def imported_modules(file: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == PACKAGE.name:
            found.update(f"{node.module}.{alias.name}" for alias in node.names if not alias.name.startswith("__"))
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def own_modules(file: Path) -> set[str]:
    """The modules of this package that a file imports, by their paths from the package on."""
    prefix = f"{PACKAGE.name}."
    return {name.removeprefix(prefix) for name in imported_modules(file) if name.startswith(prefix)}


def test_every_module_is_in_one_room() -> None:
    modules = {file.stem for file in PACKAGE.glob("*.py")} | {
        file.parent.name for file in PACKAGE.glob("*/__init__.py")
    }
    named = [*ARCHITECTURE.everybody, *(module for room in ARCHITECTURE.rooms.values() for module in room.modules)]
    assert sorted(named) == sorted(modules), "name each module once, in docs/architecture.toml"


@pytest.mark.parametrize("room", ARCHITECTURE.rooms)
def test_a_room_looks_into_those_that_are_named_and_into_no_other(room: str) -> None:
    seen = {
        ARCHITECTURE.room_of(module)
        for top in ARCHITECTURE.rooms[room].modules
        for file in ((PACKAGE / top).rglob("*.py") if (PACKAGE / top).is_dir() else [PACKAGE / f"{top}.py"])
        for module in own_modules(file)
    }
    assert seen - {room, None} == set(ARCHITECTURE.rooms[room].sees)


def test_what_everybody_may_import_looks_into_no_room() -> None:
    modules = {module for name in ARCHITECTURE.everybody for module in own_modules(PACKAGE / f"{name}.py")}
    assert {ARCHITECTURE.room_of(module) for module in modules} <= {None}


def test_no_way_leads_back() -> None:
    rows = ARCHITECTURE.rows()  # it would not come to an end
    depth = {name: number for number, row in enumerate(rows) for name in row}
    assert all(depth[above] < depth[below] for above, below in ARCHITECTURE.arrows())


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


def test_httpx_is_imported_in_one_module_alone_and_by_the_emulator_s_own_client() -> None:
    importing = {
        file.relative_to(PACKAGE).as_posix()
        for file in PACKAGE.rglob("*.py")
        if any(name.split(".")[0] == "httpx" for name in imported_modules(file))
    }
    assert importing == {"api/client.py", "emulator/control/client.py"}
