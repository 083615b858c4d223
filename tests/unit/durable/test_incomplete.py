"""Whatever field a response leaves out, nulls or gives another type: the right thing is done, or nothing is sent.

The emulator lets versions be deleted that are in use, which is not documented for the service.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_cerebras.durable.aliases import AliasChange, change_aliases, promote
from airflow_provider_cerebras.durable.generations import highest_generation
from airflow_provider_cerebras.hooks.cerebras import CerebrasHook
from airflow_provider_cerebras.operators.model_versions import (
    CerebrasDeleteModelVersionOperator,
    CerebrasPruneModelVersionsOperator,
)
from tests.unit.durable.incomplete import KINDS, Omission, attempt_with, check_every_omission, every_omission
from tests.unit.durable.world import ARCH, CLEARED, FIRST, ORG, Attempt, Service, name

if TYPE_CHECKING:
    from airflow_provider_cerebras.api.client import CerebrasClient

CONTEXT: Any = {}


class Hook(CerebrasHook):
    """A hook whose connection is the test's."""

    def __init__(self, client: CerebrasClient) -> None:
        super().__init__(org_name=ORG)
        self.client = client

    def get_conn(self) -> CerebrasClient:
        return self.client

    @property
    def org_name(self) -> str:
        return ORG


def new_service() -> Service:
    """Version 2 serves, 1 served before, 3 to 5 were never deployed; 3 is protected by an alias."""
    service = Service(delete_in_use="allow", sync_seconds=0, rollout_seconds=0)
    for number, aliases in enumerate([("prod", "blue"), ("green",), ("golden", "audited"), (), ()], start=1):
        service.upload(f"s3://weights/{number}", *aliases)
    for number in (1, 2):
        service.now += 10
        service.deploy(name(number))
    service.now += 10
    return service


def delete(model_version: str) -> Any:
    def run(client: CerebrasClient, attempt: Attempt) -> object:
        operator = CerebrasDeleteModelVersionOperator(task_id="task", model_version=model_version)
        operator.hook = Hook(client)
        return operator.execute(CONTEXT)

    return run


def prune(client: CerebrasClient, attempt: Attempt) -> object:
    operator = CerebrasPruneModelVersionsOperator(
        task_id="task", model_arch_id=ARCH, keep_last=1, keep_aliases=["golden"]
    )
    operator.hook = Hook(client)
    return operator.execute(CONTEXT)


def run_promotion(client: CerebrasClient, attempt: Attempt) -> object:
    return promote(
        client, name(3), "prod", log=attempt.journal, sleep=attempt.pass_time, clock=lambda: attempt.service.now
    )


def change(**wanted: tuple[str, ...]) -> Any:
    def run(client: CerebrasClient, attempt: Attempt) -> object:
        change = AliasChange(**wanted)
        return change_aliases(client, name(3), change, log=attempt.journal, sleep=attempt.pass_time)

    return run


def aliases(service: Service) -> dict[int, set[str]]:
    return {number: set(held) for number, held in service.aliases().items()}


def versions(service: Service) -> set[int]:
    return set(service.aliases())


def test_the_document_is_read() -> None:
    omissions = set(every_omission())
    fields: list[tuple[str, tuple[str | None, ...]]] = [
        ("get_model_version", ("response", "version_aliases")),
        ("list_model_versions", ("model_versions", None, "response", "sync_status")),
        ("list_endpoints", ("endpoints", None, "endpoint_id")),
        ("get_endpoint", ("deployed_models", None, "state")),
        ("get_endpoint", ("deployed_models", None)),
        ("update_model_version_aliases", ("name",)),
        ("deploy_model", ("response", "version_id")),
    ]
    for operation, path in fields:
        assert {Omission(operation, path, kind) for kind in KINDS} <= omissions


def test_deleting_what_nobody_uses() -> None:
    assert check_every_omission(new_service, delete(name(4)), versions) > 20


def test_what_serves_is_never_deleted() -> None:
    with closing(new_service()) as service:
        for omission in every_omission():
            if omission.operation in {"get_model_version", "list_endpoints", "get_endpoint"}:
                error, _ = attempt_with(service, delete(name("green")), omission)
                assert error is not None, omission
                assert versions(service) == {1, 2, 3, 4, 5}, omission


def test_pruning() -> None:
    def is_harmless(ended: set[int]) -> bool:
        return {1, 2, 3, 5} <= ended

    assert check_every_omission(new_service, prune, versions, is_harmless=is_harmless) > 20


def test_promoting() -> None:
    assert check_every_omission(new_service, run_promotion, aliases) > 5


@pytest.mark.parametrize(
    "wanted",
    [{"add": ("canary",)}, {"remove": ("audited",)}, {"replace": ("canary", "golden")}, {"replace": ()}],
    ids=str,
)
def test_changing_aliases(wanted: dict[str, tuple[str, ...]]) -> None:
    assert check_every_omission(new_service, change(**wanted), aliases) > 5


def test_the_generations_that_have_a_version() -> None:
    """One that is overlooked would be adopted after a clear."""
    found: list[int] = []

    def find(client: CerebrasClient, attempt: Attempt) -> None:
        found.append(highest_generation(client, ORG, ARCH, FIRST))

    with closing(new_service()) as service:
        assert attempt_with(service, find, None)[0] is None
        assert found == [-1]  # there are versions, and none is of this task run
        service.upload("s3://weights/6", FIRST.alias)
        service.upload("s3://weights/7", CLEARED.alias)
        found.clear()
        assert attempt_with(service, find, None)[0] is None
        assert found == [CLEARED.generation]
        for omission in every_omission():
            if omission.operation == "list_model_versions":
                found.clear()
                error, _ = attempt_with(service, find, omission)
                assert error is not None or found == [CLEARED.generation], omission
