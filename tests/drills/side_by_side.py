"""The cost of a release to Airflow and to the service, alone and 20 at once: ``make releases``.

It writes ``docs/benchmarks/releases.md``. Real Airflow on PostgreSQL, one emulator, and an endpoint for each release.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from local_stack import AWS, _free_ports
from processes import Interrupted

from tests.drills.postgres import PostgresFiles
from tests.drills.release import BUCKET, Service, put_weights
from tests.drills.stack import Executor, Stack, python_version

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "benchmarks" / "releases.md"
ARCHITECTURE = "gpt-oss-120b"
SYNC_SECONDS, ROLLOUT_SECONDS = 60.0, 30.0
END_SECONDS = 1800


@dataclass(frozen=True)
class Batch:
    """Releases that were started at the same time.

    :param releases: how many.
    :param starts: worker processes started, by task, for all of them.
    :param requests: requests to the service, by call, for all of them.
    :param seconds: seconds from start to end of each release, as Airflow has them.
    :param versions: versions made.
    :param deployments: deployments made.
    """

    releases: int
    starts: Counter[str]
    requests: Counter[str]
    seconds: list[float]
    versions: int
    deployments: int


def run_batch(stack: Stack, service: Service, names: Sequence[str]) -> Batch:
    """Start releases at once, each to an endpoint of its own, and wait until all have ended.

    :param names: unique names of the runs.
    """
    before, versions, deployments = len(service.requests()), len(service.versions()), _deployments(service)
    for name in names:
        service.add_endpoint(name, ARCHITECTURE)
        put_weights(stack.s3_url, name)
    for name in names:
        conf = {"connection": _connection(stack), "endpoint_id": name, "weight_uri": f"s3://{BUCKET}/{name}"}
        stack.trigger("release_usual", name, conf)

    def have_ended() -> bool:
        states = [stack.run_state(name) for name in names]
        assert "failed" not in states, dict(zip(names, states, strict=True))
        return all(state == "success" for state in states)

    stack.wait_until(f"{len(names)} releases", have_ended, timeout=END_SECONDS)
    rows = stack.query(
        "SELECT task_id, count(*) FROM log WHERE event = 'running' AND run_id = ANY(%s) GROUP BY task_id", list(names)
    )
    times = stack.query(
        "SELECT extract(epoch FROM end_date - start_date) FROM dag_run WHERE run_id = ANY(%s)", list(names)
    )
    return Batch(
        len(names),
        Counter({task.rpartition(".")[2]: count for task, count in rows}),
        Counter(f"{each.method} {each.operation}" for each in service.requests()[before:]),
        [float(each) for (each,) in times],
        len(service.versions()) - versions,
        _deployments(service) - deployments,
    )


def _deployments(service: Service) -> int:
    return sum(len(service.deployments(endpoint)) for endpoint in service.endpoints())


def _connection(stack: Stack) -> str:
    return stack.release_lanes[0].connection


def page(airflow: str, batches: Sequence[Batch]) -> str:
    """Write the figures as Markdown."""
    heads = [f"{each.releases} at once" if each.releases > 1 else "1 release" for each in batches]
    served = SYNC_SECONDS + ROLLOUT_SECONDS
    lines = [
        "# What a release costs\n",
        (
            "Made by `make releases`; not written by hand. `cerebras_release` with its defaults "
            "(upload, wait for the sync, deploy, wait for the rollout, verify, promote, conclude), deferrable, on "
            f"Airflow {airflow} with PostgreSQL, the LocalExecutor and two triggerers. The emulator takes "
            f"{SYNC_SECONDS:g} s for a sync and {ROLLOUT_SECONDS:g} s for a rollout. All releases use one connection "
            "and one architecture, and each has an endpoint of its own.\n"
        ),
        f"| for each release | {' | '.join(heads)} |",
        "|---|" + "--:|" * len(batches),
        _row("worker processes started", [each.starts.total() / each.releases for each in batches]),
        _row("requests to the service", [each.requests.total() / each.releases for each in batches]),
        _row(
            f"seconds, median, beyond the service's {served:g} s", [median(each.seconds) - served for each in batches]
        ),
        "",
        (
            "A task that is deferred starts a worker twice: to begin, and to go on after the wait. On Kubernetes each "
            "start is a pod. Beyond the service's own time, the seconds are those that Airflow takes to schedule and "
            "start the tasks, and the delay until a wait notices the end; with 20 at once, the starts queue for the "
            f"{os.cpu_count()} cores of this machine.\n"
        ),
        "## Worker starts by task\n",
        f"| task | {' | '.join(heads)} |",
        "|---|" + "--:|" * len(batches),
        *(
            _row(f"`{task}`", [each.starts[task] / each.releases for each in batches])
            for task in dict.fromkeys(task for each in batches for task in each.starts)
        ),
        "\n## Requests by call\n",
        f"| call | {' | '.join(heads)} |",
        "|---|" + "--:|" * len(batches),
        *(
            _row(f"`{call}`", [each.requests[call] / each.releases for each in batches])
            for call in sorted({call for each in batches for call in each.requests})
        ),
        "",
        (
            f"Measured on {datetime.now(UTC).date().isoformat()}: {platform.machine()}, {os.cpu_count()} cores, Python "
            f"{python_version()}; load average {os.getloadavg()[0]:.1f} at the end.\n"
        ),
    ]
    return "\n".join(lines)


def _row(what: str, values: Sequence[float]) -> str:
    return f"| {what} | {' | '.join(f'{each:.1f}'.removesuffix('.0') for each in values)} |"


def measure(counts: Sequence[int]) -> str:
    """Bring Airflow up, run each batch, and return the page.

    :param counts: how many releases at once, by batch.
    """
    airflow = version("apache-airflow")
    (port,) = _free_ports(1)
    home = ROOT / ".drills" / f"{airflow}-side-by-side"
    os.environ.update(AWS)  # by which the emulator reads the weights
    with PostgresFiles(port) as postgres, Stack(home, postgres, airflow, Executor.LOCAL) as stack:
        print(f"Starting Airflow {airflow}.", flush=True)
        stack.bring_up()
        batches = []
        with Service(stack.release_lanes[0], stack.s3_url) as service:
            service.change_behaviour(sync_seconds=SYNC_SECONDS, rollout_seconds=ROLLOUT_SECONDS)
            # The first one finds nothing in a cache, so it is not counted.
            for number, count in enumerate([1, *counts]):
                batch = run_batch(stack, service, [f"batch-{number}-{each}" for each in range(count)])
                print(batch, flush=True)
                assert batch.versions == batch.deployments == count
                batches.append(batch)
        return page(airflow, batches[1:])


def main() -> int:
    """Understand the command line, measure, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--releases", type=int, nargs="+", default=[1, 20], help="how many at once")
    parser.add_argument("--output", type=Path, default=PAGE)
    options = parser.parse_args()
    try:
        text = measure(options.releases)
    except Interrupted as interrupted:
        print(f"\nEnded by {interrupted}; nothing is left running.", file=sys.stderr)
        return interrupted.exit_code
    options.output.write_text(text)
    print(text)
    return 0


if __name__ == "__main__":
    with suppress(BrokenPipeError):
        sys.exit(main())
