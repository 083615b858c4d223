"""Which versions are in use, and which may go."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_cerebras.api.models import Endpoint, ModelVersion
from airflow_provider_cerebras.api.status import models_in_use, previous_model
from airflow_provider_cerebras.operators._pruning import select


def name(number: int | str) -> str:
    return f"orgs/my-org/models/gpt-oss-120b/versions/{number}"


def version(number: int | str, status: str = "done", *aliases: str) -> ModelVersion:
    response = {"sync_status": status, "version_aliases": aliases}
    return ModelVersion.model_validate(
        {"name": name(number), "done": status in {"done", "failed"}, "response": response}
    )


def endpoint(*entries: tuple[str, int, int, str]) -> Endpoint:
    """Deployments as id, version, second and state."""
    deployed = [
        {"id": each, "model": name(number), "created": created, "state": state}
        for each, number, created, state in entries
    ]
    return Endpoint.model_validate({"name": "e1", "deployed_models": deployed})


class TestInUse:
    def test_nothing_is_deployed(self) -> None:
        assert models_in_use(endpoint()) == {}

    def test_the_newest_complete_serves_and_older_ones_do_not(self) -> None:
        assert models_in_use(endpoint(("b", 2, 20, "complete"), ("a", 1, 10, "complete"))) == {
            name(2): "serves on endpoint e1"
        }

    def test_what_is_under_way_rolls_out_whatever_it_is_called(self) -> None:
        assert models_in_use(endpoint(("a", 1, 10, "complete"), ("b", 2, 20, "warming_up"))) == {
            name(1): "serves on endpoint e1",
            name(2): "rolls out on endpoint e1",
        }

    def test_what_failed_is_not_in_use(self) -> None:
        assert models_in_use(endpoint(("a", 1, 10, "failed"))) == {}

    def test_of_two_completed_in_the_same_second_both_may_serve(self) -> None:
        assert set(models_in_use(endpoint(("a", 1, 10, "complete"), ("b", 2, 10, "complete")))) == {name(1), name(2)}

    def test_an_entry_without_an_id_counts(self) -> None:
        deployed = [{"model": name(1), "state": "in_progress"}]
        assert set(models_in_use(Endpoint.model_validate({"name": "e1", "deployed_models": deployed}))) == {name(1)}


class TestPrevious:
    @pytest.mark.parametrize(
        ("entries", "deployment_id", "previous"),
        [
            ([], None, None),
            ([("a", 1, 10, "complete")], None, None),
            ([("a", 1, 10, "complete"), ("b", 2, 20, "complete")], None, 1),
            ([("b", 2, 20, "complete"), ("a", 1, 10, "complete")], None, 1),
            ([("a", 1, 10, "complete"), ("b", 2, 20, "failed")], None, 1),
            ([("a", 1, 10, "complete"), ("b", 2, 20, "in_progress")], None, 1),
            ([("a", 1, 10, "failed"), ("b", 2, 20, "complete")], None, None),
            ([("a", 1, 10, "complete"), ("b", 2, 20, "complete"), ("c", 2, 30, "complete")], None, 1),
            ([("a", 1, 10, "complete"), ("b", 2, 20, "complete"), ("c", 3, 30, "complete")], None, 2),
            ([("a", 1, 10, "complete"), ("b", 2, 20, "complete"), ("c", 3, 30, "complete")], "b", 1),
            ([("a", 1, 10, "complete"), ("b", 2, 20, "complete")], "not listed", 2),
        ],
    )
    def test_what_served_before(
        self, entries: list[tuple[str, int, int, str]], deployment_id: str | None, previous: int | None
    ) -> None:
        expected = None if previous is None else name(previous)
        assert previous_model(endpoint(*entries), deployment_id) == expected


class TestSelect:
    def select(self, *versions: ModelVersion, keep_last: int = 1, **changes: Any) -> tuple[list[str], dict[str, str]]:
        arguments = {"in_use": {}, "keep_aliases": [], **changes}
        selection = select(versions, keep_last=keep_last, **arguments)
        return list(selection.delete), dict(selection.keep)

    def test_the_newest_stay_and_older_ones_go_oldest_first(self) -> None:
        delete, keep = self.select(version(10), version(9), version(2), keep_last=2)
        assert delete == [name(2)]
        assert keep == {name(9): "is among the newest", name(10): "is among the newest"}

    def test_what_did_not_sync_does_not_count_as_one_of_the_newest(self) -> None:
        delete, keep = self.select(version(1), version(2), version(3, "failed"), version(4, "in_progress"))
        assert delete == [name(1)]
        assert keep[name(4)] == "still syncs"

    def test_a_failed_one_that_is_older_goes(self) -> None:
        assert self.select(version(1, "failed"), version(2)) == ([name(1)], {name(2): "is among the newest"})

    def test_where_nothing_has_synced_nothing_goes(self) -> None:
        assert self.select(version(1, "failed"), version(2, "queued"))[0] == []

    def test_patterns_protect(self) -> None:
        delete, keep = self.select(version(1, "done", "prod-eu"), version(2), version(3), keep_aliases=["prod-*"])
        assert delete == [name(2)]
        assert keep[name(1)] == "has the protected alias prod-eu"

    def test_what_is_in_use_stays_with_the_reason(self) -> None:
        assert self.select(version(1), version(2), in_use={name(1): "serves on endpoint e1"})[1][name(1)] == (
            "serves on endpoint e1"
        )

    def test_a_name_that_cannot_be_read_stays(self) -> None:
        odd = ModelVersion.model_validate({"name": "something else", "done": True})
        assert self.select(odd, version(1))[0] == [name(1)]

    @given(
        versions=st.lists(
            st.builds(
                lambda number, status, aliases: version(number, status, *aliases),
                st.integers(1, 40),
                st.sampled_from(["done", "failed", "queued", "in_progress", "unheard_of"]),
                st.lists(st.sampled_from(["prod", "prod-eu", "latest", "legal-hold"]), unique=True),
            ),
            unique_by=lambda each: each.name,
        ),
        in_use=st.sets(st.integers(1, 40)),
        keep_last=st.integers(1, 10),
        keep_aliases=st.lists(st.sampled_from(["prod", "prod*", "legal-*", "?atest"])),
    )
    def test_what_serves_is_protected_or_newer_is_never_deleted(
        self, versions: list[ModelVersion], in_use: set[int], keep_last: int, keep_aliases: list[str]
    ) -> None:
        used = {name(number): "serves" for number in in_use}
        selection = select(versions, in_use=used, keep_last=keep_last, keep_aliases=keep_aliases)

        assert sorted([*selection.delete, *selection.keep]) == sorted(each.name for each in versions)
        by_name = {each.name: each for each in versions}
        number = {each.name: int(each.name.rpartition("/")[2]) for each in versions}
        synced = sorted(number[each.name] for each in versions if each.done and each.details.sync_status == "done")
        for gone in selection.delete:
            assert gone not in used
            aliases = by_name[gone].details.version_aliases
            assert not any(fnmatchcase(alias, pattern) for alias in aliases for pattern in keep_aliases)
            assert by_name[gone].done
            assert len([each for each in synced if each > number[gone]]) >= min(keep_last, len(synced)) > 0
