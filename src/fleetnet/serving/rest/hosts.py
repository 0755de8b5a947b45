"""By which names a server may be asked.

A page can let its own name lead to this machine, and then asks a server here as if it were its own:
DNS rebinding. The browser still says by which name it asked, in ``Host``. An address is no such
name, so whoever asks by one was led here by nobody.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable

from fleetnet.serving.auth import Tokens
from fleetnet.serving.config import Settings
from fleetnet.serving.errors import ForbiddenError, RequestError
from fleetnet.serving.lifecycle import is_loopback

ANY = "*"


class Hosts:
    """The names that requests may have in ``Host``.

    Args:
        names: without ports; ``*`` is any name.
    """

    def __init__(self, names: Iterable[str] = (ANY,)) -> None:
        self._names = {name.lower().removesuffix(".") for name in names}

    @classmethod
    def of(cls, settings: Settings, tokens: Tokens) -> Hosts:
        """Return those that the settings name.

        If they name none, a server that asks nobody who he is, because only this machine reaches
        it, takes this machine's names.
        """
        if settings.hosts is not None:
            return cls(settings.hosts)
        guarded = tokens.wanted or settings.tls.client_ca is not None
        if guarded or not is_loopback(settings.host):
            return cls()
        return cls(("localhost", socket.gethostname(), settings.host))

    def check(self, given: list[str]) -> None:
        """Refuse what was asked by another name.

        Args:
            given: the values of ``Host``; browsers always send one.

        Raises:
            RequestError: there are several, of which a proxy may have seen another.
            ForbiddenError: it is a name that the server does not go by.
        """
        if len(given) > 1:
            raise RequestError("there are several Host headers")
        if not given or ANY in self._names:
            return
        name = _without_port(given[0]).lower().removesuffix(".")
        if name not in self._names and not _is_address(name):
            raise ForbiddenError(
                f"this server is not called {name[:100]!r}: name it in the setting 'hosts' if it is"
            )


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
