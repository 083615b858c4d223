"""The commands of the quick start, in the order in which a reader types them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCS = Path(__file__).parents[3] / "docs"
PAGE = (DOCS / "quick-start.md").read_text(encoding="utf-8")
# Not run here: the package is installed already, and the demo has tests of its own.
ELSEWHERE = ("pip install '.[emulator]'", "make demo")


@contextmanager
def emulator(command: str, env: dict[str, str]) -> Iterator[str]:
    """Run the command that the page gives, on a free port and quickly; what it prints when it is ready."""
    process = subprocess.Popen(
        f"exec {command} --port 0 --sync-seconds 0 --rollout-seconds 0",
        shell=True,
        env=env,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline() + process.stdout.readline()
    finally:
        process.terminate()
        process.communicate(timeout=30)


@pytest.mark.usefixtures("airflow_db")
def test_the_quick_start_does_what_it_says(tmp_path: Path) -> None:
    commands = [block for block in re.findall(r"```shell\n(.*?)\n```", PAGE, re.DOTALL) if block not in ELSEWHERE]
    start, export, run, status = commands
    assert "{literalinclude} snippets/first_release.py" in PAGE
    shutil.copy(DOCS / "snippets" / "first_release.py", tmp_path)
    env = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "AIRFLOW__CORE__DAGS_FOLDER": str(tmp_path),
    }
    with emulator(start, env) as printed:
        port = re.findall(r"http://127\.0\.0\.1:(\d+)", printed)[0]
        # The connection that the page shows is the one that the emulator prints, but for the port.
        assert re.sub(r"\s", "", export) == re.sub(
            r"\s", "", printed.splitlines()[1].replace(f'"port": {port}', '"port": 8900')
        )
        script = "\n".join((export.replace('"port": 8900', f'"port": {port}'), run, status))
        finished = subprocess.run(
            ["/bin/sh", "-ec", script], env=env, capture_output=True, text=True, timeout=120, check=False
        )

    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert re.search(r"my-org-gpt-oss-120b *\| gpt-oss-120b *\| 1 ", finished.stdout), finished.stdout
    output = finished.stdout + finished.stderr
    assert "orgs/my-org/models/gpt-oss-120b/versions/1" in output
    assert re.search(r"state=success|Marking run .* successful", output), output
