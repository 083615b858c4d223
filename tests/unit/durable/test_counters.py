"""What Airflow's metrics are given when something was made, adopted, or found after an unknown outcome."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_provider_cerebras.durable.rollout_steps import Baseline, Submission
from airflow_provider_cerebras.emulator.api.operations import OperationName
from tests.unit.durable.world import (
    ARCH,
    ENDPOINT,
    FIRST,
    RETRY,
    STRANGER,
    URI,
    Attempt,
    Mishap,
    Service,
    Store,
    broken,
    name,
    request,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_cerebras.durable.identity import Identity
    from tests.unit.metrics_sent import Sent

UPLOAD, DEPLOY = OperationName.UPLOAD_MODEL_VERSION, OperationName.DEPLOY_MODEL


@pytest.fixture
def service(new_service: Callable[..., Service]) -> Service:
    service = new_service(sync_seconds=0, rollout_seconds=100)
    service.upload(URI)
    return service


def test_a_deployment(service: Service, sent: Sent) -> None:
    counted = []
    service.upload(URI)
    for version, fault in ((1, None), (1, None), (2, "timeout")):
        mishaps = [Mishap(DEPLOY, broken(fault))] if fault else []
        Attempt(service, mishaps).deploy(name(version))
        counted.append(dict(sent.counters))
        sent.counters.clear()
        service.now += 100
    tags = str({"endpoint_id": ENDPOINT})
    words = ["submitted", "adopted", "reconciled"]
    assert counted == [{(f"cerebras.deployment.{word}", tags): 1} for word in words]


def test_what_is_noted_of_a_deployment_that_was_found(service: Service) -> None:
    store = Store()
    at = int(service.now)
    made = Attempt(service, [Mishap(DEPLOY, broken("timeout"))], store).deploy(name(1))
    noted = Submission.from_json(store.content["cerebras_deployment"]["submission"])
    assert noted == Submission(made, name(1), at, Baseline(0), seen=True)


def test_an_upload(service: Service, sent: Sent) -> None:
    attempts: list[tuple[Identity | None, str | None]] = [
        (FIRST, None),
        (RETRY, None),
        (None, None),
        (STRANGER, "timeout"),
    ]
    counted = []
    for identity, fault in attempts:
        Attempt(service, [Mishap(UPLOAD, broken(fault))] if fault else []).upload(request(identity))
        counted.append(dict(sent.counters))
        sent.counters.clear()
    tags = str({"model_arch_id": ARCH})
    words = ["submitted", "adopted", "submitted", "reconciled"]
    assert counted == [{(f"cerebras.model_version.{word}", tags): 1} for word in words]
