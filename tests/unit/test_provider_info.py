"""What Airflow is told about the provider."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from importlib.metadata import entry_points, version
from importlib.resources import files
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from airflow_provider_cerebras import __version__, get_provider_info
from airflow_provider_cerebras.assets import create_asset
from airflow_provider_cerebras.assets.uris import normalize
from airflow_provider_cerebras.hooks.cerebras import CerebrasHook
from airflow_provider_cerebras.version_compat import AIRFLOW_V_3_0_PLUS, AIRFLOW_V_3_2_PLUS

if TYPE_CHECKING:
    from collections.abc import Iterator

INFO = get_provider_info()
(CONNECTION_TYPE,) = INFO["connection-types"]
FIELDS = {"org_name", "inference_api_key", "request_timeout", "max_retries", "verify", "proxy"}
SECRET_FIELDS = {"inference_api_key", "proxy"}


def named() -> Iterator[str]:
    """Every path into the package that is named anywhere in the provider info."""
    left: list[Any] = [INFO]
    while left:
        match left.pop():
            case dict() as inner:
                left += inner.values()
            case list() as inner:
                left += inner
            case str() as text if text.startswith("airflow_provider_cerebras."):
                yield text


def modules_of(room: str) -> set[str]:
    """The modules of a room that are named in the provider info."""
    return {name for entry in INFO[room] for name in entry["python-modules"]}


MODULES = set().union(*(modules_of(room) for room in ("hooks", "operators", "sensors", "triggers")))


def test_it_is_valid_by_the_schema_of_the_airflow_that_runs() -> None:
    jsonschema.validate(INFO, json.loads((files("airflow") / "provider_info.schema.json").read_text("utf-8")))


def test_airflow_finds_it_by_its_entry_point() -> None:
    (entry_point,) = [
        each for each in entry_points(group="apache_airflow_provider") if each.module == "airflow_provider_cerebras"
    ]
    assert entry_point.name == "provider_info"
    assert entry_point.load()() == INFO


def test_it_names_the_package_as_it_is_installed() -> None:
    assert INFO["package-name"] == "airflow-provider-cerebras"
    assert INFO["versions"][0] == version(INFO["package-name"]) == __version__


# It says so itself where it is imported nevertheless.
NEEDS_AIRFLOW_3 = {"airflow_provider_cerebras.triggers.events"}


@pytest.mark.parametrize("name", sorted(MODULES - (set() if AIRFLOW_V_3_0_PLUS else NEEDS_AIRFLOW_3)))
def test_every_module_that_it_names_can_be_imported(name: str) -> None:
    assert importlib.import_module(name).__doc__


@pytest.mark.parametrize("name", sorted(set(named()) - MODULES))
def test_every_class_that_it_names_is_there(name: str) -> None:
    module, _, attribute = name.rpartition(".")
    assert callable(getattr(importlib.import_module(module), attribute))


@pytest.mark.parametrize("room", ["operators", "sensors", "triggers", "hooks"])
def test_every_public_module_of_a_room_is_named(room: str) -> None:
    folder = files("airflow_provider_cerebras") / room
    public = {
        f"airflow_provider_cerebras.{room}.{file.name.removesuffix('.py')}"
        for file in folder.iterdir()
        if file.name.endswith(".py") and not file.name.startswith("_")
    }
    of_the_package = {f"airflow_provider_cerebras.hooks.{name}" for name in ("connection", "subclasses")}
    assert modules_of(room) == public - of_the_package


def test_the_connection_type_is_the_hook_s() -> None:
    assert CONNECTION_TYPE["hook-class-name"] == f"{CerebrasHook.__module__}.{CerebrasHook.__qualname__}"
    assert (CONNECTION_TYPE["connection-type"], CONNECTION_TYPE["hook-name"]) == (
        CerebrasHook.conn_type,
        CerebrasHook.hook_name,
    )


def test_both_forms_say_the_same() -> None:
    behaviour = {key.replace("-", "_"): value for key, value in CONNECTION_TYPE["ui-field-behaviour"].items()}
    assert behaviour == CerebrasHook.get_ui_field_behaviour()


def test_the_form_has_every_field_and_hides_the_secret_ones() -> None:
    fields = CONNECTION_TYPE["conn-fields"]
    assert set(fields) == FIELDS
    assert {name for name, field in fields.items() if field["schema"].get("format") == "password"} == SECRET_FIELDS


def test_no_default_of_the_form_is_against_its_own_rule() -> None:
    for field in CONNECTION_TYPE["conn-fields"].values():
        rule = field["schema"]
        jsonschema.validate(rule.get("default"), rule)


def test_to_read_it_imports_nothing_of_airflow() -> None:
    program = (
        "import sys, airflow_provider_cerebras as provider; provider.get_provider_info();"
        "print([name for name in sys.modules if name.split('.')[0] in ('airflow', 'httpx', 'pydantic')])"
    )
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert finished.stdout.strip() == "[]"


def test_a_call_of_airflow_imports_no_more_than_plain_data() -> None:
    script = (
        "import sys\n"
        "from airflow.__main__ import main\n"
        "sys.argv = ['airflow', 'version']\n"
        "main()\n"
        "print(*(name for name in sys.modules if name.split('.')[0] == 'airflow_provider_cerebras'))\n"
    )
    run = subprocess.run([sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, check=True)
    plain = ("", "._version", ".provider_info", ".cli", ".cli.definition")
    assert set(run.stdout.splitlines()[-1].split()) <= {f"airflow_provider_cerebras{name}" for name in plain}


class TestProvidersManager:
    """What Airflow itself makes of it."""

    @pytest.fixture
    def manager(self) -> Any:
        from airflow.providers_manager import ProvidersManager

        return ProvidersManager()

    def test_it_knows_the_provider(self, manager: Any) -> None:
        assert manager.providers["airflow-provider-cerebras"].version == __version__

    def test_it_knows_the_scheme_of_its_assets(self, manager: Any) -> None:
        kind = "asset" if AIRFLOW_V_3_0_PLUS else "dataset"
        assert getattr(manager, f"{kind}_uri_handlers")["cerebras"] is normalize
        assert getattr(manager, f"{kind}_factories")["cerebras"] is create_asset

    @pytest.mark.filterwarnings("ignore:.*ProvidersManager.hooks is deprecated")
    def test_it_knows_the_connection_type_and_that_it_can_be_tested(self, manager: Any) -> None:
        hook = manager.hooks["cerebras"]
        assert (hook.hook_class_name, hook.connection_id_attribute_name, hook.connection_testable) == (
            "airflow_provider_cerebras.hooks.cerebras.CerebrasHook",
            "cerebras_conn_id",
            True,
        )

    @pytest.mark.skipif(
        not AIRFLOW_V_3_2_PLUS and find_spec("wtforms") is None,
        reason="without WTForms, Airflow 3.0 and 3.1 ask hooks for it on the web server only",
    )
    def test_its_form_relabels_and_hides(self, manager: Any) -> None:
        behaviour = manager.field_behaviours["cerebras"]
        assert behaviour["relabeling"] == {"host": "Base URL", "password": "Management API key"}
        assert {"schema", "login"} <= set(behaviour["hidden_fields"])

    def test_its_form_has_the_fields_and_hides_the_secrets(self, manager: Any) -> None:
        prefix = "extra__cerebras__"
        widgets = manager.connection_form_widgets.items()
        shown = {name.removeprefix(prefix): widget for name, widget in widgets if name.startswith(prefix)}
        # Airflow 3.0 and 3.1 do without Flask, and show a form on the web server only.
        below_3_2 = FIELDS - {"max_retries", "verify"} if find_spec("flask_appbuilder") else set()
        assert set(shown) == (FIELDS if AIRFLOW_V_3_2_PLUS else below_3_2)
        assert {name for name, widget in shown.items() if widget.is_sensitive} == SECRET_FIELDS & set(shown)
