"""What the DAG does on a good day, and on four bad ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun
    from airflow.providers.common.compat.sdk import DAG

    from airflow_provider_cerebras.emulator.control.client import EmulatorClient

pytestmark = pytest.mark.usefixtures("cerebras_connection")


def state_of(run: DagRun, task_id: str) -> str:
    """How a task ended."""
    return str(run.get_task_instance(task_id).state)


# [good day]
def test_the_new_weights_serve(weekly_release: DAG, cerebras_emulator: EmulatorClient) -> None:
    run = weekly_release.test(run_conf={"weight_uri": "s3://my-bucket/fine-tunes/17"})

    assert run.state == "success"
    version = cerebras_emulator.versions()[cerebras_emulator.version_name(1)]
    assert version.weight_uri == "s3://my-bucket/fine-tunes/17"
    assert "this-week" in version.aliases
    assert cerebras_emulator.serving() == version.name


# [failed sync]
def test_weights_that_cannot_be_read_are_not_deployed(weekly_release: DAG, cerebras_emulator: EmulatorClient) -> None:
    cerebras_emulator.fail_next_sync("AccessDenied: s3:GetObject on my-bucket")

    run = weekly_release.test()

    assert run.state == "failed"
    assert (state_of(run, "upload"), state_of(run, "deploy")) == ("failed", "upstream_failed")
    assert not cerebras_emulator.requests("deploy_model")


# [failed rollout]
def test_if_the_rollout_fails_last_week_serves_again(weekly_release: DAG, cerebras_emulator: EmulatorClient) -> None:
    last_week = cerebras_emulator.serve("s3://my-bucket/fine-tunes/16", "this-week")
    cerebras_emulator.fail_next_rollout("not enough memory")

    run = weekly_release.test()

    assert state_of(run, "deploy") == "failed"
    assert cerebras_emulator.serving() == last_week
    this_week = cerebras_emulator.version_name(2)
    assert [each.model_version for each in cerebras_emulator.deployments()] == [last_week, this_week, last_week]


# [three hours]
@pytest.mark.cerebras_emulator(sync_seconds=3 * 3600)
def test_a_sync_of_three_hours_is_waited_for(weekly_release: DAG, cerebras_emulator: EmulatorClient) -> None:
    def three_hours_pass() -> None:
        cerebras_emulator.advance_clock(3 * 3600)

    # The first look at the version is held, and three hours pass before it is answered.
    with cerebras_emulator.meanwhile("get_model_version", three_hours_pass, path_contains="/versions/1"):
        run = weekly_release.test()

    assert run.state == "success"
    assert cerebras_emulator.serving() == cerebras_emulator.version_name(1)


# [flaky service]
def test_a_flaky_service_makes_one_version_all_the_same(weekly_release: DAG, cerebras_emulator: EmulatorClient) -> None:
    cerebras_emulator.use_profile("flaky")
    # And the answer to the upload is lost, once the service has acted on it.
    cerebras_emulator.add_fault("upload_model_version", when="after", drop=True)

    run = weekly_release.test()

    assert run.state == "success"
    assert list(cerebras_emulator.versions()) == [cerebras_emulator.serving()]
