"""What a kill of a waiting task may do to the version that the task waits for.

A kill can come late: Airflow may have given the task up before, and a newer attempt has adopted the version. So an
attempt that would delete on a kill claims the version by one more alias, and only the newest claim counts. And it can
be none: what looks like one to a triggerer may be another triggerer that has taken over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_cerebras.durable.identity import OWN_ALIAS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

NOT_CANCELLED = "An upload cannot be cancelled: model version %s goes on syncing at the service."
CLAIMED_SINCE = "Model version %s is left alone: it is no longer only this attempt's."
STILL_AWAITED = "Model version %s is left alone: its task is deferred as before, so another triggerer waits for it."
NOT_DELETED = "Model version %s is not deleted, though its task was killed and delete_on_kill is set. %s"
DELETED = "Deleted model version %s, since the task was killed and delete_on_kill is set."


def may_delete(claim: str | None, aliases: Sequence[str]) -> bool:
    """Tell whether the attempt that is killed may delete the version.

    :param claim: alias by which it has claimed the version; None: its upload is not durable, so nobody can have
        adopted the version.
    :param aliases: the aliases that the version holds now.
    """
    if claim is None:
        return True
    mine = OWN_ALIAS.fullmatch(claim)
    if mine is None or claim not in aliases:
        return False
    others = filter(None, map(OWN_ALIAS.fullmatch, aliases))
    attempts = [int(other[3]) for other in others if other[3] and other.group(1, 2) == mine.group(1, 2)]
    return max(attempts) == int(mine[3])


def was_cleared(claim: str | None, aliases: Iterable[Sequence[str]]) -> bool:
    """Tell whether a task that is deferred waits for another version by now, since a user has cleared it.

    :param claim: alias by which the attempt has claimed its version; None: its upload is not durable, so it cannot be
        told.
    :param aliases: the aliases of each version of the architecture.
    """
    mine = OWN_ALIAS.fullmatch(claim or "")
    if mine is None:
        return False
    own = filter(None, (OWN_ALIAS.fullmatch(alias) for held in aliases for alias in held))
    return any(other[1] == mine[1] and int(other[2]) > int(mine[2]) for other in own)
