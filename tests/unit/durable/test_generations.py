"""The generation of an attempt is the same over retries and another one after each clear, whatever Airflow counts."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_cerebras.api.errors import UnexpectedResponse
from airflow_provider_cerebras.durable.generations import Chosen, Ledger, Note, Turn, choose, highest_generation
from airflow_provider_cerebras.durable.identity import Identity
from airflow_provider_cerebras.emulator.api.operations import OperationName
from tests.unit.durable.world import ARCH, BASE, CLEARED, FIRST, ORG, Attempt, Mishap, Service, Store


@dataclass
class Task:
    """A task of a run as Airflow keeps it, and what its uploads have left at the service.

    :ivar made: the generations that have a version.
    """

    retries: int
    store: Store | None
    max_tries: int = 0
    attempt: int = 0
    clears: int | None = 0
    made: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.max_tries = self.retries

    def clear(self, *, counted: bool = True) -> None:
        """A user clears it; Airflow counts the clear only if it resets the run as well."""
        self.max_tries = self.attempt + self.retries
        if counted and self.clears is not None:
            self.clears += 1

    def run(self, *, ends: bool) -> int:
        """Run one attempt, and return its generation.

        :param ends: whether it comes to its end; if not, it dies after it has made its version.
        """
        self.attempt += 1
        ti = SimpleNamespace(max_tries=self.max_tries, try_number=self.attempt)
        context: Any = {"ti": ti, "dag_run": SimpleNamespace(clear_number=self.clears)}
        if self.store is not None:
            context["task_state_store"] = self.store
        identity = Identity(BASE, self.max_tries, self.attempt)
        ledger = Ledger(context, identity, self.retries)
        chosen, begins = ledger.identify(lambda: max(self.made, default=-1))
        ledger.begin()
        if begins or chosen.generation not in self.made:
            self.made.append(chosen.generation)
        if ends:
            Ledger(context, identity, self.retries).end()
        return chosen.generation


CLEARS = st.lists(
    st.tuples(
        st.integers(0, 4).map(lambda retries: ("edit", retries)) | st.none(),
        st.booleans(),
        st.integers(0, 3),
    ),
    max_size=5,
)


@pytest.mark.parametrize("stored", [True, False], ids=["noted", "not noted"])
@given(retries=st.integers(0, 4), first_retries=st.integers(0, 3), clears=CLEARS)
def test_a_retry_repeats_and_a_clear_begins_anew(
    stored: bool, retries: int, first_retries: int, clears: list[Any]
) -> None:
    """Retries may be edited before each clear; each generation ends by itself, after some retries."""
    task = Task(retries, Store() if stored else None)
    seen: list[int] = []
    for number, (edit, counted, wanted) in enumerate([(None, True, first_retries), *clears]):
        if edit:
            task.retries = edit[1]
        if number:
            task.clear(counted=counted)
        again = min(wanted, task.retries)
        generations = [task.run(ends=attempt == again) for attempt in range(again + 1)]
        assert len(set(generations)) == 1, "a retry made another version"
        assert generations[0] not in seen, "a clear adopted an old version"
        assert not seen or generations[0] > max(seen), "the newer one would not get the aliases"
        seen.append(generations[0])


@given(retries=st.integers(1, 4), edited=st.integers(0, 4), others=st.integers(0, 2))
def test_an_edit_between_two_attempts_changes_nothing_where_notes_are_kept(
    retries: int, edited: int, others: int
) -> None:
    task = Task(retries, Store())
    first = task.run(ends=False)
    task.retries = edited
    assert task.run(ends=False) == first


@pytest.mark.parametrize(("clears", "same"), [(0, True), (1, False), (None, False)])
def test_what_could_be_a_retry_or_a_clear_counts_as_a_clear_unless_airflow_counted_none(
    clears: int | None, same: bool
) -> None:
    """retries=3, a first attempt, an edit to 2: a retry has max_tries 3, and so has an attempt after a clear."""
    note = Note(generation=3, max_tries=3, attempt=1, clears=0, done=False)
    chosen = choose(Turn(max_tries=3, attempt=2, retries=2, clears=clears), note, lambda: 3)
    assert chosen == Chosen(3 if same else 4)


def test_what_has_ended_and_runs_again_under_the_same_count_after_an_edit_was_cleared() -> None:
    note = Note(generation=3, max_tries=3, attempt=1, clears=0, done=True)
    assert choose(Turn(max_tries=3, attempt=2, retries=2, clears=0), note, lambda: 3) == Chosen(4)


def test_a_crash_after_the_end_and_before_airflow_knows_is_a_retry() -> None:
    note = Note(generation=3, max_tries=3, attempt=1, clears=0, done=True)
    assert choose(Turn(max_tries=3, attempt=2, retries=3, clears=0), note, lambda: 3) == Chosen(3)


def test_clearing_another_task_of_the_run_makes_no_second_version() -> None:
    note = Note(generation=3, max_tries=3, attempt=1, clears=0, done=False)
    assert choose(Turn(max_tries=3, attempt=2, retries=3, clears=5), note, lambda: 3) == Chosen(3)


def test_a_late_attempt_of_before_a_clear_keeps_its_own_generation() -> None:
    note = Note(generation=4, max_tries=4, attempt=2, clears=1, done=False)
    assert choose(Turn(max_tries=3, attempt=1, retries=3, clears=0), note, lambda: 4) == Chosen(3)


def test_the_same_attempt_after_a_clear_is_of_a_generation_of_its_own() -> None:
    note = Note(generation=3, max_tries=3, attempt=1, clears=0, done=False)
    assert choose(Turn(max_tries=4, attempt=1, retries=3, clears=1), note, lambda: 6) == Chosen(7)


def test_the_same_attempt_under_the_same_count_is_of_the_same_generation_whatever_was_edited() -> None:
    note = Note(generation=3, max_tries=3, attempt=1, clears=0, done=True)
    assert choose(Turn(max_tries=3, attempt=1, retries=0, clears=5), note, lambda: 6) == Chosen(3)


def test_without_a_note_the_first_attempt_asks_nothing() -> None:
    def never() -> int:
        raise AssertionError("the service was asked")

    assert choose(Turn(3, 1, 3, 0), None, never) == Chosen(3, begins=True)


@pytest.mark.parametrize("notes", [{}, {"generation": "x"}, {"generation": "1", "max_tries": "1", "attempt": "1"}])
def test_a_note_that_cannot_be_read_is_none(notes: dict[str, str]) -> None:
    assert Note.read(notes) is None


def test_a_note_is_read_as_it_was_written() -> None:
    for clears in (None, 0, 7):
        store = Store()
        context: Any = {
            "ti": SimpleNamespace(max_tries=2, try_number=1),
            "dag_run": SimpleNamespace(clear_number=clears),
            "task_state_store": store,
        }
        ledger = Ledger(context, Identity(BASE, 2, 1), 2)
        ledger.identify(lambda: -1)
        ledger.begin()
        (notes,) = store.content.values()
        assert Note.read(notes) == Note(2, 2, 1, clears, done=False)
        # Written out, since what an earlier release has noted is read by this one.
        noted = {"generation": "2", "max_tries": "2", "attempt": "1", "done": "no", "request": BASE}
        assert store.content == {"cerebras_generation": {**noted, "clears": "" if clears is None else str(clears)}}


def test_an_attempt_that_begins_again_has_not_ended() -> None:
    store = Store()
    context: Any = {"ti": SimpleNamespace(max_tries=2, try_number=1), "task_state_store": store}
    done = []
    for act in (Ledger.begin, Ledger.end, Ledger.begin):
        ledger = Ledger(context, Identity(BASE, 2, 1), 2)
        ledger.identify(lambda: -1)
        act(ledger)
        done.append(store.content["cerebras_generation"]["done"])
    assert done == ["no", "yes", "no"]


@pytest.mark.parametrize("dag_run", [None, SimpleNamespace(), SimpleNamespace(clear_number="3")])
def test_what_airflow_does_not_say_is_not_known(dag_run: object) -> None:
    context: Any = {"ti": SimpleNamespace(max_tries=2, try_number=1), "dag_run": dag_run}
    assert Turn.of(context, None) == Turn(2, 1, 0, None)


class TestHighest:
    """The highest generation that has a version, by the list of versions."""

    LIST = OperationName.LIST_MODEL_VERSIONS

    @pytest.fixture
    def rows(self, service: Service) -> list[dict[str, Any]]:
        """What the service lists: generations 0 and 2, and a later one of another task run."""
        for aliases in ([CLEARED.alias.removesuffix("1") + "2"], [FIRST.alias, "latest"], [f"airflow-{'f' * 40}-5"]):
            service.upload("s3://weights/run-1", *aliases)
        listed: list[dict[str, Any]] = service.api("GET", f"/orgs/{ORG}/models/{ARCH}/versions")["model_versions"]
        return listed

    def highest(self, service: Service, *mishaps: Mishap) -> int:
        self.attempt = Attempt(service, list(mishaps))
        with closing(self.attempt.client()) as client:
            return highest_generation(client, ORG, ARCH, FIRST)

    def answer(self, rows: list[dict[str, Any]], **more: Any) -> Mishap:
        return Mishap(self.LIST, httpx.Response(200, json={"model_versions": rows, **more}))

    def test_of_the_own_task_run(self, service: Service, rows: list[dict[str, Any]]) -> None:
        assert self.highest(service) == 2
        assert self.attempt.network.count("get_model_version") == 0

    def test_none(self, service: Service) -> None:
        assert self.highest(service) == -1
        service.upload("s3://weights/run-1", "latest")
        assert self.highest(service) == -1

    def test_a_version_without_aliases_in_the_list_is_asked_for(
        self, service: Service, rows: list[dict[str, Any]]
    ) -> None:
        del rows[0]["response"]["version_aliases"]
        assert self.highest(service, self.answer(rows)) == 2
        service.delete(rows[0]["name"])
        assert self.highest(service, self.answer(rows)) == 0

    def test_an_entry_that_names_no_version_leaves_it_open(self, service: Service, rows: list[dict[str, Any]]) -> None:
        del rows[0]["name"]
        with pytest.raises(UnexpectedResponse) as caught:
            self.highest(service, self.answer(rows))
        said = "has an entry that does not say which one it is. Nothing was uploaded."
        assert str(caught.value).startswith(f"The list of model versions of {ARCH} {said}")

    def test_a_list_that_goes_on_leaves_it_open(self, service: Service, rows: list[dict[str, Any]]) -> None:
        with pytest.raises(UnexpectedResponse, match=f"^The list of model versions of {ARCH} "):
            self.highest(service, self.answer(rows, next_page_token="more"))
