"""Which failure a request plans: of the sync or the rollout that it starts.

The HTTP API has no such field. The fault middleware notes it in the ASGI scope, and the routes read it there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

SCOPE_KEY = "cerebras_emulator.planned_failures"


class PlannedFailures(NamedTuple):
    """Why what a request starts is to fail; None: it is not to fail.

    :param sync: reason of the failure of the sync that an upload starts.
    :param rollout: reason of the failure of the rollout that a deployment starts.
    """

    sync: str | None = None
    rollout: str | None = None


def planned_failures(scope: Mapping[str, Any]) -> PlannedFailures:
    """Return what the request of an ASGI scope plans."""
    planned: PlannedFailures = scope.get(SCOPE_KEY, PlannedFailures())
    return planned
