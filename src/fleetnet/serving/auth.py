"""Who may do what: tokens in a file, for every protocol.

A line is a role and a token, or the token's SHA-256, so that the file need not hold the secret::

    infer  3b1f0c…
    admin  sha256:9f86d081884c7d65…
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, get_args

from fleetnet.errors import FleetnetError
from fleetnet.serving.errors import ForbiddenError, UnauthenticatedError

Role = Literal["infer", "admin"]
"""``admin`` may load and unload models, and all that ``infer`` may."""

MIN_TOKEN = 16
CHECK_SECONDS = 1.0
MAX_BYTES = 2**20
_HASHED = re.compile("sha256:([0-9a-f]{64})", re.IGNORECASE)
log = logging.getLogger("fleetnet.serving")


class Tokens:
    """The tokens of a file, which is read again when it changes.

    A file that becomes wrong is reported, and the former tokens stay.

    Args:
        file: None where everybody may do everything.
        clock: in seconds.

    Raises:
        FleetnetError: the file cannot be read, or a line of it is wrong.
    """

    def __init__(self, file: Path | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._file = file
        self._clock = clock
        self._checked = clock()
        self._stamp = self._refused = _stamp(file)
        self._known = [] if file is None else read_tokens(file)

    @classmethod
    def of(cls, known: Sequence[tuple[bytes, Role]]) -> Tokens:
        """Return tokens that were read already, as :func:`read_tokens` returns them.

        Without any, everybody may do everything.
        """
        tokens = cls(None)
        tokens._known = list(known)
        return tokens

    @property
    def wanted(self) -> bool:
        """Whether a request needs a token."""
        return bool(self._known)

    def check(self, secret: str | None, role: Role) -> None:
        """Refuse a request whose token does not allow a role.

        Args:
            secret: the bearer token or API key; None if there is none.
            role: that the request needs.

        Raises:
            UnauthenticatedError: no token, or an unknown one.
            ForbiddenError: a token of another role.
        """
        if not self.wanted:
            return
        if self._file is not None:
            self._reload(self._file)
        if secret is None:
            raise UnauthenticatedError("this needs a token: send 'Authorization: Bearer TOKEN'")
        found = self._role_of(secret)
        if found is None:
            raise UnauthenticatedError("this token is not known")
        if role == "admin" and found != "admin":
            raise ForbiddenError("this needs a token of the role 'admin'")

    def _role_of(self, secret: str) -> Role | None:
        digest = hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()
        found: Role | None = None
        for known, role in self._known:  # all of them, so that time tells nothing
            if hmac.compare_digest(known, digest) and found != "admin":
                found = role
        return found

    def _reload(self, file: Path) -> None:
        now = self._clock()
        if now - self._checked < CHECK_SECONDS:
            return
        self._checked = now
        stamp = _stamp(file)
        if stamp == self._stamp:
            return
        try:
            self._known = read_tokens(file)
        except FleetnetError as error:
            # Tried again each time: what stood in the way may go without a trace in the stamp.
            if stamp != self._refused:
                log.error("tokens not read again, the former stay: %s", error)  # noqa: TRY400
            self._refused = stamp
            return
        self._stamp = self._refused = stamp
        log.info("tokens read again")


def secret_of(headers: Mapping[str, str]) -> str | None:
    """Return the token in headers or metadata, whose names are in lower case; None without one."""
    kind, _, token = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer" and token.strip():
        return token.strip()
    return headers.get("x-api-key")


def read_tokens(file: Path) -> list[tuple[bytes, Role]]:
    """Return the SHA-256 and the role of each token in a file.

    Raises:
        FleetnetError: it cannot be read, has no token, or a line is wrong; no token is shown.
    """
    try:
        content = file.read_bytes()[: MAX_BYTES + 1]
        text = content.decode("utf-8-sig")  # editors on Windows write a mark
    except OSError as error:
        raise FleetnetError(f"cannot read {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise FleetnetError(f"{file} is not UTF-8 text") from None
    if len(content) > MAX_BYTES:
        raise FleetnetError(f"{file} is larger than {MAX_BYTES // 2**20} MiB")
    tokens: list[tuple[bytes, Role]] = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        role = next((role for role in get_args(Role) if role == words[0]), None)
        if role is None or len(words) != 2:
            raise FleetnetError(
                f"{file}: line {number}: a line is a role, infer or admin, and a token"
            )
        if not words[1].isascii():
            raise FleetnetError(
                f"{file}: line {number}: a token is of ASCII characters, which headers can carry"
            )
        hashed = _HASHED.fullmatch(words[1])
        if hashed is None and words[1].lower().startswith("sha256:"):
            # Taken for a token, the text in the file would open the door.
            raise FleetnetError(
                f"{file}: line {number}: after 'sha256:' come 64 hexadecimal digits"
            )
        if hashed is None and len(words[1]) < MIN_TOKEN:
            raise FleetnetError(
                f"{file}: line {number}: a token has at least {MIN_TOKEN} characters"
            )
        digest = bytes.fromhex(hashed[1]) if hashed else hashlib.sha256(words[1].encode()).digest()
        tokens.append((digest, role))
    if not tokens:
        raise FleetnetError(f"{file} has no token: nobody could be served")
    return tokens


def _stamp(file: Path | None) -> tuple[int, int, int] | None:
    try:
        status = file.stat() if file else None
    except OSError:
        return None
    return (status.st_mtime_ns, status.st_size, status.st_ino) if status else None
