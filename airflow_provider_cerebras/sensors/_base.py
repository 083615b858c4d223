"""The base of the sensors: one way to poll and one way to end, in poke, reschedule and deferrable mode."""

from __future__ import annotations

import json
import time
from abc import abstractmethod
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from airflow.providers.common.compat.sdk import (
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseSensorOperator,
    PokeReturnValue,
)

from airflow_provider_cerebras.arguments.declared import DeclaresArguments
from airflow_provider_cerebras.arguments.hook import HasHook
from airflow_provider_cerebras.arguments.kinds import AIRFLOWS_OWN, BOOLEAN, CLASS, CONN_ID, SECONDS_OR_ZERO, takes
from airflow_provider_cerebras.assets.reporting import leave_result, report
from airflow_provider_cerebras.durable.task_state import TaskState
from airflow_provider_cerebras.exceptions import WeightsChanged, error_of, read_event
from airflow_provider_cerebras.hooks.cerebras import CerebrasHook
from airflow_provider_cerebras.links import CerebrasConsoleLink
from airflow_provider_cerebras.polling.blocking import BlockingWait
from airflow_provider_cerebras.polling.outcome import Outcome, Status
from airflow_provider_cerebras.traces import set_attributes
from airflow_provider_cerebras.version_compat import default_deferrable, default_sensor_timeout

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from airflow.providers.common.compat.sdk import AirflowException, BaseOperatorLink, Context
    from pydantic import JsonValue

    from airflow_provider_cerebras.arguments.given import Flag, Seconds, Text
    from airflow_provider_cerebras.assets.provenance import Provenance
    from airflow_provider_cerebras.polling.pollers import Poller
    from airflow_provider_cerebras.triggers._base import WaitTrigger


_GO_ON = "Nothing was cancelled at the service: clear this task to wait on. If it needs longer, raise timeout."


class WaitSensor(HasHook, DeclaresArguments, BaseSensorOperator):
    """Wait until what a subclass watches has ended.

    :param cerebras_conn_id: id of the connection; default ``cerebras_default``. (templated)
    :param deferrable: wait on the triggerer and hold no worker slot; default: ``[operators] default_deferrable``.
        (templated)
    :param poke_interval: the longest interval between two polls, in seconds; default 60. (templated)
    :param timeout: how long to wait, in seconds; default: ``[sensors] default_timeout``. (templated)
    :param hook_class: a subclass of :class:`~airflow_provider_cerebras.hooks.cerebras.CerebrasHook` that is used in its
        place, here and on the triggerer, which imports it; default: the class attribute of this name.
    """

    operator_extra_links: Collection[BaseOperatorLink] = (CerebrasConsoleLink(),)
    arguments = takes(
        cerebras_conn_id=CONN_ID,
        hook_class=CLASS,
        deferrable=BOOLEAN,
        poke_interval=SECONDS_OR_ZERO,
        timeout=SECONDS_OR_ZERO,
        mode=AIRFLOWS_OWN,
        soft_fail=AIRFLOWS_OWN,
        never_fail=AIRFLOWS_OWN,
        silent_fail=AIRFLOWS_OWN,
        exponential_backoff=AIRFLOWS_OWN,
        max_wait=AIRFLOWS_OWN.or_none,
    )
    # The last one is what the task returns.
    event_ids: ClassVar[tuple[str, ...]]
    errors: ClassVar[dict[Status, type[AirflowException]]]

    def __init__(
        self,
        *,
        cerebras_conn_id: Text = CerebrasHook.default_conn_name,
        deferrable: Flag | None = None,
        poke_interval: Seconds = 60,
        timeout: Seconds | None = None,
        hook_class: type[CerebrasHook] | None = None,
        **kwargs: Any,
    ) -> None:
        # Airflow's class takes no template for these two, and would find one in default_args unless it is given both.
        super().__init__(poke_interval=60, timeout=60, **kwargs)
        self.poke_interval: float = poke_interval  # type: ignore[assignment]  # read before execute
        self.timeout: float = default_sensor_timeout() if timeout is None else timeout  # type: ignore[assignment]  # likewise
        self.cerebras_conn_id: str = cerebras_conn_id  # type: ignore[assignment]  # read before execute
        self.deferrable: bool = default_deferrable() if deferrable is None else deferrable  # type: ignore[assignment]
        if hook_class is not None:
            self.hook_class = hook_class
        self._wait: BlockingWait | None = None

    @abstractmethod
    def _new_poller(self, *, deadline: float | None, started: float, is_first: bool) -> Poller[Any]: ...

    @abstractmethod
    def _trigger(self, poller: Poller[Any]) -> WaitTrigger: ...

    @abstractmethod
    def _made(self, result: str) -> Provenance:
        """Find out what was made by those for whom the sensor has waited."""

    def execute(self, context: Context) -> Any:
        """Poll once, then wait in the chosen mode."""
        if not self.deferrable:
            return super().execute(context)
        now = time.time()
        poller = self._new_poller(deadline=now + self.timeout, started=now, is_first=True)
        before = self._recall(poller, context)
        # What goes on is logged by the trigger.
        if outcome := self._new_wait(poller).poll_once():
            return self._conclude(outcome, context)
        self._note(poller, context, before)
        leave_result(self, context, poller.ids[self.event_ids[-1]])
        trigger = self._trigger(poller)
        trigger.service = self.hook.service_fingerprint()
        self.defer(trigger=trigger, method_name="execute_complete", timeout=trigger.backstop)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Go on after a deferral; Airflow calls this."""
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except AirflowSkipException as skip:
            # Airflow takes a skip for an error, and skips once more with soft_fail, by words that give no reason.
            reason = skip.__cause__
            if isinstance(reason, AirflowSkipException):
                raise reason from reason.__cause__
            raise

    def execute_complete(self, context: Context, event: object = None) -> str:
        """Go on when the trigger has sent its event."""
        return self._conclude(read_event(event, *self.event_ids), context)

    def poke(self, context: Context) -> PokeReturnValue | bool:
        """Poll once. An error that may pass is logged, and the next poke polls again."""
        if self._wait is None:
            self._wait = self._begin(context)
        poller = self._wait.poller
        before = poller.remember()
        outcome = self._wait.poll_once()
        if outcome:
            return PokeReturnValue(is_done=True, xcom_value=self._conclude(outcome, context))
        self._note(poller, context, before)
        return False

    def _begin(self, context: Context) -> BlockingWait:
        """Begin the wait, or go on with it: in reschedule mode each poke is a process of its own."""
        now, started = time.time(), self._started(context)
        is_first = not self.reschedule or now - started < max(self.poke_interval, 0.001)
        # Airflow counts the timeout itself in these modes.
        poller = self._new_poller(deadline=None, started=started, is_first=is_first)
        # Where each poke forgets what the one before it has seen, refusals never add up.
        poller.can_give_up = not self.reschedule or self._task_state(context, poller).is_kept
        wait = self._new_wait(poller)
        if is_first:
            wait.log.begin(now)
        else:
            wait.log.resume(now)
        self._recall(poller, context)
        return wait

    def _recall(self, poller: Poller[Any], context: Context) -> Mapping[str, JsonValue]:
        """Go on from what earlier polls have noted, and return what the poller knows then."""
        ti: Any = context["ti"]
        with suppress(ValueError, AttributeError):
            notes = self._task_state(context, poller).read()
            seen = dict(json.loads(notes.get("seen", "{}")))
            is_same_wait = self.reschedule and notes.get("try_number") == str(ti.try_number)
            # Of an earlier attempt's polls, only that it was listed still counts.
            poller.recall(seen if is_same_wait else {"seen": seen.get("seen")})
        return poller.remember()

    def _note(self, poller: Poller[Any], context: Context, before: Mapping[str, JsonValue]) -> None:
        """Note what the next poll has to know: in reschedule mode everything, else what a retry has to."""
        ti: Any = context["ti"]
        seen = poller.remember()
        if seen != before if self.reschedule else seen.get("seen") != before.get("seen"):
            self._task_state(context, poller).update(seen=json.dumps(seen), try_number=str(ti.try_number))

    def _new_wait(self, poller: Poller[Any]) -> BlockingWait:
        return BlockingWait(
            self.hook.get_conn(), self.hook.reconnect, poller, poll_interval=self.poke_interval, log=self.log
        )

    def _task_state(self, context: Context, poller: Poller[Any]) -> TaskState:
        return TaskState(context, key="cerebras_wait", fingerprint=str(dict(poller.ids)))

    def _started(self, context: Context) -> float:
        """Begin of the wait, in Unix seconds: in reschedule mode each poke is a process of its own."""
        first: Any = None
        if self.reschedule:
            ti: Any = context["ti"]
            # Airflow 2.11 puts the first poke's time into start_date instead.
            first = ti.get_first_reschedule_date(context) if hasattr(ti, "get_first_reschedule_date") else ti.start_date
        return float(first.timestamp()) if first else time.time()

    def _conclude(self, outcome: Outcome, context: Context) -> str:
        set_attributes(**outcome.ids, outcome=outcome.status)
        if outcome.status is not Status.SUCCEEDED:
            self._fail(outcome)
        result = outcome.ids[self.event_ids[-1]]
        try:
            self._approve(result)
        except WeightsChanged as error:
            if self.deferrable:
                leave_result(self, context, None)
            self._raise(error)
        report(self, context, partial(self._made, result))
        return result

    def _approve(self, result: str) -> None:
        """Check that the outcome is about the expected thing.

        :raises WeightsChanged: if it may not be.
        """

    def _fail(self, outcome: Outcome) -> NoReturn:
        is_late = outcome.status is Status.TIMEOUT
        words = f"{outcome.message} {_GO_ON}"
        self._raise(AirflowSensorTimeout(words) if is_late else error_of(outcome, self.errors))

    def _raise(self, error: AirflowException) -> NoReturn:
        # Airflow itself would skip on some of these in one mode and fail in another. Its never_fail is about a poke
        # that raises, not about one that comes too late.
        if self.soft_fail or (self.never_fail and not isinstance(error, AirflowSensorTimeout)):
            raise AirflowSkipException(str(error)) from error
        raise error
