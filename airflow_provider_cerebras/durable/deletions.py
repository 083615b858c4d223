"""Deletions: what must stay is looked up right before each request that could delete it.

A version can come into use while a task runs, and while a refused request waits to be sent again. So each DELETE is
sent once, and the reasons to keep the version are fetched anew before the next. What cannot be known raises, and
nothing is deleted then. Between the last response and the DELETE lies one request; nothing can close that gap.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from airflow_provider_cerebras.api import operations
from airflow_provider_cerebras.api.client import MAX_RETRY_AFTER, may_be_sent_again
from airflow_provider_cerebras.api.errors import CerebrasError, NotFound
from airflow_provider_cerebras.api.evidence import listed_endpoint_ids, use_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_cerebras.api.client import CerebrasClient
    from airflow_provider_cerebras.api.operations import Call

_MAX_BACKOFF = 30.0


class Uses(NamedTuple):
    """The versions that the endpoints of an organization need, by full name, each with words that say why.

    The names are in lower case, for whether the service tells it from upper case is not documented.

    :param in_use: versions that serve or roll out.
    :param served_before: versions that a rollback would go back to.
    """

    in_use: dict[str, str]
    served_before: dict[str, str]


def find_uses(client: CerebrasClient, org_name: str, *, once: bool = False) -> Uses:
    """Ask every endpoint of an organization which versions it needs.

    Calls ``GET /orgs/{org_name}/endpoints`` and ``GET /endpoints/{endpoint_id}``.

    :param client: the client to send with.
    :param org_name: name of the organization.
    :param once: whether no request is sent again, since what the others have answered is old after the pause.
    :raises UnexpectedResponse: if a response leaves open what an endpoint needs.
    :raises CerebrasError: if a request failed.
    """
    send = client.send_once if once else client.send
    in_use: dict[str, list[str]] = {}
    before: dict[str, list[str]] = {}
    for endpoint_id in listed_endpoint_ids(send(operations.list_endpoints(org_name)), org_name):
        use = use_of(send(operations.get_endpoint(endpoint_id)))
        for found, reasons in ((use.in_use, in_use), (use.served_before, before)):
            for name, words in found.items():
                reasons.setdefault(name.casefold(), []).append(words)
    return Uses(_joined(in_use), _joined(before))


def delete_version(
    client: CerebrasClient,
    model_version: str,
    *,
    reason_to_keep: Callable[[], str | None],
    sleep: Callable[[float], None] = time.sleep,
) -> str | None:
    """Delete a version, unless there is a reason to keep it right before the request.

    :param client: the client to send with.
    :param model_version: full name, by number.
    :param reason_to_keep: fetches what is known now and returns why the version stays, or None. It sends each request
        once: if one fails, all of it is fetched anew after a pause.
    :param sleep: spends the seconds of a back-off.
    :return: the reason why it was kept; None: the version is gone.
    :raises CerebrasError: if a request failed.
    """
    call = operations.delete_model_version(model_version)
    for failures in range(client.settings.max_retries + 1):
        try:
            if reason := reason_to_keep():
                return reason
            _send(client, call)
        except CerebrasError as error:
            if failures == client.settings.max_retries or not may_be_sent_again(call, error):
                raise
            sleep(max(min(2.0**failures, _MAX_BACKOFF), min(error.retry_after or 0.0, MAX_RETRY_AFTER)))
        else:
            break
    return None


def _send(client: CerebrasClient, call: Call[None]) -> None:
    try:
        client.send_once(call)
    except NotFound as error:  # it was deleted meanwhile
        if not error.is_from_api:
            raise


def _joined(reasons: dict[str, list[str]]) -> dict[str, str]:
    return {name: " and ".join(words) for name, words in reasons.items()}
