"""Writes of alias lists that several tasks share.

The service replaces a version's whole list at once and has no conditional write. So a list is never written from
memory. :class:`AliasEditor` reads it, applies its own change to what it reads, writes, and reads it back, until its own
change is in and has stayed in for a settling time. Two editors that overwrite each other both notice, and both put in
again what was lost.

What this cannot close is the window between the response to the last read and the effect of the write, usually one
request. An editor covers the windows of others like it, since it settles for several times as long as its own requests
take. An alias that anything else sets within the window can be lost. For up to :data:`READ_LAG`, a read may show what
was there before a write.
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

from airflow_provider_cerebras.api import operations
from airflow_provider_cerebras.api.client import MAX_RETRY_AFTER, may_be_sent_again
from airflow_provider_cerebras.api.errors import BadRequest, CerebrasError, Conflict, UnexpectedResponse
from airflow_provider_cerebras.api.evidence import held_aliases
from airflow_provider_cerebras.exceptions import AliasesUnsettled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from airflow_provider_cerebras.api.client import CerebrasClient
    from airflow_provider_cerebras.polling.log import Log

READ_LAG = 30.0
"""Seconds for which a read may still show what was there before a write."""
SETTLING_TIME = 1.0
"""Seconds for which a change must at least stay in place before it counts."""
_SETTLING_FACTOR = 3.0
_MAX_WRITES = 20
_MAX_RACES = 8
_MAX_LAGS = 2
_FIRST_PAUSE = 0.5
_MAX_PAUSE = 8.0


class AliasEditor:
    """Changes the alias lists of versions, and makes sure that the changes last.

    :param client: the client to send with.
    :param log: logger for its actions.
    :param sleep: spends the seconds of a pause.
    :param clock: a clock that only goes forward, in seconds; it measures how long requests take.
    """

    def __init__(
        self,
        client: CerebrasClient,
        *,
        log: Log,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._log = log
        self._sleep = sleep
        self._clock = clock
        self.written_at = clock()
        """When the last change was in force at the latest, by ``clock``."""

    def change(
        self,
        model_version: str,
        *,
        add: Iterable[str] = (),
        remove: Iterable[str] = (),
        settle: bool = True,
        is_superseded: Callable[[], bool] = lambda: False,
    ) -> tuple[str, ...]:
        """Add aliases to a version and remove others, and leave all others as they are.

        :param model_version: full name of the version, by number.
        :param add: aliases that it is to have.
        :param remove: aliases to take from it.
        :param settle: whether to return only when the change has stayed in place for a while.
        :param is_superseded: asked when a change that the service had accepted is no longer in place: whether another
            client has undone it on purpose. Then it is not made again.
        :return: the aliases that the version holds.
        :raises BadRequest: if the service refuses the list.
        :raises Conflict: likewise; for example, because another version holds one of them.
        :raises NotFound: if the version does not exist.
        :raises UnexpectedResponse: if it is not known which aliases the version holds; nothing was sent then.
        :raises AliasesUnsettled: if the change did not show, or did not stay in place.
        :raises CerebrasError: if a request failed too often.
        """
        edit = _Edit(self._client, model_version, tuple(add), tuple(remove), self._sleep, self._clock)
        while True:
            held = edit.read()
            if edit.is_in_place(held):
                if not settle or edit.is_settled():
                    return held
                continue
            if edit.was_accepted and is_superseded():
                return held
            if edit.may_be_lag(held):
                continue
            if edit.write(held):
                self.written_at = self._clock()
                self._log.info(
                    "Model version %s was given the aliases %s.", model_version, ", ".join(edit.wanted) or "none"
                )

    def pause(self, attempt: int) -> float:
        """Wait a random time, longer after each attempt, so that those who collided do not collide again.

        :param attempt: number of the attempt, from 1.
        :return: the seconds that it waited.
        """
        return _pause(self._sleep, attempt)


class _Edit:
    """One change of one list."""

    def __init__(
        self,
        client: CerebrasClient,
        model_version: str,
        add: tuple[str, ...],
        remove: tuple[str, ...],
        sleep: Callable[[float], None],
        clock: Callable[[], float],
    ) -> None:
        self.was_accepted = False
        self.wanted: list[str] = []
        self._client = client
        self._name = model_version
        self._add = add
        self._remove = remove
        self._sleep = sleep
        self._clock = clock
        self._asked_at = 0.0
        self._before: frozenset[str] = frozenset()
        self._window = 0.0  # the longest time between asking for the list and having written it
        self._waited = 0.0  # since the last write
        self._settled = 0.0
        self._writes = self._failures = self._refusals = self._lags = 0

    def read(self) -> tuple[str, ...]:
        while True:
            self._asked_at = self._clock()
            version = self._client.send(operations.get_model_version(self._name))
            try:
                return held_aliases(version)
            except UnexpectedResponse:
                # Before the first write it is the end. After it, the list may be readable a little later.
                if not self._writes or self._waited >= READ_LAG:
                    raise
                self._wait(_FIRST_PAUSE)

    def is_in_place(self, held: tuple[str, ...]) -> bool:
        return set(self._add) <= set(held) and not set(self._remove) & set(held)

    def is_settled(self) -> bool:
        """Whether the change has been in place for long enough; if not, some time has passed when this returns."""
        if not self._writes or self._settled:
            return True
        # Another editor that has read the list before this change was in it writes within its own window.
        lag = self._waited + self._clock() - self._asked_at
        self._settled = min(max(SETTLING_TIME, _SETTLING_FACTOR * (self._window + lag)), 2 * READ_LAG)
        self._sleep(self._settled)
        return False

    def may_be_lag(self, held: tuple[str, ...]) -> bool:
        """Whether the read shows what was there before the write; if so, some time has passed when this returns."""
        self._settled = 0.0
        if not self.was_accepted or frozenset(held) != self._before:
            return False
        if self._waited < READ_LAG:
            self._wait(min(_FIRST_PAUSE + self._waited / 2, _MAX_PAUSE))
            return True
        self._lags += 1
        if self._lags == _MAX_LAGS:
            raise AliasesUnsettled(self._not_in_place(held))
        return False

    def write(self, held: tuple[str, ...]) -> bool:
        """Write the list once, from what was just read, and return whether the service accepted it."""
        if self._writes >= _MAX_WRITES:
            raise AliasesUnsettled(self._not_in_place(held))
        if self.was_accepted:
            # Another client has overwritten the change. What was read is old after a pause, so it is read again.
            self.was_accepted = False
            _pause(self._sleep, self._writes)
            return False
        self._writes += 1
        self._before = frozenset(held)
        self._waited = 0.0
        self.wanted = [alias for alias in dict.fromkeys((*held, *self._add)) if alias not in self._remove]
        call = operations.update_model_version_aliases(self._name, self.wanted)
        try:
            # Once: a repetition after a pause would send an old list.
            self._client.send_once(call)
        except (BadRequest, Conflict):
            self._refusals += 1
            _pause(self._sleep, self._refusals)
            # An alias that was read may have left the version since; anything else is about the change itself.
            if self._refusals == _MAX_RACES or frozenset(self.read()) == self._before:
                raise
            return False
        except CerebrasError as error:
            self._failures += 1
            known_cause = may_be_sent_again(call, error) or isinstance(error, UnexpectedResponse)
            if not known_cause or self._failures > self._client.settings.max_retries:
                raise
            self._sleep(max(min(2.0**self._failures, READ_LAG), min(error.retry_after or 0.0, MAX_RETRY_AFTER)))
            return False
        self.was_accepted = True
        self._window = max(self._window, self._clock() - self._asked_at)
        return True

    def _wait(self, seconds: float) -> None:
        self._sleep(seconds)
        self._waited += seconds

    def _not_in_place(self, held: tuple[str, ...]) -> str:
        changes = " and ".join(
            f"{verb} {', '.join(aliases)}"
            for verb, aliases in (("add", self._add), ("remove", self._remove))
            if aliases
        )
        return (
            f"The service was to {changes} in the aliases of model version {self._name}, but has {list(held)}. "
            "Does something else keep writing them? A retry of this task goes on from there."
        )


def _pause(sleep: Callable[[float], None], attempt: int) -> float:
    longest = min(_FIRST_PAUSE * 2.0 ** (attempt - 1), _MAX_PAUSE)
    seconds = random.uniform(longest / 4, longest)  # noqa: S311  nothing secret depends on it
    sleep(seconds)
    return seconds
