"""Whatever dies at whatever instant, there is one version or one deployment in the end, and the task names it."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

import pytest

from tests.drills.drill import SCENARIOS, TRIGGERER_SCENARIO
from tests.drills.matrix import CELLS

if TYPE_CHECKING:
    from tests.drills.matrix import Cell, Outcome

# Triggers learn of a kill on Airflow 3.3 and later.
NEEDS_3_3 = {"clear-while-deferred"}
IS_3_3 = tuple(map(int, version("apache-airflow").split(".")[:2])) >= (3, 3)

pytestmark = pytest.mark.quick


@pytest.mark.parametrize("drill", CELLS, ids=str)
def test_cell(drill: Cell, outcomes: dict[str, Outcome]) -> None:
    check(outcomes[str(drill)])


@pytest.mark.parametrize(
    "drill", [each for each in (*SCENARIOS, TRIGGERER_SCENARIO) if IS_3_3 or each not in NEEDS_3_3]
)
def test_scenario(drill: str, outcomes: dict[str, Outcome]) -> None:
    check(outcomes[drill])


def check(outcome: Outcome) -> None:
    if outcome.error:
        pytest.fail(outcome.error, pytrace=False)
