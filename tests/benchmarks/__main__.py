"""``make bench``: measure all, and write the table, the plots and the figures to a folder.

``--quick`` only shows whether it works: 1 and 10 waiters, 12 s of waiting, and nothing to be judged by.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import time
from dataclasses import asdict, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.benchmarks import evaluation, weights
from tests.benchmarks.contenders import CONTENDERS
from tests.benchmarks.harness import ROOT, Harness, Scale, Scenario, harness
from tests.benchmarks.imports import measure_imports
from tests.benchmarks.intervals import simulate, simulate_collections
from tests.benchmarks.marks import PEERS
from tests.benchmarks.report import pivot_of, write_report

FULL = Scale(interval=5.0, duration=60.0, limit=120.0)
QUICK = Scale(interval=1.0, duration=12.0, limit=40.0)
RIVALS = ("ours-alone", *PEERS)
SKIPPED = {
    ("openai", 5000): (
        "each of its waiters makes a client of its own on the loop, some 20 ms each, and polls by blocking calls: it "
        "stands still from start to end"
    ),
}
# What takes a core or nearly that runs alone.
_LIGHT = ("limit", "limit-httpx", "ours", "ours-fixed")
_TOGETHER = (("http",), ("ours-alone", "databricks"), ("dbt", "openai"))
_TOGETHER_IF_MANY = (("http", "databricks"), ("ours-alone",), ("dbt",), ("openai",))
_DISTRIBUTIONS = (
    "apache-airflow",
    "apache-airflow-providers-http",
    "apache-airflow-providers-dbt-cloud",
    "apache-airflow-providers-databricks",
    "apache-airflow-providers-openai",
    "apache-airflow-providers-airbyte",
    "aiohttp",
    "httpx",
    "openai",
    "pydantic",
)


def plan(counts: list[int], peers: tuple[str, ...]) -> list[list[Scenario]]:
    """Which scenarios run at the same time: those that leave two cores so idle that they hardly disturb one another.

    What marks hang on (ours, and the http provider where it is compared with ours) runs alone, or beside what takes
    hundredths of a core only.
    """
    pivot = pivot_of(counts)
    few, many = [count for count in counts if count <= 100], [count for count in counts if count > 100]
    busy = [Scenario(who, count) for count in few for who in peers]
    light = [Scenario(who, count) for count in few for who in _LIGHT if count != pivot]
    light += [Scenario(who, pivot) for who in ("limit", "limit-httpx", "ours-fixed")]
    steps = [[*busy, Scenario("ours", min(1000, max(counts)), profile=True)], light, [Scenario("ours", pivot)]]
    for count in many:
        if count != pivot:
            steps += [[Scenario("limit", count)], [Scenario("ours", count)]]
        together = _TOGETHER if count <= 1000 else _TOGETHER_IF_MANY
        steps += [
            [Scenario(who, count) for who in group if who in peers and (who, count) not in SKIPPED]
            for group in together
        ]
    return [step for step in steps if step]


def run(bench: Harness, counts: list[int], peers: tuple[str, ...], scale: Scale) -> dict[str, Any]:
    figures = []
    for step in plan(counts, peers):
        print(", ".join(f"{CONTENDERS[who].label} x {count}" for who, count, _ in step), flush=True)
        figures += bench.run(step, scale)
    profiled = next(figure for figure in figures if figure.profile)
    return {
        "scale": asdict(scale),
        "figures": [{**asdict(figure), "profile": None} for figure in figures if not figure.profile],
        "profile": {"waiters": profiled.waiters, "shares": profiled.profile},
        "skipped": [
            {"who": who, "waiters": count, "reason": reason}
            for (who, count), reason in SKIPPED.items()
            if count in counts and who in peers
        ],
    }


def machine() -> dict[str, Any]:
    processors = [
        line.split(":", 1)[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": processors[0] if processors else platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": round(memory / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few waiters and short times; nothing to judge by")
    parser.add_argument("--waiters", type=int, nargs="+", help="how many waiters (default: 1 10 100 1000 5000)")
    parser.add_argument("--only", nargs="+", choices=RIVALS, default=RIVALS, help="with whom to compare (default: all)")
    parser.add_argument(
        "--output", type=Path, help="folder to write to (default: docs/benchmarks; quick: .bench/quick)"
    )
    options = parser.parse_args()
    scale = QUICK if options.quick else FULL
    scale = replace(scale, phase=round(random.uniform(0, scale.interval), 2))
    counts = options.waiters or ([1, 10] if options.quick else [1, 10, 100, 1000, 5000])
    output = options.output or (ROOT / ".bench" / "quick" if options.quick else ROOT / "docs" / "benchmarks")
    started = time.monotonic()
    results: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "versions": {"airflow-provider-cerebras": version("airflow-provider-cerebras")}
        | {name: version(name) for name in _DISTRIBUTIONS},
        "quick": options.quick,
    }
    with harness() as bench:
        print("imports", flush=True)
        imports = measure_imports(2 if options.quick else 5, bench.environment)
        results["imports"] = [asdict(cost) for cost in imports]
        print("evaluation", flush=True)
        cases, rounds = (200, 1) if options.quick else (2000, 3)
        results["evaluation"] = evaluation.measure(cases, concurrency=16, rounds=rounds).figures()
        print("weights", flush=True)
        results["weights"] = asdict(weights.measure(20 if options.quick else 300, rounds))
        results |= run(bench, counts, tuple(options.only), scale)
    results["intervals"] = [asdict(result) for result in simulate()]
    results["collections"] = [asdict(result) for result in simulate_collections()]
    results["minutes"] = round((time.monotonic() - started) / 60, 1)
    output.mkdir(parents=True, exist_ok=True)
    for figure in results["figures"]:
        # Thousands of single delays say no more than these.
        figure["delays"] = quantiles(figure.pop("delays"))
    (output / "results.json").write_text(_one_row_a_line(results), encoding="utf-8")
    write_report(results, output)
    print(f"Written to {output} after {results['minutes']} minutes.")


def quantiles(delays: list[float]) -> dict[str, float]:
    if not delays:
        return {}
    return {
        name: round(delays[min(len(delays) - 1, int(len(delays) * share))], 4)
        for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))
    }


def _one_row_a_line(results: dict[str, Any]) -> str:
    """JSON that a person can read and compare: each figure on a line of its own."""
    lines = []
    for name, value in results.items():
        rows = [json.dumps(row, separators=(",", ":")) for row in value] if isinstance(value, list) else None
        text = json.dumps(value, separators=(",", ":")) if rows is None else "[\n  " + ",\n  ".join(rows) + "\n ]"
        lines.append(f"{json.dumps(name)}: {text}")
    return "{\n " + ",\n ".join(lines) + "\n}\n"


if __name__ == "__main__":
    main()
