"""The page that says what arguments take is as the code has it."""

from __future__ import annotations

import argument_tables

from tests.unit.arguments.forms import OPERATORS


def test_it_is_as_make_arguments_writes_it() -> None:
    assert argument_tables.FILE.read_text("utf-8") == argument_tables.render(), (
        "is the change meant? Then: make arguments"
    )


def test_it_has_each_operator_with_each_argument() -> None:
    page = argument_tables.FILE.read_text("utf-8")
    for name, operator in OPERATORS.items():
        section = page.partition(f"\n## `{name}`\n")[2].partition("\n## ")[0]
        assert [argument for argument in operator.arguments if f"`{argument}`" not in section] == []
