"""What has to be deployed so that endpoints serve what they are to, and what is left to people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_cerebras.api.models import ModelVersion
from airflow_provider_cerebras.api.status import Progress
from airflow_provider_cerebras.durable.rollout_steps import Baseline, Deployed, decide
from airflow_provider_cerebras.exceptions import RequestRefused
from airflow_provider_cerebras.operators._plan import as_table, find_fault, plan_endpoint
from airflow_provider_cerebras.operators.endpoints import CerebrasDeployModelOperator
from airflow_provider_cerebras.operators.planning import CerebrasPlanEndpointsOperator
from tests.task_instance import TaskInstance

if TYPE_CHECKING:
    from tests.unit.conftest import Service


def version(number: int) -> str:
    return f"orgs/my-org/models/gpt-oss-120b/versions/{number}"


def deployed(number: int, created: int, progress: Progress = Progress.SUCCEEDED) -> Deployed:
    return Deployed(f"d{created}", version(number), created, progress, f"state {progress.value!r}")


def action(*deployments: Deployed) -> str:
    return plan_endpoint("my-endpoint", version(1), deployments).action


class TestPlan:
    def test_what_serves_already_needs_nothing(self) -> None:
        assert action(deployed(1, 20), deployed(2, 10)) == "none"

    def test_another_version_is_replaced(self) -> None:
        line = plan_endpoint("my-endpoint", version(1), [deployed(2, 20), deployed(1, 10)])
        assert (line.action, line.serves, line.reason) == ("deploy", version(2), "another version serves")
        assert action() == "deploy"

    def test_what_rolls_out_already_is_waited_for(self) -> None:
        assert action(deployed(1, 20, Progress.PENDING), deployed(2, 10)) == "none"

    @pytest.mark.parametrize("serves", [1, 2])
    def test_a_rollout_of_another_version_is_left_alone(self, serves: int) -> None:
        assert action(deployed(3, 20, Progress.PENDING), deployed(serves, 10)) == "hold"
        assert action(deployed(1, 30, Progress.PENDING), deployed(3, 20, Progress.PENDING)) == "hold"

    def test_what_failed_is_not_tried_again_until_something_else_has_served(self) -> None:
        assert action(deployed(1, 20, Progress.FAILED), deployed(2, 10)) == "hold"
        assert action(deployed(2, 30), deployed(1, 20, Progress.FAILED)) == "deploy"

    def test_what_never_ended_before_what_serves_holds_nothing_up(self) -> None:
        assert action(deployed(2, 20), deployed(3, 10, Progress.PENDING)) == "deploy"

    def test_two_of_one_second_leave_open_what_serves(self) -> None:
        assert action(deployed(1, 20), deployed(2, 20)) == "hold"

    @given(
        st.lists(
            st.builds(deployed, st.integers(1, 3), st.integers(1, 5), st.sampled_from(list(Progress)[:3])),
            max_size=5,
            unique_by=lambda each: each.created,
        )
    )
    def test_what_is_planned_goes_over_nothing_that_is_under_way(self, deployments: list[Deployed]) -> None:
        serving = max((each.created for each in deployments if each.progress is Progress.SUCCEEDED), default=0)
        others = [
            each
            for each in deployments
            if each.progress is Progress.PENDING and each.created > serving and each.model != version(1)
        ]
        decision = decide(deployments, version(1), baseline=Baseline.of(deployments))
        if action(*deployments) == "deploy":
            assert not others
            # The deploy operator does not take it for done.
            assert decision.adopted is None
        elif action(*deployments) == "none":
            assert not others
            assert any(each.model == version(1) for each in deployments)

    @pytest.mark.parametrize(
        ("fields", "arch", "words"),
        [
            ({"done": True}, "gpt-oss-120b", None),
            ({"done": True}, None, None),
            ({"done": True}, "other", "of architecture gpt-oss-120b"),
            ({"done": False}, "gpt-oss-120b", "not synced"),
            ({"done": True, "error": {"message": "no access"}}, "gpt-oss-120b", "no access"),
        ],
    )
    def test_a_version_that_cannot_be_deployed_is_said_so(
        self, fields: dict[str, Any], arch: str | None, words: str | None
    ) -> None:
        fault = find_fault(ModelVersion.model_validate({"name": version(1), **fields}), arch)
        assert fault == words or (words and fault and words in fault)

    def test_a_table_is_aligned(self) -> None:
        assert as_table([{"a": "long", "b": None}, {"a": "x", "b": 1}]) == "a     b\nlong  -\nx     1"
        assert as_table([]) == "(nothing)"


def plan(desired: dict[str, str]) -> tuple[list[dict[str, str]], dict[str, tuple[str, str]]]:
    """What is planned, and by endpoint what the report says."""
    ti = TaskInstance()
    context: Any = {"ti": ti}
    planned = CerebrasPlanEndpointsOperator(task_id="plan", desired=desired).execute(context)
    return planned, {each["endpoint_id"]: (each["action"], each["reason"]) for each in ti.xcoms["report"]}


def test_the_plan_of_a_deployment_past_airflow_is_deployed_once(service: Service) -> None:
    wanted, other = service.new_version("production"), service.new_version()
    service.deploy(wanted)
    service.finish()
    alias = {service.endpoint_id: service.version_name("production")}
    assert plan(alias)[0] == []
    service.deploy(other)
    service.finish()

    sent = len(service.requests())
    # Two that reconcile, and plan at the same moment.
    plans = [plan(alias)[0] for _ in range(2)]
    assert {method for method, _ in service.sent_since(sent)} == {"GET"}
    assert plans == [[{"endpoint_id": service.endpoint_id, "model_version": wanted}]] * 2
    for number, (planned,) in enumerate(plans):
        arguments: dict[str, Any] = {**planned, "task_id": f"deploy_{number}"}
        context: Any = {"ti": TaskInstance()}
        CerebrasDeployModelOperator(**arguments).execute(context)

    assert len([each for each in service.deployments() if each.model_version == wanted]) == 2  # one before, one now
    assert plan(alias)[1][service.endpoint_id][0] == "none"
    service.finish()
    assert service.serving() == wanted


def test_a_rollout_of_a_person_is_reported_and_nothing_is_planned(service: Service) -> None:
    wanted, other = service.new_version("production"), service.new_version()
    service.deploy(wanted)
    service.finish()
    person = service.deploy(other)
    planned, report = plan({service.endpoint_id: wanted})
    assert planned == []
    assert report[service.endpoint_id][0] == "hold"
    assert person in report[service.endpoint_id][1]


def test_what_is_not_there_or_cannot_be_read_is_held_and_the_rest_is_planned(service: Service) -> None:
    wanted = service.new_version("production")
    missing = service.version_name("missing")
    for endpoint_id in ("broken", "unnamed"):
        service.add_endpoint(endpoint_id)
    service.add_fault("get_endpoint", path_contains="endpoints/broken", body={"name": "broken"}, times=None)
    planned, report = plan({service.endpoint_id: wanted, "broken": wanted, "nowhere": wanted, "unnamed": missing})
    assert planned == [{"endpoint_id": service.endpoint_id, "model_version": wanted}]
    assert {key for key, (what, _) in report.items() if what == "hold"} == {"broken", "nowhere", "unnamed"}


def test_a_version_that_still_syncs_is_not_planned(service: Service) -> None:
    planned, report = plan({service.endpoint_id: service.new_version(done=False)})
    assert (planned, report[service.endpoint_id][0]) == ([], "hold")


def test_a_wrong_key_fails_the_task(service: Service) -> None:
    service.add_fault("get_model_version", status=401, times=None)
    with pytest.raises(RequestRefused):
        plan({service.endpoint_id: service.new_version()})
