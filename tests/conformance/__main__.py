"""Hold a service to the rules: ``make conformance BASE_URL=... KEY=... ORG=...``, or our emulator without BASE_URL.

What is asked comes from the environment, so that no key stands in a list of processes. A service that is not our
emulator is only read from, unless WRITE=1 says otherwise; then ENDPOINT is deployed to, if it is given, and WEIGHT_URI
uploaded.
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.conformance import reading, writing
from tests.conformance.rules import Verdict, examine_all, summary, table
from tests.conformance.service import Target

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.conformance.rules import Finding

__all__ = ["reading", "writing"]

PAGE = """# Conformance

`make conformance` checks a service against each rule that the provider relies on, and our emulator against the same
rules. This is what it says of the emulator. The source is the page of the API's documentation on which the rule stands,
or says that no page does.

If you have access to the service, this shows in which rules it differs from the emulator:

```shell
make conformance BASE_URL=https://api.cerebras.ai ORG=... KEY=... INFERENCE_KEY=...
```

That reads and changes nothing: rules that write are left out. `WRITE=1` asks for them too. They upload `WEIGHT_URI`
many times and delete what they made. With `ENDPOINT=...` they deploy to that endpoint, too, which must be one that
no one else uses meanwhile; what served there before serves there afterwards. A sync or a rollout is waited for
`SECONDS_TO_WAIT` (60) at most. Without `INFERENCE_KEY` what needs it is left out. No key is printed.

{table}
"""


@contextmanager
def emulated() -> Iterator[Target]:
    """An emulator with something in it."""
    # A run against the real service does not need the emulator's packages.
    from airflow_provider_cerebras.emulator.control.client import EmulatorClient
    from airflow_provider_cerebras.emulator.server import EmulatorServer
    from airflow_provider_cerebras.emulator.settings import Settings

    settings = Settings(port=0, sync_seconds=0.05, rollout_seconds=0.05)
    with EmulatorServer(settings) as server, EmulatorClient(server.base_url, settings) as emulator:
        emulator.serve("s3://my-bucket/weights", "prod")
        yield Target(
            emulator.base_url,
            key=settings.management_key,
            org=emulator.org,
            inference_key=settings.inference_key,
            endpoint_id=emulator.endpoint_id,
        )


def target_of(environment: Mapping[str, str]) -> Target:
    """The service that the environment names; ends the process if something is missing."""
    given = {name: environment.get(name, "") for name in ("BASE_URL", "KEY", "ORG", "INFERENCE_KEY", "ENDPOINT")}
    if missing := [name for name in ("KEY", "ORG") if not given[name]]:
        sys.exit(f"BASE_URL needs {' and '.join(missing)}: make conformance BASE_URL=... ORG=... KEY=...")
    return Target(
        given["BASE_URL"].rstrip("/"),
        key=given["KEY"],
        org=given["ORG"],
        inference_key=given["INFERENCE_KEY"] or None,
        endpoint_id=given["ENDPOINT"] or None,
        weight_uri=environment.get("WEIGHT_URI") or Target.weight_uri,
        seconds=float(environment.get("SECONDS_TO_WAIT") or Target.seconds),
    )


def findings_of(environment: Mapping[str, str]) -> list[Finding]:
    """What comes of all rules, against the service that the environment names or against an emulator."""
    if environment.get("BASE_URL"):
        return examine_all(target_of(environment), write=environment.get("WRITE") == "1", tell=tell)
    with emulated() as target:
        return examine_all(target, write=True, tell=tell)


def tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def page(findings: list[Finding]) -> str:
    """The findings as a page of the documentation."""
    return PAGE.format(table=table(findings).replace("<", "\\<"))


def main(environment: Mapping[str, str]) -> int:
    """Print the table; 1 if anything differs."""
    findings = findings_of(environment)
    print(table(findings))
    print(f"\n{summary(findings)}")
    if path := environment.get("PAGE"):
        Path(path).write_text(page(findings), encoding="utf-8")
    return int(any(finding.verdict is Verdict.DIFFERS for finding in findings))


if __name__ == "__main__":
    sys.exit(main(os.environ))
