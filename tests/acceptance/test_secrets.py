"""On an Airflow that runs, the two keys come nowhere that a user without access to the machine can read.

Searched are every file that Airflow writes, every column of its database, and every answer of its REST API and of its
UI that a viewer may read; by a search that is shown to find what is there.
"""

from __future__ import annotations

import base64
import itertools
import json
import re
import sqlite3
from contextlib import closing
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx
import pytest
import yaml
from airflow_rest import AirflowRest
from cryptography.fernet import Fernet
from local_stack import COMPONENTS, _environment, _free_ports, _module
from processes import Processes

from tests.conftest import INFERENCE_KEY, MANAGEMENT_KEY
from tests.unit.hostile_server import HostileServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_cerebras.emulator.control.client import EmulatorClient
    from tests.unit.hostile_server import Connection

DAGS = Path(__file__).with_name("dags")
CANARY = "-".join(("canary", "of", "the", "running", "airflow", "0b7d"))
PASSWORDS = {"admin": "drill-admin", "viewer": "drill-viewer"}
BOTH = f"{MANAGEMENT_KEY} and {INFERENCE_KEY}"
NAME = "orgs/my-org/models/gpt-oss-120b/versions/1"
RUNS = ("by_environment", "by_database", "by_echoes", "canary")


def http(status: str, body: str, *fields: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body.encode())}", "Connection: close", *fields]
    return "\r\n".join([*lines, "", body]).encode()


ECHOES = {
    "error": http("400 Bad Request", json.dumps({"detail": f"you sent {BOTH}"})),
    "page": http("403 Forbidden", f"<html><b>{BOTH}</b></html>", f"X-Request-Id: {MANAGEMENT_KEY}"),
    "header": http("503 Unavailable", BOTH, f"X-Echo: {BOTH}", f"CF-Ray: {MANAGEMENT_KEY}", "Retry-After: 1"),
    "redirect": http("302 Found", "", f"Location: https://example.com/?key={MANAGEMENT_KEY}"),
    "reason": http(f"500 {MANAGEMENT_KEY}", BOTH),
    "name": http("200 OK", json.dumps({"name": NAME.replace("my-org", MANAGEMENT_KEY), "done": False})),
    "failure": http("200 OK", json.dumps({"name": NAME, "done": True, "error": {"message": BOTH}})),
    "escaped": http(
        "200 OK",
        json.dumps({"name": NAME, "done": False, "response": {"sync_status": "KEY"}}).replace(
            "KEY", "".join(f"\\u{ord(char):04x}" for char in MANAGEMENT_KEY)
        ),
    ),
    "not_http": f"{BOTH}\r\n\r\n".encode(),
}
"""What a service answers that repeats the keys."""


async def echo(connection: Connection) -> None:
    """Answer as the first part of the path says, which is the connection's."""
    which = connection.request.split(b"/")[1].decode()
    await connection.send(ECHOES[which])


class RunningAirflow(Processes):
    """All components on SQLite, with everything logged, and a user who may only look.

    :param home: folder for all that is written.
    :param connections: JSON by the connections' ids, for the environment.
    """

    def __init__(self, home: Path, connections: dict[str, str]) -> None:
        self.home = home
        ports = _free_ports(3)
        self.url = f"http://127.0.0.1:{ports[0]}"
        passwords = home / "passwords.json"
        passwords.write_text(json.dumps(PASSWORDS))
        self.environment = {
            **_environment(home, *ports),
            "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__CORE__PARALLELISM": "4",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin,viewer:viewer",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "DEBUG",
            "AIRFLOW__LOGGING__NAMESPACE_LEVELS": "httpx=DEBUG httpcore=DEBUG",
            "ECHOES": json.dumps(list(ECHOES)),
            **{f"AIRFLOW_CONN_{conn_id.upper()}": connection for conn_id, connection in connections.items()},
        }
        super().__init__(home / "logs", self.environment)

    def bring_up(self) -> None:
        """Start everything, and return when it is ready."""
        self.run("migration", *_module("airflow"), "db", "migrate")
        for component, options in COMPONENTS.items():
            self.start(component, *_module("airflow"), component, *options)
        self.wait_until("Airflow", AirflowRest(self.url).is_up, timeout=180)

    def user(self, name: str) -> httpx.Client:
        """An HTTP client that is logged in."""
        who = {"username": name, "password": PASSWORDS[name]}
        answer = httpx.post(f"{self.url}/auth/token", json=who, trust_env=False, timeout=60).raise_for_status()
        headers = {"Authorization": f"Bearer {answer.json()['access_token']}"}
        return httpx.Client(base_url=self.url, headers=headers, trust_env=False, timeout=60)

    @property
    def database(self) -> Path:
        """The file with Airflow's metadata."""
        return self.home / "airflow" / "airflow.db"


# --- The search


def forms(secret: str) -> list[str]:
    """A secret as it may be written: plain, percent-encoded, escaped as in JSON, or within something in base64."""
    written = {secret, quote(secret, safe=""), json.dumps(secret)[1:-1]}
    written.add("".join(f"\\u{ord(char):04x}" for char in secret))
    written.add("".join(f"%{ord(char):02X}" for char in secret))
    for offset in range(3):
        # What comes before and after it decides on the first and the last characters.
        encoded = base64.b64encode(b"\0" * offset + secret.encode()).decode().rstrip("=")
        written.add(encoded[4 if offset else 0 : -3])
    return sorted(written)


def finds(text: str, secrets: tuple[str, ...]) -> bool:
    return any(form in text for secret in secrets for form in forms(secret))


def files(home: Path) -> dict[str, str]:
    """Whatever was written, but for what this test itself has put there."""
    paths = [path for path in home.rglob("*") if path.is_file() and path.name != "passwords.json"]
    return {str(path.relative_to(home)): path.read_bytes().decode("latin-1") for path in paths}


def columns(database: Path) -> dict[str, str]:
    """The database, by table and column."""
    found: dict[str, str] = {}
    with closing(sqlite3.connect(database)) as connection:
        connection.text_factory = bytes
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in tables:
            cursor = connection.execute(f'SELECT * FROM "{table.decode()}"')
            names = [column[0] for column in cursor.description]
            for row in cursor:
                for name, value in zip(names, row, strict=True):
                    text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
                    found[f"{table.decode()}.{name}"] = found.get(f"{table.decode()}.{name}", "") + text + "\n"
    return found


class Crawl:
    """Every GET of the REST API and of the UI's own API, with all ids that there are.

    :param client: who asks.
    """

    def __init__(self, client: httpx.Client) -> None:
        self._client = client
        self.answers: dict[str, str] = {}
        self.statuses: dict[str, set[int]] = {}
        self._ids = self._known_ids()
        for path, operation in self._paths():
            for url in self._filled(path, operation):
                answer = client.get(url, headers={"Accept": "application/json"})
                self.statuses.setdefault(path, set()).add(answer.status_code)
                self.answers[url] = answer.text + repr(answer.headers)

    def _get(self, path: str) -> Any:
        return self._client.get(f"/api/v2/{path}").raise_for_status().json()

    def _known_ids(self) -> list[dict[str, str]]:
        """All task instances, each as the values of the placeholders that a path may have."""
        known = []
        for dag_id in RUNS:
            for run in self._get(f"dags/{dag_id}/dagRuns")["dag_runs"]:
                base = f"dags/{dag_id}/dagRuns/{run['dag_run_id']}/taskInstances"
                for ti in self._get(base)["task_instances"]:
                    entries = self._get(f"{base}/{ti['task_id']}/xcomEntries")["xcom_entries"]
                    keys = [entry["key"] for entry in entries] or ["return_value"]
                    known += [_placeholders(ti, key) for key in keys]
        return known

    def _paths(self) -> Iterator[tuple[str, dict[str, Any]]]:
        public = self._client.get("/openapi.json").raise_for_status().json()
        spec = find_spec("airflow.api_fastapi.core_api.openapi")
        assert spec is not None
        assert spec.submodule_search_locations
        private = yaml.safe_load((Path(spec.submodule_search_locations[0]) / "_private_ui.yaml").read_text())
        for document in (public, private):
            for path, item in document["paths"].items():
                if "get" in item:
                    yield path, item["get"]

    def _filled(self, path: str, operation: dict[str, Any]) -> Iterator[str]:
        names = re.findall(r"{(\w+)(?::path)?}", path)
        needed = [
            parameter["name"]
            for parameter in operation.get("parameters", ())
            if parameter["in"] == "query" and parameter.get("required")
        ]
        seen = set()
        for ids in self._ids:
            values = {name: ids.get(name, "1") for name in (*names, *needed)}
            url = path.replace(":path}", "}").format_map(values)
            query = {name: values[name] for name in needed}
            if "full_content" in {parameter["name"] for parameter in operation.get("parameters", ())}:
                query["full_content"] = "true"
            url = str(httpx.URL(url, params=query)) if query else url
            if url not in seen:
                seen.add(url)
                yield url


def _placeholders(ti: dict[str, Any], xcom_key: str) -> dict[str, str]:
    tries = str(ti["try_number"] or 1)
    return {
        "dag_id": ti["dag_id"],
        "dag_run_id": ti["dag_run_id"],
        "run_id": ti["dag_run_id"],
        "task_id": ti["task_id"],
        "task_instance_id": ti["id"],
        "map_index": "-1",
        "try_number": tries,
        "task_try_number": tries,
        "xcom_key": xcom_key,
        "connection_id": "in_database",
        "pool_name": "default_pool",
        "section": "core",
        "option": "fernet_key",
    }


# --- The drill


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningAirflow]:
    """An Airflow in which all runs have come to their ends."""
    from airflow_provider_cerebras.emulator.control.client import EmulatorClient
    from airflow_provider_cerebras.emulator.server import EmulatorServer
    from airflow_provider_cerebras.emulator.settings import Settings

    if not version("apache-airflow").startswith("3."):
        pytest.skip("Airflow 2 has another API")
    home = tmp_path_factory.mktemp("airflow")
    settings = Settings(
        port=0, management_key=MANAGEMENT_KEY, inference_key=INFERENCE_KEY, sync_seconds=2, rollout_seconds=2
    )
    with (
        EmulatorServer(settings) as server,
        EmulatorClient(server.base_url, server.settings) as emulator,
        HostileServer(echo) as echoing,
    ):
        good = emulator.connection()
        echoes = {
            f"echo_{name}": emulator.connection(host=f"{echoing.url}/{name}", extra={"max_retries": 1})
            for name in ECHOES
        }
        with RunningAirflow(home, {"cerebras_default": good, **echoes}) as airflow:
            airflow.bring_up()
            run_all(airflow, emulator)
            yield airflow


def run_all(airflow: RunningAirflow, emulator: EmulatorClient) -> None:
    with airflow.user("admin") as admin:
        connection = json.loads(emulator.connection())
        admin.post(
            "/api/v2/connections",
            json={"connection_id": "in_database", **connection, "extra": json.dumps(connection["extra"])},
        ).raise_for_status()
        airflow.wait_until(
            "the DAGs", lambda: all(admin.get(f"/api/v2/dags/{dag_id}").is_success for dag_id in RUNS), timeout=120
        )
        for dag_id in RUNS:
            admin.post(f"/api/v2/dags/{dag_id}/dagRuns", json={"logical_date": None}).raise_for_status()

        def states() -> dict[str, str]:
            return {
                dag_id: admin.get(f"/api/v2/dags/{dag_id}/dagRuns").json()["dag_runs"][0]["state"] for dag_id in RUNS
            }

        airflow.wait_until("the runs", lambda: set(states().values()) <= {"success", "failed"}, timeout=420)
        assert states() == dict.fromkeys(RUNS[:3], "failed") | {"canary": "success"}


def states_of(airflow: RunningAirflow, dag_id: str) -> dict[str, str]:
    with closing(sqlite3.connect(airflow.database)) as connection:
        rows = connection.execute("SELECT task_id, state FROM task_instance WHERE dag_id = ?", (dag_id,))
        return dict(rows.fetchall())


@pytest.mark.parametrize("dag_id", ["by_environment", "by_database"])
def test_the_releases_have_succeeded_but_for_what_crashes(airflow: RunningAirflow, dag_id: str) -> None:
    states = states_of(airflow, dag_id)
    assert states.pop("crash") == "failed"
    assert set(states.values()) == {"success"}


def test_the_echoes_were_heard(airflow: RunningAirflow) -> None:
    states = states_of(airflow, "by_echoes")
    assert len(states) == 2 * len(ECHOES)
    assert states.pop("upload_name") in {"failed", "success"}
    assert "failed" in set(states.values())
    assert "***" in "".join(files(airflow.home).values())


def test_the_keys_are_in_no_column_of_the_database(airflow: RunningAirflow) -> None:
    found = columns(airflow.database)
    assert [column for column, text in found.items() if finds(text, (MANAGEMENT_KEY, INFERENCE_KEY))] == []
    assert "xcom.value" in {column for column, text in found.items() if finds(text, (CANARY,))}


def test_a_connection_in_the_database_is_ciphertext(airflow: RunningAirflow) -> None:
    with closing(sqlite3.connect(airflow.database)) as connection:
        ((password, extra),) = connection.execute(
            "SELECT password, extra FROM connection WHERE conn_id = 'in_database'"
        ).fetchall()
    fernet = Fernet(airflow.environment["AIRFLOW__CORE__FERNET_KEY"])
    assert MANAGEMENT_KEY not in password
    assert fernet.decrypt(password).decode() == MANAGEMENT_KEY
    assert json.loads(fernet.decrypt(extra))["inference_api_key"] == INFERENCE_KEY


def test_the_keys_are_in_no_file(airflow: RunningAirflow) -> None:
    found = files(airflow.home)
    assert [name for name, text in found.items() if finds(text, (MANAGEMENT_KEY, INFERENCE_KEY))] == []
    singing = [name for name, text in found.items() if finds(text, (CANARY,))]
    assert any(name.endswith(".log") for name in singing)
    # What SQLite has not moved to its main file yet is in the journal beside it.
    assert any(name in singing for name in ("airflow/airflow.db", "airflow/airflow.db-wal"))
    # Everything was logged: what httpcore says of each answer too.
    assert any("receive_response_headers" in text for text in found.values())


def test_the_keys_are_in_no_answer_that_a_viewer_may_read(airflow: RunningAirflow) -> None:
    with airflow.user("viewer") as viewer:
        crawl = Crawl(viewer)
    assert [url for url, text in crawl.answers.items() if finds(text, (MANAGEMENT_KEY, INFERENCE_KEY))] == []
    singing = [url for url, text in crawl.answers.items() if finds(text, (CANARY,))]
    assert any("/xcomEntries/return_value" in url for url in singing)
    assert any("/logs/" in url for url in singing)
    read = {path for path, statuses in crawl.statuses.items() if 200 in statuses}
    assert len(read) > 40
    assert not [path for path, statuses in crawl.statuses.items() if max(statuses) >= 500]


def test_a_secret_is_found_in_every_form() -> None:
    secret = "s3cret-of/this+test=1"
    for before, after in itertools.product(("", "a", "ab", "abc"), ("", "x", "xy")):
        plain = f"{before}{secret}{after}"
        for written in (plain, quote(plain, safe=""), base64.b64encode(plain.encode()).decode(), json.dumps(plain)):
            assert finds(written, (secret,)), written
    assert not finds("s3cret-of/this", (secret,))
