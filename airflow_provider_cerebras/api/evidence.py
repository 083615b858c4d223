"""The strict way to read responses, for code that deletes or overwrites.

The models of :mod:`.models` take a field that is absent, null or of another type for unknown, with which a wait can go
on. What decides about a deletion, an alias list or a rollback must be known. So each function here either returns what
the response says, or raises an error that names the field and the response. Nothing is sent then.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from airflow_provider_cerebras.api.errors import UnexpectedResponse, in_one_line
from airflow_provider_cerebras.api.names import ModelVersionName
from airflow_provider_cerebras.api.status import Progress, classify_entry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_cerebras.api.models import DeployedModel, Endpoint, EndpointList, Listing, ModelVersion

# No paging is documented, so its fields can only be guessed: next_page_token, nextCursor, has_more, truncated.
_GOES_ON = re.compile(r"^next|_next|^has_?more|truncated|incomplete|cursor", re.IGNORECASE)


class KnownDeployment(NamedTuple):
    """A deployment whose deciding fields are all known.

    :param id: the deployment's UUID; None: not said.
    :param model_version: full name of the version, by number.
    :param created: when it was submitted, Unix seconds.
    :param progress: how far it is.
    """

    id: str | None
    model_version: str
    created: int
    progress: Progress


class EndpointUse(NamedTuple):
    """The versions that an endpoint uses.

    :param in_use: full name of each version that serves or rolls out, with the reason.
    :param served_before: full name of each version that a rollback would go back to, with the reason. Of several
        that were deployed in the same second, each may be meant.
    """

    in_use: dict[str, str]
    served_before: dict[str, str]


def numbered_name(version: ModelVersion) -> ModelVersionName:
    """Return the name of a version, which is by number.

    :param version: a response about one version.
    :raises UnexpectedResponse: if it has another name, or one by alias.
    """
    name = _version_name(version.name)
    if name is None:
        raise UnexpectedResponse(
            f"Field name of model version {version.name} is not the full name of a version by number, so nothing is "
            "changed."
        )
    return name


def held_aliases(version: ModelVersion) -> tuple[str, ...]:
    """Return all aliases that a version holds.

    :param version: a response about one version.
    :raises UnexpectedResponse: if the response does not say.
    """
    aliases = version.details.version_aliases
    if aliases is None:
        raise UnexpectedResponse(
            f"Field response.version_aliases of model version {version.name} is absent or cannot be read, so it is not "
            "known which aliases the version holds. The service replaces the whole list, so it is not written."
        )
    return tuple(aliases)


def check_is_whole(response: EndpointList | Endpoint | Listing, subject: str) -> None:
    """Make sure that a list has no further page. Otherwise, a missing entry could still exist.

    :param response: the response with the list.
    :param subject: the listed things, for the message.
    :raises UnexpectedResponse: if a field that is not documented says so.
    """
    for field, value in (response.model_extra or {}).items():
        if value and _GOES_ON.search(field):
            raise UnexpectedResponse(
                f"{subject} goes on elsewhere, by its field {in_one_line(field)}, which this provider does not know. "
                "So it is not known what else there is, and nothing is changed."
            )


def listed_endpoint_ids(listed: EndpointList, org_name: str) -> tuple[str, ...]:
    """Return the ids of all endpoints.

    :param listed: a response with the list of endpoints.
    :param org_name: name of the organization that was asked for.
    :raises UnexpectedResponse: if an entry does not name its endpoint, or the list goes on elsewhere.
    """
    check_is_whole(listed, f"The list of endpoints of {org_name}")
    for position, summary in enumerate(listed.endpoints):
        if not summary.endpoint_id:
            raise UnexpectedResponse(
                f"Field endpoints[{position}].endpoint_id in the list of endpoints of {org_name} is absent or cannot "
                "be read, so it is not known what that endpoint serves. Nothing is changed."
            )
    return tuple(summary.endpoint_id for summary in listed.endpoints if summary.endpoint_id)


def listed_deployments(endpoint: Endpoint) -> Sequence[DeployedModel]:
    """Return all deployments of an endpoint; fields of each may be unknown.

    :param endpoint: a response about an endpoint.
    :raises UnexpectedResponse: if the response has no list of them, or the list goes on elsewhere.
    """
    check_is_whole(endpoint, f"The list of deployments of endpoint {endpoint.name}")
    if endpoint.deployed_models is None:
        raise UnexpectedResponse(
            f"Field deployed_models of endpoint {endpoint.name} is absent or cannot be read, so it is not known what "
            "serves there. Nothing is changed."
        )
    return endpoint.deployed_models


def known_deployments(endpoint: Endpoint) -> list[KnownDeployment]:
    """Return all deployments of an endpoint, newest first.

    :param endpoint: a response about an endpoint.
    :raises UnexpectedResponse: if the list is absent, or of an entry it is not known which version it rolls out, when
        it was submitted, or how far it is.
    """
    known = [_known(endpoint, position, entry) for position, entry in enumerate(listed_deployments(endpoint))]
    return sorted(known, key=lambda entry: entry.created, reverse=True)


def use_of(endpoint: Endpoint) -> EndpointUse:
    """Return which versions an endpoint needs: what serves, what rolls out, and what served before.

    :param endpoint: a response about an endpoint.
    :raises UnexpectedResponse: see :func:`known_deployments`.
    """
    entries = known_deployments(endpoint)
    complete = [entry for entry in entries if entry.progress is Progress.SUCCEEDED]
    # What was submitted in the same second as the newest may be what serves as well.
    serving = {entry.model_version for entry in complete if entry.created == complete[0].created}
    in_use = dict.fromkeys(serving, f"serves on endpoint {endpoint.name}")
    for entry in entries:
        if entry.progress is Progress.PENDING:
            in_use.setdefault(entry.model_version, f"rolls out on endpoint {endpoint.name}")
    earlier = [entry for entry in complete if entry.model_version not in serving]
    before = {entry.model_version for entry in earlier if entry.created == earlier[0].created}
    return EndpointUse(in_use, dict.fromkeys(before, f"served on endpoint {endpoint.name} before"))


def deployed_name(entry: DeployedModel) -> ModelVersionName | None:
    """Return the name of the version that a deployment rolls out, which is by number; None: it is not known.

    :param entry: what its endpoint lists.
    """
    return _version_name(entry.model)


def _known(endpoint: Endpoint, position: int, entry: DeployedModel) -> KnownDeployment:
    name = deployed_name(entry)
    unknown = {"model": name is None, "created": entry.created is None, "state": not entry.state}
    if name is None or entry.created is None or not entry.state:
        field = next(field for field, is_unknown in unknown.items() if is_unknown)
        raise UnexpectedResponse(
            f"Field deployed_models[{position}].{field} of endpoint {endpoint.name} is absent or cannot be read"
            f"{' as the full name of a version by number' if field == 'model' else ''}, so it is not known what that "
            "deployment serves. Nothing is changed."
        )
    return KnownDeployment(entry.id, str(name), entry.created, classify_entry(entry).progress)


def _version_name(text: str | None) -> ModelVersionName | None:
    try:
        name = ModelVersionName.parse(text)
    except ValueError:
        return None
    return None if name.number is None else name
