"""The decision of a waiter after each response. It is made here only, whichever client sends the request.

A :class:`Poller` is given each response, or the error in its place, and says whether the wait has ended. It does no I/O
and reads no clock, so triggers, blocking operators and sensors share it and cannot drift apart.

Three rules shape it. "Cannot poll" is never "failed": a request that fails is repeated until the deadline. One response
is no verdict: what would end a wait without success has to be said several times in a row, unless it is the service's
own word that the work has failed; see :mod:`.evidence`. And a deadline that has passed already still allows one poll,
so what has ended is never called late.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from airflow_provider_cerebras.api.errors import PERMANENT, CerebrasAPIError, CerebrasError, CerebrasTransportError
from airflow_provider_cerebras.api.status import Progress, Verdict
from airflow_provider_cerebras.polling.evidence import MIN_ABSENCE, MIN_SPAN, Streak
from airflow_provider_cerebras.polling.outcome import Outcome, Status
from airflow_provider_cerebras.polling.reconnection import ConnectionNotFound

if TYPE_CHECKING:
    from collections.abc import Container, Hashable, Mapping

    from pydantic import JsonValue

    from airflow_provider_cerebras.api.operations import Call
    from airflow_provider_cerebras.metrics import Subject

ResponseT = TypeVar("ResponseT")


class NotListedError(Exception):
    """The response for a whole collection does not settle how far one of it is, so that one is polled by itself."""


class Poller(ABC, Generic[ResponseT]):
    """Follows one thing until it ends.

    :param deadline: when to give up, in Unix seconds; None: never.
    :param started: when the wait began, in Unix seconds.
    :param is_first: whether nothing was sent by this connection before on behalf of the task. Then a refusal of the
        first poll ends the wait, so that a wrong key fails at once.
    :ivar call: what to send for the next poll.
    :ivar collection: name of the polled collection; pollers of the same collection can share responses.
    :ivar collective: what to send for one poll on behalf of all that follow the collection.
    :ivar key: key of the followed row in the response to ``collective``.
    :ivar ids: ids of the followed thing.
    :ivar metrics: how what is followed is counted, and ``belongs_to``, under which tag.
    :ivar settled: whether the same response once more would change nothing, but for the deadline.
    :ivar needs_own_call: whether the response to ``collective`` did not settle it, so that ``call`` has to be sent.
    :ivar progress: how far it was at the last poll, for people.
    :ivar failures: polls in a row that got no usable response.
    :ivar can_give_up: whether polls that end alike can end the wait, so that it may be said when they do.
    :ivar ends_after: seconds over which polls have to end like the last one, in a row, to end the wait; None: the wait
        goes on.
    :ivar retry_after: seconds that the service asked us to wait before the next poll.
    """

    call: Call[ResponseT]
    collection: Hashable
    collective: Call[Any]
    subject: str
    key: str
    ids: Mapping[str, str]
    metrics: Subject
    belongs_to: str

    def __init__(self, *, deadline: float | None, started: float, is_first: bool = False) -> None:
        self.deadline = deadline
        self.started = started
        self.settled = False
        self.needs_own_call = False
        self.progress = "not polled yet"
        self.failures = 0
        self.can_give_up = True
        self.ends_after: float | None = None
        self.retry_after = 0.0
        self._is_first = is_first
        self._refusals = Streak()
        self._absences = Streak(span=MIN_ABSENCE)
        self._absence = ""

    def apply(self, response: object, now: float) -> Outcome | None:
        """Conclude from one poll.

        :param response: the response to ``call`` or ``collective``, or the exception that it ended in instead.
        :param now: the time of it, in Unix seconds.
        :return: how the wait ended, or None while it goes on.
        """
        judged = response if isinstance(response, Exception) else self._judge(response)
        self.needs_own_call = isinstance(judged, NotListedError)
        if self.needs_own_call:
            self.settled = False
            return None
        outcome = self.on_error(judged, now) if isinstance(judged, Exception) else self.on_response(judged, now)
        self._is_first = False
        if outcome is None and self.deadline is not None and now >= self.deadline:
            return self._outcome(Status.TIMEOUT, self._timeout_message(self.deadline))
        return outcome

    def is_affected(self, changed: Container[object], now: float) -> bool:
        """Whether a response may mean anything to a poller that was given all others; if not, it need not be applied.

        :param changed: keys of the rows that differ from the last usable response.
        :param now: see :meth:`apply`.
        """
        return not self.settled or self.key in changed or (self.deadline is not None and now >= self.deadline)

    def on_response(self, verdict: Verdict, now: float) -> Outcome | None:
        """Conclude from a usable response.

        :param verdict: the verdict on the response.
        :param now: see :meth:`apply`.
        """
        self.failures, self.retry_after, self.ends_after = 0, 0.0, None
        self._refusals.reset()
        self._absences.reset()
        self._absence = ""
        self.progress = verdict.status_text
        return self._on_verdict(verdict, now)

    def on_error(self, error: Exception, now: float) -> Outcome | None:
        """Conclude from a poll without a usable response.

        :param error: the error that it ended in.
        :param now: see :meth:`apply`.
        """
        # Each of them counts.
        self.settled = False
        self.failures += 1
        self.retry_after = (isinstance(error, CerebrasError) and error.retry_after) or 0.0
        self.progress = f"cannot be polled: {_words_of(error)}"
        self.ends_after = None
        if isinstance(error, ConnectionNotFound):
            self.ends_after = MIN_ABSENCE if self.can_give_up else None
            return self._on_absence(error, now)
        self._absences.reset()
        if is_own_refusal(error):
            self.ends_after = MIN_SPAN if self.can_give_up else None
            return self._on_refusal(error, now)
        return None

    @abstractmethod
    def _judge(self, response: Any) -> Verdict | Exception:
        """Return the progress that a response shows, or why it is not known."""

    @abstractmethod
    def _on_verdict(self, verdict: Verdict, now: float) -> Outcome | None:
        """Conclude from it, and say by ``settled`` whether the same once more would change nothing."""

    def _on_refusal(self, error: Exception, now: float) -> Outcome | None:
        if not self._refusals.add(now) and not self._is_first:
            return None
        times = "" if self._is_first else f" {self._refusals.count} polls were refused, and none succeeded in between."
        absence = f" {self._absence}" if self._absence else ""
        return self._outcome(
            Status.UNREACHABLE,
            f"{self.subject} cannot be polled, and trying again will not help.{times} {error}{absence}",
        )

    def _on_absence(self, error: ConnectionNotFound, now: float) -> Outcome | None:
        self._absence = str(error)
        if not self._absences.add(now):
            return None
        return self._outcome(
            Status.UNREACHABLE,
            f"{self.subject} cannot be polled. For {now - self._absences.since:.0f} s, at {self._absences.count} polls "
            "in a row, Airflow has not found the connection in the environment, the secrets backends or its database. "
            f"{error}",
        )

    def remember(self) -> dict[str, JsonValue]:
        """Return what another poller of the same wait has to know, as plain JSON; see :meth:`recall`."""
        return {"refusals": self._refusals.to_json()} if self._refusals.count else {}

    def recall(self, remembered: Mapping[str, object]) -> None:
        """Go on from what another poller of the same wait has seen.

        :param remembered: what :meth:`remember` returned.
        """
        self._refusals.restore(remembered.get("refusals"))

    def _timeout_message(self, deadline: float) -> str:
        return f"{self.subject} had not ended by the deadline, {in_utc(deadline)} ({self.progress})."

    def _outcome(self, status: Status, message: str) -> Outcome:
        return Outcome(status, message, self.ids)


def is_own_refusal(error: Exception) -> bool:
    """Whether an error is the API's own word, or Airflow's, that only a person can change something.

    :param error: what a poll ended in.
    """
    if isinstance(error, CerebrasAPIError):
        return isinstance(error, PERMANENT) and error.is_from_api
    # A ValueError says that a field of the connection, or a name, cannot be used.
    return isinstance(error, ValueError)


def _words_of(error: Exception) -> str:
    """The message of an error; of one that may pass without the hint to try again, as that is what a wait does."""
    if isinstance(error, CerebrasTransportError) and "hint" in vars(error):
        return str(error).rstrip(".")  # a hint of its own: it says what to check
    if isinstance(error, CerebrasError) and not isinstance(error, PERMANENT):
        return error.without_hint().rstrip(".")
    return str(error)


def in_utc(moment: float) -> str:
    """Write a moment for people.

    :param moment: in Unix seconds.
    """
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds")


def conclude(poller: Poller[Any], verdict: Verdict, *, succeeded: str, failed: str) -> Outcome | None:
    """Return the end of a wait if the service says that the work has ended.

    :param poller: who waits.
    :param verdict: what the response says.
    :param succeeded: message of a success; a status that is not documented is added to it.
    :param failed: message of a failure.
    """
    if verdict.progress is Progress.SUCCEEDED:
        note = "" if verdict.is_documented else f" ({verdict.status_text})"
        return Outcome(Status.SUCCEEDED, f"{succeeded}{note}.", poller.ids)
    if verdict.progress is Progress.FAILED:
        return Outcome(Status.FAILED, failed, poller.ids)
    return None
