"""Our emulator keeps every rule; and a service that does not, or whose keys are secret, is told of as it should be."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conformance.__main__ import findings_of, main, page
from tests.conformance.rules import ASSUMED, RULES, Finding, Rule, Verdict
from tests.openapi import REFERENCE

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_cerebras.emulator.control.client import EmulatorClient

    Ask = Callable[..., tuple[int, str]]

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.cerebras_emulator(sync_seconds=0.05, rollout_seconds=0.05)


@pytest.fixture(scope="module")
def findings() -> dict[Rule, Finding]:
    """What our emulator does."""
    return {finding.rule: finding for finding in findings_of({})}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_the_emulator_keeps_it(rule: Rule, findings: dict[Rule, Finding]) -> None:
    assert findings[rule].verdict is Verdict.AGREES, findings[rule].seen


def test_the_page_is_what_came_of_it(findings: dict[Rule, Finding]) -> None:
    written = (ROOT / "docs" / "conformance.md").read_text(encoding="utf-8")
    assert written == page(list(findings.values())), "make conformance PAGE=docs/conformance.md"


def test_each_rule_has_a_source_that_there_is() -> None:
    pages = {
        operation["externalDocs"]["url"].rpartition("/")[2]
        for item in REFERENCE["paths"].values()
        for operation in item.values()
        if "externalDocs" in operation
    }
    assert {rule.source for rule in RULES} <= {*pages, "management-api", ASSUMED}
    assert {rule.source for rule in RULES} >= pages, "each page has a rule"
    assert len({rule.name for rule in RULES}) == len({rule.text for rule in RULES}) == len(RULES)


@pytest.fixture
def ask(emulator: EmulatorClient, capsys: pytest.CaptureFixture[str]) -> Ask:
    """The command, against an emulator as if that were the service: its exit code and what it says."""

    def run(**more: str) -> tuple[int, str]:
        code = main(
            {"BASE_URL": emulator.base_url, "KEY": emulator.settings.management_key, "ORG": emulator.org, **more}
        )
        said = capsys.readouterr()
        return code, said.out + said.err

    return run


def test_a_service_is_only_read_from(emulator: EmulatorClient, ask: Ask) -> None:
    emulator.serve("s3://bucket/weights", "prod")
    before, seen = emulator.state(), len(emulator.requests())
    code, said = ask(INFERENCE_KEY=emulator.settings.inference_key, ENDPOINT=emulator.endpoint_id)
    assert code == 0, said
    assert said.count("| agrees |") == sum(not rule.writes for rule in RULES)
    assert said.count("| it would write (WRITE=1) |") == sum(rule.writes for rule in RULES)
    assert {entry.operation for entry in emulator.requests()[seen:] if entry.method != "GET"} == {"chat_completion"}
    after = emulator.state()
    assert (after.versions, after.endpoints) == (before.versions, before.endpoints)


def test_what_differs_is_told_with_what_was_seen_and_never_with_a_key(emulator: EmulatorClient, ask: Ask) -> None:
    keys = emulator.settings.management_key, emulator.settings.inference_key
    emulator.add_fault("list_endpoints", times=None, body={"endpoints": f"Bearer {keys[0]}, {keys[1]}"})
    emulator.add_fault("list_model_architectures", times=None, when="after", drop=True)
    code, said = ask(INFERENCE_KEY=keys[1])
    assert code == 1
    (line,) = [line for line in said.splitlines() if line.startswith("| The endpoints are as documented")]
    assert "differs" in line
    assert "'Bearer ***, ***' is not of type 'array'" in line
    assert "| The architectures are as documented | list-model-architectures |  | not checked |" in said
    assert "| An endpoint that is not there is refused with 404 | not documented |  | agrees | 404 |" in said
    assert not [key for key in keys if key in said]


def test_what_was_made_is_deleted_and_what_served_serves_again(emulator: EmulatorClient, ask: Ask) -> None:
    served = emulator.serve("s3://bucket/weights", "prod")
    code, said = ask(WRITE="1", INFERENCE_KEY=emulator.settings.inference_key, ENDPOINT=emulator.endpoint_id)
    assert code == 0, said
    assert "Nothing is left of what was made." in said
    assert (list(emulator.versions()), emulator.serving()) == ([served], served)


def test_without_an_endpoint_nothing_is_deployed(emulator: EmulatorClient, ask: Ask) -> None:
    code, said = ask(WRITE="1")
    assert code == 0, said
    assert "| it takes an endpoint that may be deployed to (ENDPOINT) |" in said
    assert not emulator.requests("deploy_model")
    assert not emulator.versions()


def test_a_service_without_a_key_is_not_asked(emulator: EmulatorClient, ask: Ask) -> None:
    with pytest.raises(SystemExit, match="BASE_URL needs KEY and ORG"):
        ask(KEY="", ORG="")
    assert not emulator.requests()
