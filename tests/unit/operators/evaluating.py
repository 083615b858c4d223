"""An evaluation in a process of its own, to be killed. It prints the number of results of each part that is stored."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING

from airflow_provider_cerebras.api.client import AsyncCerebrasClient, ClientSettings
from airflow_provider_cerebras.evaluation.cases import read_rows
from airflow_provider_cerebras.evaluation.plan import make_plan
from airflow_provider_cerebras.evaluation.storage import ResultStore
from airflow_provider_cerebras.operators._evaluation import answer_open_questions
from airflow_provider_cerebras.operators._locations import open_location

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_cerebras.evaluation.results import Result

CONCURRENCY = 4


class Store(ResultStore):
    """Says what it has stored."""

    def write_part(self, results: Sequence[Result]) -> None:
        super().write_part(results)
        print("stored", len(results), flush=True)


def main() -> None:
    """Evaluate as the specification on the standard input says."""
    specification = json.load(sys.stdin)
    plan = make_plan(
        read_rows(specification["rows"]),
        endpoint_id="my-org-gpt-oss-120b",
        scorers=["exact"],
        require=None,
        baseline=None,
        max_regression=0.0,
        confidence=0.95,
        repeats=1,
        concurrency=CONCURRENCY,
        max_requests=None,
        chat_params=None,
    )
    store = Store(open_location(specification["folder"], "folder"), specification["attempt"])
    totals = plan.new_totals()
    for result in store.read():
        totals.add(result)
    client = AsyncCerebrasClient(
        ClientSettings(**specification["settings"]), verify=False, max_connections=plan.concurrency
    )
    asyncio.run(answer_open_questions(client, plan, totals, store, log_progress=lambda line: None))
    print("passed", sum(totals.passes))


if __name__ == "__main__":
    main()
