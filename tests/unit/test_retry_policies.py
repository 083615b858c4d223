"""What a failure is retried after, and whether it is, by what the service said."""

from __future__ import annotations

import importlib
import pickle
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import AirflowNotFoundException

from airflow_provider_cerebras.api.errors import (
    CerebrasError,
    CerebrasTransportError,
    OutcomeUnknown,
    error_from_response,
)
from airflow_provider_cerebras.api.names import InvalidValue
from airflow_provider_cerebras.exceptions import (
    ConnectionUnusable,
    InvalidArgument,
    ModelVersionFailed,
    ModelVersionLost,
    RequestRefused,
    WaitTimeout,
)
from airflow_provider_cerebras.version_compat import AIRFLOW_V_3_3_PLUS

if TYPE_CHECKING:
    from airflow_provider_cerebras.retry_policies import CerebrasRetryPolicy

needs_retry_policies = pytest.mark.skipif(not AIRFLOW_V_3_3_PLUS, reason="retry policies came with Airflow 3.3")


def answered(status: int, retry_after: str | None = None) -> CerebrasError:
    return error_from_response(
        method="POST",
        url="https://api.cerebras.ai/x",
        status_code=status,
        headers={} if retry_after is None else {"retry-after": retry_after},
        body=b'{"detail": "slow down"}',
    )


def caused_by(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.skipif(AIRFLOW_V_3_3_PLUS, reason="from Airflow 3.3 on it can be imported")
def test_below_airflow_3_3_the_import_says_what_it_needs() -> None:
    with pytest.raises(ImportError, match=r"needs Airflow 3\.3 or later.* retries and retry_delay"):
        importlib.import_module("airflow_provider_cerebras.retry_policies")


@needs_retry_policies
class TestCerebrasRetryPolicy:
    def decide(self, error: BaseException, **arguments: Any) -> tuple[str, float | None, str | None]:
        """Action, delay in seconds, and reason."""
        decision = self.policy(**arguments).evaluate(error, try_number=1, max_tries=3)
        delay = decision.retry_delay
        return decision.action.value, delay.total_seconds() if delay is not None else None, decision.reason

    def policy(self, **arguments: Any) -> CerebrasRetryPolicy:
        from airflow_provider_cerebras.retry_policies import CerebrasRetryPolicy

        return CerebrasRetryPolicy(**arguments)

    @pytest.mark.parametrize("status", [429, 503, 409])
    def test_it_waits_as_long_as_the_service_asks(self, status: int) -> None:
        action, delay, reason = self.decide(answered(status, "90"))
        assert (action, delay) == ("retry", 90)
        assert reason == f"The service asked for 90 s: POST https://api.cerebras.ai/x answered {status}: slow down."

    @pytest.mark.parametrize(
        "error",
        [
            InvalidArgument("timeout: must be more than 0 seconds, not -1."),
            ConnectionUnusable("Connection 'x': is not defined."),
            AirflowNotFoundException("The conn_id `x` isn't defined"),
            InvalidValue("model_version: '7' is not a model version."),
        ],
        ids=lambda error: type(error).__name__,
    )
    def test_what_is_wrong_with_arguments_and_connections_is_final(self, error: Exception) -> None:
        assert self.decide(error)[0] == "fail"

    def test_any_other_value_error_is_left_to_airflow(self) -> None:
        assert self.decide(ValueError("not JSON"))[0] == "default"

    def test_at_once_is_a_time_too(self) -> None:
        assert self.decide(answered(429, "0"))[:2] == ("retry", 0)

    @pytest.mark.parametrize(
        ("arguments", "delay"), [({}, 3600), ({"max_delay": timedelta(minutes=5)}, 300)], ids=["default", "5 minutes"]
    )
    def test_it_never_waits_longer_than_max_delay(self, arguments: dict[str, Any], delay: int) -> None:
        action, waited, reason = self.decide(answered(429, "86400"), **arguments)
        assert (action, waited) == ("retry", delay)
        assert "86400 s" in str(reason)

    def test_an_unknown_outcome_is_looked_up_after_the_time_that_was_asked_for(self) -> None:
        assert self.decide(caused_by(OutcomeUnknown("who knows"), answered(503, "7")))[:2] == ("retry", 7)

    @pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
    def test_answers_that_stay_the_same_fail_at_once(self, status: int) -> None:
        action, _, reason = self.decide(answered(status, "7"))
        assert action == "fail"
        assert str(reason).startswith("A retry cannot help: POST https://api.cerebras.ai/x answered")

    @pytest.mark.parametrize("error", [ModelVersionFailed("bad weights"), RequestRefused("no")], ids=type)
    def test_what_airflow_itself_fails_at_once_fails_as_a_cause_too(self, error: Exception) -> None:
        assert self.decide(error)[0] == "fail"
        assert self.decide(caused_by(RuntimeError("wrapped"), error))[0] == "fail"

    @pytest.mark.parametrize(
        "error",
        [
            answered(500),
            answered(429),
            CerebrasTransportError("no answer"),
            OutcomeUnknown("who knows"),
            caused_by(OutcomeUnknown("who knows"), answered(404)),
            ModelVersionLost("gone"),
            WaitTimeout("too late"),
            ValueError("another client's"),
            KeyboardInterrupt(),
        ],
        ids=repr,
    )
    def test_everything_else_is_left_to_the_task_s_own_delay(self, error: BaseException) -> None:
        assert self.decide(error) == ("default", None, None)

    def test_what_was_merely_being_handled_is_no_cause(self) -> None:
        error = KeyError("a mistake in the code that handles it")
        error.__context__ = answered(404)
        assert self.decide(error)[0] == "default"

    def test_causes_in_a_circle_come_to_an_end(self) -> None:
        first, second = RuntimeError("a"), RuntimeError("b")
        first.__cause__, second.__cause__ = second, first
        assert self.decide(first)[0] == "default"

    def test_it_survives_being_pickled_and_serialized(self) -> None:
        from airflow_provider_cerebras.retry_policies import CerebrasRetryPolicy

        policy = self.policy(max_delay=timedelta(minutes=5))
        assert pickle.loads(pickle.dumps(policy)) == policy
        assert CerebrasRetryPolicy.deserialize(policy.serialize()) == policy
        assert policy != self.policy()

    @pytest.mark.parametrize("delay", [timedelta(0), timedelta(seconds=-1)], ids=str)
    def test_a_longest_delay_must_be_one(self, delay: timedelta) -> None:
        with pytest.raises(ValueError, match="max_delay: must be more than 0"):
            self.policy(max_delay=delay)
