"""The settings of a client, checked before anything is sent.

Each message begins with the name that the user knows: that of the connection's field, or of the environment variable.
What the environment says is read here alone, so that all of it that cannot be used ends in one clear error.
"""

from __future__ import annotations

import ipaddress
import os
import platform
import re
import ssl
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, quote, unquote, urlsplit
from urllib.request import getproxies_environment

import certifi
import idna

from airflow_provider_cerebras._version import __version__
from airflow_provider_cerebras.api._redaction import Secret

if TYPE_CHECKING:
    from collections.abc import Iterable

DEFAULT_BASE_URL = "https://api.cerebras.ai"
DEFAULT_TIMEOUT = 30.0
"""Seconds that each phase of a request may take."""
DEFAULT_MAX_RETRIES = 5
MAX_TIMEOUT = 86400.0
# A request connects, writes, and waits for a connection and for a response; each alone may take the whole timeout.
_TIMEOUTS_PER_REQUEST = 4
_PROXY_SCHEMES = ("http", "https", "socks5", "socks5h")
_HOST = re.compile(r"(?!-)[A-Za-z0-9_.-]{1,253}(?<!-)")
_MAX_PORT = 65535
_CORRECT = "Correct the variable, or unset it."


class EnvironmentUnusable(ValueError):
    """An environment variable says something that cannot be used; the message begins with its name."""


def user_agent_of(*products: str) -> str:
    """Return the ``User-Agent`` of this package's requests.

    :param products: what else takes part, each as ``name/version``.
    """
    return f"airflow-provider-cerebras/{__version__} ({'; '.join([*products, f'python/{platform.python_version()}'])})"


@dataclass(frozen=True, kw_only=True)
class ClientSettings:
    """The settings of a client: base URL, keys, timeouts, retries, TLS and proxy.

    The keys and the proxy's URL are kept as strings that do not print themselves.

    :param management_key: management API key.
    :param inference_key: inference API key; needed for chat completions only.
    :param base_url: base URL; plain ``http`` is for loopback addresses only.
    :param timeout: seconds to wait for a read, a write or a free connection; connecting is given 10 s at most, and a
        request from its first byte to the last byte of the response four times as long.
    :param max_retries: how often a request is sent again.
    :param verify: True, or the path of a CA bundle.
    :param proxy: URL of a proxy; default: what the environment says.
    :param user_agent: the ``User-Agent`` field.
    :param connection: id of the connection that the settings come from; errors name it, with the field to change.
    :raises ValueError: if one of them cannot be used; the message names the field of the connection that it comes from.
    """

    management_key: str = field(repr=False)
    inference_key: str | None = field(default=None, repr=False)
    base_url: str = DEFAULT_BASE_URL
    timeout: float = DEFAULT_TIMEOUT
    max_retries: int = DEFAULT_MAX_RETRIES
    verify: bool | str = True
    proxy: str | None = field(default=None, repr=False)
    user_agent: str = user_agent_of()
    connection: str | None = None

    def __post_init__(self) -> None:
        for name in ("management_key", "inference_key", "proxy"):
            given = getattr(self, name)
            object.__setattr__(self, name, None if given is None else Secret(given))
        object.__setattr__(self, "base_url", checked_base_url(self.base_url))
        _check_key(self.management_key, "password")
        _check_key(self.inference_key, "inference_api_key")
        if not 0 < self.timeout <= MAX_TIMEOUT:
            raise ValueError(
                f"request_timeout: must be more than 0 and at most {MAX_TIMEOUT:.0f} seconds, not {self.timeout!r}."
            )
        if self.max_retries < 0:
            raise ValueError(f"max_retries: must be 0 or more, not {self.max_retries!r}.")
        if self.verify is False:
            raise ValueError("verify: certificates are always checked; give the path of a CA bundle instead of false.")
        if self.proxy is not None and (problem := _problem_of_proxy(self.proxy)):
            raise ValueError(f"proxy: {problem}")
        if self.proxy is not None and self.is_plain:
            raise ValueError(
                f"proxy: the key would go to the proxy unencrypted, since host is {self.base_url!r}. Take the proxy "
                "out, or use https."
            )

    @property
    def total_timeout(self) -> float:
        """Seconds that a request may take from its first byte to the last byte of the response."""
        return self.timeout * _TIMEOUTS_PER_REQUEST

    @property
    def is_plain(self) -> bool:
        """Whether requests go unencrypted, which they do to loopback addresses only."""
        return self.base_url.startswith("http://")

    @property
    def secrets(self) -> tuple[str, ...]:
        """Strings that no message may repeat."""
        passwords = _passwords(self.proxy_in_use())
        return tuple(Secret(each) for each in (self.management_key, self.inference_key, *passwords) if each)

    def proxy_in_use(self) -> Secret | None:
        """Return the URL of the proxy that requests go by: the connection's, or the environment's.

        :raises EnvironmentUnusable: if the environment names one that cannot be used.
        """
        if self.proxy is not None:
            return Secret(self.proxy)
        host = urlsplit(self.base_url).hostname or ""
        # A proxy of the environment is not meant for this machine's own addresses.
        if is_loopback(host) or is_excepted(self.base_url, getproxies_environment().get("no", "")):
            return None
        name = next(filter(os.environ.get, ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")), None)
        if name is None:
            return None
        url = Secret(os.environ[name] if "://" in os.environ[name] else f"http://{os.environ[name]}")
        if problem := _problem_of_proxy(url):
            raise EnvironmentUnusable(f"environment variable {name}: {problem} {_CORRECT}")
        return url

    def ssl_context(self) -> ssl.SSLContext | bool:
        """Make what httpx takes as ``verify``. It costs tens of milliseconds: not for an event loop.

        :raises ValueError: if the CA bundle cannot be read.
        :raises EnvironmentUnusable: likewise, if an environment variable names it.
        """
        if self.is_plain:
            return False  # loopback: there is nothing to verify, so nothing to load
        if keys := os.environ.get("SSLKEYLOGFILE"):
            try:
                Path(keys).open("a").close()
            except OSError as error:
                raise EnvironmentUnusable(
                    f"environment variable SSLKEYLOGFILE: {keys!r} cannot be written ({error.strerror}). {_CORRECT}"
                ) from None
        file, folder, named = self._authorities()
        try:
            if folder is not None and not Path(folder).is_dir():
                raise NotADirectoryError("there is no such directory")
            return ssl.create_default_context(cafile=file, capath=folder)
        except OSError as error:  # a file without certificates is one, too
            if named != "verify":
                raise EnvironmentUnusable(
                    f"environment variable {named}: {file or folder!r} cannot be read as CA certificates ({error}). "
                    f"{_CORRECT}"
                ) from None
            raise ValueError(f"verify: {self.verify!r} cannot be read as a CA bundle ({error}).") from None

    def _authorities(self) -> tuple[str | None, str | None, str]:
        """The file and the directory with the CA certificates that count, and what names them."""
        if self.verify is not True:
            return str(self.verify), None, "verify"
        if file := os.environ.get("SSL_CERT_FILE"):
            return file, None, "SSL_CERT_FILE"
        if folder := os.environ.get("SSL_CERT_DIR"):
            return None, folder, "SSL_CERT_DIR"
        return certifi.where(), None, "the package certifi"

    @property
    def authorities(self) -> str:
        """Say which CA certificates count, and which do not, for those whose server has another."""
        file, folder, named = self._authorities()
        ignored = [name for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE") if os.environ.get(name)]
        unused = f" {' and '.join(ignored)} {'is' if len(ignored) == 1 else 'are'} not used here." if ignored else ""
        return (
            f"Certificates are checked by {file or folder} (from {named}). To trust another authority, set verify in "
            f"the connection's extra, or the environment variable SSL_CERT_FILE or SSL_CERT_DIR.{unused}"
        )


def url_of(host: str, port: int | None) -> str:
    """Put the two fields of a connection together.

    :param host: a base URL, or a name or an address alone.
    :param port: the port, if it is not in ``host`` already.
    :raises ValueError: if both name one, and not the same.
    """
    host = _with_scheme(host.strip(" "))
    if port is None:
        return host
    url = _split(host)
    if url.port not in {None, port}:
        raise ValueError(f"host: {shown_url(url)!r} has another port than the field port, {port}.")
    return host if url.port else url._replace(netloc=f"{url.netloc.rstrip(':')}:{port}").geturl()


def checked_base_url(base_url: str) -> str:
    """Return a base URL in its usual form, without a slash at the end.

    :param base_url: what the user gave.
    :raises ValueError: if it is none, or one that the API cannot be at.
    """
    url = _split(_with_scheme(base_url.strip(" ")))
    host = _checked_host(url)
    if url.scheme == "http" and not is_loopback(host):
        raise ValueError(
            f"host: {shown_url(url)!r} would send the key unencrypted; http is for loopback addresses only. Use https. "
            "An emulator in another container serves it with --tls-self-signed, or with --tls-cert and --tls-key; its "
            "certificate then goes into verify."
        )
    path = url.path.rstrip("/")
    _check_path(url, path)
    netloc = f"[{host}]" if ":" in host else host
    port = f":{url.port}" if url.port is not None else ""
    return f"{url.scheme}://{netloc}{port}{quote(path, safe='/%:@!$&()*+,;=~')}"


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine.

    :param host: a name, or an address without brackets.
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_excepted(base_url: str, no_proxy: str) -> bool:
    """Return whether ``NO_PROXY`` takes a service out.

    :param base_url: base URL of the service.
    :param no_proxy: names, which stand for all below them as well; addresses; networks; ``*``; each may have a scheme
        and a port. Any other entry takes nothing out.
    """
    url = urlsplit(base_url)
    host, port = url.hostname or "", url.port or {"https": 443, "http": 80}[url.scheme]
    return any(_matches(entry.lower(), url.scheme, host, port) for entry in re.split(r"[,\s]+", no_proxy) if entry)


def _matches(entry: str, scheme: str, host: str, port: int) -> bool:
    entry_scheme, _, rest = entry.rpartition("://")
    if entry_scheme not in {"", "all", scheme}:
        return False
    if rest == "*":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return _is_below(rest, host, port)
    bare = re.fullmatch(r"\[(.+?)\](?::(\d+))?|([^:]+):(\d+)", rest)
    if bare and (bare[2] or bare[4]) and int(bare[2] or bare[4]) != port:
        return False
    try:
        return address in ipaddress.ip_network((bare[1] or bare[3]) if bare else rest, strict=False)
    except ValueError:
        return False


def _is_below(entry: str, host: str, port: int) -> bool:
    name, _, wanted = entry.partition(":")
    if wanted and wanted != str(port):
        return False
    name = name.removeprefix("*")
    if name.startswith("."):
        return host.endswith(name)
    return bool(name) and (host == name or host.endswith(f".{name}"))


def _with_scheme(host: str) -> str:
    if "://" in host:
        return host
    if re.match(r"https?:/", host):
        given = "" if "@" in host else f" {host!r}"
        raise ValueError(f"host:{given} has one slash too few; write https://name.")
    try:
        return f"https://[{ipaddress.IPv6Address(host)}]"
    except ValueError:
        return f"https://{host}"


def _split(text: str) -> SplitResult:
    # What comes before an @ may be a key, which no message may repeat.
    hidden = "" if "@" in text else f" {text!r}"
    if not text.isprintable() or " " in text:
        raise ValueError(f"host:{hidden} holds white space or characters that cannot be seen.")
    try:
        url = urlsplit(text)
        url.port  # noqa: B018  it is read only when it is asked for
    except ValueError as error:
        raise ValueError(f"host:{hidden} is not a URL" + ("." if "@" in text else f" ({error}).")) from None
    if "@" in text:
        raise ValueError("host: must not hold credentials; the key belongs in the password field.")
    if url.scheme not in {"https", "http"} or not url.hostname or url.query or url.fragment:
        raise ValueError(f"host:{hidden} is not of the form https://name or https://name:port.")
    return url


def _checked_host(url: SplitResult) -> str:
    host = url.hostname or ""
    try:
        if ":" in host:
            return str(ipaddress.IPv6Address(host))
        host = host if host.isascii() else idna.encode(host).decode()
    except ValueError as error:
        raise ValueError(f"host: {shown_url(url)!r} is not a URL ({error}).") from None
    if not _HOST.fullmatch(host) or ".." in host:
        raise ValueError(f"host: {shown_url(url)!r} is not of the form https://name or https://name:port.")
    return host


def _check_path(url: SplitResult, path: str) -> None:
    """Refuse what makes each call a 404: the API's own path at the end of a base URL."""
    own = re.search(r"(/management(/v1)?|/v1)(/(orgs|endpoints|chat|models)(/.*)?)?$", path, re.IGNORECASE)
    if own:
        right = url._replace(path=path[: own.start()]).geturl()
        raise ValueError(
            f"host: {shown_url(url)!r} ends with a path of the API, {own[0]!r}, which the provider adds itself. "
            f"Use {right!r}."
        )


def shown_url(url: SplitResult) -> str:
    """Return a URL for a message.

    :param url: one without credentials.
    """
    return url.geturl()


def _check_key(key: str | None, name: str) -> None:
    # The message must not repeat the key.
    if key is not None and not (key.isascii() and key.isprintable() and " " not in key):
        raise ValueError(f"{name}: holds white space or characters that cannot stand in a header.")


def _problem_of_proxy(proxy: str) -> str | None:
    """Say what is wrong with a proxy's URL, without repeating any of it: what looks like a port may be a password."""
    try:
        url = urlsplit(proxy[:])
        port = url.port
    except ValueError:
        return _not_a_proxy()
    usable = url.scheme in _PROXY_SCHEMES and _is_host(url.hostname or "") and (port is None or 0 < port <= _MAX_PORT)
    if not usable or url.path not in {"", "/"} or url.query or url.fragment or not proxy.isprintable() or " " in proxy:
        return _not_a_proxy()
    if url.scheme.startswith("socks") and find_spec("socksio") is None:
        return "socks5 needs the package socksio: pip install 'httpx[socks]'."
    return None


def _not_a_proxy() -> str:
    return (
        f"is not of the form http://name:port (or {', '.join(_PROXY_SCHEMES[1:])}). In a user's name and password, "
        "characters such as / # ? @ : are percent-encoded."
    )


def _is_host(host: str) -> bool:
    if ":" in host:
        try:
            ipaddress.IPv6Address(host)
        except ValueError:
            return False
        return True
    return _HOST.fullmatch(host) is not None


def _passwords(proxy: str | None) -> Iterable[str]:
    if not proxy:
        return ()
    # As it is written, and as it is meant.
    password = urlsplit(proxy[:]).password or ""
    return filter(None, dict.fromkeys((password, unquote(password))))


def address_of_proxy(proxy: str) -> str:
    """Return name and port of a proxy, for messages.

    :param proxy: its URL.
    """
    return urlsplit(proxy[:]).netloc.rpartition("@")[2]
