"""Each test runs the supervisor in a process of its own, for it takes over signals and buries every orphan."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

SCRIPTS = Path(__file__).parents[3] / "scripts"

# A process that starts one in a group of its own, and one that loses its parent.
FAMILY = """
import os, subprocess, sys, time
other_group = subprocess.Popen(["sleep", "600"], process_group=0)
shell = subprocess.run(["sh", "-c", "sleep 600 >/dev/null & echo $!"], stdout=subprocess.PIPE)
print(os.getpid(), other_group.pid, int(shell.stdout), flush=True)
time.sleep(600)
"""


def supervise(tmp_path: Path, body: str) -> subprocess.Popen[str]:
    script = f"""
import os, sys, time
from pathlib import Path
sys.path.insert(0, {str(SCRIPTS)!r})
from processes import Failure, Interrupted, Processes

logs = Path({str(tmp_path / "logs")!r})
with Processes(logs, os.environ) as processes:
{textwrap.indent(textwrap.dedent(body), "    ")}
"""
    return subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_all_descendants(tmp_path: Path, number: signal.Signals) -> None:
    supervisor = supervise(
        tmp_path,
        f"""
        processes.start("family", sys.executable, "-c", {FAMILY!r})
        processes.wait_until("a word", lambda: (logs / "family.log").read_text().endswith("\\n"), timeout=30)
        print((logs / "family.log").read_text(), flush=True)
        while True:
            processes.pause()
        """,
    )
    assert supervisor.stdout is not None
    family = [int(pid) for pid in supervisor.stdout.readline().split()]
    assert len(family) == 3
    assert all(psutil.pid_exists(pid) for pid in family)

    supervisor.send_signal(number)

    _, error = supervisor.communicate(timeout=30)
    assert f"Interrupted: {number.name}" in error
    assert [pid for pid in family if psutil.pid_exists(pid)] == []


def test_a_process_that_should_last_and_ends_is_a_failure_with_its_last_words(tmp_path: Path) -> None:
    supervisor = supervise(
        tmp_path,
        """
        processes.start("service", "sh", "-c", "echo no such port; exit 3")
        while True:
            processes.pause()
        """,
    )
    _, error = supervisor.communicate(timeout=30)
    assert "Failure: service ended with exit code 3" in error
    assert "no such port" in error


def test_a_process_that_should_end_may_not_fail(tmp_path: Path) -> None:
    supervisor = supervise(
        tmp_path,
        """
        processes.run("good", "true")
        processes.run("bad", "false")
        """,
    )
    _, error = supervisor.communicate(timeout=30)
    assert "Failure: bad ended with exit code 1" in error


def test_nothing_is_waited_for_without_end(tmp_path: Path) -> None:
    began = time.monotonic()
    supervisor = supervise(tmp_path, """processes.wait_until("rain", lambda: False, timeout=1)""")
    _, error = supervisor.communicate(timeout=30)
    assert "Failure: waited 1 s in vain for rain" in error
    assert time.monotonic() - began < 20


def test_the_processes_see_the_given_environment_only(tmp_path: Path) -> None:
    supervisor = supervise(
        tmp_path,
        """
        quiet = Processes(logs / "quiet", {"PATH": os.environ["PATH"]})
        with quiet:
            quiet.run("env", "env")
        """,
    )
    supervisor.communicate(timeout=30)
    seen = (tmp_path / "logs" / "quiet" / "env.log").read_text()
    assert f"PATH={os.environ['PATH']}" in seen
    assert "HOME=" not in seen
