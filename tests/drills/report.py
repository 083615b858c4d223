"""Writes docs/crash-matrix.md from what the drills have found: ``python -m tests.drills.report``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.drills.matrix import CELLS, Cell, Event, Instant, Mode, Operation, exists

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / ".drills"
DOCUMENT = ROOT / "docs" / "crash-matrix.md"

INSTANTS = {
    Instant.BEFORE: "before the request",
    Instant.SENT: "request sent, not processed",
    Instant.PROCESSED: "processed, answer lost",
    Instant.ANSWERED: "answer received, not recorded",
    Instant.RECORDED: "recorded",
    Instant.DEFERRED: "deferred",
    Instant.RESUMED: "resumed",
}
EVENTS = {
    Event.SIGKILL: "SIGKILL",
    Event.DROPPED: "connection dropped",
    Event.TIMEOUT: "time-out",
    Event.STATUS_500: "500",
    Event.STATUS_503: "503",
    Event.STATUS_502: "502 with HTML",
}
NONE = "\N{EN DASH}"
TITLES = {Operation.UPLOAD: "Uploading", Operation.DEPLOY: "Deploying"}
SCENARIOS = {
    "worker-lost": "The task's process and the one that supervises it get a SIGKILL at once, with the version made and "
    "the answer lost. Airflow notices that the heartbeats have stopped.",
    "orphan": "The supervising process gets a SIGKILL, and the task goes on without it: its request is processed after "
    "the retry's.",
    "late-zombie": "The task gets a SIGKILL, and its request is processed after the retry's.",
    "clear-while-deferred": "`delete_on_kill=True`, and a user clears the deferred task through the REST API: the old "
    "version is deleted, and the new attempt uploads anew.",
    "evicted": "`delete_on_kill=True`, and the supervising process gets a SIGTERM, as at a pod's eviction: the version "
    "stays, whether the attempt ends or goes on.",
    "execution-timeout": "`delete_on_kill=True`, and the wait outlasts the `execution_timeout`: the version stays.",
    "delete-on-kill-triggerer-killed": "`delete_on_kill=True`, and the triggerer gets a SIGKILL: the version stays.",
}

PROMOTIONS = {
    "promote-before": "the first look",
    "promote-free-sent": "taking the alias from its holder, not processed",
    "promote-free-processed": "taking the alias from its holder, processed, answer lost",
    "promote-set-sent": "setting the alias, not processed: no version has it",
    "promote-set-processed": "setting the alias, processed, answer lost",
}

HEAD = """# Crash matrix

<!-- Written by `make matrix` from a run of the drills; do not edit. -->

Whatever dies at whatever instant, a task run ends with one model version or one deployment, and the task returns it.
Each cell below is a task that was run by a real Airflow and hit at that instant: scheduler, executor (LocalExecutor),
two triggerers, PostgreSQL and, on Airflow 3, api-server and DAG processor, each a process of its own, and the emulator
behind a socket. A process that is killed is killed with SIGKILL; the retry is Airflow's own.

`1 (2, 1)` reads: **1** version or deployment in the end, after 2 attempts of the task, with the request that makes it
sent 1 time in all. A cell passes if

* the run succeeds, and the task's XCom names the version or deployment;
* the service has that one and has never had another (versions are numbered, and numbers are not given twice);
* after a kill of the task there was a second attempt, and no attempt failed by an exception (but for the orphan's
  below, which Airflow no longer waits for): an attempt deals itself with what goes wrong on the network.

On a busy machine Airflow may try more often than the fault asks for; that is one more chance to do it twice.

## What the rows and columns mean

| instant | SIGKILL | network faults |
|---|---|---|
| before the request | the task, while its look before the submission is held | that look |
| request sent, not processed | the task, while the service has the request and has not begun (it never will) | it |
| processed, answer lost | the task, while the service has done the work and holds the answer | the answer |
| answer received, not recorded | the task, before it notes the answer | (no request is under way) |
| recorded | the task, before it begins to wait | blocking: the first two polls |
| deferred | the triggerer that has the task's trigger; another one takes over | the trigger's first two polls |
| resumed | the task, before it takes up the trigger's event | (no request is under way) |

A task that waits in blocking mode is never deferred nor resumed. The first poll of a deferrable task is its trigger's,
so there the faults of polls are in the row "deferred". *Time-out*: the service does not answer for longer than the
connection's `request_timeout`. *502 with HTML*: what a proxy in between answers.

## What cannot be ruled out

The upload carries an alias that is unique at the service, so even a request that is processed long after its retry
makes no second version (see the last table of each Airflow version). A deployment can carry nothing of the kind: if a
submission is processed only after the next attempt has looked for it in vain and submitted again, there are two
rollouts, of the same version.

## Run it again

`make drills` runs it on every supported Airflow, with nothing installed but Python and make, and `make matrix`
writes this page from what was found. To run one cell, install the extra `drills` and call
`python -m pytest tests/drills -k upload-deferrable-resumed-SIGKILL`.
"""


def main() -> int:
    """Write the document from the results that there are."""
    runs = [json.loads(path.read_text()) for path in sorted(RESULTS.glob("[0-9]*.json"), reverse=True)]
    if not runs:
        print(f"There are no results in {RESULTS}; run the drills first.", file=sys.stderr)
        return 1
    DOCUMENT.write_text("\n".join([HEAD, *(line for run in runs for line in _version(run))]))
    return 0


def _version(run: dict[str, Any]) -> list[str]:
    outcomes = run["outcomes"]
    missing = {str(cell) for cell in CELLS} - outcomes.keys()
    if missing:
        raise SystemExit(f"The run on Airflow {run['airflow']} was not of the whole matrix: {sorted(missing)}")
    passed = sum(outcome["error"] is None for outcome in outcomes.values())
    lines = [
        f"## Airflow {run['airflow']}, Python {run['python']}",
        "",
        f"{passed} of {len(outcomes)} drills passed, in {run['seconds']} s.",
        "",
    ]
    for operation in Operation:
        for mode in Mode:
            rows = [[title, *(_cell(outcomes, operation, mode, instant, event) for event in Event)]
                    for instant, title in INSTANTS.items()]  # fmt: skip
            lines += [f"### {TITLES[operation]}, {mode}", "", *table(["instant", *EVENTS.values()], rows), ""]
    rows = [[text, _words(outcomes[name])] for name, text in SCENARIOS.items() if name in outcomes]
    lines += ["### Uploading, and more than one thing happens", "", *table(["what happens", "end"], rows), ""]
    rows = [
        [text, "**FAILED**" if outcomes[name]["error"] else f"moved, after {outcomes[name]['tries']} attempts"]
        for name, text in PROMOTIONS.items()
        if name in outcomes
    ]
    return [*lines, "### Promoting, and a SIGKILL", "", *table(["under way when the task is killed", "end"], rows), ""]


def _cell(outcomes: dict[str, Any], operation: Operation, mode: Mode, instant: Instant, event: Event) -> str:
    return _words(outcomes[str(Cell(operation, mode, instant, event))]) if exists(mode, instant, event) else NONE


def _words(outcome: dict[str, Any]) -> str:
    return "**FAILED**" if outcome["error"] else f"{outcome['results']} ({outcome['tries']}, {outcome['posts']})"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Make the lines of a table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]


if __name__ == "__main__":
    sys.exit(main())
