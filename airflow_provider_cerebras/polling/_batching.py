"""What those who share a poll ask for, and what of an answer is new to them. Pure."""

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


def what_to_ask(pollers: Sequence[Poller[Any]]) -> Call[Any]:
    """The call that answers for all: their own, if it is the same for all, else the one for their whole collection.

    :param pollers: at least one, all of the same collection.
    """
    own, collective = pollers[0].call, pollers[0].collective
    return own if own is not collective and all(poller.call == own for poller in pollers) else collective


def changes(before: object, after: object) -> Container[object]:
    """The keys of what is not as it was; see :meth:`~airflow_provider_cerebras.polling.pollers.Poller.is_affected`.

    :param before: the last answer; None before the first.
    :param after: what is heard now, the same object if nothing at all has changed; or an exception. Rows that are as
        they were become the same objects; see :meth:`~airflow_provider_cerebras.api.models.Listing.take_over`.
    """
    if after is before:
        return ()
    if isinstance(before, Listing) and isinstance(after, Listing):
        return after.take_over(before)
    return _EVERYTHING
