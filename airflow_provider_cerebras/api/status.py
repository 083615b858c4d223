"""The progress of a version or a deployment: the service's open list of status strings becomes four values.

Rules: "Did the upload succeed?", "Did the deployment succeed?" and "What serves now?". The lists of values are not
documented, so an unknown word means that the work goes on, and only a word of failure means failure.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol, TypeVar

from airflow_provider_cerebras.api.errors import in_one_line

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import BaseModel

    from airflow_provider_cerebras.api.models import DeployedModel, Endpoint, ModelVersion, ModelVersionDetails

WORDS_OF_FAILURE = frozenset(
    {"failed", "failure", "error", "errored", "cancelled", "canceled", "rejected", "expired", "aborted"}
)
WORDS_OF_SUCCESS = frozenset({"done", "complete", "completed", "ready", "succeeded", "success", "active", "live"})
"""The status beside ``done: true`` of a success; ``done`` and ``complete`` are documented."""
_WORDS_OF_PROGRESS = frozenset({"queued", "pending", "not_started", "in_progress"})
_DOCUMENTED_WORDS = WORDS_OF_FAILURE | _WORDS_OF_PROGRESS | {"done", "complete"}
_REASON_NAMES = ("reason", "message", "detail", "error")


class Progress(StrEnum):
    """The progress of a sync or a rollout."""

    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The progress that a response shows, with the service's own status and message.

    :param progress: how far it is.
    :param status_text: the service's own status text, for messages.
    :param is_documented: whether this provider knows that text.
    """

    progress: Progress
    status_text: str
    is_documented: bool = True


def classify_version(version: ModelVersion) -> Verdict:
    """Return how far the sync of a version is.

    :param version: the response to an upload or to a request for one version, or a row of the list.
    """
    details = version.details
    word = details.sync_status
    status_text, documented = _status_text(details, "sync_status", word)
    has_error = _says_something(version.error)
    succeeded = version.done and (
        word.lower() in WORDS_OF_SUCCESS if word else not details.is_unreadable("sync_status")
    )
    if has_error or _is_failure(word) or (version.done and word and not succeeded):
        return Verdict(Progress.FAILED, _with_reasons(status_text, version, details), documented)
    # A version that is done with an unreadable result stays pending: a later poll may be readable.
    return Verdict(Progress.SUCCEEDED if succeeded else Progress.PENDING, status_text, documented)


class _HasId(Protocol):
    @property
    def id(self) -> str | None: ...


_EntryT = TypeVar("_EntryT", bound=_HasId)


def find_by_id(entries: Iterable[_EntryT] | None, deployment_id: str) -> _EntryT | None:
    """Return the entry of a deployment, or None if it is not listed.

    :param entries: the deployments that an endpoint lists; None: unknown.
    :param deployment_id: UUID of the deployment.
    """
    return next((entry for entry in entries or () if entry.id == deployment_id), None)


def classify_deployment(endpoint: Endpoint, deployment_id: str) -> Verdict:
    """Return how far a deployment is.

    An entry that is not listed is ``Progress.LOST``: whether it waits in a queue, was superseded or was never
    there is not known from one response, only from several (see ``polling/deployments.py``).

    :param endpoint: the endpoint, as a response shows it.
    :param deployment_id: UUID of the deployment.
    """
    return classify_entry(find_by_id(endpoint.deployed_models, deployment_id))


def classify_entry(entry: DeployedModel | None) -> Verdict:
    """Return how far a deployment is by its entry.

    :param entry: what its endpoint lists, or None if it does not list it; see :func:`classify_deployment`.
    """
    if entry is None:
        return Verdict(Progress.LOST, "not listed")
    status_text, documented = _status_text(entry, "state", entry.state)
    word = entry.state.lower() if entry.state else None
    is_done = (entry.model_extra or {}).get("done") is True
    if word == "complete" or (is_done and word in WORDS_OF_SUCCESS):
        return Verdict(Progress.SUCCEEDED, status_text, documented)
    if _is_failure(word):
        return Verdict(Progress.FAILED, _with_reasons(status_text, entry), documented)
    return Verdict(Progress.PENDING, status_text, documented)


def serving_model(endpoint: Endpoint) -> DeployedModel | None:
    """The deployment that serves now, as far as is known: the newest that is complete, wherever it stands in the list.

    For messages and records. What deletes or rolls back reads by :mod:`.evidence`.

    :param endpoint: the endpoint, as a response shows it.
    """
    complete = [
        entry for entry in endpoint.deployed_models or () if classify_entry(entry).progress is Progress.SUCCEEDED
    ]
    return max(complete, key=lambda entry: entry.created or 0, default=None)


def _is_failure(word: str | None) -> bool:
    return word is not None and word.lower() in WORDS_OF_FAILURE


def _status_text(model: DeployedModel | ModelVersionDetails, field: str, word: str | None) -> tuple[str, bool]:
    """Return the text of a status field, and whether it is documented."""
    if model.is_unreadable(field):
        return f"{field} is not a string, so it is unknown", False
    if not word:
        return f"no {field}" if word is None else f"{field} ''", True
    shown = f"{field} {in_one_line(word)!r}"
    if word.lower() in _DOCUMENTED_WORDS:
        return shown, True
    return f"{shown}, a word that this provider does not know", False


def _with_reasons(status_text: str, *models: BaseModel) -> str:
    """Add the reasons that the service gives: in ``error``, or in a field whose name says so."""
    reasons: dict[str, str] = {}
    for model in models:
        # A field that is not documented, or not of the documented type, is found among what came with the model.
        fields = {**(model.model_extra or {}), "error": getattr(model, "error", None)}
        for name, value in fields.items():
            if any(part in name.lower() for part in _REASON_NAMES) and _says_something(value):
                reasons.setdefault(_error_text(value), in_one_line(name))
    return ", ".join([status_text, *(f"{name} {reason}" for reason, name in reasons.items())])


def _says_something(error: object) -> bool:
    """Whether an error holds anything: a code of 0 without a message does not."""
    if isinstance(error, dict):
        return any(map(_says_something, error.values()))
    return bool(error)


def _error_text(error: object) -> str:
    if isinstance(error, dict) and isinstance(error.get("message"), str) and error["message"]:
        return repr(in_one_line(error["message"]))
    return in_one_line(error if isinstance(error, str) else json.dumps(error, default=str))
