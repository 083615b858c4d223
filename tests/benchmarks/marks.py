"""What the figures are held to: ratios within one run, at each number of waiters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

PEERS = ("http", "dbt", "databricks", "openai")
"""The other providers that wait."""

_AGAINST_PEERS = {1: 1.0, 10: 1.5, 100: 0.5}
_AGAINST_HTTPX = (1, 10, 1000)


@dataclass(frozen=True)
class Mark:
    """A figure to be reached."""

    what: str
    wanted: str
    found: str
    reached: bool
    why: str = ""


def per_waiter_minutes(figure: dict[str, Any]) -> float:
    """CPU seconds per 1,000 waiter-minutes."""
    return float(figure["cpu"] / (figure["waited"] / 60) * 1000)


def per_look(figure: dict[str, Any]) -> float:
    """CPU milliseconds for each request, with all that its answer leads to."""
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
                    f"a request costs ours {per_look(fixed):.2f} ms and {cheapest['who']} {per_look(cheapest):.2f} ms"
                    + (f"; by httpx alone it costs {per_look(bare):.2f} ms" if bare else ""),
                )
            )
    for waiters in _AGAINST_HTTPX:
        fixed, bare = find(results, "ours-fixed", waiters), find(results, "limit-httpx", waiters)
        if fixed and bare:
            ratio = per_look(fixed) / per_look(bare)
            found = f"{ratio:.2f} x ({per_look(fixed):.2f} ms to {per_look(bare):.2f} ms)"
            what = f"CPU a request at N = {waiters:,}, fixed interval, to the limit by httpx"
            marks.append(Mark(what, "at most 1.3 x", found, ratio <= 1.3))
    return marks


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
