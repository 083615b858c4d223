"""What `doctor` says of set-ups that are broken in one way each."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_cerebras.cli import airflow_checks
from airflow_provider_cerebras.cli.doctor import Level, Line, examine
from airflow_provider_cerebras.operators._release import Conclude, DeployForRelease, TakeBack, UploadForRelease
from airflow_provider_cerebras.operators.endpoints import (
    CerebrasDeployModelOperator,
    CerebrasRollbackEndpointOperator,
    CerebrasVerifyEndpointOperator,
)
from airflow_provider_cerebras.sensors.endpoints import CerebrasDeploymentSensor
from airflow_provider_cerebras.version_compat import AIRFLOW_V_3_2_PLUS
from tests.conftest import INFERENCE_KEY, MANAGEMENT_KEY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.unit.conftest import Service

    Examine = Callable[..., dict[str, Line]]


@pytest.fixture
def examined(service: Service, monkeypatch: pytest.MonkeyPatch) -> Examine:
    """The lines by check, for the emulator's connection with other fields."""

    def examined(*, define: bool = True, **changes: Any) -> dict[str, Line]:
        if define:
            monkeypatch.setenv("AIRFLOW_CONN_OTHER", service.connection(**changes))
        return {line.check: line for line in examine("other", None)}

    return examined


# Other tests leave DAGs in the database.
IN_AIRFLOW = {"Airflow", "triggerer", "retries", "overlap"}


def test_all_is_well(examined: Examine) -> None:
    lines = examined()
    assert {line.level for check, line in lines.items() if check not in IN_AIRFLOW} == {Level.OK}
    assert "gpt-oss-120b" in lines["organization"].found
    assert "my-org-gpt-oss-120b" in lines["endpoints"].found


EXTRA = {"org_name": "my-org", "inference_api_key": INFERENCE_KEY}

BROKEN: dict[str, tuple[dict[str, Any], str, str]] = {
    "not defined": ({"define": False}, "connection", "other"),
    "no management key": ({"password": ""}, "connection", "password"),
    "a field of the wrong kind": ({"extra": {**EXTRA, "request_timeout": "soon"}}, "connection", "request_timeout"),
    "plain http across the network": ({"host": "http://emulator:8900"}, "connection", "host"),
    "a wrong key": ({"password": "wrong"}, "management key", "management API key"),
    "the keys swapped": (
        {"password": INFERENCE_KEY, "extra": {**EXTRA, "inference_api_key": MANAGEMENT_KEY}},
        "management key",
        "swapped",
    ),
    "one key for both": (
        {"extra": {**EXTRA, "inference_api_key": MANAGEMENT_KEY}},
        "inference key",
        "different kinds",
    ),
    "no organization": ({"extra": {**EXTRA, "org_name": None}}, "organization", "org_name"),
    "another organization": ({"extra": {**EXTRA, "org_name": "org-12345"}}, "organization", "org_id"),
    "nothing listens": ({"host": "http://127.0.0.1:9"}, "reachability", "host"),
}


@pytest.mark.parametrize(("changes", "check", "words"), BROKEN.values(), ids=BROKEN)
def test_what_is_broken_is_named_with_its_remedy(
    examined: Examine, changes: dict[str, Any], check: str, words: str
) -> None:
    line = examined(**changes)[check]
    assert line.level is Level.ERROR
    assert words in f"{line.found} {line.remedy}"
    assert line.remedy
    assert MANAGEMENT_KEY not in f"{line}"
    assert INFERENCE_KEY not in f"{line}"


@pytest.mark.parametrize(
    ("fault", "check", "remedy"),
    [
        ({"status": 503}, "reachability", "Try again later"),
        ({"status": 429}, "reachability", "Try again later"),
        ({"status": 403, "body": "<html>Blocked</html>"}, "reachability", "who runs the network"),
        ({"status": 401, "body": "<html>Log in</html>"}, "reachability", "who runs the network"),
        ({"status": 403, "message": "Not allowed."}, "organization", "org_name"),
    ],
    ids=str,
)
def test_neither_key_nor_organization_is_blamed_for_what_is_not_theirs(
    service: Service, examined: Examine, fault: dict[str, Any], check: str, remedy: str
) -> None:
    service.add_fault("list_model_architectures", **fault)
    lines = examined()
    assert [line.check for line in lines.values() if line.level is Level.ERROR] == [check]
    assert remedy in lines[check].remedy


@pytest.mark.parametrize("case", ["another organization", "nothing listens"])
def test_a_remedy_is_not_told_twice(examined: Examine, case: str) -> None:
    changes, check, _ = BROKEN[case]
    line = examined(**changes)[check]
    assert "Check that" not in line.found
    assert "Check that" in line.remedy


def test_without_an_inference_key_there_is_a_warning(examined: Examine) -> None:
    line = examined(extra={"inference_api_key": None})["inference key"]
    assert line.level is Level.WARNING
    assert "inference_api_key" in line.remedy


class _OfAnotherTime(BaseHTTPRequestHandler):
    """A service without architectures with the clock of its server."""

    server: _Server

    def date_time_string(self, timestamp: float | None = None) -> str:
        del timestamp
        return self.server.date

    def do_GET(self) -> None:
        self.send_response(200)
        body = b'{"model_architectures": []}'
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  as the base names it
        del format, args


class _Server(ThreadingHTTPServer):
    date = ""


@pytest.fixture
def of_another_time() -> Iterator[_Server]:
    with _Server(("127.0.0.1", 0), _OfAnotherTime) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("minutes", "level", "words"),
    [(0, Level.OK, "differs"), (10, Level.WARNING, "s behind"), (-10, Level.WARNING, "s ahead of")],
)
def test_a_clock_that_differs_from_the_services_is_named(
    examined: Examine, of_another_time: _Server, minutes: int, level: Level, words: str
) -> None:
    of_another_time.date = format_datetime(datetime.now(UTC) + timedelta(minutes=minutes), usegmt=True)
    line = examined(host=f"http://127.0.0.1:{of_another_time.server_port}")["clock"]
    assert (line.level, bool(line.remedy)) == (level, level is Level.WARNING)
    assert words in line.found


def test_a_date_that_cannot_be_read_is_no_skew(examined: Examine, of_another_time: _Server) -> None:
    of_another_time.date = "yesterday"
    line = examined(host=f"http://127.0.0.1:{of_another_time.server_port}")["clock"]
    assert (line.level, line.found) == (Level.OK, "Not compared: the response has no Date that can be read.")


def task(kind: type[Any] = CerebrasDeployModelOperator, **fields: Any) -> Any:
    """As much of a task in the database as is looked at."""
    given = {"dag_id": "nightly", "task_id": "deploy", "retries": 3, "pool": "default_pool", "endpoint_id": "mine"}
    more = {"wait_for_completion": True, "max_active_tis_per_dag": None, "template_fields": kind.template_fields}
    return SimpleNamespace(**{**given, **more, **fields})


def overlaps(*tasks: Any, runs: int = 1) -> tuple[str, ...]:
    dag = SimpleNamespace(max_active_runs=runs)
    return airflow_checks._overlaps([(dag, task) for task in tasks], {"serial"})


class TestDags:
    @pytest.mark.parametrize(
        "fields", [{}, {"pool": "wide"}, {"kind": DeployForRelease}, {"max_active_tis_per_dag": 2}]
    )
    def test_rollouts_of_runs_at_the_same_time_are_named(self, fields: dict[str, Any]) -> None:
        others = (CerebrasVerifyEndpointOperator, CerebrasDeploymentSensor, UploadForRelease)
        found = overlaps(task(**fields), *(task(kind, task_id="other") for kind in others), runs=2)
        assert found[1] == "warning"
        assert "nightly.deploy." in found[2]
        assert "nightly.other" not in found[2]

    @pytest.mark.parametrize("fields", [{"pool": "serial"}, {"max_active_tis_per_dag": 1}])
    def test_what_keeps_them_apart_is_known(self, fields: dict[str, Any]) -> None:
        # Below Airflow 3.2 a deferred task does not count.
        is_kept = "pool" in fields or AIRFLOW_V_3_2_PLUS
        assert overlaps(task(**fields), runs=2)[1] == ("ok" if is_kept else "warning")

    @pytest.mark.parametrize(
        ("pools", "level"),
        [(("default_pool",) * 2, "warning"), (("serial", "default_pool"), "warning"), (("serial", "serial"), "ok")],
    )
    def test_rollouts_of_two_dags_onto_one_endpoint_are_named(self, pools: tuple[str, str], level: str) -> None:
        found = overlaps(task(pool=pools[0]), task(dag_id="hourly", pool=pools[1]))
        assert found[1] == level
        assert ("nightly.deploy, hourly.deploy." in found[2]) is (level == "warning")

    @pytest.mark.parametrize("endpoint_id", ["another", "{{ params.endpoint_id }}", None])
    def test_what_is_not_known_to_be_one_endpoint_is_not_named(self, endpoint_id: str | None) -> None:
        found = overlaps(task(endpoint_id=endpoint_id), task(dag_id="hourly"), task(dag_id="weekly", endpoint_id=""))
        assert found[1] == "ok"

    @pytest.mark.parametrize("fields", [{"pool": "serial"}, {"max_active_tis_per_dag": 1}])
    def test_a_task_that_does_not_wait_has_ended_while_its_rollout_goes_on(self, fields: dict[str, Any]) -> None:
        assert overlaps(task(wait_for_completion=False, **fields), runs=2)[1] == "warning"
        both = [task(wait_for_completion=False, pool="serial", dag_id=each) for each in ("nightly", "hourly")]
        assert overlaps(*both)[1] == "warning"

    def test_a_rollback_is_meant_to_come_between(self) -> None:
        back = task(CerebrasRollbackEndpointOperator, dag_id="by_hand")
        assert overlaps(task(), back)[1] == "ok"
        assert overlaps(back, runs=2)[1] == "ok"

    def test_whether_a_template_waits_is_not_known(self) -> None:
        assert overlaps(task(wait_for_completion="{{ params.wait }}", pool="serial"), runs=2)[1] == "warning"

    def test_a_mapped_task_has_its_endpoint_among_what_all_of_it_are_given(self) -> None:
        given = {"endpoint_id": "mine", "wait_for_completion": True}
        mapped: dict[str, Any] = {"endpoint_id": None, "wait_for_completion": None, "partial_kwargs": given}
        found = overlaps(task(**mapped), task(dag_id="hourly", **mapped))
        assert "nightly.deploy, hourly.deploy." in found[2]

    @pytest.mark.parametrize("kind", [UploadForRelease, DeployForRelease, TakeBack, Conclude])
    def test_the_tasks_of_a_release_need_retries_too(self, kind: type[Any]) -> None:
        assert airflow_checks._retries([task(kind, retries=0)])[1] == "warning"

    def test_a_sensor_needs_none(self) -> None:
        assert airflow_checks._retries([task(CerebrasDeploymentSensor, retries=0)])[1] == "ok"

    def test_operators_without_retries_are_named(self) -> None:
        found = airflow_checks._retries([task(), task(task_id="other", retries=0)])
        assert found[1] == "warning"
        assert "nightly.other" in found[2]

    def test_all_is_well(self) -> None:
        assert [overlaps(task())[1], airflow_checks._retries([task()])[1]] == ["ok", "ok"]

    def test_a_long_list_is_cut(self) -> None:
        found = overlaps(*(task(task_id=f"t{number}") for number in range(40)), runs=2)
        assert "and 30 more" in found[2]

    def test_where_no_dag_uses_the_provider_nothing_is_praised(self) -> None:
        for found in (airflow_checks._retries([]), overlaps()):
            assert found[1:] == ("ok", "Airflow's database has no task that uses the provider.", "")
