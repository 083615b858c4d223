"""The bucket policy that lets the service read weights, and what an existing policy means for the service's role.

A policy is evaluated as AWS does it, for one principal of another account: a Deny wins, and without an Allow the
answer is no. What depends on a condition is not known here.
"""

from __future__ import annotations

import json
import re
from enum import Enum
from typing import Any, NamedTuple

from airflow_provider_cerebras.weights.objects import Location

ON_THE_BUCKET = ("s3:ListBucket", "s3:GetBucketLocation")
ON_OBJECTS = ("s3:GetObject", "s3:GetObjectVersion")
ACTIONS = (*ON_OBJECTS, *ON_THE_BUCKET)
"""The actions that the service needs, by its documentation."""

_ROLE = re.compile(r"arn:(?P<partition>aws[a-z-]*):iam::(?P<account>\d{12}):(role|user)/[\w+=,.@/-]{1,600}")
# A Deny under these conditions is meant for connections that the service does not make.
_ONLY_UNSAFE_CONNECTIONS = (
    {"bool": {"aws:securetransport": "false"}},
    {"boolifexists": {"aws:securetransport": "false"}},
)


class Role(NamedTuple):
    """The role by which the service reads.

    :param arn: its ARN.
    :param partition: the part of AWS that it is in, such as ``aws``.
    :param account: the number of its account.
    """

    arn: str
    partition: str
    account: str

    @classmethod
    def parse(cls, arn: object, argument: str = "reader_role_arn") -> Role:
        """Read an ARN.

        :param arn: the ARN.
        :param argument: the name of the argument that it came in, for the message.
        :raises ValueError: if it is not that of a role or a user.
        """
        match = _ROLE.fullmatch(arn) if isinstance(arn, str) else None
        if match is None:
            shown = repr(arn)[:200]
            raise ValueError(f"{argument}: {shown} is not of the form arn:aws:iam::<12 digits>:role/<name>.")
        return cls(match[0], match["partition"], match["account"])

    def bucket_arn(self, bucket: str) -> str:
        """The ARN of a bucket in the same part of AWS.

        :param bucket: the bucket.
        """
        return f"arn:{self.partition}:s3:::{bucket}"


class Effect(Enum):
    """The verdict of a policy on one action and resource, from the strongest to the weakest."""

    DENIED = "denied"
    MAY_BE_DENIED = "denied under a condition"
    GRANTED = "granted"
    GRANTED_TO_ALL = "granted to everybody"
    MAY_BE_GRANTED = "granted under a condition"
    NOT_GRANTED = "not granted"


class Verdict(NamedTuple):
    """The verdict of a policy, and the statement that decides it.

    :param effect: the effect of the statement.
    :param statement: the statement's ``Sid`` or its number; empty: none decides.
    """

    effect: Effect
    statement: str = ""


class _Match(Enum):
    NO = 0
    MAYBE = 1
    YES = 2
    ALL = 3  # everybody


def bucket_policy(bucket: str, reader_role_arn: str) -> dict[str, Any]:
    """Return a bucket policy that lets the service's role read the bucket.

    A bucket has one policy: if it has statements already, add this one to them.

    :param bucket: name of the bucket.
    :param reader_role_arn: ARN of the role, which customers receive from Cerebras.
    :raises ValueError: if the bucket's name or the ARN has another form.
    """
    try:
        Location.parse(f"s3://{bucket}/prefix")
    except ValueError:
        raise ValueError(f"bucket: {bucket!r} is not the name of a bucket, which has no s3:// and no prefix.") from None
    role = Role.parse(reader_role_arn)
    return {"Version": "2012-10-17", "Statement": [statement_for(bucket, role, ACTIONS)]}


def statement_for(bucket: str, role: Role, actions: tuple[str, ...]) -> dict[str, Any]:
    """A statement that grants a role actions on a bucket and on all of its objects.

    :param bucket: name of the bucket.
    :param role: the role.
    :param actions: what to grant.
    """
    arn = role.bucket_arn(bucket)
    return {
        "Sid": "CerebrasReadsWeights",
        "Effect": "Allow",
        "Principal": {"AWS": role.arn},
        "Action": list(actions),
        "Resource": [arn, f"{arn}/*"],
    }


def statements_of(policy: str) -> list[Any]:
    """The statements of a policy.

    :param policy: its text.
    :raises ValueError: if it is not a policy.
    """
    try:
        document = json.loads(policy)
    except RecursionError as error:
        raise ValueError("It is nested too deeply.") from error
    statements = document.get("Statement") if isinstance(document, dict) else None
    if isinstance(statements, dict):
        return [statements]
    if not isinstance(statements, list):
        raise ValueError("It has no list of statements.")  # noqa: TRY004  it is about the text
    return statements


def evaluate(statements: list[Any], role: Role, action: str, resource: str) -> Verdict:
    """Return whether a role of another account may do something.

    :param statements: the statements of the bucket's policy.
    :param role: the role.
    :param action: the action, such as ``s3:GetObject``.
    :param resource: ARN of the bucket or the object.
    """
    verdicts = []
    for number, statement in enumerate(statements, 1):
        match = _matches(statement, role, action, resource)
        if match is _Match.NO:
            continue
        sid = statement.get("Sid") if isinstance(statement, dict) else None
        name = sid if isinstance(sid, str) and sid else f"number {number}"
        verdicts.append(Verdict(_effect(statement, match), name))
    # A Deny wins, whatever is granted; and a condition on one Allow takes nothing away from another.
    strongest_first = list(Effect)
    verdicts.sort(key=lambda each: strongest_first.index(each.effect))
    return verdicts[0] if verdicts else Verdict(Effect.NOT_GRANTED)


def _effect(statement: object, match: _Match) -> Effect:
    if isinstance(statement, dict) and statement.get("Effect") == "Allow":
        by_match = {_Match.MAYBE: Effect.MAY_BE_GRANTED, _Match.ALL: Effect.GRANTED_TO_ALL}
        return by_match.get(match, Effect.GRANTED)
    denies = isinstance(statement, dict) and statement.get("Effect") == "Deny" and match is not _Match.MAYBE
    return Effect.DENIED if denies else Effect.MAY_BE_DENIED


def _matches(statement: object, role: Role, action: str, resource: str) -> _Match:
    if not isinstance(statement, dict):
        return _Match.MAYBE
    parts = (
        _principal(statement, role),
        _pattern(statement, "Action", action.lower(), lower=True),
        _pattern(statement, "Resource", resource, lower=False),
        _condition(statement),
    )
    weakest = min(parts, key=lambda each: each.value)
    return weakest if weakest in {_Match.NO, _Match.MAYBE} else parts[0]


def _principal(statement: dict[str, Any], role: Role) -> _Match:
    if "NotPrincipal" in statement:
        # It also depends on the account's root and on sessions, which are not to be relied on.
        return _Match.MAYBE
    principal = statement.get("Principal")
    if isinstance(principal, dict):
        principal = principal.get("AWS", [])
    names = _texts(principal)
    if names is None:
        return _Match.MAYBE
    root = f"arn:{role.partition}:iam::{role.account}:root"
    if {role.arn, role.account, root} & set(names):
        return _Match.YES
    if "*" in names:
        return _Match.ALL
    session = f"arn:{role.partition}:sts::{role.account}:assumed-role/{role.arn.rpartition('/')[2]}/"
    # A session of the role; or an id of a principal that has been deleted since, perhaps of the role itself.
    unclear = any(name.startswith(session) or re.fullmatch(r"A[A-Z0-9]{15,}", name) for name in names)
    return _Match.MAYBE if unclear else _Match.NO


def _pattern(statement: dict[str, Any], name: str, value: str, *, lower: bool) -> _Match:
    negated = f"Not{name}" in statement
    patterns = _texts(statement.get(f"Not{name}" if negated else name))
    if patterns is None:
        return _Match.MAYBE
    if any("${" in pattern for pattern in patterns):
        return _Match.MAYBE
    found = any(_like(pattern.lower() if lower else pattern, value) for pattern in patterns)
    return _Match.YES if found != negated else _Match.NO


def _like(pattern: str, value: str) -> bool:
    """Whether a value is like a pattern with ``*`` and ``?``, in time that grows with the product of their lengths."""
    literal = re.split(r"[*?]", pattern, maxsplit=1)[0]
    if not value.startswith(literal) or literal == pattern:
        return value == pattern
    if pattern == f"{literal}*":
        return True
    # Not a regular expression: many stars in one would make it try for ages.
    row = [True] + [False] * len(value)
    for character in pattern:
        if character == "*":
            for position in range(1, len(value) + 1):
                row[position] = row[position] or row[position - 1]
        else:
            row = [False] + [row[position] and character in {"?", value[position]} for position in range(len(value))]
    return row[-1]


def _condition(statement: dict[str, Any]) -> _Match:
    conditions = statement.get("Condition")
    if not conditions:
        return _Match.YES
    if statement.get("Effect") == "Deny" and _lower(conditions) in _ONLY_UNSAFE_CONNECTIONS:
        return _Match.NO
    return _Match.MAYBE


def _lower(conditions: object) -> object:
    if isinstance(conditions, dict):
        return {key.lower(): _lower(value) for key, value in conditions.items()}
    if isinstance(conditions, list) and len(conditions) == 1:
        return _lower(conditions[0])
    return str(conditions).lower()


def _texts(value: object) -> list[str] | None:
    values = [value] if isinstance(value, str) else value
    return values if isinstance(values, list) and all(isinstance(each, str) for each in values) else None
