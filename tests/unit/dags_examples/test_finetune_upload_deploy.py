from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import bigram
import finetune_upload_deploy as flagship
import pytest

DAG = flagship.finetune_upload_deploy()


def test_it_runs_weekly_one_run_at_a_time_and_makes_up_for_nothing() -> None:
    assert DAG.catchup is False
    assert DAG.max_active_runs == 1
    # The second name is Airflow 2's.
    assert "@weekly" in {getattr(DAG, name, None) for name in ("schedule", "schedule_interval")}


def test_the_steps_come_in_the_order_that_its_description_gives() -> None:
    first_line = next(line for line in (flagship.__doc__ or "").splitlines() if "->" in line)
    assert [task.task_id for task in DAG.topological_sort()] == first_line.split()[::2]


def test_the_waits_are_deferred() -> None:
    waits = [task for task in DAG.tasks if task.task_id.startswith("wait_for")]
    assert [getattr(task, "deferrable", False) for task in waits] == [True, True]


def test_it_can_be_read_in_one_go() -> None:
    assert len(Path(flagship.__file__).read_text(encoding="utf-8").splitlines()) < 100


def test_weights_whose_loss_did_not_fall_are_not_uploaded(monkeypatch: pytest.MonkeyPatch) -> None:
    useless = bigram.Trained(model_safetensors=b"", config={}, first_loss=1.0, last_loss=1.0)
    monkeypatch.setattr(bigram, "train", lambda text, seed: useless)
    with pytest.raises(ValueError, match="did not fall"):
        flagship.fine_tune.function("s3://my-bucket/fine-tunes", "a run")


def test_reading_the_dag_loads_nothing_that_only_training_needs() -> None:
    script = f"import sys, runpy; runpy.run_path({flagship.__file__!r}); sys.exit('safetensors' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False, capture_output=True).returncode == 0
