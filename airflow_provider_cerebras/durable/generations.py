"""The generation of a task run: the same over retries, another one after each clear.

Airflow has no such number. ``max_tries`` moves when a task is cleared and not when it is retried, but a clear sets it
to ``try_number + retries``, so with ``retries`` edited in between it can repeat an earlier value, or fall below one.
What tells more is

* a note in the task state store (Airflow 3.3 and later), of how things stood at the last attempt;
* the number of the attempt: by the ``retries`` of now, a generation begins with attempt ``max_tries - retries + 1``;
* the generations of this task run that the service knows, by the aliases of versions.

Where these leave it open whether a task was retried or cleared, it counts as cleared: a second version does less harm
than stale weights that go unnoticed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_cerebras.api import operations
from airflow_provider_cerebras.api.errors import UnexpectedResponse
from airflow_provider_cerebras.api.evidence import check_is_whole, held_aliases, numbered_name
from airflow_provider_cerebras.durable.aliases import find_version
from airflow_provider_cerebras.durable.task_state import TaskState
from airflow_provider_cerebras.durable.upload_steps import known_aliases

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_cerebras.api.client import CerebrasClient
    from airflow_provider_cerebras.durable.identity import Identity


class Turn(NamedTuple):
    """The attempt that runs, as Airflow describes it.

    :param max_tries: number of the last attempt but one that this generation may make.
    :param attempt: number of the attempt, which counts on over clears.
    :param retries: the task's retries, as the DAG's file says now.
    :param clears: how often a task of the DAG run was cleared; None: Airflow does not say.
    """

    max_tries: int
    attempt: int
    retries: int
    clears: int | None

    @classmethod
    def of(cls, context: Context, retries: int | None) -> Turn:
        """Read it from the task's context.

        :param context: the task's context.
        :param retries: the task's retries.
        """
        ti: Any = context["ti"]
        clears: object = getattr(context.get("dag_run"), "clear_number", None)
        return cls(
            int(ti.max_tries), int(ti.try_number), int(retries or 0), clears if isinstance(clears, int) else None
        )

    @property
    def first(self) -> int:
        """The attempt with which the generation began, unless ``retries`` was edited since."""
        return self.max_tries - self.retries + 1


class Note(NamedTuple):
    """The last attempt that was noted.

    :param done: whether that attempt came to its end.
    """

    generation: int
    max_tries: int
    attempt: int
    clears: int | None
    done: bool

    @classmethod
    def read(cls, notes: Mapping[str, str]) -> Note | None:
        """Read what :meth:`write` has noted; None: nothing.

        :param notes: the notes.
        """
        try:
            clears = notes["clears"]
            return cls(
                int(notes["generation"]),
                int(notes["max_tries"]),
                int(notes["attempt"]),
                int(clears) if clears else None,
                notes["done"] == "yes",
            )
        except (KeyError, ValueError):
            return None

    def write(self, task_state: TaskState) -> None:
        """Note it.

        :param task_state: where to.
        """
        task_state.update(
            generation=str(self.generation),
            max_tries=str(self.max_tries),
            attempt=str(self.attempt),
            clears="" if self.clears is None else str(self.clears),
            done="yes" if self.done else "no",
        )


class Chosen(NamedTuple):
    """The generation of an attempt.

    :param generation: its number.
    :param begins: whether nothing of this task run can have been made before, so that what carries its identity alias
        is of a DAG run that was deleted and made again under the same id.
    """

    generation: int
    begins: bool = False


class Ledger:
    """The generation of the attempt that runs, and the note of it.

    :param context: the task's context.
    :param identity: of the task run, whatever its generation.
    :param retries: the task's retries.
    """

    def __init__(self, context: Context, identity: Identity, retries: int | None) -> None:
        self.identity = identity
        self._turn = Turn.of(context, retries)
        self._task_state = TaskState(context, key="cerebras_generation", fingerprint=identity.base)
        self._note = Note.read(self._task_state.read())
        self._generation = identity.generation

    def identify(self, highest: Callable[[], int]) -> tuple[Identity, bool]:
        """Return the identity with its generation, and whether nothing can have been made for it before.

        :param highest: see :func:`choose`.
        """
        chosen = choose(self._turn, self._note, highest)
        self._generation = chosen.generation
        return replace(self.identity, generation=chosen.generation), chosen.begins

    def begin(self) -> None:
        """Note that this attempt goes to work, before it makes anything."""
        if self._note is None or self._turn.attempt >= self._note.attempt:
            turn = self._turn
            Note(self._generation, turn.max_tries, turn.attempt, turn.clears, done=False).write(self._task_state)

    def end(self) -> None:
        """Note that this attempt has come to its end."""
        if self._note is not None and self._note.attempt == self._turn.attempt:
            self._note._replace(done=True).write(self._task_state)


def choose(turn: Turn, note: Note | None, highest: Callable[[], int]) -> Chosen:
    """Say which generation an attempt is of.

    :param turn: what Airflow says about it.
    :param note: how things stood at the last attempt that was noted; None: it is not known.
    :param highest: asks the service for the highest generation of this task run that has a version; -1: none.
    """
    if note is not None:
        if continues(turn, note):
            return Chosen(note.generation)
        if turn.attempt < note.attempt:
            return Chosen(turn.max_tries)  # an attempt of before a clear, which comes late
        return Chosen(_after(max(highest(), note.generation), turn))
    if turn.attempt == 1:
        return Chosen(turn.max_tries, begins=True)
    if turn.first == turn.attempt:
        return Chosen(_after(highest(), turn))
    return Chosen(max(highest(), turn.max_tries))


def continues(turn: Turn, note: Note) -> bool:
    """Return whether an attempt is of the generation of the attempt that was noted: a retry of it.

    :param turn: what Airflow says about it.
    :param note: how things stood then.
    """
    if turn.max_tries != note.max_tries:
        return False
    if turn.attempt <= note.attempt or turn.first <= note.attempt:
        return True
    # Edited since: after a clear, or between two attempts.
    cleared = note.done or turn.clears is None or turn.clears != note.clears
    return not cleared


def highest_generation(client: CerebrasClient, org_name: str, model_arch_id: str, identity: Identity) -> int:
    """Ask the service for the highest generation of a task run that has a version; -1: none.

    :param client: how to reach the service.
    :param org_name: name of the organization.
    :param model_arch_id: id of the architecture.
    :param identity: of the task run, whatever its generation.
    :raises UnexpectedResponse: if the responses leave open which aliases a version holds.
    """
    listed = client.send(operations.find_model_versions(org_name, model_arch_id))
    subject = f"The list of model versions of {model_arch_id}"
    check_is_whole(listed, subject)
    highest = -1
    for name in listed.rows:
        version = None if name is None else listed.find(name)
        if version is None:
            raise UnexpectedResponse(f"{subject} has an entry that does not say which one it is. Nothing was uploaded.")
        if known_aliases(version) is None:
            # A version that is missed here would be adopted after a clear.
            version = find_version(client, str(numbered_name(version)))
        if version is not None:
            highest = max([highest, *identity.generations(held_aliases(version))])
    return highest


def _after(highest: int, turn: Turn) -> int:
    # As when this package used only max_tries, so that an upgrade in between changes nothing.
    return max(turn.max_tries, highest + 1)
