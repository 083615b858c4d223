"""Triggers of one event loop share their requests and their connection, against the emulator over a real socket."""

from __future__ import annotations

import asyncio
import ssl
import threading
import time
from typing import TYPE_CHECKING, Any

from airflow_provider_cerebras.triggers.endpoints import CerebrasDeploymentTrigger
from airflow_provider_cerebras.triggers.model_versions import CerebrasModelVersionTrigger

if TYPE_CHECKING:
    import pytest

    from airflow_provider_cerebras.triggers._base import WaitTrigger
    from tests.unit.conftest import Service

CONN_ID = "cerebras_default"


def version_trigger(name: str, **kwargs: Any) -> CerebrasModelVersionTrigger:
    arguments: dict[str, Any] = {"cerebras_conn_id": CONN_ID, "poll_interval": 0.01, "deadline": time.time() + 600}
    return CerebrasModelVersionTrigger(model_version=name, **{**arguments, **kwargs})


def deployment_trigger(deployment_id: str, endpoint_id: str, **kwargs: Any) -> CerebrasDeploymentTrigger:
    arguments: dict[str, Any] = {"cerebras_conn_id": CONN_ID, "poll_interval": 0.01, "deadline": time.time() + 600}
    return CerebrasDeploymentTrigger(deployment_id=deployment_id, endpoint_id=endpoint_id, **{**arguments, **kwargs})


async def statuses(*triggers: WaitTrigger) -> list[str]:
    """Run triggers on this event loop, all at once, and return what each one's only event says."""

    async def status(trigger: WaitTrigger) -> str:
        (event,) = [event async for event in trigger.run()]
        return str(event.payload["status"])

    return list(await asyncio.gather(*map(status, triggers)))


def looks(service: Service, before: int) -> set[str | None]:
    return {request.operation for request in service.requests()[before:]}


def test_versions_of_an_architecture_are_asked_for_at_once(service: Service) -> None:
    names = [service.new_version() for _ in range(20)]
    before = len(service.requests())
    assert asyncio.run(statuses(*map(version_trigger, names))) == ["succeeded"] * 20
    assert [request.operation for request in service.requests()[before:]] == ["list_model_versions"]


def test_deployments_of_an_endpoint_are_asked_for_at_once(service: Service) -> None:
    deployments = [service.new_deployment() for _ in range(5)]
    before = len(service.requests())
    triggers = [deployment_trigger(deployment, service.endpoint_id) for deployment in deployments]
    assert asyncio.run(statuses(*triggers)) == ["succeeded"] * 5
    assert [request.operation for request in service.requests()[before:]] == ["get_endpoint"]


def test_a_version_is_asked_for_by_itself_whoever_waits_for_an_endpoint(service: Service) -> None:
    name, deployment = service.new_version(), service.new_deployment()
    before = len(service.requests())
    triggers = version_trigger(name), deployment_trigger(deployment, service.endpoint_id)
    assert asyncio.run(statuses(*triggers)) == ["succeeded"] * 2
    assert looks(service, before) == {"get_model_version", "get_endpoint"}
    assert len(service.requests()[before:]) == 2


def test_an_event_loop_of_another_thread_asks_by_itself(service: Service) -> None:
    """A test of DAGs, or ``airflow tasks test``, may run a trigger on a thread of its own."""
    names = [service.new_version() for _ in range(2)]
    before = len(service.requests())

    async def both() -> list[list[str]]:
        threads = [asyncio.to_thread(asyncio.run, statuses(version_trigger(name))) for name in names]
        return list(await asyncio.gather(*threads))

    assert asyncio.run(both()) == [["succeeded"]] * 2
    assert [request.operation for request in service.requests()[before:]] == ["get_model_version"] * 2


def test_one_that_is_cancelled_takes_the_answer_from_no_other(service: Service) -> None:
    names = [service.new_version() for _ in range(2)]
    hold = service.add_fault("list_model_versions", hold=True)

    async def scenario() -> list[str]:
        staying, leaving = (asyncio.create_task(statuses(version_trigger(name))) for name in names)
        await asyncio.to_thread(service.requests, stage="held", wait=60)
        leaving.cancel()
        await asyncio.wait([leaving])
        service.end_fault(hold)
        return await staying

    assert asyncio.run(scenario()) == ["succeeded"]
    assert len(service.requests("list_model_versions")) == 1


def test_the_connection_is_read_once_and_its_ssl_context_made_once_in_a_thread(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each costs tens of milliseconds or more, in which no other trigger of the triggerer gets on."""
    monkeypatch.setenv("AIRFLOW_CONN_CEREBRAS_DEFAULT", service.connection(host="https://127.0.0.1:1"))
    threads: list[int] = []
    make = ssl.create_default_context

    def create_default_context(*args: Any, **kwargs: Any) -> ssl.SSLContext:
        threads.append(threading.get_ident())
        return make(*args, **kwargs)

    monkeypatch.setattr(ssl, "create_default_context", create_default_context)
    over = time.time() - 1
    triggers = [version_trigger(service.version_name(each), deadline=over) for each in range(1, 4)]
    triggers_of_both = [*triggers, deployment_trigger("d", service.endpoint_id, deadline=over)]
    assert asyncio.run(statuses(*triggers_of_both)) == ["timeout"] * 4
    assert len(threads) == 1
    assert threads[0] != threading.get_ident()
