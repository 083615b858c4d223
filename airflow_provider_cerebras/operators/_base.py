"""The base classes of the operators: the connection, and the wait of those that wait."""

from __future__ import annotations

from abc import abstractmethod
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Self

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_cerebras.arguments.declared import DeclaresArguments
from airflow_provider_cerebras.arguments.hook import HasHook
from airflow_provider_cerebras.arguments.kinds import BOOLEAN, CLASS, CONN_ID, IDENTIFIER, SECONDS, takes
from airflow_provider_cerebras.assets.openlineage import openlineage_facets
from airflow_provider_cerebras.assets.reporting import leave_result, report
from airflow_provider_cerebras.exceptions import InvalidArgument, error_of, read_event
from airflow_provider_cerebras.links import CerebrasConsoleLink
from airflow_provider_cerebras.polling.blocking import BlockingWait
from airflow_provider_cerebras.polling.outcome import Outcome, Status
from airflow_provider_cerebras.traces import set_attributes
from airflow_provider_cerebras.version_compat import default_deferrable

if TYPE_CHECKING:
    from collections.abc import Collection

    from airflow.providers.common.compat.sdk import AirflowException, BaseOperatorLink, Context
    from airflow.providers.openlineage.extractors import OperatorLineage

    from airflow_provider_cerebras.arguments.given import Flag, Seconds, Text
    from airflow_provider_cerebras.assets.provenance import Provenance
    from airflow_provider_cerebras.hooks.cerebras import CerebrasHook
    from airflow_provider_cerebras.polling.pollers import Poller
    from airflow_provider_cerebras.triggers._base import WaitTrigger


class CerebrasOperator(HasHook, DeclaresArguments, BaseOperator):
    """The base of the operators that use a Cerebras connection.

    :param cerebras_conn_id: id of the connection. (templated)
    :param org_name: customer management organization name; default: the connection's. (templated)
    :param hook_class: a subclass of :class:`~airflow_provider_cerebras.hooks.cerebras.CerebrasHook` that is used in its
        place, here and on the triggerer, which imports it; default: the class attribute of this name.
    """

    operator_extra_links: Collection[BaseOperatorLink] = (CerebrasConsoleLink(),)
    arguments = takes(cerebras_conn_id=CONN_ID, org_name=IDENTIFIER.or_none, hook_class=CLASS)
    _given_none: frozenset[str] = frozenset()
    _must_have_value: ClassVar[frozenset[str]] = frozenset()

    def __init__(
        self,
        *,
        cerebras_conn_id: Text,
        org_name: Text | None = None,
        hook_class: type[CerebrasHook] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.cerebras_conn_id: str = cerebras_conn_id  # type: ignore[assignment]  # read before execute
        self.org_name: str | None = org_name  # type: ignore[assignment]  # read before execute
        if hook_class is not None:
            self.hook_class = hook_class

    def __new__(cls, **kwargs: Any) -> Self:
        """Note which arguments were given None, which ``__init__`` cannot distinguish from those that were left out."""
        operator = super().__new__(cls)
        vars(operator)["_given_none"] = frozenset(name for name, value in kwargs.items() if value is None)
        return operator

    def _refuse_lost(self, given: Collection[str], context: Context) -> None:
        """Refuse arguments that were given and have no value: to leave them out means something else.

        A mapped task is made when the values are known, so that None is what another task has returned.

        :param given: names of the arguments that were given a value or a template.
        :param context: the task's context.
        :raises InvalidArgument: if one has no value.
        """
        lost = {name for name in given if getattr(self, name) is None}
        if getattr(context.get("ti"), "map_index", -1) >= 0:
            lost |= self._given_none & self._must_have_value
        if lost:
            raise InvalidArgument(
                f"{min(lost)}: was given and came to None, perhaps since the task that it is the result of has left "
                "none. Nothing was changed. For the default, leave it out."
            )

    def _arguments_of_hook(self) -> dict[str, Any]:
        return {"cerebras_conn_id": self.cerebras_conn_id, "org_name": self.org_name}


class WaitingOperator(CerebrasOperator):
    """Begin something at the service and, if asked to, wait for its end.

    :param cerebras_conn_id: id of the connection. (templated)
    :param org_name: customer management organization name; default: the connection's. (templated)
    :param wait_for_completion: whether to wait. (templated)
    :param deferrable: wait on the triggerer and hold no worker slot; default: ``[operators] default_deferrable``.
        (templated)
    :param poll_interval: the longest interval between two polls, in seconds. (templated)
    :param timeout: how long to wait, in seconds from the submission. (templated)
    """

    arguments = takes(
        wait_for_completion=BOOLEAN,
        deferrable=BOOLEAN,
        poll_interval=SECONDS,
        timeout=SECONDS,
    )
    # The last one is what the task returns.
    event_ids: ClassVar[tuple[str, ...]]
    errors: ClassVar[dict[Status, type[AirflowException]]]

    def __init__(
        self,
        *,
        cerebras_conn_id: Text,
        org_name: Text | None = None,
        wait_for_completion: Flag,
        deferrable: Flag | None,
        poll_interval: Seconds,
        timeout: Seconds,
        **kwargs: Any,
    ) -> None:
        super().__init__(cerebras_conn_id=cerebras_conn_id, org_name=org_name, **kwargs)
        self.wait_for_completion: bool = wait_for_completion  # type: ignore[assignment]  # read before execute
        self.deferrable: bool = default_deferrable() if deferrable is None else deferrable  # type: ignore[assignment]
        self._deferrable_given = deferrable is not None
        self.poll_interval: float = poll_interval  # type: ignore[assignment]  # read before execute
        self.timeout: float = timeout  # type: ignore[assignment]  # read before execute
        self._provenance: Provenance | None = None

    @abstractmethod
    def _trigger(self, poller: Poller[Any]) -> WaitTrigger: ...

    @abstractmethod
    def _made(self, result: str) -> Provenance:
        """Find out what the task has made."""

    def _succeed(self, result: str, context: Context) -> str:
        if not self.wait_for_completion:
            set_attributes(**{self.event_ids[-1]: result}, outcome="submitted")
        self._provenance = report(self, context, partial(self._made, result))
        return result

    def get_openlineage_facets_on_complete(self, task_instance: object) -> OperatorLineage[Any, Any]:
        """Return what was made of what; OpenLineage calls it when the task has ended."""
        return openlineage_facets(self._provenance)

    def execute_complete(self, context: Context, event: object = None) -> str:
        """Go on when the trigger has sent its event."""
        outcome = read_event(event, *self.event_ids)
        set_attributes(**outcome.ids, outcome=outcome.status)
        return self._conclude(outcome, context)

    def _warn_of_options_without_effect(self, **options: bool) -> None:
        """Say in the log which options do nothing, since the task does not wait."""
        for name, is_set in {"deferrable": self._deferrable_given and self.deferrable, **options}.items():
            if is_set and not self.wait_for_completion:
                self.log.warning("%s has no effect without wait_for_completion=True: the task does not wait.", name)

    def _wait(self, poller: Poller[Any], context: Context) -> str:
        """Wait in the chosen way; where that is the triggerer, this does not return."""
        set_attributes(**poller.ids)
        leave_result(self, context, poller.ids[self.event_ids[-1]])
        if self.deferrable:
            trigger = self._trigger(poller)
            trigger.service = self.hook.service_fingerprint()
            self.defer(trigger=trigger, method_name="execute_complete", timeout=trigger.backstop)
        outcome = self._poll_until_end(poller)
        set_attributes(outcome=outcome.status)
        return self._conclude(outcome, context)

    def _poll_until_end(self, poller: Poller[Any]) -> Outcome:
        """Wait here, holding the worker."""
        return BlockingWait(
            self.hook.get_conn(), self.hook.reconnect, poller, poll_interval=self.poll_interval, log=self.log
        ).run()

    def _conclude(self, outcome: Outcome, context: Context) -> str:
        if outcome.status is not Status.SUCCEEDED:
            raise error_of(outcome, self.errors)
        return self._succeed(outcome.ids[self.event_ids[-1]], context)
