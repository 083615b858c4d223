"""Deletions: the versions to keep are fetched right before each deletion.

A version can come into use while a task runs, and while a refused request waits to be sent again. So each DELETE is
sent once, and the reasons to keep the version are fetched anew before the next. What cannot be known raises, and
nothing is deleted then. Between the last response and the DELETE lies one request; nothing can close that gap.

A version is known to be gone only when the list of versions lacks it too: the body of the API's 404 is not
documented, so a 404 of a gateway without a route can be the same.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from airflow_provider_cerebras.api import operations
from airflow_provider_cerebras.api.client import MAX_RETRY_AFTER, may_be_sent_again
from airflow_provider_cerebras.api.errors import CerebrasError, NotFound, UnexpectedResponse
from airflow_provider_cerebras.api.evidence import check_is_whole, held_aliases, listed_endpoint_ids, use_of
from airflow_provider_cerebras.api.names import ModelVersionName
from airflow_provider_cerebras.durable.alias_lists import READ_LAG

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_cerebras.api.client import CerebrasClient
    from airflow_provider_cerebras.api.models import ModelVersion
    from airflow_provider_cerebras.api.operations import Call

_MAX_BACKOFF = 30.0


class Uses(NamedTuple):
    """The versions that the endpoints of an organization need, by full name, each with the reasons.

    The names are in lower case, because it is not documented whether the service distinguishes case.

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
    :param once: whether no request is sent again, since the responses to the others are old after the pause.
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
    :raises UnexpectedResponse: see :func:`check_absence`.
    :raises CerebrasError: if a request failed.
    """
    call = operations.delete_model_version(model_version)
    for failures in range(client.settings.max_retries + 1):
        try:
            if reason := reason_to_keep():
                return reason
            if not _send(client, call):
                _await_absence(client, model_version, sleep)
        except CerebrasError as error:
            if failures == client.settings.max_retries or not may_be_sent_again(call, error):
                raise
            sleep(max(min(2.0**failures, _MAX_BACKOFF), min(error.retry_after or 0.0, MAX_RETRY_AFTER)))
        else:
            break
    return None


def check_absence(client: CerebrasClient, model_version: str) -> None:
    """Make sure that a version does not exist, by the list of all versions, after a 404 has said so.

    :param client: the client to send with.
    :param model_version: full name, by number or alias.
    :raises UnexpectedResponse: if it is listed, or may be; a retry helps if one of the two responses was a stray one.
    :raises CerebrasError: if the request failed.
    """
    name = ModelVersionName.parse(model_version)
    alias = None if name.number is not None else name.version_id
    listed = client.send(operations.find_model_versions(name.org_name, name.model_arch_id))
    check_is_whole(listed, f"The list of model versions of {name.model_arch_id}")
    rows = [None if each is None else listed.find(each) for each in listed.rows]
    if None in rows or any(_may_be(row, model_version, alias) for row in rows if row is not None):
        raise UnexpectedResponse(
            f"The service answered 404 to a request for model version {model_version}, but it lists that version, or "
            "one that does not say which it is. So it is not known to be deleted."
        )


def _may_be(row: ModelVersion, model_version: str, alias: str | None) -> bool:
    if alias is None:
        return row.name.casefold() == model_version.casefold()
    return alias in held_aliases(row)


def _await_absence(client: CerebrasClient, model_version: str, sleep: Callable[[float], None]) -> None:
    """The same after a deletion, which a list may not show at once."""
    waited, pause = 0.0, 1.0
    while True:
        try:
            return check_absence(client, model_version)
        except UnexpectedResponse:
            if waited >= READ_LAG:
                raise
        sleep(pause)
        waited, pause = waited + pause, 2 * pause


def _send(client: CerebrasClient, call: Call[None]) -> bool:
    """Send it, and return whether the service did it; if not, the version may have been deleted meanwhile."""
    try:
        client.send_once(call)
    except NotFound as error:
        if not error.is_from_api:
            raise
        return False
    return True


def _joined(reasons: dict[str, list[str]]) -> dict[str, str]:
    return {name: " and ".join(words) for name, words in reasons.items()}
