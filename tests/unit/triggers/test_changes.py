"""What is new since the last look, wherever in between a triggerer died."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_cerebras.api.models import ModelVersionRows
from airflow_provider_cerebras.triggers._changes import AliasLookout, ReadyLookout

if TYPE_CHECKING:
    from pydantic import JsonValue

    from airflow_provider_cerebras.triggers._changes import Lookout

READY = ReadyLookout("my-org", "gpt-oss-120b")
ALIAS = AliasLookout("my-org", "gpt-oss-120b", "production")


def name(number: int | str) -> str:
    return f"orgs/my-org/models/gpt-oss-120b/versions/{number}"


def row(number: int | str, word: str = "done", *aliases: str) -> dict[str, Any]:
    return {
        "name": name(number),
        "done": word in {"done", "failed"},
        "response": {"sync_status": word, "version_aliases": list(aliases)},
    }


def rows(*given: object) -> ModelVersionRows:
    return ModelVersionRows.model_validate({"model_versions": list(given)})


def look(lookout: Lookout, seen: JsonValue, *given: object) -> tuple[list[str], JsonValue]:
    """Names of the new versions, and what is kept, after it was stored and read again."""
    news, seen = lookout.look(seen, rows(*given))
    return [each.version.name for each in news], json.loads(json.dumps(seen))


class TestReady:
    def test_what_is_there_at_the_first_look_is_nothing_new(self) -> None:
        news, seen = look(READY, None, row(2), row(1, "failed"), row(3, "queued"))
        assert (news, seen) == ([], {"through": 3, "pending": [3]})

    def test_each_is_new_once_when_it_is_ready(self) -> None:
        _, seen = look(READY, None, row(1, "in_progress"))
        news, seen = look(READY, seen, row(1, "in_progress"), row(3), row(2))
        assert news == [name(2), name(3)]
        news, seen = look(READY, seen, row(1), row(3), row(2))
        assert news == [name(1)]
        assert look(READY, seen, row(1), row(3), row(2)) == ([], seen)

    def test_one_that_fails_is_never_new(self) -> None:
        _, seen = look(READY, None)
        _, seen = look(READY, seen, row(1, "queued"))
        assert look(READY, seen, row(1, "failed")) == ([], {"through": 1, "pending": []})

    def test_one_that_is_not_listed_for_a_while_is_not_forgotten(self) -> None:
        _, seen = look(READY, None)
        _, seen = look(READY, seen, row(1, "queued"))
        _, seen = look(READY, seen)
        assert look(READY, seen, row(1))[0] == [name(1)]

    def test_a_row_that_cannot_be_read_is_looked_at_again(self) -> None:
        _, seen = look(READY, None)
        news, seen = look(READY, seen, {"name": name(1), "done": "perhaps"})
        assert news == []
        assert look(READY, seen, row(1))[0] == [name(1)]

    @pytest.mark.parametrize(
        "stranger",
        [
            None,
            "text",
            {},
            {"name": 7},
            {"name": "orgs/other/models/gpt-oss-120b/versions/9"},
            {"name": "orgs/my-org/models/other/versions/9"},
            {"name": name("alias")},
            {"name": "../../endpoints"},
        ],
    )
    def test_what_is_no_version_of_the_architecture_is_left_out(self, stranger: object) -> None:
        _, seen = look(READY, None)
        assert look(READY, seen, stranger, row(1)) == ([name(1)], {"through": 1, "pending": []})

    @pytest.mark.parametrize("seen", ["", 7, [], {}, {"through": "7", "pending": []}, {"through": 7, "pending": None}])
    def test_what_was_kept_by_nobody_counts_as_a_first_look(self, seen: Any) -> None:
        assert look(READY, seen, row(1)) == ([], {"through": 1, "pending": []})

    @given(st.data())
    def test_whatever_happens_each_ready_version_is_new_exactly_once(self, data: st.DataObject) -> None:
        """A triggerer that dies loses what it has not kept, and its events with it."""
        world: dict[int, str] = {}
        _, kept = look(READY, None)
        told: list[str] = []
        for _ in range(data.draw(st.integers(1, 12))):
            for number in list(world):
                if world[number] == "queued":
                    world[number] = data.draw(st.sampled_from(["queued", "done", "failed"]))
            if data.draw(st.booleans()):
                world[len(world) + 1] = data.draw(st.sampled_from(["queued", "done"]))
            shown = [row(number, word) for number, word in world.items()]
            news, seen = look(READY, kept, *data.draw(st.permutations(shown)))
            if data.draw(st.booleans()):  # it lives to have its events stored, and what was seen kept
                told, kept = told + news, seen
        news, _ = look(READY, kept, *(row(number, word) for number, word in world.items()))
        assert sorted(told + news) == sorted(name(number) for number, word in world.items() if word == "done")


class TestAlias:
    def test_whoever_has_it_at_the_first_look_is_nothing_new(self) -> None:
        assert look(ALIAS, None, row(1), row(2, "done", "production")) == ([], {"holder": name(2)})

    def test_a_move_is_new_once(self) -> None:
        _, seen = look(ALIAS, None, row(1, "done", "production"), row(2))
        news, seen = look(ALIAS, seen, row(1), row(2, "done", "production"))
        assert (news, seen) == ([name(2)], {"holder": name(2)})
        assert look(ALIAS, seen, row(1), row(2, "done", "production")) == ([], seen)

    def test_who_had_it_before_is_told(self) -> None:
        news, _ = ALIAS.look({"holder": name(1)}, rows(row(1), row(2, "done", "production")))
        assert [each.previous for each in news] == [name(1)]
        news, _ = ALIAS.look({"holder": None}, rows(row(2, "done", "production")))
        assert [each.previous for each in news] == [None]

    def test_the_middle_of_a_move_is_not(self) -> None:
        _, seen = look(ALIAS, None, row(1, "done", "production"), row(2))
        news, seen = look(ALIAS, seen, row(1), row(2))
        assert (news, seen) == ([], {"holder": name(1)})
        assert look(ALIAS, seen, row(1, "done", "production"), row(2))[0] == []
        assert look(ALIAS, seen, row(1), row(2, "done", "production"))[0] == [name(2)]

    def test_it_counts_as_moved_when_the_version_is_ready(self) -> None:
        _, seen = look(ALIAS, None, row(1, "done", "production"))
        news, seen = look(ALIAS, seen, row(1), row(2, "in_progress", "production"))
        assert news == []
        assert look(ALIAS, seen, row(1), row(2, "done", "production"))[0] == [name(2)]

    @pytest.mark.parametrize(
        "hostile", ["orgs/other/models/gpt-oss-120b/versions/9", name("alias"), "../../endpoints", 7]
    )
    def test_a_holder_that_is_no_version_of_the_architecture_is_none(self, hostile: object) -> None:
        entry = {**row(1, "done", "production"), "name": hostile}
        assert look(ALIAS, {"holder": None}, entry) == ([], {"holder": None})
