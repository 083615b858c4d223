"""The span of a task or a trigger says what it was about and how it ended; where there is none, nothing is done."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from airflow_provider_cerebras import traces
from airflow_provider_cerebras.exceptions import DeploymentFailed
from airflow_provider_cerebras.operators.endpoints import CerebrasDeployModelOperator
from airflow_provider_cerebras.operators.model_versions import CerebrasUploadModelVersionOperator
from airflow_provider_cerebras.sensors.model_versions import CerebrasModelVersionSensor
from tests.task_instance import TaskInstance

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.conftest import Service


class Spans:
    """An exporter in memory, and the spans of what is run."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self._provider = TracerProvider()
        self._provider.add_span_processor(SimpleSpanProcessor(self._exporter))

    def attributes_of(self, run: Callable[[], object]) -> dict[str, Any]:
        """The attributes of the span in which something is run, whatever it ends in."""
        tracer = self._provider.get_tracer("airflow")
        with tracer.start_as_current_span("task", record_exception=False, set_status_on_exception=False):
            run()
        return dict(self._exporter.get_finished_spans()[-1].attributes or {})


@pytest.fixture
def spans() -> Spans:
    return Spans()


def context() -> Any:
    return {"ti": TaskInstance()}


def test_a_deferred_deployment_is_described_by_the_spans_of_task_trigger_and_task(
    service: Service, spans: Spans
) -> None:
    version = service.new_version("production")
    service.fail_next_rollout("no capacity")
    task = CerebrasDeployModelOperator(
        task_id="deploy",
        endpoint_id=service.endpoint_id,
        model_version=service.version_name("production"),
        wait_for_completion=True,
        deferrable=True,
        poll_interval=0.01,
    )
    deferred: list[TaskDeferred] = []

    def begin() -> None:
        try:
            task.execute(context())
        except TaskDeferred as error:
            deferred.append(error)

    begun = spans.attributes_of(begin)
    deployment = service.deployments()[-1].deployment_id
    ids = {"cerebras.endpoint_id": service.endpoint_id, "cerebras.deployment_id": deployment}
    assert begun == {**ids, "cerebras.model_version": version}

    service.finish()
    events: list[Any] = []

    async def run() -> None:
        events.extend([event.payload async for event in deferred[0].trigger.run()])

    assert spans.attributes_of(lambda: asyncio.run(run())) == {**ids, "cerebras.outcome": "failed"}

    def resume() -> None:
        with pytest.raises(DeploymentFailed):
            task.execute_complete(context(), events[0])

    assert spans.attributes_of(resume) == {**ids, "cerebras.outcome": "failed"}


def test_an_upload_that_does_not_wait_says_what_it_has_made(service: Service, spans: Spans) -> None:
    task = CerebrasUploadModelVersionOperator(
        task_id="upload", model_arch_id=service.arch, weight_uri="s3://my-bucket/weights"
    )
    attributes = spans.attributes_of(lambda: task.execute(context()))
    assert attributes == {"cerebras.model_version": service.version_name(1), "cerebras.outcome": "submitted"}


def test_a_sensor_says_what_it_waited_for(service: Service, spans: Spans) -> None:
    version = service.new_version("production")
    sensor = CerebrasModelVersionSensor(task_id="wait", model_version=service.version_name("production"))
    attributes = spans.attributes_of(lambda: sensor.execute(context()))
    assert attributes == {"cerebras.model_version": version, "cerebras.outcome": "succeeded"}


def test_the_page_has_each_attribute() -> None:
    page = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")
    rows = [f"| `cerebras.{name}` | {meaning} |" for name, meaning in traces.ATTRIBUTES.items()]
    assert [row for row in rows if row not in page] == []


def test_only_strings_and_only_what_is_named_is_set(spans: Spans) -> None:
    attributes = spans.attributes_of(
        lambda: traces.set_attributes(endpoint_id="e", deployment_id=None, outcome=7, cause="secret")
    )
    assert attributes == {"cerebras.endpoint_id": "e"}


def test_where_there_is_no_span_or_no_opentelemetry_nothing_is_done(
    spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    traces.set_attributes(endpoint_id="e")
    for name in [name for name in sys.modules if name.partition(".")[0] == "opentelemetry"]:
        monkeypatch.delitem(sys.modules, name)
    # That it is not there, and cannot be imported.
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    assert spans.attributes_of(lambda: traces.set_attributes(endpoint_id="e")) == {}
