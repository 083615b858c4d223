"""Links: where they lead, and that nothing a user writes can make one lead elsewhere."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from airflow.providers.common.compat.sdk import XCom
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_cerebras.links import CerebrasConsoleLink, CerebrasWeightsLink
from airflow_provider_cerebras.links.base import CerebrasLink, persist_links
from airflow_provider_cerebras.operators.model_versions import CerebrasUploadModelVersionOperator
from airflow_provider_cerebras.version_compat import AIRFLOW_V_3_0_PLUS
from tests.task_instance import TaskInstance

LINKS = [CerebrasConsoleLink(), CerebrasWeightsLink()]


def weights_url(weight_uri: object) -> str:
    return CerebrasWeightsLink().url(SimpleNamespace(weight_uri=weight_uri))


def test_the_weights_are_shown_in_the_console_of_s3() -> None:
    assert weights_url("s3://my-bucket/fine-tunes/2026-01-01") == (
        "https://console.aws.amazon.com/s3/buckets/my-bucket?prefix=fine-tunes%2F2026-01-01/"
    )
    assert weights_url("s3://aws_default@my-bucket/fine-tunes") == weights_url("s3://my-bucket/fine-tunes")
    assert weights_url("s3://my-bucket/fine-tunes/") == weights_url("s3://my-bucket/fine-tunes")


@pytest.mark.parametrize(
    "weight_uri",
    [
        None,
        7,
        "",
        "https://evil.example/weights",
        "javascript:alert(1)",
        "gs://my-bucket/weights",
        "s3://my-bucket",
        "s3://user:password@evil.example/weights",
        "s3://my-bucket/None",
        "s3://my-bucket\n/weights",
        "s3://my-bucket/weights\r\nSet-Cookie: a=b",
        "{{ params.weight_uri }}",
    ],
)
def test_what_is_not_a_folder_of_s3_has_no_link(weight_uri: object) -> None:
    assert weights_url(weight_uri) == ""


@given(st.from_regex(r"s3://[a-z0-9]{3,9}/.{1,98}[^/{%\s]", fullmatch=True).filter(str.isprintable))
def test_no_prefix_leaves_its_place(weight_uri: str) -> None:
    parts = urlsplit(weights_url(weight_uri))
    bucket, _, prefix = weight_uri.removeprefix("s3://").partition("/")
    assert (parts.scheme, parts.netloc, parts.path) == ("https", "console.aws.amazon.com", f"/s3/buckets/{bucket}")
    assert parts.fragment == ""
    assert parse_qs(parts.query, strict_parsing=True) == {"prefix": [f"{prefix.strip('/')}/"]}


@pytest.mark.parametrize("link", LINKS, ids=lambda link: link.name)
@pytest.mark.parametrize("stored", [None, 7, "", "javascript:alert(1)", "https://evil.example", {"url": "x"}])
def test_what_another_client_has_stored_is_no_link(
    link: CerebrasLink, stored: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(XCom, "get_value", lambda **_: stored)
    operator: Any = None
    assert link.get_link(operator, ti_key=operator) == ""


@pytest.mark.parametrize("link", LINKS, ids=lambda link: link.name)
def test_a_link_that_cannot_be_read_is_none(link: CerebrasLink, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: object) -> None:
        raise RuntimeError("the database is away")

    monkeypatch.setattr(XCom, "get_value", fail)
    operator: Any = None
    assert link.get_link(operator, ti_key=operator) == ""


def test_a_link_that_cannot_be_stored_does_no_harm() -> None:
    def fail(**_: object) -> None:
        raise RuntimeError("the database is away")

    context: Any = {"ti": SimpleNamespace(xcom_push=fail)}
    persist_links(SimpleNamespace(operator_extra_links=LINKS, weight_uri="s3://my-bucket/weights"), context)


@pytest.mark.skipif(not AIRFLOW_V_3_0_PLUS, reason="the server of Airflow 2 reads XComs by the backend")
def test_a_link_is_stored_past_an_xcom_backend_of_the_user_s_own(monkeypatch: pytest.MonkeyPatch) -> None:
    stored: dict[str, object] = {}
    ti = TaskInstance()

    class Elsewhere(XCom):  # type: ignore[misc]
        """Keeps values in files, and a path in the database."""

    monkeypatch.setattr(
        Elsewhere.__mro__[1], "_set_xcom_in_db", classmethod(lambda _, key, value, **ids: stored.update({key: value}))
    )
    monkeypatch.setattr("airflow.providers.common.compat.sdk.XCom", Elsewhere)
    persist_links(SimpleNamespace(operator_extra_links=LINKS, weight_uri="s3://my-bucket/weights"), {"ti": ti})  # type: ignore[typeddict-item]
    assert set(stored) == {link.xcom_key for link in LINKS}
    assert ti.xcoms == {}


def test_on_a_worker_a_link_is_known_without_a_look_at_what_is_stored() -> None:
    operator: Any = CerebrasUploadModelVersionOperator(
        task_id="upload", model_arch_id="gpt-oss-120b", weight_uri="s3://my-bucket/weights"
    )
    key: Any = None
    assert LINKS[1].get_link(operator, ti_key=key) == weights_url("s3://my-bucket/weights")
