"""Who waits: how the waiters of each provider are made, as a user would have them made, and by which connection.

Providers are imported where they are used, so that a process that runs one of them does not pay for the others.
"""

from __future__ import annotations

import asyncio
import json
from abc import ABC, abstractmethod
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from tests.benchmarks.server import ARCHITECTURES, COLLECTIONS, WARM_UP, job_name

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

_WARM_UP_NUMBER = 999_999_999


class Contender(ABC):
    """Someone who waits for jobs.

    :param ports: of the server, for ``http`` and ``https``.
    :param interval: seconds between two polls.
    """

    label: ClassVar[str]
    conn_id: ClassVar[str]

    def __init__(self, ports: Mapping[str, int], interval: float) -> None:
        self.url = f"http://127.0.0.1:{ports['http']}"
        self.port = ports["http"]
        self.tls_port = ports.get("https")
        self.interval = interval

    @abstractmethod
    def connection(self) -> dict[str, Any]:
        """The fields of the Airflow connection."""

    @abstractmethod
    def trigger(self, job: int | None) -> Any:
        """Make the trigger that waits for a job; None: for one that is done already.

        Airflow's triggers share a type, but not every Airflow knows all of these.
        """

    @abstractmethod
    def succeeded(self, payload: Any) -> bool:
        """Whether the event says that the job is done."""

    def environment(self) -> dict[str, str]:
        return {f"AIRFLOW_CONN_{self.conn_id.upper()}": json.dumps(self.connection())}

    async def started(self, jobs: int) -> None:  # noqa: B027
        """Do what comes before the waiters, if anything."""

    async def stopped(self) -> None:  # noqa: B027
        """Do what comes after the waiters, if anything."""

    async def wait(self, job: int | None) -> bool:
        """Wait for a job, and tell whether it was found done."""
        events: AsyncIterator[Any] = self.trigger(job).run()
        async for event in events:
            return self.succeeded(event.payload)
        return False


class Ours(Contender):
    label = "ours"
    conn_id = "cerebras_default"

    def connection(self) -> dict[str, Any]:
        return {"conn_type": "cerebras", "host": self.url, "password": "key"}

    def trigger(self, job: int | None) -> Any:
        from airflow_provider_cerebras.triggers.endpoints import CerebrasDeploymentTrigger
        from airflow_provider_cerebras.triggers.model_versions import CerebrasModelVersionTrigger

        common: dict[str, Any] = {"cerebras_conn_id": self.conn_id, "poll_interval": self.interval}
        if job is None:
            return CerebrasModelVersionTrigger(model_version=f"orgs/bench/models/{WARM_UP}/versions/0", **common)
        collection = job % COLLECTIONS
        if collection < ARCHITECTURES:
            return CerebrasModelVersionTrigger(
                model_version=f"orgs/bench/models/arch-{collection}/versions/{job}", **common
            )
        return CerebrasDeploymentTrigger(
            endpoint_id=f"endpoint-{collection}", deployment_id=job_name(collection, job), **common
        )

    def succeeded(self, payload: Any) -> bool:
        return bool(payload["status"] == "succeeded")


class OursFixed(Ours):
    """Ours without the shorter intervals at the beginning of a wait, to compare at the same number of polls."""

    label = "ours, fixed interval"

    async def started(self, jobs: int) -> None:
        from airflow_provider_cerebras.polling import intervals as pacing

        pacing.MIN_INTERVAL = self.interval


class OursAlone(Ours):
    """Ours with sharing off: each waiter has its own poll and its own client, as if its connection were its own."""

    label = "ours, sharing off"

    def trigger(self, job: int | None) -> Any:
        from airflow_provider_cerebras.hooks.cerebras import CerebrasHook

        trigger = super().trigger(job)
        trigger.cerebras_conn_id = f"{self.conn_id}-{job}"
        trigger._hook = lambda: CerebrasHook(cerebras_conn_id=self.conn_id)
        return trigger


class Http(Contender):
    label = "http"
    conn_id = "http_default"

    def connection(self) -> dict[str, Any]:
        return {"conn_type": "http", "host": self.url}

    def trigger(self, job: int | None) -> Any:
        from airflow.providers.http.triggers.http import HttpSensorTrigger

        return HttpSensorTrigger(
            endpoint=f"jobs/{WARM_UP if job is None else job}", http_conn_id=self.conn_id, poke_interval=self.interval
        )

    def succeeded(self, payload: Any) -> bool:
        return payload is True


class DbtCloud(Contender):
    """It speaks https only, so it is the one that pays for TLS here."""

    label = "dbt cloud (https)"
    conn_id = "dbt_cloud_default"

    def connection(self) -> dict[str, Any]:
        return {"conn_type": "dbt_cloud", "host": f"127.0.0.1:{self.tls_port}", "login": "1", "password": "key"}

    def trigger(self, job: int | None) -> Any:
        from airflow.providers.dbt.cloud.triggers.dbt import DbtCloudRunJobTrigger

        return DbtCloudRunJobTrigger(
            conn_id=self.conn_id,
            run_id=_WARM_UP_NUMBER if job is None else job + 1,
            end_time=float("inf"),
            poll_interval=self.interval,
            account_id=1,
        )

    def succeeded(self, payload: Any) -> bool:
        return bool(payload["status"] == "success")


class Databricks(Contender):
    label = "databricks"
    conn_id = "databricks_default"

    def connection(self) -> dict[str, Any]:
        return {
            "conn_type": "databricks",
            "schema": "http",
            "host": "127.0.0.1",
            "port": self.port,
            "password": "key",
        }

    def trigger(self, job: int | None) -> Any:
        from airflow.providers.databricks.triggers.databricks import DatabricksExecutionTrigger

        return DatabricksExecutionTrigger(
            run_id=_WARM_UP_NUMBER if job is None else job + 1,
            databricks_conn_id=self.conn_id,
            polling_period_seconds=self.interval,
        )

    def succeeded(self, payload: Any) -> bool:
        return bool(json.loads(payload["run_state"])["result_state"] == "SUCCESS")


class OpenAI(Contender):
    label = "openai"
    conn_id = "openai_default"

    def connection(self) -> dict[str, Any]:
        return {"conn_type": "openai", "host": f"{self.url}/v1", "password": "key"}

    def trigger(self, job: int | None) -> Any:
        from airflow.providers.openai.triggers.openai import OpenAIBatchTrigger

        return OpenAIBatchTrigger(
            conn_id=self.conn_id,
            batch_id=f"batch-{WARM_UP if job is None else job}",
            poll_interval=self.interval,
            timeout=86400.0,
        )

    def succeeded(self, payload: Any) -> bool:
        return bool(payload["status"] == "success")


class Limit(Contender):
    """The least that waiting can cost: bare waiters, and one raw keep-alive request a collection and interval.

    It reads the same answers as ours, by the json module, and tells the waiters of what is done.
    """

    label = "limit"
    conn_id = "limit"

    def connection(self) -> dict[str, Any]:
        return {"conn_type": "http"}

    def trigger(self, job: int | None) -> Any:
        raise NotImplementedError

    def succeeded(self, payload: Any) -> bool:
        raise NotImplementedError

    async def started(self, jobs: int) -> None:
        self._waiting: list[dict[str, asyncio.Future[bool]]] = [{} for _ in range(COLLECTIONS)]
        self._polls = [asyncio.create_task(self._poll(collection)) for collection in range(min(jobs, COLLECTIONS))]

    async def stopped(self) -> None:
        for poll in self._polls:
            poll.cancel()
        await asyncio.gather(*self._polls, return_exceptions=True)

    async def wait(self, job: int | None) -> bool:
        if job is None:
            return True
        collection = job % COLLECTIONS
        key = (
            f"orgs/bench/models/arch-{collection}/versions/{job}"
            if collection < ARCHITECTURES
            else job_name(collection, job)
        )
        future = self._waiting[collection][key] = asyncio.get_running_loop().create_future()
        await future
        return True

    async def _poll(self, collection: int) -> None:
        path = (
            f"/management/v1/orgs/bench/models/arch-{collection}/versions"
            if collection < ARCHITECTURES
            else f"/management/v1/endpoints/endpoint-{collection}"
        )
        is_done: Callable[[Any], tuple[str, bool]]
        if collection < ARCHITECTURES:
            rows, is_done = "model_versions", lambda row: (row["name"], row["done"])
        else:
            rows, is_done = "deployed_models", lambda row: (row["id"], row["state"] == "complete")
        waiting = self._waiting[collection]
        async with self._line() as ask:
            while True:
                for row in json.loads(await ask(path))[rows]:
                    name, done = is_done(row)
                    if done and name in waiting:
                        waiting.pop(name).set_result(True)
                await asyncio.sleep(self.interval)

    @asynccontextmanager
    async def _line(self) -> AsyncIterator[Callable[[str], Awaitable[bytes]]]:
        """A connection to the server: what is asked for, and the body of the answer."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=2**24)

        async def ask(path: str) -> bytes:
            writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer key\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            return await reader.readexactly(int(head.rsplit(b":", 1)[1]))

        try:
            yield ask
        finally:
            writer.close()


class LimitByHttpx(Limit):
    """The same, but its requests are sent by the library that ours uses: the least that ours can cost."""

    label = "limit, by httpx"

    async def started(self, jobs: int) -> None:
        import httpx

        self._client = httpx.AsyncClient(
            base_url=self.url,
            headers={"Authorization": "Bearer key"},
            limits=httpx.Limits(keepalive_expiry=10 * self.interval),
            trust_env=False,
        )
        await super().started(jobs)

    async def stopped(self) -> None:
        await super().stopped()
        await self._client.aclose()

    @asynccontextmanager
    async def _line(self) -> AsyncIterator[Callable[[str], Awaitable[bytes]]]:
        async def ask(path: str) -> bytes:
            return (await self._client.get(path)).content

        yield ask


CONTENDERS: dict[str, type[Contender]] = {
    "limit": Limit,
    "limit-httpx": LimitByHttpx,
    "ours": Ours,
    "ours-fixed": OursFixed,
    "ours-alone": OursAlone,
    "http": Http,
    "dbt": DbtCloud,
    "databricks": Databricks,
    "openai": OpenAI,
}
