"""Releases one after the other for a given time, while things go wrong: ``python -m tests.drills.soak``.

What goes wrong is drawn from a seed, so a soak that has found something can be run again.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import time
from collections import Counter
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local_stack import AWS, _free_ports
from processes import Failure, Interrupted

from tests.drills.postgres import PostgresFiles
from tests.drills.release import Release, put_weights
from tests.drills.releasing import new_field
from tests.drills.stack import Executor, Stack, python_version

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.drills.release import Service

HOME = Path(__file__).parents[2] / ".drills"
CALLS = ("get_model_version", "upload_model_version", "get_endpoint", "deploy_model", "update_model_version_aliases")
WAITS = ("wait_for_sync", "wait_for_rollout")
BUSY = {"upload": "upload_model_version", "deploy": "deploy_model"}
ANSWERS: dict[str, dict[str, Any]] = {
    "an answer 500": {"status": 500, "body": {"detail": "Internal Server Error"}},
    "an answer 503": {"status": 503, "body": {"detail": "Service Unavailable"}},
    "an answer 502 in HTML": {"status": 502, "text": "<html><h1>502 Bad Gateway</h1></html>"},
    "an answer 429": {"status": 429, "headers": {"Retry-After": "1"}, "body": {"detail": "Too Many Requests"}},
    "a dropped connection": {"drop": True},
    "an answer cut short": {"truncate": True},
}


class Soak:
    """Goes through releases, and counts.

    :param seed: what decides on what goes wrong.
    """

    def __init__(self, stack: Stack, service: Service, seed: int) -> None:
        self._stack = stack
        self._service = service
        self._dice = random.Random(seed)
        # Never killed, so that its memory tells of all releases.
        self.veteran = stack.triggerers[0]
        self.faults: Counter[str] = Counter()
        self.releases: list[Release] = []
        self.stuck: list[str] = []
        self.failed: list[str] = []
        self._kinds: list[Callable[[Release], str]] = [
            self._go_well,
            self._answer,
            self._answer,
            self._kill_triggerer,
            self._kill_worker,
            self._kill_scheduler,
            self._be_down,
        ]

    def release(self, lane: Any) -> None:
        """Go through one more release."""
        name = f"soak-{len(self.releases) + 1}"
        put_weights(self._stack.s3_url, name)
        release = Release(self._stack, self._service, lane, name, "release", lane.connection)
        self.releases.append(release)
        fault = "?"
        try:
            fault = self._dice.choice(self._kinds)(release)
            state = release.wait_for_end()
        except (Failure, AssertionError) as error:
            self.stuck.append(f"{name} ({fault}): {error}")
        else:
            if state != "success":
                self.failed.append(f"{name} ({fault}): {release.states()}")
        self._service.end_faults()
        self.faults[fault] += 1
        print(f"{name}: {fault}; {self._stack.run_state(name)} in {time.monotonic() - release.began:.0f} s", flush=True)

    def _go_well(self, release: Release) -> str:
        release.start()
        return "nothing"

    def _answer(self, release: Release) -> str:
        kind, operation = self._dice.choice(list(ANSWERS)), self._dice.choice(CALLS)
        when, times = self._dice.choice(("before", "after")), self._dice.randint(1, 3)
        if kind in {"an answer cut short", "an answer 429"}:
            # A 429 says that nothing was done, and an answer is only there to be cut when the work is done.
            when = "before" if kind == "an answer 429" else "after"
        self._service.add_fault(operation, when=when, times=times, skip=self._dice.randint(0, 2), **ANSWERS[kind])
        release.start()
        return kind

    def _kill_triggerer(self, release: Release) -> str:
        task = self._dice.choice(WAITS)
        self._start_until_deferred(release, task)
        victim = next(job for job in self._stack.triggerers if job != self.veteran)
        self._stack.kill_triggerer(victim)
        self._stack.start_triggerer()
        return "a triggerer killed"

    def _kill_worker(self, release: Release) -> str:
        task, when = self._dice.choice(list(BUSY)), self._dice.choice(("before", "after"))
        fault = self._service.add_fault(BUSY[task], when=when, hold=True, drop=when == "before")
        release.start()
        if task == "deploy":
            release.wait_until_deferred("wait_for_sync")
            self._service.complete()
        release.wait_until_held(BUSY[task])
        look = release.task(task)
        assert look is not None
        assert look.pid is not None
        self._stack.kill_workers([look.pid])
        self._service.end_fault(fault)
        return "a worker killed"

    def _kill_scheduler(self, release: Release) -> str:
        self._start_until_deferred(release, self._dice.choice(WAITS))
        self._stack.kill_scheduler()
        self._stack.start_scheduler()
        return "the scheduler killed"

    def _be_down(self, release: Release) -> str:
        self._start_until_deferred(release, self._dice.choice(WAITS))
        down = self._service.add_fault("*", times=None, drop=True)
        end = time.monotonic() + self._dice.uniform(5, 20)
        self._stack.wait_until("the end of an outage", lambda: time.monotonic() > end, timeout=60)
        self._service.end_fault(down)
        return "the service down for 5 to 20 s"

    def _start_until_deferred(self, release: Release, task: str) -> None:
        release.start()
        for each in WAITS:
            release.wait_until_deferred(each)
            if each == task:
                return
            self._service.complete()

    def report(self) -> dict[str, Any]:
        """Count what there is in the end."""
        made = Counter(each.weight_uri for each in self._service.versions().values())
        deployments = Counter(each.model_version for each in self._service.deployments())
        succeeded = len(self.releases) - len(self.stuck) - len(self.failed)
        return {
            "releases": len(self.releases),
            "succeeded": succeeded,
            "versions": made.total(),
            "deployments": deployments.total(),
            "duplicates": sum(count - 1 for count in (*made.values(), *deployments.values())),
            "stuck": self.stuck,
            "failed": self.failed,
            "faults": dict(sorted(self.faults.items())),
        }


def main() -> int:
    """Understand the command line, soak, and write what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30, help="for how long new releases are begun")
    parser.add_argument("--seed", type=int, default=None, help="decides on what goes wrong; default: another each time")
    arguments = parser.parse_args()
    seed = random.randrange(2**32) if arguments.seed is None else arguments.seed
    os.environ.update(AWS)  # by which the emulator reads the weights
    try:
        report = soak(arguments.minutes, seed)
    except Interrupted as interrupted:
        print(f"\nEnded by {interrupted}; nothing is left running.", file=sys.stderr)
        return interrupted.exit_code
    (HOME / "soak.json").write_text(json.dumps(report, indent=1))
    print(json.dumps(report, indent=1))
    is_sound = not report["duplicates"] and not report["stuck"] and not report["failed"]
    return 0 if is_sound and report["versions"] == report["deployments"] == report["releases"] else 1


def soak(minutes: float, seed: int) -> dict[str, Any]:
    """Release for so long, and return the counts."""
    airflow = version("apache-airflow")
    (port,) = _free_ports(1)
    with PostgresFiles(port) as postgres, Stack(HOME / f"{airflow}-soak", postgres, airflow, Executor.LOCAL) as stack:
        print(f"Seed {seed}. Starting Airflow {airflow}.", flush=True)
        stack.bring_up()
        with new_field(stack).service() as (service, lane):
            soak = Soak(stack, service, seed)
            memory = [stack.usage_of_triggerer(soak.veteran).memory]
            began = time.monotonic()
            while time.monotonic() - began < minutes * 60:
                soak.release(lane)
                if len(soak.releases) == 1:
                    memory.append(stack.usage_of_triggerer(soak.veteran).memory)
            memory.append(stack.usage_of_triggerer(soak.veteran).memory)
            return {
                "airflow": airflow,
                "python": python_version(),
                "minutes": round((time.monotonic() - began) / 60, 1),
                "seed": seed,
                **soak.report(),
                "memory of the triggerer (MiB)": [round(each / 2**20) for each in memory],
            }


if __name__ == "__main__":
    with suppress(BrokenPipeError):
        sys.exit(main())
