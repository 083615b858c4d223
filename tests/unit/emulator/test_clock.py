from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_cerebras.emulator.service.clock import Anchor, BackwardsInTime, EmulatedClock

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

START = 1_736_700_000.25
ORG = "/management/v1/orgs/my-org"
VERSIONS = f"{ORG}/models/gpt-oss-120b/versions"
WEIGHTS = {"model_arch_id": "gpt-oss-120b", "model": {"weight_uri": "s3://bucket/weights"}}


class Machine:
    """The machine's time."""

    now = START

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def machine() -> Machine:
    return Machine()


def test_it_follows_the_machine(machine: Machine) -> None:
    clock = EmulatedClock(machine)
    assert clock() == START
    machine.now += 7
    assert clock() == START + 7


def test_it_can_be_faster(machine: Machine) -> None:
    clock = EmulatedClock(machine, scale=60)
    machine.now += 7
    assert clock() == START + 7 * 60


def test_it_can_jump_ahead_and_runs_on_from_there(machine: Machine) -> None:
    clock = EmulatedClock(machine, scale=2)
    clock.move(by=100)
    machine.now += 1
    assert clock() == START + 102
    clock.move(to=START + 1000)
    machine.now += 1
    assert clock() == START + 1002


def test_it_can_stand_still_and_run_on(machine: Machine) -> None:
    clock = EmulatedClock(machine)
    clock.move(frozen=True)
    machine.now += 100
    assert clock() == START
    clock.move(by=5)
    assert clock() == START + 5
    clock.move(frozen=False)
    machine.now += 1
    assert clock() == START + 6


def test_it_refuses_to_go_back_and_stays_what_it_was(machine: Machine) -> None:
    clock = EmulatedClock(machine)
    with pytest.raises(BackwardsInTime, match=f"it is {START}, and {START - 1} is before that"):
        clock.move(to=START - 1, frozen=True)
    machine.now += 1
    assert clock() == START + 1


def test_it_does_not_go_back_with_the_machines(machine: Machine) -> None:
    clock = EmulatedClock(machine)
    machine.now += 10
    assert clock() == START + 10
    machine.now -= 5
    assert clock() == START + 10


def test_an_earlier_clock_is_taken_up_as_if_it_had_run_on(machine: Machine) -> None:
    earlier = EmulatedClock(machine)
    earlier.move(by=1000)
    anchor = earlier.anchor
    machine.now += 60
    clock = EmulatedClock(machine)
    clock.resume(anchor)
    assert clock() == START + 1060


def test_one_that_stood_still_stands_still_after_it_was_taken_up(machine: Machine) -> None:
    earlier = EmulatedClock(machine)
    earlier.move(by=1000, frozen=True)
    anchor = earlier.anchor
    machine.now += 60
    clock = EmulatedClock(machine)
    clock.resume(anchor)
    assert (clock(), clock.frozen) == (START + 1000, True)


def test_one_that_is_taken_up_on_a_machine_that_was_set_back_does_not_go_back(machine: Machine) -> None:
    clock = EmulatedClock(machine)
    clock.resume(Anchor(real=START + 500, emulated=START + 500))
    assert clock() == START + 500


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["pass", "set back", "by", "to", "freeze", "run", "resume"]), st.floats(0, 1e5)),
        max_size=20,
    ),
    scale=st.floats(0.01, 1000),
)
def test_whatever_is_done_to_it_it_never_goes_back(steps: list[tuple[str, float]], scale: float) -> None:
    machine = Machine()
    clock = EmulatedClock(machine, scale)
    latest = clock()
    for step, amount in steps:
        match step:
            case "pass":
                machine.now += amount
            case "set back":
                machine.now -= amount
            case "by":
                clock.move(by=amount)
            case "to":
                clock.move(to=latest + amount)
            case "freeze" | "run":
                clock.move(frozen=step == "freeze")
            case "resume":
                anchor = clock.anchor
                clock = EmulatedClock(machine, scale)
                clock.resume(anchor)
        assert clock() >= latest
        latest = clock()


async def move(api: httpx.AsyncClient, **what: Any) -> dict[str, Any]:
    moved: dict[str, Any] = (await api.post("/_emulator/clock", json=what)).raise_for_status().json()
    return moved


async def test_a_test_jumps_a_sync_of_three_hours(start: Any) -> None:
    api = await start(sync_seconds=10_800)
    await api.post(f"{ORG}/models:upload", json=WEIGHTS)
    assert await move(api, advance=10_799) == {"now": START + 10_799, "frozen": False, "scale": 1}
    assert (await api.get(f"{VERSIONS}/1")).json()["done"] is False
    await move(api, set=START + 10_800)
    assert (await api.get(f"{VERSIONS}/1")).json()["done"] is True


async def test_while_time_stands_still_nothing_gets_done(
    api: httpx.AsyncClient, advance: Callable[[float], None]
) -> None:
    await move(api, frozen=True)
    await api.post(f"{ORG}/models:upload", json=WEIGHTS)
    advance(1e6)
    assert (await api.get(f"{VERSIONS}/1")).json()["response"]["sync_status"] == "queued"
    await move(api, advance=10)
    assert (await api.get(f"{VERSIONS}/1")).json()["done"] is True
    assert (await api.get("/_emulator/clock")).json() == {"now": START + 10, "frozen": True, "scale": 1}


async def test_time_can_go_faster(start: Any, advance: Callable[[float], None]) -> None:
    api = await start(sync_seconds=600, time_scale=60)
    await api.post(f"{ORG}/models:upload", json=WEIGHTS)
    advance(9)
    assert (await api.get(f"{VERSIONS}/1")).json()["done"] is False
    advance(1)
    assert (await api.get(f"{VERSIONS}/1")).json()["done"] is True


async def test_all_times_are_of_the_one_clock(api: httpx.AsyncClient) -> None:
    await move(api, advance=5000, frozen=True)
    await api.post(f"{ORG}/models:upload", json=WEIGHTS)
    await move(api, advance=10)
    name = {"model": "orgs/my-org/models/gpt-oss-120b/versions/1"}
    deployed = (await api.post("/management/v1/endpoints/my-org-gpt-oss-120b:deployModel", json=name)).json()
    assert deployed["response"]["created"] == int(START + 5010)
    state = (await api.get("/_emulator/state")).json()
    assert (state["now"], state["versions"][0]["created"]) == (START + 5010, START + 5000)
    logged = (await api.get("/_emulator/requests")).json()["requests"]
    assert [entry["time"] for entry in logged] == [START + 5000, START + 5010]


async def test_time_does_not_go_back(api: httpx.AsyncClient) -> None:
    refused = await api.post("/_emulator/clock", json={"set": START - 1})
    assert refused.status_code == 409
    assert refused.json()["detail"].startswith("Time does not go back")
    assert (await api.get("/_emulator/clock")).json()["now"] == START


@pytest.mark.parametrize("what", [{}, {"advance": -1}, {"set": START, "advance": 1}, {"step": 1}, {"set": None}])
async def test_what_a_clock_cannot_do_is_refused(api: httpx.AsyncClient, what: dict[str, Any]) -> None:
    assert (await api.post("/_emulator/clock", json=what)).status_code == 422


async def test_a_reset_goes_back_to_the_machines_time(api: httpx.AsyncClient) -> None:
    await move(api, advance=5000, frozen=True)
    await api.post("/_emulator/reset")
    assert (await api.get("/_emulator/clock")).json() == {"now": START, "frozen": False, "scale": 1}
