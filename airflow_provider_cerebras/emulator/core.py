"""One emulator: its settings and clock, the service's state, the fault rules and the log of requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, cast

from fastapi import Depends, Request

from airflow_provider_cerebras.emulator.faults import FaultBook
from airflow_provider_cerebras.emulator.request_log import RequestLog
from airflow_provider_cerebras.emulator.service import Service
from airflow_provider_cerebras.emulator.weights import S3WeightReader, digest_of_uri

if TYPE_CHECKING:
    from airflow_provider_cerebras.emulator.service import Clock, ReadWeights
    from airflow_provider_cerebras.emulator.settings import Settings


class Emulator:
    """What all parts of the application share.

    :param clock: Gives the time in Unix seconds.
    """

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self.settings = settings
        self._clock = clock
        url = settings.s3_endpoint_url
        self._read_weights: ReadWeights = digest_of_uri if url is None else S3WeightReader(url)
        self.faults = FaultBook()
        self.log = RequestLog(clock)
        self.service = Service(settings, clock, self._read_weights)

    def reset(self) -> None:
        """Go back to the start: no versions, no deployments, no fault rules, an empty log."""
        # A request that is held would otherwise do its work in the new state.
        self.faults.clear(abandon=True)
        self.log.clear()
        self.service = Service(self.settings, self._clock, self._read_weights)


async def _current_emulator(request: Request) -> Emulator:
    return cast("Emulator", request.app.state.emulator)


async def _current_service(request: Request) -> Service:
    return (await _current_emulator(request)).service


CurrentEmulator = Annotated[Emulator, Depends(_current_emulator)]
CurrentService = Annotated[Service, Depends(_current_service)]
