"""Whether a response is about what was asked for. One about anything else is not evidence of anything.

Each function takes what was asked for first and the response second, and returns the response as it may be used.
Entries of a list that belong to another architecture or organization are left out; what cannot be attributed at all
raises :class:`AnotherSubject`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_cerebras.api.errors import in_one_line
from airflow_provider_cerebras.api.names import ModelVersionName

if TYPE_CHECKING:
    from airflow_provider_cerebras.api import models


class AnotherSubject(Exception):
    """The response is about something else; the message completes "the response ..."."""


def about_version(asked: ModelVersionName, response: models.ModelVersion) -> models.ModelVersion:
    """A version: the same one, or the one by number that an alias stands for.

    :raises AnotherSubject: if it is another one.
    """
    _check_version(asked, response.name)
    return response


def about_aliases(
    asked: ModelVersionName, response: models.ModelVersionAliasesInForce
) -> models.ModelVersionAliasesInForce:
    """The aliases of a version: of the same one, or of the one by number that an alias stands for.

    :raises AnotherSubject: if they are of another one.
    """
    _check_version(asked, response.name)
    return response


def new_version(asked: tuple[str, str], response: models.ModelVersion) -> models.ModelVersion:
    """A version that was just made in an organization and of an architecture.

    :raises AnotherSubject: if it is of another one, or not by number.
    """
    # No alias is asked for, so none is the right one.
    _check_version(ModelVersionName(*asked, version_id=""), response.name)
    return response


def versions_of(asked: tuple[str, str], response: models.ModelVersionList) -> models.ModelVersionList:
    """The versions of one architecture of one organization."""
    prefix = _prefix(asked)
    ours = [version for version in response.model_versions if version.name.startswith(prefix)]
    return (
        response if len(ours) == len(response.model_versions) else response.model_copy(update={"model_versions": ours})
    )


def rows_of(asked: tuple[str, str], response: models.ModelVersionRows) -> models.ModelVersionRows:
    """The versions of one architecture of one organization, and an entry that does not say which one it is of."""
    prefix = _prefix(asked)
    ours = {name: row for name, row in response.rows.items() if name is None or name.startswith(prefix)}
    return response if len(ours) == len(response.rows) else response.model_copy(update={"rows": ours})


def about_endpoint(asked: str, response: Any) -> Any:
    """An endpoint.

    :raises AnotherSubject: if it is another one.
    """
    if response.name != asked:
        raise AnotherSubject(f"is about endpoint {in_one_line(response.name)!r}, not {asked!r}")
    return response


def new_deployment(asked: tuple[str, ModelVersionName], response: models.Deployment) -> models.Deployment:
    """A deployment of a version onto an endpoint, as far as the response says which.

    :raises AnotherSubject: if it is of another one.
    """
    details = response.response
    if details is None:
        return response
    endpoint_id, name = asked
    version_id = None if details.version_id is None else str(details.version_id)
    expected = {
        "endpoint": (details.endpoint_id, endpoint_id),
        "organization": (details.org_name, name.org_name),
        "architecture": (details.model_arch_id, name.model_arch_id),
        "version": (version_id, name.version_id if name.number is not None else version_id),
    }
    for what, (said, wanted) in expected.items():
        if said is not None and said != wanted:
            raise AnotherSubject(f"is about {what} {in_one_line(said)!r}, not {wanted!r}")
    return response


def _check_version(asked: ModelVersionName, said: str) -> None:
    try:
        name = ModelVersionName.parse(said)
    except ValueError:
        name = None
    same_place = name is not None and (name.org_name, name.model_arch_id) == (asked.org_name, asked.model_arch_id)
    # An alias may stand for any number, and a number only for itself.
    if (
        name is None
        or not same_place
        or (name.version_id != asked.version_id and (asked.number is not None or name.number is None))
    ):
        what = str(asked) if asked.version_id else f"a version of {_prefix((asked.org_name, asked.model_arch_id))}"
        raise AnotherSubject(f"is about {in_one_line(said)!r}, not {what}")


def _prefix(asked: tuple[str, str]) -> str:
    org_name, model_arch_id = asked
    return f"orgs/{org_name}/models/{model_arch_id}/versions/"
