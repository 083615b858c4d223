"""``skip_unchanged``: a version of the same weights is adopted, no matter which task uploaded it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest

from airflow_provider_cerebras.api.names import is_alias
from airflow_provider_cerebras.durable.identity import refuse_reserved, weights_alias
from airflow_provider_cerebras.emulator.api.operations import OperationName
from airflow_provider_cerebras.exceptions import InvalidArgument
from tests.unit.durable.world import CLEARED, FIRST, RETRY, STRANGER, URI, Attempt, Mishap, name, request

if TYPE_CHECKING:
    from airflow_provider_cerebras.durable.identity import Identity
    from airflow_provider_cerebras.durable.upload_steps import UploadRequest
    from tests.unit.durable.world import Service

UPLOAD = OperationName.UPLOAD_MODEL_VERSION
LOOK = OperationName.GET_MODEL_VERSION
DIGEST = "0123456789abcdef" * 4
ALIAS = weights_alias(DIGEST, None)


def unchanged(identity: Identity | None, *aliases: str, **changes: Any) -> UploadRequest:
    suffix = changes.get("system_fingerprint_suffix")
    return request(identity, *aliases, **changes)._replace(weights_alias=weights_alias(DIGEST, suffix))


def test_the_alias_is_of_digest_and_suffix_and_nobody_else_may_set_it() -> None:
    assert is_alias(ALIAS)
    assert weights_alias(DIGEST, "") == ALIAS
    assert weights_alias(DIGEST, "run-2") != ALIAS != weights_alias("0" * 64, None)
    with pytest.raises(InvalidArgument, match="skip_unchanged"):
        refuse_reserved([ALIAS], "version_aliases")
    refuse_reserved(["weights-2026", f"{ALIAS}0"], "version_aliases")


@pytest.mark.parametrize("other", [CLEARED, STRANGER, None])
def test_the_same_weights_are_uploaded_once(service: Service, other: Identity | None) -> None:
    first = Attempt(service)
    assert first.upload(unchanged(FIRST)) == name(1)
    second = Attempt(service)
    # They may lie elsewhere.
    assert second.upload(unchanged(other)._replace(weight_uri="s3://weights/copy")) == name(1)
    assert second.network.count("upload_model_version") == 0
    assert f"The weights are unchanged: model version {name(1)} carries the alias {ALIAS}" in second.journal.text
    # It stays the version of who has made it.
    assert service.aliases() == {1: [FIRST.alias, ALIAS]}


def test_the_same_weights_under_another_suffix_are_another_version(service: Service) -> None:
    Attempt(service).upload(unchanged(FIRST, system_fingerprint_suffix="run-1"))
    assert Attempt(service).upload(unchanged(STRANGER, system_fingerprint_suffix="run-2")) == name(2)


def test_the_users_aliases_go_onto_what_is_adopted(service: Service) -> None:
    Attempt(service).upload(unchanged(FIRST))
    assert Attempt(service).upload(unchanged(STRANGER, "candidate")) == name(1)
    assert set(service.aliases()[1]) == {FIRST.alias, ALIAS, "candidate"}


@pytest.mark.parametrize("other", [RETRY, STRANGER, None])
def test_one_that_failed_is_replaced(service: Service, other: Identity | None) -> None:
    service.upload(URI, FIRST.alias, ALIAS, fail=True)
    attempt = Attempt(service)
    assert attempt.upload(unchanged(other)) == name(2)
    assert ALIAS in service.aliases()[2]
    assert ALIAS not in service.aliases()[1]


def test_after_an_unknown_outcome_it_is_found_also_without_an_identity(service: Service) -> None:
    attempt = Attempt(service, [Mishap(UPLOAD, httpx.ReadTimeout("slow"))])
    assert attempt.upload(unchanged(None)) == name(1)
    assert service.aliases() == {1: [ALIAS]}


@pytest.mark.parametrize("status", [400, 409, 422])
@pytest.mark.parametrize("words", ["too many aliases", f"{ALIAS} is not allowed"])
def test_a_service_that_refuses_the_alias_gets_the_upload_without_it(service: Service, status: int, words: str) -> None:
    refusal = httpx.Response(status, json={"detail": words})
    times = 7 if status == 409 or ALIAS in words else 1
    attempt = Attempt(service, [Mishap(UPLOAD, refusal, worked=False, times=times)])
    assert attempt.upload(unchanged(FIRST)) == name(1)
    assert service.aliases() == {1: [FIRST.alias]}
    assert f"The alias {ALIAS}, by which unchanged weights are found, is left out" in attempt.journal.text


def test_a_version_that_is_not_proved_to_be_the_same_is_not_adopted(service: Service) -> None:
    # Its suffix is another one than the alias stands for: another client has set it.
    service.api(
        "POST",
        "/orgs/my-org/models:upload",
        {
            "model_arch_id": "gpt-oss-120b",
            "model": {"weight_uri": URI, "version_aliases": [ALIAS], "system_fingerprint_suffix": "other"},
        },
    )
    attempt = Attempt(service)
    assert attempt.upload(unchanged(FIRST)) == name(2)
    assert service.aliases() == {1: [ALIAS], 2: [FIRST.alias]}
    assert "does not show that it is of the same weights" in attempt.journal.text
