"""The few calls of Airflow's REST API that the demo needs."""

from __future__ import annotations

from typing import Any, NamedTuple

import httpx

COMPONENTS = ("metadatabase", "scheduler", "dag_processor", "triggerer")


class TaskState(NamedTuple):
    """How far a task of a run has come."""

    task_id: str
    state: str
    seconds: float | None
    try_number: int
    rendered_fields: dict[str, Any]


class AirflowRest:
    """A client of one api-server, whose login is switched off.

    :param url: Base URL of the api-server.
    """

    def __init__(self, url: str) -> None:
        # The environment's proxies have no business between two processes of one machine.
        self._http = httpx.Client(base_url=url, timeout=120, trust_env=False)

    def is_up(self) -> bool:
        """Whether the database and every component are healthy."""
        try:
            answer = self._http.get("/api/v2/monitor/health")
        except httpx.TransportError:
            return False
        health = answer.json() if answer.is_success else {}
        return all((health.get(component) or {}).get("status") == "healthy" for component in COMPONENTS)

    def log_in(self) -> None:
        """Get a token, which every call below needs."""
        token = self._http.get("/auth/token").raise_for_status().json()["access_token"]
        self._http.headers["Authorization"] = f"Bearer {token}"

    def add_connection(self, connection_id: str, connection: dict[str, Any]) -> None:
        self.call("POST", "connections", json={"connection_id": connection_id, **connection})

    def add_pool(self, name: str, slots: int = 1) -> None:
        self.call("POST", "pools", json={"name": name, "slots": slots})

    def has_dag(self, dag_id: str) -> bool:
        return self._http.get(f"/api/v2/dags/{dag_id}").is_success

    def import_errors(self) -> list[str]:
        return [error["stack_trace"] for error in self.call("GET", "importErrors")["import_errors"]]

    def unpause(self, dag_id: str) -> None:
        self.call("PATCH", f"dags/{dag_id}", json={"is_paused": False})

    def trigger(self, dag_id: str, conf: dict[str, Any]) -> DagRun:
        """Start a run of the DAG with these parameters."""
        run = self.call("POST", f"dags/{dag_id}/dagRuns", json={"logical_date": None, "conf": conf})
        return DagRun(self, dag_id, run["dag_run_id"])

    def call(self, method: str, path: str, **options: Any) -> Any:
        """The JSON that the API answers, if any; an error's answer becomes the exception's text."""
        answer = self._http.request(method, f"/api/v2/{path}", **options)
        if answer.is_error:
            raise httpx.HTTPStatusError(
                f"Airflow answers {answer.status_code} to {method} {path}: {answer.text}",
                request=answer.request,
                response=answer,
            )
        return answer.json() if answer.content else None


class DagRun:
    """One run of a DAG."""

    def __init__(self, api: AirflowRest, dag_id: str, run_id: str) -> None:
        self.run_id = run_id
        self._api = api
        self._path = f"dags/{dag_id}/dagRuns/{run_id}"

    def state(self) -> str:
        return str(self._api.call("GET", self._path)["state"])

    def tasks(self) -> list[TaskState]:
        """The tasks in the order in which they started."""
        answer = self._api.call("GET", f"{self._path}/taskInstances", params={"order_by": "start_date"})
        return [
            TaskState(
                task["task_id"],
                task["state"] or "waiting",
                task["duration"],
                task["try_number"],
                task["rendered_fields"],
            )
            for task in answer["task_instances"]
        ]

    def result(self, task_id: str, key: str = "return_value") -> Any:
        """What the task returned, or pushed under the key."""
        return self._api.call("GET", f"{self._path}/taskInstances/{task_id}/xcomEntries/{key}")["value"]

    def error(self, task: TaskState) -> str:
        """The last error in the log of the task's last attempt; what it was caused by is left to the log."""
        log = self._api.call("GET", f"{self._path}/taskInstances/{task.task_id}/logs/{task.try_number}")
        chains = [line["error_detail"] for line in log["content"] if line.get("error_detail")]
        return f"{chains[-1][0]['exc_type']}: {chains[-1][0]['exc_value']}" if chains else "Its log holds no error."
