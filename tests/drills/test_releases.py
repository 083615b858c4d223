"""Whatever dies in the middle of a release, it comes to its end, with one version and one deployment."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

import pytest

from tests.drills.release_drills import RELEASE_DRILLS

if TYPE_CHECKING:
    from tests.drills.release_drills import ReleaseDrill
    from tests.drills.releasing import Result
    from tests.drills.stack import Executor

AIRFLOW = version("apache-airflow")


@pytest.mark.parametrize(
    ("executor", "drill"),
    [
        pytest.param(executor, drill, id=f"{executor}-{drill}", marks=[pytest.mark.quick] if _is_quick else [])
        for drill in RELEASE_DRILLS
        for executor in drill.executors
        if drill.runs_on(AIRFLOW, executor)
        for _is_quick in [drill.quick and executor == "LocalExecutor" and AIRFLOW >= "3"]
    ],
)
def test_release(executor: Executor, drill: ReleaseDrill, results: dict[tuple[Executor, str], Result]) -> None:
    if error := results[executor, drill.name].error:
        pytest.fail(error, pytrace=False)
