"""The words of docs, code and tests: none that is misspelled, none for which the glossary has a standard term."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
PROSE = (
    "CHANGELOG.md",
    "CODE_OF_CONDUCT.md",
    "CONTRIBUTING.md",
    "README.md",
    "SECURITY.md",
    "airflow_provider_cerebras",
    "dags_examples",
    "docs",
    "scripts",
    "tests",
)


def findings(*paths: str) -> list[str]:
    command = (sys.executable, "-m", "codespell_lib", "-D-", "-Ddocs/wording.txt", *paths)
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout.splitlines()


def test_the_wording_is_that_of_the_glossary() -> None:
    assert findings(*PROSE) == []


def test_another_wording_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("Whoever waits for it shall recieve it.\n", encoding="utf-8")
    assert [line.split(": ", 1)[1] for line in findings(str(page))] == [
        "Whoever ==> Name the actor",
        "shall ==> must  | is to",
        "recieve ==> receive",
    ]
