"""Several organizations side by side, each with its own keys; by the configuration or by the control plane."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from airflow_provider_cerebras.emulator.service.organizations import OrganizationConfig
from airflow_provider_cerebras.emulator.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

MANAGEMENT = "/management/v1"
ACME = {
    "name": "acme",
    "management_keys": ["acme-management-1", "acme-management-2"],
    "inference_keys": ["acme-inference-1"],
    "model_architectures": ["gpt-oss-120b", "qwen-3-32b"],
    "endpoints": [{"endpoint_id": "acme-live", "model_arch_id": "qwen-3-32b"}],
}


def key(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


ACMES, OTHERS = key("acme-management-1"), key("other-management-key")


@pytest.fixture
async def two(start: Any) -> httpx.AsyncClient:
    """An emulator with the organizations acme and other."""
    api: httpx.AsyncClient = await start(organizations=[ACME, {"name": "other"}], sync_seconds=0, rollout_seconds=0)
    return api


async def upload(api: httpx.AsyncClient, org: str, headers: dict[str, str], *aliases: str) -> httpx.Response:
    body = {"model_arch_id": "gpt-oss-120b", "model": {"weight_uri": "s3://bucket/x", "version_aliases": aliases}}
    return await api.post(f"{MANAGEMENT}/orgs/{org}/models:upload", json=body, headers=headers)


def test_all_of_an_organization_follows_from_its_name() -> None:
    organization = OrganizationConfig(name="acme")
    assert (organization.management_keys, organization.inference_keys) == (
        ("acme-management-key",),
        ("acme-inference-key",),
    )
    assert organization.model_architectures == ("gpt-oss-120b", "llama3.1-8b")
    assert [each.endpoint_id for each in organization.endpoints] == ["acme-gpt-oss-120b", "acme-llama3.1-8b"]


def test_an_endpoint_follows_for_each_architecture_that_is_named() -> None:
    organization = OrganizationConfig(name="acme", model_architectures=("qwen-3-32b",))
    assert [(each.endpoint_id, each.model_arch_id) for each in organization.endpoints] == [
        ("acme-qwen-3-32b", "qwen-3-32b")
    ]


@pytest.mark.parametrize(
    ("organizations", "reason"),
    [
        (
            [{"name": "a"}, {"name": "a", "endpoints": []}],
            r"organizations\[1\].name is the same as organizations\[0\].n",
        ),
        (
            [{"name": "a", "management_keys": ["very-secret"]}, {"name": "b", "inference_keys": ["x", "very-secret"]}],
            r"organizations\[1\].inference_keys\[1\] is the same as organizations\[0\].management_keys\[0\]",
        ),
        (
            [{"name": "a", "management_keys": ["very-secret"], "inference_keys": ["very-secret"]}],
            r"organizations\[0\].inference_keys\[0\] is the same as organizations\[0\].management_keys\[0\]",
        ),
        (
            [{"name": name, "endpoints": [{"endpoint_id": "e", "model_arch_id": "llama3.1-8b"}]} for name in "ab"],
            r"organizations\[1\].endpoints\[0\].endpoint_id is the same as organizations\[0\].endpoints\[0\]",
        ),
        (
            [{"name": "a", "endpoints": [{"endpoint_id": "e", "model_arch_id": "m"}]}],
            r"endpoints\[0\].model_arch_id is none of the organization's model_architectures \(gpt-oss-120b, llama3",
        ),
        ([{"name": "a/b"}], "match pattern"),
        ([{"name": "a", "model_architectures": []}], "at least 1 item"),
        ([{"name": "a", "management_keys": [""]}], "at least 1 character"),
        ([{"name": "a", "colour": "red"}], "colour"),
    ],
)
def test_what_organizations_cannot_be_is_refused_without_a_word_about_keys(
    organizations: list[dict[str, Any]], reason: str
) -> None:
    with pytest.raises(ValidationError, match=reason) as refusal:
        Settings.model_validate({"organizations": organizations})
    assert "very-secret" not in "".join(each["msg"] for each in refusal.value.errors())


def test_organizations_take_the_place_of_the_one() -> None:
    with pytest.raises(ValidationError, match="organizations excludes management_key, org"):
        Settings.model_validate({"organizations": [{"name": "a"}], "org": "b", "management_key": "k"})


def test_one_key_is_not_of_both_kinds() -> None:
    with pytest.raises(ValidationError, match="inference_key is the same as management_key: a key is of one kind"):
        Settings(management_key="k", inference_key="k")


def test_no_repr_shows_a_key() -> None:
    settings = Settings.model_validate({"organizations": [ACME]})
    assert "acme-management" not in repr(settings)
    assert "very-secret" not in repr(Settings(management_key="very-secret-1", inference_key="very-secret-2"))


async def test_each_of_its_keys_opens_an_organization_and_no_other(two: httpx.AsyncClient) -> None:
    for each in ("acme-management-1", "acme-management-2"):
        assert (await two.get(f"{MANAGEMENT}/orgs/acme/models", headers=key(each))).json() == {
            "model_architectures": ["gpt-oss-120b", "qwen-3-32b"]
        }
    refused = await two.get(f"{MANAGEMENT}/orgs/other/models", headers=ACMES)
    assert refused.status_code == 403
    unknown = await two.get(f"{MANAGEMENT}/orgs/unknown/models", headers=ACMES)
    assert refused.text.replace("other", "unknown") == unknown.text


async def test_another_organizations_endpoint_is_as_if_it_were_not_there(two: httpx.AsyncClient) -> None:
    path = f"{MANAGEMENT}/endpoints/acme-live"
    assert (await two.get(path, headers=ACMES)).json()["managing_org_name"] == "acme"
    refused = await two.get(path, headers=OTHERS)
    unknown = await two.get(f"{MANAGEMENT}/endpoints/acme-dead", headers=OTHERS)
    assert (refused.status_code, refused.text.replace("live", "dead")) == (404, unknown.text)
    deploy = {"model": "orgs/other/models/gpt-oss-120b/versions/1"}
    assert (await two.post(f"{path}:deployModel", headers=OTHERS, json=deploy)).status_code == 404


async def test_organizations_share_neither_numbers_nor_aliases(two: httpx.AsyncClient) -> None:
    for org, headers in (("acme", ACMES), ("other", OTHERS)):
        answer = await upload(two, org, headers, "production")
        assert answer.json()["name"] == f"orgs/{org}/models/gpt-oss-120b/versions/1"


async def test_a_version_of_another_organization_is_not_deployed(two: httpx.AsyncClient) -> None:
    await upload(two, "acme", ACMES)
    deploy = {"model": "orgs/acme/models/gpt-oss-120b/versions/1"}
    answer = await two.post(f"{MANAGEMENT}/endpoints/other-gpt-oss-120b:deployModel", headers=OTHERS, json=deploy)
    assert answer.status_code == 403


async def test_another_organizations_endpoint_does_not_answer(two: httpx.AsyncClient) -> None:
    await upload(two, "other", OTHERS)
    deploy = {"model": "orgs/other/models/gpt-oss-120b/versions/1"}
    await two.post(f"{MANAGEMENT}/endpoints/other-gpt-oss-120b:deployModel", headers=OTHERS, json=deploy)
    ask = {"model": "other-gpt-oss-120b", "messages": [{"role": "user", "content": "hi"}]}
    assert (await two.post("/v1/chat/completions", headers=key("other-inference-key"), json=ask)).status_code == 200
    refused = await two.post("/v1/chat/completions", headers=key("acme-inference-1"), json=ask)
    assert refused.status_code == 404


async def test_an_organization_is_added_at_run_time(api: httpx.AsyncClient) -> None:
    added = await api.post("/_emulator/organizations", json=ACME)
    shown = {
        "name": "acme",
        "model_architectures": ["gpt-oss-120b", "qwen-3-32b"],
        "endpoints": ["acme-live"],
        "management_keys": 2,
        "inference_keys": 1,
    }
    assert (added.status_code, added.json()) == (201, shown)
    assert (await api.get("/_emulator/organizations")).json()["organizations"][1] == shown
    assert (await upload(api, "acme", ACMES)).status_code == 200


@pytest.mark.parametrize(
    "organization",
    [
        {"name": "my-org", "management_keys": ["k-1"], "inference_keys": ["k-2"]},
        {"name": "acme", "management_keys": ["emulator-management-key"]},
        {"name": "acme", "endpoints": [{"endpoint_id": "my-org-llama3.1-8b", "model_arch_id": "llama3.1-8b"}]},
        {"name": "acme", "management_keys": ["same-key"], "inference_keys": ["same-key"]},
    ],
)
async def test_an_organization_that_takes_what_another_has_is_refused(
    api: httpx.AsyncClient, organization: dict[str, Any]
) -> None:
    before = (await api.get("/_emulator/organizations")).json()
    refused = await api.post("/_emulator/organizations", json=organization)
    assert refused.status_code == 409
    assert "-key" not in refused.text
    assert (await api.get("/_emulator/organizations")).json() == before


async def test_keys_are_replaced_at_run_time(api: httpx.AsyncClient) -> None:
    rotated = await api.put("/_emulator/organizations/my-org/keys", json={"management_keys": ["rotated-key"]})
    assert (rotated.json()["management_keys"], rotated.json()["inference_keys"]) == (1, 1)
    path = f"{MANAGEMENT}/orgs/my-org/models"
    assert (await api.get(path)).status_code == 401
    assert (await api.get(path, headers=key("rotated-key"))).status_code == 200
    assert (await api.get(path, headers=key("emulator-inference-key"))).json()["detail"].startswith("Wrong kind of key")


@pytest.mark.parametrize(
    ("org", "keys", "status"),
    [
        ("unknown", {"management_keys": ["k"]}, 404),
        ("my-org", {"management_keys": ["emulator-inference-key"]}, 409),
        ("my-org", {"management_keys": ["twice", "twice"]}, 409),
        ("my-org", {"management_keys": [""]}, 422),
        ("my-org", {"keys": []}, 422),
    ],
)
async def test_keys_that_cannot_be_are_refused(
    api: httpx.AsyncClient, org: str, keys: dict[str, Any], status: int
) -> None:
    assert (await api.put(f"/_emulator/organizations/{org}/keys", json=keys)).status_code == status
    assert (await api.get(f"{MANAGEMENT}/orgs/my-org/models")).status_code == 200


async def test_architectures_and_endpoints_are_added_at_run_time(two: httpx.AsyncClient) -> None:
    endpoint = {"org_name": "other", "model_arch_id": "qwen-3-32b", "endpoint_id": "canary"}
    missing = await two.post("/_emulator/endpoints", json=endpoint)
    assert missing.status_code == 404
    architecture = {"org_name": "other", "model_arch_id": "qwen-3-32b"}
    for _ in range(2):
        assert (await two.post("/_emulator/architectures", json=architecture)).status_code == 201
        assert (await two.post("/_emulator/endpoints", json=endpoint)).json() == endpoint
    assert (await two.get(f"{MANAGEMENT}/orgs/other/models", headers=OTHERS)).json()["model_architectures"][-1:] == [
        "qwen-3-32b"
    ]
    assert (await two.get(f"{MANAGEMENT}/endpoints/canary", headers=OTHERS)).status_code == 200
    taken = await two.post("/_emulator/endpoints", json={**endpoint, "org_name": "acme"})
    assert taken.status_code == 409


async def test_without_a_name_it_is_the_first_organization(two: httpx.AsyncClient) -> None:
    added = await two.post("/_emulator/endpoints", json={"endpoint_id": "e", "model_arch_id": "gpt-oss-120b"})
    assert added.json()["org_name"] == "acme"


async def test_a_reset_leaves_the_organizations_of_the_settings(two: httpx.AsyncClient) -> None:
    await two.post("/_emulator/organizations", json={"name": "third"})
    await two.put("/_emulator/organizations/acme/keys", json={"management_keys": ["rotated-key"]})
    await two.post("/_emulator/architectures", json={"org_name": "acme", "model_arch_id": "llama3.1-8b"})
    await two.post("/_emulator/reset")
    shown = (await two.get("/_emulator/organizations")).json()["organizations"]
    assert [each["name"] for each in shown] == ["acme", "other"]
    assert shown[0]["model_architectures"] == ["gpt-oss-120b", "qwen-3-32b"]
    assert (await two.get(f"{MANAGEMENT}/orgs/acme/models", headers=ACMES)).status_code == 200


async def test_a_key_is_seen_nowhere_however_it_is_sent(two: httpx.AsyncClient) -> None:
    secret = "acme-management-1"
    await two.get(f"{MANAGEMENT}/orgs/{secret}/models?key={secret}", headers={**ACMES, "x-api-key": secret})
    await two.post(f"{MANAGEMENT}/orgs/acme/models:upload", headers=ACMES, json={"token": [f"it is {secret}"]})
    seen = [
        (await two.get(f"/_emulator/{part}")).text
        for part in ("requests", "state", "organizations", "faults", "settings", "clock", "profiles")
    ]
    assert "acme-" in seen[1]
    assert not [text for text in seen if secret in text]
    [first, second] = (await two.get("/_emulator/requests")).json()["requests"]
    assert (first["path"], first["query"]) == (f"{MANAGEMENT}/orgs/***/models", "key=***")
    assert (first["headers"]["x-api-key"], second["body"]) == ("***", {"token": ["it is ***"]})


async def test_a_key_is_not_seen_after_it_was_replaced_nor_is_the_new_one(two: httpx.AsyncClient) -> None:
    await two.get("/management/v1/orgs/acme/models")
    await two.put("/_emulator/organizations/acme/keys", json={"management_keys": ["rotated-key"]})
    await two.get("/management/v1/orgs/acme/models", headers={"x-old": "acme-management-1", "x-new": "rotated-key"})
    [*_, last] = (await two.get("/_emulator/requests")).json()["requests"]
    assert (last["headers"]["x-old"], last["headers"]["x-new"]) == ("***", "***")


async def test_a_key_with_signs_that_are_encoded_is_not_seen_either(
    start: Any, advance: Callable[[float], None]
) -> None:
    secret = 'quo"ted/ke y'
    api = await start(management_key=secret)
    await api.get(f"{MANAGEMENT}/orgs/x/models", params={"key": secret}, headers={"Authorization": ""})
    await api.post(f"{MANAGEMENT}/orgs/x/models:upload", json={"token": secret}, headers={"Authorization": ""})
    [first, second] = (await api.get("/_emulator/requests")).json()["requests"]
    assert (first["query"], second["body"]) == ("key=***", {"token": "***"})
