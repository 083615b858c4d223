from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import httpx
import pytest

from airflow_provider_cerebras.emulator.cli import main, parse_arguments
from airflow_provider_cerebras.emulator.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

# The organizations and the fault rules are for the configuration file alone.
ONLY_IN_A_FILE = {"organizations", "faults", "answers"}
OPTIONS = {name: field for name, field in Settings.model_fields.items() if name not in ONLY_IN_A_FILE}
COMMAND = [sys.executable, "-m", "airflow_provider_cerebras.emulator"]


def test_without_options_all_is_as_the_defaults_say() -> None:
    assert parse_arguments([]) == Settings()


def test_each_option_sets_what_it_is_named_after() -> None:
    line = (
        "--host 0.0.0.0 --port 0 --management-key m --inference-key i --org acme --sync-seconds 0.5 "
        "--rollout-seconds 7 --s3-endpoint-url http://127.0.0.1:9000 --error-style inference "
        "--sync-failure-status ERROR --no-done-on-failure --rollout-failure-state aborted "
        "--alias-clash-status 422 --deploy-during-rollout refuse --deployed-models live"
    )
    assert parse_arguments(line.split()) == Settings(
        host="0.0.0.0",
        port=0,
        management_key="m",
        inference_key="i",
        org="acme",
        sync_seconds=0.5,
        rollout_seconds=7,
        s3_endpoint_url="http://127.0.0.1:9000",
        error_style="inference",
        sync_failure_status="ERROR",
        done_on_failure=False,
        rollout_failure_state="aborted",
        alias_clash_status=422,
        deploy_during_rollout="refuse",
        deployed_models="live",
    )


@pytest.mark.parametrize(
    ("line", "option"),
    [
        ("--port 65536", "--port"),
        ("--port x", "--port"),
        ("--org my/org", "--org"),
        ("--sync-seconds -1", "--sync-seconds"),
        ("--rollout-seconds inf", "--rollout-seconds"),
        ("--alias-clash-status 500", "--alias-clash-status"),
        ("--s3-endpoint-url minio:9000", "--s3-endpoint-url"),
        ("--unknown", "--unknown"),
    ],
)
def test_what_is_not_understood_is_an_error_that_names_the_option(
    line: str, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_info:
        parse_arguments(line.split())
    assert exit_info.value.code == 2
    assert option in capsys.readouterr().err.splitlines()[-1]


def test_the_help_explains_each_option_with_its_default(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main(["--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert exit_info.value.code == 0
    for name, field in OPTIONS.items():
        default = "none" if field.default is None else field.default
        assert f"--{name.replace('_', '-')}" in shown
        # argparse may break a line after any hyphen.
        assert f"{field.description} (default: {default})".replace(" ", "") in shown.replace(" ", "")


def test_a_port_that_is_taken_is_said_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["--port", str(port)]) == 1
    assert capsys.readouterr().err.startswith(f"Cannot listen on 127.0.0.1 port {port}: ")


def without(missing: str, folder: Path) -> dict[str, str]:
    """An environment in which a package is not there."""
    (folder / "sitecustomize.py").write_text(f"import sys\nsys.modules[{missing!r}] = None\n")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])}


@pytest.mark.parametrize(
    ("missing", "options", "advice"),
    [
        ("fastapi", [], "The emulator needs fastapi: pip install 'airflow-provider-cerebras[emulator]'"),
        ("uvicorn", [], "The emulator needs uvicorn: pip install 'airflow-provider-cerebras[emulator]'"),
        (
            "boto3",
            ["--port", "0", "--s3-endpoint-url", "http://127.0.0.1:9"],
            "The emulator with --s3-endpoint-url needs boto3: pip install 'airflow-provider-cerebras[s3]'",
        ),
    ],
)
def test_without_the_extra_it_says_how_to_install_it(
    missing: str, options: list[str], advice: str, tmp_path: Path
) -> None:
    environment = without(missing, tmp_path)
    ended = subprocess.run([*COMMAND, *options], capture_output=True, text=True, env=environment, check=False)
    assert (ended.returncode, ended.stderr) == (1, f"{advice}\n")


def test_it_needs_no_boto3_as_long_as_it_reads_no_weights(tmp_path: Path) -> None:
    environment = without("boto3", tmp_path)
    with subprocess.Popen([*COMMAND, "--port", "0"], stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("Cerebras emulator ready at ")
        process.terminate()


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_it_says_when_it_is_ready_and_ends_well_on_a_signal(ending: signal.Signals, tmp_path: Path) -> None:
    options = ["--port", "0", "--state", str(tmp_path / "state.db")]
    with (
        subprocess.Popen([*COMMAND, *options], stdout=subprocess.PIPE, text=True) as process,
        ThreadPoolExecutor() as pool,
    ):
        assert process.stdout is not None
        ready, connection = process.stdout.readline(), process.stdout.readline()
        url = ready.removeprefix("Cerebras emulator ready at ").strip()
        assert connection.startswith("export AIRFLOW_CONN_CEREBRAS_DEFAULT='{")
        fields = json.loads(shlex.split(connection)[1].partition("=")[2])
        assert f"{fields['host']}:{fields['port']}" == url
        with httpx.Client(base_url=url, timeout=60) as client:
            assert client.get("/_emulator/health").status_code == 200
            client.post("/_emulator/faults", json={"operation": "*", "hold": True})
            held = pool.submit(client.get, "/management/v1/orgs/my-org/models")
            assert client.get("/_emulator/requests", params={"stage": "held", "wait": 60}).json()["requests"]
            process.send_signal(ending)
            # The request was under way, so it gets its answer, which is that it has no key.
            assert held.result().status_code == 401
        assert process.wait() == 0
    assert [each.name for each in tmp_path.iterdir()] == ["state.db"]
