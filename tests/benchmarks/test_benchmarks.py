"""The harness of the benchmark measures what it says; how fast anything is, is not asked here."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.benchmarks import emulator, evaluation, marks, weights
from tests.benchmarks.__main__ import plan
from tests.benchmarks.harness import Scale, Scenario, harness
from tests.benchmarks.intervals import DURATIONS, expected_polls, polls, shared_polls, simulate, simulate_collections
from tests.benchmarks.server import World, answer
from tests.benchmarks.waiters import Figures, package_of

WHO = ("limit", "limit-httpx", "ours", "ours-alone")
SCALE = Scale(interval=0.5, duration=2.0, limit=30.0)


@pytest.fixture(scope="module")
def figures() -> dict[str, Figures]:
    with harness() as bench:
        runs = bench.run([Scenario(who, 24) for who in WHO], SCALE)
        return {run.who: run for run in runs}


@pytest.mark.parametrize("who", WHO)
def test_every_waiter_learns_of_its_job_after_it_is_done(figures: dict[str, Figures], who: str) -> None:
    assert figures[who].events == 24
    assert len(figures[who].delays) == 24
    assert figures[who].delays[0] > -0.001


@pytest.mark.parametrize("who", ["limit", "limit-httpx"])
def test_the_limit_has_a_connection_for_each_collection(figures: dict[str, Figures], who: str) -> None:
    assert figures[who].connections == 8
    assert figures[who].requests >= 8


def test_ours_has_two_connections_at_most(figures: dict[str, Figures]) -> None:
    assert figures["ours"].connections <= 2


def test_each_lone_poll_has_a_connection_of_its_own(figures: dict[str, Figures]) -> None:
    assert figures["ours-alone"].connections > figures["ours"].connections


def test_figures_are_in_order(figures: dict[str, Figures]) -> None:
    for run in figures.values():
        assert run.cpu > 0
        assert run.elapsed >= SCALE.duration
        assert run.stall > 0
        assert run.waited == pytest.approx(24 * SCALE.duration * (1 + 1 / 24) / 2)


def test_jobs_end_one_after_another() -> None:
    world = World(jobs=16, duration=1000.0)
    assert world.done() == 0
    world.begin()
    world.start -= 125.0
    assert [job for job in range(16) if world.is_done(str(job))] == [0, 1]


@pytest.mark.parametrize(
    ("target", "body"),
    [
        ("/management/v1/orgs/bench/models/arch-1/versions", b""),
        ("/management/v1/orgs/bench/models/arch-1/versions/1", b""),
        ("/management/v1/orgs/bench/models/warm-up/versions/0", b""),
        ("/management/v1/endpoints/endpoint-5", b""),
        ("/jobs/warm-up", b""),
        ("/api/v2/accounts/1/runs/2/", b""),
        ("/api/2.2/jobs/runs/get", b'{"run_id": 2}'),
        ("/v1/batches/batch-1", b""),
    ],
)
def test_the_server_knows_the_call(target: str, body: bytes) -> None:
    assert answer(World(jobs=16, duration=1.0), target, body)[0] == 200


def test_the_list_of_a_collection_holds_its_jobs_only() -> None:
    assert World(jobs=16, duration=1.0).collection(1).count(b"/versions/") == 2


def test_the_simulation_finds_the_promised_delay() -> None:
    # A tenth of the time waited, a tenth more by the jitter, or the floor.
    ours = [result for result in simulate() if result.policy.startswith("ours")]
    assert [result.duration for result in ours] == list(DURATIONS)
    assert all(result.worst_delay <= max(2.2, 0.13 * result.duration) for result in ours)


def test_polls_at_a_fixed_interval_can_be_counted() -> None:
    assert polls(lambda waited: 5.0, 60.0) == (13, 0.0)
    assert polls(lambda waited: 5.0, 61.0) == (14, 4.0)
    assert expected_polls(60.0, 5.0) > 13


def test_the_phase_puts_the_end_of_each_job_off() -> None:
    world = World(jobs=1, duration=60.0, phase=3.5)
    world.begin()
    world.start -= 63.4
    assert world.done() == 0
    world.start -= 0.2
    assert world.done() == 1


def test_polls_at_a_collection_can_be_counted() -> None:
    assert shared_polls(lambda waited: 5.0, [(0.0, 7.0)]) == (3, [3.0])
    # The second one comes at 6 and is owed a poll; from then on the interval counts from there.
    assert shared_polls(lambda waited: 5.0, [(0.0, 7.0), (6.0, 20.0)]) == (6, [4.0, 1.0])


def test_the_shorter_intervals_at_the_beginning_halve_the_delay_of_those_who_share() -> None:
    by = {(one.policy, one.waiters, one.staggered): one for one in simulate_collections()}
    for waiters, staggered in ((1, False), (10, True)):
        assert by["ours, at most 5 s", waiters, staggered].p50 < by["fixed, 5 s", waiters, staggered].p50


def test_marks_compare_with_the_cheapest_peer_and_with_bare_requests() -> None:
    cpu = {"ours-fixed": 0.03, "limit-httpx": 0.02, "http": 0.04, "databricks": 0.02}
    figures = [{"who": who, "waiters": 10, "cpu": seconds, "requests": 10} for who, seconds in cpu.items()]
    found = [(mark.found[:6], mark.reached) for mark in marks.at_every_scale({"figures": figures})]
    assert found == [("1.50 x", True), ("1.50 x", False)]
    costs = [("airbyte", 0.02), ("ours", 0.009), ("http", 0.05)]
    imports = [{"who": who, "median": seconds, "least": seconds} for who, seconds in costs]
    assert [mark.reached for mark in marks.of_imports({"imports": imports})] == [True, True]


def test_few_waiters_are_measured_beside_bare_requests_too() -> None:
    together = [
        {scenario.who for scenario in step if scenario.waiters == 10} for step in plan([1, 10, 1000], ("http",))
    ]
    assert {"limit", "limit-httpx", "ours", "ours-fixed"} in together


def test_a_profile_names_packages() -> None:
    assert package_of("/x/lib/python3.11/site-packages/httpx/_client.py") in {"httpx", "built in"}
    assert package_of("/x/airflow_provider_cerebras/polling.py") == "airflow_provider_cerebras"
    assert package_of("~") == "built in"


def test_a_parse_of_a_dag_loads_neither_triggers_nor_models_of_the_database() -> None:
    """Either needs modules of Airflow that take as long to import as half of this provider."""
    pytest.importorskip("airflow.sdk")
    program = (
        "import sys; from airflow.sdk import BaseOperator, BaseSensorOperator\n"
        "from airflow_provider_cerebras.operators import endpoints, model_versions\n"
        "from airflow_provider_cerebras.sensors import endpoints, model_versions\n"
        "names = ['airflow.triggers.base', 'airflow.models.xcom', 'asgiref.sync']\n"
        "names += ['airflow_provider_cerebras.weights.policy']\n"
        "print([name for name in names if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "[]"


def test_a_check_of_weights_is_compared_with_the_bare_requests() -> None:
    cost = weights.measure(shards=3, rounds=2)

    # The listing, the configuration, the index, and the beginning of each shard.
    assert (cost.shards, cost.requests) == (3, 6)
    assert min(cost.seconds, cost.cpu, cost.bare_seconds, cost.bare_cpu) > 0


def test_an_evaluation_is_compared_with_the_bare_requests() -> None:
    comparison = evaluation.measure(cases=20, concurrency=4, rounds=2)
    assert (len(comparison.bare), len(comparison.ours)) == (2, 2)
    assert comparison.ratio("cpu") > 0
    assert "20 cases at concurrency 4" in str(comparison)


def test_the_figures_of_the_emulator_can_be_had_and_are_a_table() -> None:
    text = emulator.table(emulator.measure(versions=20, seconds=0.1))
    rows = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith("| what")]
    assert len(rows) == 6
    assert all(row.endswith(" ms |") for row in rows)
