"""A Hugging Face hub of our own on this machine, of which connections can be cut."""

from __future__ import annotations

import hashlib
import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
TOKEN = "hf_me"  # noqa: S105 - of a server in a test
_API = re.compile(r"/api/datasets/([^/]+/[^/]+)(?:/(revision|tree)/([^/]+)(?:/(.*))?)?")
_FILE = re.compile(r"/datasets/([^/]+/[^/]+)/resolve/([^/]+)/(.*)")


class Hub:
    """Serves the folders ``owner/name`` in a folder as data sets, on loopback.

    Args:
        folder: of the data sets; those of the owner ``private`` need the token.

    Attributes:
        cuts: how many answers with the content of files are still to be cut.
        asked: the paths that were asked for.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cuts = 0
        self.asked: list[str] = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args: object) -> None:
                pass

            def do_HEAD(self) -> None:
                hub.answer(self)

            def do_GET(self) -> None:
                hub.answer(self)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Answer a request for what is known of a data set, or for a file."""
        path = unquote(urlsplit(request.path).path)
        self.asked.append(path)
        api, file = _API.fullmatch(path), _FILE.fullmatch(path)
        name = (api or file or [None, ""])[1]
        place = self.folder / str(name)
        granted = request.headers.get("authorization") == f"Bearer {TOKEN}"
        if not name or not place.is_dir() or (name.startswith("private/") and not granted):
            self._send(request, 401, b"{}", {"X-Error-Code": "RepoNotFound"})
        elif name.startswith("gated/"):
            self._send(request, 403, b"{}", {"X-Error-Code": "GatedRepo"})
        elif api and api[3] not in (None, "main", COMMIT):
            self._send(request, 404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        elif api and api[2] == "tree":
            self._send(request, 200, json.dumps(self._tree(place, api[4] or "")).encode())
        elif api:
            about = {"id": name, "sha": COMMIT, "private": False, "siblings": self._all(place)}
            self._send(request, 200, json.dumps(about).encode())
        else:
            assert file is not None
            self._send_file(request, place / file[3])

    def _all(self, place: Path) -> list[dict[str, object]]:
        files = sorted(file for file in place.rglob("*") if file.is_file())
        return [{"rfilename": file.relative_to(place).as_posix(), **_facts(file)} for file in files]

    def _tree(self, place: Path, below: str) -> list[dict[str, object]]:
        return [
            {
                "path": entry.relative_to(place).as_posix(),
                **({"type": "directory", "oid": "0"} if entry.is_dir() else _in_tree(entry)),
            }
            for entry in sorted((place / below).iterdir())
        ]

    def _send_file(self, request: BaseHTTPRequestHandler, file: Path) -> None:
        if not file.is_file():
            self._send(request, 404, b"", {"X-Error-Code": "EntryNotFound"})
            return
        content, asked = file.read_bytes(), request.headers.get("range")
        headers = {"ETag": f'"{len(content)}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        if asked is None:
            self._send(request, 200, content, headers)
            return
        first, last = re.fullmatch(r"bytes=(\d+)-(\d*)", asked).groups()  # type: ignore[union-attr]
        end = min(int(last or len(content) - 1), len(content) - 1)
        headers["Content-Range"] = f"bytes {first}-{end}/{len(content)}"
        self._send(request, 206, content[int(first) : end + 1], headers)

    def _send(
        self,
        request: BaseHTTPRequestHandler,
        status: int,
        content: bytes,
        headers: dict[str, str] | None = None,
    ) -> None:
        request.send_response(status)
        for name, value in (headers or {}).items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        if request.command == "HEAD":
            return
        if status == 206 and self.cuts and len(content) > 1000:
            self.cuts -= 1
            request.wfile.write(content[:500])
            request.close_connection = True
            return
        request.wfile.write(content)


def _facts(file: Path) -> dict[str, object]:
    content = file.read_bytes()
    facts: dict[str, object] = {"size": len(content), "blobId": hashlib.sha1(content).hexdigest()}  # noqa: S324
    if file.suffix == ".parquet":
        sha256 = hashlib.sha256(content).hexdigest()
        facts["lfs"] = {"sha256": sha256, "size": len(content), "pointerSize": 130}
    return facts


def _in_tree(file: Path) -> dict[str, object]:
    facts = _facts(file)
    return {"type": "file", "oid": facts["blobId"], "size": facts["size"]}
