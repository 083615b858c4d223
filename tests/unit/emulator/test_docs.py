"""The emulator's page in the docs says of each option, switch, rule and call what the code says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from airflow_provider_cerebras.emulator.api.operations import OperationName
from airflow_provider_cerebras.emulator.app import create_app
from airflow_provider_cerebras.emulator.config import ConfigError, read_config
from airflow_provider_cerebras.emulator.faults.profiles import PROFILES
from airflow_provider_cerebras.emulator.faults.rules import FaultRule
from airflow_provider_cerebras.emulator.server import GRACE_SECONDS
from airflow_provider_cerebras.emulator.settings import Behaviour, Group, Settings

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

DOCS = Path(__file__).parents[3] / "docs"
PAGE = (DOCS / "emulator.md").read_text()
ROWS = {
    cells[0].strip("`"): cells[1:]
    for line in PAGE.splitlines()
    if line.startswith("| `")
    for cells in [[cell.strip() for cell in line.strip("|").split(" | ")]]
}


def shown(field: FieldInfo) -> str:
    if field.default in (None, {}):
        return "none"
    return f"`{str(field.default).lower() if isinstance(field.default, bool) else field.default}`"


@pytest.mark.parametrize(
    ("name", "field"),
    [
        (name, field)
        for group in Settings.__bases__
        if issubclass(group, Group) and group is not Behaviour
        for name, field in group.model_fields.items()
    ],
)
def test_each_option_is_there_with_its_default_and_its_meaning(name: str, field: FieldInfo) -> None:
    assert ROWS[f"--{name.replace('_', '-')}"] == [shown(field), field.description]


@pytest.mark.parametrize(("name", "field"), Behaviour.model_fields.items())
def test_each_switch_is_there_with_its_values_its_default_and_its_meaning(name: str, field: FieldInfo) -> None:
    values, default, meaning = ROWS[name]
    assert (default, meaning) == (shown(field), field.description)
    for value in getattr(field.annotation, "__args__", ()):
        assert f"`{value}`" in values


@pytest.mark.parametrize(("name", "field"), FaultRule.model_fields.items())
def test_each_field_of_a_rule_is_there_with_its_default_and_its_meaning(name: str, field: FieldInfo) -> None:
    if name in Behaviour.model_fields:
        # The switch has the same name.
        assert f"| `{name}` | {shown(field)} | {field.description} |" in PAGE
    else:
        assert ROWS.get(name) == [shown(field), field.description], f"docs/emulator.md: the row of {name}"


def test_each_profile_and_each_operation_is_there() -> None:
    for name, profile in PROFILES.items():
        assert ROWS.get(name) == [profile.description], f"docs/emulator.md: the row of {name}"
    for operation in OperationName:
        assert f"`{operation}`" in PAGE


def test_the_table_of_the_control_plane_has_each_call_and_no_other() -> None:
    paths = create_app().openapi()["paths"]
    calls = {
        f"{method.upper()} {path}" for path, item in paths.items() if path.startswith("/_emulator/") for method in item
    }
    assert {name for name in ROWS if re.match("[A-Z]+ /_emulator/", name)} == calls


def test_it_says_how_long_a_stop_takes_at_most() -> None:
    assert f"get up to {GRACE_SECONDS} s to be answered" in PAGE


def test_the_configuration_in_the_docs_can_be_used() -> None:
    settings = Settings.model_validate(read_config(DOCS / "snippets" / "emulator.yaml"))
    assert [each.name for each in settings.all_organizations()] == ["acme", "globex"]


def test_the_error_in_the_docs_is_the_one_that_there_is(tmp_path: Path) -> None:
    (tmp_path / "emulator.yaml").write_text("organizations: [{name: acme}, {name: glo/bex}]")
    with pytest.raises(ConfigError) as error:
        read_config(tmp_path / "emulator.yaml")
    assert str(error.value).removeprefix(f"{tmp_path}/") in PAGE
