"""A service that means harm, on a real socket: it costs bounded memory and time, and what it did is said clearly."""

from __future__ import annotations

import asyncio
import codecs
import gzip
import json
import ssl
import subprocess
import sys
import zlib
from datetime import UTC, datetime, timedelta
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_cerebras.api import operations
from airflow_provider_cerebras.api._limits import MAX_RESPONSE_BYTES, MAX_RESPONSE_VALUES
from airflow_provider_cerebras.api._redaction import Redactor
from airflow_provider_cerebras.api.client import AsyncCerebrasClient, CerebrasClient, ClientSettings
from airflow_provider_cerebras.api.errors import (
    BadRequest,
    CerebrasAPIError,
    CerebrasError,
    CerebrasTransportError,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    ServerError,
    Unauthorized,
    UnexpectedResponse,
)
from tests.unit.hostile_server import ENDLESS, HEAD, HostileServer, answer, raw

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_cerebras.api.operations import Call
    from tests.unit.hostile_server import Connection, Misdeed

KEY = "mgmt-key-5b1e"
ARCHITECTURES = operations.list_model_architectures("my-org")
UPLOAD = operations.upload_model_version("my-org", "gpt-oss-120b", "s3://my-bucket/weights")
GOOD = b'{"model_architectures": ["gpt-oss-120b"], "name": "orgs/my-org/models/gpt-oss-120b/versions/1"}'
MEBIBYTE = 1024**2


@pytest.fixture(params=["sync", "async"])
def send(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Send a call to a server once, by the sync client or the async one: ``send(server, call, **settings)``."""

    def once(server: HostileServer, call: Call[Any] = ARCHITECTURES, **settings: Any) -> Any:
        own = ClientSettings(**{"management_key": KEY, "base_url": server.url, "timeout": 5.0, **settings})

        async def asynchronously() -> Any:
            async with await AsyncCerebrasClient.create(own) as client:
                return await client.send_once(call)

        if request.param == "async":
            return asyncio.run(asynchronously())
        with CerebrasClient(own) as client:
            return client.send_once(call)

    return once


def assert_told(error: CerebrasError, call: Call[Any]) -> None:
    """It says what was sent where, in a line that a person can read, and no key."""
    text = str(error)
    assert f"{call.method} http" in text
    assert call.path in text
    assert KEY not in text
    assert len(text) < 1500
    assert text.isprintable()


# --- Sizes


async def endless_body(connection: Connection) -> None:
    await connection.send(HEAD, f"Content-Length: {ENDLESS}\r\n\r\n".encode())
    await connection.flood(b" " * MEBIBYTE)


async def endless_chunks(connection: Connection) -> None:
    await connection.send(HEAD, b"Transfer-Encoding: chunked\r\n\r\n")
    await connection.flood(b"10000\r\n" + b" " * 0x10000 + b"\r\n")


async def body_until_the_end_of_the_connection(connection: Connection) -> None:
    await connection.send(HEAD, b"\r\n")
    await connection.flood(b" " * MEBIBYTE)


@pytest.mark.parametrize("misdeed", [endless_body, endless_chunks, body_until_the_end_of_the_connection])
def test_a_huge_body_is_left_where_it_is(send: Callable[..., Any], misdeed: Misdeed) -> None:
    with HostileServer(misdeed) as server:
        with pytest.raises(UnexpectedResponse, match="the response is larger than 16 MiB") as caught:
            send(server)
        assert_told(caught.value, ARCHITECTURES)
        with pytest.raises(OutcomeUnknown, match="the response is larger than 16 MiB"):
            send(server, UPLOAD)
        # What lies in the buffers of both machines comes on top.
        assert all(connection.sent < 2 * MAX_RESPONSE_BYTES for connection in server.connections)


def packed_twice(size: int) -> bytes:
    return gzip.compress(gzip.compress(b" " * size, mtime=0), mtime=0)


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        # Without the time of day, for tests are named after their bytes, and each process must give the same names.
        ("gzip", gzip.compress(GOOD, mtime=0)),
        ("X-GZIP", gzip.compress(GOOD[:9], mtime=0) + gzip.compress(GOOD[9:], mtime=0)),
        ("identity, gzip", gzip.compress(GOOD, mtime=0)),
        ("deflate", zlib.compress(GOOD)),
        ("deflate", zlib.compress(GOOD)[2:-4]),
    ],
    ids=["gzip", "gzip in two parts", "identity and gzip", "deflate", "deflate without a header"],
)
def test_a_packed_body_is_not_asked_for_and_understood(send: Callable[..., Any], encoding: str, body: bytes) -> None:
    with HostileServer(answer(body, f"Content-Encoding: {encoding}")) as server:
        assert send(server).model_architectures == ["gpt-oss-120b"]
        assert send(server, UPLOAD).name == "orgs/my-org/models/gpt-oss-120b/versions/1"
    for connection in server.connections:
        assert b"accept-encoding: identity\r\n" in connection.request.lower()


# Each is made when the first test needs it, for to compress so much takes a second.
PACKED: dict[str, Callable[[], bytes]] = {
    "gzip": cache(lambda: gzip.compress(b" " * 64 * MEBIBYTE, mtime=0)),
    "two parts": cache(lambda: gzip.compress(b" " * 9 * MEBIBYTE, mtime=0) * 2),
    "deflate": cache(lambda: zlib.compress(b" " * 64 * MEBIBYTE)),
    "half": cache(lambda: gzip.compress(GOOD, mtime=0)[:-9]),
    "twice": cache(lambda: packed_twice(64 * MEBIBYTE)),
    "nothing": lambda: b"\x00",
    "no gzip": lambda: b"no gzip",
}


@pytest.fixture
def body(request: pytest.FixtureRequest) -> bytes:
    return PACKED[request.param]()


@pytest.mark.parametrize(
    ("encoding", "body", "words"),
    [
        ("gzip", "gzip", "is larger than 16 MiB"),
        ("gzip", "two parts", "is larger than 16 MiB"),
        ("deflate", "deflate", "is larger than 16 MiB"),
        ("gzip", "half", "ends too early"),
        ("gzip, gzip", "twice", "is compressed in a way that was not asked for"),
        ("br", "nothing", "is compressed in a way that was not asked for"),
        ("zstd", "nothing", "is compressed in a way that was not asked for"),
        ("GZIP", "no gzip", "says that it is compressed by gzip, and is not"),
    ],
    indirect=["body"],
    ids=["gzip", "two parts", "deflate", "half", "twice", "br", "zstd", "no gzip"],
)
class TestPackedBodiesThatAreNotRead:
    def test_a_success_is_unreadable(self, send: Callable[..., Any], encoding: str, body: bytes, words: str) -> None:
        with HostileServer(answer(body, f"Content-Encoding: {encoding}")) as server:
            with pytest.raises(UnexpectedResponse, match=f"the response {words}") as caught:
                send(server)
            assert_told(caught.value, ARCHITECTURES)
            with pytest.raises(OutcomeUnknown, match=words):
                send(server, UPLOAD)

    @pytest.mark.parametrize(("status", "error"), [(400, BadRequest), (401, Unauthorized), (429, RateLimited)])
    def test_an_error_is_the_error_that_its_status_says(
        self, send: Callable[..., Any], encoding: str, body: bytes, words: str, status: int, error: type[CerebrasError]
    ) -> None:
        with HostileServer(answer(body, f"Content-Encoding: {encoding}", status=f"{status} No")) as server:
            for call in (ARCHITECTURES, UPLOAD):
                with pytest.raises(error) as caught:
                    send(server, call)
                assert_told(caught.value, call)


@pytest.mark.parametrize(
    ("status", "error"),
    [(400, BadRequest), (401, Unauthorized), (404, NotFound), (429, RateLimited), (503, ServerError)],
)
def test_the_words_of_a_packed_error_are_read(
    send: Callable[..., Any], status: int, error: type[CerebrasAPIError]
) -> None:
    body = gzip.compress(b'{"detail": "the words"}', mtime=0)
    with (
        HostileServer(answer(body, "Content-Encoding: gzip", status=f"{status} No")) as server,
        pytest.raises(error, match="the words") as caught,
    ):
        send(server)
    assert caught.value.is_from_api


async def broken_off(connection: Connection) -> None:
    await connection.send(
        b"HTTP/1.1 429 Later\r\nRetry-After: 7\r\nContent-Length: 500\r\n\r\n", b'{"detail": "half of'
    )


async def never_ending(connection: Connection) -> None:
    await connection.send(
        b"HTTP/1.1 429 Later\r\nRetry-After: 7\r\nContent-Length: 500\r\n\r\n", b'{"detail": "half of'
    )
    await connection.drip(b" ")


@pytest.mark.parametrize("misdeed", [broken_off, never_ending])
def test_an_error_whose_body_does_not_come_whole_keeps_its_status(send: Callable[..., Any], misdeed: Misdeed) -> None:
    with HostileServer(misdeed) as server:
        for call in (ARCHITECTURES, UPLOAD):
            with pytest.raises(RateLimited, match="half of") as caught:
                send(server, call, timeout=0.3)
            assert caught.value.retry_after == 7


def test_a_deletion_that_succeeded_did_so_although_its_body_breaks_off(send: Callable[..., Any]) -> None:
    with HostileServer(raw(HEAD, b"Content-Length: 100\r\n\r\n", b'{"name"')) as server:
        send(server, operations.delete_model_version("orgs/o/models/m/versions/1"))


def test_a_response_that_ends_with_its_connection_and_too_early_is_no_answer(send: Callable[..., Any]) -> None:
    with HostileServer(raw(HEAD, b"\r\n", GOOD[:-9])) as server:
        with pytest.raises(CerebrasTransportError, match="ended before the response did"):
            send(server)
        with pytest.raises(OutcomeUnknown, match="ended before the response did"):
            send(server, UPLOAD)


@pytest.mark.parametrize("call", [ARCHITECTURES, UPLOAD], ids=["GET", "POST"])
def test_a_byte_order_mark_is_passed_over(send: Callable[..., Any], call: Call[Any]) -> None:
    with HostileServer(answer(codecs.BOM_UTF8 + GOOD)) as server:
        send(server, call)
    with HostileServer(answer(codecs.BOM_UTF8 + b'{"detail": "words"}', status="404 No")) as server:
        with pytest.raises(NotFound, match="words") as caught:
            send(server, call)
        assert caught.value.is_from_api


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"error": {"message": "Quota is exceeded."}}', "Quota is exceeded"),
        (b'{"error": "Quota is exceeded."}', "Quota is exceeded"),
        (b'{"detail": "Quota is exceeded."}', "Quota is exceeded"),
    ],
)
def test_an_error_with_the_status_of_a_success_has_its_words(send: Callable[..., Any], body: bytes, words: str) -> None:
    with HostileServer(answer(body)) as server:
        with pytest.raises(UnexpectedResponse, match=f"an error in spite of its status: {words}"):
            send(server)
        with pytest.raises(OutcomeUnknown, match=f"an error in spite of its status: {words}"):
            send(server, UPLOAD)


def test_a_body_that_says_it_is_not_packed_is_read(send: Callable[..., Any]) -> None:
    with HostileServer(answer(GOOD, "Content-Encoding: identity")) as server:
        assert send(server).model_architectures == ["gpt-oss-120b"]


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param(b"X-Long: " + b"a" * MEBIBYTE + b"\r\n", id="long"),
        pytest.param(b"X-Many: a\r\n" * 100_000, id="many"),
        pytest.param(b"X-Folded: a\r\n" + b" a\r\n" * 100_000, id="folded"),
    ],
)
def test_giant_headers_are_no_answer(send: Callable[..., Any], headers: bytes) -> None:
    with HostileServer(raw(HEAD, headers, b"Content-Length: 2\r\n\r\n{}")) as server:
        with pytest.raises(CerebrasTransportError) as caught:
            send(server)
        assert_told(caught.value, ARCHITECTURES)
        with pytest.raises(OutcomeUnknown):
            send(server, UPLOAD)


# --- Values


def filled(head: bytes, item: bytes, tail: bytes, *, size: int) -> bytes:
    return head + b",".join([item] * ((size - len(head) - len(tail)) // (len(item) + 1))) + tail


DENSE = {
    "empty rows": (b'{"model_versions":[', b"{}", b"]}"),
    "rows with a name": (b'{"model_versions":[', b'{"name":""}', b"]}"),
    "objects in an unknown field": (b'{"model_versions":[],"x":[', b'{"":0}', b"]}"),
    "long lines": (b'{"model_versions":[],"x":"', b"\\n" * 1000, b'"}'),
}
"""Documents that become far more than they are, if they are read."""

MEASURE = """
import asyncio, re, sys
from pathlib import Path
from airflow_provider_cerebras.api import operations
from airflow_provider_cerebras.api.client import AsyncCerebrasClient, CerebrasClient, ClientSettings
from airflow_provider_cerebras.api.errors import CerebrasError

settings = ClientSettings(management_key="key", base_url=sys.argv[1], timeout=60)
calls = operations.list_model_versions("o", "m"), operations.find_model_versions("o", "m")

async def ask(call):
    async with await AsyncCerebrasClient.create(settings) as client:
        await client.send_once(call)

def told(ask):
    try:
        ask()
        return "read"
    except CerebrasError as error:
        return str(error)

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) // 1024

with CerebrasClient(settings) as client:
    client.send_once(calls[0])
    before = peak()
    for _ in range(int(sys.argv[2])):
        for call in calls:
            print(told(lambda: client.send_once(call)))
            print(told(lambda: asyncio.run(ask(call))))
        print(peak() - before)
"""
"""Asks four times for each body, and says what became of it, and by how many MiB its memory has grown at its peak."""


def costs(bodies: list[bytes]) -> list[tuple[list[str], int]]:
    """What becomes of each body in a process that reads it four times, and how much its memory has grown by then."""
    answers = [b'{"model_versions":[]}', *(body for body in bodies for _ in range(4))]

    async def misdeed(connection: Connection) -> None:
        await answer(answers[len(server.connections) - 1])(connection)

    with HostileServer(misdeed) as server:
        command = [sys.executable, "-c", MEASURE, server.url, str(len(bodies))]
        lines = subprocess.run(command, capture_output=True, text=True, check=True, timeout=280).stdout.splitlines()
    parts = [lines[index : index + 5] for index in range(0, len(lines), 5)]
    return [(told, int(grown)) for *told, grown in parts]


needs_proc = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux alone tells a process's peak")


@needs_proc
def test_more_values_than_an_answer_can_have_are_not_parsed() -> None:
    for told, grown in costs([filled(*parts, size=MAX_RESPONSE_BYTES) for parts in DENSE.values()]):
        assert all("holds more than 500000 values" in each for each in told), told
        assert grown < 16 * MAX_RESPONSE_BYTES // MEBIBYTE


@needs_proc
def test_as_many_values_as_an_answer_can_have_cost_a_few_hundred_mebibytes() -> None:
    bodies = []
    for head, item, tail in DENSE.values():
        count = MAX_RESPONSE_VALUES // (sum(map(item.count, (b"[", b"{", b",", b"\\"))) + 1)
        bodies.append(filled(head, item, tail, size=min(MAX_RESPONSE_BYTES, (len(item) + 1) * (count - 10))))
    for told, grown in costs(bodies):
        assert not any("holds more than" in each for each in told), told
        assert grown < 32 * MAX_RESPONSE_BYTES // MEBIBYTE


# --- Time


async def slow_body(connection: Connection) -> None:
    await connection.send(HEAD, f"Content-Length: {len(GOOD) + 400}\r\n\r\n".encode())
    await connection.drip(b" ")
    await connection.send(GOOD)


async def slow_body_until_the_end_of_the_connection(connection: Connection) -> None:
    await connection.send(HEAD, b"\r\n", GOOD)
    await connection.drip(b" ")


async def slow_head(connection: Connection) -> None:
    await connection.drip(HEAD[:1], times=1)
    await connection.send(HEAD[1:], b"X-Slow: ")
    await connection.drip(b"x")
    await connection.send(f"\r\nContent-Length: {len(GOOD)}\r\n\r\n".encode(), GOOD)


async def slow_hints(connection: Connection) -> None:
    await connection.drip(b"HTTP/1.1 103 Early Hints\r\n\r\n")
    await answer(GOOD)(connection)


async def endless_hints(connection: Connection) -> None:
    await connection.flood(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 1000, limit=2**25)
    await answer(GOOD)(connection)


async def many_pieces(connection: Connection) -> None:
    await connection.send(HEAD, b"Transfer-Encoding: chunked\r\n\r\n")
    await connection.flood(b"1\r\n \r\n" * 1000, limit=2**25)


SLOW = [slow_body, slow_body_until_the_end_of_the_connection, slow_head, slow_hints, endless_hints, many_pieces]


@pytest.mark.parametrize(("misdeed", "call"), [*((misdeed, ARCHITECTURES) for misdeed in SLOW), (slow_body, UPLOAD)])
def test_an_answer_that_does_not_end_is_ended(send: Callable[..., Any], misdeed: Misdeed, call: Call[Any]) -> None:
    error = CerebrasTransportError if call.may_be_resent else OutcomeUnknown
    with HostileServer(misdeed) as server, pytest.raises(error, match=r"it was not complete after 1\.2 s") as caught:
        send(server, call, timeout=0.3)
    assert_told(caught.value, call)


def test_an_answer_over_tls_that_does_not_end_is_ended(send: Callable[..., Any], tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime.now(UTC) - timedelta(days=1))
        .not_valid_after(datetime.now(UTC) + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    bundle = tmp_path / "bundle.pem"
    encoding = serialization.Encoding.PEM
    bundle.write_bytes(
        key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(encoding)
    )
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(bundle)
    with (
        HostileServer(slow_body, tls=tls) as server,
        pytest.raises(CerebrasTransportError, match="it was not complete after"),
    ):
        send(server, timeout=0.5, verify=str(bundle))


def test_a_connection_that_was_cut_is_not_used_again() -> None:
    async def slow_then_good(connection: Connection) -> None:
        await (slow_body if len(server.connections) == 1 else answer(GOOD))(connection)

    with (
        HostileServer(slow_then_good) as server,
        CerebrasClient(ClientSettings(management_key=KEY, base_url=server.url, timeout=0.3)) as client,
    ):
        with pytest.raises(CerebrasTransportError, match="it was not complete"):
            client.send_once(ARCHITECTURES)
        assert client.send_once(ARCHITECTURES).model_architectures == ["gpt-oss-120b"]


async def test_a_body_in_a_million_pieces_leaves_the_loop_to_others() -> None:
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    async def pieces(connection: Connection) -> None:
        await connection.send(HEAD, b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\n \r\n" * 10_000 + b"0\r\n\r\n")

    with HostileServer(pieces) as server:
        settings = ClientSettings(management_key=KEY, base_url=server.url)
        async with await AsyncCerebrasClient.create(settings) as client:
            other = asyncio.create_task(count_turns())
            with pytest.raises(UnexpectedResponse):
                await client.send_once(ARCHITECTURES)
            other.cancel()
    assert turns >= 10_000


@pytest.mark.parametrize(
    "retry_after",
    [
        "999999999",
        "9" * 50,
        "-1",
        "1e9",
        "inf",
        "nan",
        "soon",
        "0x10",
        "Fri, 31 Dec 9999 23:59:59 GMT",
        "Mon, 99",
        "\xff",
    ],
)
def test_a_service_cannot_ask_for_a_pause_of_years(retry_after: str) -> None:
    pauses: list[float] = []
    settings: dict[str, Any] = {"management_key": KEY, "max_retries": 1}
    body = b'{"detail": "later"}'
    with HostileServer(answer(body, f"Retry-After: {retry_after}", status="429 Too Many Requests")) as server:
        own = ClientSettings(base_url=server.url, **settings)
        with CerebrasClient(own, sleep=pauses.append) as client, pytest.raises(RateLimited, match="later"):
            client.send(ARCHITECTURES)
    assert len(pauses) == 1
    assert 0 <= pauses[0] <= 120


# --- Elsewhere


@pytest.mark.parametrize("call", [ARCHITECTURES, UPLOAD], ids=["GET", "POST"])
@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 305, 307, 308, 399])
def test_a_redirect_is_not_followed(send: Callable[..., Any], status: int, call: Call[Any]) -> None:
    with HostileServer(answer(GOOD)) as elsewhere:
        location = f"Location: {elsewhere.url}/?key={KEY}"
        with HostileServer(answer(b"", location, status=f"{status} Go away")) as server:
            with pytest.raises(CerebrasError, match=f"answered {status}: redirects are not followed") as caught:
                send(server, call)
            assert_told(caught.value, call)
            assert len(server.connections) == 1
        assert elsewhere.connections == []


@pytest.mark.parametrize(
    "headers",
    [
        "Refresh: 0; url={url}",
        "Link: <{url}>; rel=preload",
        "Alt-Svc: {authority}; ma=9999",
        "Content-Location: {url}",
        "Set-Cookie: a=b; Domain=127.0.0.1",
    ],
)
def test_no_header_leads_anywhere(headers: str) -> None:
    with HostileServer(answer(GOOD)) as elsewhere:
        field = headers.format(url=elsewhere.url, authority=elsewhere.url.removeprefix("http://"))
        with (
            HostileServer(answer(GOOD, field, "Connection: close")) as server,
            CerebrasClient(ClientSettings(management_key=KEY, base_url=server.url)) as client,
        ):
            client.send_once(ARCHITECTURES)
            client.send_once(ARCHITECTURES)
            assert len(server.connections) == 2
            assert b"cookie" not in server.connections[1].request.lower()
        assert elsewhere.connections == []


# --- Nonsense


NOT_HTTP = {
    "nothing": raw(),
    "another protocol": raw(b"SSH-2.0-OpenSSH_9.6\r\n"),
    "HTTP/2": raw(b"\x00\x00\x12\x04\x00\x00\x00\x00\x00"),
    "another protocol from here on": raw(b"HTTP/1.1 101 Go\r\nUpgrade: h2c\r\n\r\n"),
    "HTTP/0.9": raw(b"<html>hello</html>"),
    "a line without an end": raw(b"HTTP/1.1 200 " + b"x" * MEBIBYTE),
    "status that is none": raw(b"HTTP/1.1 99 No\r\nContent-Length: 0\r\n\r\n"),
    "status that is a word": raw(b"HTTP/1.1 OK 200\r\nContent-Length: 0\r\n\r\n"),
    "header without a name": raw(HEAD, b": x\r\n\r\n"),
    "header with a NUL": raw(HEAD, b"X-Nul: a\x00b\r\n\r\n"),
    "half a head": raw(HEAD),
    "half a body": raw(HEAD, b"Content-Length: 100\r\n\r\n", GOOD),
    "half a chunk": raw(HEAD, b"Transfer-Encoding: chunked\r\n\r\nff\r\n", GOOD),
    "chunk of no size": raw(HEAD, b"Transfer-Encoding: chunked\r\n\r\nsize\r\n", GOOD),
    "chunk of a giant size": raw(HEAD, b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 30 + b"\r\n", GOOD),
    "two lengths": raw(HEAD, b"Content-Length: 2\r\nContent-Length: 53\r\n\r\n", GOOD),
    "negative length": raw(HEAD, b"Content-Length: -1\r\n\r\n", GOOD),
    "length that is a word": raw(HEAD, b"Content-Length: long\r\n\r\n", GOOD),
    "giant length": raw(HEAD, b"Content-Length: " + b"9" * 40 + b"\r\n\r\n", GOOD),
}


async def reset_at_once(connection: Connection) -> None:
    connection.reset()


async def reset_in_the_head(connection: Connection) -> None:
    await connection.send(HEAD)
    connection.reset()


async def reset_in_the_body(connection: Connection) -> None:
    await connection.send(HEAD, b"Content-Length: 100\r\n\r\n", GOOD)
    connection.reset()


@pytest.mark.parametrize(
    "misdeed",
    [*NOT_HTTP.values(), reset_at_once, reset_in_the_head, reset_in_the_body],
    ids=[*NOT_HTTP, "reset at once", "reset in the head", "reset in the body"],
)
def test_what_is_no_answer_is_none(send: Callable[..., Any], misdeed: Misdeed) -> None:
    with HostileServer(misdeed) as server:
        with pytest.raises(CerebrasTransportError) as caught:
            send(server)
        assert_told(caught.value, ARCHITECTURES)
        with pytest.raises(OutcomeUnknown) as doubt:
            send(server, UPLOAD)
        assert_told(doubt.value, UPLOAD)


UNREADABLE = {
    "empty": b"",
    "a web page": b"<html><body>" + KEY.encode() + b"</body></html>",
    "half a document": GOOD[:-1],
    "two documents": GOOD * 2,
    "a text": b'"gpt-oss-120b"',
    "a number": b"1e999999999",
    "not a number": b"NaN",
    "invalid UTF-8": b'{"model_architectures": ["\xff\xfe"]}',
    "UTF-16": GOOD.decode().encode("utf-16"),
    "half a surrogate": rb'{"model_architectures": ["\ud800"]}',
    "NUL": b"\x00" * 100,
    "a name of two lines": rb'{"model_architectures": ["a\nb"], "name": "a\nb"}',
    "a name that turns the line around": '{"model_architectures": ["\u202ea"], "name": "\u202ea"}'.encode(),
    "a name without end": b'{"model_architectures": ["' + b"a" * MEBIBYTE + b'"]}',
    "a number of a million digits": b'{"model_architectures": [' + b"9" * MEBIBYTE + b"]}",
    "the wrong type of everything": b'{"model_architectures": {"a": 1}, "name": {"b": 2}}',
    "lists in lists": b"[" * 400_000,
    "lists in lists, closed": b"[" * 100_000 + b"]" * 100_000,
    "objects in objects": b'{"model_architectures":' * 100_000 + b"1" + b"}" * 100_000,
    "a field that is lists in lists": b'{"x": '
    + b"[" * 1000
    + b"]" * 1000
    + b', "model_architectures": [], "name": ""}',
}


@pytest.mark.parametrize("content_type", ["application/json", "text/html", "application/octet-stream; charset=utf-7"])
@pytest.mark.parametrize("body", UNREADABLE.values(), ids=list(UNREADABLE))
def test_what_cannot_be_read_is_not_as_documented(send: Callable[..., Any], body: bytes, content_type: str) -> None:
    with HostileServer(answer(body, f"Content-Type: {content_type}")) as server:
        with pytest.raises(UnexpectedResponse, match="the response is not as documented") as caught:
            send(server)
        assert_told(caught.value, ARCHITECTURES)
        with pytest.raises(OutcomeUnknown, match="the response is not as documented") as doubt:
            send(server, UPLOAD)
        assert_told(doubt.value, UPLOAD)


@pytest.mark.parametrize("content_type", ["text/html", "image/png", "application/json; charset=klingon", "\xff"])
def test_what_is_as_documented_is_read_whatever_it_is_called(send: Callable[..., Any], content_type: str) -> None:
    with HostileServer(answer(GOOD, f"Content-Type: {content_type}")) as server:
        assert send(server).model_architectures == ["gpt-oss-120b"]


@pytest.mark.parametrize("body", UNREADABLE.values(), ids=list(UNREADABLE))
def test_the_words_of_an_error_may_be_anything(send: Callable[..., Any], body: bytes) -> None:
    with HostileServer(answer(body, status="400 Bad Request")) as server, pytest.raises(BadRequest) as caught:
        send(server)
    assert_told(caught.value, ARCHITECTURES)


@pytest.mark.parametrize("depth", [*range(100, 1100, 50), 5000, 20_000])
@pytest.mark.parametrize(
    "shape", ['{"detail": [%s]}', '{"detail": [{"loc": [%s]}]}', '{"detail": [{"msg": [%s]}]}', "%s"]
)
def test_an_error_may_be_nested_at_any_depth(shape: str, depth: int) -> None:
    body = (shape % ("[" * depth + "]" * depth)).encode()
    with HostileServer(answer(body, status="422 No")) as server:
        own = ClientSettings(management_key=KEY, base_url=server.url)
        with CerebrasClient(own) as client, pytest.raises(BadRequest) as caught:
            client.send_once(ARCHITECTURES)
    assert_told(caught.value, ARCHITECTURES)


def test_of_a_field_given_twice_the_last_counts(send: Callable[..., Any]) -> None:
    with HostileServer(answer(b'{"model_architectures": ["a"], "model_architectures": ["b"]}')) as server:
        assert send(server).model_architectures == ["b"]


# --- Secrets that come back in disguise


def escaped(text: str) -> str:
    return "".join(f"\\u{ord(char):04x}" for char in text)


@pytest.mark.parametrize("key", [KEY, "a/b+c==", 'quo"te', "back\\slash", "<&>"])
@pytest.mark.parametrize(
    "disguise",
    [
        lambda key: json.dumps(key)[1:-1],
        escaped,
        lambda key: escaped(key).replace("\\u00", "\\u00").upper().replace("\\U", "\\u"),
        lambda key: json.dumps(key)[1:-1].replace("/", r"\/"),
        lambda key: escaped(key[0]) + json.dumps(key[1:])[1:-1],
        lambda key: r"\\" + json.dumps(key)[1:-1],
    ],
    ids=["plain", "escaped", "escaped in capitals", "escaped slashes", "escaped in part", "behind a backslash"],
)
def test_a_key_is_taken_out_of_an_answer_in_whatever_way_json_spells_it(
    send: Callable[..., Any], key: str, disguise: Callable[[str], str]
) -> None:
    body = f'{{"model_architectures": ["you sent {disguise(key)}!"]}}'
    assert key in json.loads(body)["model_architectures"][0]
    with HostileServer(answer(body.encode())) as server:
        (told,) = send(server, management_key=key).model_architectures
    assert key not in told
    assert told.replace("\\", "") == "you sent ***!"


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_taking_keys_out_changes_nothing_else(document: Any) -> None:
    for ensure_ascii in (True, False):
        body = json.dumps(document, ensure_ascii=ensure_ascii).encode("utf-8", "surrogatepass")
        assert json.loads(Redactor([KEY]).body(body)) == document
