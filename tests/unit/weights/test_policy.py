"""What a bucket policy means for the role of another account."""

from __future__ import annotations

import json
import time
from fnmatch import fnmatchcase
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_cerebras.weights.bucket import BucketFacts, examine_bucket
from airflow_provider_cerebras.weights.findings import Level
from airflow_provider_cerebras.weights.policy import ACTIONS, Effect, Role, bucket_policy, evaluate, statements_of

ARN = "arn:aws:iam::123456789012:role/cerebras-reader"
ROLE = Role.parse(ARN)
BUCKET = "arn:aws:s3:::models"
KEYS = [f"run/model-{number}.safetensors" for number in range(3)]
GRANT: dict[str, Any] = bucket_policy("models", ARN)["Statement"][0]


def found(policy: Any, **facts: Any) -> list[tuple[str, str]]:
    text = policy if isinstance(policy, str) or policy is None else json.dumps(policy)
    findings = examine_bucket("models", KEYS, ROLE, BucketFacts(policy=text, **facts))
    return [(each.level.value, each.code) for each in findings]


def statements(*each: Any) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(each)}


def test_the_policy_that_is_printed_grants_all_that_is_needed() -> None:
    assert found(bucket_policy("models", ARN)) == []
    assert GRANT["Action"] == ["s3:GetObject", "s3:GetObjectVersion", "s3:ListBucket", "s3:GetBucketLocation"]
    assert GRANT["Resource"] == [BUCKET, f"{BUCKET}/*"]


def test_in_another_part_of_aws_the_arns_are_of_that_part() -> None:
    statement = bucket_policy("models", "arn:aws-cn:iam::123456789012:role/reader")["Statement"][0]
    assert statement["Resource"] == ["arn:aws-cn:s3:::models", "arn:aws-cn:s3:::models/*"]


@pytest.mark.parametrize(
    "arn", ["", None, 1, "reader", ARN.replace("iam", "s3"), ARN.replace("role", "group"), f"{ARN} "]
)
def test_what_is_no_arn_of_a_role_is_refused(arn: Any) -> None:
    with pytest.raises(
        ValueError, match=r"reader_role_arn: .* is not of the form arn:aws:iam::<12 digits>:role/<name>"
    ):
        bucket_policy("models", arn)


@pytest.mark.parametrize(
    "granting",
    [
        GRANT,
        {**GRANT, "Action": "s3:*"},
        {**GRANT, "Action": ["S3:GetObject*", "s3:List?ucket", "s3:getbucketlocation"]},
        {**GRANT, "Action": "*", "Resource": "*"},
        {**GRANT, "Principal": {"AWS": ["arn:aws:iam::1:root", ARN]}},
        {**GRANT, "Principal": {"AWS": "arn:aws:iam::123456789012:root"}},
        {**GRANT, "Principal": {"AWS": "123456789012"}},
        {**GRANT, "Resource": [BUCKET, f"{BUCKET}/run/*"]},
        {**{key: value for key, value in GRANT.items() if key != "Action"}, "NotAction": "s3:Delete*"},
        {**{key: value for key, value in GRANT.items() if key != "Resource"}, "NotResource": f"{BUCKET}/secret/*"},
    ],
)
def test_what_grants_it_grants_it(granting: dict[str, Any]) -> None:
    assert found(statements(granting)) == []
    deny = {**GRANT, "Effect": "Deny", "Condition": {"Bool": {"aws:SecureTransport": "false"}}, "Principal": "*"}
    assert found(statements(deny, granting, {**GRANT, "Principal": {"Service": "logging.s3.amazonaws.com"}})) == []


@pytest.mark.parametrize("action", ACTIONS)
def test_each_action_that_is_lacking_is_named_with_the_statement_to_add(action: str) -> None:
    policy = statements({**GRANT, "Action": [each for each in ACTIONS if each != action]})
    (finding,) = examine_bucket("models", KEYS, ROLE, BucketFacts(policy=json.dumps(policy)))
    assert (finding.level, finding.code) == (Level.ERROR, "access-not-granted")
    assert f"lacks {action} on {BUCKET}" in finding.message
    to_add = json.loads(finding.message.partition("the statement ")[2].rpartition(". Add")[0])
    assert found(statements(*policy["Statement"], to_add)) == []


@pytest.mark.parametrize(
    "granting",
    [
        {**GRANT, "Principal": {"AWS": "arn:aws:iam::123456789012:role/other"}},
        {**GRANT, "Principal": {"Service": "s3.amazonaws.com"}},
        {**GRANT, "Resource": BUCKET},
        {**GRANT, "Resource": f"{BUCKET}/*"},
        {**GRANT, "Resource": [BUCKET, f"{BUCKET}/run-2/*"]},
        {**GRANT, "Resource": ["arn:aws:s3:::other", "arn:aws:s3:::other/*"]},
    ],
)
def test_what_does_not_grant_it_is_an_error(granting: dict[str, Any]) -> None:
    assert found(statements(granting)) == [("error", "access-not-granted")]
    # In its own account the role may have it by a policy of its own.
    assert found(statements(granting), in_account_of_role=True) == [("warning", "access-unclear")]


def test_no_policy_grants_nothing() -> None:
    assert found(None) == [("error", "no-bucket-policy")]
    assert found(statements()) == [("error", "access-not-granted")]


@pytest.mark.parametrize(
    "denying",
    [
        {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": f"{BUCKET}/*"},
        {"Effect": "Deny", "Principal": {"AWS": ARN}, "Action": "s3:GetObject", "Resource": f"{BUCKET}/run/model-2*"},
        {"Effect": "Deny", "Principal": {"AWS": "123456789012"}, "NotAction": "s3:Put*", "Resource": "*"},
    ],
)
def test_a_deny_wins(denying: dict[str, Any]) -> None:
    assert set(found(statements(GRANT, {**denying, "Sid": "DenyAll"}))) == {("error", "access-denied")}


@pytest.mark.parametrize(
    "unclear",
    [
        {**GRANT, "Effect": "Deny", "Principal": "*", "Condition": {"StringNotEquals": {"aws:SourceVpc": "vpc-1"}}},
        {**GRANT, "Effect": "Deny", "NotPrincipal": {"AWS": ARN}, "Principal": None},
        {**GRANT, "Effect": "Perhaps"},
        {**GRANT, "Effect": "Deny", "Action": {"no": "list"}},
        {**GRANT, "Effect": "Deny", "Resource": f"{BUCKET}/${{aws:username}}/*"},
        "no statement",
    ],
)
def test_what_cannot_be_told_is_a_warning(unclear: Any) -> None:
    assert set(found(statements(GRANT, unclear))) == {("warning", "access-unclear")}


def test_a_session_of_a_role_in_a_path_goes_by_its_name() -> None:
    role = Role.parse("arn:aws:iam::123456789012:role/team/reader")
    for name, code in (("reader", "access-unclear"), ("team/reader", "access-not-granted")):
        session = {"AWS": f"arn:aws:sts::123456789012:assumed-role/{name}/session"}
        facts = BucketFacts(policy=json.dumps(statements({**GRANT, "Principal": session})))
        assert {each.code for each in examine_bucket("models", KEYS, role, facts)} == {code}


def test_the_statement_that_denies_is_named() -> None:
    denying = {**GRANT, "Effect": "Deny", "Sid": "DenyAll"}
    facts = BucketFacts(policy=json.dumps(statements(GRANT, denying)))
    assert all("DenyAll" in each.message for each in examine_bucket("models", KEYS, ROLE, facts))


def test_the_statement_has_a_name_of_its_own() -> None:
    assert bucket_policy("models", ARN)["Statement"][0]["Sid"] == "CerebrasReadsWeights"


def test_a_conditional_allow_grants_perhaps_and_takes_nothing_away() -> None:
    conditional = {**GRANT, "Condition": {"StringEquals": {"aws:PrincipalOrgID": "o-1"}}}
    assert set(found(statements(conditional))) == {("warning", "access-unclear")}
    assert found(statements(conditional, GRANT)) == []
    assert set(found(statements({**GRANT, "Principal": "*"}))) == {("warning", "access-unclear")}
    assert set(found(statements({**GRANT, "Principal": {"AWS": "AROAEXAMPLEIDOFAROLE"}}))) == {
        ("warning", "access-unclear")
    }


@pytest.mark.parametrize("policy", ["", "[]", "{", '{"Statement": 1}', '{"Statement":' * 100_000, '"\\ud800"'])
def test_what_is_no_policy_is_a_warning(policy: str) -> None:
    assert found(policy) == [("warning", "policy-unreadable")]


def test_what_else_may_keep_the_service_out() -> None:
    policy = bucket_policy("models", ARN)
    assert found(policy, requester_pays=True) == [("warning", "requester-pays")]
    assert found(policy, kms_keys=frozenset({"arn:aws:kms:us-east-1:1:key/2"})) == [("warning", "kms")]
    assert found(policy, default_kms_key="") == [("warning", "kms")]
    assert found(policy, policy_problem="AccessDenied") == [("warning", "policy-unreadable")]


@given(st.text("ab*?[", max_size=6), st.text("ab[", max_size=6))
def test_patterns_are_matched_as_by_fnmatch_without_brackets(pattern: str, value: str) -> None:
    statement = {**GRANT, "Resource": pattern}
    granted = evaluate([statement], ROLE, "s3:GetObject", value).effect is Effect.GRANTED
    assert granted == fnmatchcase(value, pattern.replace("[", "[[]"))


def test_a_pattern_of_many_stars_takes_no_longer() -> None:
    begin = time.process_time()
    pattern = "a" + "*a" * 200 + "b"
    assert evaluate([{**GRANT, "Resource": pattern}], ROLE, "s3:GetObject", "a" * 1000).effect is Effect.NOT_GRANTED
    assert time.process_time() - begin < 5


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=3),
        lambda each: (
            st.lists(each, max_size=3)
            | st.dictionaries(
                st.sampled_from(["Effect", "Principal", "Action", "Resource", "Condition", "AWS"]), each, max_size=5
            )
        ),
        max_leaves=8,
    )
)
def test_whatever_is_in_a_policy_has_an_effect(statement: Any) -> None:
    for each in statements_of(json.dumps({"Statement": [statement]})):
        assert evaluate([each], ROLE, "s3:GetObject", BUCKET).effect in Effect
