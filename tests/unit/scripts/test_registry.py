"""The file for the public registry of providers says what the provider info and the docstrings say now."""

from __future__ import annotations

import pytest
import registry
import yaml

from airflow_provider_cerebras import get_provider_info
from airflow_provider_cerebras.version_compat import AIRFLOW_V_3_3_PLUS

ENTRY = yaml.safe_load(registry.FILE.read_text("utf-8"))


@pytest.mark.skipif(not AIRFLOW_V_3_3_PLUS, reason="one of its entries came with Airflow 3.3")
def test_it_is_as_make_registry_writes_it() -> None:
    assert registry.FILE.read_text("utf-8") == registry.render()


def test_it_is_found_by_the_package_s_name_and_shows_something_of_each_kind() -> None:
    assert ENTRY["package-name"] == get_provider_info()["package-name"]
    for room in (*registry.ROOMS, "other"):
        assert ENTRY[room]
        for entry in ENTRY[room]:
            assert set(entry) == {"module", "description"}
            assert all(entry.values())
