"""The commands against the emulator over a real socket: what they print, and with which exit code they end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from airflow_provider_cerebras.assets.record import Record, ReleaseOutcome
from airflow_provider_cerebras.cli.definition import COMMANDS, main
from airflow_provider_cerebras.cli.run import NOT_READ, WRONG_USE
from airflow_provider_cerebras.operators._release import store_record
from airflow_provider_cerebras.version_compat import AIRFLOW_V_3_2_PLUS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.conftest import Service

FULL = Path("/dev/full")
Run = "Callable[..., tuple[int, str, str]]"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a command; its exit code, and what it printed."""

    def run(*argv: str) -> tuple[int, str, str]:
        capsys.readouterr()  # what Airflow 2 logs of the test's own requests
        with pytest.raises(SystemExit) as end:
            main(argv)
        out, err = capsys.readouterr()
        code = end.value.code
        assert isinstance(code, int)
        return code, out, err

    return run


def read(run: Callable[..., tuple[int, str, str]], *argv: str) -> Any:
    code, out, err = run(*argv, "-o", "json")
    assert code == 0, err
    return json.loads(out)


class TestStatus:
    def test_it_says_what_serves_and_what_rolls_out(self, service: Service, run: Any) -> None:
        service.new_deployment()
        service.new_deployment(done=False)
        (row,) = [row for row in read(run, "status") if row["endpoint"] == service.endpoint_id]
        assert (row["serves"], row["rolls_out"]) == (1, [2])
        assert row["model_version"] == service.version_name(1)
        assert row["since"].endswith("+00:00")

    def test_aliases_are_those_of_the_user(self, service: Service, run: Any) -> None:
        name = service.new_version("production", f"airflow-{'0' * 40}-0")
        service.api("POST", f"/endpoints/{service.endpoint_id}:deployModel", {"model": name})
        service.finish()
        (row,) = [row for row in read(run, "status") if row["endpoint"] == service.endpoint_id]
        assert row["aliases"] == ["production"]

    def test_nothing_but_get_is_sent(self, service: Service, run: Any) -> None:
        service.new_deployment()
        before = len(service.requests())
        for argv in (["status"], ["versions", service.arch], ["history", service.endpoint_id], ["doctor"]):
            run(*argv)
        assert {method for method, _ in service.sent_since(before)} == {"GET"}


def test_versions_are_listed_newest_first(service: Service, run: Any) -> None:
    service.new_version("first")
    service.new_version(fail="AccessDenied")
    rows = read(run, "versions", service.arch)
    assert [(row["version"], row["state"]) for row in rows] == [(2, "failed"), (1, "succeeded")]
    assert "AccessDenied" in rows[0]["detail"]


def test_the_history_says_which_deployment_serves(service: Service, run: Any) -> None:
    service.new_deployment()
    service.new_deployment(fail="no capacity")
    rows = read(run, "history", service.endpoint_id)
    assert {row["version"]: (row["state"], row["serves"]) for row in rows} == {
        1: ("succeeded", True),
        2: ("failed", False),
    }


def record(deployment_id: str, number: int, **changes: Any) -> Record:
    return Record(
        **{
            "outcome": ReleaseOutcome.RELEASED,
            "endpoint_id": "my-org-gpt-oss-120b",
            "dag_id": "weekly",
            "run_id": f"run/{number}",
            "group_id": "",
            "attempt": 0,
            "steps": (),
            "deployment_id": deployment_id,
            "model_version": f"orgs/my-org/models/gpt-oss-120b/versions/{number}",
            "concluded_at": f"2026-03-0{number}T00:00:00+00:00",
            **changes,
        }
    )


@pytest.mark.parametrize("prefix", ["", "file://"])
def test_the_history_says_from_records_who_released_what(
    service: Service, run: Any, tmp_path: Path, prefix: str
) -> None:
    released, by_hand = service.new_deployment(), service.new_deployment()
    rolled_back = record(
        "gone",
        3,
        outcome=ReleaseOutcome.ROLLED_BACK,
        rollback_deployment_id=released,
        served_before=service.version_name(1),
    )
    for each in (rolled_back, record("other", 4, endpoint_id="other")):
        store_record(f"{prefix}{tmp_path}", each)
    for name, text in {"broken": "{", "list": "[]", "else": '{"dag_id": 7}'}.items():
        (tmp_path / f"{name}.json").write_text(text, encoding="utf-8")

    rows = {
        row["deployment_id"]: row
        for row in read(run, "history", service.endpoint_id, "--records", f"{prefix}{tmp_path}")
    }

    assert list(rows) == [by_hand, released, "gone"]
    said = {key: (row["released_by"], row["outcome"]) for key, row in rows.items()}
    assert said == {
        by_hand: (None, None),
        released: ("weekly, run run/3", "rollback of this release"),
        "gone": ("weekly, run run/3", "rolled_back"),
    }
    assert rows["gone"]["version"] == 3
    assert "not listed any more" in rows["gone"]["detail"]
    assert "records read: 2" in run("history", service.endpoint_id, "--records", f"{prefix}{tmp_path}")[1]


class TestOutput:
    def test_table_yaml_and_json_say_the_same(self, service: Service, run: Any) -> None:
        service.new_version("first")
        _, table, _ = run("versions", service.arch)
        _, text, _ = run("versions", service.arch, "-o", "yaml")
        assert yaml.safe_load(text) == read(run, "versions", service.arch)
        assert "s3://my-bucket/weights" in table
        assert "first" in table

    def test_where_there_is_nothing_the_table_says_so(self, service: Service, run: Any) -> None:
        code, out, _ = run("versions", service.arch)
        assert (code, out) == (0, f"There are no versions of {service.arch!r}.\n")


class TestExitCodes:
    def test_a_connection_that_is_not_defined_is_wrong_use(self, service: Service, run: Any) -> None:
        code, out, err = run("status", "--conn-id", "missing")
        assert (code, out) == (WRONG_USE, "")
        assert "missing" in err

    def test_a_service_that_refuses_is_not_read(self, service: Service, run: Any) -> None:
        service.add_fault("list_endpoints", status=403)
        code, out, _ = run("status")
        assert (code, out) == (NOT_READ, "")

    def test_a_reader_that_leaves_early_is_no_error(
        self, service: Service, run: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        reading, writing = os.pipe()
        os.close(reading)
        for output in ("table", "json", "yaml"):
            with monkeypatch.context() as patch, os.fdopen(os.dup(writing), "w") as closed:
                patch.setattr(sys, "stdout", closed)
                with pytest.raises(SystemExit) as end:
                    main(["status", "-o", output])
                assert end.value.code == 0
        os.close(writing)

    @pytest.mark.skipif(not FULL.exists(), reason="only Linux has a file that is always full")
    @pytest.mark.parametrize("output", ["table", "json", "yaml"])
    def test_a_full_disk_is_said_in_one_line(
        self, service: Service, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], output: str
    ) -> None:
        with monkeypatch.context() as patch, FULL.open("w") as full:
            patch.setattr(sys, "stdout", full)
            with pytest.raises(SystemExit) as end:
                main(["status", "-o", output])
        assert end.value.code == NOT_READ
        assert capsys.readouterr().err.splitlines()[-1] == "[Errno 28] No space left on device"

    @pytest.mark.skipif(not FULL.exists(), reason="only Linux has a file that is always full")
    @pytest.mark.parametrize("redirection", [">/dev/full 2>/dev/full", ">&-"])
    def test_nowhere_to_write_is_said_by_the_exit_code(self, redirection: str) -> None:
        command = ["bucket-policy", "my-bucket", "--role", "arn:aws:iam::123456789012:role/x"]
        shell = ["/bin/sh", "-c", f'exec "$@" {redirection}', "sh"]
        done = subprocess.run([*shell, sys.executable, "-m", "airflow_provider_cerebras", *command], check=False)
        assert done.returncode == NOT_READ

    @pytest.mark.parametrize(
        ("argv", "argument"),
        [
            (["bucket-policy", "s3://my-bucket/weights", "--role", "arn:aws:iam::123456789012:role/x"], "bucket"),
            (["bucket-policy", "my-bucket", "--role", "nonsense"], "--role"),
            (["check-weights", "s3://my-bucket/weights", "--arch", "gpt-oss-120b", "--role", "nonsense"], "--role"),
        ],
        ids=["bucket", "role", "role of a check"],
    )
    def test_a_wrong_argument_is_named_as_it_was_typed(self, run: Any, argv: list[str], argument: str) -> None:
        code, out, err = run(*argv)
        assert (code, out) == (WRONG_USE, "")
        assert err.startswith(f"{argument}: ")

    def test_a_folder_of_records_that_does_not_exist_is_named(self, service: Service, run: Any, tmp_path: Path) -> None:
        code, out, err = run("history", service.endpoint_id, "--records", f"{tmp_path}/missing")
        assert (code, out) == (NOT_READ, "")
        assert f"{tmp_path}/missing cannot be read: there is no such folder" in err

    @pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
    def test_each_command_explains_itself(self, run: Any, command: Any) -> None:
        code, out, _ = run(command.name, "--help")
        assert code == 0
        assert "Exit codes" in out


def test_no_output_holds_a_key(service: Service, run: Any) -> None:
    service.new_deployment()
    printed = "".join(
        "".join(run(*argv)[1:])
        for argv in (["status"], ["versions", service.arch], ["doctor"], ["doctor", "-o", "json"])
    )
    assert service.settings.management_key not in printed
    assert service.settings.inference_key not in printed


@pytest.mark.skipif(not AIRFLOW_V_3_2_PLUS, reason="a provider's commands exist since Airflow 3.2")
def test_airflow_has_the_same_commands() -> None:
    from airflow.cli.cli_parser import get_parser

    parser = get_parser()
    for command in COMMANDS:
        required = ["name"] * sum(not argument.flags[0].startswith("-") for argument in command.arguments)
        for argument in command.arguments:
            required += [argument.flags[0], "value"] if argument.options.get("required") else []
        assert parser.parse_args(["cerebras", command.name, *required]).func
