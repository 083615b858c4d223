from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_cerebras.emulator.cli import main, parse_arguments
from airflow_provider_cerebras.emulator.config import ConfigError, read_config
from airflow_provider_cerebras.emulator.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

YAML = """
sync_seconds: 10800
time_scale: 60
organizations:
  - name: acme
    management_keys: [acme-management]
    model_architectures: [qwen-3-32b]
    endpoints:
      - {endpoint_id: acme-live, model_arch_id: qwen-3-32b}
  - name: other
faults:
  - {operation: get_endpoint, status: 503, probability: 0.1}
profile: flaky
"""


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str], Path]:
    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def test_a_file_can_say_all_that_a_command_line_can_and_more(write: Callable[[str, str], Path]) -> None:
    settings = parse_arguments(["--config", str(write("emulator.yaml", YAML))])
    assert (settings.sync_seconds, settings.time_scale, settings.profile) == (10800, 60, "flaky")
    assert [each.name for each in settings.all_organizations()] == ["acme", "other"]
    assert settings.faults[0].probability == 0.1


def test_yaml_and_json_say_the_same(write: Callable[[str, str], Path]) -> None:
    import yaml

    as_json = write("emulator.json", json.dumps(yaml.safe_load(YAML)))
    assert read_config(as_json) == read_config(write("emulator.yml", YAML))


def test_the_command_line_comes_before_the_file_and_the_file_before_the_defaults(
    write: Callable[[str, str], Path],
) -> None:
    path = write("emulator.yaml", "port: 9000\nsync_seconds: 9\ndone_on_failure: false\n")
    settings = parse_arguments(["--config", str(path), "--sync-seconds", "3"])
    assert settings == Settings(port=9000, sync_seconds=3, done_on_failure=False)


@pytest.mark.parametrize(
    ("name", "text", "place", "rule"),
    [
        ("c.yaml", "port: 65536", "port", "less than or equal to 65535"),
        ("c.yaml", "sync-seconds: 1", "sync-seconds", "there is no such setting"),
        ("c.yaml", "organizations: [{name: a, endpoint: []}]", "organizations[0].endpoint", "there is no such setting"),
        ("c.yaml", "organizations: [{name: a}, {name: b/c}]", "organizations[1].name", "match pattern"),
        (
            "c.yaml",
            "organizations: [{name: a, endpoints: [{endpoint_id: e, model_arch_id: m}]}]",
            "organizations[0]",
            "endpoints[0].model_arch_id is none of the organization's model_architectures",
        ),
        (
            "c.yaml",
            "organizations: [{name: a}, {name: a}]",
            "organizations[1].name",
            "the same as organizations[0].name",
        ),
        ("c.yaml", "organizations: [{name: a}]\norg: b", "organizations", "excludes org"),
        ("c.yaml", "faults: [{operation: get_endpoint}]", "faults[0]", "the rule has no effect"),
        ("c.json", '{"faults": [{"status": 500, "delay": "x"}]}', "faults[0].delay", "valid number"),
        ("c.yaml", "a: [", "line 1, column 5", "expected"),
        ("c.yaml", "port: 1\nhost: h\nport: 2", "line 3", "port is there twice"),
        ("c.yaml", "a: !!python/object:os.system x", "line 1, column 4", "could not determine a constructor"),
        ("c.json", "{\n  'port': 1}", "line 2, column 3", "Expecting property name"),
        ("c.json", '{"port": 1, "port": 2}', "port", "there twice"),
        ("c.json", "[]", "it is not a mapping", "of settings"),
        ("c.yaml", "", "it is not a mapping", "of settings"),
        ("c.toml", "port = 1", "its name ends neither", "in .json nor in .yaml or .yml"),
    ],
)
def test_what_a_file_cannot_say_is_an_error_with_the_file_the_place_and_the_rule(
    write: Callable[[str, str], Path], name: str, text: str, place: str, rule: str
) -> None:
    path = write(name, text)
    with pytest.raises(ConfigError) as error:
        read_config(path)
    message = str(error.value)
    assert message.startswith(f"{path}: ")
    assert place in message
    assert rule in message


def test_a_file_that_is_not_there_or_not_text_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"missing\.yaml: it cannot be read: .*No such file"):
        read_config(tmp_path / "missing.yaml")
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"binary\.json: it cannot be read: "):
        read_config(tmp_path / "binary.json")


def test_several_mistakes_are_said_at_once(write: Callable[[str, str], Path]) -> None:
    with pytest.raises(ConfigError) as error:
        read_config(write("c.yaml", "port: -1\nsync_seconds: -1"))
    assert len(str(error.value).splitlines()) == 2


def test_an_error_shows_no_key(write: Callable[[str, str], Path]) -> None:
    organizations = [
        {"name": "a", "management_keys": ["very-secret"]},
        {"name": "b", "management_keys": ["very-secret"]},
    ]
    for config in ({"organizations": organizations}, {"management_key": ["very-secret"]}):
        with pytest.raises(ConfigError) as error:
            read_config(write("c.json", json.dumps(config)))
        assert "very-secret" not in str(error.value)


def test_a_bad_file_ends_the_program_before_it_listens(
    write: Callable[[str, str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = write("c.yaml", "organizations: [{name: a}]")
    with pytest.raises(SystemExit) as exit_info:
        main(["--config", str(path), "--org", "b"])
    assert exit_info.value.code == 2
    assert "organizations excludes org" in capsys.readouterr().err
    path.write_text("colour: red")
    with pytest.raises(SystemExit):
        main(["--config", str(path)])
    assert f"{path}: colour: there is no such setting" in capsys.readouterr().err


def test_without_pyyaml_yaml_is_an_error_that_says_so_and_json_is_read(
    write: Callable[[str, str], Path], tmp_path: Path
) -> None:
    program = (
        "import sys; sys.modules['yaml'] = None\n"
        "from airflow_provider_cerebras.emulator.config import *\n"
        "from pathlib import Path\n"
        "print(read_config(Path('c.json')))\n"
        "try: read_config(Path('c.yaml'))\n"
        "except ConfigError as error: print(error)\n"
    )
    write("c.json", '{"port": 1}')
    write("c.yaml", "port: 1")
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert ended.stdout.splitlines() == [
        "{'port': 1}",
        "c.yaml: to read YAML takes PyYAML: pip install 'airflow-provider-cerebras[emulator]', or write it as JSON",
    ]


async def test_the_first_organization_of_a_file_is_the_connection(start: Any) -> None:
    from airflow_provider_cerebras.emulator.server import airflow_connection

    settings = Settings.model_validate({"organizations": [{"name": "acme", "inference_keys": []}, {"name": "other"}]})
    connection = json.loads(airflow_connection(settings, "http://127.0.0.1:1").partition("=")[2].strip("'"))
    assert connection == {
        "conn_type": "cerebras",
        "host": "http://127.0.0.1",
        "port": 1,
        "password": "acme-management-key",
        "extra": {"org_name": "acme"},
    }
