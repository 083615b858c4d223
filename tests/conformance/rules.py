"""What a rule is, and what comes of asking a service for it."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import httpx

from tests.conformance.service import Differs, NotChecked, Service, Target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Check = Callable[[Service], str | None]

ASSUMED = "not documented"
"""The source of what no page says, and we count on all the same."""


class Verdict(StrEnum):
    AGREES = "agrees"
    DIFFERS = "differs"
    NOT_CHECKED = "not checked"


@dataclass(frozen=True)
class Rule:
    """One sentence about the service.

    :param text: the sentence.
    :param source: the page of the API's documentation that says so, or :data:`ASSUMED`.
    :param writes: whether finding out makes, changes or deletes anything.
    :param check: asks the service; gives what was seen if that is worth telling, and raises :class:`Differs` or
        :class:`NotChecked`.
    """

    text: str
    source: str
    writes: bool
    check: Check

    @property
    def name(self) -> str:
        return self.check.__name__.replace("_", "-")


@dataclass(frozen=True)
class Finding:
    """What came of a rule."""

    rule: Rule
    verdict: Verdict
    seen: str


RULES: list[Rule] = []


def rule(text: str, source: str, *, writes: bool = False) -> Callable[[Check], Check]:
    """Make a function the check of a rule."""

    def register(check: Check) -> Check:
        RULES.append(Rule(text, source, writes, check))
        return check

    return register


def examine(service: Service, rule: Rule, *, write: bool) -> Finding:
    """Ask for one rule; whatever happens is a finding."""
    if rule.writes and not write:
        return Finding(rule, Verdict.NOT_CHECKED, "it would write (WRITE=1)")
    try:
        seen, verdict = rule.check(service) or "", Verdict.AGREES
    except Differs as difference:
        seen, verdict = str(difference), Verdict.DIFFERS
    except NotChecked as reason:
        seen, verdict = str(reason), Verdict.NOT_CHECKED
    except httpx.TransportError as error:
        seen, verdict = f"{type(error).__name__}: {error}", Verdict.NOT_CHECKED
    except Exception as error:  # noqa: BLE001  an answer of another form must not keep the other rules from being asked
        seen, verdict = f"{type(error).__name__}: {error}", Verdict.DIFFERS
    return Finding(rule, verdict, service.target.without_keys(seen))


def examine_all(target: Target, *, write: bool, tell: Callable[[str], object]) -> list[Finding]:
    """Ask for all rules, and delete what was made for it.

    :param tell: is told how it goes.
    """
    findings = []
    with closing(Service(target)) as service:
        for each in RULES:
            findings.append(examine(service, each, write=write))
            tell(f"{findings[-1].verdict}: {each.text}")
        try:
            left = service.clean_up()
        except Exception as error:  # noqa: BLE001  the findings must not be lost over it
            tell(target.without_keys(f"What was made could not be deleted: {error}"))
        else:
            tell(f"Could not be deleted: {', '.join(left)}" if left else "Nothing is left of what was made.")
    return findings


def table(findings: Iterable[Finding]) -> str:
    """The findings as a table in Markdown."""
    lines = ["| rule | source | writes | verdict | seen |", "|---|---|---|---|---|"]
    for finding in findings:
        seen = " ".join(finding.seen.replace("|", "\\|").split())
        writes = "yes" if finding.rule.writes else ""
        lines.append(f"| {finding.rule.text} | {finding.rule.source} | {writes} | {finding.verdict} | {seen} |")
    return "\n".join(lines)


def summary(findings: Iterable[Finding]) -> str:
    """How many of each verdict there are."""
    verdicts = [finding.verdict for finding in findings]
    return ", ".join(f"{verdicts.count(each)} {each}" for each in Verdict)
