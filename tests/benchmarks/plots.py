"""The plots, as SVG files. Matplotlib is imported where it is used: only the extra `docs` installs it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.benchmarks.contenders import CONTENDERS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def write_plots(results: dict[str, Any], folder: Path) -> None:
    """Write all plots.

    :param results: what ``results.json`` holds.
    :param folder: where to write to.
    """
    import matplotlib as mpl

    mpl.use("svg")
    # The same figures make the same file.
    mpl.rcParams.update({"svg.hashsalt": "benchmark", "font.size": 9, "axes.grid": True, "grid.alpha": 0.3})
    _by_waiters(
        results,
        folder / "cpu.svg",
        "CPU seconds of the loop's process per 1,000 waiter-minutes",
        lambda figure: figure["cpu"] / (figure["waited"] / 60) * 1000,
    )
    _by_waiters(results, folder / "requests.svg", "requests", lambda figure: figure["requests"])
    _by_waiters(
        results,
        folder / "delay.svg",
        "completion to event, p99, seconds",
        lambda figure: figure["delays"].get("p99", float("nan")),
    )
    _by_waiters(
        results, folder / "stall.svg", "longest stall of the loop, milliseconds", lambda figure: figure["stall"] * 1000
    )
    _intervals(results, folder / "intervals.svg")
    _imports(results, folder / "imports.svg")


def _by_waiters(results: dict[str, Any], path: Path, title: str, value: Callable[[dict[str, Any]], float]) -> None:
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4))
    for who, contender in CONTENDERS.items():
        points = sorted((one["waiters"], value(one)) for one in results["figures"] if one["who"] == who)
        if points:
            axes.plot(
                *zip(*points, strict=True),
                marker="o",
                markersize=3,
                label=contender.label,
                linestyle="--" if who == "limit" else "-",
                linewidth=2.5 if who == "ours" else 1.2,
            )
    axes.set(xscale="log", yscale="log", xlabel="waiters", title=title)
    axes.legend(fontsize=8)
    _save(figure, path)


def _intervals(results: dict[str, Any], path: Path) -> None:
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(1, 2, figsize=(9, 4))
    for policy in dict.fromkeys(result["policy"] for result in results["intervals"]):
        rows = [result for result in results["intervals"] if result["policy"] == policy]
        minutes = [row["duration"] / 60 for row in rows]
        width = 2.5 if policy.startswith("ours") else 1.2
        panels[0].plot(minutes, [row["requests"] for row in rows], label=policy, linewidth=width)
        panels[1].plot(minutes, [row["mean_delay"] for row in rows], label=policy, linewidth=width)
    for panel, title in zip(panels, ("requests by job", "mean delay, seconds"), strict=True):
        panel.set(xscale="log", yscale="log", xlabel="minutes that the job takes", title=title)
    panels[0].legend(fontsize=8)
    _save(figure, path)


def _imports(results: dict[str, Any], path: Path) -> None:
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 2.6))
    costs = results["imports"][::-1]
    axes.barh([cost["who"] for cost in costs], [cost["median"] * 1000 for cost in costs])
    axes.set(title="import of operators and sensors on top of airflow.sdk, milliseconds of CPU")
    _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    from matplotlib import pyplot as plt

    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
