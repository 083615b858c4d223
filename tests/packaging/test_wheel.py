"""What is published: a wheel that is the same on every machine, and that is a working provider by itself.

It is installed beside the version of Airflow that runs these tests, in an environment of its own.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from datetime import UTC, datetime
from email import message_from_bytes
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement

from airflow_provider_cerebras import __version__, get_provider_info

if TYPE_CHECKING:
    from collections.abc import Iterator
    from email.message import Message

ROOT = Path(__file__).parents[2]
PACKAGE = "airflow_provider_cerebras"
UV: list[str | Path] = [sys.executable, "-m", "uv"]
# From within a checkout, Python would find the package there.
ELSEWHERE = tempfile.gettempdir()
SOURCES = [PACKAGE, "dags_examples", "tests", "CHANGELOG.md", "LICENSE", "README.md", "pyproject.toml", ".gitignore"]
BUILT_AT = datetime(2026, 1, 2, 3, 4, 6, tzinfo=UTC)
DEPENDENCIES = {"apache-airflow", "apache-airflow-providers-common-compat", "httpx", "pydantic", "tenacity"}

DAG = """
from datetime import datetime
from airflow.providers.common.compat.sdk import DAG
from airflow_provider_cerebras.operators.model_versions import CerebrasUploadModelVersionOperator

with DAG("upload", schedule=None, start_date=datetime(2026, 1, 1)):
    CerebrasUploadModelVersionOperator(
        task_id="upload", model_arch_id="gpt-oss-120b", weight_uri="s3://my-bucket/weights", version_aliases=["latest"],
        wait_for_completion=True, deferrable=True, poll_interval=0.2,
    )
"""
# All that a DAG file imports, and what has been loaded by then.
IMPORTS = f"""
import importlib, json, pkgutil, sys
for room in ("operators", "sensors"):
    package = importlib.import_module("{PACKAGE}." + room)
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(package.__name__ + "." + module.name)
print(json.dumps([package.__file__, *sys.modules]))
"""
CONNECTION_TYPE = """
from airflow.providers_manager import ProvidersManager
print(ProvidersManager().hooks["cerebras"].hook_class_name)
"""


class Environment:
    """A virtual environment with Airflow and the wheel, and nothing of this checkout.

    :param home: folder for it and for all that Airflow writes.
    """

    def __init__(self, home: Path) -> None:
        self._folder = home / "venv"
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        self._environment = {
            **kept,
            "AIRFLOW_HOME": str(home / "airflow"),
            "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        }
        self._constraints = home / "constraints.txt"
        # The tests' own versions, so that nothing is looked up, or fetched, that is not here already.
        self._constraints.write_text(run([*UV, "pip", "freeze", "--exclude-editable", "--python", sys.executable]))
        run([*UV, "venv", "--quiet", "--python", sys.executable, str(self._folder)])
        dags = home / "dags"
        dags.mkdir()
        (dags / "upload.py").write_text(DAG)

    def install(self, *packages: str) -> None:
        run([*UV, "pip", "install", "--quiet", "--python", self._folder, "-c", self._constraints, *packages])

    def run(self, program: str, *arguments: str, **variables: str) -> str:
        """Run one of its programs, and return what it prints."""
        return run([self._folder / "bin" / program, *arguments], {**self._environment, **variables})

    def start(self, program: str, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [self._folder / "bin" / program, *arguments],
            cwd=ELSEWHERE,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            process_group=0,
        )


def run(command: list[str | Path], environment: dict[str, str] | None = None) -> str:
    finished = subprocess.run(
        command, cwd=ELSEWHERE, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert finished.returncode == 0, f"{command}\n{finished.stdout}\n{finished.stderr}"
    return finished.stdout


def build(folder: Path) -> dict[str, Path]:
    """Build from a fresh copy of the sources, as a release does; both files, by what their names end in."""
    sources = folder / "sources"
    sources.mkdir(parents=True)
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            # Not copy2: a checkout has the times of its own.
            unwanted = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, sources / name, copy_function=shutil.copyfile, ignore=unwanted)
        else:
            shutil.copyfile(source, sources / name)
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(int(BUILT_AT.timestamp()))}
    run([*UV, "build", "--quiet", "--out-dir", folder / "dist", sources], environment)
    built = (folder / "dist").iterdir()
    return {suffix: path for path in built for suffix in (".whl", ".tar.gz") if path.name.endswith(suffix)}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return build(tmp_path_factory.mktemp("build"))


@pytest.fixture(scope="module")
def wheel(built: dict[str, Path]) -> Iterator[zipfile.ZipFile]:
    with zipfile.ZipFile(built[".whl"]) as file:
        yield file


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> Message:
    return message_from_bytes(wheel.read(f"{PACKAGE}-{__version__}.dist-info/METADATA"))


@pytest.fixture(scope="module")
def environment(built: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """Airflow and the wheel alone, without any extra."""
    environment = Environment(tmp_path_factory.mktemp("installed"))
    environment.install(f"apache-airflow=={version('apache-airflow')}", str(built[".whl"]))
    return environment


class TestFiles:
    def test_they_are_the_same_whoever_builds_them(self, built: dict[str, Path], tmp_path: Path) -> None:
        umask = os.umask(0o077)
        try:
            again = build(tmp_path)
        finally:
            os.umask(umask)
        assert {kind: path.name for kind, path in again.items()} == {kind: path.name for kind, path in built.items()}
        assert {kind: path.read_bytes() for kind, path in again.items()} == {
            kind: path.read_bytes() for kind, path in built.items()
        }

    def test_twine_finds_nothing_wrong_and_the_readme_can_be_rendered(self, built: dict[str, Path]) -> None:
        assert sorted(built) == [".tar.gz", ".whl"]
        run([*UV, "tool", "run", "twine", "check", "--strict", *built.values()])

    def test_the_wheel_has_the_package_and_nothing_else(self, wheel: zipfile.ZipFile) -> None:
        package = {
            path.relative_to(ROOT).as_posix()
            for path in (ROOT / PACKAGE).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
        assert f"{PACKAGE}/py.typed" in package
        found = {name for name in wheel.namelist() if ".dist-info/" not in name}
        assert found == package
        assert not [name for name in found if re.search(r"(^|/)(tests?/|test_|conftest)", name)]

    def test_the_files_are_as_old_as_source_date_epoch_says(self, wheel: zipfile.ZipFile) -> None:
        assert {entry.date_time for entry in wheel.infolist()} == {BUILT_AT.timetuple()[:6]}

    def test_the_sdist_has_the_tests_too(self, built: dict[str, Path]) -> None:
        with tarfile.open(built[".tar.gz"]) as sdist:
            names = {name.partition("/")[2] for name in sdist.getnames()}
        assert {"tests/packaging/test_wheel.py", "dags_examples/finetune_upload_deploy.py", "README.md"} <= names


class TestMetadata:
    def test_it_says_what_pypi_shows(self, metadata: Message) -> None:
        assert metadata["Name"] == "airflow-provider-cerebras"
        assert metadata["License-Expression"] == "Apache-2.0"
        assert metadata["Requires-Python"] == ">=3.11"
        assert metadata["Description-Content-Type"] == "text/markdown"
        assert "Framework :: Apache Airflow :: Provider" in metadata.get_all("Classifier", [])

    def test_it_needs_no_more_than_it_must(self, metadata: Message) -> None:
        needed = [each for each in metadata.get_all("Requires-Dist", []) if "extra ==" not in each]
        assert {Requirement(each).name for each in needed} == DEPENDENCIES

    def test_its_emulator_needs_no_boto3(self, metadata: Message) -> None:
        extra = [each for each in metadata.get_all("Requires-Dist", []) if "extra == 'emulator'" in each]
        assert {Requirement(each).name.lower() for each in extra} == {"fastapi", "pyyaml", "uvicorn"}


class TestInstalled:
    """The wheel alone beside Airflow."""

    def test_airflow_shows_all_of_the_provider_s_info(self, environment: Environment) -> None:
        command = ["providers", "get", "airflow-provider-cerebras", "--full", "--output", "json"]
        (shown,) = json.loads(environment.run("airflow", *command))
        info = get_provider_info()
        assert set(info) <= set(shown)
        all_shown = "\n".join(texts(shown))
        assert not {text for text in texts(info) if text.rstrip(".") not in all_shown}

    def test_airflow_knows_the_connection_type(self, environment: Environment) -> None:
        shown = environment.run("python", "-c", CONNECTION_TYPE).splitlines()[-1]
        assert shown == f"{PACKAGE}.hooks.cerebras.CerebrasHook"

    def test_a_dag_file_loads_neither_a_server_nor_s3(self, environment: Environment) -> None:
        path, *loaded = json.loads(environment.run("python", "-W", "ignore", "-c", IMPORTS).splitlines()[-1])
        assert "site-packages" in path, "it comes from the wheel"
        assert f"{PACKAGE}.operators.model_versions" in loaded
        assert not {"fastapi", "uvicorn", "boto3", "botocore"} & set(loaded)

    def test_with_its_emulator_it_uploads(self, environment: Environment, built: dict[str, Path]) -> None:
        environment.install(f"{built['.whl']}[emulator]")
        boto3 = "import importlib.util; print(importlib.util.find_spec('boto3'))"
        assert environment.run("python", "-c", boto3).strip() == "None"
        emulator = environment.start("cerebras-emulator", "--port", "0", "--sync-seconds", "0.5")
        try:
            assert emulator.stdout is not None
            for line in emulator.stdout:
                name, _, value = line.strip().removeprefix("export ").partition("=")
                if name == "AIRFLOW_CONN_CEREBRAS_DEFAULT":
                    break
            connection = {name: value.strip("'")}
            environment.run("airflow", "db", "migrate")
            log = environment.run("airflow", "dags", "test", "upload", **connection)
            versions = environment.run(
                "python",
                "-W",
                "ignore",
                "-c",
                f"from {PACKAGE}.hooks.cerebras import CerebrasHook\n"
                "print([v.name for v in CerebrasHook().list_model_versions('gpt-oss-120b')])",
                **connection,
            )
        finally:
            emulator.kill()
            emulator.wait()
        assert "state=success" in log, log
        assert versions.splitlines()[-1] == "['orgs/my-org/models/gpt-oss-120b/versions/1']"


def texts(value: object) -> set[str]:
    """All texts in it: the keys of mappings, and values however deep."""
    if isinstance(value, dict):
        return set(value) | texts(list(value.values()))
    if isinstance(value, list):
        return set().union(*map(texts, value))
    return {value} if isinstance(value, str) else set()
