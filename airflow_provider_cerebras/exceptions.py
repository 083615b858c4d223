"""The errors of tasks, sorted by whether a retry of the task can help.

What a retry cannot help derives from ``AirflowFailException``, so the task fails at once, whatever its ``retries``.
Errors of single requests are in :mod:`airflow_provider_cerebras.api.errors`.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from airflow_provider_cerebras.api.errors import PERMANENT
from airflow_provider_cerebras.polling.outcome import Outcome, Status

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class InvalidArgument(AirflowFailException, ValueError, TypeError):
    """An argument of an operator or a sensor is wrong; the message begins with its name. Nothing was sent."""


class ConnectionUnusable(AirflowFailException, ValueError):
    """A connection is not defined, or a field of it cannot be used; the message names both. Nothing was sent by it."""


class ModelVersionFailed(AirflowFailException):
    """The service could not copy the weights; the message repeats the service's."""


class WeightsRejected(AirflowFailException):
    """Something about the weights is certainly broken; the message names the first errors and counts the others."""


class WeightsChanged(AirflowFailException):
    """The weights in S3 are not those that were meant: something was added, removed or replaced there."""


class AliasInUse(AirflowFailException):
    """Another model version holds an alias that this one is to have; the message names it."""


class IdentityInUse(AirflowFailException):
    """A version carries the alias that stands for this task run, but is not its version; the message names both."""


class AliasesUnsettled(AirflowException):
    """The aliases of a version did not stay as they were set: another task wants them. A retry tries again."""


class ModelVersionLost(AirflowException):
    """The service no longer knows the version that was waited for. A retry of the upload makes a new one."""


class DeploymentFailed(AirflowFailException):
    """The rollout failed; the message repeats the service's."""


class DeploymentLost(AirflowFailException):
    """Another deployment has superseded this task's, or the endpoint no longer lists it.

    Final, since a retry would take the endpoint from the release that has it now.
    """


class RollbackRefused(AirflowFailException):
    """Another client has deployed since, or it is not known whether; nothing was changed."""


class NothingToRollBackTo(AirflowFailException):
    """No other model version served on the endpoint before."""


class EndpointVerificationFailed(AirflowFailException):
    """An endpoint does not answer as expected.

    :ivar question: the chat that was sent, if the task may show it.
    :ivar answer: what the endpoint said, if the task may show it.
    """

    question: object = None
    answer: str | None = None
    without_content: str | None = None
    """The message without the question and the answer, where it holds them."""


class EvaluationFailed(AirflowFailException):
    """An endpoint is not good enough, or changed while it was evaluated; the message says which.

    An evaluation that could not be carried out ends in another error.
    """


class VerificationNotDone(AirflowException):
    """An endpoint could not be asked, which says nothing about the version that serves. A retry asks again."""


class ReleaseFailed(AirflowFailException):
    """A release failed or was rejected; one sentence says what failed, what serves now, and what to do."""


class RecordExists(AirflowFailException):
    """Another record of a release is stored where this one belongs; it was not overwritten."""


class VersionInUse(AirflowFailException):
    """A model version serves or rolls out, so it is not deleted; the message names the endpoints."""


class WaitTimeout(AirflowException):
    """The deadline passed before the end was reached. The work goes on at the service; a retry waits for it again."""


class RequestRefused(AirflowFailException):
    """The service gave a response that a repetition does not change (400, 401, 403, 404, 422)."""


class UnexpectedTriggerEvent(AirflowException):
    """A trigger's event is not as agreed; perhaps triggerer and worker run different versions of this provider."""


MODEL_VERSION_ERRORS: dict[Status, type[AirflowException]] = {
    Status.FAILED: ModelVersionFailed,
    Status.LOST: ModelVersionLost,
    Status.TIMEOUT: WaitTimeout,
    Status.UNREACHABLE: RequestRefused,
}
"""The error for each outcome of a wait for a model version."""

DEPLOYMENT_ERRORS: dict[Status, type[AirflowException]] = {
    **MODEL_VERSION_ERRORS,
    Status.FAILED: DeploymentFailed,
    Status.LOST: DeploymentLost,
}
"""The error for each outcome of a wait for a deployment."""

_NEXT: dict[type[AirflowException], str] = {
    DeploymentFailed: "Look what serves there, fix the cause, and clear the task that deploys.",
    DeploymentLost: "Find out who deployed there. To deploy this one all the same, clear the task that deploys.",
    WaitTimeout: "Nothing was cancelled at the service, and a retry of the task waits for it again. "
    "If it needs longer, raise timeout.",
}


def error_of(outcome: Outcome, errors: Mapping[Status, type[AirflowException]]) -> AirflowException:
    """Make the error of a wait that did not end well: what was found, and what the user can do about it.

    :param outcome: how the wait ended.
    :param errors: the error for each outcome.
    """
    kind = errors[outcome.status]
    return kind(f"{outcome.message} {_NEXT[kind]}" if kind in _NEXT else outcome.message)


def read_event(event: object, *ids: str) -> Outcome:
    """Read what a trigger sent.

    :param event: the event's payload.
    :param ids: names of the ids that it must hold.
    :raises UnexpectedTriggerEvent: if it is not what a trigger of this provider sends.
    """
    try:
        return Outcome.from_event(event, *ids)
    except ValueError as error:
        raise UnexpectedTriggerEvent(
            f"{error} Do the triggerer and the worker run the same version of airflow-provider-cerebras?"
        ) from error


@contextmanager
def permanent_errors_fail() -> Iterator[None]:
    """Fail the task at once on responses that a repetition does not change.

    :raises RequestRefused: in place of a permanent error of the API.
    """
    try:
        yield
    except PERMANENT as error:
        raise RequestRefused(str(error)) from error
