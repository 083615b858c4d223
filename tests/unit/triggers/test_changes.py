"""What has changed since the last poll, wherever in between a triggerer died."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_cerebras.api.models import ModelVersionRows
from airflow_provider_cerebras.triggers._changes import FORGET_AFTER, AliasMoves, ReadyVersions

if TYPE_CHECKING:
    from pydantic import JsonValue

    from airflow_provider_cerebras.triggers._changes import Change, ChangeDetector

READY = ReadyVersions("my-org", "gpt-oss-120b")
ALIAS = AliasMoves("my-org", "gpt-oss-120b", "production")
NOTHING: dict[str, Any] = {"known": {}, "absent": {}}


def name(number: int | str) -> str:
    return f"orgs/my-org/models/gpt-oss-120b/versions/{number}"


def row(number: int | str, word: str = "done", *aliases: str, uri: object = None) -> dict[str, Any]:
    return {
        "name": name(number),
        "done": word in {"done", "failed"},
        "response": {"sync_status": word, "version_aliases": list(aliases), "customer_s3_uri": uri},
    }


def rows(*given: object) -> ModelVersionRows:
    return ModelVersionRows.model_validate({"model_versions": list(given)})


def compare(
    detector: ChangeDetector[ModelVersionRows, Change], seen: JsonValue, *given: object, now: float = 0.0
) -> tuple[list[str], JsonValue]:
    """Names of the new versions, and what is kept, after it was stored and read again."""
    changes, seen = detector.compare(seen, rows(*given), now)
    return [each.version.name for each in changes], json.loads(json.dumps(seen))


def known(seen: Any) -> set[int]:
    return {int(number) for number in seen["known"]}


class TestReady:
    def test_what_is_there_at_the_first_poll_is_no_change(self) -> None:
        changes, seen = compare(READY, None, row(2), row(1, "failed"), row(3, "queued"))
        assert (changes, known(seen)) == ([], {1, 2})

    def test_each_is_reported_once_when_it_is_ready(self) -> None:
        _, seen = compare(READY, None, row(1, "in_progress"))
        changes, seen = compare(READY, seen, row(1, "in_progress"), row(3), row(2))
        assert changes == [name(2), name(3)]
        changes, seen = compare(READY, seen, row(1), row(3), row(2))
        assert changes == [name(1)]
        assert compare(READY, seen, row(1), row(3), row(2)) == ([], seen)

    def test_one_that_is_listed_later_than_a_newer_one_is_reported_too(self) -> None:
        _, seen = compare(READY, None, row(4))
        changes, seen = compare(READY, seen, row(4), row(6))
        assert changes == [name(6)]
        assert compare(READY, seen, row(4), row(5), row(6))[0] == [name(5)]

    def test_one_that_fails_is_never_reported(self) -> None:
        _, seen = compare(READY, NOTHING, row(1, "queued"))
        changes, seen = compare(READY, seen, row(1, "failed"))
        assert (changes, known(seen)) == ([], {1})

    def test_one_that_is_not_listed_for_a_while_is_reported_once(self) -> None:
        _, seen = compare(READY, NOTHING, row(1, "queued"))
        _, seen = compare(READY, seen)
        changes, seen = compare(READY, seen, row(1))
        assert changes == [name(1)]
        _, seen = compare(READY, seen, now=FORGET_AFTER)
        assert compare(READY, seen, row(1), now=2 * FORGET_AFTER - 1)[0] == []

    @pytest.mark.parametrize("stray", [1, 2])
    def test_an_empty_list_at_the_first_poll_makes_no_old_version_a_new_one(self, stray: int) -> None:
        seen = None
        for _ in range(stray):
            changes, seen = compare(READY, seen)
            assert changes == []
        changes, seen = compare(READY, seen, row(1), row(2))
        assert (changes, known(seen)) == ([], {1, 2})

    def test_an_architecture_without_versions_is_believed_to_have_none_after_three_polls(self) -> None:
        seen = None
        for _ in range(3):
            _, seen = compare(READY, seen)
        assert compare(READY, seen, row(1))[0] == [name(1)]

    def test_an_empty_list_later_on_forgets_nothing(self) -> None:
        _, seen = compare(READY, None, row(1), row(2))
        for _ in range(10):
            _, seen = compare(READY, seen)
        assert compare(READY, seen, row(1), row(2))[0] == []

    def test_deleted_versions_are_forgotten(self) -> None:
        _, seen = compare(READY, None, *(row(number) for number in range(1, 500)))
        _, seen = compare(READY, seen, row(499), now=10)
        _, seen = compare(READY, seen, row(499), now=10 + FORGET_AFTER)
        assert seen == {"known": {"499": ""}, "absent": {}}

    def test_numbers_that_begin_anew_are_reported(self) -> None:
        _, seen = compare(READY, None, *(row(number, uri=f"s3://old/{number}") for number in (1, 2, 3)))
        changes, seen = compare(READY, seen, row(1, "queued", uri="s3://new/1"))
        assert changes == []
        changes, seen = compare(READY, seen, row(1, uri="s3://new/1"), row(2, uri="s3://new/2"))
        assert changes == [name(1), name(2)]
        assert compare(READY, seen, row(1, uri="s3://new/1"), row(2, uri="s3://new/2"))[0] == []

    @pytest.mark.parametrize("uri", [None, "", 7, {}])
    def test_an_origin_that_is_not_known_makes_no_other_version(self, uri: object) -> None:
        _, seen = compare(READY, None, row(1, uri="s3://a/1"))
        changes, seen = compare(READY, seen, row(1, uri=uri))
        assert changes == []
        assert compare(READY, seen, row(1, uri="s3://a/1"))[0] == []

    def test_a_replica_that_lags_behind_makes_nothing_new_again(self) -> None:
        _, seen = compare(READY, NOTHING, row(1))
        _, seen = compare(READY, seen, row(1, "in_progress"))
        assert compare(READY, seen, row(1))[0] == []

    def test_a_row_that_cannot_be_read_is_read_next_time(self) -> None:
        changes, seen = compare(READY, NOTHING, {"name": name(1), "done": "perhaps"})
        assert changes == []
        assert compare(READY, seen, row(1))[0] == [name(1)]

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
        changes, seen = compare(READY, NOTHING, stranger, row(1))
        assert (changes, known(seen)) == ([name(1)], {1})

    @pytest.mark.parametrize(
        "seen", ["", 7, [], {}, {"through": "7", "pending": []}, {"through": 7, "pending": None}, {"known": []}]
    )
    def test_what_was_kept_by_nobody_counts_as_a_first_poll(self, seen: Any) -> None:
        assert compare(READY, seen, row(1))[0] == []

    def test_what_an_earlier_version_of_this_provider_has_kept_is_gone_on_from(self) -> None:
        seen: Any = {"through": 3, "pending": [2]}
        assert compare(READY, seen, row(1), row(2), row(3), row(4))[0] == [name(2), name(4)]

    def test_what_two_triggerers_have_seen_is_put_together(self) -> None:
        one: Any = {"known": {"1": "", "2": "a"}, "absent": {}}
        other: Any = {"known": {"1": "", "3": "b"}, "absent": {"1": 5}}
        assert READY.merge(one, other) == {"known": {"1": "", "2": "a", "3": "b"}, "absent": {"1": 5}}
        assert READY.merge(None, other) == other

    @given(st.data())
    def test_whatever_happens_each_ready_version_is_reported_exactly_once(self, data: st.DataObject) -> None:
        """A triggerer that dies loses what it has not kept, and its events with it; a list may lack any rows."""
        world: dict[int, str] = {}
        kept: JsonValue = NOTHING
        told: list[str] = []
        for _ in range(data.draw(st.integers(1, 12))):
            for number in list(world):
                if world[number] == "queued":
                    world[number] = data.draw(st.sampled_from(["queued", "done", "failed"]))
            if data.draw(st.booleans()):
                world[len(world) + 1] = data.draw(st.sampled_from(["queued", "done"]))
            shown = [row(number, word) for number, word in world.items() if data.draw(st.integers(0, 3))]
            changes, seen = compare(READY, kept, *data.draw(st.permutations(shown)))
            if data.draw(st.booleans()):  # it lives to have its events stored, and what was seen kept
                told, kept = told + changes, seen
        changes, _ = compare(READY, kept, *(row(number, word) for number, word in world.items()))
        assert sorted(told + changes) == sorted(name(number) for number, word in world.items() if word == "done")


class TestAlias:
    def test_the_version_that_has_it_at_the_first_poll_is_no_change(self) -> None:
        assert compare(ALIAS, None, row(1), row(2, "done", "production")) == ([], {"holder": name(2)})

    def test_a_move_is_reported_once(self) -> None:
        _, seen = compare(ALIAS, None, row(1, "done", "production"), row(2))
        changes, seen = compare(ALIAS, seen, row(1), row(2, "done", "production"))
        assert (changes, seen) == ([name(2)], {"holder": name(2)})
        assert compare(ALIAS, seen, row(1), row(2, "done", "production")) == ([], seen)

    def test_the_version_that_had_it_before_is_told(self) -> None:
        changes, _ = ALIAS.compare({"holder": name(1)}, rows(row(1), row(2, "done", "production")), 0)
        assert [each.previous for each in changes] == [name(1)]
        changes, _ = ALIAS.compare({"holder": None}, rows(row(2, "done", "production")), 0)
        assert [each.previous for each in changes] == [None]

    def test_the_middle_of_a_move_is_not(self) -> None:
        _, seen = compare(ALIAS, None, row(1, "done", "production"), row(2))
        changes, seen = compare(ALIAS, seen, row(1), row(2))
        assert (changes, seen) == ([], {"holder": name(1)})
        assert compare(ALIAS, seen, row(1, "done", "production"), row(2))[0] == []
        assert compare(ALIAS, seen, row(1), row(2, "done", "production"))[0] == [name(2)]

    def test_it_counts_as_moved_when_the_version_is_ready(self) -> None:
        _, seen = compare(ALIAS, None, row(1, "done", "production"))
        changes, seen = compare(ALIAS, seen, row(1), row(2, "in_progress", "production"))
        assert changes == []
        assert compare(ALIAS, seen, row(1), row(2, "done", "production"))[0] == [name(2)]

    @pytest.mark.parametrize(
        "hostile", ["orgs/other/models/gpt-oss-120b/versions/9", name("alias"), "../../endpoints", 7]
    )
    def test_a_holder_that_is_no_version_of_the_architecture_is_none(self, hostile: object) -> None:
        entry = {**row(1, "done", "production"), "name": hostile}
        assert compare(ALIAS, {"holder": None}, entry) == ([], {"holder": None})

    @pytest.mark.parametrize("stray", [1, 2])
    def test_a_first_list_without_it_makes_no_move_of_what_it_stands_for(self, stray: int) -> None:
        seen = None
        for _ in range(stray):
            _, seen = compare(ALIAS, seen)
        assert compare(ALIAS, seen, row(2, "done", "production")) == ([], {"holder": name(2)})

    def test_one_that_no_version_has_is_believed_after_three_polls(self) -> None:
        seen = None
        for _ in range(3):
            _, seen = compare(ALIAS, seen, row(1))
        assert compare(ALIAS, seen, row(1, "done", "production"))[0] == [name(1)]
