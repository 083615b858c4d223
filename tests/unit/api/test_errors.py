"""How an answer becomes an error, and what it says to people."""

from __future__ import annotations

import copy
import json
import pickle
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_cerebras.api import errors
from airflow_provider_cerebras.api._redaction import redact
from airflow_provider_cerebras.api.errors import (
    MAX_MESSAGE_LENGTH,
    BadRequest,
    CerebrasAPIError,
    CerebrasError,
    CerebrasTransportError,
    Conflict,
    Forbidden,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    ServerError,
    Unauthorized,
    UnexpectedResponse,
    error_from_response,
    parse_retry_after,
    read_message,
)

KEY = "mgmt-key-5b1e"


def api_error(status: int = 400, body: bytes = b"", headers: dict[str, str] | None = None) -> CerebrasAPIError:
    return error_from_response(
        method="GET",
        url="https://api.cerebras.ai/x",
        status_code=status,
        headers=headers or {},
        body=body,
        secrets=[KEY],
    )


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, BadRequest),
        (401, Unauthorized),
        (403, Forbidden),
        (404, NotFound),
        (409, Conflict),
        (422, BadRequest),
        (429, RateLimited),
        (500, ServerError),
        (502, ServerError),
        (503, ServerError),
        (599, ServerError),
        (402, CerebrasAPIError),
        (408, CerebrasAPIError),
        (418, CerebrasAPIError),
    ],
)
def test_each_status_has_its_class(status: int, error: type[CerebrasAPIError]) -> None:
    assert type(api_error(status)) is error


@pytest.mark.parametrize(
    ("content_type", "body", "from_api"),
    [
        ("application/json", b'{"detail": "no such version"}', True),
        ("application/json; charset=utf-8", b'{"error": {"message": "no such version"}}', True),
        ("application/problem+json", b'{"message": "no such version"}', True),
        (None, b'{"detail": "no such version"}', True),
        ("text/html", b"<html><body>404 Not Found</body></html>", False),
        ("text/html", b'{"detail": "no such version"}', False),
        ("application/json", b"", False),
        ("application/json", b"{}", False),
        ("application/json", b'{"detail": null}', False),
        ("application/json", b'{"status": 404}', False),
        ("application/json", b'"no such version"', False),
        ("application/json", b'["detail"]', False),
        ("application/json", b'\xff{"detail": "x"}', False),
        ("application/json", b"[" * 60_000, False),
    ],
)
def test_tells_the_apis_own_error_from_that_of_anything_else(
    content_type: str | None, body: bytes, from_api: bool
) -> None:
    error = api_error(404, body, {"content-type": content_type} if content_type else {})
    assert error.is_from_api is from_api
    assert pickle.loads(pickle.dumps(error)).is_from_api is from_api


def test_all_errors_have_one_base() -> None:
    assert {CerebrasAPIError, CerebrasTransportError, OutcomeUnknown, UnexpectedResponse} == set(
        CerebrasError.__subclasses__()
    )


@pytest.mark.parametrize(
    ("body", "message"),
    [
        pytest.param({"detail": "No such version."}, "No such version.", id="detail text"),
        pytest.param(
            {"detail": [{"loc": ["body", "model", 0], "msg": "field required", "type": "missing"}]},
            "body.model.0: field required",
            id="detail list",
        ),
        pytest.param(
            {"detail": [{"loc": ["body", "a"], "msg": "one"}, {"loc": ["body", "b"], "msg": "two"}]},
            "body.a: one; body.b: two",
            id="detail list of two",
        ),
        pytest.param({"detail": [{"msg": "field required"}]}, "field required", id="detail without place"),
        pytest.param({"detail": [{"loc": None, "msg": "wrong"}]}, "wrong", id="detail with null place"),
        pytest.param({"detail": [{"loc": "body", "msg": "wrong"}]}, "body: wrong", id="detail with place as text"),
        pytest.param({"detail": [{"loc": 5, "msg": "wrong"}]}, "5: wrong", id="detail with place as number"),
        pytest.param({"detail": ["one", 2, None]}, "one; 2; None", id="detail list of anything"),
        pytest.param({"error": {"message": "Wrong key.", "code": "x"}}, "Wrong key.", id="error object"),
        pytest.param({"error": "Wrong key."}, "Wrong key.", id="error text"),
        pytest.param({"message": "Wrong key.", "type": "t", "code": "c"}, "Wrong key.", id="message"),
        pytest.param({"detail": "a", "error": {"message": "b"}, "message": "c"}, "a", id="detail comes first"),
        pytest.param({"error": {"message": "b"}, "message": "c"}, "b", id="error comes second"),
        pytest.param({"detail": None, "error": {"code": 5}, "message": "c"}, "c", id="message comes last"),
        pytest.param({"detail": {"reason": "x"}}, '{"detail": {"reason": "x"}}', id="detail object"),
        pytest.param({"error": {"code": 5}}, '{"error": {"code": 5}}', id="error without message"),
        pytest.param({"detail": []}, '{"detail": []}', id="empty list"),
        pytest.param({}, "{}", id="empty object"),
        pytest.param(["wrong"], '["wrong"]', id="a list"),
        pytest.param("wrong", '"wrong"', id="a text"),
        pytest.param(None, "null", id="null"),
    ],
)
def test_the_server_s_words_are_found_in_any_json(body: Any, message: str) -> None:
    assert read_message(json.dumps(body).encode()) == message


@pytest.mark.parametrize(
    ("body", "message"),
    [
        pytest.param(b"", "", id="empty"),
        pytest.param(b"upstream connect error", "upstream connect error", id="text"),
        pytest.param(b"a\r\n\tb\x00c\x1b[31md", "a b c [31md", id="control characters"),
        pytest.param(b"\xff\xfe\x00\x01", "\ufffd\ufffd", id="binary"),
        pytest.param("für später".encode("latin-1"), "f\ufffdr sp\ufffdter", id="not UTF-8"),
        pytest.param(
            b"<html><head><title>403 Forbidden</title><style>p {color: red}</style><script>if (a<b) x()</script>"
            b"</head><body><!-- ray --><h1>Access&nbsp;denied</h1>\n<p>Error &lt;1020&gt;</p></body></html>",
            "403 Forbidden Access denied Error <1020>",
            id="HTML",
        ),
        pytest.param(b"<SCRIPT type=x>secret()</SCRIPT >ok", "ok", id="script in capitals"),
        pytest.param(b"no <script>never closed", "no", id="script without end"),
        pytest.param(b"no <!-- never closed", "no", id="comment without end"),
        pytest.param(b"no <a href='never closed", "no", id="tag without end"),
        pytest.param(b'{"detail": "cut', '{"detail": "cut', id="JSON without end"),
    ],
)
def test_what_is_no_json_is_read_as_text_without_markup(body: bytes, message: str) -> None:
    assert read_message(body) == message


def test_json_nested_beyond_reason_is_read_as_text() -> None:
    assert read_message(b"[" * 200_000).startswith("[[[")


@pytest.mark.parametrize(
    "body", [b"x" * 1_000_000, json.dumps({"detail": "x" * 1_000_000}).encode(), b"<p>" * 1_000_000]
)
def test_a_huge_body_becomes_a_short_message(body: bytes) -> None:
    assert len(read_message(body)) <= MAX_MESSAGE_LENGTH


@given(st.binary(max_size=2000) | st.text(max_size=2000).map(lambda text: json.dumps({"detail": text}).encode()))
def test_whatever_the_body_the_message_is_one_readable_line(body: bytes) -> None:
    message = read_message(body)
    assert message.isprintable()
    assert len(message) <= MAX_MESSAGE_LENGTH
    assert message == message.strip()


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["detail", "error", "message", "loc", "msg"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(_JSON)
def test_no_shape_of_json_is_too_much(content: Any) -> None:
    assert isinstance(read_message(json.dumps(content).encode()), str)


def test_a_body_without_words_says_so() -> None:
    assert api_error(500).message == "no words"


@pytest.mark.parametrize(
    "body",
    [
        json.dumps({"detail": f"The key {KEY} is wrong."}).encode(),
        json.dumps({"detail": [{"loc": ["header", KEY], "msg": KEY}]}).encode(),
        json.dumps({"error": {"message": KEY}}).encode(),
        json.dumps({"error": KEY}).encode(),
        json.dumps({"message": KEY}).encode(),
        json.dumps({"something": KEY}).encode(),
        f"<p>Bearer {KEY}</p>".encode(),
        KEY.encode() * 100,
    ],
)
def test_a_secret_is_taken_out_of_words_of_any_shape(body: bytes) -> None:
    error = api_error(401, body)
    assert "***" in error.message
    for text in (str(error), repr(error), repr(error.args)):
        assert KEY not in text


@pytest.mark.parametrize("position", range(MAX_MESSAGE_LENGTH - len(KEY) - 1, MAX_MESSAGE_LENGTH + 1))
def test_no_part_of_a_secret_is_left_where_the_words_are_cut(position: int) -> None:
    error = api_error(401, b"." * position + KEY.encode() + b"." * 100)
    assert "mgmt" not in error.message
    assert len(error.message) <= MAX_MESSAGE_LENGTH


def test_nothing_is_taken_out_for_an_empty_secret() -> None:
    assert redact("as it is", ["", "other"]) == "as it is"


def test_nothing_is_left_of_a_secret_that_holds_another() -> None:
    assert redact("mgmt-key-5b1e and key", ["key", "mgmt-key-5b1e"]) == "*** and ***"


def test_an_error_says_what_was_asked_what_came_and_what_to_look_into() -> None:
    error = api_error(404, b'{"detail": "No such version."}', {"x-request-id": "req-1"})
    assert str(error).startswith("GET https://api.cerebras.ai/x answered 404 (request req-1): No such version. Compare")


@pytest.mark.parametrize(
    ("status", "hints"),
    [
        (401, ["management API key", "inference API key"]),
        (403, ["org_id", "Private Preview"]),
        (404, ["org_id"]),
        (400, ["change what the service objects to"]),
        (409, ["try again"]),
        (429, ["send fewer requests"]),
        (500, ["the id of the request"]),
        (418, []),
    ],
)
def test_a_refusal_says_what_the_user_can_look_into(status: int, hints: list[str]) -> None:
    error = api_error(status, b'{"detail": "words"}')
    assert (error.hint is not None) == bool(hints)
    for hint in hints:
        assert hint in str(error)


@pytest.mark.parametrize(
    ("headers", "request_id"),
    [
        ({"x-request-id": "req-1", "cf-ray": "ray-1"}, "req-1"),
        ({"cf-ray": "ray-1"}, "ray-1"),
        ({}, None),
    ],
)
def test_the_service_s_id_of_the_request_is_kept(headers: dict[str, str], request_id: str | None) -> None:
    assert api_error(500, headers=headers).request_id == request_id


@pytest.mark.parametrize("status", [400, 401, 404, 408, 429, 503])
@pytest.mark.parametrize(
    "duplicate",
    [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))],
    ids=["copy", "deepcopy", "pickle"],
)
def test_an_error_of_the_api_survives_pickle_and_copy(status: int, duplicate: Any) -> None:
    error = api_error(status, b'{"detail": "words"}', {"x-request-id": "req-1", "retry-after": "7"})
    twin = duplicate(error)
    assert type(twin) is type(error)
    assert (str(twin), twin.args, twin.__dict__) == (str(error), error.args, error.__dict__)
    assert twin.retry_after == 7


@pytest.mark.parametrize(
    "error", [CerebrasTransportError("words"), OutcomeUnknown("words"), UnexpectedResponse("words")]
)
def test_the_other_errors_survive_pickle_too(error: CerebrasError) -> None:
    twin = pickle.loads(pickle.dumps(error))
    assert (type(twin), str(twin), twin.retry_after) == (type(error), str(error), None)
    assert str(error).startswith("words")


NOW = datetime(2026, 1, 12, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("0", 0),
        ("7", 7),
        (" 7 ", 7),
        ("86400", 86400),
        ("Mon, 12 Jan 2026 12:00:30 GMT", 30),
        ("Mon, 12 Jan 2026 13:00:30 +0100", 30),
        ("Monday, 12-Jan-26 12:00:30 GMT", 30),
        ("Mon Jan 12 12:00:30 2026", 30),
        ("Mon, 12 Jan 2026 11:59:00 GMT", 0),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("2.5", 2.5),
        ("0.05", 0.05),
        ("1.", None),
        (".5", None),
        ("1e3", None),
        ("٣", None),
        ("Wed, 99 Oct 2026 07:28:00 GMT", None),
        ("Wed, 21 Oct 99999 07:28:00 GMT", None),
    ],
)
def test_retry_after_is_read_in_seconds_and_as_a_date(value: str | None, seconds: float | None) -> None:
    assert parse_retry_after(value, now=NOW) == seconds


@given(st.text(max_size=40))
def test_no_retry_after_is_too_strange(value: str) -> None:
    seconds = parse_retry_after(value, now=NOW)
    assert seconds is None or seconds >= 0


def test_what_is_permanent_is_what_stays_the_same_however_often_it_is_sent() -> None:
    assert set(errors.PERMANENT) == {BadRequest, Unauthorized, Forbidden, NotFound}
