"""Asset events that say what a task has made, so that a DAG of another team need not ask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from airflow_provider_cerebras.assets.uris import SCHEME

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.providers.common.compat.sdk import Context
    from pydantic import JsonValue

    from airflow_provider_cerebras.assets.provenance import Provenance


def own_outlets(task: object) -> list[Any]:
    """The outlets of a task that are assets of this provider.

    :param task: an operator or a sensor.
    """
    outlets: list[Any] = getattr(task, "outlets", None) or []
    return [outlet for outlet in outlets if str(getattr(outlet, "uri", "")).startswith(f"{SCHEME}://")]


def attach(outlets: list[Any], context: Context, provenance: Provenance) -> None:
    """Put what was made into the extra of the outlets' events. Airflow sends them when the task succeeds.

    :param outlets: see :func:`own_outlets`.
    :param context: the task's context.
    :param provenance: what was made.
    """
    attach_extra(outlets, context, provenance.to_extra())


def attach_extra(outlets: list[Any], context: Context, extra: Mapping[str, JsonValue]) -> None:
    """Put plain JSON into the extra of the outlets' events; see :func:`attach`.

    :param outlets: see :func:`own_outlets`.
    :param context: the task's context.
    :param extra: the extra of the event.
    """
    events = cast("Mapping[Any, Any]", context["outlet_events"])
    for outlet in outlets:
        # What a user's own code has put there already stays.
        events[outlet].extra = {**extra, **events[outlet].extra}
