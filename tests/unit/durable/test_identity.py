"""The identity of an upload: the same for every attempt, and another one as soon as anything else differs."""

from __future__ import annotations

import hashlib
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_cerebras.api.names import is_alias
from airflow_provider_cerebras.durable.aliases import AliasChange
from airflow_provider_cerebras.durable.identity import (
    Identity,
    identify,
    identify_deployment,
    identify_evaluation,
    identify_rollback,
    refuse_reserved,
)
from airflow_provider_cerebras.exceptions import InvalidArgument
from airflow_provider_cerebras.provider_info import get_provider_info

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

TI: dict[str, Any] = {
    "dag_id": "release",
    "run_id": "manual__2025-01-01T00:00:00+00:00",
    "task_id": "upload",
    "map_index": -1,
    "max_tries": 3,
    "try_number": 1,
}
UPLOAD: dict[str, Any] = {
    "org_name": "my-org",
    "model_arch_id": "gpt-oss-120b",
    "weight_uri": "s3://weights/run-1",
    "system_fingerprint_suffix": "run-1",
}


def identity(**changes: Any) -> Identity:
    ti = SimpleNamespace(**{name: changes.pop(name, value) for name, value in TI.items()})
    context: Context = {"ti": ti}  # type: ignore[typeddict-item,assignment,unused-ignore]
    return identify(context, **{**UPLOAD, **changes})


def test_the_base_is_the_documented_digest() -> None:
    # Written out, since versions that were made before an upgrade of this package must be found after it.
    text = (
        '["", "my-org", "gpt-oss-120b", "release", "manual__2025-01-01T00:00:00+00:00", "upload", -1, '
        '"s3://weights/run-1", "run-1"]'
    )
    assert identity().base == hashlib.sha256(text.encode()).hexdigest()[:40]
    assert identity().alias == "airflow-9faab8389c426c120ecab7165d8dca7a8ee78eca-3"


def test_a_retry_has_the_identity_of_what_it_repeats() -> None:
    first, second = identity(try_number=1), identity(try_number=2)
    assert first.alias == second.alias
    assert (first.claim, second.claim) == (f"{first.alias}-1", f"{first.alias}-2")


def test_a_clear_makes_another_generation_of_the_same_base() -> None:
    before, after = identity(max_tries=3), identity(max_tries=4)
    assert before.base == after.base
    assert before.alias != after.alias
    assert not before.owns(after.alias)
    assert not identity(max_tries=1).owns(identity(max_tries=12).claim)
    assert before.generations([after.alias, "latest", after.claim, identity(task_id="other").alias]) == [4, 4]


@pytest.mark.parametrize(
    "change",
    [
        {"dag_id": "release2"},
        {"run_id": "manual__2025-01-02T00:00:00+00:00"},
        {"task_id": "upload2"},
        {"map_index": 0},
        {"org_name": "other-org"},
        {"model_arch_id": "llama3.1-8b"},
        {"weight_uri": "s3://weights/run-2"},
        {"system_fingerprint_suffix": "run-2"},
        {"system_fingerprint_suffix": None},
        {"weights_digest": "0" * 64},
    ],
    ids=lambda change: "-".join(change),
)
def test_each_part_makes_another_base(change: dict[str, Any]) -> None:
    assert identity(**change).base != identity().base


def test_no_suffix_and_an_empty_suffix_are_the_same_request() -> None:
    assert identity(system_fingerprint_suffix=None) == identity(system_fingerprint_suffix="")
    assert identity(system_fingerprint_suffix="").alias == "airflow-a9e12402fef7a258c9c28641b0c0209924f5e14d-3"


def test_parts_cannot_run_into_each_other() -> None:
    one = identity(dag_id='a", "b', run_id="c")
    two = identity(dag_id="a", run_id='b", "c')
    three = identity(dag_id="ab", run_id="c")
    four = identity(dag_id="a", run_id="bc")
    assert len({one.base, two.base, three.base, four.base}) == 4


def test_an_attempt_counts_its_own_claims_alone() -> None:
    first, second = identity(), identity(try_number=2)
    others = [identity(max_tries=4).claim, identity(task_id="other").claim, "latest"]
    assert first.claimants([first.alias, first.claim, second.claim, *others]) == [1, 2]


def test_the_identity_of_other_tasks_is_the_documented_digest_too() -> None:
    ti = SimpleNamespace(**TI)
    context: Context = {"ti": ti}  # type: ignore[typeddict-item,assignment,unused-ignore]
    middle = '"release", "manual__2025-01-01T00:00:00+00:00", "upload", -1'
    for made, kind, after in [
        (identify_deployment(context, "e", "v"), "deployment", '"e", "v"'),
        (identify_rollback(context, "e"), "rollback", '"e"'),
        (identify_evaluation(context, "d", "s"), "evaluation", '"d", "s"'),
    ]:
        text = f'["", "{kind}", {middle}, {after}]'
        assert made.base == hashlib.sha256(text.encode()).hexdigest()[:40]


def test_a_reserved_alias_is_refused_with_the_reason() -> None:
    claimed = f"airflow-{'0' * 40}-1"
    with pytest.raises(InvalidArgument) as caught:
        refuse_reserved([claimed], "version_aliases")
    assert str(caught.value) == (
        f"version_aliases: '{claimed}' is reserved. A task run finds its own model version by an alias of this form "
        "(airflow-<40 hexadecimal digits>-...), so no other alias may have this form."
    )
    weights = f"weights-{'0' * 40}"
    with pytest.raises(InvalidArgument) as caught:
        refuse_reserved([weights], "version_aliases")
    assert str(caught.value) == (
        f"version_aliases: '{weights}' is reserved. skip_unchanged finds a model version of the same weights by an "
        "alias of this form (weights-<40 hexadecimal digits>), so no other alias may have this form."
    )


def test_the_namespace_is_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    without = identity()
    monkeypatch.setenv("AIRFLOW__CEREBRAS__IDEMPOTENCY_NAMESPACE", "production")
    production = identity()
    monkeypatch.setenv("AIRFLOW__CEREBRAS__IDEMPOTENCY_NAMESPACE", "staging")
    assert len({without.base, production.base, identity().base}) == 3
    monkeypatch.setenv("AIRFLOW__CEREBRAS__IDEMPOTENCY_NAMESPACE", "")
    assert identity().base == without.base


def test_airflow_is_told_of_the_namespace() -> None:
    option = get_provider_info()["config"]["cerebras"]["options"]["idempotency_namespace"]
    assert option["default"] == ""
    assert option["type"] == "string"


@given(attempt=st.none() | st.integers(1, 99), generation=st.integers(0, 99))
def test_nobody_may_give_a_version_the_alias_of_a_task_run(attempt: int | None, generation: int) -> None:
    made = identity(max_tries=generation, try_number=attempt or 1)
    alias = made.claim if attempt else made.alias
    with pytest.raises(ValueError, match=f"version_aliases: '{alias}' is reserved"):
        refuse_reserved(["latest", alias], "version_aliases")
    for argument in ("add", "replace"):
        with pytest.raises(ValueError, match=f"{argument}: '{alias}' is reserved"):
            AliasChange.checked(**{"add": None, "remove": None, "replace": None, argument: [alias]})
    # What a run has left behind can be taken off.
    assert AliasChange.checked(add=None, remove=[alias], replace=None).remove == (alias,)


@pytest.mark.parametrize("alias", ["airflow", "airflow-nightly", f"airflow-{'0' * 39}-1", f"xairflow-{'0' * 40}-1"])
def test_what_only_resembles_a_reserved_alias_is_free(alias: str) -> None:
    refuse_reserved([alias], "version_aliases")


@given(
    dag_id=st.text(min_size=1),
    run_id=st.text(min_size=1),
    map_index=st.integers(-1, 1024),
    max_tries=st.integers(0, 10**6),
    try_number=st.integers(1, 10**6),
)
def test_whatever_the_names_are_the_aliases_are_well_formed(**parts: Any) -> None:
    made = identity(**parts)
    assert is_alias(made.alias)
    assert is_alias(made.claim)
    assert made.owns(made.alias)
    assert made.owns(made.claim)
    assert made.generations([made.alias]) == [parts["max_tries"]]
