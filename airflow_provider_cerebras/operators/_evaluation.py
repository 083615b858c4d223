"""Asks an endpoint all questions of an evaluation, scores the answers and stores the results as they come in.

It imports no Airflow: what an evaluation asks, tallies and stores is in :mod:`airflow_provider_cerebras.evaluation`.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import asynccontextmanager, suppress
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING

from airflow_provider_cerebras.api import operations
from airflow_provider_cerebras.evaluation.asking import Progress, ask_all
from airflow_provider_cerebras.evaluation.results import Result
from airflow_provider_cerebras.evaluation.scorers import read_score
from airflow_provider_cerebras.evaluation.smoke import measure

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from airflow_provider_cerebras.api.client import AsyncCerebrasClient
    from airflow_provider_cerebras.api.models import ChatCompletion
    from airflow_provider_cerebras.evaluation.cases import Case
    from airflow_provider_cerebras.evaluation.plan import Plan
    from airflow_provider_cerebras.evaluation.results import Question, Totals
    from airflow_provider_cerebras.evaluation.scorers import Scorer
    from airflow_provider_cerebras.evaluation.storage import ResultStore

_log = logging.getLogger(__name__)

_MIN_PART_INTERVAL = 1.0
_MAX_PART_INTERVAL = 10.0
_MAX_SCORER_ERRORS_LOGGED = 5
_GRACE = 5.0
"""Seconds for storing what was answered, when the task is ended."""


class EndpointChanged(Exception):
    """Answers carry more than one ``system_fingerprint``: not all are of one version."""


async def answer_open_questions(
    client: AsyncCerebrasClient,
    plan: Plan,
    totals: Totals,
    store: ResultStore | None,
    log_progress: Callable[[str], None],
) -> None:
    """Ask what has no result yet, and add the results to the totals.

    Whatever ends it, results that have come in are stored.

    :param client: with as many connections as requests at once. It is closed.
    :param plan: the questions and how they are asked.
    :param totals: the results so far.
    :param store: where results are stored, if they are.
    :param log_progress: takes a line about the progress, from time to time.
    :raises CerebrasError: if a question cannot be asked.
    :raises EndpointChanged: if not all answers are of one version.
    """
    progress = Progress(totals.questions, totals.done)
    with ThreadPoolExecutor(plan.concurrency, "cerebras-scorer") as threads:
        asker = _Asker(client, plan, threads)
        async with client, _recorder(totals, store) as recorder:

            def take(result: Result) -> None:
                recorder.take(result)
                if line := progress.line(totals.done):
                    log_progress(line)

            await ask_all(
                totals.open_questions(),
                asker.ask,
                take,
                concurrency=plan.concurrency,
                max_retries=client.settings.max_retries,
            )


def answer_in_thread(
    client: AsyncCerebrasClient,
    plan: Plan,
    totals: Totals,
    store: ResultStore | None,
    log_progress: Callable[[str], None],
) -> None:
    """Do :func:`answer_open_questions` in a thread of its own, and wait for it.

    Airflow ends a task by a signal whose handler raises in the main thread, wherever that is. In an event loop, the
    exception would be swallowed, or break what is half done. Here, it ends the wait; what was answered is stored first.

    :param client: see :func:`answer_open_questions`, like all that follow.
    :param plan: the questions and how they are asked.
    :param totals: the results so far.
    :param store: where results are stored, if they are.
    :param log_progress: takes a line about the progress; called in the thread of the caller.
    """
    lines: SimpleQueue[str | None] = SimpleQueue()
    started: Future[Callable[[], object]] = Future()
    ended: Future[None] = Future()

    async def answer() -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  a coroutine runs in one
        started.set_result(partial(asyncio.get_running_loop().call_soon_threadsafe, task.cancel))
        await answer_open_questions(client, plan, totals, store, lines.put)

    def work() -> None:
        try:
            asyncio.run(answer())
        except BaseException as error:  # noqa: BLE001  raised again by the caller's thread
            ended.set_exception(error)
        else:
            ended.set_result(None)
        finally:
            lines.put(None)

    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(work,), name="cerebras-evaluation", daemon=True).start()
    try:
        while (line := lines.get()) is not None:
            log_progress(line)
    except BaseException:
        # It may end by itself at this very moment, and its loop with it.
        with suppress(RuntimeError, TimeoutError):
            started.result(_GRACE)()
        wait([ended], _GRACE)
        raise
    ended.result()


class _Asker:
    def __init__(self, client: AsyncCerebrasClient, plan: Plan, threads: ThreadPoolExecutor) -> None:
        self._client = client
        self._plan = plan
        self._threads = threads
        self._scorer_errors = 0

    async def ask(self, question: Question) -> Result:
        case = question.case
        call = operations.chat_completion(self._plan.endpoint_id, case.messages, **self._plan.chat_params)
        began = time.monotonic()
        completion = await self._client.send_once(call)
        measurement = measure(completion, time.monotonic() - began)
        return Result(
            case_id=case.id,
            repeat=question.repeat,
            answer=measurement.answer,
            scores={scorer.name: await self._score(scorer, case, completion) for scorer in self._plan.scorers},
            latency=measurement.latency,
            completion_tokens=measurement.completion_tokens,
            tokens_per_second=measurement.tokens_per_second,
            system_fingerprint=measurement.system_fingerprint,
        )

    async def _score(self, scorer: Scorer, case: Case, completion: ChatCompletion) -> float | None:
        try:
            if scorer.blocking:
                run = contextvars.copy_context().run
                loop = asyncio.get_running_loop()
                value = await loop.run_in_executor(self._threads, run, scorer.score, case, completion)
            else:
                value = scorer.score(case, completion)
        except Exception as error:  # noqa: BLE001  a scorer is the user's, and a missing score fails its case
            self._warn(scorer, case, f"raised {type(error).__name__}")
            return None
        score = read_score(value)
        if score is None:
            self._warn(scorer, case, f"returned {type(value).__name__}, which is no bool or number from 0 to 1")
        return score

    def _warn(self, scorer: Scorer, case: Case, what: str) -> None:
        # Not the error's own message, which may repeat the answer.
        self._scorer_errors += 1
        if self._scorer_errors <= _MAX_SCORER_ERRORS_LOGGED:
            _log.warning("Scorer %r %s for case %r. The case fails.", scorer.name, what, case.id)


class _Recorder:
    """Adds results to the totals, and stores them in parts: at first each second, later each ten seconds."""

    def __init__(self, totals: Totals, store: ResultStore | None) -> None:
        self._totals = totals
        self._store = store
        self._pending: list[Result] = []
        self._ended = asyncio.Event()
        self.writer = asyncio.create_task(self._write_parts())

    def take(self, result: Result) -> None:
        if self.writer.done():
            self.writer.result()
        self._totals.add(result)
        if self._store is not None:
            self._pending.append(result)
        check_fingerprints(self._totals)

    async def end(self) -> None:
        self._ended.set()
        await self.writer
        await self._write_part()

    async def _write_parts(self) -> None:
        interval = _MIN_PART_INTERVAL
        while not self._ended.is_set():
            try:
                await asyncio.wait_for(self._ended.wait(), interval)
            except TimeoutError:
                await self._write_part()
            interval = min(interval * 1.1, _MAX_PART_INTERVAL)

    async def _write_part(self) -> None:
        if self._store is not None and self._pending:
            part, self._pending = self._pending, []
            await asyncio.to_thread(self._store.write_part, part)


@asynccontextmanager
async def _recorder(totals: Totals, store: ResultStore | None) -> AsyncIterator[_Recorder]:
    recorder = _Recorder(totals, store)
    try:
        yield recorder
    finally:
        await recorder.end()


def check_fingerprints(totals: Totals) -> None:
    """Check that all answers are of one version.

    :param totals: the results so far.
    :raises EndpointChanged: if they are not.
    """
    if len(totals.fingerprints) > 1:
        shown = " and ".join(sorted(map(repr, totals.fingerprints)))
        raise EndpointChanged(f"its answers carry the system_fingerprint {shown}")
