"""The errors of the service, and their messages."""

from __future__ import annotations


class ServiceError(Exception):
    """The service refuses a request; the message is for the caller.

    :param param: Name of the request's parameter at fault, if it is one.
    """

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


class NotFound(ServiceError):
    """The resource does not exist."""


class ForeignOrganization(ServiceError):
    """The key does not belong to the organization in the path."""

    def __init__(self, org_name: str) -> None:
        super().__init__(f"This management key has no access to organization {org_name}.", param="org_name")


class NotDeployable(ServiceError):
    """The version cannot be deployed on this endpoint, or not yet."""


class AliasTaken(ServiceError):
    """Another version of the same architecture holds the alias."""


class VersionInUse(ServiceError):
    """The version serves, or a rollout of it is under way."""


class RolloutUnderWay(ServiceError):
    """The endpoint is configured to take one deployment at a time."""


class NothingServes(ServiceError):
    """No deployment on the endpoint is complete."""


class AlreadyThere(ServiceError):
    """The resource exists already with other properties."""
