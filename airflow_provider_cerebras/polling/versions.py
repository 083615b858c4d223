"""The poller of a model version's sync."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_cerebras.api import operations
from airflow_provider_cerebras.api.errors import NotFound, UnexpectedResponse, in_one_line
from airflow_provider_cerebras.api.models import ModelVersion, ModelVersionRows
from airflow_provider_cerebras.api.names import ModelVersionName
from airflow_provider_cerebras.api.status import Verdict, classify_version
from airflow_provider_cerebras.metrics import MODEL_VERSION
from airflow_provider_cerebras.polling.evidence import Streak
from airflow_provider_cerebras.polling.outcome import Status
from airflow_provider_cerebras.polling.pollers import NotListedError, Poller, conclude

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import JsonValue

    from airflow_provider_cerebras.polling.outcome import Outcome


class ModelVersionPoller(Poller[ModelVersion]):
    """Follows the sync of a model version.

    A version that a list does not show, or shows in a way that cannot be read, is asked for by itself. Only the API's
    own 404 to that counts, and only several in a row end the wait as lost.

    :param model_version: full name.
    :param deadline: see :class:`Poller`.
    :param started: see :class:`Poller`.
    :param is_first: see :class:`Poller`.
    """

    metrics = MODEL_VERSION

    def __init__(self, model_version: str, *, deadline: float | None, started: float, is_first: bool = False) -> None:
        super().__init__(deadline=deadline, started=started, is_first=is_first)
        self._misses = Streak()
        self._follow(model_version)
        self.belongs_to = self._name.model_arch_id
        self.collection = self.collective = operations.find_model_versions(
            self._name.org_name, self._name.model_arch_id
        )

    def remember(self) -> dict[str, JsonValue]:
        """See :class:`Poller`."""
        return {**super().remember(), **({"misses": self._misses.to_json()} if self._misses.count else {})}

    def recall(self, remembered: Mapping[str, object]) -> None:
        """See :class:`Poller`."""
        super().recall(remembered)
        self._misses.restore(remembered.get("misses"))

    def _follow(self, model_version: str) -> None:
        self.call = operations.get_model_version(model_version)
        self.subject = f"Model version {model_version}"
        self.ids = {"model_version": model_version}
        self.key = model_version
        self._name = ModelVersionName.parse(model_version)

    @property
    def _alias(self) -> str | None:
        return self._name.version_id if self._name.number is None else None

    def _judge(self, response: ModelVersion | ModelVersionRows) -> Verdict | Exception:
        version = self._find_in(response) if isinstance(response, ModelVersionRows) else response
        if isinstance(version, Exception):
            return version
        # The response names the number, whatever alias was requested. From then on the number is followed,
        # so an alias that moves cannot change what is waited for.
        if version.name != self.key:
            if not self._is_ours(version.name):
                return UnexpectedResponse(
                    f"The response is about {in_one_line(version.name)!r}, which was not asked for."
                )
            self._follow(version.name)
        return classify_version(version)

    def _is_ours(self, name: str) -> bool:
        try:
            parsed = ModelVersionName.parse(name)
        except ValueError:
            return False
        return self._alias is not None and parsed == self._name.with_version_id(parsed.version_id)

    def _find_in(self, response: ModelVersionRows) -> ModelVersion | Exception:
        try:
            return response.find(self.key, self._alias) or NotListedError("it is not listed")
        except UnexpectedResponse as error:
            return NotListedError(error.without_hint())

    def _on_verdict(self, verdict: Verdict, now: float) -> Outcome | None:
        self._misses.reset()
        # Whose row an alias is in can change without a change of that row.
        self.settled = self._alias is None
        return conclude(
            self,
            verdict,
            succeeded=f"{self.subject} is synced",
            failed=f"{self.subject} failed to sync ({verdict.status_text}). Check that the weights are complete and "
            "that the bucket policy lets Cerebras read them, then upload again.",
        )

    def _on_refusal(self, error: Exception, now: float) -> Outcome | None:
        if not isinstance(error, NotFound):
            self._misses.reset()
            return super()._on_refusal(error, now)
        self._refusals.reset()
        if not self._misses.add(now):
            return None
        return self._outcome(
            Status.LOST,
            f"{self.subject} is not known to the service; was it deleted? The last {self._misses.count} polls did not "
            f"find it. {error}",
        )
