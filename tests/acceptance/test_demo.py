"""``make demo`` and ``make standalone`` as a user runs them: on real components, and with all that can go wrong."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psutil
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
STEPS = ["fine_tune", "check", "upload", "wait_for_sync", "deploy", "wait_for_rollout", "verify"]
VERSION = "orgs/my-org/models/gpt-oss-120b/versions/1"


class Make:
    """A run of make in a process group of its own, as a shell would start it.

    :param home: The user's home, which need not exist.
    """

    def __init__(self, target: str, home: Path, conf: dict[str, Any] | None = None, **variables: str) -> None:
        command = ["make", target, *(f"{name}={value}" for name, value in variables.items())]
        if conf is not None:
            command.append(f"CONF={json.dumps(conf)}")
        self.output = ""
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "HOME": str(home)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            process_group=0,
        )

    def read_until(self, pattern: str) -> re.Match[str]:
        """Read lines until one has the pattern in it."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.output += line
            if match := re.search(pattern, line):
                return match
        raise AssertionError(f"never said {pattern!r}:\n{self.output}")

    def interrupt(self) -> None:
        """Ctrl-C: a terminal sends SIGINT to the whole group."""
        os.killpg(self._process.pid, signal.SIGINT)

    def wait(self) -> int:
        """Wait for the end, and return the exit code."""
        rest, _ = self._process.communicate(timeout=300)
        self.output += rest
        return self._process.returncode

    def stop(self) -> None:
        """End it, if a test has failed before it did."""
        if self._process.poll() is None:
            self.interrupt()
            self._process.wait(timeout=60)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A home that does not exist, before and after."""
    home = tmp_path / "home"
    yield home
    assert not home.exists()


@pytest.fixture
def make(home: Path) -> Iterator[Any]:
    """Start make; in the end no process of the demo may be left."""
    started: list[Make] = []

    def start(target: str, conf: dict[str, Any] | None = None, **variables: str) -> Make:
        started.append(Make(target, home, conf, **variables))
        return started[-1]

    yield start
    for each in started:
        each.stop()
    assert processes_of_the_demo() == {}


def processes_of_the_demo() -> dict[int, str]:
    """The command lines of all processes that have the demo's home, by process id."""
    found = {}
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("HOME", "").startswith(str(ROOT / ".demo")):
                found[process.pid] = " ".join(process.cmdline())
    return found


def test_the_demo_proves_that_the_trained_weights_answer(make: Any) -> None:
    demo = make("demo")
    exit_code = demo.wait()

    assert exit_code == 0, demo.output
    table = re.findall(r"^  (\w+) +(\w+) +\d+\.\d$", demo.output, flags=re.MULTILINE)
    assert table == [(step, "success") for step in STEPS]
    assert re.search(rf"^  model version +{VERSION}$", demo.output, flags=re.MULTILINE)
    assert re.search(r"^  deployment +[0-9a-f-]{36}$", demo.output, flags=re.MULTILINE)
    assert re.search(rf"^  my-org-gpt-oss-120b serves +{VERSION}$", demo.output, flags=re.MULTILINE)
    assert re.search(r"^  check +files: 2, tensors: 1, no error$", demo.output, flags=re.MULTILINE)
    assert re.search(r"^  digest, the same before .* [0-9a-f]{12}\.\.\.$", demo.output, flags=re.MULTILINE)
    digest = re.search(r"^  trained weights .* ([0-9a-f]{12})\.\.\.$", demo.output, flags=re.MULTILINE)
    assert digest is not None
    assert re.search(rf" fp_{digest[1]}[0-9a-f]{{4}}-{digest[1]}$", demo.output, flags=re.MULTILINE)


@pytest.mark.parametrize("moment", ["starting", "fine_tune +running", "wait_for_sync +deferred"])
def test_ctrl_c_leaves_nothing_behind(moment: str, make: Any) -> None:
    demo = make("demo")
    demo.read_until(moment)
    if moment != "starting":
        assert processes_of_the_demo()

    demo.interrupt()

    assert demo.wait() != 0
    assert processes_of_the_demo() == {}
    assert "Ended by SIGINT; nothing is left running." in demo.output


def test_weights_that_cannot_be_synced_end_it_with_the_reason(make: Any) -> None:
    demo = make("demo")
    emulator = demo.read_until(r"emulator at (http://\S+);")[1]
    fault = {"operation": "upload_model_version", "fail_sync": "the third tensor is made of cheese"}
    httpx.post(f"{emulator}/_emulator/faults", json=fault, trust_env=False, timeout=60).raise_for_status()

    assert demo.wait() != 0
    assert "The demo failed: wait_for_sync failed" in demo.output
    assert "the third tensor is made of cheese" in demo.output


def test_weights_that_are_overwritten_while_they_are_synced_end_it_red(make: Any) -> None:
    demo = make("demo", OVERWRITE="1")

    assert demo.wait() != 0
    assert "The demo failed: wait_for_sync failed" in demo.output
    assert "WeightsChanged" in demo.output
    assert "may hold a mixture" in demo.output


def test_an_endpoint_of_another_architecture_ends_it_with_the_servers_words(make: Any) -> None:
    demo = make("demo", {"endpoint_id": "my-org-llama3.1-8b"})

    assert demo.wait() != 0
    assert "The demo failed: deploy failed" in demo.output
    assert re.search("llama3.1-8b.*gpt-oss-120b|gpt-oss-120b.*llama3.1-8b", demo.output.partition("The demo failed")[2])


def test_a_parameter_that_the_dag_refuses_ends_it_before_the_run(make: Any) -> None:
    demo = make("demo", {"s3_folder": "/a/local/folder"})

    assert demo.wait() != 0
    assert "The demo failed: Airflow answers 400" in demo.output
    assert "s3_folder" in demo.output


def test_a_component_that_dies_ends_it_with_its_name(make: Any) -> None:
    demo = make("demo")
    demo.read_until("fine_tune +running")
    triggerer, *_ = [pid for pid, command in processes_of_the_demo().items() if "triggerer" in command]
    os.killpg(triggerer, signal.SIGKILL)

    assert demo.wait() != 0
    assert "The demo failed: triggerer ended with exit code -9" in demo.output


def test_standalone_serves_the_ui_with_everything_in_place(make: Any) -> None:
    standalone = make("standalone")
    url = standalone.read_until(r"Airflow +(http://\S+)")[1]
    api = httpx.Client(base_url=httpx.URL(url).copy_with(path="/"), trust_env=False, timeout=60)
    token = api.get("/auth/token").json()["access_token"]
    api.headers["Authorization"] = f"Bearer {token}"

    assert "<html" in httpx.get(url, trust_env=False, follow_redirects=True, timeout=60).text
    assert api.get("/api/v2/dags/finetune_upload_deploy").json()["is_paused"] is False
    connection = api.get("/api/v2/connections/cerebras_default").json()
    assert (connection["conn_type"], connection["host"]) == ("cerebras", "http://127.0.0.1")
    emulator = standalone.read_until(r"Cerebras emulator +(http://\S+)")[1]
    assert httpx.get(emulator, trust_env=False, timeout=60).headers["content-type"].startswith("text/html")
    tested = api.post("/api/v2/connections/test", json={"connection_id": "cerebras_default", **connection})
    assert tested.json()["status"] is True, tested.text

    standalone.interrupt()
    assert standalone.wait() != 0
    assert processes_of_the_demo() == {}


def test_without_a_python_that_is_new_enough_it_says_so(tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    result = subprocess.run(
        ["make", "demo", "PYTHON="],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode != 0
    assert "No Python >= 3.11 was found" in result.stdout + result.stderr
