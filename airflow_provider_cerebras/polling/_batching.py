"""The call that serves all waiters of a collection, and the changes that a response brings to each. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_cerebras.api.models import Listing

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from airflow_provider_cerebras.api.operations import Call
    from airflow_provider_cerebras.polling.pollers import Poller


class _Everything:
    def __contains__(self, key: object) -> bool:
        return True


_EVERYTHING = _Everything()
NOTHING: Container[object] = frozenset()
"""The object that :func:`changes` returns if nothing has changed."""


def what_to_ask(pollers: Sequence[Poller[Any]]) -> Call[Any]:
    """The call whose response serves all pollers: their own, if they share it, else that of their whole collection.

    :param pollers: at least one, all of the same collection.
    """
    own, collective = pollers[0].call, pollers[0].collective
    return own if own is not collective and all(poller.call == own for poller in pollers) else collective


def changes(before: object, after: object) -> Container[object]:
    """The keys of the changed rows; see :meth:`~airflow_provider_cerebras.polling.pollers.Poller.is_affected`.

    :param before: the last usable response; None before the first.
    :param after: the response now, the same object if nothing at all has changed; or an exception. Rows that are as
        they were become the same objects; see :meth:`~airflow_provider_cerebras.api.models.Listing.take_over`.
    """
    if after is before:
        return NOTHING
    if isinstance(before, Listing) and isinstance(after, Listing):
        return after.take_over(before) or NOTHING
    return _EVERYTHING


def own_calls(
    pollers: Sequence[Poller[Any]], *, now: float, asked: dict[Call[Any], int], limit: int
) -> list[Call[Any]]:
    """The calls for single ones that come next: first those at a deadline, then those that have waited longest.

    :param pollers: those that the response to ``collective`` did not settle.
    :param now: in Unix seconds.
    :param asked: when each call was sent last, as a number that only goes up, from 1.
    :param limit: how many to return at the most.
    """
    at_deadline = {poller.call for poller in pollers if poller.deadline is not None and now >= poller.deadline}
    calls = dict.fromkeys(poller.call for poller in pollers)
    return sorted(calls, key=lambda call: (call not in at_deadline, asked.get(call, 0)))[:limit]
