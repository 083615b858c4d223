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
    entry = next((entry for entry in endpoint.deployed_models if entry.id == deployment_id), None)
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
    """The deployment that serves now: the newest that is complete, wherever it stands in the list.

    :param endpoint: what a look at the endpoint answered.
    """
    complete = [entry for entry in endpoint.deployed_models if classify_entry(entry).progress is Progress.SUCCEEDED]
    return max(complete, key=lambda entry: entry.created or 0, default=None)


def models_in_use(endpoint: Endpoint) -> dict[str, str]:
    """Tell which versions an endpoint has in use, and how.

    :param endpoint: what a look at the endpoint answered.
    :return: full name of each version that serves or rolls out, with words that say so.
    """
    used: dict[str, str] = {}
    serving = serving_model(endpoint)
    for entry in endpoint.deployed_models:
        progress = classify_entry(entry).progress
        if entry.model is not None and progress is Progress.PENDING:
            used[entry.model] = f"rolls out on endpoint {endpoint.name}"
        # What was completed in the same second as the newest may be what serves as well.
        if entry.model is not None and progress is Progress.SUCCEEDED and serving and entry.created == serving.created:
            used[entry.model] = f"serves on endpoint {endpoint.name}"
    return used


def previous_model(endpoint: Endpoint, deployment_id: str | None = None) -> str | None:
    """Full name of the version that served before a deployment, if another one did.

    :param endpoint: what a look at the endpoint answered.
    :param deployment_id: UUID of the deployment; default: the newest one, whatever its state. One that is not listed
        has not come to serve, so what serves is what served before.
    """
    entries = sorted(endpoint.deployed_models, key=lambda entry: entry.created or 0)
    if deployment_id is None:
        reference = entries[-1] if entries else None
    else:
        reference = next((entry for entry in entries if entry.id == deployment_id), None)
    earlier = [
        entry
        for entry in entries
        if reference is None or (entry.model != reference.model and (entry.created or 0) <= (reference.created or 0))
    ]
    serving = serving_model(endpoint.model_copy(update={"deployed_models": earlier}))
    return serving.model if serving else None


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
