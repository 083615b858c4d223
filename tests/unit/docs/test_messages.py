"""The list of messages is as the code has it, and lacks none."""

from __future__ import annotations

import message_texts
import messages
import pytest

from airflow_provider_cerebras.weights.findings import KINDS

PAGE = messages.FILE.read_text("utf-8")
LINES = sorted({line for each in message_texts.read_code() for line in each.logs if message_texts.has_words(line)})


def test_it_is_as_make_messages_writes_it() -> None:
    assert messages.render() == PAGE, "is the change meant? Then: make messages"


def test_what_is_filled_in_is_shown_as_code() -> None:
    text = "Connection \0conn_id\1\0end\1: set max_retries, or --port <n>, in `host`."
    assert messages.shown(text) == "Connection `{conn_id}{end}`: set `max_retries`, or `--port` \\<n\\>, in `host`."
    assert not any(mark in PAGE for mark in ("\0", "\1", "None`"))


def test_each_error_has_a_text() -> None:
    errors = [name for module in messages.GROUPS.values() for name in messages.public_errors(module)]
    sections = {name: PAGE.partition(f"\n### `{name}`\n")[2].partition("\n##")[0] for name in errors}
    assert [name for name, section in sections.items() if section and "\n* " not in section] == []
    assert [name for name, section in sections.items() if not section] == ["CerebrasError", "CerebrasAPIError"]


@pytest.mark.parametrize("code", KINDS)
def test_each_code_of_a_finding_is_there(code: str) -> None:
    assert f"\n| `{code}` | " in PAGE


def test_a_line_of_the_log_that_is_not_explained_is_an_error() -> None:
    with pytest.raises(ValueError, match="Something new"):
        list(messages.log_lines([*LINES, "Something new: \0error\1"]))
