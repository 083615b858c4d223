"""Answers of model versions that a test sets, so that one version can be better than another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from airflow_provider_cerebras.emulator.service.resources import ModelVersion


class VersionAnswers(BaseModel):
    """The answers of one version."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    model_version: str = Field(
        pattern=r"^orgs/[^/]+/models/[^/]+/versions/[^/]+$",
        description="Full name of the version, by number or alias; it need not exist yet.",
    )
    answers: dict[str, str] = Field({}, description="Answers by question, which is the text of the last message.")
    default: str | None = Field(
        None, description="Answer to any other question; null names the version and repeats the question."
    )


class AnswerBook:
    """The answers in force, one set for each version."""

    def __init__(self) -> None:
        self._versions: dict[str, VersionAnswers] = {}

    def all(self) -> list[VersionAnswers]:
        """The sets in force."""
        return list(self._versions.values())

    def put(self, answers: VersionAnswers) -> None:
        """Add a set, in place of the one that the version had."""
        self._versions[answers.model_version] = answers

    def clear(self) -> int:
        """Remove all sets, and return their number."""
        count = len(self._versions)
        self._versions.clear()
        return count

    def find(self, version: ModelVersion, question: str) -> str | None:
        """Return a version's answer to a question; None if none was set.

        A set for the number comes before one for an alias.
        """
        architecture = version.name.rpartition("/")[0]
        for name in (version.name, *(f"{architecture}/{alias}" for alias in version.aliases)):
            if (known := self._versions.get(name)) is not None:
                return known.answers.get(question, known.default)
        return None
