"""What an upload does next, as a table: pure decisions from what a look at the service showed."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_cerebras.api.evidence import held_aliases
from airflow_provider_cerebras.api.models import ModelVersion
from airflow_provider_cerebras.durable.upload_steps import (
    ChangeAliases,
    Create,
    Finish,
    Mismatch,
    MoveAlias,
    Observed,
    Refuse,
    Step,
    UploadRequest,
    decide,
    is_noted_version,
    mismatch,
)
from tests.unit.durable.world import CLEARED, FIRST, RETRY, STRANGER, URI, name, request

PENDING: dict[str, Any] = {"done": False, "sync_status": "in_progress"}
DONE: dict[str, Any] = {"done": True, "sync_status": "done"}
FAILED: dict[str, Any] = {"done": True, "sync_status": "failed"}

OLDER, YOUNGER = FIRST, CLEARED
"""Two generations of one task run."""


def version(number: int, *aliases: str, done: bool = False, sync_status: str = "in_progress") -> ModelVersion:
    details = {"version_aliases": list(aliases), "sync_status": sync_status}
    return ModelVersion.model_validate({"name": name(number), "done": done, "response": details})


def holding(*holders: ModelVersion) -> dict[str, ModelVersion]:
    """Who holds which alias."""
    return {alias: holder for holder in holders for alias in held_aliases(holder)}


def row(id: str, wanted: UploadRequest, seen: Observed, step: Step) -> Any:  # noqa: A002  as pytest calls it
    return pytest.param(wanted, seen, step, id=id)


MINE = version(5, FIRST.alias)
MINE_LATEST = version(5, FIRST.alias, "latest")
OLD = version(3, OLDER.alias, "latest", "prod")
OTHERS = version(2, STRANGER.alias, "latest")
USERS = version(2, "latest", "prod")
NEWER = version(7, YOUNGER.alias, "latest")

TABLE = [
    # Nothing is there.
    row("nothing there: made", request(FIRST), Observed(None, {}), Create((FIRST.alias,))),
    row(
        "nothing there: the user's aliases go along",
        request(FIRST, "latest", "prod"),
        Observed(None, {}),
        Create((FIRST.alias, "latest", "prod")),
    ),
    row(
        "nothing there: the claim goes along where a kill deletes",
        request(FIRST, "latest", claims=True),
        Observed(None, {}),
        Create((FIRST.alias, FIRST.claim, "latest")),
    ),
    row("not durable: made without an identity", request(None, "latest"), Observed(None, {}), Create(("latest",))),
    row("not durable: claims nothing", request(None, claims=True), Observed(None, {}), Create(())),
    # An earlier attempt has made it.
    row("mine is syncing: adopted", request(RETRY), Observed(MINE, {}), Finish(MINE)),
    row(
        "mine is done: adopted",
        request(RETRY),
        Observed(version(5, FIRST.alias, **DONE), {}),
        Finish(version(5, FIRST.alias, **DONE)),
    ),
    row(
        "mine holds what I want: adopted",
        request(RETRY, "latest"),
        Observed(MINE_LATEST, holding(MINE_LATEST)),
        Finish(MINE_LATEST),
    ),
    row(
        "mine lacks an alias that is free: it is given",
        request(RETRY, "latest", "prod"),
        Observed(MINE_LATEST, holding(MINE_LATEST)),
        ChangeAliases(name(5), ("prod",), (), ""),
    ),
    row(
        "mine has more aliases than I asked for: they stay",
        request(RETRY, "latest"),
        Observed(version(5, FIRST.alias, "golden"), {}),
        ChangeAliases(name(5), ("latest",), (), ""),
    ),
    row(
        "mine was claimed by an earlier attempt: claimed anew",
        request(RETRY, claims=True),
        Observed(version(5, FIRST.alias, FIRST.claim), {}),
        ChangeAliases(name(5), (RETRY.claim,), (), ""),
    ),
    row(
        "mine has lost the identity, and is known by its number: it is given back",
        request(RETRY),
        Observed(version(5, "golden"), {}),
        ChangeAliases(name(5), (FIRST.alias,), (), ""),
    ),
    # It has failed.
    row(
        "mine failed: gives up the identity, the claims and what I want, and keeps the rest",
        request(RETRY, "latest", claims=True),
        Observed(version(5, FIRST.alias, "latest", FIRST.claim, "golden", **FAILED), {}),
        ChangeAliases(name(5), (), (FIRST.alias, "latest", FIRST.claim), ""),
    ),
    row(
        "mine failed a moment after I made it: that is the end",
        request(FIRST),
        Observed(version(5, FIRST.alias, **FAILED), {}, just_made=True),
        Finish(version(5, FIRST.alias, **FAILED)),
    ),
    row(
        "not durable and failed: that is the end",
        request(None),
        Observed(version(5, **FAILED), {}),
        Finish(version(5, **FAILED)),
    ),
    # Another client holds an alias.
    row(
        "a stranger's version holds an alias: refused before anything is made",
        request(FIRST, "latest"),
        Observed(None, holding(OTHERS)),
        Refuse("latest", OTHERS.name, None),
    ),
    row(
        "a user's version holds an alias: refused",
        request(FIRST, "prod"),
        Observed(None, holding(USERS)),
        Refuse("prod", USERS.name, None),
    ),
    row(
        "a stranger's version holds the second alias, and none the first: refused",
        request(FIRST, "free", "latest"),
        Observed(None, holding(OTHERS)),
        Refuse("latest", OTHERS.name, None),
    ),
    row(
        "a stranger took it after mine was made: refused, and said so",
        request(RETRY, "latest"),
        Observed(MINE, holding(OTHERS)),
        Refuse("latest", OTHERS.name, MINE.name),
    ),
    row(
        "not durable: refused likewise",
        request(None, "latest"),
        Observed(None, holding(OTHERS)),
        Refuse("latest", OTHERS.name, None),
    ),
    row(
        "a failed version of a stranger holds it: refused likewise",
        request(FIRST, "latest"),
        Observed(None, holding(version(2, "latest", **FAILED))),
        Refuse("latest", name(2), None),
    ),
    row(
        "moving: made without it first",
        request(FIRST, "latest", "prod", move_aliases=True),
        Observed(None, holding(OTHERS)),
        Create((FIRST.alias, "prod")),
    ),
    row(
        "moving: then moved",
        request(FIRST, "latest", "prod", move_aliases=True),
        Observed(MINE, holding(OTHERS)),
        MoveAlias("latest", OTHERS.name, MINE.name),
    ),
    row(
        "moving: one at a time",
        request(FIRST, "prod", "latest", move_aliases=True),
        Observed(MINE, holding(USERS)),
        MoveAlias("prod", USERS.name, MINE.name),
    ),
    row(
        "moving while not durable: made without it first",
        request(None, "latest", move_aliases=True),
        Observed(None, holding(USERS)),
        Create(()),
    ),
    row(
        "moving while not durable: then moved",
        request(None, "latest", move_aliases=True),
        Observed(version(5), holding(USERS)),
        MoveAlias("latest", USERS.name, name(5)),
    ),
    # Another generation of this task run holds it.
    row(
        "an earlier generation holds an alias: taken over before anything is made",
        request(YOUNGER, "latest"),
        Observed(None, holding(OLD)),
        ChangeAliases(name(3), (), ("latest",), ""),
    ),
    row(
        "an earlier generation holds an alias: taken over by what is there already",
        request(YOUNGER, "latest"),
        Observed(version(7, YOUNGER.alias), holding(OLD)),
        ChangeAliases(name(3), (), ("latest",), ""),
    ),
    row(
        "an earlier generation is known by its claim alone",
        request(YOUNGER, "latest"),
        Observed(None, holding(version(3, OLDER.claim, "latest"))),
        ChangeAliases(name(3), (), ("latest",), ""),
    ),
    row(
        "another version of my generation holds an alias: taken over",
        request(YOUNGER, "latest"),
        Observed(version(9, YOUNGER.alias), holding(NEWER)),
        ChangeAliases(NEWER.name, (), ("latest",), ""),
    ),
    row(
        "a later generation holds an alias: it stays there",
        request(OLDER, "latest", "prod"),
        Observed(MINE, holding(NEWER)),
        ChangeAliases(name(5), ("prod",), (), ""),
    ),
    row(
        "a later generation holds an alias: it stays there, moving or not",
        request(OLDER, "latest", move_aliases=True),
        Observed(MINE, holding(NEWER)),
        Finish(MINE),
    ),
    row(
        "a later generation holds an alias: mine is made without it",
        request(OLDER, "latest"),
        Observed(None, holding(NEWER)),
        Create((OLDER.alias,)),
    ),
    row(
        "of a version of two generations the later counts",
        request(OLDER, "latest"),
        Observed(MINE, holding(version(7, OLDER.claim, YOUNGER.alias, "latest"))),
        Finish(MINE),
    ),
]


@pytest.mark.parametrize(("wanted", "seen", "step"), TABLE)
def test_decide(wanted: UploadRequest, seen: Observed, step: Step) -> None:
    decided = decide(wanted, seen)
    if isinstance(decided, ChangeAliases):
        # Words are for people; the tests of whole uploads read them.
        assert decided.reason
        decided = decided._replace(reason="")
    assert decided == step


def found(name: str = name(5), **changes: Any) -> ModelVersion:
    """A version that is what ``request(FIRST)`` uploads, but for the changes."""
    details = {"version_aliases": [FIRST.alias], "customer_s3_uri": URI, **changes}
    return ModelVersion.model_validate({"name": name, "done": True, "response": details})


OF_OTHERS = name(5).replace("my-org", "other")
URI_FIELD, SUFFIX = "customer_s3_uri", "system_fingerprint_suffix"


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        (found(), None),
        (found(customer_s3_uri=f"{URI}/"), None),
        (found(system_fingerprint_suffix=""), None),
        (found(name("latest")), Mismatch("name", name("<number>"), name("latest"))),
        (found("something else"), Mismatch("name", name("<number>"), "something else")),
        (found(OF_OTHERS), Mismatch("name", name("<number>"), OF_OTHERS)),
        (found(version_aliases=None), Mismatch("version_aliases", FIRST.alias, None)),
        (found(version_aliases=[]), Mismatch("version_aliases", FIRST.alias, "none")),
        (found(version_aliases=["a1", "b2"]), Mismatch("version_aliases", FIRST.alias, "a1, b2")),
        (found(customer_s3_uri=None), Mismatch(URI_FIELD, URI, None)),
        (found(customer_s3_uri=f"{URI}X"), Mismatch(URI_FIELD, URI, f"{URI}X")),
        (found(system_fingerprint_suffix="other"), Mismatch(SUFFIX, "none", "other")),
    ],
)  # fmt: skip
def test_mismatch(version: ModelVersion, expected: Mismatch | None) -> None:
    assert mismatch(request(FIRST), version, by_alias=True) == expected


def test_mismatch_of_what_has_a_suffix_and_a_slash() -> None:
    wanted = request(FIRST, weight_uri=f"{URI}/", system_fingerprint_suffix="run-1")
    assert mismatch(wanted, found(), by_alias=True) == Mismatch(SUFFIX, "run-1", None)
    assert mismatch(wanted, found(system_fingerprint_suffix="run-1"), by_alias=True) is None
    assert mismatch(wanted, found(version_aliases=[], system_fingerprint_suffix="run-1"), by_alias=False) is None
    empty = request(FIRST, weight_uri="")
    assert mismatch(empty, found(customer_s3_uri=None), by_alias=True) is None


@pytest.mark.parametrize(
    ("aliases", "noted"),
    [
        ([], True),
        (["latest", FIRST.claim], True),
        ([FIRST.alias, RETRY.claim], True),
        ([FIRST.alias, FIRST.retired], False),
        ([STRANGER.alias], False),
        ([CLEARED.alias], False),
        (None, False),
    ],
)
def test_a_note_counts_unless_the_version_is_known_to_be_anothers(aliases: list[str] | None, noted: bool) -> None:
    assert is_noted_version(request(RETRY), found(version_aliases=aliases)) is noted
