"""The files of the playground: static, without secrets, and with headers that let in nothing else.

Nothing in them depends on the server, so they need no token. What they show they ask for, as any
client does.
"""

from __future__ import annotations

import functools
import hashlib
from importlib import resources

from starlette.requests import Request
from starlette.responses import Response

from fleetnet.serving.errors import NotFoundError

_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
_POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self'",
    "connect-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
    "require-trusted-types-for": "'script'",
    "trusted-types": "'none'",
}
HEADERS = {
    "content-security-policy": "; ".join(f"{name} {value}" for name, value in _POLICY.items()),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
"""Of every page: only its own files, no script from text, no frame around it."""


def page_file(name: str, request: Request) -> Response:
    """Return a file of the page; that it has not changed, to a browser that has it.

    Browsers ask each time whether it has changed, so a new version is seen at once.

    Raises:
        NotFoundError: there is no such file.
    """
    files = _files()
    if name not in files:
        raise NotFoundError(f"there is no file '{name[:100]}' of the page")
    content, tag = files[name]
    headers = {**HEADERS, "etag": tag, "cache-control": "no-cache"}
    known = request.headers.get("if-none-match", "")
    if tag in (word.strip().removeprefix("W/") for word in known.split(",")):
        return Response(status_code=304, headers=headers)
    return Response(content, headers={**headers, "content-type": _TYPES[name.rpartition(".")[2]]})


@functools.cache
def _files() -> dict[str, tuple[bytes, str]]:
    """Return the content and tag of each file; names come from here alone, never from a path."""
    folder = resources.files("fleetnet.serving.rest").joinpath("page")
    found = {}
    for file in folder.iterdir():
        if file.name.rpartition(".")[2] in _TYPES:
            content = file.read_bytes()
            found[file.name] = (content, f'"{hashlib.sha256(content).hexdigest()[:32]}"')
    return found
