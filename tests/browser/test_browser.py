"""The fixture itself: what it starts is a browser that sees what a person would, and remembers nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

if TYPE_CHECKING:
    from selenium.webdriver.remote.webdriver import WebDriver

pytestmark = pytest.mark.browser


def test_it_runs_scripts_and_tells_what_can_be_seen(browser: WebDriver) -> None:
    page = "<p>seen</p><p hidden>not seen</p><script>document.title = 'run'</script>"
    browser.get(f"data:text/html,{quote(page)}")
    assert browser.title == "run"
    assert [each.is_displayed() for each in browser.find_elements("css selector", "p")] == [True, False]
