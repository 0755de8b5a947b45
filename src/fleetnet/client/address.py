"""Where a server is, and how a connection to it is protected."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from fleetnet.client.errors import ClientError
from fleetnet.errors import one_line

if TYPE_CHECKING:
    import ssl

Path = str | os.PathLike[str]
_PORTS = {"http": 80, "https": 443}
_TOKEN = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True)
class Address:
    """A server.

    Attributes:
        host: name or number.
        port: of it.
        prefix: what comes before every path, without a slash at its end.
        tls: what its certificate is checked with; None without TLS.
    """

    host: str
    port: int
    prefix: str = ""
    tls: ssl.SSLContext | None = field(default=None, repr=False)

    @property
    def shown(self) -> str:
        """The host as the header ``Host`` and messages have it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        usual = _PORTS["http" if self.tls is None else "https"]
        return host if self.port == usual else f"{host}:{self.port}"


def address_of(
    url: str, ca: Path | None = None, cert: Path | tuple[Path, Path] | None = None
) -> Address:
    """Return the server at an address such as ``http://127.0.0.1:8000``.

    Args:
        url: what comes behind the port is put before every path.
        ca: certificates in PEM that the server's is checked with, instead of the system's.
        cert: our own certificate with its key in PEM, or the two files.

    Raises:
        ClientError: it is no address, or a file cannot be used.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise _no_address(url, one_line(error)) from None
    if parts.scheme not in _PORTS or not parts.hostname:
        raise _no_address(url, "it is like http://127.0.0.1:8000")
    if parts.username is not None or parts.query or parts.fragment:
        raise _no_address(url, "it has a host, a port and a path; give a token as token=")
    if not re.fullmatch(r"[\x21-\x7e]*", parts.hostname + parts.path):
        raise _no_address(url, "it is ASCII without spaces")
    try:
        parts.hostname.encode("idna")
    except UnicodeError:
        raise _no_address(url, "its host is no name") from None
    if parts.scheme == "http" and (ca is not None or cert is not None):
        raise _no_address(url, "certificates need https://")
    tls = _context(ca, cert) if parts.scheme == "https" else None
    chosen = _PORTS[parts.scheme] if port is None else port
    return Address(parts.hostname, chosen, parts.path.rstrip("/"), tls)


def _no_address(url: str, why: str) -> ClientError:
    shown = re.sub("//[^/]*@", "//…@", url[:200])  # no password in a message
    return ClientError(f"'{shown}' is no address of a server: {why}")


def _context(ca: Path | None, cert: Path | tuple[Path, Path] | None) -> ssl.SSLContext:
    import ssl  # only of those who use it

    try:
        context = ssl.create_default_context(cafile=ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if cert is not None:
            certificate, key = cert if isinstance(cert, tuple) else (cert, None)
            # A key with a passphrase would have it asked for on the terminal.
            context.load_cert_chain(certificate, key, password=_no_passphrase)
    except (OSError, ssl.SSLError, ValueError) as error:
        raise ClientError(f"the TLS files cannot be used: {one_line(error)}") from None
    return context


def _no_passphrase() -> str:
    raise ValueError("the key has a passphrase: give one without")


def credentials(token: str | None, api_key: str | None) -> Mapping[str, str]:
    """Return the headers that show a token.

    Raises:
        ClientError: it cannot be in a header.
    """
    for secret in (token, api_key):
        if secret is not None and not _TOKEN.fullmatch(secret):
            raise ClientError("a token is of visible ASCII characters, without spaces")
    headers = {}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    if api_key is not None:
        headers["X-API-Key"] = api_key
    return headers
