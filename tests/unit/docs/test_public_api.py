"""The names that users type, with their signatures, as a file: a change of the contract is seen in review.

``python -m tests.unit.docs.test_public_api`` writes the file anew.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_cerebras.version_compat import AIRFLOW_V_3_3_PLUS
from tests.unit.docs.public import PACKAGE, modules, names

SNAPSHOT = Path(__file__).with_name("public_api.txt")


def snapshot() -> str:
    lines = []
    for module in sorted(modules()):
        lines += [
            f"{module.removeprefix(f'{PACKAGE}.')}.{line}"
            for name, value in sorted(names(module).items())
            for line in _lines(name, value)
        ]
    return "\n".join(lines) + "\n"


def _lines(name: str, value: Any) -> list[str]:
    if not isinstance(value, type):
        return [f"{name}{_arguments(value)}"]
    constructor = vars(value).get("__init__")
    lines = [name if constructor is None else f"{name}{_arguments(constructor)}"]
    for member, function in sorted(vars(value).items()):
        if not member.startswith("_") and inspect.isfunction(function):
            lines.append(f"{name}.{member}{_arguments(function)}")
    return lines


def _arguments(function: Any) -> str:
    """Names, kinds and defaults; not the annotations, which differ between Pythons and hurt no caller."""
    signature = inspect.signature(function)
    plain = [
        parameter.replace(annotation=inspect.Parameter.empty, default=_default(parameter.default))
        for name, parameter in signature.parameters.items()
        if name != "self"
    ]
    return str(signature.replace(parameters=plain, return_annotation=inspect.Signature.empty))


@pytest.mark.skipif(not AIRFLOW_V_3_3_PLUS, reason="the newest Airflow has all modules")
def test_the_public_names_are_those_of_the_snapshot() -> None:
    expected = SNAPSHOT.read_text(encoding="utf-8").splitlines()
    assert snapshot().splitlines() == expected, "is the change meant? Then: python -m tests.unit.docs.test_public_api"


def _default(value: Any) -> Any:
    # A function's address and this machine's Python are nothing that a caller knows.
    return ... if (callable(value) and value is not inspect.Parameter.empty) or "python/" in str(value) else value


if __name__ == "__main__":
    SNAPSHOT.write_text(snapshot(), encoding="utf-8")
