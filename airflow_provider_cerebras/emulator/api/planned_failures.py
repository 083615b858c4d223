"""Planned failures: a request can make the sync or the rollout that it starts fail.

The HTTP API has no such field. The fault middleware notes it in the ASGI scope, and the routes read it there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

SCOPE_KEY = "cerebras_emulator.planned_failures"


class PlannedFailures(NamedTuple):
    """The reasons for which the sync or the rollout that a request starts fails; None: it does not fail.

    :param sync: reason of the failure of the sync that an upload starts.
    :param rollout: reason of the failure of the rollout that a deployment starts.
    """

    sync: str | None = None
    rollout: str | None = None


def planned_failures(scope: Mapping[str, Any]) -> PlannedFailures:
    """Return the planned failures of the request of an ASGI scope."""
    planned: PlannedFailures = scope.get(SCOPE_KEY, PlannedFailures())
    return planned
