"""The log of a wait, line by line: what is logged when, in which words, and how much of it."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from airflow_provider_cerebras.api.errors import error_from_response
from airflow_provider_cerebras.api.models import ModelVersion
from airflow_provider_cerebras.polling.log import MAX_LINES_PER_HOUR, WaitLog, duration
from airflow_provider_cerebras.polling.reconnection import ConnectionNotFound
from airflow_provider_cerebras.polling.versions import ModelVersionPoller
from tests.unit.fake_service import version

if TYPE_CHECKING:
    from collections.abc import Iterable

START = 1_736_700_000.0
V1 = version(1)
UNTIL = "2025-01-13T16:40:00+00:00"
SUBJECT = f"Model version {V1}"


def down(**headers: str) -> Exception:
    return error_from_response(
        method="GET",
        url="https://api.cerebras.ai/x",
        status_code=503,
        headers=httpx.Headers({name.replace("_", "-"): value for name, value in headers.items()}),
        body=b'{"detail": "be right back."}',
    )


def going(word: str, *, done: bool = False) -> ModelVersion:
    return ModelVersion.model_validate({"name": V1, "done": done, "response": {"sync_status": word}})


class Wait:
    """A wait whose lines are kept, each with the seconds since its start."""

    def __init__(self, deadline: float | None = None, poll_interval: float = 30) -> None:
        poller = ModelVersionPoller(V1, deadline=deadline, started=START)
        self.poller = poller
        self.log = WaitLog(self, poller, poll_interval=poll_interval)
        self.lines: list[tuple[float, str, str]] = []
        self.after = 0.0

    def info(self, message: str, /, *args: object) -> None:
        self.lines.append((self.after, "info", message % args))

    def warning(self, message: str, /, *args: object) -> None:
        self.lines.append((self.after, "warning", message % args))

    def apply(self, *polls: tuple[float, Any]) -> None:
        for self.after, response in polls:
            self.log.apply(response, START + self.after)

    def begin(self) -> Wait:
        self.log.begin(START)
        return self

    def flap(self, responses: Iterable[Any], seconds: range) -> None:
        self.apply(*zip(seconds, itertools.cycle(responses), strict=False))

    def most_in_an_hour(self) -> int:
        times = [after for after, *_ in self.lines]
        return max(sum(time <= other < time + 3600 for other in times) for time in times)


def test_a_wait_with_outages_from_its_beginning_to_its_end() -> None:
    wait = Wait(deadline=START + 86_400).begin()
    wait.apply(
        (0, going("queued")),
        (10, going("queued")),
        (100, going("in_progress")),
        (599, going("in_progress")),
        (600, going("in_progress")),
        (700, down()),
        (800, down()),
        (1200, down()),
        (1500, going("in_progress")),
        (1600, down(retry_after="77")),
        (1700, going("queued")),
        (1800, going("queued")),
        (2000, going("in_progress")),
        (2100, going("done", done=True)),
    )
    trouble = f"{SUBJECT} cannot be polled: GET https://api.cerebras.ai/x answered 503: be right back."
    follows = "then less often, up to every 120 s, and a line follows when polls succeed again."
    assert wait.lines == [
        (0, "info", f"Waiting until {UNTIL}: {SUBJECT}. Polled every 2 to 30 s; its state is logged every 10 min."),
        (0, "info", f"{SUBJECT}: sync_status 'queued'."),
        (100, "info", f"{SUBJECT}: sync_status 'in_progress'."),
        (600, "info", f"{SUBJECT}: sync_status 'in_progress' for 8 min 20 s. Next poll in about 30 s."),
        (700, "warning", f"{trouble} It will be polled again in about 60 s, {follows}"),
        (1200, "warning", f"{trouble} The last 3 polls failed, for 8 min 20 s. Next poll in about 120 s."),
        (1500, "info", f"{SUBJECT} is polled again, after 13 min 20 s: sync_status 'in_progress'."),
        (1600, "warning", f"{trouble} It will be polled again in about 77 s, {follows}"),
        (1700, "info", f"{SUBJECT} is polled again, after 1 min 40 s: sync_status 'queued'."),
        (1800, "info", f"{SUBJECT}: sync_status 'queued' for 1 min 40 s. Next poll in about 30 s."),
        (2000, "info", f"{SUBJECT}: sync_status 'in_progress'."),
        (2100, "info", f"{SUBJECT} is synced."),
    ]


def refused() -> Exception:
    body = b'{"detail": "wrong key."}'
    return error_from_response(
        method="GET", url="https://api.cerebras.ai/x", status_code=401, headers=httpx.Headers(), body=body
    )


REFUSED = f"{SUBJECT} cannot be polled: GET https://api.cerebras.ai/x answered 401: wrong key. {refused().hint}"  # type: ignore[attr-defined]
ENDS = f"{REFUSED} The wait ends after 3 such polls, over 1 min or more, if none in between succeeds."


def test_of_polls_that_end_the_wait_it_is_said_when_they_do_so() -> None:
    wait = Wait()
    wait.apply((0, going("queued")), (10, refused()), (40, refused()), (50, going("queued")))
    assert wait.lines == [
        (10, "warning", ENDS),
        (50, "info", f"{SUBJECT} is polled again, after 40 s: sync_status 'queued'."),
    ]


def test_an_outage_that_becomes_a_refusal_is_said_to_end_the_wait_once() -> None:
    wait = Wait()
    wait.apply((0, going("queued")), (10, down()), (20, refused()), (30, down()), (40, refused()), (50, refused()))
    assert [line for line in wait.lines if line[2] == ENDS] == [(20, "warning", ENDS)]


def test_a_connection_that_is_not_found_ends_it_later() -> None:
    wait = Wait()
    wait.apply((0, going("queued")), (10, ConnectionNotFound("Connection 'mine' was not found on host worker-1")))
    (line,) = wait.lines
    assert line[2].startswith(f"{SUBJECT} cannot be polled: Connection 'mine' was not found on host worker-1. ")
    assert line[2].endswith(" The wait ends after 3 such polls, over 10 min or more, if none in between succeeds.")


def test_where_it_ends_after_another_time_that_is_said_as_well() -> None:
    lost = ConnectionNotFound("Connection 'mine' was not found on host worker-1")
    wait = Wait()
    wait.apply((0, going("queued")), (10, lost), (40, refused()), (50, lost), (60, refused()), (80, down()))
    ends = [line for line in wait.lines if "The wait ends" in line[2]]
    assert [(when, words.partition(" or more")[0][-11:]) for when, _, words in ends] == [
        (10, "over 10 min"),
        (40, " over 1 min"),
    ]


def test_of_a_wait_that_goes_on_whatever_comes_no_end_is_said() -> None:
    wait = Wait()
    wait.poller.can_give_up = False
    wait.apply((0, going("queued")), (10, refused()), (20, refused()))
    assert "It will be polled again" in wait.lines[0][2]
    assert not [line for line in wait.lines if "The wait ends" in line[2]]


def test_a_wait_without_a_deadline_says_so() -> None:
    polled = "Polled every 0.5 to 0.5 s; its state is logged every 10 min."
    assert Wait(poll_interval=0.5).begin().lines == [(0, "info", f"Waiting without a deadline: {SUBJECT}. {polled}")]


def test_a_wait_that_goes_on_in_another_log_begins_with_its_next_change() -> None:
    wait = Wait()
    wait.apply((0, going("queued")), (5_000, going("in_progress")))
    assert wait.lines == []
    wait.apply((5_010, down()), (5_020, going("in_progress")))
    assert [level for _, level, _ in wait.lines] == ["warning", "info"]
    wait.lines.clear()
    wait.log.resume(START + 6_000)
    wait.apply((6_010, going("queued")), (6_599, going("queued")), (6_600, going("queued")))
    assert wait.lines == [
        (6_010, "info", f"{SUBJECT}: sync_status 'queued'."),
        (6_600, "info", f"{SUBJECT}: sync_status 'queued' for 9 min 50 s. Next poll in about 30 s."),
    ]


def test_a_state_counts_from_where_the_log_begins() -> None:
    wait = Wait()
    wait.apply((0, going("queued")))
    wait.log.resume(START + 6_000)
    wait.apply((6_599, going("queued")), (6_600, going("queued")))
    assert wait.lines == [(6_600, "info", f"{SUBJECT}: sync_status 'queued' for 10 min. Next poll in about 30 s.")]


def test_a_failure_is_logged_by_the_task_alone() -> None:
    wait = Wait()
    wait.apply((0, going("failed", done=True)))
    assert wait.lines == []


@pytest.mark.parametrize(
    "responses", [(going("queued"), going("in_progress")), (going("queued"), down()), (down(), going("a"), going("b"))]
)
def test_whatever_the_service_does_an_hour_has_few_lines(responses: Iterable[Any]) -> None:
    wait = Wait().begin()
    wait.flap(responses, range(0, 10_000, 7))
    assert MAX_LINES_PER_HOUR - 2 <= wait.most_in_an_hour() <= MAX_LINES_PER_HOUR


def test_lines_that_were_left_out_are_counted_in_the_next_report() -> None:
    wait = Wait().begin()
    wait.flap((going("queued"), going("in_progress")), range(0, 4_300, 10))
    reports = [(after, line.partition(" 30 s.")[2]) for after, _, line in wait.lines if "Next poll" in line]
    left_out = (48, 60, 60, 60, 60, 59, 48)
    assert reports == [
        (600 * (index + 1), f" {number} lines about changes were left out.") for index, number in enumerate(left_out)
    ]
    changes = [after for after, _, line in wait.lines[1:] if "Next poll" not in line]
    assert changes == [*range(0, 130, 10), *range(3_600, 3_730, 10)]


def test_an_outage_is_logged_with_its_end_or_not_at_all() -> None:
    wait = Wait().begin()
    wait.flap((going("queued"), down()), range(0, 4_300, 7))
    outages = [(after, "again, after 7 s" in line) for after, _, line in wait.lines if " again" in line]
    begun = [*range(7, 84, 14), *range(3_619, 3_696, 14)]
    assert outages == [(after + late, late > 0) for after in begun for late in (0, 7)]
    assert "polled again in about 4 s" in wait.lines[2][2]
    assert "74 lines about changes were left out" in wait.lines[14][2]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"), (59.4, "59 s"), (59.5, "1 min"), (61, "1 min 1 s"), (3_599, "59 min 59 s"),
        (3_600, "1 h 0 min"), (7_290, "2 h 1 min"),
    ],
)  # fmt: skip
def test_durations_are_for_people(seconds: float, text: str) -> None:
    assert duration(seconds) == text
