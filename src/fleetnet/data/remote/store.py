"""Files behind a URL, through fsspec: what there is, and fetching it in pieces that are retried."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO, NamedTuple, TypeVar
from urllib.parse import urlsplit

from fleetnet.errors import DataError, one_line, reason_of, require
from fleetnet.threads import map_in_threads

Result = TypeVar("Result")
SCHEMES: Mapping[str, tuple[str, str]] = {
    "file": ("fsspec", "remote"),
    "http": ("aiohttp", "remote"),
    "https": ("aiohttp", "remote"),
    "s3": ("s3fs", "s3"),
    "gs": ("gcsfs", "gcs"),
    "az": ("adlfs", "azure"),
    "abfs": ("adlfs", "azure"),
    "hf": ("huggingface_hub", "hub"),
}
"""Of each scheme the package that reads it, and the extra that brings the package."""
PIECE = 16 * 2**20
"""Bytes that are asked for at once; a connection that is cut costs no more than that."""
ATTEMPTS = 5
"""How many times in a row a piece may fail."""
TIMEOUT_S = 60.0
"""Within which a piece, or an answer about a file, has to come."""
ASKED_AT_ONCE = 16
"""Files that a store is asked about at once."""
WAIT_S = 0.5
"""Before the second attempt; doubled before each further one."""
_VERSIONS = (
    "ETag", "etag", "md5Hash", "content_md5", "generation", "LastModified", "last_modified",
    "mtime", "updated",
)  # fmt: skip
"""What the stores call that which changes when a file does; the first that there is is used."""
_FINAL = (FileNotFoundError, PermissionError, IsADirectoryError, NotImplementedError)
"""Errors that another attempt does not mend."""


class FetchError(DataError):
    """A file behind a URL cannot be had."""

    code = "unreadable"


class UnreachableError(FetchError):
    """A file behind a URL cannot be had now: attempts failed that may not fail later."""


class RemoteFile(NamedTuple):
    """A file behind a URL.

    Attributes:
        url: with its scheme.
        size: in bytes.
        version: changes when the file does; empty where the store says nothing.
        sha256: of the content, where it is known.
    """

    url: str
    size: int
    version: str = ""
    sha256: str = ""


def is_remote(data: str) -> bool:
    """Tell whether what a user typed is a URL that is read here."""
    scheme, colon, rest = data.partition("://")
    return bool(colon and rest) and scheme in SCHEMES


def info_of(url: str) -> RemoteFile:
    """Return what a store says of a file.

    Raises:
        FetchError: there is none, or the store does not answer or does not say how long it is.
    """
    fs, path = _file_system(url)
    return _described(url, _tried(url, lambda: _call(fs, "info", path)))


def listed(folder: str, suffix: str, *, missing: bool = False) -> list[RemoteFile]:
    """Return the files in a folder whose names end so, those of its folders left out.

    Args:
        folder: its URL.
        suffix: in lower case; empty for all files.
        missing: take a folder that does not exist for an empty one.

    Raises:
        FetchError: it does not exist, or cannot be listed.
    """
    fs, path = _file_system(folder)
    fs.invalidate_cache()
    try:
        entries = _tried(
            folder, lambda: _call(fs, "ls", path.rstrip("/"), detail=True), missing=missing
        )
    except FileNotFoundError:
        return []
    return _files_among(fs, {entry["name"]: entry for entry in entries}, suffix)


def matching(pattern: str, suffix: str) -> list[RemoteFile]:
    """Return the files that a pattern with ``*``, ``?`` or ``[a-z]`` matches.

    Raises:
        FetchError: the store does not answer, or cannot list.
    """
    fs, path = _file_system(pattern)
    fs.invalidate_cache()
    return _files_among(fs, _tried(pattern, lambda: _call(fs, "glob", path, detail=True)), suffix)


def tried(url: str, attempt: Callable[[], Result]) -> Result:
    """Return what an attempt to learn of a URL gives, made several times if it fails.

    Raises:
        FetchError: it keeps failing.
    """
    result: Result = _tried(url, attempt)
    return result


def found_below(folder: str) -> list[RemoteFile]:
    """Return all files below a folder, however deep, sorted.

    Raises:
        FetchError: it does not exist, or cannot be listed.
    """
    fs, path = _file_system(folder)
    fs.invalidate_cache()
    found = _tried(folder, lambda: _call(fs, "find", path.rstrip("/"), detail=True))
    return _files_among(fs, found, "")


def put(url: str, content: bytes) -> None:
    """Write a file, whole or not at all, as stores of objects do.

    Raises:
        FetchError: it cannot be written.
    """
    fs, path = _file_system(url)
    _tried(url, lambda: _call(fs, "pipe_file", path, content), "write")


def remove(url: str) -> None:
    """Remove a file, if there is one.

    Raises:
        FetchError: it cannot be removed.
    """
    fs, path = _file_system(url)
    with contextlib.suppress(FileNotFoundError):
        _tried(url, lambda: _call(fs, "rm_file", path), "remove", missing=True)


def _files_among(fs: Any, entries: Mapping[str, Any], suffix: str) -> list[RemoteFile]:
    files = {
        fs.unstrip_protocol(name): entry
        for name, entry in entries.items()
        if entry.get("type") == "file" and name.lower().endswith(suffix)
    }
    # A listing of HTTP says no sizes.
    known = [url for url, entry in files.items() if isinstance(entry.get("size"), int)]
    rest = map_in_threads(info_of, sorted(files.keys() - set(known)), ASKED_AT_ONCE)
    return sorted([*(_described(url, files[url]) for url in known), *rest])


def content_of(url: str, limit: int) -> bytes | None:
    """Return a small file's content; None if there is no such file.

    Raises:
        FetchError: it is longer than the limit, or the store does not answer.
    """
    fs, path = _file_system(url)
    try:
        found = _described(url, _tried(url, lambda: _call(fs, "info", path), missing=True))
    except FileNotFoundError:
        return None
    if found.size > limit:
        raise FetchError(f"{url} has {found.size:,} bytes, which is too long", file=url)
    return b"".join(_pieces(found))


def fetch(file: RemoteFile, into: BinaryIO) -> None:
    """Write a file's content.

    What a connection that was cut has brought is kept: only the piece that failed is asked for
    again.

    Raises:
        FetchError: a piece cannot be had, or the file is shorter or longer than it was.
        OSError: writing fails.
    """
    for piece in _pieces(file):
        into.write(piece)


def _pieces(file: RemoteFile) -> Any:
    fs, path = _file_system(file.url)
    position = 0
    while position < file.size:
        end = min(position + PIECE, file.size)
        piece = _tried(file.url, lambda: _piece(fs, path, file, position, end))  # noqa: B023 - now
        yield piece
        position += len(piece)


def _piece(fs: Any, path: str, file: RemoteFile, start: int, end: int) -> bytes:
    data: bytes = _call(fs, "cat_file", path, start=start, end=end)
    if len(data) == file.size:  # a server that does not know ranges sends all of it
        return data[start:]
    if len(data) != end - start:
        raise EOFError(f"{len(data):,} bytes came of {end - start:,}")
    return data


def _call(fs: Any, method: str, *args: Any, **options: Any) -> Any:
    """Call a method of a file system, within the time allowed where that can be ended."""
    from fsspec.asyn import AsyncFileSystem, sync

    if isinstance(fs, AsyncFileSystem) and fs.async_impl and not fs.asynchronous:
        return sync(fs.loop, getattr(fs, f"_{method}"), *args, timeout=TIMEOUT_S, **options)
    return getattr(fs, method)(*args, **options)


def _tried(url: str, attempt: Any, doing: str = "read", *, missing: bool = False) -> Any:
    """Return what an attempt gives, made several times if it fails.

    Args:
        url: for messages.
        attempt: what to do.
        doing: what messages call it.
        missing: raise :class:`FileNotFoundError` as it is.
    """
    for number in range(ATTEMPTS):
        if number:
            time.sleep(WAIT_S * 2 ** (number - 1))
        try:
            return attempt()
        except FileNotFoundError as error:
            if missing:
                raise
            raise _failure(url, error, doing) from None
        except _FINAL as error:
            raise _failure(url, error, doing) from None
        except Exception as error:
            # Each store has errors of its own, of which no class is common to all.
            last = error
    why = _reason(last)
    raise UnreachableError(f"cannot {doing} {url}: {why} ({ATTEMPTS} attempts)", file=url) from None


def _failure(url: str, error: Exception, doing: str) -> FetchError:
    if isinstance(error, FileNotFoundError):
        return FetchError(f"{url} does not exist", file=url)
    return FetchError(f"cannot {doing} {url}: {_reason(error)}", file=url)


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError) or type(error).__name__ == "FSTimeoutError":
        return f"no answer within {TIMEOUT_S:g} s"
    return reason_of(error)[:200]


def _described(url: str, entry: Mapping[str, Any]) -> RemoteFile:
    size = entry.get("size")
    if not isinstance(size, int):
        raise FetchError(f"{url}: the server does not say how long it is", file=url)
    version = next((str(entry[key]) for key in _VERSIONS if entry.get(key)), "")
    return RemoteFile(url, size, version)


def _file_system(url: str) -> tuple[Any, str]:
    """Return the file system of a URL, and the path there.

    Raises:
        FleetnetError: the package that reads such URLs is not installed.
        FetchError: it is no such URL.
    """
    scheme = urlsplit(url).scheme
    package, extra = SCHEMES[scheme]
    purpose = f"reading {scheme}://"
    try:
        import fsspec.core
    except ModuleNotFoundError:
        raise require("fsspec", extra, purpose) from None
    try:
        fs, path = fsspec.core.url_to_fs(url)
    except ImportError:
        raise require(package, extra, purpose) from None
    except Exception as error:
        raise FetchError(f"cannot read {url}: {one_line(error)}", file=url) from None
    return fs, path
