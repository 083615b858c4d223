"""The page for people, as far as it can be seen without a browser; tests/browser has the rest."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from airflow_provider_cerebras.emulator.faults.rules import FaultRule

if TYPE_CHECKING:
    import httpx

PARTS = {"/": "text/html", "/_emulator/page.css": "text/css", "/_emulator/page.js": "text/javascript"}


@pytest.mark.parametrize(("path", "media_type"), PARTS.items())
async def test_each_part_may_load_and_run_only_what_the_emulator_has(
    api: httpx.AsyncClient, path: str, media_type: str
) -> None:
    answer = await api.get(path, headers={"Authorization": ""})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == f"{media_type}; charset=utf-8"
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; ")
    assert "unsafe" not in policy


async def test_the_page_names_nothing_outside_and_its_parts_are_there(api: httpx.AsyncClient) -> None:
    page = (await api.get("/")).text
    links = re.findall(r'(?:href|src)="([^"]+)"', page)
    assert set(PARTS) - {"/"} < set(links)
    for link in links:
        assert link.startswith("data:") or (await api.get(link)).status_code == 200
    assert not re.search(r"https?:", page + (await api.get("/_emulator/page.js")).text)


async def test_each_button_sends_what_the_control_plane_takes(api: httpx.AsyncClient) -> None:
    script = (await api.get("/_emulator/page.js")).text
    rows = re.findall(r'\["[^"]+", "(POST|DELETE)", "([\w/]+)", (null|\{.*?\})[\],]', script)
    assert len(rows) == 7
    for method, path, body in rows:
        content = None if body == "null" else json.loads(re.sub(r"(\w+): ", r'"\1": ', body))
        answer = await api.request(method, f"/_emulator/{path}", json=content)
        assert answer.is_success, (path, answer.text)


async def test_each_effect_of_a_rule_is_shown(api: httpx.AsyncClient) -> None:
    script = (await api.get("/_emulator/page.js")).text
    effects, subject = (script.partition(f"function {name}(")[2].partition("\n}")[0] for name in ("effects", "subject"))
    # What qualifies another one, or is a column of its own.
    elsewhere = {"request_headers", "request_body", "seed", "times", "error_style", "content_type"}
    shown = set(re.findall(r'"(\w+)"', effects + subject)) | {"operation"}
    assert set(FaultRule.model_fields) - elsewhere <= shown, "add it to effects() in page.js"


async def test_nothing_is_ever_inserted_as_html(api: httpx.AsyncClient) -> None:
    script = (await api.get("/_emulator/page.js")).text
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|\bon\w+\s*=", script)


async def test_looking_at_the_page_is_no_request_to_the_service(api: httpx.AsyncClient) -> None:
    await api.post("/_emulator/faults", json={"operation": "*", "status": 500, "times": None})
    for path in (*PARTS, "/openapi.json"):
        assert (await api.get(path)).status_code == 200
    assert (await api.get("/favicon.ico")).status_code == 204
    assert (await api.get("/_emulator/requests")).json() == {"requests": []}
