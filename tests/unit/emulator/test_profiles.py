from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

import httpx
import pytest

from airflow_provider_cerebras.emulator.faults.profiles import PROFILES, ProfileName
from airflow_provider_cerebras.emulator.server import EmulatorServer
from airflow_provider_cerebras.emulator.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

MODELS = "/management/v1/orgs/my-org/models"


@pytest.fixture(scope="module")
def server() -> Iterator[EmulatorServer]:
    with EmulatorServer(Settings(port=0)) as server:
        yield server


@pytest.fixture
def live(server: EmulatorServer) -> Iterator[httpx.Client]:
    """A client of an emulator behind a real socket, as new."""
    headers = {"Authorization": "Bearer emulator-management-key"}
    with httpx.Client(base_url=server.base_url, headers=headers, timeout=60) as client:
        client.post("/_emulator/reset")
        yield client


def seen(live: httpx.Client) -> str:
    try:
        return str(live.get(MODELS).status_code)
    except httpx.RemoteProtocolError:
        return "dropped"


def test_each_name_has_a_profile() -> None:
    assert tuple(PROFILES) == get_args(ProfileName)


def test_profiles_are_shown_with_what_they_are_and_their_rules(live: httpx.Client) -> None:
    shown = live.get("/_emulator/profiles").json()["profiles"]
    assert [each["name"] for each in shown] == list(PROFILES)
    assert all(each["description"] and each["rules"] for each in shown)


def test_in_maintenance_every_request_is_refused_until_it_is_over(live: httpx.Client) -> None:
    begun = live.post("/_emulator/profiles/maintenance")
    assert (begun.status_code, begun.json()["faults"][0]["profile"]) == (201, "maintenance")
    for _ in range(3):
        answer = live.get(MODELS)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "30")
        assert "maintenance" in answer.json()["detail"]
    assert live.post("/v1/chat/completions").json()["message"] == "The service is down for maintenance."
    assert live.delete("/_emulator/profiles/maintenance").json() == {"deleted": 1}
    assert seen(live) == "200"


def test_behind_a_cdn_that_blocks_there_is_a_web_page(live: httpx.Client) -> None:
    live.post("/_emulator/profiles/cdn-block")
    for _ in range(2):
        answer = live.get(MODELS)
        assert (answer.status_code, answer.headers["content-type"]) == (403, "text/html; charset=utf-8")
        assert (answer.headers["server"], "Access denied" in answer.text) == ("cloudflare", True)
        assert "cf-ray" in answer.headers


def test_a_limited_rate_is_about_half_of_the_requests(live: httpx.Client) -> None:
    live.post("/_emulator/profiles/rate-limited")
    answers = [live.get(MODELS) for _ in range(40)]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert 10 < len(refused) < 30
    assert {answer.headers["retry-after"] for answer in refused} == {"1"}
    assert {answer.status_code for answer in answers} == {200, 429}


def test_a_flaky_day_is_the_same_each_time(live: httpx.Client) -> None:
    days = []
    for _ in range(2):
        live.post("/_emulator/profiles/flaky")
        slow = next(fault for fault in live.get("/_emulator/faults").json()["faults"] if "delay" in fault["rule"])
        live.delete(f"/_emulator/faults/{slow['id']}")
        days.append([seen(live) for _ in range(60)])
    assert days[0] == days[1]
    assert set(days[0]) == {"200", "502", "503", "dropped"}


def test_a_profile_that_begins_again_begins_anew(live: httpx.Client) -> None:
    live.post("/_emulator/faults", json={"operation": "deploy_model", "status": 500})
    for _ in range(2):
        live.post("/_emulator/profiles/flaky")
    profiles = [fault["profile"] for fault in live.get("/_emulator/faults").json()["faults"]]
    assert profiles == [None, *["flaky"] * len(PROFILES["flaky"].rules)]


def test_an_unknown_profile_is_refused(live: httpx.Client) -> None:
    assert live.post("/_emulator/profiles/sunny").status_code == 422


async def test_a_profile_can_be_there_from_the_start_and_after_a_reset(start: Any) -> None:
    api = await start(profile="maintenance", faults=[{"operation": "deploy_model", "status": 500}])
    for _ in range(2):
        faults = (await api.get("/_emulator/faults")).json()["faults"]
        assert [fault["profile"] for fault in faults] == [None, "maintenance"]
        assert (await api.get(MODELS)).status_code == 503
        await api.post("/_emulator/reset")
