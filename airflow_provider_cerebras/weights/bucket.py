"""The bucket: whether the service's role may read it, and what else may keep the service from the objects."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_cerebras.weights.findings import Finding, finding, plain, some
from airflow_provider_cerebras.weights.policy import (
    ACTIONS,
    ON_OBJECTS,
    ON_THE_BUCKET,
    Effect,
    Role,
    evaluate,
    statement_for,
    statements_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_MOST_KEYS = 500


@dataclass(frozen=True, slots=True)
class BucketFacts:
    """The configuration of a bucket.

    :param policy: the text of its policy; None: it has none, or it cannot be read.
    :param policy_problem: why its policy cannot be read; empty: it can.
    :param region: where it is; empty: unknown.
    :param default_kms_key: the KMS key that new objects are encrypted with; empty: the account's own one for S3;
        None: they are not encrypted with one, or it is unknown.
    :param kms_keys: the KMS keys of objects that have been read.
    :param requester_pays: whether the requester pays.
    :param in_account_of_role: whether it is known to be in the account of the role.
    """

    policy: str | None = None
    policy_problem: str = ""
    region: str = ""
    default_kms_key: str | None = None
    kms_keys: frozenset[str] = frozenset()
    requester_pays: bool = False
    in_account_of_role: bool = False


def examine_bucket(bucket: str, keys: Sequence[str], role: Role, facts: BucketFacts) -> Iterator[Finding]:
    """Return whether a role may read objects in a bucket.

    :param bucket: name of the bucket.
    :param keys: the whole keys of the objects.
    :param role: the role.
    :param facts: what S3 says about the bucket.
    """
    yield from _access(bucket, keys, role, facts)
    yield from _encryption(facts, role)
    if facts.requester_pays:
        yield finding("requester-pays", f"The bucket {bucket!r} is set to requester pays.")


def _access(bucket: str, keys: Sequence[str], role: Role, facts: BucketFacts) -> Iterator[Finding]:
    if facts.policy_problem:
        yield finding("policy-unreadable", f"S3 said: {plain(facts.policy_problem)}.")
        return
    if facts.policy is None:
        if facts.in_account_of_role:
            yield _unclear_in_own_account(role)
        else:
            yield finding("no-bucket-policy", f"Needed is the statement {_statement(bucket, role, ACTIONS)}.")
        return
    try:
        statements = statements_of(facts.policy)
    except ValueError as error:
        yield finding("policy-unreadable", str(error))
        return
    yield from _granted(bucket, keys, role, statements, own_account=facts.in_account_of_role)


def _granted(
    bucket: str, keys: Sequence[str], role: Role, statements: list[object], *, own_account: bool
) -> Iterator[Finding]:
    arn = role.bucket_arn(bucket)
    step = max(1, len(keys) // _MOST_KEYS)
    resources = {action: [f"{arn}/{key}" for key in keys[::step]] for action in ON_OBJECTS}
    resources |= {action: [arn] for action in ON_THE_BUCKET}
    lacking: dict[str, str] = {}
    for action in ACTIONS:
        verdicts = {resource: evaluate(statements, role, action, resource) for resource in resources[action]}
        for resource, verdict in verdicts.items():
            statement = plain(verdict.statement)
            if verdict.effect is Effect.DENIED:
                what = f"The statement {statement!r} denies {role.arn} {action} on {plain(resource)}."
                yield finding("access-denied", what)
            elif verdict.effect in {Effect.MAY_BE_DENIED, Effect.MAY_BE_GRANTED}:
                what = f"The statement {statement!r} decides on {action} on {plain(resource)}, under a condition."
                yield finding("access-unclear", what)
            elif verdict.effect is Effect.GRANTED_TO_ALL:
                what = f"{action} is granted to everybody, which a public access block may take back."
                yield finding("access-unclear", what)
            elif verdict.effect is Effect.NOT_GRANTED:
                lacking.setdefault(action, resource)
            else:
                continue
            break  # One resource will do for each action.
    if lacking and own_account:
        yield _unclear_in_own_account(role)
    elif lacking:
        statement = _statement(bucket, role, tuple(lacking))
        places = some(f"{action} on {resource}" for action, resource in lacking.items())
        yield finding("access-not-granted", f"{role.arn} lacks {places}. Needed is the statement {statement}.")


def _unclear_in_own_account(role: Role) -> Finding:
    what = f"The policy does not grant it, but {role.arn} is of the bucket's own account, whose policies may."
    return finding("access-unclear", what)


def _encryption(facts: BucketFacts, role: Role) -> Iterator[Finding]:
    if facts.kms_keys:
        what = f"Objects are encrypted with the KMS key {some(facts.kms_keys)}, and {role.arn} needs kms:Decrypt."
        yield finding("kms", what)
    elif facts.default_kms_key is not None:
        key = f"the KMS key {plain(facts.default_kms_key)}" if facts.default_kms_key else "the account's key aws/s3"
        never = "" if facts.default_kms_key else " No other account can use that key: choose a key of your own."
        yield finding("kms", f"New objects are encrypted with {key}, and {role.arn} needs kms:Decrypt.{never}")


def _statement(bucket: str, role: Role, actions: tuple[str, ...]) -> str:
    return json.dumps(statement_for(bucket, role, actions))
