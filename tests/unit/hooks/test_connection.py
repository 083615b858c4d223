"""What the fields of a connection mean."""

from __future__ import annotations

import traceback
from typing import Any

import pytest

from airflow_provider_cerebras.hooks.connection import ConnectionFields, ConnectionSettings, read_connection

SECRET = "s3cret-management-key"


def read(**fields: Any) -> ConnectionSettings:
    given = {"host": None, "port": None, "password": SECRET, "extra": {}, **fields}
    return read_connection("my_conn", ConnectionFields.of(**given))


def test_a_key_is_enough() -> None:
    settings = read()
    client = settings.client
    assert (client.management_key, client.inference_key, settings.org_name) == (SECRET, None, None)
    assert (client.base_url, client.timeout, client.max_retries) == ("https://api.cerebras.ai", 30, 5)
    assert (client.verify, client.proxy) == (True, None)


def test_every_field_reaches_the_client() -> None:
    settings = read(
        host="https://gateway.example",
        extra={
            "org_name": "my-org",
            "inference_api_key": "other-key",
            "request_timeout": 7.5,
            "max_retries": 2,
            "verify": "/etc/ssl/ca.pem",
            "proxy": "http://proxy.example:3128",
        },
    )
    client = settings.client
    assert settings.org_name == "my-org"
    assert (client.base_url, client.inference_key) == ("https://gateway.example", "other-key")
    assert (client.timeout, client.max_retries) == (7.5, 2)
    assert (client.verify, client.proxy) == ("/etc/ssl/ca.pem", "http://proxy.example:3128")


@pytest.mark.parametrize(
    ("host", "port", "base_url"),
    [
        (None, None, "https://api.cerebras.ai"),
        ("", None, "https://api.cerebras.ai"),
        (None, 8443, "https://api.cerebras.ai:8443"),
        ("gateway.example", None, "https://gateway.example"),
        ("gateway.example", 8443, "https://gateway.example:8443"),
        ("https://gateway.example/", 8443, "https://gateway.example:8443"),
        ("http://127.0.0.1", 8900, "http://127.0.0.1:8900"),
        ("https://gateway.example/cerebras", 8443, "https://gateway.example:8443/cerebras"),
        ("https://gateway.example:8443", 8443, "https://gateway.example:8443"),
        ("gateway.example:8443", 8443, "https://gateway.example:8443"),
        ("gateway.example:8443", None, "https://gateway.example:8443"),
        ("::1", None, "https://[::1]"),
        ("2001:db8::1", 8443, "https://[2001:db8::1]:8443"),
        ("[2001:db8::1]:8443", None, "https://[2001:db8::1]:8443"),
        ("https://api.cerebras.ai ", None, "https://api.cerebras.ai"),
    ],
)
def test_host_and_port_make_the_base_url(host: str | None, port: int | None, base_url: str) -> None:
    assert read(host=host, port=port).client.base_url == base_url


@pytest.mark.parametrize("blank", ["", None])
def test_what_a_form_leaves_empty_is_as_if_it_were_absent(blank: str | None) -> None:
    names = ("org_name", "inference_api_key", "request_timeout", "max_retries", "verify", "proxy")
    assert read(extra=dict.fromkeys(names, blank)) == read()


def test_a_form_gives_numbers_and_booleans_as_texts() -> None:
    client = read(extra={"request_timeout": "7.5", "max_retries": "0", "verify": "True"}).client
    assert (client.timeout, client.max_retries, client.verify) == (7.5, 0, True)


def test_fields_of_others_in_extra_are_left_alone() -> None:
    assert read(extra={"something_else": {"a": 1}}) == read()


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        pytest.param({"password": None}, "password: is empty", id="no key"),
        pytest.param({"password": ""}, "password: is empty", id="empty key"),
        pytest.param({"password": "a key"}, "password: ", id="key with a space"),
        pytest.param({"password": "key\n"}, "password: ", id="key with a newline"),
        pytest.param({"host": "http://api.cerebras.ai"}, "host: ", id="unencrypted"),
        pytest.param({"host": "https://user:pass@api.cerebras.ai"}, "host: ", id="credentials in the host"),
        pytest.param({"host": "https://x:1", "port": 2}, "host: ", id="two ports"),
        pytest.param({"host": "https:/x"}, "host: 'https:/x' has one slash too few", id="one slash"),
        pytest.param({"extra": []}, "extra: must be a JSON object", id="extra a list"),
        pytest.param({"extra": "text"}, "extra: must be a JSON object", id="extra a text"),
        pytest.param({"extra": {"org_name": 5}}, "extra: org_name: ", id="org_name a number"),
        pytest.param({"extra": {"request_timeout": 0}}, "extra: request_timeout: ", id="no time"),
        pytest.param({"extra": {"request_timeout": "soon"}}, "extra: request_timeout: ", id="time-out a word"),
        pytest.param({"extra": {"request_timeout": "inf"}}, "extra: request_timeout: ", id="endless time-out"),
        pytest.param({"extra": {"request_timeout": "nan"}}, "extra: request_timeout: ", id="time-out not a number"),
        pytest.param({"extra": {"max_retries": -1}}, "extra: max_retries: ", id="negative retries"),
        pytest.param({"extra": {"max_retries": 1.5}}, "extra: max_retries: ", id="half a retry"),
        pytest.param({"extra": {"verify": False}}, "verify: ", id="verify off"),
        pytest.param({"extra": {"verify": "FALSE"}}, "verify: ", id="verify off as a text"),
        pytest.param({"extra": {"verify": {"a": 1}}}, "extra: verify: ", id="verify an object"),
        pytest.param({"extra": {"proxy": "nonsense"}}, "proxy: ", id="proxy no URL"),
        pytest.param({"extra": {"inference_api_key": "a key"}}, "inference_api_key: ", id="inference key"),
        pytest.param({"extra": {"inference_api_key": ["key"]}}, "extra: inference_api_key: ", id="key a list"),
    ],
)
def test_what_cannot_be_used_is_refused_by_connection_and_field(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(ValueError, match=rf"^Connection 'my_conn', field {field}"):
        read(**fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"password": f"{SECRET} "},
        {"host": f"https://user:{SECRET}@api.cerebras.ai"},
        {"extra": {"inference_api_key": f"{SECRET}\n"}},
        {"extra": {"inference_api_key": [SECRET]}},
        {"extra": {"proxy": f"user:{SECRET}@proxy"}},
        {"extra": {"request_timeout": SECRET}},
        {"extra": {"max_retries": -1}},
    ],
)
def test_no_refusal_repeats_a_secret(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="my_conn") as caught:
        read(**fields)
    assert SECRET not in str(caught.value)
    assert SECRET not in repr(caught.value.__cause__)


@pytest.mark.parametrize(
    "wrong", [{"host": "ftp://x"}, {"port": -1}, {"extra": {"max_retries": -1}}, {"extra": {"proxy": ["a"]}}]
)
def test_a_traceback_with_the_values_of_variables_shows_no_key(wrong: dict[str, Any]) -> None:
    extra = {"inference_api_key": "s3cret-inference", "proxy": "http://u:s3cret-proxy@p", **wrong.pop("extra", {})}
    given = ConnectionFields.of(**{"host": None, "port": None, "password": SECRET, "extra": extra, **wrong})
    with pytest.raises(ValueError, match="my_conn") as caught:
        read_connection("my_conn", given)
    shown = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert "given = " in shown
    assert "s3cret" not in shown.replace(repr(SECRET), "").replace(repr(extra), "")


def test_settings_print_without_secrets() -> None:
    settings = read(extra={"inference_api_key": "s3cret-other", "proxy": "http://user:s3cret-proxy@proxy.example"})
    for text in (repr(settings), str(settings), repr(settings.client)):
        assert "s3cret" not in text


def test_the_service_is_told_which_airflow_asks() -> None:
    from airflow import __version__ as airflow_version

    assert f"(airflow/{airflow_version}; " in read().client.user_agent
