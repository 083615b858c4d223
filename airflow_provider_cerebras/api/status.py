"""How far a version or a deployment is, read from an answer: the service's open lists of words become four.

Rules: "Did the upload succeed?", "Did the deployment succeed?" and "What serves now?". The lists of words are not
documented, so a word that nobody has seen means that the work goes on, and only a word of failure means failure.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from airflow_provider_cerebras.api.errors import in_one_line

if TYPE_CHECKING:
    from airflow_provider_cerebras.api.models import DeployedModel, Endpoint, ModelVersion

WORDS_OF_FAILURE = frozenset(
    {"failed", "failure", "error", "errored", "cancelled", "canceled", "rejected", "expired", "aborted"}
)
_WORDS_OF_PROGRESS = frozenset({"queued", "pending", "not_started", "in_progress", "done"})


class Progress(StrEnum):
    """How far something is."""

    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an answer says.

    :param progress: how far it is.
    :param words: the service's own words for it, for people.
    """

    progress: Progress
    words: str


def classify_version(version: ModelVersion) -> Verdict:
    """Tell how far the sync of a version is.

    :param version: what an upload, a look at one version or the list answered.
    """
    word = version.details.sync_status
    words = _words("sync_status", word)
    if version.error:
        return Verdict(Progress.FAILED, f"{words}, error {_error_words(version.error)}")
    if version.details.is_unreadable("sync_status"):
        return Verdict(Progress.PENDING, "a sync_status that cannot be read")
    if version.done:
        succeeded = word is None or word.lower() == "done"
        return Verdict(Progress.SUCCEEDED if succeeded else Progress.FAILED, words)
    if _is_failure(word):
        return Verdict(Progress.FAILED, words)
    return Verdict(Progress.PENDING, words)


def classify_deployment(endpoint: Endpoint, deployment_id: str) -> Verdict:
    """Tell how far a deployment is.

    An entry that is not listed is ``Progress.LOST``: whether it waits in a queue, was superseded or was never
    there cannot be told from one answer, only from several (see ``polling/pollers.py``).

    :param endpoint: what a look at the endpoint answered.
    :param deployment_id: UUID of the deployment.
    """
    entry = next((entry for entry in endpoint.deployed_models or () if entry.id == deployment_id), None)
    return classify_entry(entry)


def classify_entry(entry: DeployedModel | None) -> Verdict:
    """Tell how far a deployment is by its entry.

    :param entry: what its endpoint lists, or None if it does not list it; see :func:`classify_deployment`.
    """
    if entry is None:
        return Verdict(Progress.LOST, "not listed")
    words = _words("state", entry.state)
    if entry.state is not None and entry.state.lower() == "complete":
        return Verdict(Progress.SUCCEEDED, words)
    if _is_failure(entry.state):
        reason = (entry.model_extra or {}).get("error")
        return Verdict(Progress.FAILED, f"{words}, error {_error_words(reason)}" if reason else words)
    return Verdict(Progress.PENDING, words)


def serving_model(endpoint: Endpoint) -> DeployedModel | None:
    """The deployment that serves now, as far as is known: the newest that is complete, wherever it stands in the list.

    For messages and records. What deletes or rolls back reads by :mod:`.evidence`.

    :param endpoint: what a look at the endpoint answered.
    """
    complete = [
        entry for entry in endpoint.deployed_models or () if classify_entry(entry).progress is Progress.SUCCEEDED
    ]
    return max(complete, key=lambda entry: entry.created or 0, default=None)


def _is_failure(word: str | None) -> bool:
    return word is not None and word.lower() in WORDS_OF_FAILURE


def _words(field: str, word: str | None) -> str:
    if word is None:
        return f"no {field}"
    known = word.lower() in WORDS_OF_FAILURE | _WORDS_OF_PROGRESS | {"complete"}
    shown = f"{field} {in_one_line(word)!r}"
    return shown if known else f"{shown}, a word that this provider does not know"


def _error_words(error: object) -> str:
    if isinstance(error, dict) and isinstance(error.get("message"), str):
        return repr(in_one_line(error["message"]))
    return in_one_line(error if isinstance(error, str) else json.dumps(error, default=str))
