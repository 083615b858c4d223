"""Each error is in the documentation, and what the page says of it is true."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

import airflow_provider_cerebras
from airflow_provider_cerebras import exceptions
from airflow_provider_cerebras.api import errors
from airflow_provider_cerebras.weights import errors as weights_errors

PAGE = (Path(__file__).parents[3] / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
GLANCE = PAGE.partition("## Errors at a glance")[2].partition("\n## ")[0]
BASES = {"CerebrasError", "CerebrasAPIError"}
"""Users do not see these as such."""
ERRORS: dict[str, type[Exception]] = {
    name: error
    for module in (exceptions, errors, weights_errors)
    for name, error in vars(module).items()
    if isinstance(error, type) and issubclass(error, Exception) and error.__module__ == module.__name__
}


def test_all_errors_are_here() -> None:
    assert {"ModelVersionFailed", "WaitTimeout", "RateLimited", "OutcomeUnknown", *BASES} <= set(ERRORS)


@pytest.mark.parametrize("name", sorted(set(ERRORS) - BASES))
def test_each_error_has_symptom_cause_and_remedy(name: str) -> None:
    section = PAGE.partition(f"\n### `{name}`\n")[2].partition("\n##")[0]
    assert [word for word in ("**Symptom.**", "**Cause.**", "**Remedy.**") if word not in section] == []


@pytest.mark.parametrize("name", sorted(set(ERRORS) - BASES))
def test_the_table_says_whether_airflow_retries_an_error(name: str) -> None:
    rows = [row for row in GLANCE.splitlines() if f"[`{name}`](#{name.lower()})" in row]
    assert len(rows) == 1
    retried = rows[0].split("|")[2].strip()
    assert retried == ("no" if issubclass(ERRORS[name], AirflowFailException) else "yes")


@pytest.mark.parametrize("name", sorted(BASES))
def test_the_bases_are_named(name: str) -> None:
    assert f"`{name}`" in PAGE


def test_no_error_is_described_that_does_not_exist() -> None:
    headings = set(re.findall(r"^### `(\w+)`$", PAGE, re.MULTILINE))
    assert headings - set(ERRORS) == {"AirflowSensorTimeout"}


@cache
def texts() -> str:
    """All texts in the code of the package, with an ellipsis for what is filled in."""
    found = []
    for file in Path(airflow_provider_cerebras.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                pieces = [each.value if isinstance(each, ast.Constant) else "…" for each in node.values]
                found.append("".join(map(str, pieces)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return "\n".join(found)


QUOTED = [
    " ".join(words.split())
    for symptom in re.findall(r"\*\*Symptom\.\*\*(.*?)\n\n", PAGE, re.DOTALL)
    for words in re.findall(r'"(.*?)"', symptom, re.DOTALL)
]


@pytest.mark.parametrize("words", QUOTED)
def test_the_words_of_a_symptom_are_those_of_the_error(words: str) -> None:
    pieces = [piece.strip(" .") for piece in words.split("…") if piece.strip(" .()")]
    assert pieces
    assert [piece for piece in pieces if piece not in texts()] == []
