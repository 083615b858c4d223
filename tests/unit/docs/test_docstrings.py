"""The reference is made from the docstrings, so each says everything of every argument."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import BaseOperator

from tests.unit.docs.public import PACKAGE, modules, names

PUBLIC: dict[str, Any] = {
    f"{module.removeprefix(f'{PACKAGE}.')}.{name}": value
    for module in modules()
    for name, value in names(module).items()
}
UNITS = ("seconds", "share of", "how often", "how many")
OPERATORS = {
    name: value for name, value in PUBLIC.items() if isinstance(value, type) and issubclass(value, BaseOperator)
}


def callables() -> dict[str, tuple[Any, str]]:
    """Everything that takes arguments, with the docstring that has to tell of them."""
    found: dict[str, tuple[Any, str]] = {}
    for name, value in PUBLIC.items():
        if not isinstance(value, type):
            # A call takes what the hook's method of the same name takes, and is described there.
            if not name.startswith("api.operations."):
                found[name] = value, value.__doc__ or ""
            continue
        if "__init__" in vars(value):
            found[name] = vars(value)["__init__"], value.__doc__ or ""
        for method, function in vars(value).items():
            if inspect.isfunction(function) and not method.startswith("_") and ":param" in (function.__doc__ or ""):
                found[f"{name}.{method}"] = function, function.__doc__ or ""
    return found


@pytest.mark.parametrize("name", PUBLIC)
def test_each_name_says_what_it_is(name: str) -> None:
    # A dataclass without a docstring gets one that repeats its signature.
    signature = f"{PUBLIC[name].__name__}("
    assert not (PUBLIC[name].__doc__ or signature).startswith(signature)


@pytest.mark.parametrize("name", callables())
def test_each_argument_is_described_once(name: str) -> None:
    function, docstring = callables()[name]
    parameters = inspect.signature(inspect.unwrap(function)).parameters.values()
    described = re.findall(r":param (\w+):", docstring)
    # What is passed on to a base class is described there.
    passed_on = {each.name for each in parameters if each.kind is each.VAR_KEYWORD} - set(described)
    assert sorted(described) == sorted({each.name for each in parameters} - {"self", "cls"} - passed_on)


@pytest.mark.parametrize("name", OPERATORS)
def test_what_is_templated_is_said_to_be(name: str) -> None:
    parts = re.split(r":param (\w+):", OPERATORS[name].__doc__ or "")[1:]
    described = {
        argument: words.partition("\n    :")[0] for argument, words in zip(parts[::2], parts[1::2], strict=True)
    }
    templated = {argument for argument, words in described.items() if "(templated)" in words}
    # What only base classes take is described there.
    assert templated == set(OPERATORS[name].template_fields) & set(described)


@pytest.mark.parametrize("name", OPERATORS)
def test_a_number_has_a_unit_and_a_default_is_told(name: str) -> None:
    docstring = " ".join((OPERATORS[name].__doc__ or "").split())
    for parameter in inspect.signature(inspect.unwrap(OPERATORS[name].__init__)).parameters.values():
        words = docstring.partition(f":param {parameter.name}:")[2].partition(" :param ")[0].partition(" :raises ")[0]
        if isinstance(parameter.default, float | int) and not isinstance(parameter.default, bool):
            assert any(unit in words for unit in UNITS), parameter.name
        if isinstance(parameter.default, float | int | str):
            assert str(parameter.default) in words or "Default" in words or "default" in words, parameter.name
