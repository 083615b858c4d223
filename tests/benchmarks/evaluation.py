"""What an evaluation costs beside the bare requests by httpx: ``python -m tests.benchmarks.evaluation`` prints it.

Both ask a server of raw asyncio in a process of its own, in turns, so that a busy moment of the machine hits both.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx

from airflow_provider_cerebras.api.client import AsyncCerebrasClient
from airflow_provider_cerebras.api.settings import ClientSettings
from airflow_provider_cerebras.evaluation.cases import read_rows
from airflow_provider_cerebras.evaluation.plan import make_plan
from airflow_provider_cerebras.operators._evaluation import answer_open_questions
from tests.benchmarks.beside import cost_of, server_of

if TYPE_CHECKING:
    from tests.benchmarks.beside import Cost

MARK = 3.0
"""How many times the bare requests an evaluation may cost."""
_BODY = json.dumps(
    {
        "id": "chatcmpl-1",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "42"}}],
        "created": 1_750_000_000,
        "model": "endpoint",
        "system_fingerprint": "fp_1",
        "object": "chat.completion",
        "usage": {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8},
        "time_info": {"completion_time": 0.001},
    }
).encode()
_RESPONSE = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(_BODY), _BODY)


class Comparison(NamedTuple):
    """An evaluation and the bare requests.

    :param cases: number of cases.
    :param concurrency: how many requests at once.
    :param bare: costs of the bare requests, by round.
    :param ours: costs of the evaluation, by round.
    """

    cases: int
    concurrency: int
    bare: list[Cost]
    ours: list[Cost]

    def ratio(self, what: str) -> float:
        """How many times the bare requests an evaluation takes: the median of the rounds.

        :param what: a field of :class:`Cost`.
        """
        pairs = zip(self.ours, self.bare, strict=True)
        ratios: list[float] = [getattr(ours, what) / getattr(bare, what) for ours, bare in pairs]
        return statistics.median(ratios)

    def figures(self) -> dict[str, float]:
        """Return what the page of the benchmarks shows."""
        cpu = statistics.median(cost.cpu for cost in self.ours)
        return {
            "cases": self.cases,
            "concurrency": self.concurrency,
            "wall_ratio": self.ratio("wall"),
            "cpu_ratio": self.ratio("cpu"),
            "cpu_per_case": cpu / self.cases,
        }

    def __str__(self) -> str:
        cpu = statistics.median(cost.cpu for cost in self.ours) / self.cases * 1000
        return (
            f"{self.cases:,} cases at concurrency {self.concurrency} take {self.ratio('wall'):.2f} times as long as "
            f"the bare requests by httpx, and {self.ratio('cpu'):.2f} times the CPU ({cpu:.2f} ms each); the mark is "
            f"{MARK:g} times at most. Load average {os.getloadavg()[0]:.1f}."
        )


class _Answers(asyncio.Protocol):
    """Answers every request alike."""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._received = b""

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            head = self._received[:end].lower()
            length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
            if len(self._received) < end + 4 + length:
                return
            self._received = self._received[end + 4 + length :]
            self._transport.write(_RESPONSE)


async def serve() -> None:
    """Serve until the standard input ends; print the URL."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Answers, "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


def measure(cases: int, concurrency: int, rounds: int) -> Comparison:
    """Measure in turns.

    :param cases: number of cases.
    :param concurrency: how many requests at once.
    :param rounds: how often.
    """
    rows: list[dict[str, Any]] = [
        {"id": number, "messages": [{"role": "user", "content": f"What is {number} plus 1?"}], "expected": "42"}
        for number in range(cases)
    ]
    comparison = Comparison(cases, concurrency, [], [])
    with server_of("tests.benchmarks.evaluation") as url:
        for _ in range(rounds):
            comparison.bare.append(cost_of(lambda: _ask_bare(url, rows, concurrency)))
            comparison.ours.append(cost_of(lambda: _evaluate(url, rows, concurrency)))
    return comparison


def _ask_bare(url: str, rows: list[dict[str, Any]], concurrency: int) -> None:
    waiting = iter(rows)

    async def work(client: httpx.AsyncClient) -> None:
        for row in waiting:
            response = await client.post("/v1/chat/completions", json={"model": "e", "messages": row["messages"]})
            response.json()

    async def ask() -> None:
        async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
            await asyncio.gather(*(work(client) for _ in range(concurrency)))

    asyncio.run(ask())


def _evaluate(url: str, rows: list[dict[str, Any]], concurrency: int) -> None:
    plan = make_plan(
        read_rows(rows),
        endpoint_id="endpoint",
        scorers=["exact"],
        require=None,
        baseline=None,
        max_regression=0.0,
        confidence=0.95,
        repeats=1,
        concurrency=concurrency,
        max_requests=None,
        chat_params=None,
    )
    settings = ClientSettings(management_key="management-key", inference_key="inference-key", base_url=url)
    client = AsyncCerebrasClient(settings, verify=False, max_connections=concurrency)
    totals = plan.new_totals()
    asyncio.run(answer_open_questions(client, plan, totals, None, log_progress=lambda line: None))
    assert sum(totals.passes) == len(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", action="store_true")
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve())
    else:
        print(measure(options.cases, options.concurrency, options.rounds))


if __name__ == "__main__":
    main()
