"""The figures as a page: what was measured, which marks are reached, and plots."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.benchmarks.contenders import CONTENDERS
from tests.benchmarks.intervals import POLL_INTERVAL, expected_polls
from tests.benchmarks.marks import (
    Mark,
    at_every_scale,
    find,
    of_evaluation,
    of_imports,
    of_weights,
    per_poll,
    per_waiter_minutes,
)
from tests.benchmarks.server import COLLECTIONS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_INTRODUCTION = """\
# What waiting costs

Made by `make bench`; not written by hand. N tasks wait at the same time for N jobs of 4 architectures and 4 endpoints
(8 collections in all), one job each. The jobs end one after another, evenly over {duration:g} s, each
{phase:g} s later (a phase by chance, so that none ends on a multiple of the interval); the interval of polls
is {interval:g} s for all. Real triggers of the providers run on an event loop in a process of their own and poll
one HTTP server on the same machine, in another process; each finds it by its own Airflow connection.

* **limit**: the least that it can cost: N bare asyncio waiters, and one raw request a collection and interval on a
  connection that is kept, read by the `json` module. Ratios are to it. **By httpx**: the same, but its requests are
  sent by the library that ours sends them by, so this is the least that ours can cost.
* **ours**: the triggers of this provider. **Fixed interval**: the same, but from the first poll on at the whole
  interval (the real ones poll more often in the beginning, see below). **Sharing off**: the same, each waiter with a
  poll and a client of its own.
* **http**: `HttpSensorTrigger` (404 is "not yet"); **dbt cloud**: `DbtCloudRunJobTrigger`, which speaks https only, so
  it alone pays for TLS here; **databricks**: `DatabricksExecutionTrigger`; **openai**: `OpenAIBatchTrigger`.

All waiters start together, with the pauses of Airflow's triggerer between them; log lines are made as there. Imports
and first-time costs are not counted: before the clock starts, each scenario waits for one job that is done already.
Ours at N = 1,000 and 5,000 and the http provider at N = 1,000 run alone; others run beside each other where they leave
two cores mostly idle, which makes their loops wait a little longer, and hardly changes their CPU.
*CPU* is user and system time of the loop's process, from the first waiter to the last event. The *stall* is the longest
time between two turns of the event loop (measured in its selector), after the first interval; *without
collector*: less what Python's garbage collector took; *at the start*: in the first interval, in which all waiters come.
*Memory* is the growth of the process's resident set from before the first waiter to its highest, by waiter.
*Delay* runs from the completion on the server to the event in the loop.
"""


def write_report(results: dict[str, Any], folder: Path) -> None:
    """Write ``index.md``; the build of the docs draws the figures that it shows.

    :param results: what ``results.json`` holds.
    :param folder: where to write to.
    """
    sections = [
        _INTRODUCTION.format(**results["scale"]),
        *(["**A quick run: nothing here is to be judged by.**\n"] if results["quick"] else []),
        _environment(results),
        "## Marks\n\n" + _marks_table(judge(results)),
        "## Figures\n\n" + "\n".join(_figures_table(results, count) for count in _counts(results)),
        "![CPU](cpu.svg)\n\n![Requests](requests.svg)\n\n![Delay](delay.svg)\n\n![Stall](stall.svg)\n",
        "## Where the CPU time goes\n\n" + _profile(results),
        "## The interval that grows\n\n" + _intervals(results),
        "## Imports\n\n" + _imports(results),
    ]
    (folder / "index.md").write_text("\n".join(sections))


def _environment(results: dict[str, Any]) -> str:
    machine = results["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in results["versions"].items())
    return (
        f"Measured on {results['date']} in {results['minutes']} minutes: {machine['processor']}, "
        f"{machine['cores']} cores, {machine['memory_gib']} GiB, {machine['system']}, load "
        f"{machine['load_before']} before the start; Python {machine['python']}; {versions}.\n"
    )


def _counts(results: dict[str, Any]) -> list[int]:
    return sorted({figure["waiters"] for figure in results["figures"]})


def _figures_table(results: dict[str, Any], waiters: int) -> str:
    limit = find(results, "limit", waiters)
    assert limit
    lines = [
        f"### N = {waiters:,}\n",
        (
            "| | requests | TCP connections | CPU s per 1,000 waiter-minutes | memory a waiter | stall "
            "| without collector | at the start "
            "| delay p50 | p99 | CPU of the server |"
        ),
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for who, contender in CONTENDERS.items():
        if not (one := find(results, who, waiters)):
            continue
        given_up = f" ({one['events']:,} of {waiters:,} ended in time)" if one["events"] < waiters else ""
        cells = [
            contender.label + given_up,
            _with_ratio(one, limit, lambda figure: figure["requests"], "{:,}"),
            _with_ratio(one, limit, lambda figure: figure["connections"], "{:,}"),
            _with_ratio(one, limit, per_waiter_minutes, "{:.3g}"),
            _with_ratio(one, limit, lambda figure: figure["memory"] / waiters / 1024, "{:,.1f} KiB")
            if waiters > 1
            else "",
            _with_ratio(one, limit, lambda figure: figure["stall"] * 1000, "{:,.0f} ms"),
            f"{one['stall_without_collector'] * 1000:,.0f} ms",
            f"{one['stall_at_start'] * 1000:,.0f} ms",
            f"{one['delays']['p50']:.2f} s" if one["delays"] else "",
            _with_ratio(one, limit, lambda figure: figure["delays"]["p99"], "{:.2f} s") if one["delays"] else "",
            f"{one['server_cpu']:.2f} s",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    skipped = [skip for skip in results["skipped"] if skip["waiters"] == waiters]
    lines += [f"\nNot run: {CONTENDERS[skip['who']].label}, since {skip['reason']}." for skip in skipped]
    return "\n".join([*lines, ""])


def _with_ratio(
    figure: dict[str, Any], limit: dict[str, Any], value: Callable[[dict[str, Any]], float], form: str
) -> str:
    own, least = value(figure), value(limit)
    text = form.format(own)
    return text if figure is limit or least <= 0 else f"{text} ({own / least:.3g} x)"


def pivot_of(counts: list[int]) -> int:
    """The number of waiters at which ours is compared in detail."""
    return 1000 if 1000 in counts else max(counts)


def judge(results: dict[str, Any]) -> list[Mark]:
    """Compare the figures with the marks; those of a run that lacks what they need are left out."""
    counts = _counts(results)
    pivot = pivot_of(counts)
    largest, small = counts[-1], 100 if 100 in counts else counts[0]
    ours, limit, http = (find(results, who, pivot) for who in ("ours", "limit", "http"))
    fixed, by_httpx = (find(results, who, pivot) for who in ("ours-fixed", "limit-httpx"))
    assert ours
    assert limit
    assert fixed
    assert by_httpx
    marks = [_polls(results, ours, fixed, limit, pivot)]
    if http:
        marks += _against_http(ours, fixed, by_httpx, limit, http, pivot)
    big, few = find(results, "ours", largest), find(results, "ours", small)
    assert big
    assert few
    ratio, fixed_ratio, httpx_ratio = (
        per_waiter_minutes(one) / per_waiter_minutes(limit) for one in (ours, fixed, by_httpx)
    )
    marks.append(
        Mark(
            f"CPU at N = {pivot:,}, to the limit",
            "at most 3 x",
            f"{ratio:.2f} x (at the limit's number of polls {fixed_ratio:.2f} x; limit by httpx {httpx_ratio:.2f} x)",
            ratio <= 3,
            f"one poll, with all that it leads to, costs the limit {per_poll(limit):.1f} ms, the limit by httpx "
            f"{per_poll(by_httpx):.1f} ms and ours {per_poll(ours):.1f} ms ({per_poll(few):.1f} ms at N = {small:,}, "
            f"where fewer wait); ours polls {ours['requests']:,} times and the limit {limit['requests']:,}"
            + ("; the requests of httpx alone take more than the mark" if httpx_ratio > 3 else ""),
        )
    )
    connections = max(find(results, "ours", count)["connections"] for count in counts)  # type: ignore[index]
    why = "polls of one connection share two at most"
    marks.append(Mark("TCP connections, whatever N", "at most 2", f"{connections}", connections <= 2, why))
    marks.append(
        Mark(
            f"longest stall at N = {largest:,}",
            "at most 50 ms",
            f"{big['stall'] * 1000:.0f} ms, without Python's garbage collector "
            f"{big['stall_without_collector'] * 1000:.0f} ms (at the start {big['stall_at_start'] * 1000:.0f} ms)",
            big["stall"] <= 0.05,
            f"a full garbage collection took {big['full_collection'] * 1000:.0f} ms before the first waiter came, for "
            "Airflow's modules alone, and enough new objects on a triggerer set one off; all else of the "
            "stall is that those who wait in a collection receive a response in one go, and log what is new to them",
        )
    )
    allowed = results["scale"]["interval"] + 0.25
    marks.append(
        Mark(
            f"completion to event, p99, N = {pivot:,}",
            f"within {allowed:g} s",
            f"{ours['delays']['p99']:.2f} s",
            ours["delays"]["p99"] <= allowed,
            "the interval is spread by a tenth at random, to keep collections apart",
        )
    )
    if largest > small:
        growth, cpu_growth = big["requests"] / few["requests"], big["cpu"] / few["cpu"]
        marks += [
            Mark(
                f"requests from N = {small:,} to {largest:,}",
                "constant",
                f"{few['requests']:,} to {big['requests']:,} ({growth:.2f} x)",
                growth <= 1.1,
                "with more waiters the start takes longer, and those who come during it are owed polls",
            ),
            Mark(
                f"CPU from N = {small:,} to {largest:,}",
                f"less than {largest / small:g} x",
                f"{cpu_growth:.1f} x",
                cpu_growth < largest / small,
                "a waiter must not cost more where more wait",
            ),
        ]
    marks += [*at_every_scale(results), of_evaluation(results), of_weights(results), *of_imports(results)]
    return marks


def _polls(
    results: dict[str, Any], ours: dict[str, Any], fixed: dict[str, Any], limit: dict[str, Any], waiters: int
) -> Mark:
    scale = results["scale"]
    collections = min(COLLECTIONS, waiters)
    # The first poll is for the first waiter only; those who come while it is under way are owed another.
    expected = collections * (
        expected_polls(scale["duration"] + scale["phase"], scale["interval"]) + (waiters > COLLECTIONS)
    )
    return Mark(
        f"requests at N = {waiters:,}",
        f"one a collection and interval: {expected:,}",
        f"{ours['requests']:,} (fixed interval {fixed['requests']:,}; limit {limit['requests']:,})",
        ours["requests"] <= expected * 1.1,
        "polls are spread by a tenth at random, and those who come during the start are owed a poll at once",
    )


def _against_http(
    ours: dict[str, Any],
    fixed: dict[str, Any],
    by_httpx: dict[str, Any],
    limit: dict[str, Any],
    http: dict[str, Any],
    waiters: int,
) -> list[Mark]:
    share, fixed_share, least = (one["requests"] / http["requests"] for one in (ours, fixed, limit))
    cpu = per_waiter_minutes(http) / per_waiter_minutes(ours)
    return [
        Mark(
            f"requests at N = {waiters:,}, to the http provider's",
            "at most 1 %",
            f"{share:.2%} (fixed interval {fixed_share:.2%}; limit {least:.2%})",
            share <= 0.01,
            f"the limit itself, with one request a collection and interval, is at {least:.2%} where 8 collections "
            f"stand against {waiters:,} waiters, so this mark and the one before cannot both be reached; the interval "
            "that grows asks more often in the first 50 s; the share falls as waiters become more and waits longer",
        ),
        Mark(
            f"CPU at N = {waiters:,}, to the http provider's",
            "at most 1/25",
            f"1/{cpu:.0f} (fixed interval 1/{per_waiter_minutes(http) / per_waiter_minutes(fixed):.0f}; "
            f"limit by httpx 1/{per_waiter_minutes(http) / per_waiter_minutes(by_httpx):.0f}, "
            f"limit 1/{per_waiter_minutes(http) / per_waiter_minutes(limit):.0f})",
            cpu >= 25,
            f"the http provider's {http['requests']:,} requests cost {per_poll(http):.1f} ms each, so the mark leaves "
            f"{http['cpu'] / ours['requests'] / 25 * 1000:.1f} ms for each of our polls with all that it leads to; a "
            f"poll of the limit by httpx takes {per_poll(by_httpx):.1f} ms, and each waiter costs something once (a "
            "task, a trigger, two lines of log); see the profile below",
        ),
    ]


def _marks_table(marks: list[Mark]) -> str:
    lines = ["| figure | mark | found | |", "|---|---|---|---|"]
    lines += [
        f"| {mark.what} | {mark.wanted} | {mark.found} | {'reached' if mark.reached else '**not reached**'} |"
        for mark in marks
    ]
    missed = [
        f"* {mark.what}: {mark.found} instead of {mark.wanted}; {mark.why}." for mark in marks if not mark.reached
    ]
    return "\n".join([*lines, *(["\nNot reached:\n", *missed] if missed else []), ""])


def _profile(results: dict[str, Any]) -> str:
    profile = results["profile"]
    shares = [(package, share) for package, share in profile["shares"].items() if share >= 0.01]
    lines = [
        f"By a profiler at N = {profile['waiters']:,}; what is built in counts for the package that called it.\n",
        "| package | share |",
        "|---|--:|",
        *(f"| {package} | {share:.0%} |" for package, share in shares),
        f"| others | {1 - sum(share for _, share in shares):.0%} |",
    ]
    return "\n".join([*lines, ""])


def _intervals(results: dict[str, Any]) -> str:
    policies = list(dict.fromkeys(result["policy"] for result in results["intervals"]))
    durations = list(dict.fromkeys(result["duration"] for result in results["intervals"]))
    cells = {(result["policy"], result["duration"]): result for result in results["intervals"]}
    lines = [
        (
            "Requests and the mean delay until the end is noticed, for one job, on a simulated clock. Ours is a tenth "
            f"of the time waited, at least 2 s and at most `poll_interval` (here {POLL_INTERVAL:g} s).\n"
        ),
        f"| job takes | {' | '.join(policies)} |",
        "|---|" + "--:|" * len(policies),
    ]
    for duration in durations:
        row = [cells[policy, duration] for policy in policies]
        texts = [f"{one['requests']:,.0f}, {one['mean_delay']:.1f} s" for one in row]
        lines.append(f"| {duration_text(duration)} | {' | '.join(texts)} |")
    lines += [
        "",
        (
            "The same for those who share the poll of a collection. They come all at once, or one by one within "
            "a minute, and the job of each takes up to a minute.\n"
        ),
        "| | those who wait | they come | requests | delay p50 | p99 |",
        "|---|--:|---|--:|--:|--:|",
        *(
            f"| {one['policy']} | {one['waiters']} | {'one by one' if one['staggered'] else 'at once'} "
            f"| {one['requests']:.0f} | {one['p50']:.1f} s | {one['p99']:.1f} s |"
            for one in results["collections"]
        ),
    ]
    return "\n".join([*lines, "\n![Requests and delay by the duration of the job](intervals.svg)\n"])


def duration_text(seconds: int) -> str:
    """A duration for people."""
    if seconds >= 3600:
        return f"{seconds / 3600:g} h"
    return f"{seconds / 60:g} min" if seconds >= 120 else f"{seconds} s"


def _imports(results: dict[str, Any]) -> str:
    lines = [
        "CPU time to import all operators and sensors of a provider after `airflow.sdk`, in a new process.\n",
        "| | median | least | modules |",
        "|---|--:|--:|--:|",
        *(
            f"| {cost['who']} | {cost['median'] * 1000:.0f} ms | {cost['least'] * 1000:.0f} ms | {cost['modules']:,} |"
            for cost in results["imports"]
        ),
    ]
    return "\n".join([*lines, "\n![Import](imports.svg)\n"])
