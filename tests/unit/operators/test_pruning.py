"""Which versions are in use, and which may go."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_cerebras.api.models import ModelVersion
from airflow_provider_cerebras.durable.deletions import Uses
from airflow_provider_cerebras.operators._pruning import select


def name(number: int | str) -> str:
    return f"orgs/my-org/models/gpt-oss-120b/versions/{number}"


def version(number: int | str, status: str = "done", *aliases: str) -> ModelVersion:
    response = {"sync_status": status, "version_aliases": aliases}
    return ModelVersion.model_validate(
        {"name": name(number), "done": status in {"done", "failed"}, "response": response}
    )


class TestSelect:
    def select(self, *versions: ModelVersion, keep_last: int = 1, **changes: Any) -> tuple[list[str], dict[str, str]]:
        arguments: dict[str, Any] = {"uses": Uses({}, {}), "keep_aliases": [], **changes}
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
        uses = Uses({name(1): "serves on endpoint e1"}, {name(2): "served on endpoint e1 before"})
        assert self.select(version(1), version(2), version(3), version(4), uses=uses) == (
            [name(3)],
            {
                name(1): "serves on endpoint e1",
                name(2): "served on endpoint e1 before",
                name(4): "is among the newest",
            },
        )

    def test_a_name_that_cannot_be_read_stays(self) -> None:
        odd = ModelVersion.model_validate({"name": "something else", "done": True})
        assert self.select(odd, version(1), version(2)) == (
            [name(1)],
            {"something else": "is not named by number", name(2): "is among the newest"},
        )

    @pytest.mark.parametrize("aliases", [None, "prod", [None], {"prod": 1}, 7])
    def test_one_whose_aliases_cannot_be_read_stays(self, aliases: object) -> None:
        response = {"sync_status": "done", "version_aliases": aliases}
        odd = ModelVersion.model_validate({"name": name(1), "done": True, "response": response})
        delete, keep = self.select(odd, version(2), version(3))
        assert delete == [name(2)]
        assert keep[name(1)].startswith("may have a protected alias")

    @pytest.mark.parametrize("status", [{}, 7, ["done"]])
    def test_one_whose_state_cannot_be_read_stays(self, status: Any) -> None:
        assert self.select(version(1, "done"), version(3))[0] == [name(1)]
        odd = ModelVersion.model_validate(
            {"name": name(1), "done": True, "response": {"sync_status": status, "version_aliases": []}}
        )
        assert self.select(odd, version(3))[0] == []

    def test_one_that_is_listed_twice_stays_if_one_entry_says_so(self) -> None:
        twice = [version(1), version(1, "done", "prod")]
        assert self.select(*twice, version(2), keep_aliases=["prod"])[0] == []
        assert self.select(*twice, version(2), version(2), keep_last=2, keep_aliases=[])[0] == []

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
        selection = select(versions, uses=Uses(used, {}), keep_last=keep_last, keep_aliases=keep_aliases)

        assert sorted([*selection.delete, *selection.keep]) == sorted(each.name for each in versions)
        by_name = {each.name: each for each in versions}
        number = {each.name: int(each.name.rpartition("/")[2]) for each in versions}
        synced = sorted(number[each.name] for each in versions if each.done and each.details.sync_status == "done")
        for gone in selection.delete:
            assert gone not in used
            aliases = by_name[gone].details.version_aliases
            assert aliases is not None
            assert not any(fnmatchcase(alias, pattern) for alias in aliases for pattern in keep_aliases)
            assert by_name[gone].done
            assert len([each for each in synced if each > number[gone]]) >= min(keep_last, len(synced)) > 0
