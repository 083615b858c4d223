"""Several emulators in one process, since the start of a process costs more than all that they do."""

from __future__ import annotations

import signal
import sys
from contextlib import ExitStack

from airflow_provider_cerebras.emulator.server import EmulatorServer
from airflow_provider_cerebras.emulator.settings import Settings

if __name__ == "__main__":
    sync_seconds, rollout_seconds = map(float, sys.argv[1:3])
    with ExitStack() as servers:
        for port in map(int, sys.argv[3:]):
            settings = Settings(port=port, sync_seconds=sync_seconds, rollout_seconds=rollout_seconds)
            servers.enter_context(EmulatorServer(settings))
        signal.pause()
