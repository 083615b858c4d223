"""Which attempt may delete the version when it is killed: only the one that claimed it last."""

from __future__ import annotations

import pytest

from airflow_provider_cerebras.durable.on_kill import may_delete, was_cleared
from tests.unit.durable.world import CLEARED, FIRST, RETRY, STRANGER

TENTH = f"{FIRST.alias}-10"
SECOND_TO_LAST = f"{FIRST.alias}-9"


@pytest.mark.parametrize(
    ("claim", "aliases", "allowed"),
    [
        pytest.param(None, [], True, id="an upload that is not durable has nobody who could adopt it"),
        pytest.param(None, ["latest"], True, id="nor does an alias of the user matter"),
        pytest.param(FIRST.claim, [FIRST.alias, FIRST.claim, "latest"], True, id="nobody came since"),
        pytest.param(FIRST.claim, [FIRST.alias, FIRST.claim, RETRY.claim], False, id="a newer attempt adopted it"),
        pytest.param(RETRY.claim, [FIRST.alias, FIRST.claim, RETRY.claim], True, id="the newest attempt"),
        pytest.param(TENTH, [FIRST.alias, TENTH, SECOND_TO_LAST], True, id="attempts are numbers, not texts"),
        pytest.param(SECOND_TO_LAST, [FIRST.alias, TENTH, SECOND_TO_LAST], False, id="so ten is newer than nine"),
        pytest.param(FIRST.claim, [], False, id="somebody took all aliases off it"),
        pytest.param(FIRST.claim, [FIRST.alias], False, id="somebody took the claim off it"),
        pytest.param(FIRST.claim, [CLEARED.alias, CLEARED.claim], False, id="it belongs to another generation"),
        pytest.param(
            FIRST.claim, [FIRST.alias, FIRST.claim, STRANGER.claim], True, id="a claim of another task run is not of it"
        ),
        pytest.param("latest", ["latest"], False, id="what is no claim allows nothing"),
    ],
)
def test_may_delete(claim: str | None, aliases: list[str], allowed: bool) -> None:
    assert may_delete(claim, aliases) is allowed


@pytest.mark.parametrize(
    ("claim", "aliases", "cleared"),
    [
        pytest.param(FIRST.claim, [[FIRST.alias, FIRST.claim], []], False, id="its own version alone"),
        pytest.param(FIRST.claim, [[FIRST.alias, FIRST.claim, RETRY.claim]], False, id="a retry is of its generation"),
        pytest.param(FIRST.claim, [[FIRST.claim], ["latest", CLEARED.alias]], True, id="a later generation has one"),
        pytest.param(CLEARED.claim, [[CLEARED.claim], [FIRST.alias, FIRST.claim]], False, id="an earlier one may too"),
        pytest.param(FIRST.claim, [[FIRST.claim], [STRANGER.alias]], False, id="another task run's says nothing"),
        pytest.param(None, [[CLEARED.alias]], False, id="an upload that is not durable cannot tell"),
        pytest.param("latest", [[CLEARED.alias]], False, id="nor can what is no claim"),
    ],
)
def test_was_cleared(claim: str | None, aliases: list[list[str]], cleared: bool) -> None:
    assert was_cleared(claim, aliases) is cleared
