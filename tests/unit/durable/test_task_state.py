"""Notes between attempts: of one request, and only where Airflow keeps them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.unit.durable.world import Store, memory_of

if TYPE_CHECKING:
    import pytest


def test_notes_add_up() -> None:
    store = Store()
    memory_of(store, "key", "request-1").update(a="1")
    memory_of(store, "key", "request-1").update(b="2")
    assert memory_of(store, "key", "request-1").read() == {"a": "1", "b": "2", "request": "request-1"}


def test_notes_of_another_request_are_not_given_back_and_not_kept() -> None:
    store = Store()
    memory_of(store, "key", "request-1").update(a="1")
    memory = memory_of(store, "key", "request-2")
    assert memory.read() == {}
    memory.update(b="2")
    assert memory.read() == {"b": "2", "request": "request-2"}


def test_notes_under_another_key_are_others() -> None:
    store = Store()
    memory_of(store, "upload", "request").update(a="1")
    assert memory_of(store, "deployment", "request").read() == {}


def test_where_airflow_keeps_nothing_nothing_is_known() -> None:
    memory = memory_of(None, "key", "request")
    memory.update(a="1")
    assert memory.read() == {}


def test_what_people_read_in_the_ui_is_plain() -> None:
    store = Store()
    memory_of(store, "cerebras_upload", "airflow-1").update(model_version="orgs/o/models/m/versions/1")
    assert json.loads(json.dumps(store.content)) == {
        "cerebras_upload": {"model_version": "orgs/o/models/m/versions/1", "request": "airflow-1"}
    }


class BrokenStore(Store):
    """Airflow's API is down."""

    def get(self, key: str) -> Any:
        raise BrokenPipeError("no supervisor")

    def set(self, key: str, value: Any) -> None:
        raise BrokenPipeError("no supervisor")


def test_a_store_that_fails_fails_no_task(caplog: pytest.LogCaptureFixture) -> None:
    memory = memory_of(BrokenStore(), "key", "request")
    memory.update(a="1")
    assert memory.read() == {}
    assert "no supervisor" in caplog.text
