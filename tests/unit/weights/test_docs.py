"""Each code of a finding is in the documentation, with the words of the code."""

from __future__ import annotations

import ast
from pathlib import Path

import airflow_provider_cerebras.weights as package
from airflow_provider_cerebras.weights.findings import KINDS

PAGE = (Path(__file__).parents[3] / "docs" / "weights.md").read_text(encoding="utf-8")


def test_the_table_is_made_of_the_codes() -> None:
    table = PAGE.partition("## What the check finds")[2].partition("|---|---|---|---|\n")[2].rstrip("\n")
    rows = [f"| `{code}` | {kind.level} | {kind.meaning} | {kind.remedy} |" for code, kind in KINDS.items()]
    assert table == "\n".join(rows)


def test_each_code_is_used_and_each_that_is_used_has_a_meaning() -> None:
    texts = {
        node.value
        for file in Path(package.__file__).parent.glob("*.py")
        if file.name != "findings.py"
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert set(KINDS) - texts == set()
