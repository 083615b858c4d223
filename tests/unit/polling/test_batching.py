"""What those who share a poll ask for, and whom its answers mean anything to: on plain answers, without a poll."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_cerebras.api.errors import CerebrasTransportError, error_from_response
from airflow_provider_cerebras.api.models import DeploymentRows, ModelVersion, ModelVersionRows
from airflow_provider_cerebras.polling._batching import changes, own_calls, what_to_ask
from airflow_provider_cerebras.polling.deployments import DeploymentPoller
from airflow_provider_cerebras.polling.log import WaitLog
from airflow_provider_cerebras.polling.versions import ModelVersionPoller
from tests.unit.fake_service import ARCH, version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from airflow_provider_cerebras.api.models import Listing
    from airflow_provider_cerebras.api.operations import Call
    from airflow_provider_cerebras.polling.outcome import Outcome
    from airflow_provider_cerebras.polling.pollers import Poller

START = 1_736_700_000.0
V1, V2, V3 = version(1), version(2), version(3)
BY_ALIAS = version("production")


def row(name: str, word: str = "in_progress", *aliases: str, done: bool = False) -> dict[str, Any]:
    return {"name": name, "done": done, "response": {"sync_status": word, "version_aliases": list(aliases)}}


def versions(*rows: Any) -> ModelVersionRows:
    return ModelVersionRows.model_validate({"model_versions": list(rows)})


def endpoint(*entries: Any) -> DeploymentRows:
    return DeploymentRows.model_validate({"name": "e", "deployed_models": list(entries)})


def version_poller(name: str = V1, deadline: float | None = None) -> ModelVersionPoller:
    return ModelVersionPoller(name, deadline=deadline, started=START)


def deployment_poller(deployment_id: str = "a", deadline: float | None = None) -> DeploymentPoller:
    return DeploymentPoller("e", deployment_id, deadline=deadline, started=START)


class TestWhatIsAsked:
    def test_one_asks_for_its_own(self) -> None:
        poller = version_poller(V1)
        assert what_to_ask([poller]) == poller.call

    def test_two_that_ask_for_the_same_do_too(self) -> None:
        assert what_to_ask([version_poller(V1), version_poller(V1)]) == version_poller(V1).call

    def test_two_that_do_not_ask_for_the_list(self) -> None:
        assert what_to_ask([version_poller(V1), version_poller(V2)]).path == f"/management/v1/{ARCH}/versions"

    def test_those_of_an_endpoint_ask_for_it(self) -> None:
        pollers = [deployment_poller("a"), deployment_poller("b")]
        assert what_to_ask(pollers) == what_to_ask(pollers[:1]) == pollers[1].call


class TestWhichSingleOnesComeNext:
    NOW = 1_000.0
    each_waiter = st.builds(
        version_poller,
        st.sampled_from([version(n) for n in range(1, 7)]),
        st.sampled_from([None, NOW - 1, NOW, NOW + 1]),
    )
    each_round = st.dictionaries(each_waiter.map(lambda poller: poller.call), st.integers(1, 4))

    @given(st.lists(each_waiter, max_size=12), each_round, st.integers(1, 8))
    def test_none_is_passed_over_for_one_that_is_less_urgent(
        self, pollers: list[ModelVersionPoller], asked: dict[Call[Any], int], limit: int
    ) -> None:
        def urgency(call: Call[Any]) -> tuple[bool, int]:
            deadlines = [poller.deadline for poller in pollers if poller.call == call]
            is_last_poll = any(deadline is not None and deadline <= self.NOW for deadline in deadlines)
            return not is_last_poll, asked.get(call, 0)

        calls = own_calls(pollers, now=self.NOW, asked=asked, limit=limit)
        wanted = {poller.call for poller in pollers}
        assert len(calls) == len(set(calls)) == min(limit, len(wanted))
        urgencies = [urgency(call) for call in calls]
        assert urgencies == sorted(urgencies)
        assert all(urgency(call) >= urgencies[-1] for call in wanted - set(calls))


class TestChanges:
    LISTS = (
        pytest.param(versions, row, id="versions"),
        pytest.param(endpoint, lambda name, word="": {"id": name, "state": word}, id="deployments"),
    )
    each_list = pytest.mark.parametrize(("listed", "row"), LISTS)

    @each_list
    def test_only_the_rows_that_are_not_as_they_were_have_changed(self, listed: Any, row: Any) -> None:
        before = listed(row("same"), row("other", "queued"), row("gone"))
        after = listed(row("come"), row("same"), row("other", "done"))
        changed = changes(before, after)
        assert [name in changed for name in ("same", "other", "gone", "come", "never there")] == [
            False,
            True,
            True,
            True,
            False,
        ]

    @each_list
    def test_rows_that_have_not_stay_the_objects_that_they_were(self, listed: Any, row: Any) -> None:
        """So that one answer after another makes no garbage that Python's collector would have to look for."""
        before, after = listed(row("same"), row("other", "queued")), listed(row("other", "done"), row("same"))
        changes(before, after)
        assert after.rows["same"] is before.rows["same"]
        assert after.rows == listed(row("other", "done"), row("same")).rows

    @pytest.mark.parametrize("answer", [versions(row(V1)), endpoint({"id": V1}), ModelVersion.model_validate(row(V1))])
    def test_nothing_has_where_an_answer_is_the_very_last_one(self, answer: object) -> None:
        assert V1 not in changes(answer, answer)

    @pytest.mark.parametrize(
        ("before", "after"),
        [
            (None, versions(row(V1))),
            (versions(row(V1)), CerebrasTransportError("refused")),
            (versions(row(V1)), ModelVersion.model_validate(row(V1))),
            (ModelVersion.model_validate(row(V1)), versions(row(V1))),
            (ModelVersion.model_validate(row(V1)), ModelVersion.model_validate(row(V1))),
        ],
    )
    def test_everything_may_have_where_it_cannot_be_told(self, before: object, after: object) -> None:
        assert V1 in changes(before, after)


NOBODYS: tuple[str, ...] = ()


class TestWhoMustHear:
    def test_who_has_heard_nothing_yet_must(self) -> None:
        assert version_poller().is_affected(NOBODYS, START)

    @pytest.mark.parametrize(
        ("poller", "answer"),
        [
            (version_poller(V1), versions(row(V1))),
            (version_poller(V1), ModelVersion.model_validate(row(V1))),
            (version_poller(BY_ALIAS), versions(row(V1, "queued", "production"))),
            (version_poller(V1), versions(row(V1, "a_word_that_nobody_has_seen"))),
            (deployment_poller("a"), endpoint({"id": "a", "state": "in_progress"})),
        ],
    )
    def test_who_has_heard_of_its_own_need_not_until_that_changes(self, poller: Poller[Any], answer: object) -> None:
        poller.apply(answer, START)
        assert not poller.is_affected(NOBODYS, START + 10**6)
        assert poller.is_affected({"a", V1}, START)

    @pytest.mark.parametrize(
        ("poller", "answers"),
        [
            pytest.param(version_poller(V1), [CerebrasTransportError("refused")], id="no answer"),
            pytest.param(version_poller(V1), [versions(row(V1)), OSError("secrets")], id="no answer any more"),
            pytest.param(version_poller(V1), [versions()], id="not listed yet"),
            pytest.param(version_poller(BY_ALIAS), [versions(row("odd", "queued", "production"))], id="alias only"),
            pytest.param(deployment_poller("a"), [endpoint({"id": "a"}), endpoint()], id="listed no more"),
            pytest.param(deployment_poller("a"), [endpoint()], id="never listed"),
        ],
    )
    def test_who_counts_looks_must_hear_of_each(self, poller: Poller[Any], answers: list[object]) -> None:
        for answer in answers:
            poller.apply(answer, START)
        assert poller.is_affected(NOBODYS, START)

    @pytest.mark.parametrize("make", [version_poller, deployment_poller])
    def test_who_has_reached_its_deadline_must(self, make: Callable[..., Poller[Any]]) -> None:
        poller = make(deadline=START + 10)
        poller.apply(versions(row(V1)) if make is version_poller else endpoint({"id": "a"}), START)
        assert [poller.is_affected(NOBODYS, START + after) for after in (9.9, 10)] == [False, True]


@dataclass
class Lines:
    """A log."""

    lines: list[str] = field(default_factory=list)

    def info(self, message: str, /, *args: object) -> None:
        self.lines.append(message % args)

    warning = info


@dataclass(frozen=True)
class Waiter:
    """One who waits.

    :ivar comes: by which look.
    :ivar make: its poller.
    """

    comes: int
    make: Callable[[], Poller[Any]]


NO_ANSWERS = [
    CerebrasTransportError("refused"),
    *(
        error_from_response(method="GET", url="u", status_code=status, headers=httpx.Headers(), body=b"")
        for status in (404, 503)
    ),
]
deadlines = st.none() | st.sampled_from([START + after for after in (-5, 0, 7, 59, 61, 200)])
words = st.sampled_from(["queued", "in_progress", "warming_up", "failed", None])
version_rows = st.builds(
    lambda name, word, done, aliases: {
        "name": name,
        "done": done,
        "response": {"sync_status": word, "version_aliases": aliases},
    },
    st.sampled_from([V1, V1, V2, V2, "odd", None]),
    words,
    st.sampled_from([False, False, False, True, "who knows"]),
    st.lists(st.sampled_from(["production", "staging"]), unique=True),
)
deployment_rows = st.builds(
    lambda name, state: {"id": name, "state": state},
    st.sampled_from(["a", "a", "b", "b", None, 7]),
    words | st.sampled_from(["complete", 5]),
)


def looks(listings: st.SearchStrategy[Listing], *others: object) -> st.SearchStrategy[list[tuple[float, object]]]:
    """What comes of looks one after another, and the seconds between them; None: the same body as before."""
    answers = st.none() | st.none() | listings | st.sampled_from([*NO_ANSWERS, *others])
    return st.lists(st.tuples(st.sampled_from([0.2, 2, 5, 30]), answers), max_size=12)


def outcomes(
    waiters: Sequence[Waiter], looks: Sequence[tuple[float, object]], *, all_hear: bool
) -> Iterator[tuple[list[Outcome | None], list[list[str]]]]:
    """What each of those who wait has concluded after each look, and the lines in its log."""
    pollers: list[Poller[Any] | None] = [waiter.make() for waiter in waiters]
    logs = [Lines() for _ in waiters]
    waits = [WaitLog(log, poller, poll_interval=30) for log, poller in zip(logs, pollers, strict=True) if poller]
    for wait in waits:
        wait.begin(START)
    now, last = START, None
    for number, (pause, answer) in enumerate(looks):
        now += pause
        before = last
        if answer is None and last is None:
            continue
        answer = last if answer is None else answer
        if not isinstance(answer, Exception):
            last = answer
        changed = changes(before, answer)
        found: list[Outcome | None] = []
        for each, poller in enumerate(pollers):
            is_given = poller and number >= waiters[each].comes and (all_hear or poller.is_affected(changed, now))
            found.append(waits[each].apply(answer, now) if poller and is_given else None)
            if found[-1]:
                pollers[each] = None
        yield found, [list(log.lines) for log in logs]


coming = st.integers(0, 6)


class TestToldOrNot:
    """To give a response only to those that need it is the same as to give it to all:
    each poll, each end, each line of log.
    """

    @given(
        st.lists(
            st.builds(
                Waiter,
                coming,
                st.builds(
                    lambda name, deadline: partial(version_poller, name, deadline),
                    st.sampled_from([V1, V2, V3, BY_ALIAS, version("staging")]),
                    deadlines,
                ),
            ),
            min_size=1,
            max_size=4,
        ),
        looks(
            st.lists(version_rows | st.sampled_from([None, {}]), max_size=4).map(lambda rows: versions(*rows)),
            ModelVersion.model_validate(row(V1)),
            ModelVersion.model_validate(row("odd")),
        ),
    )
    def test_of_versions(self, waiters: list[Waiter], looks: list[tuple[float, object]]) -> None:
        assert list(outcomes(waiters, looks, all_hear=False)) == list(outcomes(waiters, looks, all_hear=True))

    @given(
        st.lists(
            st.builds(
                Waiter,
                coming,
                st.builds(
                    lambda name, deadline: partial(deployment_poller, name, deadline),
                    st.sampled_from(["a", "b", "c"]),
                    deadlines,
                ),
            ),
            min_size=1,
            max_size=4,
        ),
        looks(st.lists(deployment_rows | st.sampled_from([None, {}]), max_size=4).map(lambda rows: endpoint(*rows))),
    )
    def test_of_deployments(self, waiters: list[Waiter], looks: list[tuple[float, object]]) -> None:
        assert list(outcomes(waiters, looks, all_hear=False)) == list(outcomes(waiters, looks, all_hear=True))
