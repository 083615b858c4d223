"""Ask an endpoint until it answers as expected, and distinguish three outcomes.

It answers as expected; it does not; or it could not be asked, because of a key, a limit, the network or a gateway. The
last says nothing about the version that serves, so it is no reason to roll back.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from airflow_provider_cerebras.api.errors import PERMANENT, CerebrasError, NotFound, ServerError
from airflow_provider_cerebras.api.names import ModelVersionName
from airflow_provider_cerebras.durable.deployments import Rollout
from airflow_provider_cerebras.durable.rollout_steps import what_serves
from airflow_provider_cerebras.evaluation.smoke import measure, summarize
from airflow_provider_cerebras.exceptions import EndpointVerificationFailed, RequestRefused, VerificationNotDone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pydantic import JsonValue

    from airflow_provider_cerebras.evaluation.smoke import Chat, Measurement
    from airflow_provider_cerebras.hooks.cerebras import CerebrasHook
    from airflow_provider_cerebras.polling.log import Log

_QUESTION_INTERVAL = 2.0
"""Seconds between two questions."""
_FIRST_ANSWER = 60.0
"""Seconds that one question may take with all its retries, however short the settling time is."""


class Verification:
    """One check of an endpoint.

    :param hook: whom to ask by.
    :param endpoint_id: id of the endpoint.
    :param find_fault: returns the fault of an answer, or None.
    :param model_version: full name of the version that must serve, by number or alias; None: any.
    :param settle_timeout: seconds in which a check that fails is repeated.
    :param chat_params: further fields of the requests.
    :param log_content: whether logs and errors may repeat questions and answers.
    :param log: logger for its findings.
    """

    def __init__(
        self,
        hook: CerebrasHook,
        endpoint_id: str,
        find_fault: Callable[[Measurement], str | None],
        *,
        model_version: str | None,
        settle_timeout: float,
        chat_params: Mapping[str, JsonValue],
        log_content: bool,
        log: Log,
    ) -> None:
        self._hook = hook
        self._endpoint_id = endpoint_id
        self._find_fault = find_fault
        self._model_version = model_version
        self._settle_timeout = settle_timeout
        self._chat_params = chat_params
        self._log_content = log_content
        self._log = log

    def run(self, chats: Sequence[Chat]) -> dict[str, JsonValue]:
        """Ask, and return the metrics and the version that was verified.

        :param chats: what to ask.
        :raises EndpointVerificationFailed: if it does not answer as expected, or another version serves.
        :raises VerificationNotDone: if it could not be asked.
        :raises RequestRefused: likewise, and a retry could not either.
        """
        self._end = time.monotonic() + self._settle_timeout
        if self._model_version is None:
            return {**summarize([self._ask_until_good(chat) for chat in chats]), "model_version": None}
        with self._not_done_on_errors():
            model_version = self._number_of(self._model_version)
            before = self._serving(model_version)
        metrics = summarize([self._ask_until_good(chat) for chat in chats])
        with self._not_done_on_errors():
            after = self._serving(model_version)
        if after != before:
            raise EndpointVerificationFailed(
                f"Endpoint {self._endpoint_id} was deployed to while it was asked (deployment {before}, then {after}), "
                f"so it is not known which answers are of model version {model_version}. Find out who deployed there, "
                "and clear the task when nothing rolls out."
            )
        return {**metrics, "model_version": model_version}

    def _number_of(self, model_version: str) -> str:
        name = ModelVersionName.parse(model_version)
        return str(name) if name.number is not None else self._hook.get_model_version(model_version).name

    def _serving(self, model_version: str) -> str:
        """UUID of the deployment that serves; it must be of this version."""
        rollout = Rollout(self._hook.get_conn(), self._endpoint_id, log=self._log)
        while True:
            serving = what_serves(rollout.fetch())
            if serving is not None and serving.model == model_version:
                return serving.id
            found = f"{serving} serves" if serving else "nothing serves"
            if self._is_over():
                raise EndpointVerificationFailed(
                    f"Endpoint {self._endpoint_id} does not serve model version {model_version}: {found} there. "
                    "Find out who deployed it; to verify that one, give it as model_version."
                )
            self._pause(f"{found} there")

    def _ask_until_good(self, chat: Chat) -> Measurement:
        while True:
            measurement = None
            try:
                measurement = self._ask(chat)
                fault = self._find_fault(measurement)
            except CerebrasError as error:
                if self._is_refusal(error) or (self._is_over() and not _is_from_endpoint(error)):
                    raise self._not_done(error) from error
                fault = error.without_hint().rstrip(".")
            if measurement is not None and fault is None:
                return measurement
            if self._is_over():
                raise self._failure(chat, measurement, fault)
            self._pause(f"it is not as expected: {fault}")

    def _ask(self, chat: Chat) -> Measurement:
        within = max(self._end - time.monotonic(), _FIRST_ANSWER)
        answer = self._hook.timed_chat_completion(self._endpoint_id, chat, self._chat_params, within=within)
        return measure(answer.answer, answer.seconds)

    def _is_over(self) -> bool:
        return time.monotonic() >= self._end

    def _pause(self, reason: str) -> None:
        self._log.info("Endpoint %s: %s. Asking again.", self._endpoint_id, reason)
        time.sleep(min(_QUESTION_INTERVAL, self._settle_timeout))

    def _is_refusal(self, error: CerebrasError) -> bool:
        # The version that was just rolled out may not be known yet, so 404 is asked again.
        return isinstance(error, PERMANENT) and not isinstance(error, NotFound) and error.is_from_api

    @contextmanager
    def _not_done_on_errors(self) -> Iterator[None]:
        try:
            yield
        except CerebrasError as error:
            raise self._not_done(error) from error

    def _not_done(self, error: CerebrasError) -> RequestRefused | VerificationNotDone:
        subject = f"model version {self._model_version}" if self._model_version else "what serves there"
        done = f"Endpoint {self._endpoint_id} could not be verified, so {subject} is unverified:"
        if isinstance(error, PERMANENT) and error.is_from_api:
            return RequestRefused(f"{done} {error}")
        return VerificationNotDone(
            f"{done} {error.without_hint()} A retry asks again; if none is left, clear the task."
        )

    def _failure(self, chat: Chat, measurement: Measurement | None, fault: str | None) -> EndpointVerificationFailed:
        message = f"Endpoint {self._endpoint_id} was not as expected within {self._settle_timeout} s: {fault}."
        if not self._log_content:
            return EndpointVerificationFailed(f"{message} log_content=True shows the question and the answer.")
        answer = measurement.answer if measurement else None
        error = EndpointVerificationFailed(f"{message} Question: {chat!r}. Answer: {answer!r}.")
        error.question, error.answer, error.without_content = chat, answer, message
        return error


def _is_from_endpoint(error: CerebrasError) -> bool:
    """Whether the API itself says that the endpoint does not answer; a gateway or a limit says nothing about it."""
    return isinstance(error, NotFound | ServerError) and error.is_from_api
