"""One emulator: its settings and clock, the service's state, the fault rules and the log of requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, cast

from fastapi import Depends, Request

from airflow_provider_cerebras.emulator.faults.masking import Masker
from airflow_provider_cerebras.emulator.faults.profiles import PROFILES, ProfileName
from airflow_provider_cerebras.emulator.faults.request_log import RequestLog
from airflow_provider_cerebras.emulator.faults.rules import FaultBook
from airflow_provider_cerebras.emulator.service import records
from airflow_provider_cerebras.emulator.service.answers import AnswerBook
from airflow_provider_cerebras.emulator.service.clock import EmulatedClock
from airflow_provider_cerebras.emulator.service.errors import ServiceError
from airflow_provider_cerebras.emulator.service.service import Service
from airflow_provider_cerebras.emulator.service.store import StateError, open_store
from airflow_provider_cerebras.emulator.service.weights import digest_of_uri

if TYPE_CHECKING:
    from airflow_provider_cerebras.emulator.faults.rules import ArmedFault
    from airflow_provider_cerebras.emulator.service.clock import Clock
    from airflow_provider_cerebras.emulator.service.state import ReadWeights
    from airflow_provider_cerebras.emulator.settings import Settings


def _s3_reader(url: str) -> ReadWeights:
    # Only here, since the emulator needs no boto3 as long as it reads no weights.
    from airflow_provider_cerebras.emulator.service.s3_weights import S3WeightReader

    return S3WeightReader(url)


class Emulator:
    """The state that all parts of the application share.

    :param clock: Gives the machine's time in Unix seconds.
    :raises ModuleNotFoundError: Weights are read from S3, and boto3 is not installed.
    :raises StateError: The state file cannot be used, or does not go with the settings.
    """

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self.settings = settings
        url = settings.s3_endpoint_url
        self._read_weights: ReadWeights = digest_of_uri if url is None else _s3_reader(url)
        self.clock = EmulatedClock(clock, settings.time_scale)
        self.faults = FaultBook()
        self.answers = AnswerBook()
        self.log = RequestLog(self.clock)
        self._masker = Masker()
        self._store = open_store(settings.state)
        try:
            self.service = self._begin()
        except ServiceError as error:
            self._store.close()
            raise StateError(f"The state file {settings.state} does not go with the settings: {error}") from error
        except BaseException:
            self._store.close()
            raise

    def _begin(self) -> Service:
        for record in self._store.read(records.CLOCK):
            self.clock.resume(records.clock(record))
        self.keep_clock()
        service = Service(self.settings.behaviour, self.clock, self._read_weights, self._store)
        for organization in self.settings.all_organizations():
            service.ensure_organization(organization)
        for answers in self.settings.answers:
            self.answers.put(answers)
        for rule in self.settings.faults:
            self.faults.add(rule)
        if self.settings.profile is not None:
            self.begin_profile(self.settings.profile)
        return service

    def reset(self) -> None:
        """Return to the initial state of the settings, with an empty log and the machine's time."""
        # A request that is held would otherwise do its work in the new state.
        self.faults.clear(abandon=True)
        self.answers.clear()
        self.log.clear()
        self.clock.reset()
        self._store.clear()
        self.service = self._begin()

    def keep_clock(self) -> None:
        """Store the time, so that it continues from there after a restart."""
        self._store.write(records.of_clock(self.clock.anchor))

    def begin_profile(self, name: ProfileName) -> list[ArmedFault]:
        """Add the rules of a profile, and replace them if they are in force already."""
        self.faults.end_profile(name)
        return [self.faults.add(rule, name) for rule in PROFILES[name].rules]

    def masker(self) -> Masker:
        """The masker of all keys, present and past."""
        if not self._masker.keys >= self.service.keys():
            self._masker = Masker(self._masker.keys | self.service.keys())
        return self._masker

    def stop(self) -> None:
        """Release every request that is held or waits."""
        self.faults.clear()
        self.log.close()

    def close(self) -> None:
        """Close the state file."""
        self.keep_clock()
        self._store.close()


async def _current_emulator(request: Request) -> Emulator:
    return cast("Emulator", request.app.state.emulator)


async def _current_service(request: Request) -> Service:
    return (await _current_emulator(request)).service


CurrentEmulator = Annotated[Emulator, Depends(_current_emulator)]
CurrentService = Annotated[Service, Depends(_current_service)]
