"""Each code of a finding has a meaning; the documentation has them from the code (tests/unit/docs/test_messages.py)."""

from __future__ import annotations

import ast
from pathlib import Path

import airflow_provider_cerebras.weights as package
from airflow_provider_cerebras.weights.findings import KINDS


def test_each_code_is_used_and_each_that_is_used_has_a_meaning() -> None:
    texts = {
        node.value
        for file in Path(package.__file__).parent.glob("*.py")
        if file.name != "findings.py"
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert set(KINDS) - texts == set()
