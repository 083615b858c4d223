"""URIs of assets: one form for each thing, however it is written."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

import pytest
from airflow.providers.common.compat.sdk import Asset
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_cerebras.assets import create_asset, endpoint_asset, model_asset
from airflow_provider_cerebras.assets.uris import endpoint_uri, model_uri, normalize, version_uri

IDS = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=20).filter(
    lambda text: text not in {".", ".."}
)
MODEL, ENDPOINT = "cerebras://orgs/my-org/models/gpt-oss-120b", "cerebras://endpoints/my-org-gpt-oss-120b"


def normalized(uri: str) -> str:
    return urlunsplit(normalize(urlsplit(uri)))


def test_a_uri_is_the_scheme_and_the_api_s_own_name() -> None:
    assert model_asset("my-org", "gpt-oss-120b").uri == MODEL
    assert version_uri("orgs/my-org/models/gpt-oss-120b/versions/7") == f"{MODEL}/versions/7"
    assert endpoint_asset("my-org-gpt-oss-120b").uri == ENDPOINT


def test_whoever_writes_the_uri_by_hand_means_the_same_asset() -> None:
    assert Asset(MODEL) == create_asset(uri=MODEL) == model_asset("my-org", "gpt-oss-120b")
    assert Asset(ENDPOINT) == endpoint_asset("my-org-gpt-oss-120b")


@pytest.mark.parametrize(
    "uri",
    [
        f"{MODEL}/",
        "CEREBRAS://orgs/my-org/models/gpt-oss-120b",
        "cerebras://ORGS/my-org/models/gpt-oss-120b",
        "cerebras://orgs/my%2Dorg/models/gpt-oss-120b",
    ],
)
def test_airflow_itself_brings_a_uri_into_its_one_form(uri: str) -> None:
    assert Asset(uri).uri == MODEL


@given(IDS, IDS)
def test_any_id_has_a_uri_that_stays_as_it_is(org_name: str, model_arch_id: str) -> None:
    for uri in (model_uri(org_name, model_arch_id), endpoint_uri(model_arch_id)):
        assert normalized(uri) == uri
        assert uri.isascii()


@given(IDS, IDS)
def test_ids_that_differ_have_uris_that_differ(one: str, other: str) -> None:
    assert (endpoint_uri(one) == endpoint_uri(other)) == (one == other)


@pytest.mark.parametrize(
    "uri",
    [
        "cerebras://",
        "cerebras://endpoints",
        "cerebras://endpoints/",
        "cerebras://endpoints/a/b",
        "cerebras://endpoints/..",
        "cerebras://endpoints/a%0Ab",
        "cerebras://endpoints/a?b=c",
        "cerebras://key@endpoints/a",
        "cerebras://orgs/my-org",
        "cerebras://orgs/my-org/models/",
        "cerebras://orgs//models/gpt-oss-120b",
        "cerebras://orgs/my-org/Models/gpt-oss-120b",
        f"{MODEL}/versions/",
        f"{MODEL}/versions/1/more",
    ],
)
def test_what_names_nothing_of_the_service_is_refused(uri: str) -> None:
    with pytest.raises(ValueError, match=r"is not a|holds white space"):
        normalized(uri)


@pytest.mark.parametrize("model_arch_id", ["", "..", "a b", "a\nb"])
def test_what_cannot_be_an_id_has_no_asset(model_arch_id: str) -> None:
    with pytest.raises(ValueError, match="model_arch_id"):
        model_asset("my-org", model_arch_id)
