"""The example of "Testing your own DAGs", run as its reader would run it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).parents[3] / "docs"
EXAMPLE = DOCS / "examples" / "testing"
PAGE = (DOCS / "testing-your-dags.md").read_text(encoding="utf-8")


def test_the_example_passes() -> None:
    # What these tests have set for Airflow is not there for the reader.
    env = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_")}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=EXAMPLE, env=env, check=False, timeout=280)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    tests = re.findall(r"^def test_", (EXAMPLE / "tests" / "test_weekly_release.py").read_text(), re.MULTILINE)
    assert f"{len(tests)} passed" in ended.stdout


def test_the_page_shows_all_of_it() -> None:
    shown = set(re.findall(r"\{literalinclude\} examples/testing/(\S+)", PAGE))
    files = {file.relative_to(EXAMPLE).as_posix() for file in EXAMPLE.rglob("*") if file.suffix in {".py", ".ini"}}
    assert shown == files
    sections = re.findall(r"^# \[(.+)\]$", (EXAMPLE / "tests" / "test_weekly_release.py").read_text(), re.MULTILINE)
    assert [section for section in sections if f':start-after: "[{section}]"' not in PAGE] == []
