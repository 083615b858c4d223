"""Named sets of fault rules, each a kind of trouble that a client should survive."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from airflow_provider_cerebras.emulator.faults.rules import FaultRule

ProfileName = Literal["flaky", "rate-limited", "maintenance", "cdn-block"]

_BLOCK_PAGE = """<!DOCTYPE html>
<html lang="en">
<head><title>Access denied</title></head>
<body><h1>Access denied</h1><p>This request was blocked before it reached the service.</p></body>
</html>
"""


@dataclass(frozen=True)
class Profile:
    """A named set of fault rules.

    :param description: The trouble, in one sentence.
    :param rules: The rules; of two that match, the first hits.
    """

    description: str
    rules: tuple[FaultRule, ...]


PROFILES: dict[ProfileName, Profile] = {
    "flaky": Profile(
        "One request in four fails: refused, slow, or lost before or after the work was done.",
        (
            FaultRule(probability=0.08, seed=1, status=503, message="Service temporarily unavailable."),
            FaultRule(probability=0.05, seed=2, drop=True),
            FaultRule(probability=0.05, seed=3, drop=True, when="after"),
            FaultRule(probability=0.05, seed=4, status=502, text="<html><body>Bad Gateway</body></html>", when="after"),
            FaultRule(probability=0.05, seed=5, delay=1.0),
        ),
    ),
    "rate-limited": Profile(
        "One request in two is refused with 429, and succeeds when it is sent again after a second.",
        (FaultRule(probability=0.5, seed=1, status=429, message="Too many requests.", retry_after=1),),
    ),
    "maintenance": Profile(
        "Every request is refused with 503, until the profile is ended.",
        (FaultRule(times=None, status=503, message="The service is down for maintenance.", retry_after=30),),
    ),
    "cdn-block": Profile(
        "Every request is answered with 403 and a web page by what stands in front of the service.",
        (
            FaultRule(
                times=None,
                status=403,
                text=_BLOCK_PAGE,
                headers={"server": "cloudflare", "cf-ray": "8f2c0a1b2c3d4e5f-FRA"},
            ),
        ),
    ),
}
