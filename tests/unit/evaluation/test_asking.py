"""Asking on virtual time: so many at once, one pause for all, and an end that leaves nothing under way."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_cerebras.api.errors import (
    BadRequest,
    CerebrasAPIError,
    CerebrasError,
    CerebrasTransportError,
    Forbidden,
    RateLimited,
    ServerError,
    Unauthorized,
    UnexpectedResponse,
)
from airflow_provider_cerebras.evaluation.asking import Progress, ask_all
from airflow_provider_cerebras.evaluation.results import Question
from tests.unit.evaluation.data_sets import data_set, result
from tests.unit.polling.virtual_time import Clock, run

if TYPE_CHECKING:
    from airflow_provider_cerebras.evaluation.results import Result


def error(kind: type[Any], status: int = 429, retry_after: float | None = None, **more: Any) -> Any:
    fields = {"method": "POST", "url": "http://x", "retry_after": retry_after, "is_from_api": True, **more}
    return kind("no", status_code=status, **fields)


class Endpoint:
    """Answers after a second.

    :param limit: how many requests it answers a second, if it limits them.
    :param retry_after: what it says to those beyond.
    :ivar trouble: what the next requests of a case end in.
    """

    def __init__(self, limit: int | None = None, retry_after: float | None = 10.0) -> None:
        self.trouble: dict[str, list[CerebrasError]] = {}
        self.asked: Counter[str] = Counter()
        self.moments: list[float] = []
        self.ended = 0
        self.most_at_once = 0
        self._limit = limit
        self._retry_after = retry_after
        self._at_once = 0

    async def ask(self, question: Question) -> Result:
        now = asyncio.get_running_loop().time()
        self.asked[question.case.id] += 1
        self.moments.append(now)
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            if self._limit is not None and sum(now - each < 1 for each in self.moments) > self._limit:
                raise error(RateLimited, retry_after=self._retry_after)
            await asyncio.sleep(1)
            if trouble := self.trouble.get(question.case.id):
                raise trouble.pop(0)
            return result(question.case.id)
        finally:
            self._at_once -= 1
            self.ended += 1


class Asked:
    """Asks an endpoint for so many cases.

    :ivar results: ids of the cases that have a result.
    :ivar took: seconds that it took.
    """

    def __init__(self, endpoint: Endpoint, cases: int, *, take: Any = None, **pacing: int) -> None:
        self.results: list[str] = []
        self.error: Exception | None = None
        clock = Clock()
        questions = (Question(case, 0) for case in data_set(cases).cases)
        pacing = {"concurrency": 4, "max_retries": 3, **pacing}

        async def ask() -> None:
            try:
                await ask_all(questions, endpoint.ask, take or self._take, **pacing)
            except (CerebrasError, LookupError) as error:
                self.error = error
            assert endpoint._at_once == 0

        run(clock, ask())
        self.took = clock.exact

    def _take(self, each: Result) -> None:
        self.results.append(each.case_id)


def test_so_many_at_once_and_each_once() -> None:
    endpoint = Endpoint()
    asked = Asked(endpoint, 40)
    assert asked.error is None
    assert asked.took == pytest.approx(10)
    assert endpoint.most_at_once == 4
    assert set(endpoint.asked.values()) == {1}
    assert len(asked.results) == 40


def test_fewer_cases_than_may_be_asked_at_once() -> None:
    assert len(Asked(Endpoint(), 2).results) == 2


class TestRateLimit:
    def test_one_pause_for_all(self) -> None:
        endpoint = Endpoint()
        endpoint.trouble["case-000001"] = [error(RateLimited, retry_after=30.0)]
        asked = Asked(endpoint, 40)
        assert asked.error is None
        assert len(asked.results) == 40
        # Four were under way; from then on no question was asked until the pause was over.
        assert [moment for moment in endpoint.moments if 1.0 < moment < 31.0] == []
        assert endpoint.moments.count(31.0) >= 4

    def test_requests_that_were_under_way_make_it_longer_and_not_another(self) -> None:
        endpoint = Endpoint()
        for number, seconds in enumerate((5.0, 30.0, 7.0, 6.0)):
            endpoint.trouble[f"case-{number:06}"] = [error(RateLimited, retry_after=seconds)]
        asked = Asked(endpoint, 4, max_retries=1)
        assert asked.error is None
        assert sorted(endpoint.moments) == [0.0] * 4 + [31.0] * 4

    def test_a_storm_is_outlasted_as_long_as_some_are_answered(self) -> None:
        endpoint = Endpoint(limit=2, retry_after=10.0)
        asked = Asked(endpoint, 40, concurrency=16)
        assert asked.error is None
        assert sorted(asked.results) == [f"case-{number:06}" for number in range(40)]

    @pytest.mark.parametrize("retry_after", [None, 10.0, 100_000.0])
    def test_a_service_that_answers_nothing_is_given_up(self, retry_after: float | None) -> None:
        endpoint = Endpoint(limit=0, retry_after=retry_after)
        asked = Asked(endpoint, 40)
        assert isinstance(asked.error, RateLimited)
        assert asked.took <= 3 * 120
        assert len(endpoint.moments) <= 16

    def test_a_pause_without_a_time_grows(self) -> None:
        endpoint = Endpoint()
        endpoint.trouble["case-000000"] = [error(RateLimited) for _ in range(4)]
        Asked(endpoint, 1, max_retries=3)
        pauses = [later - earlier - 1 for earlier, later in zip(endpoint.moments, endpoint.moments[1:], strict=False)]
        assert [low <= pause <= 2 * low for low, pause in zip((0.5, 1, 2), pauses, strict=True)] == [True] * 3


class TestErrors:
    @pytest.mark.parametrize(
        "passing",
        [
            error(ServerError, 503),
            error(ServerError, 500, retry_after=20.0),
            error(CerebrasAPIError, 408),
            error(CerebrasAPIError, 425),
            error(Forbidden, 403, is_from_api=False),
            CerebrasTransportError("no connection"),
            UnexpectedResponse("not JSON"),
        ],
    )
    def test_a_passing_one_is_outlasted_and_holds_up_no_other(self, passing: CerebrasError) -> None:
        endpoint = Endpoint()
        endpoint.trouble["case-000000"] = [passing, passing, passing]
        asked = Asked(endpoint, 40)
        assert asked.error is None
        assert endpoint.asked["case-000000"] == 4
        assert asked.results.index("case-000000") > 12

    def test_one_that_stays_ends_it(self) -> None:
        endpoint = Endpoint()
        endpoint.trouble["case-000000"] = [error(ServerError, 503)] * 4
        asked = Asked(endpoint, 400)
        assert isinstance(asked.error, ServerError)
        assert endpoint.asked["case-000000"] == 4

    @pytest.mark.parametrize("kind", [Unauthorized, BadRequest])
    def test_one_that_is_final_ends_it_and_what_is_under_way_is_not_lost(self, kind: type[Any]) -> None:
        endpoint = Endpoint()
        endpoint.trouble["case-000001"] = [error(kind, 401)]
        asked = Asked(endpoint, 40)
        assert isinstance(asked.error, kind)
        assert len(endpoint.moments) <= 8
        assert len(asked.results) == len(endpoint.moments) - 1

    def test_those_who_pause_ask_no_more(self) -> None:
        endpoint = Endpoint()
        endpoint.trouble["case-000000"] = [error(RateLimited, retry_after=60.0)]
        endpoint.trouble["case-000001"] = [error(Unauthorized, 401)]
        asked = Asked(endpoint, 40)
        assert isinstance(asked.error, Unauthorized)
        assert asked.took == pytest.approx(1)
        assert len(endpoint.moments) == 4

    def test_who_takes_the_results_may_end_it(self) -> None:
        def refuse(each: Result) -> None:
            raise LookupError(each.case_id)

        endpoint = Endpoint()
        assert isinstance(Asked(endpoint, 40, take=refuse).error, LookupError)
        assert len(endpoint.moments) <= 8


def test_progress_is_told_at_intervals_and_at_the_end() -> None:
    now = 0.0
    progress = Progress(1000, 200, interval=15.0, clock=lambda: now)
    assert progress.line(210) is None
    now = 20.0
    assert progress.line(400) == "400 of 1000 questions answered, 10.0 a second, about 60 s left."
    now = 30.0
    assert progress.line(500) is None
    now = 80.0
    assert progress.line(1000) == "1000 of 1000 questions answered, 10.0 a second."
