"""One scenario in a process of its own, which is the loop's process: N waiters wait, and their waiting is measured.

Run as ``python -m tests.benchmarks.waiters <specification as JSON>``; it prints the figures as JSON. Before the clock
starts it waits once for a job that is done, so imports and first-time costs are not counted.
"""

from __future__ import annotations

import asyncio
import cProfile
import gc
import http.client
import json
import logging
import os
import pstats
import resource
import selectors
import sys
import time
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.benchmarks.contenders import CONTENDERS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True)
class Specification:
    """One scenario.

    :param who: a key of :data:`CONTENDERS`.
    :param waiters: how many.
    :param ports: of the server, for ``http`` and ``https``.
    :param interval: seconds between two polls.
    :param duration: the last job is done this many seconds after the start, and the phase.
    :param limit: seconds after the start when those who still wait are given up.
    :param phase: seconds by which the end of each job is put off.
    :param profile: whether to measure where the CPU goes instead of how much there is.
    """

    who: str
    waiters: int
    ports: dict[str, int]
    interval: float
    duration: float
    limit: float
    phase: float = 0.0
    profile: bool = False


@dataclass
class Figures:
    """What was measured; times in seconds, memory in bytes.

    :param events: how many of the waiters ended by an event that says "done".
    :param cpu: of this process, user and system, from the start to the last event.
    :param elapsed: from the start to the last event.
    :param waited: the sum of the times from the start to the completion of each job.
    :param stall: the longest that the loop was not able to look for what is due, after the first interval.
    :param stall_without_collector: the same, less what Python's garbage collector took of it.
    :param full_collection: what a full garbage collection takes before the first waiter comes.
    :param stall_at_start: the same as ``stall`` in the first interval, in which all waiters come.
    :param memory: growth of the resident set from before the first waiter to its highest.
    :param server_cpu: of the server's process meanwhile.
    :param delays: from each completion on the server to its event, ascending.
    :param profile: share of the CPU by the package whose code ran.
    """

    who: str
    waiters: int
    events: int
    requests: int
    connections: int
    cpu: float
    elapsed: float
    waited: float
    stall: float
    stall_without_collector: float
    full_collection: float
    stall_at_start: float
    memory: int
    server_cpu: float
    delays: Sequence[float]
    profile: Mapping[str, float]


class TimedSelector(selectors.DefaultSelector):
    """Knows for how long the loop was away from it, which is how late anything due may have been.

    Other than a coroutine that sleeps and looks at the clock, it costs nothing that would have to be taken off.
    """

    def __init__(self) -> None:
        super().__init__()
        self._left: float | None = None
        self._collecting = self._collected = 0.0
        self._longest: tuple[float, float] = (0.0, 0.0)
        gc.callbacks.append(self._collector)

    def _collector(self, phase: str, info: Mapping[str, int]) -> None:
        now = time.perf_counter()
        if phase == "start":
            self._collecting = now
        else:
            self._collected += now - self._collecting

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        now = time.perf_counter()
        if self._left is not None:
            self._note(now - self._left, now - self._left - self._collected)
        ready = super().select(timeout)
        self._left, self._collected = time.perf_counter(), 0.0
        if timeout and timeout > 0:
            # Another thread, or process, may keep it from coming back in time.
            late = self._left - now - timeout
            self._note(late, late)
        return ready

    def take(self) -> tuple[float, float]:
        """Return the longest time with and without the garbage collector's part, and begin anew."""
        longest, self._longest = self._longest, (0.0, 0.0)
        return longest

    def _note(self, *seconds: float) -> None:
        self._longest = max(self._longest[0], seconds[0]), max(self._longest[1], seconds[1])


def measure(specification: Specification) -> Figures:
    contender = CONTENDERS[specification.who](specification.ports, specification.interval)
    os.environ.update(contender.environment())
    selector = TimedSelector()
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selector)) as runner:
        return runner.run(_measure(specification, contender, selector))


async def _measure(specification: Specification, contender: Any, selector: TimedSelector) -> Figures:
    if not await contender.wait(None):
        raise RuntimeError("The wait for a job that is done did not end well.")
    await contender.started(specification.waiters)
    gc.collect()
    began = time.perf_counter()
    gc.collect()
    full_collection = time.perf_counter() - began
    memory = resident()
    ends: dict[int, float] = {}
    tasks = []

    async def wait(job: int) -> None:
        if await contender.wait(job):
            ends[job] = time.time()

    profile = cProfile.Profile(time.process_time)
    start: float = ask(specification.ports["http"], "/_begin")
    await asyncio.sleep(0)
    selector.take()
    if specification.profile:
        profile.enable()
    cpu = time.process_time()
    for job in range(specification.waiters):
        tasks.append(asyncio.create_task(wait(job)))
        # As the triggerer does between two triggers.
        await asyncio.sleep(0)
    ended = asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.wait([ended], timeout=max(0.0, start + specification.interval - time.time()))
    highest, stall_at_start = resident(), selector.take()
    while not ended.done() and (left := start + specification.limit - time.time()) > 0:
        await asyncio.wait([ended], timeout=min(specification.interval, left))
        highest = max(highest, resident())
    cpu = time.process_time() - cpu
    profile.disable()
    elapsed, stall = time.time() - start, selector.take()
    for task in tasks:
        task.cancel()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(result, Exception):
            traceback.print_exception(result)
            break
    await contender.stopped()
    completions = [
        specification.phase + specification.duration * (job + 1) / specification.waiters
        for job in range(specification.waiters)
    ]
    return Figures(
        who=specification.who,
        waiters=specification.waiters,
        events=len(ends),
        cpu=cpu,
        elapsed=elapsed,
        waited=sum(min(completion, elapsed) for completion in completions),
        stall=stall[0],
        stall_without_collector=stall[1],
        full_collection=full_collection,
        stall_at_start=stall_at_start[0],
        memory=highest - memory,
        profile=by_package(profile) if specification.profile else {},
        delays=sorted(end - start - completions[job] for job, end in ends.items()),
        **ask(specification.ports["http"], "/_end"),
    )


def ask(port: int, path: str) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", path)
    answer = json.loads(connection.getresponse().read())
    connection.close()
    return answer


def by_package(profile: cProfile.Profile) -> dict[str, float]:
    """Sum up a profile: the share of the time by the package whose code ran.

    What is built in counts for the package that called it.
    """
    shares: dict[str, float] = {}
    statistics = pstats.Stats(profile)
    for (file, _, _), (_, _, own, _, callers) in statistics.stats.items():  # type: ignore[attr-defined]
        if file == "~" and callers:
            for (caller, _, _), (_, _, spent, _) in callers.items():
                shares[package_of(caller)] = shares.get(package_of(caller), 0.0) + spent
        else:
            shares[package_of(file)] = shares.get(package_of(file), 0.0) + own
    total = sum(shares.values())
    return {package: share / total for package, share in sorted(shares.items(), key=lambda item: -item[1])}


def package_of(file: str) -> str:
    """Name of the package that a source file belongs to."""
    for marker in ("/site-packages/", f"/python{sys.version_info[0]}.{sys.version_info[1]}/"):
        if marker in file:
            parts = file.split(marker, 1)[1].split("/")
            return "/".join(parts[:2]) if parts[0] == "airflow" else parts[0].removesuffix(".py")
    return next((part for part in Path(file).parts if part in {"airflow_provider_cerebras", "benchmarks"}), "built in")


def resident() -> int:
    """Bytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def log_as_triggerer() -> None:
    """Have every line that a provider logs made into JSON and written, as on a triggerer, but where nobody reads it."""
    try:
        from airflow.sdk.log import configure_logging
    except ImportError:  # Airflow 2
        logging.basicConfig(level=logging.INFO, filename=os.devnull, force=True)
    else:
        configure_logging(json_output=True, output=Path(os.devnull).open("wb"), sending_to_supervisor=True)  # noqa: SIM115  for good


def main() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    log_as_triggerer()
    figures = measure(Specification(**json.loads(sys.argv[1])))
    print(json.dumps(asdict(figures)))


if __name__ == "__main__":
    main()
