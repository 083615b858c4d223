"""To the console of Cerebras."""

from __future__ import annotations

from airflow_provider_cerebras.links.base import CerebrasLink

# Its paths are not documented and hold ids that the Management API does not know, so the link leads to its front door.
CONSOLE_URL = "https://cloud.cerebras.ai"


class CerebrasConsoleLink(CerebrasLink):
    """The console of Cerebras, where a person signs in to see the organization."""

    name = "Cerebras console"
    base_url = CONSOLE_URL

    def url(self, task: object) -> str:
        """Return the same for all."""
        return CONSOLE_URL
