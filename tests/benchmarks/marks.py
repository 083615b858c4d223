"""What the figures are held to: ratios within one run, at each number of waiters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.benchmarks import evaluation, weights

PEERS = ("http", "dbt", "databricks", "openai")
"""The other providers that wait."""

_AGAINST_PEERS = {1: 1.0, 10: 1.5, 100: 0.5}
_AGAINST_HTTPX = (1, 10, 1000)


@dataclass(frozen=True)
class Mark:
    """A figure to be reached.

    :param why: why it may be missed, which the page says if it is.
    """

    what: str
    wanted: str
    found: str
    reached: bool
    why: str


def per_waiter_minutes(figure: dict[str, Any]) -> float:
    """CPU seconds per 1,000 waiter-minutes."""
    return float(figure["cpu"] / (figure["waited"] / 60) * 1000)


def per_poll(figure: dict[str, Any]) -> float:
    """CPU milliseconds for each request, with all that its response leads to."""
    return float(figure["cpu"] / figure["requests"] * 1000)


def find(results: dict[str, Any], who: str, waiters: int) -> dict[str, Any] | None:
    return next((one for one in results["figures"] if (one["who"], one["waiters"]) == (who, waiters)), None)


def _cpu(figure: dict[str, Any]) -> float:
    return float(figure["cpu"])


def at_every_scale(results: dict[str, Any]) -> list[Mark]:
    """Compare ours at a fixed interval with the cheapest peer, and with the requests of httpx alone."""
    marks = []
    for waiters, most in _AGAINST_PEERS.items():
        fixed = find(results, "ours-fixed", waiters)
        bare = find(results, "limit-httpx", waiters)
        peers = [one for who in PEERS if (one := find(results, who, waiters))]
        if fixed and peers:
            cheapest = min(peers, key=_cpu)
            ratio = fixed["cpu"] / cheapest["cpu"]
            marks.append(
                Mark(
                    f"CPU at N = {waiters:,}, fixed interval, to the cheapest peer's",
                    f"at most {most:g} x",
                    f"{ratio:.2f} x ({cheapest['who']}: {cheapest['cpu']:.3f} s for {cheapest['requests']:,} requests; "
                    f"ours: {fixed['cpu']:.3f} s for {fixed['requests']:,})",
                    ratio <= most,
                    f"a request costs ours {per_poll(fixed):.2f} ms and {cheapest['who']} {per_poll(cheapest):.2f} ms"
                    + (f"; by httpx alone it costs {per_poll(bare):.2f} ms" if bare else ""),
                )
            )
    for waiters in _AGAINST_HTTPX:
        fixed, bare = find(results, "ours-fixed", waiters), find(results, "limit-httpx", waiters)
        if fixed and bare:
            ratio = per_poll(fixed) / per_poll(bare)
            found = f"{ratio:.2f} x ({per_poll(fixed):.2f} ms to {per_poll(bare):.2f} ms)"
            what = f"CPU a request at N = {waiters:,}, fixed interval, to the limit by httpx"
            rest = (fixed["cpu"] - bare["cpu"] / bare["requests"] * fixed["requests"]) / waiters * 1000
            why = (
                f"beyond its requests, ours spends {rest:.2f} ms on each waiter, once: its task, the decoding of its "
                "row, its event, and its lines of log at the start and at the end"
            )
            marks.append(Mark(what, "at most 1.3 x", found, ratio <= 1.3, why))
    return marks


def of_evaluation(results: dict[str, Any]) -> Mark:
    """Compare an evaluation with the bare requests by httpx."""
    one = results["evaluation"]
    return Mark(
        f"evaluation of {one['cases']:,} cases at concurrency {one['concurrency']}, to the bare requests by httpx",
        f"at most {evaluation.MARK:g} x",
        f"{one['wall_ratio']:.2f} x by the clock, {one['cpu_ratio']:.2f} x the CPU "
        f"({one['cpu_per_case'] * 1000:.2f} ms a case)",
        one["wall_ratio"] <= evaluation.MARK,
        "a case is one request by httpx; the rest of its cost is reading the response and scoring it",
    )


def of_weights(results: dict[str, Any]) -> Mark:
    """Hold the check of weights to its time, and compare it with the bare requests by boto3."""
    one = weights.CheckCost(**results["weights"])
    return Mark(
        f"check of {one.shards:,} shards of weights, in moto's S3",
        f"at most {weights.MARK:g} s",
        str(one),
        one.seconds <= weights.MARK,
        f"{one.requests:,} requests by boto3 alone take {one.bare_seconds:.2f} s here",
    )


def of_imports(results: dict[str, Any]) -> list[Mark]:
    """Compare what a parse of a DAG costs with the cheapest peer's."""
    own, *others = sorted(results["imports"], key=lambda cost: (cost["who"] != "ours", cost["median"]))
    median, peer = own["median"], others[0]
    least = f"; the least of the processes took {own['least'] * 1000:.1f} ms"
    half = f"{median / peer['median']:.2f} x ({peer['who']}: {peer['median'] * 1000:.1f} ms)"
    why = "the operators' base classes and the kinds of their arguments are imported whichever operator a DAG uses"
    return [
        Mark("import on top of `airflow.sdk`", "at most 10 ms", f"{median * 1000:.1f} ms{least}", median <= 0.01, why),
        Mark("import, to the cheapest peer's", "at most 0.5 x", half, median <= peer["median"] / 2, why),
    ]
